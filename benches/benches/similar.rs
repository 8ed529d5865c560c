//! Rows that are like each row: all pairs against an index, by the functions that `coordinator similar` runs in tasks.
//!
//! `cargo bench -p benches --bench similar -- [--rows N --rank R --groups G --asked Q --recall S --threads T --simd
//! auto|avx512|avx2|portable]`; small under `cargo test`.
//!
//! Rows are directions around groups of very different sizes, half of each row its group's and half its own, as embeddings of products
//! lie. All pairs are timed on `asked` rows and scaled to all; the index is made and searched for all. How many lists are looked through is
//! chosen on one half of the asked rows, and recall told of the other.

use kernels::top::{Ranked, Users, finish};
use kernels::{Random, Simd, unit};
use model::evaluate::ProductRow;
use model::recommend::index::lists::{Centres, WORDS, assign, centres, rank_of};
use model::recommend::index::lists_of;
use model::recommend::index::ops::CentresOp;
use model::recommend::index::search::{Shard, pack, shard_len};
use model::score::{Packed, Stretch};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The length of a list.
const K: usize = 20;
/// Rows of the sample for each list, and of a shard.
const SAMPLE_PER_LIST: usize = 32;
const SHARD_ROWS: usize = 1 << 16;
/// Rows that are looked for together.
const TOGETHER: usize = 1 << 14;

struct Options {
    rows: usize,
    rank: usize,
    groups: usize,
    asked: usize,
    recall: f64,
    threads: usize,
    simd: Simd,
    large: bool,
}

impl Options {
    /// Large under `cargo bench`, small under `cargo test`.
    fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let large = words.iter().any(|word| word == "--bench");
        let word = |name: &str| {
            let place = words.iter().position(|word| word == name)?;
            words.get(place + 1).cloned()
        };
        let number = |name: &str, small: usize, big: usize| {
            word(name).map_or(if large { big } else { small }, |word| {
                word.parse().expect("a number")
            })
        };
        Options {
            rows: number("--rows", 20_000, 1_000_000),
            rank: number("--rank", 32, 64),
            groups: number("--groups", 200, 3_000),
            asked: number("--asked", 400, 2_000),
            recall: word("--recall").map_or(0.99, |word| word.parse().expect("a share")),
            threads: number("--threads", 2, 2),
            simd: word("--simd").map_or_else(Simd::detect, |word| word.parse().expect("a path")),
            large,
        }
    }

    fn width(&self) -> usize {
        self.rank.next_multiple_of(16)
    }
}

/// Directions around groups, of which the first are the largest.
fn directions(options: &Options) -> Vec<f32> {
    let (width, rank) = (options.width(), options.rank as u32);
    let mut rows = vec![0.0; options.rows * width];
    rows.par_chunks_mut(width)
        .enumerate()
        .for_each(|(at, row)| {
            let draw = Random::new(7, 0, 0, at as u32);
            let share = f64::from(draw.uniform(rank));
            let group = (share * share * options.groups as f64) as u32;
            let centre = Random::new(7, 1, 0, group);
            for k in 0..rank {
                row[k as usize] = (centre.normal(k) + draw.normal(k)) as f32;
            }
        });
    unit(options.simd, width, 1.0, &mut rows);
    rows
}

/// All of the rows as products, for lists.
fn known(rows: usize) -> Vec<ProductRow> {
    let row = |at: usize| ProductRow {
        tie: model::bootstrap::mix(at as u64),
        popularity: 1,
        ..ProductRow::default()
    };
    (0..rows).map(row).collect()
}

