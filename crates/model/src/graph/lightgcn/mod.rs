//! LightGCN (He et al., "LightGCN: simplifying and powering graph convolution network for recommendation", 2020): an embedding X of
//! users and products, smoothed over the graph, E = 1/(L + 1) Σ Âˡ X over the layers l = 0 to L, and scored by dot
//! products. Its only parameters are X; without layers it is matrix factorization by Adam.
//!
//! E = 1/(L + 1) (X + Â (X + Â (X + ...))): every layer is one product onto X. Â is symmetric, so the gradient by X is that by E,
//! smoothed in the same way.

pub mod program;
pub mod schedule;
pub mod settings;

pub use super::learning::HeadName;
pub use program::{LightGcn, Propagation};
pub use settings::{LAYERS_MAX, Settings};
