//! What `tune` searches: values or ranges of keys of `[model]`, and the points that are drawn of them.
//!
//! **Invariant:** a point follows from the seed and its number alone, by operations that every machine rounds alike; its
//! values are texts that a job file may hold.

use crate::job::keys::{self, Key, nearest_word};
use crate::job::value::Shape;
use kernels::random::Random;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use toml::de::DeValue;

/// The purpose of the random numbers of points.
const PURPOSE: u32 = 0x300;
/// Draws before a point that is there already is drawn no more.
const DRAWS_MAX: u32 = 64;
/// Keys that are no question for a search: what others of them mean, or how long a trial trains.
const FIXED: [&str; 6] = [
    "model.kind",
    "model.time",
    "model.epochs",
    "model.patience",
    "model.stop_metric",
    "model.min_improvement",
];

/// What is tried of one key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dimension {
    /// As in `model.rank`.
    pub path: &'static str,
    /// Its values.
    pub choices: Choices,
}

/// Values, or a range of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Choices {
    /// One of these, as they would stand on a command line.
    List(Vec<String>),
    /// Anything between.
    Range {
        /// The least.
        from: f64,
        /// The largest.
        to: f64,
        /// Whether every ratio is as likely, and not every difference.
        log: bool,
    },
}

/// A value for every key that is searched.
pub type Point = Vec<(&'static str, String)>;

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choices::List(values) => write!(f, "[{}]", values.join(", ")),
            Choices::Range { from, to, log } => {
                let scale = if *log { ", scale = \"log\"" } else { "" };
                write!(f, "{{ from = {from}, to = {to}{scale} }}")
            }
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.trim_start_matches("model.");
        write!(f, "{name} = {}", self.choices)
    }
}

/// Reads the table of a job file.
pub fn read_toml(value: &DeValue<'_>) -> Result<Vec<Dimension>, String> {
    let DeValue::Table(table) = value else {
        return Err("must be a table of keys of [model], as `rank = [32, 64]`".to_owned());
    };
    let dimension = |(name, value): (&str, &DeValue<'_>)| {
        let key = key_of(name)?;
        let choices = match value {
            DeValue::Array(items) => Choices::List(
                items
                    .iter()
                    .map(|item| written(item.get_ref()))
                    .collect::<Option<_>>()
                    .ok_or_else(|| unfit(name))?,
            ),
            DeValue::Table(range) => {
                let number = |at: &str| {
                    let found = range.get(at)?.get_ref();
                    written(found)?.replace('_', "").parse().ok()
                };
                let known = |name: &str| ["from", "to", "scale"].contains(&name);
                let log = match range.get("scale").map(|scale| scale.get_ref().as_str()) {
                    None | Some(Some("linear")) => false,
                    Some(Some("log")) => true,
                    Some(_) => return Err(unfit(name)),
                };
                if !range.keys().all(|name| known(name.get_ref())) {
                    return Err(unfit(name));
                }
                let (from, to) = number("from")
                    .zip(number("to"))
                    .ok_or_else(|| unfit(name))?;
                Choices::Range { from, to, log }
            }
            _ => return Err(unfit(name)),
        };
        checked(key, choices)
    };
    let entries = table.iter();
    let mut dimensions = entries
        .map(|(name, value)| dimension((name.get_ref(), value.get_ref())))
        .collect::<Result<Vec<_>, _>>()?;
    dimensions.sort_by_key(|dimension| place(dimension.path));
    nonempty(dimensions)
}

/// Reads `rank = 32, 64; regularization = 0.0001..0.1 log`.
pub fn read_text(text: &str) -> Result<Vec<Dimension>, String> {
    let mut dimensions = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, values) = part.split_once('=').ok_or_else(|| unfit(part))?;
        let (name, values) = (name.trim(), values.trim());
        let choices = if let Some((from, to)) = values.split_once("..") {
            let to = to.trim();
            let (to, log) = to
                .strip_suffix("log")
                .map_or((to, false), |to| (to.trim(), true));
            let number = |text: &str| text.trim().parse().map_err(|_| unfit(name));
            Choices::Range {
                from: number(from)?,
                to: number(to)?,
                log,
            }
        } else {
            Choices::List(
                values
                    .split(',')
                    .map(|item| item.trim().to_owned())
                    .collect(),
            )
        };
        dimensions.push(checked(key_of(name)?, choices)?);
    }
    dimensions.sort_by_key(|dimension| place(dimension.path));
    nonempty(dimensions)
}

fn nonempty(dimensions: Vec<Dimension>) -> Result<Vec<Dimension>, String> {
    let twice = dimensions.windows(2).find(|two| two[0].path == two[1].path);
    match (dimensions.is_empty(), twice) {
        (true, _) => Err("must name at least one key of [model], as `rank = [32, 64]`".to_owned()),
        (_, Some(two)) => Err(format!("names `{}` twice", two[0].path)),
        _ => Ok(dimensions),
    }
}

fn unfit(name: &str) -> String {
    format!(
        "must give `{name}` a list, as `{name} = [1, 2]`, or a range, as `{name} = {{ from = 1, to = 10, scale = \"log\" }}` \
         (\"linear\" is the other scale)"
    )
}

fn place(path: &str) -> Option<usize> {
    keys::KEYS.iter().position(|key| key.path == path)
}

