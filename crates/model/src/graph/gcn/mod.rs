//! Graph convolution with weights (Kipf and Welling, "Semi-supervised classification with graph convolutional networks", 2017), on two
//! kinds of nodes: H' = f(Â H W + H S), S a matrix of its own or W, from learnt rows, from attributes or from both; scored by
//! dot products of the last layer.
//!
//! The products with Â are those of every graph model, the layers around them are [`super::dense`], the losses those of [`super::head`].

pub mod given;
pub mod program;
pub mod schedule;
pub mod settings;

pub use given::{Matrices, Reading};
pub use program::{Convolution, Gcn, Input};
pub use settings::{Features, LAYERS_MAX, Readout, SelfWeights, Settings, Weights};
