//! What the store's errors mean to the plan.

use plan::{Failure, Refusal};
use store::StoreError;
use tensor::ObjectKey;

/// The failure of a task that met this error, while it used the object `key` if that is known.
pub fn failure_of(error: StoreError, key: Option<ObjectKey>) -> Failure {
    match (&error, key) {
        (StoreError::DiskFull { .. } | StoreError::CacheFull { .. }, _) => Failure::Exhausted {
            sentence: error.to_string(),
        },
        // Another copy may be whole.
        (StoreError::Damaged { .. } | StoreError::Mismatch { .. }, Some(key)) => {
            Failure::Corrupt { key, holder: None }
        }
        (StoreError::Malformed { .. }, _) => Failure::Refused {
            refusal: Refusal::BadData,
            sentence: error.to_string(),
        },
        (StoreError::Beyond { .. }, _) => Failure::Refused {
            refusal: Refusal::Bug,
            sentence: error.to_string(),
        },
        _ => Failure::Disk {
            sentence: error.to_string(),
        },
    }
}
