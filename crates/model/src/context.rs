//! Which context scores: a given one, or the mean over contexts by their share of the interactions of training. A score
//! is linear in the factors of the context, so the score at the mean is the mean of the scores.

use serde::{Deserialize, Serialize};

/// The context that scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContextAt {
    /// None in particular: the mean.
    #[default]
    Mean,
    /// That of this row.
    Row(u32),
}

impl ContextAt {
    /// Its factors, given those of all contexts and their mean. A context without an interaction in training, whose row is
    /// zero, is as good as none. `None` where the table lacks the row.
    pub fn row<'a>(self, table: &'a [f32], mean: &'a [f32]) -> Option<&'a [f32]> {
        match self {
            ContextAt::Mean => Some(mean),
            ContextAt::Row(row) => {
                let found = table.chunks_exact(mean.len()).nth(row as usize)?;
                let is_known = found.iter().any(|&s| s != 0.0);
                Some(if is_known { found } else { mean })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_that_training_did_not_see_score_as_the_mean() {
        let (table, mean) = ([1.0, 2.0, 0.0, 0.0, 5.0, 0.0], [3.0, 4.0]);
        let row = |at: ContextAt| at.row(&table, &mean);
        assert_eq!(row(ContextAt::Row(0)), Some(&[1.0, 2.0][..]));
        assert_eq!(row(ContextAt::Row(1)), Some(&mean[..]));
        assert_eq!(row(ContextAt::Row(2)), Some(&[5.0, 0.0][..]));
        assert_eq!(row(ContextAt::Row(3)), None);
        assert_eq!(row(ContextAt::Mean), Some(&mean[..]));
    }
}