/// The true lists of some rows.
fn all_pairs(options: &Options, rows: &[f32], known: &[ProductRow], asked: &[u32]) -> Vec<Ranked> {
    let width = options.width();
    let mut packed = Packed::new(width, None);
    packed.begin();
    let some: Vec<f32> = asked
        .iter()
        .flat_map(|&row| rows[row as usize * width..][..width].to_vec())
        .collect();
    let masks: Vec<&[u32]> = asked.iter().map(std::slice::from_ref).collect();
    let mut best = vec![Ranked::NONE; asked.len() * K];
    let stretch = Stretch {
        first: 0,
        products: known,
        factors: rows,
        width,
    };
    for part in stretch.parts() {
        packed.fill(options.simd, &part);
        let users = Users {
            factors: &some,
            added: None,
        };
        packed.offer(options.simd, users, &masks, K, &mut best);
    }
    best.chunks_mut(K).for_each(|best| {
        finish(best);
    });
    best
}

/// The index: centres, the list of each row, and rows brought together by lists.
struct Index {
    centres: Centres,
    lists: Vec<u32>,
    /// (list, row) in the order of lists.
    order: Vec<(u32, u32)>,
    sizes: Vec<usize>,
}

impl Index {
    fn of(options: &Options, rows: &[f32], known: &[ProductRow]) -> Self {
        let width = options.width();
        let count = lists_of(options.rows as u64) as usize;
        let every = (options.rows / (count * SAMPLE_PER_LIST)).max(1);
        let sample: Vec<u32> = (0..options.rows)
            .step_by(every)
            .flat_map(|at| {
                let row = rows[at * width..][..width].iter();
                std::iter::once(at as u32).chain(row.map(|x| x.to_bits()))
            })
            .collect();
        let op = CentresOp {
            width: width as u32,
            lists: count as u32,
        };
        let centres = Centres::new(width, &centres(options.simd, op, &[&sample]));
        let (lists, counts) = assign(options.simd, &centres, rows, known);
        let mut order: Vec<(u32, u32)> = lists.iter().copied().zip(0..).collect();
        order.par_sort_unstable();
        Index {
            centres,
            lists,
            order,
            sizes: counts.iter().map(|&count| count as usize).collect(),
        }
    }

    /// The fewest lists that hold the share of the true neighbours.
    fn probes(&self, options: &Options, rows: &[f32], asked: &[u32], truth: &[Ranked]) -> usize {
        let width = options.width();
        let some: Vec<f32> = asked
            .iter()
            .flat_map(|&row| rows[row as usize * width..][..width].to_vec())
            .collect();
        let ranks: Vec<AtomicU64> = (0..self.centres.count())
            .map(|_| AtomicU64::new(0))
            .collect();
        self.centres.each(options.simd, &some, |place, apart| {
            for of in &truth[place * K..][..K] {
                let rank = rank_of(apart, self.lists[of.row as usize]);
                ranks[rank].fetch_add(1, Ordering::Relaxed);
            }
        });
        let (all, mut held) = (asked.len() * K, 0);
        let reached = ranks.iter().position(|of| {
            held += of.load(Ordering::Relaxed);
            held as f64 >= options.recall * all as f64
        });
        reached.map_or(ranks.len(), |place| place + 1)
    }

