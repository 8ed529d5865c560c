//! Failures keep their type on the way.

use super::{Malformed, required, unknown};
use crate::proto;
use plan::{Failure, Refusal};
use tensor::{ByteSize, WorkerId};

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Usage => proto::Refusal::Usage,
            Refusal::BadData => proto::Refusal::BadData,
            Refusal::Unavailable => proto::Refusal::Unavailable,
            Refusal::Bug => proto::Refusal::Bug,
            Refusal::Io => proto::Refusal::Io,
            Refusal::TryAgain => proto::Refusal::TryAgain,
            Refusal::Permission => proto::Refusal::Permission,
            Refusal::Config => proto::Refusal::Config,
        }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = Malformed;

    fn try_from(refusal: proto::Refusal) -> Result<Self, Malformed> {
        Ok(match refusal {
            proto::Refusal::Usage => Refusal::Usage,
            proto::Refusal::BadData => Refusal::BadData,
            proto::Refusal::Unavailable => Refusal::Unavailable,
            proto::Refusal::Bug => Refusal::Bug,
            proto::Refusal::Io => Refusal::Io,
            proto::Refusal::TryAgain => Refusal::TryAgain,
            proto::Refusal::Permission => Refusal::Permission,
            proto::Refusal::Config => Refusal::Config,
            proto::Refusal::Unspecified => return Err(unknown("refusal", 0)),
        })
    }
}

impl From<Failure> for proto::Failure {
    fn from(failure: Failure) -> Self {
        use proto::failure as p;
        let failure = match failure {
            Failure::Unreachable { key, holder } => p::Failure::Unreachable(p::Unreachable {
                key: Some(key.into()),
                holder: holder.0,
            }),
            Failure::Corrupt { key, holder } => p::Failure::Corrupt(p::Corrupt {
                key: Some(key.into()),
                holder: holder.map(|w| w.0),
            }),
            Failure::Exhausted { sentence } => p::Failure::Exhausted(p::Exhausted { sentence }),
            Failure::Disk { sentence } => p::Failure::Disk(p::Disk { sentence }),
            Failure::Panicked { sentence } => p::Failure::Panicked(p::Panicked { sentence }),
            Failure::Budget {
                needed,
                left,
                enough,
            } => p::Failure::Budget(p::Budget {
                needed: needed.0,
                left: left.0,
                enough: enough.0,
            }),
            Failure::Refused { refusal, sentence } => p::Failure::Refused(p::Refused {
                refusal: proto::Refusal::from(refusal).into(),
                sentence,
            }),
        };
        proto::Failure {
            failure: Some(failure),
        }
    }
}

impl TryFrom<proto::Failure> for Failure {
    type Error = Malformed;

    fn try_from(failure: proto::Failure) -> Result<Self, Malformed> {
        use proto::failure as p;
        Ok(
            match failure.failure.ok_or(Malformed::Missing("failure"))? {
                p::Failure::Unreachable(f) => Failure::Unreachable {
                    key: required("key", f.key)?,
                    holder: WorkerId(f.holder),
                },
                p::Failure::Corrupt(f) => Failure::Corrupt {
                    key: required("key", f.key)?,
                    holder: f.holder.map(WorkerId),
                },
                p::Failure::Exhausted(f) => Failure::Exhausted {
                    sentence: f.sentence,
                },
                p::Failure::Disk(f) => Failure::Disk {
                    sentence: f.sentence,
                },
                p::Failure::Panicked(f) => Failure::Panicked {
                    sentence: f.sentence,
                },
                p::Failure::Budget(f) => Failure::Budget {
                    needed: ByteSize(f.needed),
                    left: ByteSize(f.left),
                    enough: ByteSize(f.enough),
                },
                p::Failure::Refused(f) => {
                    let refusal = proto::Refusal::try_from(f.refusal)
                        .map_err(|_| unknown("refusal", f.refusal))?;
                    Failure::Refused {
                        refusal: refusal.try_into()?,
                        sentence: f.sentence,
                    }
                }
            },
        )
    }
}
