//! Rows that are held out as if they were new: of each only its first columns are known, up to a limit in the order in which it came to them.
//!
//! The order of the columns of a row is that of the bins in which it first had them, and within a bin that of a hash. So whether an
//! interaction is before the limit can be told from it alone, in either orientation.

use crate::mode::Mode;
use serde::{Deserialize, Serialize};

/// A place in the order of a row's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// The bin; 0 without times.
    pub bin: u32,
    /// What orders those of one bin.
    pub hash: u64,
}

/// Which interactions a view keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// All of other rows, and those of newcomers before their limits.
    Before,
    /// Those of newcomers before their limits alone.
    First,
    /// Those of newcomers from their limits on alone.
    Later,
}

/// The rows of a mode that are held out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomers {
    /// Whose rows they are.
    pub mode: Mode,
    /// What is kept.
    pub kept: Kept,
    /// Of the hash.
    pub seed: u64,
    /// The rows, rising, each with the first moment that it is not known at.
    pub limits: Vec<(u32, Moment)>,
}

impl Newcomers {
    /// Whether an interaction is kept.
    pub fn keeps(&self, user: u32, product: u32, bin: u32) -> bool {
        let row = if self.mode == Mode::User {
            user
        } else {
            product
        };
        let found = self.limits.binary_search_by_key(&row, |(row, _)| *row);
        let Ok(place) = found else {
            return self.kept == Kept::Before;
        };
        let before = moment(self.seed, user, product, bin) < self.limits[place].1;
        before == (self.kept != Kept::Later)
    }
}

/// Where a user and a product stand in the order of each other's.
pub fn moment(seed: u64, user: u32, product: u32, bin: u32) -> Moment {
    let hash =
        mix(mix(seed ^ 0x5354_5241_5441_0002) ^ (u64::from(user) << 32 | u64::from(product)));
    Moment { bin, hash }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood, 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_from_an_interaction_alone() {
        let limit = moment(3, 7, 2, 5);
        let of = |mode, kept, row| Newcomers {
            mode,
            kept,
            seed: 3,
            limits: vec![(1, moment(3, 1, 0, 0)), (row, limit)],
        };
        for (kept, other, before, from) in [
            (Kept::Before, true, true, false),
            (Kept::First, false, true, false),
            (Kept::Later, false, false, true),
        ] {
            let users = of(Mode::User, kept, 7);
            assert_eq!(users.keeps(6, 2, 5), other);
            assert_eq!(users.keeps(7, 9, 4), before);
            // The limit itself is not known any more.
            assert_eq!((users.keeps(7, 2, 5), users.keeps(7, 9, 6)), (from, from));
            let products = of(Mode::Product, kept, 2);
            assert_eq!(
                (products.keeps(7, 3, 5), products.keeps(7, 2, 5)),
                (other, from)
            );
        }
    }
}
