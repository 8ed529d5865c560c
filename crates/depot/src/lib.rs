//! Durable objects under a URL and the manifests that name them.
//!
//! **Invariant:** an object is named by the hash of its bytes and never changes; a manifest is created or not, and
//! never changed either. The only commit primitive is "put if absent".
//!
//! Layout below the URL: `objects/<hex of BLAKE3>`, `manifests/<number, ten digits>`; notes for people beside them, which
//! no manifest names.

mod again;
mod care;
mod codec;
mod commit;
pub mod error;
pub mod input;
pub mod manifest;
mod messages;
mod notes;
mod objects;
mod place;

pub use care::{Collected, Report};
pub use error::DepotError;
pub use input::Input;
pub use manifest::{
    Body, Checkpoint, CheckpointObject, Manifest, Model, ModelTable, Versioned, ViewOf, Withdrawal,
};
pub use objects::Listed;
pub use place::Depot;
