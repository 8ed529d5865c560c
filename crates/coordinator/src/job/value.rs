//! The types of settings: reading a value from TOML, from the environment or from a flag.
//!
//! **Invariant:** a value that is read lies in the range of its key; what is wrong with one that does not
//! is said in half a sentence that begins with "must be".

use crate::job::keys::nearest_word;
use crate::job::search::{self, Dimension};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use tensor::ByteSize;
use toml::de::DeValue;

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any text but an empty one.
    Text,
    /// A list of texts; one text alone is a list of one.
    Texts,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A list of whole numbers.
    Counts {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A number.
    Real {
        /// The smallest.
        least: f64,
        /// The largest.
        most: f64,
    },
    /// A number of bytes with a unit.
    Size,
    /// True or false.
    Flag,
    /// Names, each with a number above 0.
    Weights,
    /// Values and ranges of keys of `[model]`.
    Search,
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A whole number.
    Count(u64),
    /// Several whole numbers.
    Counts(Vec<u64>),
    /// A number.
    Real(f64),
    /// A number of bytes.
    Size(ByteSize),
    /// True or false.
    Flag(bool),
    /// Numbers by name.
    Weights(BTreeMap<String, f64>),
    /// What is searched.
    Search(Vec<Dimension>),
}

impl fmt::Display for Value {
    /// As it would be written in a job file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Texts(texts) => write!(f, "{texts:?}"),
            Value::Count(count) => write!(f, "{count}"),
            Value::Counts(counts) => write!(f, "{counts:?}"),
            Value::Real(real) => write!(f, "{real:?}"),
            Value::Size(size) => write!(f, "\"{size}\""),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Weights(weights) => {
                let each: Vec<String> = weights
                    .iter()
                    .map(|(name, weight)| format!("{name:?} = {weight:?}"))
                    .collect();
                write!(f, "{{ {} }}", each.join(", "))
            }
            Value::Search(space) => {
                let space: Vec<String> = space.iter().map(ToString::to_string).collect();
                write!(f, "{{ {} }}", space.join(", "))
            }
        }
    }
}

impl fmt::Display for Shape {
    /// What values it takes, as a noun phrase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shape::Text => f.write_str("text"),
            Shape::Texts => f.write_str("a list of texts"),
            Shape::Choice(known) => f.write_str(&one_of(known)),
            Shape::Count { least, most } if most >= u64::MAX / 2 => {
                write!(f, "a whole number, {least} or more")
            }
            Shape::Count { least, most } => write!(f, "a whole number from {least} to {most}"),
            Shape::Counts { least, most } => {
                write!(f, "a list of whole numbers from {least} to {most}")
            }
            Shape::Real { least, most } if least == 0.0 && most >= 1e12 => {
                f.write_str("a number, 0 or more")
            }
            Shape::Real { least, most } if most >= 1e12 => {
                write!(f, "a number, at least {least:e}")
            }
            Shape::Real { least, most } => write!(f, "a number from {least} to {most}"),
            Shape::Size => f.write_str("a size such as 256MiB or 8GiB"),
            Shape::Flag => f.write_str("true or false"),
            Shape::Weights => {
                f.write_str("names with numbers above 0, as in { view = 0.1, cart = 0.5 }")
            }
            Shape::Search => f.write_str("a table of lists and ranges"),
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

impl Shape {
    /// Reads text from the environment or a flag; lists are separated by commas.
    pub fn read_text(self, text: &str) -> Result<Value, String> {
        let wrong = || self.refuse(text);
        match self {
            Shape::Text | Shape::Choice(_) => self.check(Value::Text(text.to_owned())),
            Shape::Texts => self.check(Value::Texts(items(text).map(str::to_owned).collect())),
            Shape::Count { .. } => self.check(Value::Count(whole(text).ok_or_else(wrong)?)),
            Shape::Counts { .. } => {
                let counts: Option<Vec<u64>> = items(text).map(whole).collect();
                self.check(Value::Counts(counts.ok_or_else(wrong)?))
            }
            Shape::Real { .. } => {
                self.check(Value::Real(text.trim().parse().map_err(|_| wrong())?))
            }
            Shape::Size => text.parse().map(Value::Size).map_err(|_| wrong()),
            Shape::Flag => text.trim().parse().map(Value::Flag).map_err(|_| wrong()),
            Shape::Weights => {
                let weight = |item: &str| {
                    let (name, weight) = item.split_once('=')?;
                    Some((name.trim().to_owned(), weight.trim().parse().ok()?))
                };
                let weights: Option<BTreeMap<String, f64>> = items(text).map(weight).collect();
                self.check(Value::Weights(weights.ok_or_else(wrong)?))
            }
            Shape::Search => search::read_text(text).map(Value::Search),
        }
    }

