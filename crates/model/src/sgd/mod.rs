//! Blockwise stochastic gradient descent (DESIGN 5.3): tiles of users and products in strata, one thread a tile.
//!
//! Tables in training live on super-blocks, a row being factors and a tail ([`kernels::sgd`]). At the end of an epoch they
//! are published as the tables of a model on the grid of the data, biases as columns: U = [u, b, 1], V = [v, 1, c], so
//! that whatever reads a model needs to know the dot product alone. That also keeps the protocol plain: a tile reads
//! and writes two blocks, however many blocks of the data they join.
//!
//! **Invariant:** no bit depends on who computes a tile, when, or in how many pieces; only on the order of the tiles that
//! share a block, which the reads of the steps fix.

pub mod bins;
pub mod first;
pub mod noise;
pub mod ops;
pub mod program;
pub mod publish;
pub mod schedule;
pub mod settings;
pub mod tile;

pub use noise::Noise;
pub use ops::{BinsOp, FirstBinsOp, FirstOp, PublishOp, SgdOp, TileOp, Totals};
pub use program::{Descent, Input, Sgd};
pub use settings::{Loss, Optimizer, Settings, SettingsError};
