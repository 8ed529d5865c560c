//! The ops of this crate as they travel: an enum of sub-enums, one per algorithm, in postcard.
//!
//! **Invariant:** variants are only ever appended; a change of meaning is a new [`VERSION`].

use crate::als::AlsOp;
use crate::churn::ChurnOp;
use crate::cold::DrawOp;
use crate::evaluate::EvaluateOp;
use crate::facts::FactsOp;
use crate::graph::GraphOp;
use crate::influence::InfluenceOp;
use crate::recommend::index::IndexOp;
use crate::recommend::{DirectionsOp, ExplainOp, GramOp, RecommendOp};
use crate::reduce::ReduceOp;
use crate::segments::SegmentsOp;
use crate::several::Several;
use crate::sgd::SgdOp;
use serde::{Deserialize, Serialize};
use tensor::OpFamily;

/// The version of the encoding.
pub const VERSION: u16 = 5;

/// An op of an algorithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Alternating least squares.
    Als(AlsOp),
    /// A node of a reduction tree.
    Reduce(ReduceOp),
    /// Evaluation.
    Evaluate(EvaluateOp),
    /// Recommendations.
    Recommend(RecommendOp),
    /// Stochastic gradient descent.
    Sgd(SgdOp),
    /// Graph models.
    Graph(GraphOp),
    /// Facts about the graph.
    Facts(FactsOp),
    /// Small tasks as one.
    Several(Several),
    /// Rows as directions.
    Directions(DirectionsOp),
    /// Segments of rows.
    Segments(SegmentsOp),
    /// Influencers.
    Influence(InfluenceOp),
    /// The Gram of a block of a stored table.
    Gram(GramOp),
    /// Reasons of recommendations.
    Explain(ExplainOp),
    /// Likeness by an index.
    Index(IndexOp),
    /// Users whose purchases will stop.
    Churn(ChurnOp),
    /// Rows that are held out as if they were new.
    Draw(DrawOp),
}

/// The bytes are not an op that this engine knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// Another family's op.
    #[error("the op belongs to another crate ({0:?}), not to the algorithms")]
    Family(OpFamily),
    /// Another engine's version.
    #[error(
        "the op has version {found}, this worker knows version {VERSION}: run the same release everywhere"
    )]
    Version {
        /// The version that came.
        found: u16,
    },
    /// Not decodable.
    #[error("the op's bytes cannot be decoded: {0}")]
    Bytes(String),
}

impl Op {
    /// The op as it travels.
    ///
    /// # Panics
    /// Never: every op is a plain value, which postcard encodes.
    pub fn encode(&self) -> tensor::Op {
        let body = postcard::to_stdvec(self).expect("an op is a plain value");
        tensor::Op {
            family: OpFamily::Model,
            version: VERSION,
            body: body.into(),
        }
    }

    /// Opens an op that travelled.
    ///
    /// # Errors
    /// Where it is another family's, another version's, or damaged.
    pub fn decode(op: &tensor::Op) -> Result<Self, OpError> {
        if op.family != OpFamily::Model {
            return Err(OpError::Family(op.family));
        }
        if op.version != VERSION {
            return Err(OpError::Version { found: op.version });
        }
        postcard::from_bytes(&op.body).map_err(|error| OpError::Bytes(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_goes_both_ways_and_strangers_are_refused_in_words() {
        let op = Op::Reduce(ReduceOp {
            rows: 3,
            row_bytes: 16,
        });
        let mut travelled = op.encode();
        assert_eq!(Op::decode(&travelled), Ok(op));
        travelled.version = 9;
        assert_eq!(Op::decode(&travelled), Err(OpError::Version { found: 9 }));
        travelled.version = VERSION;
        travelled.body = std::sync::Arc::from([200_u8]);
        assert!(matches!(Op::decode(&travelled), Err(OpError::Bytes(_))));
        assert_eq!(
            Op::decode(&tensor::Op::persist()),
            Err(OpError::Family(OpFamily::Builtin))
        );
    }
}
