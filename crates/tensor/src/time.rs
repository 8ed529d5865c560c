//! Time bins: UTC, ISO weeks starting on Monday. Pure calendar arithmetic on days since 1970-01-01.

use serde::{Deserialize, Serialize};

const SECONDS_PER_HOUR: i64 = 3600;
const SECONDS_PER_DAY: i64 = 86_400;

/// The width of a bin of the time mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeBin {
    /// 3,600 seconds.
    Hour,
    /// A day of UTC.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// Three calendar months from January, April, July, October.
    Quarter,
    /// All in one bin.
    None,
}

impl TimeBin {
    /// The absolute number of the bin that holds a moment (seconds since 1970-01-01T00:00:00Z).
    /// Bins of a data set are counted from that of its earliest interaction.
    pub fn index(self, seconds: i64) -> i64 {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        match self {
            TimeBin::Hour => seconds.div_euclid(SECONDS_PER_HOUR),
            TimeBin::Day => days,
            // 1970-01-01 was a Thursday: three days after its Monday.
            TimeBin::Week => (days + 3).div_euclid(7),
            TimeBin::Month => months(days),
            TimeBin::Quarter => months(days).div_euclid(3),
            TimeBin::None => 0,
        }
    }

    /// The first second of a bin; `None` for [`TimeBin::None`], which never began.
    pub fn start(self, index: i64) -> Option<i64> {
        self.end(index - 1)
    }

    /// The first second after a bin; `None` for [`TimeBin::None`], which never ends.
    pub fn end(self, index: i64) -> Option<i64> {
        let next = index + 1;
        let days = match self {
            TimeBin::Hour => return Some(next * SECONDS_PER_HOUR),
            TimeBin::Day => next,
            TimeBin::Week => next * 7 - 3,
            TimeBin::Month => days_before_month(next),
            TimeBin::Quarter => days_before_month(next * 3),
            TimeBin::None => return None,
        };
        Some(days * SECONDS_PER_DAY)
    }

    /// Whether a bin reaches past the last datum, known to a precision of `unit_seconds` (a day for dates).
    pub fn is_partial(self, index: i64, last_seconds: i64, unit_seconds: i64) -> bool {
        self.end(index)
            .is_some_and(|end| last_seconds + unit_seconds < end)
    }
}

/// A cycle of which every moment has a place, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cycle {
    /// 24 hours, from midnight.
    HourOfDay,
    /// Seven days, from Monday.
    DayOfWeek,
    /// Twelve months, from January.
    MonthOfYear,
}

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl Cycle {
    /// How many places.
    pub fn places(self) -> u32 {
        match self {
            Cycle::HourOfDay => 24,
            Cycle::DayOfWeek => 7,
            Cycle::MonthOfYear => 12,
        }
    }

    /// The place of a moment (seconds since 1970-01-01T00:00:00Z), from 0.
    pub fn place(self, seconds: i64) -> u32 {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let place = match self {
            Cycle::HourOfDay => seconds.rem_euclid(SECONDS_PER_DAY) / SECONDS_PER_HOUR,
            // As in `TimeBin::Week`.
            Cycle::DayOfWeek => (days + 3).rem_euclid(7),
            Cycle::MonthOfYear => months(days).rem_euclid(12),
        };
        place as u32
    }

    /// The word for a place: a day or month in English, an hour in two digits.
    pub fn name(self, place: u32) -> String {
        let known = match self {
            Cycle::HourOfDay => return format!("{place:02}"),
            Cycle::DayOfWeek => DAYS.get(place as usize),
            Cycle::MonthOfYear => MONTHS.get(place as usize),
        };
        known.copied().unwrap_or_default().to_owned()
    }

    /// The place with this word.
    pub fn named(self, name: &str) -> Option<u32> {
        (0..self.places()).find(|&place| self.name(place) == name)
    }
}

/// Months since January 1970 of a day (proleptic Gregorian; after H. Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`).
fn months(days: i64) -> i64 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    (year_of_era + era * 400) * 12 + march_month + 2 - 1970 * 12
}

