//! At which bins a tensor scores. Lists of the test and of validation are those of the first bin that was held out, and
//! recommendations those of a bin behind the end of the data.

use crate::failure::Failure;
use crate::job::settings::{ModelTime, Settings, Split};
use model::forecast::{Forecast, Moment};
use plan::Refusal;
use tables::Bound;
use tables::Splits;
use tensor::{DataSet, TimeAxis, ViewSpec};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

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
        let ahead = recommended(settings, time)?;
        Ok(Some(Moments {
            validation: first(&splits.validation),
            test: first(&splits.test),
            recommended: last.at(ahead),
        }))
    }
}

/// The bin for which recommendations are.
///
/// # Errors
/// Where the job's date lies before the data, or is not of their times.
pub fn recommended(settings: &Settings, time: &TimeAxis) -> Result<u32, Failure> {
    let wish = &settings.output.recommend;
    let refused = |why: &str| {
        let sentence = format!("`output.recommend.date` {why}");
        Failure::new(Refusal::Config, sentence)
    };
    let Some(date) = wish.date else {
        // A bin that data do not fill to its end is left out where bins are held out, and else trained on.
        let bins = match settings.split {
            Split::Bins { .. } => time.whole_bins(),
            _ => time.bins,
        };
        return Ok(bins.saturating_sub(1) + wish.bins_ahead);
    };
    let number = match (date, time.bin.start(time.first_bin)) {
        (Bound::Day(day), Some(_)) => time.bin.index(i64::from(day) * DAY_SECONDS),
        (Bound::Number(number), None) => number,
        (Bound::Day(day), None) => {
            let day = Bound::Day(day);
            let why = format!(
                "is the day {day}, but the times of the data are numbers of bins: give a number"
            );
            return Err(refused(&why));
        }
        (Bound::Number(number), Some(_)) => {
            let why = format!("is the number {number}, but the data have times: write YYYY-MM-DD");
            return Err(refused(&why));
        }
    };
    let bin = u32::try_from(number - time.first_bin);
    bin.map_err(|_| refused(&format!("is {date}, which lies before all data or too far behind them: give a day from their first bin on")))
}
