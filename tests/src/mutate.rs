//! Bytes that are nearly right: mutations in the manner of fuzzers, each a function of a seed and a number, so that what is found can
//! be made again on every machine.

use kernels::random::Random;

/// Of the draws of mutations.
const PURPOSE: u32 = 73;
/// What decoders tend to stumble over.
const WORDS: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX / 2,
    u64::MAX,
];
/// Mutations of one input, at the most.
const STEPS_MAX: u32 = 6;

/// The `number`th input made of samples.
///
/// # Panics
/// Where there is no sample.
pub fn mutated(samples: &[Vec<u8>], seed: u64, number: u32) -> Vec<u8> {
    let random = Random::new(seed, PURPOSE, 0, number);
    let pick = |draw: u32, below: usize| random.word(draw) as usize % below.max(1);
    let mut bytes = samples[pick(0, samples.len())].clone();
    for step in 0..=random.word(1) % STEPS_MAX {
        let draw = 2 + 5 * step;
        let at = pick(draw + 1, bytes.len() + 1);
        let len = 1 + pick(draw + 2, 16);
        let end = bytes.len().min(at + len);
        match random.word(draw) % 9 {
            0 if at < bytes.len() => bytes[at] ^= 1 << pick(draw + 2, 8),
            1 if at < bytes.len() => bytes[at] = random.word(draw + 2) as u8,
            // A number in the place of another, in its width.
            2 | 3 => {
                let width = [1, 2, 4, 8][pick(draw + 3, 4)];
                let word = WORDS[pick(draw + 2, WORDS.len())].to_le_bytes();
                let end = bytes.len().min(at + width);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let copy = bytes[at..end].to_vec();
                let to = pick(draw + 3, bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            6 => bytes.truncate(at),
            // The end of another sample.
            7 => {
                let other = &samples[pick(draw + 2, samples.len())];
                let from = pick(draw + 3, other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let noise = (0..len as u32).map(|place| random.word(100 + place) as u8);
                bytes.splice(at..at, noise.collect::<Vec<u8>>());
            }
        }
    }
    bytes
}
