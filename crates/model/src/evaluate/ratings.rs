//! Errors of predicted values, beside those of the bias-only model: the global mean plus shrunk offsets of product
//! and user (Koren, "Factor in the neighbors", 2010, section 2.1, with one damping for both).

use crate::evaluate::report::{Errors, Ratings};
use crate::reduce::tree_sum;
use serde::{Deserialize, Serialize};
use tensor::csr::CsrRef;

/// Count, sum and range of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueRange {
    /// How many.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least; infinite where there is none.
    pub least: f32,
    /// The largest; minus infinite where there is none.
    pub largest: f32,
}

impl ValueRange {
    /// Of nothing.
    pub const EMPTY: ValueRange = ValueRange {
        count: 0.0,
        sum: 0.0,
        least: f32::INFINITY,
        largest: f32::NEG_INFINITY,
    };

    /// Adds the values of some rows, in order.
    pub fn absorb(&mut self, block: &CsrRef<'_>) {
        for position in 0..block.interactions() {
            let value = block.values().at(position);
            self.count += 1.0;
            self.sum += f64::from(value);
            self.least = self.least.min(value);
            self.largest = self.largest.max(value);
        }
    }

    /// Those of blocks together, sums by the fixed tree.
    pub fn join(blocks: &[ValueRange]) -> Self {
        let sums: Vec<f64> = blocks.iter().map(|block| block.sum).collect();
        ValueRange {
            count: blocks.iter().map(|block| block.count).sum(),
            sum: tree_sum(&sums),
            least: blocks
                .iter()
                .map(|block| block.least)
                .fold(f32::INFINITY, f32::min),
            largest: blocks
                .iter()
                .map(|block| block.largest)
                .fold(f32::NEG_INFINITY, f32::max),
        }
    }

    /// The mean; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.count > 0.0 {
            self.sum / self.count
        } else {
            0.0
        }
    }
}

/// Sums each product's values less the mean, piece by piece.
#[derive(Clone, Debug)]
pub struct RowOffsets {
    mean: f64,
    sums: Vec<(f64, u64)>,
}

impl RowOffsets {
    /// Of a block of `rows` products.
    pub fn new(rows: usize, mean: f64) -> Self {
        RowOffsets {
            mean,
            sums: vec![(0.0, 0); rows],
        }
    }

    /// Adds the piece that follows; its row 0 is the block's row `first`.
    pub fn absorb(&mut self, piece: &CsrRef<'_>, first: usize) {
        for row in 0..piece.rows() {
            let (sum, count) = &mut self.sums[first + row];
            for position in piece.row(row) {
                *sum += f64::from(piece.values().at(position)) - self.mean;
                *count += 1;
            }
        }
    }

    /// The shrunk offset of each product, NaN where it has no value.
    pub fn offsets(&self, damping: f64) -> impl Iterator<Item = f32> {
        let offset = move |&(sum, count): &(f64, u64)| {
            if count > 0 {
                (sum / (count as f64 + damping)) as f32
            } else {
                f32::NAN
            }
        };
        self.sums.iter().map(offset)
    }
}

/// The shrunk offset of a user's values from the mean and the products' offsets; `None` without training.
pub fn user_offset(
    train: &CsrRef<'_>,
    row: usize,
    mean: f64,
    damping: f64,
    product_offset: impl Fn(u32) -> f32,
) -> Option<f64> {
    let positions = train.row(row);
    let count = positions.len() as f64;
    let rest = |position: usize| {
        f64::from(train.values().at(position))
            - mean
            - f64::from(product_offset(train.columns()[position]))
    };
    (count > 0.0).then(|| positions.map(rest).sum::<f64>() / (count + damping))
}

/// Sums of errors over held-out interactions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatingSums {
    /// Interactions predicted.
    pub count: f64,
    /// Interactions left out.
    pub left_out: f64,
    /// Squared and absolute error of the model, clipped.
    pub clipped: [f64; 2],
    /// Squared and absolute error of the model.
    pub unclipped: [f64; 2],
    /// Squared and absolute error of the bias-only model, clipped.
    pub bias_only: [f64; 2],
}

