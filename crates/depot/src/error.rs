//! Why a depot failed, by what can be done about it.

use store::StoreError;
use tensor::Digest;

/// Why a depot failed.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// The URL is not one of a depot.
    #[error(
        "`{url}` is no place for a depot: {reason}; give a path or a URL of file, s3, gs or az"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place does not answer or refuses. May succeed later.
    #[error("{path} under {url} could not be {doing}: {source}")]
    Unavailable {
        /// The depot.
        url: String,
        /// The object or manifest.
        path: String,
        /// What was tried, as in "could not be *read*".
        doing: &'static str,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// We may not.
    #[error(
        "{path} under {url} could not be {doing}: permission denied; check the credentials and the rights"
    )]
    Denied {
        /// The depot.
        url: String,
        /// The object or manifest.
        path: String,
        /// What was tried.
        doing: &'static str,
    },
    /// An object is not there.
    #[error("object {object} is missing under {url}: run `verify`, and restore it from a copy")]
    Missing {
        /// The depot.
        url: String,
        /// Which object.
        object: Digest,
    },
    /// The bytes are not those of the name.
    #[error("object {object} under {url} is damaged: its bytes hash to {found}")]
    Damaged {
        /// The depot.
        url: String,
        /// Which object.
        object: Digest,
        /// What its bytes hash to.
        found: Digest,
    },
    /// A manifest cannot be read as one.
    #[error("manifest {number} under {url} is damaged: {reason}")]
    Manifest {
        /// The depot.
        url: String,
        /// Its number.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Another coordinator leads since: this one must stop.
    #[error(
        "another coordinator has taken over {url} (its term is {current}, ours {term}): stop this one"
    )]
    Superseded {
        /// The depot.
        url: String,
        /// Our term.
        term: u64,
        /// The term of the newest manifest.
        current: u64,
    },
    /// The local side failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is shutting down.
    #[error("the work was abandoned while the process ended")]
    Abandoned,
}
