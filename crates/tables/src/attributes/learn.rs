//! What the columns of a split come to: moments of numbers, counts of names.

use super::table::{Batch, names};
use super::{LEVEL_BYTES_MAX, LEVELS_MAX};
use crate::columns::Reals;
use crate::error::TablesError;
use crate::op::LearnOp;
use arrow::array::Array;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Count, mean and sum of squared distances from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Numbers seen.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Σ (x − mean)².
    pub squares: f64,
}

impl Moments {
    /// One more number (Welford 1962): a plain sum of squares would lose what is far from 0.
    pub fn add(&mut self, x: f64) {
        self.count += 1;
        let distance = x - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (x - self.mean);
    }

    /// Those of two parts together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let distance = other.mean - self.mean;
        Moments {
            count: self.count + other.count,
            mean: self.mean + distance * (m / (n + m)),
            squares: self.squares + other.squares + distance * distance * (n * m / (n + m)),
        }
    }

    /// √(Σ (x − mean)² / count).
    pub fn deviation(self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }
}

/// What a column comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Learnt {
    /// Of numbers.
    Number(Moments),
    /// How often each name stands there.
    Levels(BTreeMap<String, u64>),
}

/// The partial of a task that learns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnReport {
    /// Rows with an id.
    pub rows: u64,
    /// The first row without one.
    pub null_id: Option<u64>,
    /// The first row with an infinite number, and its column.
    pub infinite: Option<(u64, u32)>,
    /// A column with more names than can be counted.
    pub overflow: Option<u32>,
    /// The columns.
    pub columns: Vec<Learnt>,
}

/// Learning, in progress.
pub struct Learn {
    report: LearnReport,
    level_bytes: usize,
}

impl Learn {
    /// Nothing seen yet.
    pub fn new(op: &LearnOp) -> Self {
        let learnt = |categorical| {
            if categorical {
                Learnt::Levels(BTreeMap::new())
            } else {
                Learnt::Number(Moments::default())
            }
        };
        let columns = op.columns.iter();
        Learn {
            report: LearnReport {
                columns: columns.map(|column| learnt(column.categorical)).collect(),
                ..LearnReport::default()
            },
            level_bytes: 0,
        }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), TablesError> {
        let report = &mut self.report;
        if batch.ids.null_count() > 0 {
            let null = (0..batch.ids.len()).find(|&row| batch.ids.is_null(row));
            let null = null.map(|row| batch.first_row + row as u64);
            report.null_id = report.null_id.or(null);
        }
        report.rows += (batch.ids.len() - batch.ids.null_count()) as u64;
        for (place, array) in batch.columns.iter().enumerate() {
            match &mut report.columns[place] {
                Learnt::Number(moments) => {
                    let numbers = Reals::of(array)?;
                    for row in 0..array.len() {
                        match numbers.at(row) {
                            Some(x) if x.is_infinite() => {
                                let at = (batch.first_row + row as u64, place as u32);
                                report.infinite = report.infinite.or(Some(at));
                            }
                            Some(x) if !x.is_nan() => moments.add(x),
                            _ => {}
                        }
                    }
                }
                Learnt::Levels(levels) => names(array, |name| {
                    let Some(name) = name else { return };
                    if let Some(count) = levels.get_mut(name) {
                        *count += 1;
                    } else if levels.len() < LEVELS_MAX
                        && self.level_bytes + name.len() <= LEVEL_BYTES_MAX
                    {
                        self.level_bytes += name.len();
                        levels.insert(name.to_owned(), 1);
                    } else {
                        report.overflow = report.overflow.or(Some(place as u32));
                    }
                })?,
            }
        }
        Ok(())
    }

    /// What was learnt.
    pub fn finish(self) -> LearnReport {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_parts_are_those_of_the_whole() {
        let numbers: Vec<f64> = (0..100).map(|i| 1e9 + f64::from(i * i % 37)).collect();
        let of = |numbers: &[f64]| {
            let mut moments = Moments::default();
            for &x in numbers {
                moments.add(x);
            }
            moments
        };
        let whole = of(&numbers);
        let mean = numbers.iter().map(|x| x - 1e9).sum::<f64>() / 100.0;
        let squares: f64 = numbers.iter().map(|x| (x - 1e9 - mean).powi(2)).sum();
        for cut in [0, 1, 40, 100] {
            let joined = of(&numbers[..cut]).join(of(&numbers[cut..]));
            assert_eq!(joined.count, 100);
            assert!((joined.mean - 1e9 - mean).abs() < 1e-6);
            assert!((joined.squares - squares).abs() < 1e-6 * squares);
            // At 1e9 an f64 resolves 1e-7.
            assert!((whole.deviation() - joined.deviation()).abs() < 1e-6);
        }
    }
}
