//! Train, validation and test as views: by bins, by hash, by given files.

use crate::error::TablesError;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tensor::{DataSet, Small, SplitPart, ViewSpec};

/// How interactions are divided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum SplitSettings {
    /// The last whole bins are the test, those before them the validation; a partial bin at the end is left out.
    Bins {
        /// Bins of the validation.
        validation: u32,
        /// Bins of the test.
        test: u32,
    },
    /// By hash of (seed, user, product, time bin, context).
    Hash {
        /// The seed.
        seed: u64,
        /// Share of the validation.
        validation: f64,
        /// Share of the test.
        test: f64,
    },
    /// By the files they came from.
    Given,
}

/// The three parts as views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// What is trained on.
    pub train: ViewSpec,
    /// What settings, patience and models are chosen by.
    pub validation: ViewSpec,
    /// What is read once, at the end.
    pub test: ViewSpec,
}

impl Splits {
    /// Train, validation, test.
    pub fn each(&self) -> [&ViewSpec; 3] {
        [&self.train, &self.validation, &self.test]
    }
}

/// The 64-bit hash that hash splits cut by. User and product keep their roles in both orientations; time and context are
/// 0 where there are none.
pub fn interaction_hash(seed: u64, user: u32, product: u32, small: Small<u32>) -> u64 {
    // The finalizer of splitmix64 (Steele, Lea, Flood, 2014), once over the seed and once more over each word.
    let mixed = mix(seed ^ 0x5354_5241_5441_0001);
    let mixed = mix(mixed ^ (u64::from(user) << 32 | u64::from(product)));
    mix(mixed ^ (u64::from(small.context) << 32 | u64::from(small.time)))
}

fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Whether a hash lies in a range of [`ViewSpec::hash`]; a range that ends at `u64::MAX` includes it.
pub fn is_in(range: &Range<u64>, hash: u64) -> bool {
    range.contains(&hash) || (range.end == u64::MAX && hash == u64::MAX && !range.is_empty())
}

/// The views of a split of a data set.
///
/// # Errors
/// One sentence where the data do not have what the split asks for.
pub fn split_specs(
    split: &SplitSettings,
    data: &DataSet,
    collapse: Small<bool>,
) -> Result<Splits, TablesError> {
    let view = |part, bins: Option<Range<u32>>, hash: Option<(u64, Range<u64>)>| ViewSpec {
        part,
        bins,
        hash,
        collapse_time: collapse.time,
        collapse_context: collapse.context,
        tiles: None,
        decay: None,
        newcomers: None,
    };
    match *split {
        SplitSettings::Bins { validation, test } => {
            let [train, validation, test] = bin_ranges(data, validation, test)?;
            let by = |bins| view(SplitPart::Train, Some(bins), None);
            Ok(Splits {
                train: by(train),
                validation: by(validation),
                test: by(test),
            })
        }
        SplitSettings::Hash {
            seed,
            validation,
            test,
        } => {
            let [train, validation, test] = hash_ranges(validation, test)?;
            let by = |range| view(SplitPart::Train, None, Some((seed, range)));
            Ok(Splits {
                train: by(train),
                validation: by(validation),
                test: by(test),
            })
        }
        SplitSettings::Given => Ok(Splits {
            train: view(SplitPart::Train, None, None),
            validation: view(SplitPart::Validation, None, None),
            test: view(SplitPart::Test, None, None),
        }),
    }
}

fn bin_ranges(data: &DataSet, validation: u32, test: u32) -> Result<[Range<u32>; 3], TablesError> {
    let Some(time) = &data.time else {
        let sentence = "a split by bins needs times, and the data have none: name the column `time` of [input], or \
                        split by hash or by files";
        return Err(TablesError::Split(sentence.to_owned()));
    };
    let whole = time.whole_bins();
    let held_out = u64::from(validation) + u64::from(test);
    if held_out >= u64::from(whole) {
        return Err(TablesError::Split(format!(
            "the split holds out {held_out} bins, and the data have {whole} whole ones: hold out fewer, or take a \
             narrower time_bin"
        )));
    }
    let (first_test, first_validation) = (whole - test, whole - test - validation);
    Ok([
        0..first_validation,
        first_validation..first_test,
        first_test..whole,
    ])
}

fn hash_ranges(validation: f64, test: f64) -> Result<[Range<u64>; 3], TablesError> {
    let is_share = |share: f64| (0.0..1.0).contains(&share);
    if !is_share(validation) || !is_share(test) || validation + test >= 1.0 {
        return Err(TablesError::Split(format!(
            "validation_fraction ({validation}) and test_fraction ({test}) must be at least 0 and sum to less than 1"
        )));
    }
    // 2^64 as f64; the product is rounded once and saturates.
    let cut = |share: f64| (share * 18_446_744_073_709_551_616.0) as u64;
    let (first_validation, first_test) = (cut(1.0 - test - validation), cut(1.0 - test));
    Ok([
        0..first_validation,
        first_validation..first_test,
        first_test..u64::MAX,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: u32) -> Small<u32> {
        Small { time, context: 0 }
    }

    #[test]
    fn shares_are_kept_and_nothing_is_lost() {
        let ranges = hash_ranges(0.1, 0.2).unwrap();
        let mut counts = [0; 3];
        for user in 0..300 {
            for product in 0..100 {
                let hash = interaction_hash(7, user, product, at(product % 5));
                let inside: Vec<usize> = (0..3).filter(|&i| is_in(&ranges[i], hash)).collect();
                assert_eq!(inside.len(), 1);
                counts[inside[0]] += 1;
            }
        }
        for (count, share) in counts.into_iter().zip([0.7, 0.1, 0.2]) {
            assert!(
                (f64::from(count) / 30_000.0 - share).abs() < 0.01,
                "{counts:?}"
            );
        }
        assert!(is_in(&ranges[2], u64::MAX));
        let none = hash_ranges(0.1, 0.0).unwrap();
        assert!(!is_in(&none[2], u64::MAX) && is_in(&none[1], u64::MAX - 1));
    }

    #[test]
    fn shares_beyond_one_are_refused() {
        assert!(hash_ranges(0.5, 0.5).is_err());
        assert!(hash_ranges(-0.1, 0.5).is_err());
        assert!(hash_ranges(f64::NAN, 0.5).is_err());
    }

    #[test]
    fn the_hash_is_frozen() {
        let hash = |seed, user, product, time| interaction_hash(seed, user, product, at(time));
        assert_eq!(hash(1, 2, 3, 4), 0x5a57_7598_d609_98e3);
        assert_ne!(hash(1, 2, 3, 4), hash(1, 3, 2, 4));
        assert_ne!(hash(1, 2, 3, 4), hash(2, 2, 3, 4));
        assert_ne!(hash(1, 2, 3, 4), hash(1, 2, 3, 5));
        let elsewhere = Small {
            context: 1,
            ..at(4)
        };
        assert_ne!(hash(1, 2, 3, 4), interaction_hash(1, 2, 3, elsewhere));
    }
}