    /// Looks for what is like each row; hands over the lists of some rows at a time, from the first of them on.
    fn search(
        &self,
        options: &Options,
        (rows, known): (&[f32], &[ProductRow]),
        probes: usize,
        mut found: impl FnMut(usize, &mut [Ranked]),
    ) {
        let (width, simd) = (options.width(), options.simd);
        let (mut packed, mut first, mut start) = (Vec::new(), 0, 0);
        while first < self.sizes.len() {
            let (mut end, mut held) = (first, 0);
            while end < self.sizes.len() && (held == 0 || held + self.sizes[end] <= SHARD_ROWS) {
                held += self.sizes[end];
                end += 1;
            }
            let ours = &self.order[start..start + held];
            let directions: Vec<f32> = ours
                .iter()
                .flat_map(|&(_, row)| rows[row as usize * width..][..width].to_vec())
                .collect();
            let words: Vec<u32> = ours
                .iter()
                .flat_map(|&(_, row)| {
                    let tie = known[row as usize].tie;
                    [row, tie as u32, (tie >> 32) as u32]
                })
                .collect();
            assert_eq!(words.len(), ours.len() * WORDS);
            let sizes = &self.sizes[first..end];
            let mut panels = vec![0.0; shard_len(width, sizes)];
            pack(simd, width, sizes, &directions, &mut panels);
            packed.push((first as u32, sizes, panels, words));
            (first, start) = (end, start + held);
        }
        let shards: Vec<Shard<'_>> = packed
            .iter()
            .map(|(first, sizes, panels, words)| Shard::new(width, (*first, sizes), panels, words))
            .collect();
        for (group, asking) in rows.chunks(TOGETHER * width).enumerate() {
            let first = group * TOGETHER;
            let count = asking.len() / width;
            let own: Vec<u32> = (first as u32..(first + count) as u32).collect();
            let near = self.centres.nearest(simd, asking, probes);
            let mut best = vec![Ranked::NONE; count * K];
            for shard in &shards {
                shard.offer(simd, asking, &own, (&near, probes), K, &mut best);
            }
            best.chunks_mut(K).for_each(|best| {
                finish(best);
            });
            found(first, &mut best);
        }
    }
}

/// The share of some true lists that was found.
fn recall(asked: &[u32], truth: &[Ranked], found: &[Vec<u32>]) -> f64 {
    let lists = asked.iter().zip(truth.chunks(K)).zip(found);
    let hits =
        lists.map(|((_, truth), found)| truth.iter().filter(|of| found.contains(&of.row)).count());
    hits.sum::<usize>() as f64 / (asked.len() * K) as f64
}

fn main() {
    let options = Options::read();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build();
    pool.expect("threads").install(|| run(&options));
}

fn run(options: &Options) {
    let (rows, known) = (directions(options), known(options.rows));
    let every = (options.rows / options.asked).max(1);
    let asked: Vec<u32> = (0..options.rows as u32)
        .step_by(every)
        .take(options.asked)
        .collect();
    let began = Instant::now();
    let truth = all_pairs(options, &rows, &known, &asked);
    let exact = began.elapsed().as_secs_f64() * options.rows as f64 / asked.len() as f64;

    let began = Instant::now();
    let index = Index::of(options, &rows, &known);
    let made = began.elapsed().as_secs_f64();
    let (chosen_on, told_of) = asked.split_at(asked.len() / 2);
    let (truth_of_chosen, truth) = truth.split_at(chosen_on.len() * K);
    let probes = index.probes(options, &rows, chosen_on, truth_of_chosen);
    let mut found: Vec<Vec<u32>> = Vec::new();
    let mut digest = 0_u64;
    let began = Instant::now();
    index.search(options, (&rows, &known), probes, |first, best| {
        for of in best.iter() {
            digest = model::bootstrap::mix(
                digest ^ u64::from(of.row) << 32 ^ u64::from(of.score.to_bits()),
            );
        }
        let ours = told_of.iter().map(|&row| row as usize);
        let ours = ours.filter(|row| (first..first + best.len() / K).contains(row));
        found.extend(ours.map(|row| {
            let list = best[(row - first) * K..][..K].iter();
            list.map(|of| of.row).collect()
        }));
    });
    let searched = began.elapsed().as_secs_f64();
    let recall = recall(told_of, truth, &found);
    println!(
        "{} rows of rank {}, lists of {K}, {} threads, {}",
        options.rows, options.rank, options.threads, options.simd
    );
    println!(
        "all pairs   {exact:10.2} s (of {} rows, scaled)",
        asked.len()
    );
    println!(
        "the index   {:10.2} s: {made:.2} s to make {} lists, {searched:.2} s to look through {probes} of them for each row",
        made + searched,
        index.centres.count()
    );
    println!(
        "{:.1} times as fast, recall {recall:.4}, digest {digest:016x}",
        exact / (made + searched)
    );
    assert!(recall > options.recall - 0.02, "recall {recall}");
    assert!(options.large || digest != 0);
}
