//! Rows against the lists that are near them: for each list its rows against all that look into it, by the kernel of all pairs.

use super::lists::WORDS;
use kernels::top::{self, Products, Ranked, Users};
use kernels::{Rows, Simd};
use rayon::prelude::*;

/// Rows that are looked for together: enough for several of each list, few enough for the second-level cache.
const TOGETHER: usize = 4_096;

/// The rows of some lists, packed for the kernel.
pub struct Shard<'a> {
    width: usize,
    /// The first list.
    first: u32,
    lists: Vec<List<'a>>,
}

struct List<'a> {
    panels: &'a [f32],
    rows: Vec<u32>,
    ties: Vec<u64>,
}

/// Floats of a packed list of so many rows.
fn list_len(width: usize, rows: usize) -> usize {
    top::packed_len(width, rows)
}

/// Floats of the panels of a shard.
pub fn shard_len(width: usize, sizes: &[usize]) -> usize {
    sizes.iter().map(|&size| list_len(width, size)).sum()
}

/// Packs the rows of lists of these sizes, one after the other.
///
/// # Panics
/// Where there are not as many rows or floats as that.
pub fn pack(simd: Simd, width: usize, sizes: &[usize], rows: &[f32], panels: &mut [f32]) {
    let all: usize = sizes.iter().sum();
    assert_eq!(rows.len(), all * width, "rows of the lists");
    assert_eq!(panels.len(), shard_len(width, sizes), "panels of the lists");
    let (mut rows, mut panels) = (rows, panels);
    for &size in sizes {
        let (ours, others) = rows.split_at(size * width);
        let (into, behind) = panels.split_at_mut(list_len(width, size));
        let ids: Vec<u32> = (0..size as u32).collect();
        top::pack_products(simd, Rows::contiguous(&[ours], width), &ids, into);
        (rows, panels) = (others, behind);
    }
}

impl<'a> Shard<'a> {
    /// Of the objects of a shard: `sizes` are the rows of each list from `first` on, `panels` as [`pack`] makes them.
    ///
    /// # Panics
    /// Where there are not as many floats or words as that.
    pub fn new(
        width: usize,
        (first, sizes): (u32, &[usize]),
        panels: &'a [f32],
        words: &[u32],
    ) -> Self {
        let all: usize = sizes.iter().sum();
        assert_eq!(panels.len(), shard_len(width, sizes), "panels of the lists");
        assert_eq!(words.len(), all * WORDS, "words of the lists");
        let (mut panels, mut words) = (panels, words);
        let mut lists = Vec::with_capacity(sizes.len());
        for &size in sizes {
            let (ours, others) = panels.split_at(list_len(width, size));
            let (known, behind) = words.split_at(size * WORDS);
            (panels, words) = (others, behind);
            let known = known.chunks_exact(WORDS);
            lists.push(List {
                panels: ours,
                rows: known.clone().map(|words| words[0]).collect(),
                ties: known
                    .map(|words| u64::from(words[1]) | u64::from(words[2]) << 32)
                    .collect(),
            });
        }
        Shard {
            width,
            first,
            lists,
        }
    }

    /// Bytes of one with so many rows beside its objects, with the scratch of as many threads.
    pub fn bytes(width: usize, rows: u64, threads: u64, k: u64) -> u64 {
        let panels = rows * 12;
        let together = TOGETHER as u64 * (4 * width as u64 + 24 * k + 24);
        panels + threads * (together + 4 * top::rank_scratch() as u64)
    }