fn key_of(name: &str) -> Result<&'static Key, String> {
    let path = format!("model.{name}");
    let of_model = keys::KEYS.iter().filter(|key| key.section() == "model");
    let searched = of_model.filter(|key| !FIXED.contains(&key.path));
    if let Some(key) = searched.clone().find(|key| key.path == path) {
        return Ok(key);
    }
    if FIXED.contains(&path.as_str()) {
        return Err(format!(
            "cannot search `{path}`: give it one value in [model]"
        ));
    }
    let hint = nearest_word(searched.map(Key::name), name)
        .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
    Err(format!("names `{name}`, which is no key of [model]{hint}"))
}

/// A scalar as it would stand on a command line.
fn written(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => Some(integer.to_string()),
        DeValue::Float(float) => Some(float.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Every value must be one that the key takes.
fn checked(key: &'static Key, choices: Choices) -> Result<Dimension, String> {
    let path = key.path;
    let read = |text: &str| {
        let read = key.shape.read_text(text);
        read.map_err(|wrong| format!("holds a value of `{path}` that {wrong}"))
    };
    match &choices {
        Choices::List(values) if values.is_empty() => return Err(unfit(key.name())),
        Choices::List(values) => {
            for value in values {
                read(value)?;
            }
        }
        Choices::Range { from, to, log } => {
            if !matches!(key.shape, Shape::Count { .. } | Shape::Real { .. }) {
                return Err(format!(
                    "gives a range of `{path}`, which is no number: give a list"
                ));
            }
            let rises = from < to && (!log || *from > 0.0);
            if !rises {
                return Err(format!(
                    "gives `{path}` from {from} to {to}: a range rises, and with scale = \"log\" begins above 0"
                ));
            }
            for end in [from, to] {
                read(&number(key, *end))?;
            }
        }
    }
    Ok(Dimension { path, choices })
}

/// A number of a range with three digits, or a whole one.
fn number(key: &Key, value: f64) -> String {
    if matches!(key.shape, Shape::Count { .. }) {
        return format!("{}", value.round());
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    format!("{rounded}")
}

impl Dimension {
    /// The first value, or the least of a range.
    pub fn first(&self) -> Option<String> {
        match &self.choices {
            Choices::List(values) => values.first().cloned(),
            Choices::Range { from, .. } => keys::find(self.path).map(|key| number(key, *from)),
        }
    }

    /// The value at a random word.
    fn at(&self, word: u32) -> String {
        match &self.choices {
            Choices::List(values) => {
                let place = (u64::from(word) * values.len() as u64) >> 32;
                values[place as usize].clone()
            }
            Choices::Range { from, to, log } => {
                let value = if *log {
                    // (to / from)^u by the bits of u: square roots round alike everywhere, powers do not.
                    let (mut value, mut root) = (*from, to / from);
                    for bit in (16..32).rev() {
                        root = root.sqrt();
                        if word >> bit & 1 == 1 {
                            value *= root;
                        }
                    }
                    value
                } else {
                    from + (to - from) * (f64::from(word >> 16) / 65_535.0)
                };
                keys::find(self.path).map_or_else(String::new, |key| number(key, value))
            }
        }
    }
}

/// `trials` points of a space, each once; fewer where it has no more.
pub fn points(space: &[Dimension], seed: u64, trials: u32) -> Vec<Point> {
    let mut seen = BTreeSet::new();
    let mut points = Vec::new();
    for trial in 0..trials {
        for draw in 0..DRAWS_MAX {
            let one = |(place, dimension): (usize, &Dimension)| {
                let random = Random::new(seed, PURPOSE, trial, place as u32);
                (dimension.path, dimension.at(random.word(draw)))
            };
            let point: Point = space.iter().enumerate().map(one).collect();
            if seen.insert(point.clone()) {
                points.push(point);
                break;
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_in_the_space_and_each_once() {
        let space = read_text("rank = 8, 16; nu = 0..1; regularization = 0.0001..1 log").unwrap();
        let names: Vec<String> = space.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "rank = [8, 16]",
                "regularization = { from = 0.0001, to = 1, scale = \"log\" }",
                "nu = { from = 0, to = 1 }"
            ]
        );
        let drawn = points(&space, 7, 200);
        assert_eq!(drawn.len(), 200);
        assert_eq!(drawn, points(&space, 7, 200));
        assert_eq!(drawn[..5], points(&space, 7, 5));
        assert_ne!(drawn, points(&space, 8, 200));
        let small = drawn.iter().filter(|point| {
            let value: f64 = point[1].1.parse().unwrap();
            assert!((0.0001..=1.0).contains(&value), "{value}");
            value < 0.01
        });
        // Half of the ratios lie below the middle.
        assert!((80..120).contains(&small.count()));
        let few = read_text("rank = 8, 16; biases = true, false").unwrap();
        assert_eq!(points(&few, 1, 100).len(), 4);
    }

    #[test]
    fn spaces_that_make_no_sense_are_refused() {
        for (text, part) in [
            ("", "must name at least one key"),
            ("rnak = 8", "no key of [model]: did you mean `rank`?"),
            ("epochs = 1, 2", "cannot search `model.epochs`"),
            ("rank = 0", "must be a whole number from 1 to 512, not 0"),
            ("rank = 16..8", "a range rises"),
            ("nu = 0..1 log", "begins above 0"),
            ("solver = 0..1", "which is no number"),
            ("rank = 8; rank = 16", "names `model.rank` twice"),
        ] {
            let wrong = read_text(text).unwrap_err();
            assert!(wrong.contains(part), "{text}: {wrong}");
        }
    }
}
