//! Numbers as people read them: the same text for the same number everywhere.

/// A count with thin groups, as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A figure of an evaluation: four digits behind the point.
pub fn figure(value: f64) -> String {
    minus(&format!("{value:.4}"))
}

/// The same with its sign.
pub fn signed(value: f64) -> String {
    minus(&format!("{value:+.4}"))
}

/// A share in percent, with so many digits that small ones can be told apart.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = if percent.abs() >= 1.0 { 1 } else { 2 };
    minus(&format!("{percent:.digits$} %"))
}

/// Percentage points with their sign.
pub fn points(share: f64) -> String {
    minus(&format!("{:+.2}", 100.0 * share))
}

/// A time span.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s if s >= 10.0 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    }
}

/// Short text for a tick: `2k`, `1.5M`, `1e-5`; `step` says how many digits tell neighbours apart.
pub fn tick(value: f64, step: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    let (unit, name) = match size {
        s if s >= 1e15 => return minus(&format!("{value:.0e}")),
        s if s >= 1e12 => (1e12, "T"),
        s if s >= 1e9 => (1e9, "G"),
        s if s >= 1e6 => (1e6, "M"),
        s if s >= 1e4 => (1e3, "k"),
        s if s < 1e-4 => return minus(&format!("{value:.0e}")),
        _ => (1.0, ""),
    };
    let digits = (-(step.abs() / unit).log10()).ceil().clamp(0.0, 6.0) as usize;
    minus(&format!("{:.digits$}{name}", value / unit))
}

/// A number of whatever size, as in a table of settings or of an objective.
pub fn plain(value: f64) -> String {
    let size = value.abs();
    if value == value.trunc() && size < 1e6 {
        return minus(&format!("{value:.0}"));
    }
    if (1e-3..1e6).contains(&size) {
        return minus(&format!("{value:.4}"));
    }
    minus(&format!("{value:.4e}"))
}

/// The sign that is as wide as a plus.
fn minus(text: &str) -> String {
    text.replacen('-', "\u{2212}", usize::from(text.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(0.034_56), "3.5 %");
        assert_eq!(percent(0.5), "50.0 %");
        assert_eq!(percent(-0.0012), "\u{2212}0.12 %");
        assert_eq!(signed(-0.25), "\u{2212}0.2500");
        assert_eq!(points(0.0012), "+0.12");
        assert_eq!(seconds(3.21), "3.2 s");
        assert_eq!(seconds(300.0), "5.0 min");
        assert_eq!(plain(-2.0), "\u{2212}2");
        assert_eq!(plain(0.003), "0.0030");
        assert_eq!(plain(9.25e5), "925000");
        assert_eq!(plain(9.25e7), "9.2500e7");
    }

    #[test]
    fn ticks_are_short_and_apart() {
        assert_eq!(tick(0.0, 0.1), "0");
        assert_eq!(tick(0.05, 0.05), "0.05");
        assert_eq!(tick(20_000.0, 5000.0), "20k");
        assert_eq!(tick(1_500_000.0, 500_000.0), "1.5M");
        assert_eq!(tick(2e-6, 1e-6), "2e-6");
        assert_eq!(tick(-3.0, 1.0), "\u{2212}3");
    }
}
