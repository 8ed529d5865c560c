//! The coordinator's mind: events and time in, actions out.
//!
//! **Invariant:** no clock, no I/O, no waiting, no hash order, and no look inside an op. Whatever order
//! events come in, what is computed is the same; only who computes it and when differs.

pub mod action;
pub mod event;
pub mod failure;

pub use action::{Action, Assignment, Holder, Source};
pub use event::{Event, Profile, Tick, Wrote};
pub use failure::{Failure, Refusal};
