//! Runs one task inside a memory budget, piece by piece: says what it needs next, computes when it is
//! there, hands on or spills.
//!
//! **Invariant:** synchronous, and nothing here waits for another process: whoever drives a task fetches
//! what [`Need`] names and calls again.

pub mod held;
pub mod shelf;
pub mod work;

pub use held::HeldBytes;
pub use shelf::Shelf;
pub use work::{Fetched, Held, Need, Output, Part, Put, Room, Want, Work};
