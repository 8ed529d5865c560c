//! The closed-form graph filter GF-CF (Shen, Wu, Zhang, Shan, Zhang, Letaief and Li, *How powerful is graph convolution for
//! recommendation?*, 2021): scores R R̃ᵀR̃ + β R D_v^-½ V Vᵀ D_v^½, with R̃ = D_u^-½ R D_v^-½ and V its first right singular vectors.
//!
//! The second term is low-pass and of low rank: plain factors, which [`crate::graph::spectral`] makes. The first one is linear, of
//! full rank and has no factors: it is part of how the model scores ([`linear`]), for some users at a time.
//!
//! Of the linear part only the nearest products can be kept for each, by the cosine of their users: what the field calls item kNN
//! ([`nearest`]).
//!
//! Either part can be had as plain factors besides, fitted to the scores of all cells ([`distilled`]).
//!
//! R on the left is not normalized: with R̃ there too, popular products lose what they have earned (recall@20 on Gowalla .141
//! instead of .184).

pub(in crate::graph) mod chain;
pub mod distilled;
pub mod linear;
pub mod nearest;
pub mod settings;

pub use distilled::Distilled;
pub use linear::Linear;
pub use nearest::{Near, Nearest, NearestOp, Neighbourhoods};
pub use settings::Settings;

use crate::graph::ops::Edges;
use serde::{Deserialize, Serialize};

/// How what a user had speaks for products, beside factors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Links {
    /// By the users that they share, with interactions of this weight.
    Shared(Edges),
    /// The nearest alone.
    Nearest(Nearest),
}
