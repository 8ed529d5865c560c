//! Facts about the graph of users and products, before anybody trains on it: degrees, components, walks of length two and what A²
//! would cost, equal neighbourhoods, assortativity.
//!
//! An edge is a pair that interacted, however often and whenever: columns of a row are sorted, so equal ones are neighbours
//! ([`Pairs`]) and no view is built for it.
//!
//! **Invariant:** counts are integers until the report, so neither blocks nor pieces nor workers can change one.

mod components;
mod degrees;
mod links;
pub mod ops;
mod program;
mod report;
mod spread;
mod walks;

pub use components::{Forest, Places, groves};
pub use degrees::{Pairs, ROW_BYTES, equal, marked, tally};
pub use ops::FactsOp;
pub use program::{GraphFacts, Input};
pub use report::{
    Components, Degrees, Facts, Linked, Links, Neighbourhoods, Side, Square, TwoHops,
};
pub use walks::{Walks, note};