    /// Reads a value of a job file.
    pub fn read_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        let shown = shown(value);
        let wrong = || self.refuse(&shown);
        match (self, value) {
            (Shape::Text | Shape::Choice(_), DeValue::String(text)) => {
                self.check(Value::Text(text.to_string()))
            }
            // `workers = 2` reads better than `workers = "2"`.
            (Shape::Text, DeValue::Integer(_) | DeValue::Datetime(_)) => {
                self.check(Value::Text(shown.clone()))
            }
            (Shape::Texts, DeValue::String(text)) => {
                self.check(Value::Texts(vec![text.to_string()]))
            }
            (Shape::Texts, DeValue::Array(array)) => {
                let texts: Option<Vec<String>> = array
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned))
                    .collect();
                self.check(Value::Texts(texts.ok_or_else(wrong)?))
            }
            (Shape::Count { .. }, DeValue::Integer(_)) => {
                self.check(Value::Count(whole(&shown).ok_or_else(wrong)?))
            }
            (Shape::Counts { .. }, DeValue::Array(array)) => {
                let counts: Option<Vec<u64>> = array
                    .iter()
                    .map(|item| whole(&self::shown(item.get_ref())))
                    .collect();
                self.check(Value::Counts(counts.ok_or_else(wrong)?))
            }
            (Shape::Real { .. }, DeValue::Integer(_) | DeValue::Float(_)) => self.check(
                Value::Real(shown.replace('_', "").parse().map_err(|_| wrong())?),
            ),
            (Shape::Size, DeValue::String(text)) => {
                text.parse().map(Value::Size).map_err(|_| wrong())
            }
            (Shape::Size, DeValue::Integer(_)) => {
                shown.parse().map(Value::Size).map_err(|_| wrong())
            }
            (Shape::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Shape::Weights, DeValue::Table(table)) => {
                let weight = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                    let number = match value.get_ref() {
                        DeValue::Integer(_) | DeValue::Float(_) => self::shown(value.get_ref()),
                        _ => return None,
                    };
                    let name: &std::borrow::Cow<'_, str> = name.get_ref();
                    Some((name.to_string(), number.replace('_', "").parse().ok()?))
                };
                let weights: Option<BTreeMap<String, f64>> = table.iter().map(weight).collect();
                self.check(Value::Weights(weights.ok_or_else(wrong)?))
            }
            (Shape::Search, space) => search::read_toml(space).map(Value::Search),
            _ => Err(wrong()),
        }
    }

    /// Whether a value lies in the range.
    fn check(self, value: Value) -> Result<Value, String> {
        let fits = match (self, &value) {
            (Shape::Choice(known), Value::Text(word)) => known.contains(&word.as_str()),
            (Shape::Text, Value::Text(text)) => !text.trim().is_empty(),
            (Shape::Texts, Value::Texts(texts)) => {
                !texts.is_empty() && texts.iter().all(|text| !text.is_empty())
            }
            (Shape::Count { least, most }, Value::Count(count)) => (least..=most).contains(count),
            (Shape::Counts { least, most }, Value::Counts(counts)) => {
                !counts.is_empty() && counts.iter().all(|count| (least..=most).contains(count))
            }
            (Shape::Weights, Value::Weights(weights)) => {
                let positive = |weight: &f64| *weight > 0.0 && *weight <= 1e12;
                !weights.is_empty() && weights.values().all(positive)
            }
            // A NaN lies in no range.
            (Shape::Real { least, most }, Value::Real(real)) => (least..=most).contains(real),
            _ => true,
        };
        if fits {
            Ok(value)
        } else {
            Err(self.refuse(&value.to_string()))
        }
    }

    fn refuse(self, found: &str) -> String {
        let hint = match self {
            Shape::Choice(known) => nearest_word(known.iter().copied(), found.trim_matches('"'))
                .map(|word| format!(": did you mean \"{word}\"?"))
                .unwrap_or_default(),
            _ => String::new(),
        };
        let found = if found.trim().is_empty() {
            "empty"
        } else {
            found
        };
        format!("must be {self}, not {found}{hint}")
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn whole(text: &str) -> Option<u64> {
    text.trim().replace('_', "").parse().ok()
}

/// A value of a job file as people would write it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(array) => {
            let items: Vec<String> = array.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_in_words() {
        let rank = Shape::Count {
            least: 1,
            most: 512,
        };
        for (shape, text, sentence) in [
            (rank, "0", "must be a whole number from 1 to 512, not 0"),
            (rank, "-3", "must be a whole number from 1 to 512, not -3"),
            (
                Shape::Real {
                    least: 0.0,
                    most: 1e12,
                },
                "-1",
                "must be a number, 0 or more, not -1.0",
            ),
            (
                Shape::Real {
                    least: 0.0,
                    most: 1e12,
                },
                "NaN",
                "must be a number, 0 or more, not NaN",
            ),
            (
                Shape::Choice(&["mmap", "pread"]),
                "map",
                "must be \"mmap\" or \"pread\", not \"map\": did you mean \"mmap\"?",
            ),
            (
                Shape::Size,
                "12 parsecs",
                "must be a size such as 256MiB or 8GiB, not 12 parsecs",
            ),
        ] {
            assert_eq!(shape.read_text(text).unwrap_err(), sentence);
        }
        assert_eq!(
            Shape::Counts { least: 1, most: 9 }
                .read_text("1, 2")
                .unwrap(),
            Value::Counts(vec![1, 2])
        );
    }
}
