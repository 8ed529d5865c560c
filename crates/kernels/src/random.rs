//! Random numbers by position, not by history: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", 2011) keyed by (seed, purpose, step, row, draw).
//!
//! Nothing here calls the machine's libm, so a draw has the same bits everywhere.

/// What the numbers are for; streams of different purposes share nothing.
pub type Purpose = u32;

/// The stream of one (seed, purpose, step, row).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    seed: u64,
    purpose: Purpose,
    step: u32,
    row: u32,
}

impl Random {
    /// The stream of a row (or of whatever `row` counts) in a step.
    pub const fn new(seed: u64, purpose: Purpose, step: u32, row: u32) -> Self {
        Random {
            seed,
            purpose,
            step,
            row,
        }
    }

    /// Four independent words: the draws 4 · `block` to 4 · `block` + 3.
    #[inline]
    pub const fn block(self, block: u32) -> [u32; 4] {
        philox(
            [block, self.row, self.step, self.purpose],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// A word.
    #[inline]
    pub const fn word(self, draw: u32) -> u32 {
        self.block(draw / 4)[(draw % 4) as usize]
    }

    /// Two words as one: draws 2 · `pair` and 2 · `pair` + 1.
    #[inline]
    pub const fn word_64(self, pair: u32) -> u64 {
        let block = self.block(pair / 2);
        let at = 2 * (pair % 2) as usize;
        block[at] as u64 | (block[at + 1] as u64) << 32
    }

    /// Uniform on [0, 1), 24 bits.
    #[inline]
    pub fn uniform(self, draw: u32) -> f32 {
        (self.word(draw) >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform on [0, 1), 53 bits.
    #[inline]
    pub fn uniform_f64(self, pair: u32) -> f64 {
        (self.word_64(pair) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, of f64 precision over ±6.3.
    #[inline]
    pub fn normal(self, draw: u32) -> f64 {
        normal_of(self.word(draw))
    }

    /// Standard normals, the draws from 0 on.
    pub fn fill_normal(self, to: &mut [f32]) {
        for (block, to) in to.chunks_mut(4).enumerate() {
            for (to, word) in to.iter_mut().zip(self.block(block as u32)) {
                *to = normal_of(word) as f32;
            }
        }
    }

    /// Poisson of mean 1: how often the bootstrap takes a sample.
    #[inline]
    pub fn poisson_1(self, draw: u32) -> u32 {
        poisson_1_of(self.word(draw))
    }

    /// Poisson draws of mean 1 from draw 0 on: the weights of one sample in all replicates.
    pub fn fill_poisson_1(self, to: &mut [u8]) {
        for (block, to) in to.chunks_mut(4).enumerate() {
            for (to, word) in to.iter_mut().zip(self.block(block as u32)) {
                *to = poisson_1_of(word) as u8;
            }
        }
    }
}

/// Ten rounds of Philox4x32.
#[inline]
const fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut low, mut high]) = (counter, key);
    let mut round = 0;
    while round < 10 {
        let first = 0xD251_1F53_u64 * a as u64;
        let second = 0xCD9E_8D57_u64 * c as u64;
        (a, b, c, d) = (
            (second >> 32) as u32 ^ b ^ low,
            second as u32,
            (first >> 32) as u32 ^ d ^ high,
            first as u32,
        );
        low = low.wrapping_add(0x9E37_79B9);
        high = high.wrapping_add(0xBB67_AE85);
        round += 1;
    }
    [a, b, c, d]
}

/// 2^32 P(Poisson(1) <= k), k from 0.
const POISSON_1: [u32; 12] = [
    1_580_030_168,
    3_160_060_337,
    3_950_075_421,
    4_213_413_783,
    4_279_248_373,
    4_292_415_291,
    4_294_609_777,
    4_294_923_276,
    4_294_962_463,
    4_294_966_817,
    4_294_967_252,
    4_294_967_292,
];

#[inline]
fn poisson_1_of(word: u32) -> u32 {
    POISSON_1
        .iter()
        .map(|&limit| u32::from(word >= limit))
        .sum()
}

/// The normal quantile at (word + ½) / 2^32 by Wichura's AS 241 (1988), its outermost branch out of reach.
#[allow(clippy::excessive_precision, reason = "the digits as published")]
fn normal_of(word: u32) -> f64 {
    const A: [f64; 8] = [
        2.509_080_928_730_122_672_7e3,
        3.343_057_558_358_812_810_5e4,
        6.726_577_092_700_870_085_3e4,
        4.592_195_393_154_987_145_7e4,
        1.373_169_376_550_946_112_5e4,
        1.971_590_950_306_551_442_7e3,
        1.331_416_678_917_843_774_5e2,
        3.387_132_872_796_366_608,
    ];
    const B: [f64; 8] = [
        5.226_495_278_852_854_561e3,
        2.872_908_573_572_194_267_4e4,
        3.930_789_580_009_271_061e4,
        2.121_379_430_158_659_586_7e4,
        5.394_196_021_424_751_107_7e3,
        6.871_870_074_920_579_083e2,
        4.231_333_070_160_091_125_2e1,
        1.0,
    ];
    const C: [f64; 8] = [
        7.745_450_142_783_414_076_40e-4,
        2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_70e-1,
        1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04,
        5.769_497_221_460_691_405_50,
        4.630_337_846_156_545_295_90,
        1.423_437_110_749_683_577_34,
    ];
    const D: [f64; 8] = [
        1.050_750_071_644_416_843_24e-9,
        5.475_938_084_995_344_946e-4,
        1.519_866_656_361_645_719_66e-2,
        1.481_039_764_274_800_745_9e-1,
        6.897_673_349_851_000_045_5e-1,
        1.676_384_830_183_803_849_4,
        2.053_191_626_637_758_821_87,
        1.0,
    ];
    let horner =
        |coefficients: [f64; 8], r: f64| coefficients.iter().fold(0.0, |sum, c| sum * r + c);
    let p = (f64::from(word) + 0.5) / (1_u64 << 32) as f64;
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return horner(A, r) * q / horner(B, r);
    }
    let r = (-ln(if q < 0.0 { p } else { 1.0 - p })).sqrt() - 1.6;
    let x = horner(C, r) / horner(D, r);
    if q < 0.0 { -x } else { x }
}

/// The natural logarithm of a normal positive number: exponent apart, then 2 artanh((m − 1) / (m + 1)) by its series
/// for m in [√½, √2), where twelve terms leave less than half a unit in the last place.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i32 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m >= std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..12)
        .rev()
        .fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * s * series
}

/// e^x for |x| below 700: the power of two apart, then the series on |r| <= ln 2 / 2, where fourteen terms leave less than half
/// a unit in the last place.
pub fn exp(x: f64) -> f64 {
    // ln 2 in two parts, the first short enough that its multiples are exact.
    const HIGH: f64 = 0.693_147_180_369_123_8;
    const LOW: f64 = 1.908_214_929_270_587_7e-10;
    let power = (x * std::f64::consts::LOG2_E).round();
    let r = (x - power * HIGH) - power * LOW;
    let series = (1..=14)
        .rev()
        .fold(1.0, |sum, k| 1.0 + sum * r / f64::from(k));
    series * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// The cosine of an angle in turns: the nearest whole turn apart, then the series.
pub fn cos_turns(turns: f64) -> f64 {
    let angle = (turns - turns.round()) * std::f64::consts::TAU;
    let square = angle * angle;
    (1..=15).rev().fold(1.0, |sum, k| {
        1.0 - sum * square / f64::from((2 * k - 1) * (2 * k))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with Random123 (kat_vectors).
    #[test]
    fn philox_gives_the_published_answers() {
        let check = |counter, key, answer| assert_eq!(philox(counter, key), answer);
        check(
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        );
        check(
            [!0; 4],
            [!0; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        );
        check(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        );
    }

    #[test]
    fn every_part_of_the_key_matters_and_draws_are_words_of_blocks() {
        let one = Random::new(1, 2, 3, 4);
        for other in [
            Random::new(2, 2, 3, 4),
            Random::new(1 << 32 | 1, 2, 3, 4),
            Random::new(1, 3, 3, 4),
        ] {
            assert_ne!(one.block(0), other.block(0));
        }
        assert_ne!(one.block(0), Random::new(1, 2, 4, 4).block(0));
        assert_ne!(one.block(0), Random::new(1, 2, 3, 5).block(0));
        assert_eq!([4, 5, 6, 7].map(|draw| one.word(draw)), one.block(1));
        assert_eq!(
            one.word_64(3),
            u64::from(one.word(6)) | u64::from(one.word(7)) << 32
        );
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let word = |p: f64| (p * (1_u64 << 32) as f64 - 0.5).round() as u32;
        let check = |p: f64, x: f64| {
            assert!(
                (normal_of(word(p)) - x).abs() < 1e-7,
                "{p}: {}",
                normal_of(word(p))
            );
            assert_eq!(normal_of(word(p)), -normal_of(!word(p)));
        };
        check(0.975, 1.959_963_984_540_054);
        check(0.75, 0.674_489_750_196_081_7);
        check(0.999, 3.090_232_306_167_813_5);
        assert!(
            (normal_of(0) + 6.337_957_754_553_789).abs() < 1e-13,
            "{}",
            normal_of(0)
        );
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for i in 1..100_000 {
            for x in [f64::from(i) * 1e-5, f64::from(i) * 1e12, 1.0 / f64::from(i)] {
                assert!(
                    (ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0),
                    "{x}"
                );
            }
        }
    }

    #[test]
    fn exponentials_and_cosines_are_those_of_the_machine() {
        for i in -60_000..60_000 {
            let x = f64::from(i) * 0.01 + 0.001;
            assert!((exp(x) / x.exp() - 1.0).abs() <= 4e-16, "{x}");
            let turns = f64::from(i) * 1e-3;
            let reduced = (turns - turns.round()) * std::f64::consts::TAU;
            assert!((cos_turns(turns) - reduced.cos()).abs() <= 1e-13, "{turns}");
        }
        assert_eq!((exp(0.0), cos_turns(0.0)), (1.0, 1.0));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let draws = 40_000;
        let mean = |draw: &dyn Fn(Random) -> f64| {
            (0..draws)
                .map(|row| draw(Random::new(7, 1, 0, row)))
                .sum::<f64>()
                / f64::from(draws)
        };
        assert!((mean(&|r| f64::from(r.uniform(0))) - 0.5).abs() < 0.008);
        assert!((mean(&|r| r.uniform_f64(1).powi(2)) - 1.0 / 3.0).abs() < 0.008);
        assert!(mean(&|r| r.normal(3)).abs() < 0.025);
        assert!((mean(&|r| r.normal(2).powi(2)) - 1.0).abs() < 0.035);
        assert!((mean(&|r| r.normal(2).powi(4)) - 3.0).abs() < 0.25);
        assert!((mean(&|r| f64::from(r.poisson_1(1))) - 1.0).abs() < 0.025);
        assert!((mean(&|r| f64::from(r.poisson_1(1).pow(2))) - 2.0).abs() < 0.08);
    }

    #[test]
    fn filling_is_drawing() {
        let random = Random::new(9, 8, 7, 6);
        let (mut normals, mut weights) = ([0.0; 7], [0; 7]);
        random.fill_normal(&mut normals);
        random.fill_poisson_1(&mut weights);
        for draw in 0..7 {
            assert_eq!(normals[draw as usize], random.normal(draw) as f32);
            assert_eq!(u32::from(weights[draw as usize]), random.poisson_1(draw));
        }
    }
}
