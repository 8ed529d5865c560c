//! The verdict on a table of models: the least that does, and whether more is supported.

use super::compare::gaps;
use super::{Family, Gap, Row, Settings};
use serde::{Deserialize, Serialize};

/// What a table allows to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Use the model.
    Use,
    /// No model is above popularity, and intervals are narrow enough to say so.
    NothingBeatsPopularity,
    /// Intervals are too wide to tell.
    TooLittleData,
}

/// The verdict on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What can be said.
    pub answer: Answer,
    /// The model to use: the first, in the order of rows, than which none is better by what is worth it and supported.
    pub model: String,
    /// What it is one of.
    pub family: Family,
    /// The model with the best figure.
    pub best: String,
    /// Models than which the best is not better by what is worth it and supported, in the order of rows.
    pub as_good: Vec<String>,
    /// Models that are worse than popularity, supported by intervals.
    pub worse_than_popularity: Vec<String>,
    /// Every model less the best.
    pub to_best: Vec<Gap>,
    /// Every model less popularity.
    pub to_popularity: Vec<Gap>,
    /// Every model less plain matrix factorization, where there is one.
    pub to_matrix: Vec<Gap>,
}

/// Of rows in the order of what they ask for, the least first; the first is popularity.
///
/// # Panics
/// Where there is no row, or rows do not have equally many replicates.
pub fn verdict(rows: &[Row], settings: Settings) -> Verdict {
    assert!(!rows.is_empty(), "popularity at least");
    let best = (0..rows.len()).fold(0, |best, row| {
        if rows[row].value > rows[best].value {
            row
        } else {
            best
        }
    });
    let to_best = gaps(rows, best, settings.level);
    let to_popularity = gaps(rows, 0, settings.level);
    let matrix = rows.iter().position(|row| row.family == Family::Matrix);
    let does = |row: usize| row == best || !to_best[row].below(settings.worth * rows[row].value);
    let least = (0..rows.len()).find(|&row| does(row)).unwrap_or(best);
    let possible = to_popularity.iter().map(|gap| gap.interval.1);
    let possible = possible.fold(0.0, f64::max);
    let answer = if rows[least].family != Family::Popularity || least > 0 {
        Answer::Use
    } else if possible <= settings.narrow * rows[0].value {
        Answer::NothingBeatsPopularity
    } else {
        Answer::TooLittleData
    };
    let named = |of: &dyn Fn(usize) -> bool| {
        let rows = (0..rows.len())
            .filter(|&row| of(row))
            .map(|row| rows[row].name.clone());
        rows.collect()
    };
    Verdict {
        answer,
        model: rows[least].name.clone(),
        family: rows[least].family,
        best: rows[best].name.clone(),
        as_good: named(&does),
        worse_than_popularity: named(&|row| to_popularity[row].below(0.0)),
        to_matrix: matrix.map_or_else(Vec::new, |matrix| gaps(rows, matrix, settings.level)),
        to_best,
        to_popularity,
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::tests::row;
    use super::*;

    fn table(figures: [f64; 4], error: f64) -> Vec<Row> {
        let rows = [
            ("popularity", Family::Popularity),
            ("own count", Family::Repeat),
            ("matrix", Family::Matrix),
            ("lightgcn", Family::Graph),
        ];
        rows.iter()
            .zip(figures)
            .map(|(&(name, family), value)| row(name, family, value, error))
            .collect()
    }

    fn judged(figures: [f64; 4], error: f64) -> (Answer, String) {
        let found = verdict(&table(figures, error), Settings::default());
        (found.answer, found.model)
    }

    #[test]
    fn the_least_that_does_is_used() {
        let matrix = (Answer::Use, "matrix".to_owned());
        // The graph is ahead by less than errors support, by less than it is worth, and behind.
        assert_eq!(judged([0.1, 0.1, 0.2, 0.203], 2e-3), matrix);
        assert_eq!(judged([0.1, 0.1, 0.2, 0.203], 1e-5), matrix);
        assert_eq!(judged([0.1, 0.1, 0.2, 0.15], 2e-3), matrix);
        let graph = (Answer::Use, "lightgcn".to_owned());
        assert_eq!(judged([0.1, 0.1, 0.2, 0.22], 1e-3), graph);
        let own = (Answer::Use, "own count".to_owned());
        assert_eq!(judged([0.1, 0.3, 0.2, 0.22], 1e-3), own);
    }

    #[test]
    fn nothing_is_told_from_too_little() {
        let nothing = verdict(&table([0.1, 0.1, 0.09, 0.1005], 1e-3), Settings::default());
        assert_eq!(nothing.answer, Answer::NothingBeatsPopularity);
        assert_eq!(nothing.worse_than_popularity, ["matrix"]);
        assert_eq!(nothing.as_good, ["popularity", "own count", "lightgcn"]);
        let wide = verdict(&table([0.1, 0.1, 0.12, 0.13], 2e-2), Settings::default());
        assert_eq!(wide.answer, Answer::TooLittleData);
        assert_eq!((wide.best.as_str(), wide.to_matrix.len()), ("lightgcn", 4));
    }
}
