//! Rows of a half-step by solver, rank, length and popularity of columns, through the library's own dispatch: what the
//! solvers cost where the shape of the data is another.
//!
//! `cargo bench -p benches --bench rows -- [--ranks 16,32,64,128,256 --threads T --simd auto|avx512|avx2|portable
//! --interactions N --repeats N]`; small under `cargo test`.
//!
//! A line is the median of the repeats: microseconds a row of a thread, GFLOP/s as if every row were solved by Cholesky (so
//! that solvers compare), their share of the measured multiply-add peak, and GB/s of factor rows gathered once. Turning tables
//! into the eigenbasis is tasks of their own, and not counted; turning rows back is.
//!
//! A second table has the sums of squares alone (SYRK): rows gathered and packed out of a table in the second-level cache.

use benches::peak::peak;
use kernels::random::Random;
use kernels::{CHUNK, Onto, Rows, Simd, Source, accumulate, panel_len, system_len};
use model::als::basis::{Basis, basis_of};
use model::als::desk::Desks;
use model::als::gram::block_gram;
use model::als::half_step::{Factors, HalfStep, Shared};
use model::als::{Formula, HalfStepOp, Settings, Solver};
use rayon::ThreadPool;
use std::time::Instant;
use tensor::csr::Values;
use tensor::{BlockId, CsrRef, Grid, Mode, Small};

const SOLVERS: [(&str, Solver); 5] = [
    ("cholesky", Solver::Cholesky),
    ("dual", Solver::Dual),
    ("cg", Solver::Cg),
    ("subspace", Solver::Subspace),
    ("auto", Solver::Auto),
];
/// Interactions of a row: short, as most users have them, and long, as products do.
const LENGTHS: [usize; 3] = [12, 100, 1_000];

struct Options {
    ranks: Vec<u32>,
    threads: usize,
    simd: Simd,
    interactions: usize,
    columns: u32,
    repeats: usize,
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
        let ranks = word("--ranks")
            .unwrap_or_else(|| if large { "16,32,64,128,256" } else { "16,48" }.to_owned());
        Options {
            ranks: ranks
                .split(',')
                .map(|rank| rank.parse().expect("a rank"))
                .collect(),
            threads: number("--threads", 2, 2),
            simd: word("--simd").map_or_else(Simd::detect, |word| word.parse().expect("a path")),
            interactions: number("--interactions", 4_000, 1_000_000),
            columns: number("--columns", 2_000, 50_000) as u32,
            repeats: number("--repeats", 1, 5),
        }
    }
}

