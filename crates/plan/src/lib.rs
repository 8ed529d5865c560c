//! The coordinator's mind: events and time in, actions out.
//!
//! **Invariant:** no clock, no I/O, no waiting, no hash order, and no look inside an op. Whatever order
//! events come in, what is computed is the same; only who computes it and when differs.

pub mod action;
mod dispatch;
pub mod estimate;
pub mod event;
pub mod failure;
mod loss;
mod objects;
mod plan;
mod queues;
mod reduction;
mod results;
mod settings;
mod steps;
mod submit;
mod suspicion;
mod verification;
mod waiting;

pub use action::{Action, Assignment, Dismissal, Holder, Source};
pub use estimate::{Estimate, Phase, Workload};
pub use event::{Event, Profile, Tick, Wrote};
pub use failure::{Failure, Refusal};
pub use plan::Plan;
pub use settings::Settings;
