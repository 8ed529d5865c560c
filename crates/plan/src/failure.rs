//! Why a task or a run failed, named by what can be done about it. Crosses the wire as it is.

use serde::{Deserialize, Serialize};
use tensor::{ByteSize, ObjectKey, WorkerId};

/// The kinds of refusal, each with its exit code (DESIGN 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Wrong use of the command line (64).
    Usage,
    /// The input is not what it should be (65).
    BadData,
    /// Something needed is not there or not reachable (69).
    Unavailable,
    /// Our bug (70).
    Bug,
    /// Reading or writing failed (74).
    Io,
    /// May well succeed later (75).
    TryAgain,
    /// Not allowed (77).
    Permission,
    /// The settings cannot be honoured (78).
    Config,
}

impl Refusal {
    /// The exit code of a process that ends for this reason.
    pub fn exit_code(self) -> u8 {
        match self {
            Refusal::Usage => 64,
            Refusal::BadData => 65,
            Refusal::Unavailable => 69,
            Refusal::Bug => 70,
            Refusal::Io => 74,
            Refusal::TryAgain => 75,
            Refusal::Permission => 77,
            Refusal::Config => 78,
        }
    }
}

fn damaged(key: ObjectKey, holder: Option<WorkerId>) -> String {
    match (key, holder) {
        (key, Some(holder)) => format!("{key} is damaged on {holder}"),
        (ObjectKey::Sealed { digest, .. }, None) => format!(
            "object {digest} is damaged where it is stored: restore it from a copy, or make what holds it again (`verify` names all \
             that is damaged)"
        ),
        (key, None) => format!("{key} is damaged"),
    }
}

/// Why a task ended without its result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// A holder did not answer, or no longer has the object: assign again with other sources.
    #[error("{key} could not be had from {holder}")]
    Unreachable {
        /// What.
        key: ObjectKey,
        /// From whom.
        holder: WorkerId,
    },
    /// The bytes are not the ones that were sealed: fetch another copy.
    #[error("{}", damaged(*key, *holder))]
    Corrupt {
        /// What.
        key: ObjectKey,
        /// Where, if not in a depot.
        holder: Option<WorkerId>,
    },
    /// The worker is out of disk or another passing resource: another worker, or a later attempt, may do it.
    #[error("{sentence}")]
    Exhausted {
        /// What was short.
        sentence: String,
    },
    /// The worker's own disk does not do what it should, or the system opens no file for it: another worker's may.
    #[error("{sentence}")]
    Disk {
        /// Which file, and what the system said.
        sentence: String,
    },
    /// Our own code panicked. On bytes that only this worker has, it may not elsewhere: another one tries it once.
    #[error("{sentence}")]
    Panicked {
        /// Which task, and what the panic said.
        sentence: String,
    },
    /// The smallest piece does not fit the worker's memory budget.
    #[error(
        "the smallest piece of a task needs {needed}, the budget leaves {left}: give --memory {enough} or more"
    )]
    Budget {
        /// What the piece needs.
        needed: ByteSize,
        /// What there is for it.
        left: ByteSize,
        /// The smallest --memory that would do.
        enough: ByteSize,
    },
    /// Trying again cannot help: bad data, bad settings, a store that says no.
    #[error("{sentence}")]
    Refused {
        /// Decides the exit code.
        refusal: Refusal,
        /// One sentence that names file, row, column or key, and what to do.
        sentence: String,
    },
}

impl Failure {
    /// The refusal, and so the exit code, of a run that ends for this reason.
    pub fn refusal(&self) -> Refusal {
        match self {
            Failure::Unreachable { .. } => Refusal::Unavailable,
            Failure::Corrupt { holder: None, .. } => Refusal::BadData,
            Failure::Corrupt { .. } | Failure::Disk { .. } => Refusal::Io,
            Failure::Exhausted { .. } => Refusal::TryAgain,
            Failure::Panicked { .. } => Refusal::Bug,
            Failure::Budget { .. } => Refusal::Config,
            Failure::Refused { refusal, .. } => *refusal,
        }
    }
}
