//! Where a tensor scores: at a bin of training by that bin's factors, beyond the last one by a forecast of them.
//!
//! `last` repeats the last row; `drift` goes on in the mean step of training, t_n + h (t_n − t_1) / (n − 1); `seasonal` repeats
//! the row of the last period at the same place: the three simple methods of Hyndman and Athanasopoulos, *Forecasting:
//! principles and practice* (2021), column by column.

use serde::{Deserialize, Serialize};

/// How the factors of bins go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forecast {
    /// They stay as in the last bin.
    #[default]
    Last,
    /// They go on as they went on the whole.
    Drift,
    /// They come again after so many bins.
    Seasonal {
        /// Bins of a period, at least one.
        period: u32,
    },
}

/// A bin, and what training knows of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The first bin of training.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// The bin that scores.
    pub bin: u32,
    /// How factors go on behind the last.
    pub forecast: Forecast,
    /// The last bins of training whose mean is taken off, so that scores are what has changed since; 0: nothing is.
    pub over: u32,
}

impl Moment {
    /// The last bin of a training that saw these bins.
    pub fn last_of(bins: std::ops::Range<u32>, forecast: Forecast) -> Self {
        let last = bins.end.saturating_sub(1).max(bins.start);
        Moment {
            first: bins.start,
            last,
            bin: last,
            forecast,
            over: 0,
        }
    }

    /// Another bin of the same history.
    #[must_use]
    pub fn at(self, bin: u32) -> Self {
        Moment { bin, ..self }
    }

    /// The same bin against the mean of the last bins of training.
    #[must_use]
    pub fn over(self, bins: u32) -> Self {
        Moment { over: bins, ..self }
    }

    /// Bins of training.
    pub fn history(&self) -> u32 {
        self.last - self.first + 1
    }

    /// The factors of the bin, given the table of all bins; `None` where the table lacks a row that is needed. History ends with
    /// the last bin that is not all zeros: later ones had no interaction, as where files of their own are held out.
    pub fn row(&self, table: &[f32], width: usize) -> Option<Vec<f32>> {
        let row = |bin: u32| table.chunks_exact(width).nth(bin as usize);
        row(self.last)?;
        let known = |bin: &u32| row(*bin).is_some_and(|row| row.iter().any(|&t| t != 0.0));
        let last = (self.first..=self.last).rev().find(known);
        let last = last.unwrap_or(self.last);
        let mut found = Moment { last, ..*self }.row_of(row)?;
        if self.over > 0 {
            let first = (last + 1).saturating_sub(self.over).max(self.first);
            let rows: Vec<&[f32]> = (first..=last).map(row).collect::<Option<_>>()?;
            for (column, found) in found.iter_mut().enumerate() {
                let sum: f64 = rows.iter().map(|row| f64::from(row[column])).sum();
                *found = (f64::from(*found) - sum / rows.len() as f64) as f32;
            }
        }
        Some(found)
    }

    fn row_of<'a>(&self, row: impl Fn(u32) -> Option<&'a [f32]>) -> Option<Vec<f32>> {
        let last = row(self.last)?;
        let Some(ahead) = self.bin.checked_sub(self.last).filter(|ahead| *ahead > 0) else {
            return row(self.bin).map(<[f32]>::to_vec);
        };
        match self.forecast {
            Forecast::Drift if self.history() > 1 => {
                let steps = f64::from(ahead) / f64::from(self.history() - 1);
                let drift = |(&last, &first): (&f32, &f32)| {
                    let (last, first) = (f64::from(last), f64::from(first));
                    (last + steps * (last - first)) as f32
                };
                Some(last.iter().zip(row(self.first)?).map(drift).collect())
            }
            Forecast::Last | Forecast::Drift => Some(last.to_vec()),
            Forecast::Seasonal { period } => {
                let period = period.clamp(1, self.history());
                row(self.last + 1 - period + (ahead - 1) % period).map(<[f32]>::to_vec)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One column: bin k holds k² from bin 2 on, and bins 7 and 8 nothing.
    const TABLE: [f32; 9] = [0.0, 0.0, 4.0, 9.0, 16.0, 25.0, 36.0, 0.0, 0.0];

    fn rows(forecast: Forecast, bins: std::ops::Range<u32>) -> Vec<f32> {
        let moment = Moment::last_of(2..7, forecast);
        let row = |bin| moment.at(bin).row(&TABLE, 1).unwrap()[0];
        bins.map(row).collect()
    }

    #[test]
    fn bins_of_training_are_their_own_and_later_ones_follow_the_rule() {
        for forecast in [
            Forecast::Last,
            Forecast::Drift,
            Forecast::Seasonal { period: 3 },
        ] {
            assert_eq!(rows(forecast, 2..7), [4.0, 9.0, 16.0, 25.0, 36.0]);
        }
        assert_eq!(rows(Forecast::Last, 7..10), [36.0; 3]);
        assert_eq!(rows(Forecast::Drift, 7..10), [44.0, 52.0, 60.0]);
        assert_eq!(
            rows(Forecast::Seasonal { period: 3 }, 7..12),
            [16.0, 25.0, 36.0, 16.0, 25.0]
        );
        assert_eq!(rows(Forecast::Seasonal { period: 5 }, 7..8), [4.0]);
    }

    #[test]
    fn bins_that_training_did_not_fill_are_forecast() {
        let row = |forecast, bin| Moment::last_of(0..9, forecast).at(bin).row(&TABLE, 1);
        assert_eq!(row(Forecast::Last, 8), Some(vec![36.0]));
        assert_eq!(row(Forecast::Drift, 8), Some(vec![48.0]));
        let seasonal = Forecast::Seasonal { period: 3 };
        assert_eq!(row(seasonal, 7), Some(vec![16.0]));
        assert_eq!(row(seasonal, 1), Some(vec![0.0]));
    }

    #[test]
    fn what_rises_is_the_bin_less_the_mean_of_the_last() {
        let row = |over, bin| {
            let moment = Moment::last_of(2..7, Forecast::Drift).at(bin).over(over);
            moment.row(&TABLE, 1).unwrap()[0]
        };
        assert_eq!(row(0, 7), 44.0);
        assert_eq!(row(1, 7), 8.0);
        assert_eq!(row(3, 7), (44.0 - 77.0 / 3.0_f64) as f32);
        // Never before the first bin, and bins that training did not fill are none of the last.
        assert_eq!(row(99, 7), 44.0 - 18.0);
        let unfilled = Moment::last_of(0..9, Forecast::Last).at(9).over(2);
        assert_eq!(unfilled.row(&TABLE, 1), Some(vec![36.0 - 30.5]));
    }

    #[test]
    fn one_bin_drifts_nowhere_and_rows_that_are_not_there_are_missed() {
        let one = Moment::last_of(4..5, Forecast::Drift).at(9);
        assert_eq!(one.row(&TABLE, 1), Some(vec![16.0]));
        assert_eq!(Moment::last_of(4..11, Forecast::Last).row(&TABLE, 1), None);
    }
}