/// Rows of one length.
struct Interactions {
    offsets: Vec<u64>,
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl Interactions {
    /// Columns rising within a row; drawn alike, or by Zipf's law of exponent 0.8 with its head flattened by ten.
    fn draw(count: usize, length: usize, columns: u32, zipf: bool) -> Self {
        let mut cumulative = Vec::with_capacity(columns as usize);
        let mut total = 0.0;
        for column in 0..columns {
            total += if zipf {
                1.0 / f64::from(column + 10).powf(0.8)
            } else {
                1.0
            };
            cumulative.push(total);
        }
        let random = Random::new(11, 1, 0, 0);
        let rows = (count / length).max(1);
        let (mut offsets, mut ids) = (vec![0], Vec::with_capacity(rows * length));
        let mut draw = 0;
        for _ in 0..rows {
            let mut row: Vec<u32> = (0..length)
                .map(|_| {
                    draw += 1;
                    let place = f64::from(random.word(draw)) / 2_f64.powi(32) * total;
                    let column = cumulative.partition_point(|&sum| sum <= place) as u32;
                    // What is popular lies anywhere, as it does where rows are dealt over blocks.
                    (column.min(columns - 1)).wrapping_mul(2_654_435_761) % columns
                })
                .collect();
            row.sort_unstable();
            ids.extend(row);
            offsets.push(ids.len() as u64);
        }
        let values = ids.iter().map(|&id| 1.0 + (id % 4) as f32).collect();
        Interactions {
            offsets,
            ids,
            values,
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }
}

fn main() {
    let options = Options::read();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .expect("threads");
    let simd = options.simd;
    let peak = peak(simd, options.threads);
    println!(
        "{simd}, {} threads, multiply-add peak {peak:.0} GFLOP/s",
        options.threads
    );
    println!(
        "| rank | interactions a row | columns | solver | µs a row | GFLOP/s | of the peak | GB/s gathered |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &rank in &options.ranks {
        let table = factors(options.columns, rank);
        for length in LENGTHS {
            for (law, zipf) in [("uniform", false), ("Zipf", true)] {
                let rows = Interactions::draw(options.interactions, length, options.columns, zipf);
                for (name, solver) in SOLVERS {
                    let seconds = pool.install(|| median(&options, rank, solver, &rows, &table));
                    let flops = rows.rows() as f64 * flops(rank, length);
                    let bytes = rows.ids.len() as f64 * f64::from(rank) * 4.0;
                    println!(
                        "| {rank} | {length} | {law} | `{name}` | {:.2} | {:.0} | {:.0} % | {:.1} |",
                        seconds * 1e6 * options.threads as f64 / rows.rows() as f64,
                        flops / seconds / 1e9,
                        100.0 * flops / seconds / 1e9 / peak,
                        bytes / seconds / 1e9,
                    );
                }
            }
        }
    }
    println!();
    println!("| rank | interactions a row | sums of squares, GFLOP/s | of the peak |");
    println!("|---|---|---|---|");
    for &rank in &options.ranks {
        for length in LENGTHS {
            let rate = sums_of_squares(&options, &pool, rank, length);
            println!(
                "| {rank} | {length} | {rate:.0} | {:.0} % |",
                100.0 * rate / peak
            );
        }
    }
}

/// GFLOP/s of the normal equations of rows without their solution, all threads together.
fn sums_of_squares(options: &Options, pool: &ThreadPool, rank: u32, length: usize) -> f64 {
    const NEAR: u32 = 512;
    let (simd, width) = (options.simd, rank.next_multiple_of(16) as usize);
    let table = factors(NEAR, rank);
    let ids: Vec<u32> = (0..length as u32).map(|e| e * 331 % NEAR).collect();
    let ones = vec![1.0; length];
    let rows = (options.interactions / length).max(1);
    let one_thread = || {
        let blocks = [&table[..]];
        let columns = Rows::contiguous(&blocks, width);
        let mut panel = vec![0.0; panel_len(width)];
        let mut system = vec![0.0; system_len(width)];
        let began = Instant::now();
        for _ in 0..rows {
            let mut onto = Onto::Zeros;
            for (ids, ones) in ids.chunks(CHUNK).zip(ones.chunks(CHUNK)) {
                let source = Source { rows: columns, ids };
                accumulate(simd, &[source], ones, ones, &mut panel, onto, &mut system);
                onto = Onto::Sum;
            }
        }
        assert!(system.iter().all(|x| x.is_finite()));
        began.elapsed().as_secs_f64()
    };
    let mut seconds: Vec<f64> = (0..options.repeats)
        .map(|_| {
            let threads = pool.broadcast(|_| one_thread());
            threads.into_iter().fold(0.0, f64::max)
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let (r, n) = (f64::from(rank), (rows * length * options.threads) as f64);
    n * (r * (r + 1.0) + 2.0 * r) / seconds[seconds.len() / 2] / 1e9
}

/// Factors of a table of one block.
fn factors(rows: u32, rank: u32) -> Vec<f32> {
    let width = rank.next_multiple_of(16) as usize;
    let mut table = vec![0.0; rows as usize * width];
    for (row, id) in table.chunks_exact_mut(width).zip(0..) {
        Random::new(9, 2, 0, id).fill_normal(&mut row[..rank as usize]);
        for x in row {
            *x *= 0.1;
        }
    }
    table
}

/// Useful operations of a row that is solved by Cholesky.
fn flops(rank: u32, length: usize) -> f64 {
    let (r, n) = (f64::from(rank), length as f64);
    n * (r * (r + 1.0) + 2.0 * r) + r.powi(3) / 3.0 + 2.0 * r * r
}

/// Seconds of the half-step, the median of the repeats.
fn median(options: &Options, rank: u32, solver: Solver, rows: &Interactions, table: &[f32]) -> f64 {
    let simd = options.simd;
    let settings = Settings {
        rank,
        regularization: 1.0,
        nu: 0.0,
        ..Settings::default()
    };
    let formula = Formula::of(&settings);
    let (width, biases) = (formula.width(), formula.biases(Mode::User));
    let solver = solver.at(width);
    let gram = block_gram(simd, width, table);
    let basis = solver
        .takes_panels()
        .then(|| basis_of(simd, rank as usize, biases, &[&gram]));
    let mut turned = table.to_vec();
    if let Some(basis) = &basis {
        Basis::open(width, basis).turn(simd, table, &mut turned);
    }
    let op = HalfStepOp {
        formula,
        rows: Grid::single(rows.rows() as u32),
        columns: Grid::single(options.columns),
        small: Small::default(),
        closes_epoch: false,
        solver,
        cg_steps: settings.cg_steps,
        basis: basis.is_some(),
        warm: solver.starts_warm(),
        non_negative: false,
        side: None,
        biases,
        sums: None,
        neighbours: None,
        keeps: false,
    };
    let last = factors(rows.rows() as u32, rank);
    let longest = rows.offsets[1];
    let desks = Desks::new(width, HalfStep::panel(&op, longest), options.threads);
    let blocks = [&turned[..]];
    let columns = Rows::contiguous(&blocks, width);
    let mut out = vec![0.0; last.len()];
    let mut seconds: Vec<f64> = (0..options.repeats)
        .map(|_| {
            let csr = CsrRef::new(
                &rows.offsets,
                0,
                &rows.ids,
                Small::default(),
                Values::Each(&rows.values),
                Some(u64::from(options.columns)),
            );
            let began = Instant::now();
            let shared = Shared {
                gram: basis.is_none().then_some(&gram[..]),
                basis: basis.as_deref(),
                ..Shared::default()
            };
            let mut step = HalfStep::new(simd, &op, BlockId(0), shared);
            step.start(op.warm.then_some(&last[..]), &rows.offsets, &mut out);
            let small = Small::default();
            let factors = Factors { columns, small };
            step.piece(csr.expect("rows"), 0, factors, &desks, &mut out);
            step.finish(&rows.offsets, &mut out);
            began.elapsed().as_secs_f64()
        })
        .collect();
    assert!(out.iter().all(|x| x.is_finite()));
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
