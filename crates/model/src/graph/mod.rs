//! Graph models on the bipartite graph of users and products (DESIGN 5.4): adjacency A = [0 R; Rᵀ 0], never built: its two
//! blocks are the partitions of a data set in their two orientations. A product with it is a step of one task a block of
//! rows ([`product`]); what the normalization D_u^-a R D_v^-b asks for are powers of degrees that rows of tables are scaled by as
//! they are written ([`degrees`]), so that interactions are gathered without a weight.
//! Where many rows name each row of the other table, and that is longer than a cache, blocks are multiplied together, range by range of
//! columns ([`tiles`]), out of an arrangement that is made once a run.
//!
//! **Invariant:** a row is summed in f32 over chunks of interactions by position, the chunks in f64 in their order, so neither
//! pieces nor threads change a bit.

pub mod adam;
mod batches;
pub mod cross;
pub mod degrees;
pub mod dense;
pub mod dropout;
pub mod features;
pub mod filter;
pub mod gcn;
pub mod head;
mod heads;
pub mod learning;
pub mod learnt;
pub mod lightgcn;
pub mod normalization;
pub mod ops;
pub mod popularity;
pub mod product;
pub mod spectral;
pub(crate) mod steps;
pub mod tiles;
pub mod turn;
pub mod ucmf;

pub use dropout::Dropout;
pub use normalization::Normalization;
pub use steps::Input;

pub use ops::{
    Activation, AdamOp, ArrangeOp, Batch, Counts, CrossOp, DegreesOp, DenseBackOp, DenseOp, Edges,
    Factor, FeaturesBackOp, FeaturesOp, FirstMatrixOp, FirstNumbers, GraphOp, GroupsOp, Head,
    HeadOp, LabelCheck, LabelSums, LabelsOp, Loss, MatrixOp, MeanOp, Onto, PairsOp, Power,
    ProductOp, RangesOp, Residuals, ResidualsOp, RivalsOp, Scales, ScoreLoss, StartOp, Target,
    TimesOp, TurnOp, UnitBackOp, UnitOp, Versus,
};
