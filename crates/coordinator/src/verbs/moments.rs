//! At which bins a tensor scores. Lists of the test and of validation are those of the first bin that was held out, and
//! recommendations those of a bin behind the end of the data.

use crate::failure::Failure;
use crate::job::settings::{ModelTime, Settings};
use model::forecast::{Forecast, Moment};
use plan::Refusal;
use tables::Splits;
use tensor::{DataSet, ViewSpec};

/// The bins of a job at which its tensor scores.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// In the validation part.
    pub validation: Moment,
    /// In the test part.
    pub test: Moment,
    /// In recommendations.
    pub recommended: Moment,
}

impl Moments {
    /// Of a job; none where its model is a matrix.
    ///
    /// # Errors
    /// Where the seasons are longer than training.
    pub fn of(
        settings: &Settings,
        data: &DataSet,
        splits: &Splits,
    ) -> Result<Option<Self>, Failure> {
        let model = &settings.model;
        let factored = |_: &&_| model.time == ModelTime::Factor;
        let Some(time) = data.time.as_ref().filter(factored) else {
            return Ok(None);
        };
        let bins = splits.train.bins.clone().unwrap_or(0..time.bins);
        let last = Moment::last_of(bins, model.forecast);
        if let Forecast::Seasonal { period } = model.forecast
            && period > last.history()
        {
            let sentence = format!(
                "`model.period` is {period}, and training has {} bins: a season must have been seen once; give a shorter \
                 period, or hold out fewer bins",
                last.history()
            );
            return Err(Failure::new(Refusal::Config, sentence));
        }
        // A part that is not cut by bins lies in those of training.
        let first = |part: &ViewSpec| {
            let first = part.bins.as_ref().map(|bins| bins.start);
            last.at(first.unwrap_or(last.last))
        };
        let end = last.last.max(time.whole_bins().saturating_sub(1));
        Ok(Some(Moments {
            validation: first(&splits.validation),
            test: first(&splits.test),
            recommended: last.at(end + settings.output.recommend.bins_ahead),
        }))
    }
}
