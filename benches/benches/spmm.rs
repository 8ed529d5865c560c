//! The sparse product on the generated matrix, in both directions, through the library's own step: milliseconds, GB/s of rows
//! gathered, and their share of what this machine gathers when each row is read where it lies and nothing else is done.
//!
//! `cargo bench -p benches --bench spmm -- [--users M --products N --interactions K --widths 16,64,... --threads T
//! --simd auto|avx512|avx2|portable --repeats N --blocks B]`; small under `cargo test`.
//!
//! Columns are numbered by falling degree, and as the engine deals them over blocks. `users` gathers rows of products,
//! `products` rows of users. "bound" is the time of the bytes of the rows at the rate at which all threads read an array of the
//! size of the gathered table, in order.

use benches::matrix::Matrix;
use kernels::{Rows, Simd};
use model::graph::Edges;
use model::graph::product::Product;
use std::time::Instant;
use tensor::csr::Values;
use tensor::{CsrRef, Small};

struct Options {
    sizes: [usize; 3],
    widths: Vec<usize>,
    threads: usize,
    simd: Simd,
    repeats: usize,
    blocks: usize,
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
        let widths = word("--widths").unwrap_or_else(|| {
            if large {
                "16,32,64,128,256,512"
            } else {
                "16,48"
            }
            .to_owned()
        });
        Options {
            sizes: [
                number("--users", 2_000, 200_000),
                number("--products", 500, 50_000),
                number("--interactions", 40_000, 21_000_000),
            ],
            widths: widths
                .split(',')
                .map(|width| width.parse().expect("a width"))
                .collect(),
            threads: number("--threads", 2, 2),
            simd: word("--simd").map_or_else(Simd::detect, |word| word.parse().expect("a path")),
            repeats: number("--repeats", 1, 7),
            blocks: number("--blocks", 4, 64),
        }
    }
}

fn main() {
    let options = Options::read();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .expect("threads");
    let [users, products, interactions] = options.sizes;
    let generated = Matrix::generate(users, products, interactions);
    let dealt = generated.dealt(options.blocks);
    println!(
        "{users} x {products}, {} interactions, {}, {} threads",
        generated.ids.len(),
        options.simd,
        options.threads
    );
    println!("| width | rows | order | weights | ms | GB/s | bound, ms | digest |");
    println!("|---|---|---|---|---|---|---|---|");
    for (order, matrix) in [("degree", generated), ("dealt", dealt)] {
        let transposed = matrix.transposed();
        for &width in &options.widths {
            for (rows, matrix) in [("users", &matrix), ("products", &transposed)] {
                for edges in [Edges::Binary, Edges::Values] {
                    let run = pool.install(|| run(&options, matrix, width, edges));
                    let bytes = (matrix.ids.len() * width * 4) as f64;
                    println!(
                        "| {width} | {rows} | {order} | {edges:?} | {:.1} | {:.1} | {:.1} | {:016x} |",
                        run.seconds * 1e3,
                        bytes / run.seconds / 1e9,
                        bytes / run.rate * 1e3,
                        run.digest
                    );
                }
            }
        }
    }
}

/// Median seconds, bytes a second that the table is read with, and a digest of the sums.
struct Run {
    seconds: f64,
    rate: f64,
    digest: u64,
}

fn run(options: &Options, matrix: &Matrix, width: usize, edges: Edges) -> Run {
    let table: Vec<f32> = (0..matrix.columns * width)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5)
        .collect();
    let offsets: Vec<u64> = matrix.offsets.iter().map(|&offset| offset as u64).collect();
    let mut out = vec![0.0; matrix.rows() * width];
    let csr = CsrRef::new(
        &offsets,
        0,
        &matrix.ids,
        Small::default(),
        Values::Each(&matrix.values),
        Some(matrix.columns as u64),
    )
    .expect("rows of the matrix");
    let mut seconds: Vec<f64> = (0..options.repeats)
        .map(|_| {
            out.fill(0.0);
            let blocks = [&table[..]];
            let start = Instant::now();
            let mut product = Product::new(options.simd, edges, width);
            product.piece(csr, 0, Rows::contiguous(&blocks, width), &mut out);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    Run {
        seconds: seconds[seconds.len() / 2],
        rate: reading(options, &table),
        digest: out.iter().fold(0, |digest: u64, x| {
            (digest ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3)
        }),
    }
}

/// Bytes a second of all threads together that read an array again and again, the best of the repeats.
fn reading(options: &Options, table: &[f32]) -> f64 {
    let rounds = (1 << 26) / table.len() + 1;
    let one = || {
        let mut lanes = [0.0_f32; 64];
        for _ in 0..rounds {
            for some in std::hint::black_box(table).chunks_exact(64) {
                for (lane, x) in lanes.iter_mut().zip(some) {
                    *lane += x;
                }
            }
        }
        std::hint::black_box(lanes);
    };
    let together = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..options.threads {
                scope.spawn(one);
            }
        });
        (options.threads * rounds * table.len() * 4) as f64 / start.elapsed().as_secs_f64()
    };
    (0..options.repeats).map(|_| together()).fold(0.0, f64::max)
}
