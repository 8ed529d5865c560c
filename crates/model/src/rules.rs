//! What lists may hold, whatever a model scores: barred products, the most of a group, popularity that is damped.
//!
//! **Invariant:** rules change which products are candidates and what is added to their scores, never the tables of a model.

use crate::evaluate::ProductRow;
use kernels::top::Ranked;
use serde::{Deserialize, Serialize};
use tensor::{BlockId, DepotId, Grid, Read, SealedRef, attributes};

/// Rules of lists. By default there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The rows of products that are in no list, rising.
    pub barred: Vec<u32>,
    /// The most of a group in one list.
    pub cap: Option<Cap>,
    /// β: a score loses β ln p where p users had the product in training.
    pub damping: f64,
}

/// The most products with one level of an attribute in one list.
#[derive(Clone, Debug, PartialEq)]
pub struct Cap {
    /// How many.
    pub most: u32,
    /// The attribute's place in a row of words.
    pub place: u32,
    /// Words of a row.
    pub attributes: u32,
    /// The words of each block of products.
    pub words: Vec<SealedRef>,
}

/// The rules of a block of products, as they travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockRules {
    /// Places in the block of those that are barred, rising.
    pub barred: Vec<u32>,
    /// The place of the word that says the group, and words of a row; the block of words is read then.
    pub group: Option<(u32, u32)>,
    /// β.
    pub damping: f64,
}

impl Rules {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.barred.is_empty() && self.cap.is_none() && self.damping == 0.0
    }

    /// The most of a group in a list.
    pub fn most(&self) -> Option<u32> {
        self.cap.as_ref().map(|cap| cap.most)
    }

    /// Those of a block; `None` where there are none at all.
    pub fn of_block(&self, grid: &Grid, block: BlockId) -> Option<BlockRules> {
        if self.are_none() {
            return None;
        }
        let rows = grid.row_ids(block);
        let at = |row: u32| self.barred.partition_point(|&barred| barred < row);
        let barred = &self.barred[at(rows.start)..at(rows.end)];
        Some(BlockRules {
            barred: barred.iter().map(|row| row - rows.start).collect(),
            group: self.cap.as_ref().map(|cap| (cap.place, cap.attributes)),
            damping: self.damping,
        })
    }

    /// The block of words that says groups.
    pub fn reads(&self, block: BlockId) -> Option<Read> {
        let cap = self.cap.as_ref()?;
        let object = cap.words.get(block.0 as usize)?;
        Some(Read::whole(object.key(DepotId::DATA)))
    }
}

impl BlockRules {
    /// Puts the rules into what is known of a block of products; `words` are the block's where there are groups. Barred products
    /// are no candidates, as if nobody had them.
    ///
    /// # Panics
    /// Where the words are not those of these rows.
    pub fn apply(&self, rows: &mut [ProductRow], words: &[u32]) {
        if let Some((place, attributes)) = self.group {
            let each = words.chunks_exact(attributes as usize);
            assert_eq!(each.len(), rows.len(), "words of each row");
            for (row, words) in rows.iter_mut().zip(each) {
                let level = words[place as usize];
                row.group = if level == attributes::MISSING {
                    Ranked::NO_GROUP
                } else {
                    level
                };
            }
        }
        if self.damping != 0.0 {
            for row in rows.iter_mut().filter(|row| row.popularity > 0) {
                let logarithm = kernels::random::ln(f64::from(row.popularity));
                row.handicap = -(self.damping * logarithm) as f32;
            }
        }
        for &place in &self.barred {
            if let Some(row) = rows.get_mut(place as usize) {
                (row.popularity, row.recent) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_block_are_about_its_own_rows() {
        let grid = Grid {
            stride_log2: 3,
            rows: vec![4, 2, 3],
        };
        assert_eq!(Rules::default().of_block(&grid, BlockId(0)), None);
        let rules = Rules {
            barred: vec![1, 3, 16, 18],
            cap: Some(Cap {
                most: 2,
                place: 1,
                attributes: 2,
                words: Vec::new(),
            }),
            damping: 0.5,
        };
        let of = |block| rules.of_block(&grid, BlockId(block)).unwrap();
        assert_eq!(of(0).barred, [1, 3]);
        assert!(of(1).barred.is_empty());
        assert_eq!(of(2).barred, [0, 2]);
        let product = |popularity| ProductRow {
            popularity,
            recent: 1,
            ..ProductRow::default()
        };
        let mut rows = vec![product(5), product(8), product(1)];
        of(2).apply(&mut rows, &[9, 3, 9, attributes::MISSING, 9, 0]);
        let found: Vec<(u32, u32)> = rows.iter().map(|row| (row.popularity, row.group)).collect();
        assert_eq!(found, [(0, 3), (8, Ranked::NO_GROUP), (0, 0)]);
        assert!((f64::from(rows[1].handicap) + 0.5 * 8_f64.ln()).abs() < 1e-6);
        assert_eq!((rows[0].recent, rows[1].recent), (0, 1));
    }
}
