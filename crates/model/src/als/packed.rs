//! A row's interactions as a panel, gathered once, in any number of parts.
//!
//! **Invariant:** what is packed depends on the interactions in canonical order, not on where parts are cut.

use super::biases::Biases;
use super::lines::Lines;
use kernels::{CHUNK, GROUP, Simd, Source, add_lines, flush, pack};

/// A row's panel with its right-hand side.
///
/// Interactions of weight 0 have no line: they only enter the right-hand side.
#[derive(Default)]
pub struct Packed {
    width: usize,
    panel: Lines,
    /// b y / √w of each line.
    factors: Vec<f32>,
    lines: usize,
    seen: usize,
    /// The right-hand side, of interactions with a line and of those without: each side has its own order.
    weighted: Side,
    weightless: Side,
}

/// Σ b y z over interactions: f32 over 256 positions, those in f64.
#[derive(Default)]
struct Side {
    chunk: Vec<f32>,
    sum: Vec<f64>,
}

impl Side {
    fn clear(&mut self, width: usize) {
        self.chunk.clear();
        self.chunk.resize(width, 0.0);
        self.sum.clear();
        self.sum.resize(width, 0.0);
    }
}

impl Packed {
    /// Room for so many interactions of a width.
    pub fn new(width: usize, interactions: usize) -> Self {
        let lines = interactions.next_multiple_of(GROUP);
        Packed {
            width,
            panel: Lines::zeroed(lines * width),
            factors: vec![0.0; lines],
            ..Packed::default()
        }
    }

    /// Bytes of such room.
    pub fn bytes(width: usize, interactions: usize) -> u64 {
        (4 * interactions.next_multiple_of(GROUP) * (width + 1) + 24 * width) as u64
    }

    /// Nothing packed.
    pub fn clear(&mut self) {
        (self.lines, self.seen) = (0, 0);
        self.weighted.clear(self.width);
        self.weightless.clear(self.width);
    }

    /// Interactions seen.
    pub fn count(&self) -> usize {
        self.seen
    }

    /// Positions until the next chunk.
    pub fn room(&self) -> usize {
        CHUNK - self.seen % CHUNK
    }

    /// Adds interactions that follow, within one chunk: their rows, w and b y.
    ///
    /// # Panics
    /// Where they reach beyond the chunk or the room.
    pub fn extend(&mut self, simd: Simd, sources: &[Source<'_>], weights: &[f32], targets: &[f32]) {
        assert!(weights.len() <= self.room(), "a part of one chunk");
        if weights.iter().all(|&weight| weight != 0.0) {
            self.add(simd, sources, weights, targets, true);
        } else {
            for weighted in [true, false] {
                let picked: Vec<usize> = (0..weights.len())
                    .filter(|&e| (weights[e] != 0.0) == weighted)
                    .collect();
                let pick = |from: &[f32]| picked.iter().map(|&e| from[e]).collect::<Vec<f32>>();
                let ids: Vec<Vec<u32>> = sources
                    .iter()
                    .map(|source| picked.iter().map(|&e| source.ids[e]).collect())
                    .collect();
                let sources: Vec<Source<'_>> = sources
                    .iter()
                    .zip(&ids)
                    .map(|(source, ids)| Source { ids, ..*source })
                    .collect();
                self.add(simd, &sources, &pick(weights), &pick(targets), weighted);
            }
        }
        self.seen += weights.len();
        if self.seen.is_multiple_of(CHUNK) {
            self.flush(simd);
        }
    }

    /// The lines of weightless interactions stand behind the last one until they are overwritten.
    fn add(
        &mut self,
        simd: Simd,
        sources: &[Source<'_>],
        weights: &[f32],
        targets: &[f32],
        weighted: bool,
    ) {
        let count = weights.len();
        let lines = &mut self.panel[self.lines * self.width..][..count * self.width];
        let side = if weighted {
            &mut self.weighted
        } else {
            &mut self.weightless
        };
        pack(simd, sources, weights, targets, lines, &mut side.chunk);
        if weighted {
            let factors = &mut self.factors[self.lines..][..count];
            for ((factor, target), weight) in factors.iter_mut().zip(targets).zip(weights) {
                *factor = target / weight.sqrt();
            }
            self.lines += count;
        }
    }

    fn flush(&mut self, simd: Simd) {
        for side in [&mut self.weighted, &mut self.weightless] {
            flush(simd, &mut side.chunk, &mut side.sum);
        }
    }

    /// Fills the last group with lines of zeros, once everything is there.
    pub fn close(&mut self, simd: Simd) {
        self.flush(simd);
        let lines = self.lines.next_multiple_of(GROUP);
        self.panel[self.lines * self.width..lines * self.width].fill(0.0);
        self.factors[self.lines..lines].fill(0.0);
        self.lines = lines;
    }

    /// Takes held columns out of the closed lines, and puts into `out` what they were together, Σ √w z, line by line.
    pub fn detach(&mut self, biases: Biases, out: &mut Vec<f32>) {
        out.clear();
        let lines = self.panel[..self.lines * self.width].chunks_exact_mut(self.width);
        for (line, factor) in lines.zip(&mut self.factors) {
            let mut sum = 0.0;
            for held in biases.held() {
                sum += line[held];
                line[held] = 0.0;
            }
            *factor -= sum;
            out.push(sum);
        }
    }

    /// Adds the lines up, each times its number of `by`: f32 over 256 of them, those in f64.
    pub fn products(&self, simd: Simd, by: &[f32], out: &mut [f64]) {
        let lines = self.panel().chunks(CHUNK * self.width);
        for (lines, by) in lines.zip(by.chunks(CHUNK)) {
            let mut chunk = vec![0.0; self.width];
            add_lines(simd, lines, by, &mut chunk);
            flush(simd, &mut chunk, out);
        }
    }

    /// The lines √w z.
    pub fn panel(&self) -> &[f32] {
        &self.panel[..self.lines * self.width]
    }

    /// b y / √w of each line, less what was taken out of it.
    pub fn factors(&self) -> &[f32] {
        &self.factors[..self.lines]
    }

    /// Puts the right-hand side into `out`: all of it, and what of it has no line into `rest`.
    pub fn right_hand_side(&self, out: &mut [f32], rest: &mut [f32]) {
        for (k, (out, rest)) in out.iter_mut().zip(rest).enumerate() {
            *rest = self.weightless.sum[k] as f32;
            *out = (self.weighted.sum[k] + self.weightless.sum[k]) as f32;
        }
    }
}