impl RatingSums {
    /// As a task's partial.
    pub fn to_vec(self) -> Vec<f64> {
        let errors = [self.clipped, self.unclipped, self.bias_only];
        [self.count, self.left_out]
            .into_iter()
            .chain(errors.into_iter().flatten())
            .collect()
    }

    /// From the reduced partials; empty where there was no task.
    pub fn from_slice(sums: &[f64]) -> Self {
        let at = |place: usize| sums.get(place).copied().unwrap_or(0.0);
        RatingSums {
            count: at(0),
            left_out: at(1),
            clipped: [at(2), at(3)],
            unclipped: [at(4), at(5)],
            bias_only: [at(6), at(7)],
        }
    }

    /// Adds one interaction.
    pub fn add(&mut self, value: f64, predicted: f64, bias_only: f64, range: (f32, f32)) {
        let (least, largest) = (f64::from(range.0), f64::from(range.1));
        let clip = |prediction: f64| prediction.max(least).min(largest);
        let mut record = |sums: fn(&mut Self) -> &mut [f64; 2], prediction: f64| {
            let error = prediction - value;
            let sums = sums(self);
            sums[0] += error * error;
            sums[1] += error.abs();
        };
        record(|sums| &mut sums.clipped, clip(predicted));
        record(|sums| &mut sums.unclipped, predicted);
        record(|sums| &mut sums.bias_only, clip(bias_only));
        self.count += 1.0;
    }

    /// Adds those of the user who follows.
    pub fn join(&mut self, other: &RatingSums) {
        let both = self
            .to_vec()
            .into_iter()
            .zip(other.to_vec())
            .map(|(sum, term)| sum + term);
        *self = Self::from_slice(&both.collect::<Vec<_>>());
    }

    /// The means, or zeros over nothing.
    pub fn ratings(&self, range: (f32, f32)) -> Ratings {
        let count = self.count.max(1.0);
        let errors = |sums: [f64; 2]| Errors {
            rmse: (sums[0] / count).sqrt(),
            mae: sums[1] / count,
        };
        let clipped = errors(self.clipped);
        Ratings {
            rmse: clipped.rmse,
            mae: clipped.mae,
            unclipped: errors(self.unclipped),
            bias_only: errors(self.bias_only),
            interactions: self.count as u64,
            interactions_left_out: self.left_out as u64,
            range,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::Small;
    use tensor::csr::Values;

    #[test]
    fn biases_and_errors_worked_by_hand() {
        let (offsets, columns, values) = ([0, 2, 2], [0, 2], [5.0, 2.0]);
        let block = CsrRef::new(
            &offsets,
            0,
            &columns,
            Small::default(),
            Values::Each(&values),
            Some(3),
        )
        .unwrap();
        let mut range = ValueRange::EMPTY;
        range.absorb(&block);
        let joined = ValueRange::join(&[range, ValueRange::EMPTY]);
        assert_eq!(
            (joined.mean(), joined.least, joined.largest),
            (3.5, 2.0, 5.0)
        );
        let mut sums = RowOffsets::new(2, 3.0);
        sums.absorb(&block, 0);
        let products: Vec<f32> = sums.offsets(2.0).collect();
        assert_eq!(products[0], 0.25);
        assert!(products[1].is_nan());
        // (5 - 3 - 0.5) + (2 - 3 - 0.5) = 0, over 2 + 2.
        assert_eq!(user_offset(&block, 0, 3.0, 2.0, |_| 0.5), Some(0.0));
        assert_eq!(user_offset(&block, 1, 3.0, 2.0, |_| 0.5), None);

        let mut sums = RatingSums::default();
        sums.add(4.0, 6.0, 3.0, (1.0, 5.0));
        sums.add(2.0, 2.0, 0.0, (1.0, 5.0));
        let found = RatingSums::from_slice(&sums.to_vec()).ratings((1.0, 5.0));
        assert_eq!((found.rmse, found.mae), (0.5_f64.sqrt(), 0.5));
        assert_eq!(
            found.unclipped,
            Errors {
                rmse: 2_f64.sqrt(),
                mae: 1.0
            }
        );
        assert_eq!(
            found.bias_only,
            Errors {
                rmse: 1.0,
                mae: 1.0
            }
        );
    }
}
