//! What a graph convolution takes over from an earlier one: its matrices, and the words of other data in the terms of its attributes.
//!
//! B has a line for each column that the earlier model knew. Another data set standardises a number by its own mean and counts its own
//! levels, so its words are read as the earlier model's would be: numbers by what both were standardised by, levels by their names.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tensor::attributes::MISSING;
use tensor::{Attribute, AttributeKind, Mode, SealedRef};

/// Matrices of an earlier model, in the depot of models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrices {
    /// Those of layers, a block a layer, by whose they are.
    pub weights: BTreeMap<Mode, Vec<SealedRef>>,
    /// Those of attributes.
    pub maps: BTreeMap<Mode, SealedRef>,
    /// How the words of the data are read.
    pub words: BTreeMap<Mode, Vec<Reading>>,
}

/// How a word of an earlier model's attribute comes from a row of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The place of the attribute in the row.
    pub at: u32,
    /// What becomes of its word.
    pub word: Word,
}

/// What becomes of a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// Nothing.
    Same,
    /// A number, times the first and the second more.
    Number(f64, f64),
    /// A level: its place for each place of the data.
    Level(Vec<u32>),
}

impl Reading {
    /// Of attributes that a model knew and data have now, by their names.
    ///
    /// # Errors
    /// Where these are not the same attributes: what differs.
    pub fn of(knew: &[Attribute], have: &[Attribute]) -> Result<Vec<Reading>, String> {
        if let Some(other) = have
            .iter()
            .find(|of| !knew.iter().any(|it| it.name == of.name))
        {
            return Err(format!("the model does not know `{}`", other.name));
        }
        let reading = |knew: &Attribute| {
            let at = have.iter().position(|of| of.name == knew.name);
            let at = at.ok_or_else(|| format!("the data lack `{}`", knew.name))?;
            let word = Word::of(&knew.kind, &have[at].kind).ok_or_else(|| {
                format!(
                    "`{}` is of numbers in one, of levels in the other",
                    knew.name
                )
            })?;
            Ok(Reading {
                at: at as u32,
                word,
            })
        };
        knew.iter().map(reading).collect()
    }
}

impl Word {
    fn of(knew: &AttributeKind, have: &AttributeKind) -> Option<Word> {
        if knew == have {
            return Some(Word::Same);
        }
        match (knew, have) {
            (
                AttributeKind::Number { mean, deviation },
                AttributeKind::Number {
                    mean: mean_now,
                    deviation: deviation_now,
                },
            ) => {
                // Where all were equal, all words were 0.
                let by = if *deviation > 0.0 {
                    1.0 / deviation
                } else {
                    0.0
                };
                Some(Word::Number(deviation_now * by, (mean_now - mean) * by))
            }
            (
                AttributeKind::Levels { levels, others },
                AttributeKind::Levels {
                    levels: now,
                    others: others_now,
                },
            ) => {
                let rare = if *others {
                    levels.len() as u32
                } else {
                    MISSING
                };
                let place = |level: &String| {
                    let found = levels.iter().position(|knew| knew == level);
                    found.map_or(rare, |at| at as u32)
                };
                let places = now.iter().map(place);
                let places = places.chain(others_now.then_some(rare));
                Some(Word::Level(places.collect()))
            }
            _ => None,
        }
    }

    fn read(&self, word: u32) -> u32 {
        match self {
            _ if word == MISSING => MISSING,
            Word::Same => word,
            Word::Number(by, plus) => {
                let number = f64::from(f32::from_bits(word)) * by + plus;
                (number as f32).to_bits()
            }
            Word::Level(places) => places[word as usize],
        }
    }
}

/// The words of rows as they are read; without a reading as they are.
///
/// # Panics
/// Where a row has not as many words as there are readings.
pub fn read<'a>(readings: &[Reading], words: &'a [u32]) -> Cow<'a, [u32]> {
    if readings.is_empty() {
        return Cow::Borrowed(words);
    }
    let rows = words.chunks_exact(readings.len()).flat_map(|row| {
        let read = |reading: &Reading| reading.word.read(row[reading.at as usize]);
        readings.iter().map(read)
    });
    Cow::Owned(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str, mean: f64, deviation: f64) -> Attribute {
        Attribute {
            name: name.to_owned(),
            kind: AttributeKind::Number { mean, deviation },
        }
    }

    fn levels(name: &str, levels: &[&str], others: bool) -> Attribute {
        Attribute {
            name: name.to_owned(),
            kind: AttributeKind::Levels {
                levels: levels.iter().map(|&level| level.to_owned()).collect(),
                others,
            },
        }
    }

    #[test]
    fn words_are_those_that_the_model_would_have_been_told() {
        let knew = [number("age", 40.0, 10.0), levels("town", &["a", "b"], true)];
        let have = [levels("town", &["c", "b"], true), number("age", 30.0, 5.0)];
        let readings = Reading::of(&knew, &have).unwrap();
        // 35 years in b, 30 in c, of an unknown age in a rare town, 25 nowhere.
        let word = |years: f32| ((years - 30.0) / 5.0).to_bits();
        let words = [
            1,
            word(35.0),
            0,
            word(30.0),
            2,
            MISSING,
            MISSING,
            word(25.0),
        ];
        let expected = |years: f32| ((years - 40.0) / 10.0).to_bits();
        let read = read(&readings, &words);
        assert_eq!(read[..4], [expected(35.0), 1, expected(30.0), 2]);
        assert_eq!(read[4..], [MISSING, 2, expected(25.0), MISSING]);
        let same = Reading::of(&knew, &knew).unwrap();
        assert!(same.iter().all(|reading| reading.word == Word::Same));
    }

    #[test]
    fn other_attributes_are_named() {
        let knew = [number("age", 40.0, 10.0)];
        let told = |have: &[Attribute]| Reading::of(&knew, have).unwrap_err();
        assert_eq!(told(&[]), "the data lack `age`");
        assert_eq!(
            told(&[number("age", 0.0, 1.0), number("size", 0.0, 1.0)]),
            "the model does not know `size`"
        );
        assert_eq!(
            told(&[levels("age", &["old"], false)]),
            "`age` is of numbers in one, of levels in the other"
        );
    }
}
