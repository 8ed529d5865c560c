//! The learning curve as two lines of text.

use crate::output::report::EpochReport;

/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Longer courses are thinned to so many bars.
const WIDTH: usize = 60;
/// Metrics of which the first that was measured is drawn below the objective.
const DRAWN: [&str; 2] = ["new_products ndcg@20", "rmse"];

/// A line for the objective and one for what was measured on the validation part; nothing of fewer than two epochs.
pub fn curve(epochs: &[EpochReport]) -> Vec<String> {
    let mut courses = vec![(
        "objective",
        epochs
            .iter()
            .filter_map(|epoch| epoch.objective)
            .collect::<Vec<f64>>(),
    )];
    courses.extend(DRAWN.map(|name| {
        let values = epochs
            .iter()
            .filter_map(|epoch| epoch.metrics.get(name).copied());
        let shown = name.rsplit(' ').next().unwrap_or(name);
        (shown, values.collect())
    }));
    courses.retain(|(_, values)| values.len() > 1);
    let line = |(name, values): &(&str, Vec<f64>)| {
        let (first, last) = (values[0], values[values.len() - 1]);
        let ends = if first.abs() < 1e4 {
            format!("{first:.4} to {last:.4}")
        } else {
            format!("{first:.6e} to {last:.6e}")
        };
        format!("{name:<9} {} {ends}", bars(values))
    };
    courses.iter().map(line).collect()
}

/// Bars between the least and the largest value.
fn bars(values: &[f64]) -> String {
    let shown = values.len().min(WIDTH);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |place: usize| {
        let value = values[place * (values.len() - 1) / (shown - 1).max(1)];
        let share = (value - least) / (largest - least).max(f64::MIN_POSITIVE);
        BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    (0..shown).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_drawn_between_its_ends() {
        let epoch = |(epoch, objective): (u32, f64)| EpochReport {
            epoch,
            objective: Some(objective),
            metrics: [("new_products ndcg@20".to_owned(), 0.25 * f64::from(epoch))].into(),
            ..EpochReport::default()
        };
        let epochs: Vec<EpochReport> = [(1, 8e5), (2, 2e5), (3, 1e5)].map(epoch).into();
        assert_eq!(
            curve(&epochs),
            [
                "objective █▂▁ 8.000000e5 to 1.000000e5",
                "ndcg@20   ▁▅█ 0.2500 to 0.7500"
            ]
        );
        assert!(curve(&epochs[..1]).is_empty());
        assert_eq!(bars(&[1.0; 200]).chars().count(), WIDTH);
    }
}