/// Days since 1970-01-01 of the first day of a month counted from January 1970 (`days_from_civil`).
fn days_before_month(month: i64) -> i64 {
    let march_based = month + 1970 * 12 - 2;
    let (year, march_month) = (march_based.div_euclid(12), march_based.rem_euclid(12));
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * march_month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day (from 1970-01-01) that a text names as YYYY-MM-DD; `None` where it names none.
pub fn day_of_text(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| -> Option<i64> {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|c| c.is_ascii_digit());
        plain.then(|| part.parse().ok())?
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    let month = (year - 1970) * 12 + month - 1;
    let (first, end) = (days_before_month(month), days_before_month(month + 1));
    let found = first + day - 1;
    ((first..end).contains(&found)).then_some(found as i32)
}

/// The text of a day: YYYY-MM-DD.
pub fn text_of_day(day: i32) -> String {
    let month = months(i64::from(day));
    format!(
        "{:04}-{:02}-{:02}",
        1970 + month.div_euclid(12),
        month.rem_euclid(12) + 1,
        i64::from(day) - days_before_month(month) + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn months_and_days_agree_over_800_years() {
        for month in -4800..4800 {
            let first = days_before_month(month);
            assert_eq!(months(first), month);
            assert_eq!(months(first - 1), month - 1);
        }
        assert_eq!(days_before_month(0), 0);
        assert_eq!(days_before_month(12 * 30), 10_957, "2000-01-01");
    }

    #[test]
    fn days_have_texts() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("1969-12-31", -1),
            ("2017-12-31", 17_531),
        ] {
            assert_eq!(day_of_text(text), Some(day), "{text}");
            assert_eq!(text_of_day(day), text);
        }
        for day in -300_000..300_000 {
            assert_eq!(day_of_text(&text_of_day(day)), Some(day));
        }
        for wrong in [
            "",
            "2001-02-29",
            "2001-13-01",
            "2001-1-01",
            "2001-01-00",
            "2001-01-01-",
            "20010101",
            "+001-01-01",
        ] {
            assert_eq!(day_of_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn weeks_start_on_monday() {
        let monday = 4 * DAY; // 1970-01-05
        assert_eq!(
            TimeBin::Week.index(monday),
            TimeBin::Week.index(monday + 6 * DAY)
        );
        assert_eq!(
            TimeBin::Week.index(monday - 1) + 1,
            TimeBin::Week.index(monday)
        );
    }

    #[test]
    fn a_bin_ends_where_the_next_begins() {
        for bin in [
            TimeBin::Hour,
            TimeBin::Day,
            TimeBin::Week,
            TimeBin::Month,
            TimeBin::Quarter,
        ] {
            for index in [-700, -1, 0, 1, 575, 2000] {
                let end = bin.end(index).unwrap();
                assert_eq!(
                    (bin.index(end - 1), bin.index(end)),
                    (index, index + 1),
                    "{bin:?} {index}"
                );
            }
        }
    }

    #[test]
    fn cycles_come_again() {
        let sunday = 17_531 * DAY + 3 * 3600 + 59; // 2017-12-31 03:00:59
        for (cycle, place, name) in [
            (Cycle::HourOfDay, 3, "03"),
            (Cycle::DayOfWeek, 6, "sunday"),
            (Cycle::MonthOfYear, 11, "december"),
        ] {
            assert_eq!(
                (cycle.place(sunday), cycle.name(place)),
                (place, name.to_owned())
            );
            assert_eq!(cycle.named(name), Some(place));
        }
        assert_eq!(Cycle::DayOfWeek.place(-1), 2, "1969-12-31 was a Wednesday");
        assert_eq!(Cycle::MonthOfYear.place(-1), 11);
        assert_eq!(Cycle::DayOfWeek.named("noday"), None);
    }

    #[test]
    fn a_week_that_the_data_do_not_fill_is_partial() {
        let sunday = 17_531 * DAY; // 2017-12-31
        let week = TimeBin::Week.index(sunday);
        assert!(!TimeBin::Week.is_partial(week, sunday, DAY));
        assert!(TimeBin::Week.is_partial(week + 1, sunday + DAY, DAY));
        assert!(!TimeBin::None.is_partial(0, 0, 1));
    }
}
