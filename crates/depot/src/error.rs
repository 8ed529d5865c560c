//! Why a depot failed, by what can be done about it.

use std::io;
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
    /// The URL is not one of a user's file.
    #[error(
        "`{url}` is no URL of a file that can be read: {reason}; give one as s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or \
         https://HOST/PATH"
    )]
    Input {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such file of the user's.
    #[error("there is no file {url}")]
    NoObject {
        /// Where it should be.
        url: String,
    },
    /// The place does not answer the first question.
    #[error(
        "{url} does not answer within {seconds} s: check the URL, its endpoint, and the credentials in the environment ({})",
        variables(url)
    )]
    Silent {
        /// Where it should be.
        url: String,
        /// So long was waited.
        seconds: u64,
    },
    /// Nobody has told who we are, and the machine does not say so either.
    #[error("no credentials for {url}: set {} in the environment", variables(url))]
    NoCredentials {
        /// The depot or the file.
        url: String,
    },
    /// A cloud has no such bucket or container.
    #[error("there is no bucket for {url}: make it, or correct the URL and its endpoint")]
    NoBucket {
        /// The depot.
        url: String,
    },
    /// The place does not answer or refuses. May succeed later.
    #[error(
        "{path} under {url} could not be {doing}: {}; see that the place can be reached from here, then give the same command again",
        said(.source)
    )]
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
    /// The disk is full.
    #[error("no space is left under {url} for {path}: free some, or choose another place")]
    Full {
        /// The depot.
        url: String,
        /// The object or manifest.
        path: String,
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

/// What a cloud calls a bucket that is not there (S3 and Google; Azure). The stores tell it apart in their answers only.
const NO_BUCKET: [&str; 2] = [
    "<Code>NoSuchBucket</Code>",
    "<Code>ContainerNotFound</Code>",
];

/// Where clouds tell their own machines who they are: asked where nothing else tells it.
const OF_MACHINES: [&str; 4] = [
    "/latest/api/token",
    "/latest/meta-data/",
    "computeMetadata",
    "/metadata/identity/",
];

/// What tells who we are, by the scheme.
fn variables(url: &str) -> &'static str {
    match url.split_once("://") {
        Some(("gs", _)) => "GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY",
        Some(("az", _)) => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        Some(("http" | "https", _)) => "none is used for the web",
        _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    }
}

impl DepotError {
    /// Whether a store says that there is no bucket.
    pub(crate) fn tells_of_a_bucket(error: &object_store::Error) -> bool {
        let answer = error.to_string();
        NO_BUCKET.iter().any(|code| answer.contains(code))
    }

    /// Names what a store said when something was tried with a path.
    pub(crate) fn of_store(
        url: String,
        path: String,
        doing: &'static str,
        source: object_store::Error,
    ) -> Self {
        use object_store::Error;
        match source {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                DepotError::Denied { url, path, doing }
            }
            source => {
                if Self::tells_of_a_bucket(&source) {
                    return DepotError::NoBucket { url };
                }
                if is_full(&source) {
                    return DepotError::Full { url, path };
                }
                let answer = source.to_string();
                if OF_MACHINES.iter().any(|asked| answer.contains(asked)) {
                    return DepotError::NoCredentials { url };
                }
                DepotError::Unavailable {
                    url,
                    path,
                    doing,
                    source: Box::new(source),
                }
            }
        }
    }
}

/// Whether a file system had no room.
fn is_full(error: &object_store::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) = kind {
            return true;
        }
        next = error.source();
    }
    false
}

/// One line of it, without the document that a cloud may have answered with.
fn said(source: &object_store::Error) -> String {
    let said = source.to_string();
    let line = said.lines().next().unwrap_or_default();
    let words = line.split_once('<').map_or(line, |(words, _)| words);
    words.trim_end_matches([' ', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str) -> DepotError {
        let source = object_store::Error::Generic {
            store: "S3",
            source: answer.to_owned().into(),
        };
        DepotError::of_store("s3://b/data".into(), "data/x".into(), "read", source)
    }

    #[test]
    fn a_bucket_that_is_not_there_is_told_from_a_place_that_does_not_answer() {
        let missing = told("404 Not Found: <?xml?>\n<Error><Code>NoSuchBucket</Code></Error>");
        assert_eq!(
            missing.to_string(),
            "there is no bucket for s3://b/data: make it, or correct the URL and its endpoint"
        );
        let broken = told("500 Internal: <?xml?>\n<Error><Code>InternalError</Code></Error>");
        assert_eq!(
            broken.to_string(),
            "data/x under s3://b/data could not be read: Generic S3 error: 500 Internal; see that the place can be reached from here, \
             then give the same command again"
        );
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let source = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        let full =
            DepotError::of_store("/data".into(), "objects/x".into(), "written", source).to_string();
        assert_eq!(
            full,
            "no space is left under /data for objects/x: free some, or choose another place"
        );
    }
}
