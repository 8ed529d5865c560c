//! A shuffle of 0 .. n that is computed, not stored: ids must not tell who buys much or what is popular.

use super::purpose;
use kernels::Random;

/// A bijection of 0 .. n: a Feistel network over the next even number of bits, walked until it falls below n.
#[derive(Clone, Copy, Debug)]
pub struct Scramble {
    count: u32,
    half_bits: u32,
    keys: [u32; 4],
}

impl Scramble {
    pub(crate) fn new(seed: u64, mode: u32, count: u32) -> Self {
        let bits = 32 - count.saturating_sub(1).leading_zeros();
        Scramble {
            count,
            half_bits: bits.div_ceil(2).max(1),
            keys: Random::new(seed, purpose::IDS, mode, 0).block(0),
        }
    }

    /// The id of a place.
    #[inline]
    pub fn id(self, place: u32) -> u32 {
        debug_assert!(place < self.count);
        let mut at = self.once(u64::from(place));
        while at >= u64::from(self.count) {
            at = self.once(at);
        }
        at as u32
    }

    #[inline]
    fn once(self, at: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (at >> self.half_bits, at & mask);
        for key in self.keys {
            let mixed = (right + u64::from(key)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (left, right) = (right, left ^ (mixed >> 32) & mask);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_an_id_of_its_own() {
        for count in [1, 2, 3, 5, 64, 1000, 65_537] {
            let scramble = Scramble::new(5, 1, count);
            let mut ids: Vec<u32> = (0..count).map(|place| scramble.id(place)).collect();
            if count >= 1000 {
                let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10);
                assert!(near.count() < count as usize / 20, "{count}");
            }
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..count), "{count}");
        }
        let largest = Scramble::new(5, 1, u32::MAX);
        assert!(
            [0, 1, u32::MAX - 1]
                .map(|place| largest.id(place))
                .iter()
                .all(|&id| id < u32::MAX)
        );
    }
}
