//! Purchases with a planted truth: worlds in which it is known which model should win, of any size.
//!
//! The expected purchases of user u, product j and day t are a sum of products, of rank `rank` + 1 (twice `rank` with drift):
//!
//!   n_u [ q p(j) / days + (1 - q) Σ_f P_f Σ_k θ_ukf φ_k(j) τ_kf(t) ]
//!
//! with n_u the rows of the user, p Zipf's law, q the share that follows popularity alone, f the taste at first and the taste
//! at last, θ what a user is interested in, φ a factor's products and τ its days. Every row is drawn from it in constant
//! time and from its own place among random numbers, so that any part can be made anywhere, alone and again.
//!
//! **Invariant:** what is drawn depends on the settings and on nothing else: no thread, no order, no libm.

mod attributes;
mod edges;
mod ids;
mod part;
mod settings;
mod users;
mod world;

pub use attributes::{ProductAttributes, UserAttributes};
pub use edges::Edges;
pub use ids::Scramble;
pub use part::{Order, Rows};
pub use settings::{Settings, Unfit};
pub use users::{Activity, Interests, PARTS_MAX};
pub use world::{Totals, World};

/// What random numbers are drawn for.
mod purpose {
    /// How much a user buys.
    pub const ACTIVITY: u32 = 0x400;
    /// What a user is interested in; the step tells first from last.
    pub const INTERESTS: u32 = 0x401;
    /// How a product suits a factor; the step is the factor.
    pub const AFFINITY: u32 = 0x402;
    /// A purchase.
    pub const PURCHASE: u32 = 0x403;
    /// Attributes; the step is the mode.
    pub const ATTRIBUTES: u32 = 0x404;
    /// Edges between users.
    pub const EDGES: u32 = 0x405;
    /// The order of ids; the step is the mode.
    pub const IDS: u32 = 0x406;
    /// How many a row is of.
    pub const QUANTITY: u32 = 0x407;
}
