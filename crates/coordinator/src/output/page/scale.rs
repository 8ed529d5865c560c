//! From numbers to places: linear and logarithmic scales, and ticks that people would choose.

use super::number;

/// How numbers become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    Log,
}

/// A scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    kind: Kind,
    domain: (f64, f64),
    range: (f64, f64),
    /// Between ticks: a number, or decades.
    step: f64,
}

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where.
    pub at: f64,
    /// What it says.
    pub text: String,
}

impl Scale {
    /// Over all finite values, out to the next ticks, to places from `range.0` to `range.1`. Nothing, or one value alone, has a
    /// unit's room.
    pub fn linear(values: impl IntoIterator<Item = f64>, range: (f64, f64)) -> Self {
        let (mut low, mut high) = ends(values).unwrap_or((0.0, 1.0));
        if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
            let room = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        let step = nice_step((high - low) / 4.0);
        let domain = ((low / step).floor() * step, (high / step).ceil() * step);
        Scale {
            kind: Kind::Linear,
            domain,
            range,
            step,
        }
    }

    /// Over exactly these ends: neighbours share them.
    pub fn between(domain: (f64, f64), range: (f64, f64)) -> Self {
        let domain = if domain.1 > domain.0 {
            domain
        } else {
            (domain.0 - 0.5, domain.0 + 0.5)
        };
        Scale {
            kind: Kind::Linear,
            domain,
            range,
            step: nice_step((domain.1 - domain.0) / 4.0),
        }
    }

    /// Over all positive values, out to powers of ten.
    pub fn log(values: impl IntoIterator<Item = f64>, range: (f64, f64)) -> Self {
        let positive = values.into_iter().filter(|&value| value > 0.0);
        let (low, high) = ends(positive).unwrap_or((1.0, 10.0));
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        let high = high.max(low + 1.0);
        Scale {
            kind: Kind::Log,
            domain: (low, high),
            range,
            step: ((high - low) / 6.0).floor() + 1.0,
        }
    }

    /// The place of a value.
    pub fn at(&self, value: f64) -> f64 {
        let value = match self.kind {
            Kind::Linear => value,
            Kind::Log => value.log10(),
        };
        let share = (value - self.domain.0) / (self.domain.1 - self.domain.0);
        self.range.0 + share.clamp(0.0, 1.0) * (self.range.1 - self.range.0)
    }

    /// About four steps; decades of a logarithmic scale, every second or third where they are many.
    pub fn ticks(&self) -> Vec<Tick> {
        match self.kind {
            Kind::Linear => self.linear_ticks(),
            Kind::Log => {
                let (low, high) = (self.domain.0 as i32, self.domain.1 as i32);
                let tick = |power: i32| {
                    let value = 10_f64.powi(power);
                    Tick {
                        at: self.at(value),
                        text: number::tick(value, value),
                    }
                };
                (low..=high).step_by(self.step as usize).map(tick).collect()
            }
        }
    }

    fn linear_ticks(&self) -> Vec<Tick> {
        let (low, high) = self.domain;
        let step = self.step;
        let first = (low / step - 1e-6).ceil() as i64;
        let last = (high / step + 1e-6).floor() as i64;
        let tick = |place: i64| {
            let value = place as f64 * step;
            Tick {
                at: self.at(value),
                text: number::tick(value, step),
            }
        };
        (first..=last).map(tick).collect()
    }
}

/// The least of 1, 2, 5 times a power of ten that is not below a width.
fn nice_step(width: f64) -> f64 {
    let power = 10_f64.powf(width.log10().floor());
    let unit = width / power;
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|&step| unit <= step * (1.0 + 1e-9));
    power * step.unwrap_or(10.0)
}

fn ends(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn ticks_are_those_that_people_choose() {
        let over = |values: &[f64]| texts(&Scale::linear(values.iter().copied(), (0.0, 100.0)));
        assert_eq!(over(&[0.0, 0.31]), ["0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(over(&[0.013, 0.034]), ["0.01", "0.02", "0.03", "0.04"]);
        assert_eq!(over(&[1.0, 10.0]), ["0", "5", "10"]);
        assert_eq!(
            over(&[120_000.0, 490_000.0]),
            ["100k", "200k", "300k", "400k", "500k"]
        );
        let decades = Scale::log([3.0, 41_000.0], (0.0, 1.0));
        assert_eq!(texts(&decades), ["1", "10", "100", "1000", "10k", "100k"]);
    }

    #[test]
    fn a_log_scale_gives_decades_equal_room() {
        let scale = Scale::log([1.0, 1000.0], (0.0, 300.0));
        for (value, place) in [(1.0, 0.0), (10.0, 100.0), (1000.0, 300.0)] {
            assert!((scale.at(value) - place).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_and_one_value_have_room() {
        for scale in [
            Scale::linear([], (0.0, 1.0)),
            Scale::linear([f64::NAN, f64::INFINITY], (0.0, 1.0)),
            Scale::linear([7.0], (0.0, 1.0)),
            Scale::linear([0.0, 0.0], (0.0, 1.0)),
            Scale::log([0.0, -1.0], (0.0, 1.0)),
            Scale::log([10.0], (0.0, 1.0)),
            Scale::between((3.0, 3.0), (0.0, 1.0)),
        ] {
            assert!(scale.ticks().len() >= 2, "{scale:?}");
            assert!((0.0..=1.0).contains(&scale.at(7.0)), "{scale:?}");
        }
    }

    proptest! {
        #[test]
        fn values_lie_between_ticks_in_order(low in -1e9..1e9, width in 1e-6..1e9, share in 0.0..1.0) {
            let scale = Scale::linear([low, low + width], (0.0, 1000.0));
            let ticks = scale.ticks();
            prop_assert!((3..=7).contains(&ticks.len()), "{ticks:?}");
            let (first, last) = (ticks[0].at, ticks[ticks.len() - 1].at);
            prop_assert!(first < 1e-3 && last > 1000.0 - 1e-3, "{ticks:?}");
            prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
            let (a, b) = (scale.at(low), scale.at(low + share * width));
            prop_assert!((0.0..=1000.0).contains(&a) && b >= a - 1e-9);
        }

        #[test]
        fn ticks_of_ordinary_numbers_are_told_apart(low in 0.0..1e6, width in 1e-3..1e6) {
            let scale = Scale::linear([low, low + width], (0.0, 1.0));
            // Digits run out where a range is a tiny share of its place: the axis then says the place, not the range.
            prop_assume!(width > low * 1e-3);
            let mut texts = texts(&scale);
            let before = texts.len();
            texts.dedup();
            prop_assert_eq!(texts.len(), before, "{:?}", texts);
        }
    }
}