    /// Offers the shard to those who look into it: `rows` holds a direction each, `own` its id, `near` the `probes` lists that it looks
    /// into, rising, and `best` k places.
    ///
    /// # Panics
    /// Where lengths disagree.
    pub fn offer(
        &self,
        simd: Simd,
        rows: &[f32],
        own: &[u32],
        (near, probes): (&[u32], usize),
        k: usize,
        best: &mut [Ranked],
    ) {
        let width = self.width;
        let groups = rows
            .par_chunks(TOGETHER * width)
            .zip(own.par_chunks(TOGETHER))
            .zip(near.par_chunks(TOGETHER * probes))
            .zip(best.par_chunks_mut(TOGETHER * k));
        groups.for_each(|(((rows, own), near), best)| {
            let mut scratch = vec![0.0; top::rank_scratch()];
            let (mut some, mut places) = (Vec::new(), Vec::new());
            for (list, asking) in self.lists.iter().zip(self.asking(near, probes)) {
                if asking.is_empty() || list.rows.is_empty() {
                    continue;
                }
                some.clear();
                places.clear();
                for &at in &asking {
                    let at = at as usize;
                    some.extend_from_slice(&rows[at * width..][..width]);
                    places.extend_from_slice(&best[at * k..][..k]);
                }
                let masks: Vec<&[u32]> = asking
                    .iter()
                    .map(|&at| std::slice::from_ref(&own[at as usize]))
                    .collect();
                let users = Users {
                    factors: &some,
                    added: None,
                };
                let products = Products {
                    packed: list.panels,
                    rows: &list.rows,
                    ties: &list.ties,
                    biases: None,
                    caps: None,
                };
                top::rank(
                    simd,
                    width,
                    users,
                    products,
                    &masks,
                    k,
                    &mut scratch,
                    &mut places,
                );
                for (&at, found) in asking.iter().zip(places.chunks_exact(k)) {
                    best[at as usize * k..][..k].copy_from_slice(found);
                }
            }
        });
    }

    /// For each list who looks into it.
    fn asking(&self, near: &[u32], probes: usize) -> Vec<Vec<u32>> {
        let mut asking = vec![Vec::new(); self.lists.len()];
        for (at, near) in near.chunks_exact(probes).enumerate() {
            let from = near.partition_point(|&list| list < self.first);
            for &list in &near[from..] {
                let Some(of) = asking.get_mut((list - self.first) as usize) else {
                    break;
                };
                of.push(at as u32);
            }
        }
        asking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;
    use kernels::top::finish;
    use std::ops::Range;

    #[test]
    fn the_best_of_the_lists_that_are_looked_into_are_found() {
        let (width, k, simd) = (16, 3, Simd::detect());
        let row = |at: u32| {
            let draw = Random::new(5, 1, 0, at);
            (0..width as u32).map(move |k| draw.uniform(k) - 0.5)
        };
        let all: Vec<f32> = (0..60).flat_map(row).collect();
        let words: Vec<u32> = (0..60).flat_map(|at| [at, at % 2, 0]).collect();
        let sizes = [10, 0, 20, 5, 25];
        let ends = [10, 10, 30, 35, 60];
        let shards = [0..3, 3..5].map(|lists: Range<usize>| {
            let first = lists.start.checked_sub(1).map_or(0, |before| ends[before]);
            let rows = first..ends[lists.end - 1];
            let sizes = &sizes[lists.clone()];
            let mut panels = vec![0.0; shard_len(width, sizes)];
            let ours = &all[rows.start * width..rows.end * width];
            pack(simd, width, sizes, ours, &mut panels);
            let words = &words[rows.start * WORDS..rows.end * WORDS];
            (lists.start as u32, sizes, panels, words)
        });
        let own: Vec<u32> = (0..60).collect();
        let near: Vec<u32> = (0..60).flat_map(|at| [at % 2 + at % 3, 4]).collect();
        let mut best = vec![Ranked::NONE; 60 * k];
        for (first, sizes, panels, words) in &shards {
            let part = Shard::new(width, (*first, sizes), panels, words);
            part.offer(simd, &all, &own, (&near, 2), k, &mut best);
        }
        for (at, best) in best.chunks_exact_mut(k).enumerate() {
            let taken = finish(best);
            let lists = &near[at * 2..][..2];
            let list_of = |row: usize| ends.iter().position(|&end| row < end).unwrap() as u32;
            let mut expected: Vec<(f32, u32)> = (0..60)
                .filter(|&row| row != at && lists.contains(&list_of(row)))
                .map(|row| {
                    let pairs = all[at * width..][..width].iter().zip(&all[row * width..]);
                    let score = pairs.fold(0.0_f32, |sum, (x, y)| x.mul_add(*y, sum));
                    (score, row as u32)
                })
                .collect();
            expected.sort_by(|x, y| y.0.total_cmp(&x.0));
            expected.truncate(k);
            let found: Vec<(f32, u32)> =
                best[..taken].iter().map(|of| (of.score, of.row)).collect();
            assert_eq!(found, expected, "{at}");
        }
    }
}
