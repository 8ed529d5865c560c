//! The words of some blocks: of every row of the tables those that their dictionaries know.

use super::places::Places;
use super::table::{Batch, names};
use crate::columns::Reals;
use crate::error::TablesError;
use crate::op::WordsOp;
use arrow::array::{Array, ArrayRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Cache, Sealed};
use tensor::attributes::MISSING;
use tensor::{AttributeKind, SealedRef};

/// The partial of a task that seals words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WordsReport {
    /// One a block.
    pub blocks: Vec<SealedRef>,
    /// Rows that the tables describe.
    pub described: u64,
    /// The first id that stands a second time: the split, the row in its file, and the id.
    pub twice: Option<(u32, u64, String)>,
}

/// The words of some blocks in the making.
pub struct Words {
    op: WordsOp,
    places: Places,
    /// The words of each block.
    blocks: Vec<Vec<u32>>,
    seen: Vec<Vec<bool>>,
    /// The places of the levels of each attribute.
    levels: Vec<BTreeMap<String, u32>>,
    report: WordsReport,
}

impl Words {
    /// Nothing known yet. `dictionaries` are those of the op's blocks.
    ///
    /// # Errors
    /// Where a dictionary is damaged.
    pub fn new(op: WordsOp, dictionaries: Vec<Sealed>) -> Result<Self, TablesError> {
        let places = Places::new(op.id_kind, dictionaries)?;
        let attributes = op.attributes.len();
        let words = places.rows().map(|rows| vec![MISSING; rows * attributes]);
        let seen = places.rows().map(|rows| vec![false; rows]);
        let levels = op.attributes.iter().map(|attribute| match &attribute.kind {
            AttributeKind::Number { .. } => BTreeMap::new(),
            AttributeKind::Levels { levels, .. } => levels.iter().cloned().zip(0..).collect(),
        });
        Ok(Words {
            blocks: words.collect(),
            seen: seen.collect(),
            levels: levels.collect(),
            report: WordsReport::default(),
            op,
            places,
        })
    }

    /// Bytes for blocks of so many rows together, their dictionaries (of so many bytes) included.
    pub fn bytes(op: &WordsOp, rows: u64, dictionaries: u64) -> u64 {
        rows * (9 + 4 * op.attributes.len() as u64) + dictionaries
    }

    /// Takes rows.
    ///
    /// # Errors
    /// Where the decoder gave another type than the schema promised.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), TablesError> {
        let places = self.places.of(&batch.ids)?;
        for (row, place) in places.iter().enumerate() {
            let Some((block, local)) = *place else {
                continue;
            };
            let seen = &mut self.seen[block as usize][local as usize];
            if *seen && self.report.twice.is_none() {
                self.report.twice = Some((
                    batch.split as u32,
                    batch.first_row + row as u64,
                    self.places.id(block, local),
                ));
            }
            self.report.described += u64::from(!*seen);
            *seen = true;
        }
        for (attribute, array) in batch.columns.iter().enumerate() {
            let words = self.words_of(attribute, array)?;
            let attributes = self.op.attributes.len();
            for (place, word) in places.iter().zip(words) {
                if let Some((block, local)) = *place {
                    self.blocks[block as usize][local as usize * attributes + attribute] = word;
                }
            }
        }
        Ok(())
    }

    fn words_of(&self, attribute: usize, array: &ArrayRef) -> Result<Vec<u32>, TablesError> {
        let mut words = Vec::with_capacity(array.len());
        match &self.op.attributes[attribute].kind {
            AttributeKind::Number { mean, deviation } => {
                let numbers = Reals::of(array)?;
                let word = |x: f64| {
                    let x = if *deviation > 0.0 {
                        (x - mean) / deviation
                    } else {
                        0.0
                    };
                    (x as f32).to_bits()
                };
                let at = |row| numbers.at(row).filter(|x| !x.is_nan());
                words.extend((0..array.len()).map(|row| at(row).map_or(MISSING, word)));
            }
            AttributeKind::Levels { levels, .. } => {
                let (known, others) = (&self.levels[attribute], levels.len() as u32);
                names(array, |name| {
                    let word = name.map(|name| known.get(name).copied().unwrap_or(others));
                    words.push(word.unwrap_or(MISSING));
                })?;
            }
        }
        Ok(words)
    }

    /// Seals the words of every block.
    ///
    /// # Errors
    /// Where the disk is full.
    pub fn finish(mut self, cache: &Cache) -> Result<(Vec<Sealed>, WordsReport), TablesError> {
        let mut files = Vec::new();
        for words in &self.blocks {
            let mut writer = cache.writer()?;
            for part in words.chunks(1 << 14) {
                let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_le_bytes()).collect();
                writer.append(&bytes)?;
            }
            let file = writer.seal()?;
            self.report.blocks.push(file.reference());
            files.push(file);
        }
        Ok((files, self.report))
    }
}
