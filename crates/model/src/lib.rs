//! Each algorithm as a program of steps and its ops as pure functions on views; their settings and
//! their versioned encoding.
//!
//! **Invariant:** pure. No I/O, no clock, no thread but those of the pool that a caller installed, and no
//! result that depends on how many there are.

pub mod advise;
pub mod als;
pub mod bootstrap;
pub mod churn;
pub mod cold;
pub mod context;
pub mod digest;
pub mod evaluate;
pub mod facts;
pub mod forecast;
pub mod generate;
pub mod graph;
pub mod influence;
pub mod metrics;
pub mod op;
pub mod plane;
pub mod popularity;
pub mod rank;
pub mod recommend;
pub mod reduce;
pub mod rules;
pub mod score;
pub mod segments;
pub mod several;
pub mod sgd;
pub mod training;
pub mod tune;

pub use digest::DigestFeed;
pub use kernels::Simd;
pub use op::{Op, OpError};
pub use training::{Best, Given, Holds, Sampler, Stopping, TableVersion, Training};
