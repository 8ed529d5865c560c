//! The sparse product on the generated matrix, in both directions, through the library's own step: milliseconds, GB/s of rows
//! gathered, and their share of what this machine gathers when each row is read where it lies and nothing else is done.
//!
//! `cargo bench -p benches --bench spmm -- [--users M --products N --interactions K --widths 16,64,... --threads T
//! --simd auto|avx512|avx2|portable --repeats N --blocks B --together B]`; small under `cargo test`.
//!
//! Columns are numbered by falling degree, and as the engine deals them over blocks. `users` gathers rows of products,
//! `products` rows of users. "bound" is the time of the bytes of the rows at the rate at which all threads read an array of the
//! size of the gathered table, in order.

use benches::matrix::Matrix;
use kernels::{Rows, Simd};
use model::graph::Edges;
use model::graph::product::Product;
use model::graph::tiles::{self, Caches, Long, Sizes, Tiles};
use std::ops::Range;
use std::time::Instant;
use store::AlignedBuf;
use tensor::csr::Values;
use tensor::{BlockId, CsrRef, Grid, Small};

struct Options {
    sizes: [usize; 3],
    widths: Vec<usize>,
    threads: usize,
    simd: Simd,
    repeats: usize,
    blocks: usize,
    together: Option<u32>,
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
            together: word("--together").map(|word| word.parse().expect("a number")),
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
    println!("| width | rows | order | weights | blocks | ms | GB/s | bound, ms | digest |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (order, matrix) in [("degree", generated), ("dealt", dealt)] {
        let transposed = matrix.transposed();
        let sides = [("users", &matrix), ("products", &transposed)]
            .map(|(rows, matrix)| (rows, Side::new(matrix, options.blocks)));
        for &width in &options.widths {
            for (rows, side) in &sides {
                let together = options.together.or_else(|| side.together(width));
                for (edges, together) in [Edges::Binary, Edges::Values]
                    .into_iter()
                    .flat_map(|edges| [(edges, None), (edges, together)])
                    .take(if together.is_some() { 4 } else { 2 })
                {
                    let run = pool.install(|| side.run(&options, width, edges, together));
                    let together = together.map_or("alone".to_owned(), |blocks| blocks.to_string());
                    let bytes = (side.ids.len() * width * 4) as f64;
                    println!(
                        "| {width} | {rows} | {order} | {edges:?} | {together} | {:.1} | {:.1} | {:.1} | {:016x} |",
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

/// One orientation as the engine lays it out: rows of both tables in blocks, row ids with a stride.
struct Side<'a> {
    matrix: &'a Matrix,
    ids: Vec<u32>,
    offsets: Vec<u64>,
    rows: Grid,
    others: Grid,
}

/// Median seconds, bytes a second that the table is read with, and a digest of the sums.
struct Run {
    seconds: f64,
    rate: f64,
    digest: u64,
}

/// Blocks of consecutive rows, the first ones a row longer.
fn grid(rows: usize, blocks: usize) -> Grid {
    let (least, more) = (rows / blocks, rows % blocks);
    Grid {
        stride_log2: (least + 1).next_power_of_two().ilog2() as u8,
        rows: (0..blocks)
            .map(|block| (least + usize::from(block < more)) as u32)
            .collect(),
    }
}

impl<'a> Side<'a> {
    fn new(matrix: &'a Matrix, blocks: usize) -> Self {
        let (rows, others) = (grid(matrix.rows(), blocks), grid(matrix.columns, blocks));
        let number: Vec<u32> = (0..others.blocks())
            .flat_map(|block| others.row_ids(BlockId(block)))
            .collect();
        Side {
            ids: matrix.ids.iter().map(|&id| number[id as usize]).collect(),
            offsets: matrix.offsets.iter().map(|&offset| offset as u64).collect(),
            matrix,
            rows,
            others,
        }
    }

    /// Blocks that the engine multiplies together.
    fn together(&self, width: usize) -> Option<u32> {
        Caches::default().together(&self.rows, &self.others, self.ids.len() as u64, width)
    }

    fn run(&self, options: &Options, width: usize, edges: Edges, together: Option<u32>) -> Run {
        let tables: Vec<AlignedBuf> = (0..self.others.blocks())
            .map(|block| random_rows(self.others.row_ids(BlockId(block)), width))
            .collect();
        let blocks: Vec<&[f32]> = tables.iter().map(AlignedBuf::typed).collect();
        let others = Rows::new(&blocks, self.others.stride_log2, width);
        let mut out: Vec<AlignedBuf> = (self.rows.rows.iter())
            .map(|&rows| AlignedBuf::zeroed(rows as usize * width * 4))
            .collect();
        let mut ends: Vec<usize> = vec![0];
        for &rows in &self.rows.rows {
            ends.push(ends[ends.len() - 1] + rows as usize);
        }
        let csr = |block: usize| {
            let offsets = &self.offsets[ends[block]..=ends[block + 1]];
            let range = offsets[0] as usize..offsets[offsets.len() - 1] as usize;
            let values = Values::Each(&self.matrix.values[range.clone()]);
            let ids = &self.ids[range];
            CsrRef::new(offsets, offsets[0], ids, Small::default(), values, None)
                .expect("rows of the matrix")
        };
        let spans = tiles::spans(&self.others, Caches::default().range_rows(width));
        let arranged: Vec<Vec<u32>> = (0..self.rows.rows.len())
            .filter(|_| together.is_some())
            .map(|block| {
                let sizes = Sizes::count(edges, csr(block), &spans);
                let mut words = vec![0; sizes.words()];
                sizes.fill(edges, csr(block), &spans, &mut words);
                words
            })
            .collect();
        let open = |block: usize| {
            let rows = self.rows.rows[block] as usize;
            Tiles::new(&arranged[block], rows, spans.len()).expect("tiles of the block")
        };
        let mut seconds: Vec<f64> = (0..options.repeats)
            .map(|_| {
                for out in &mut out {
                    out.bytes_mut().fill(0);
                }
                let start = Instant::now();
                let Some(together) = together else {
                    for (block, out) in out.iter_mut().enumerate() {
                        let mut product = Product::new(options.simd, edges, width);
                        product.piece(csr(block), 0, others, out.typed_mut());
                    }
                    return start.elapsed().as_secs_f64();
                };
                for (task, out) in out.chunks_mut(together as usize).enumerate() {
                    let blocks = out.iter_mut().zip(task * together as usize..);
                    let mut blocks: Vec<_> =
                        blocks.map(|(out, block)| (open(block), out)).collect();
                    let shares = blocks.iter().map(|(tiles, _)| tiles.shares()).sum();
                    let mut long = vec![Long::new(); shares];
                    for (number, span) in spans.iter().enumerate() {
                        let rows = blocks
                            .iter_mut()
                            .map(|(tiles, out)| (*tiles, out.typed_mut()));
                        tiles::add_range(
                            options.simd,
                            others,
                            (number, span.base),
                            rows,
                            &mut long,
                        );
                    }
                    let rows = blocks
                        .iter_mut()
                        .map(|(tiles, out)| (*tiles, out.typed_mut()));
                    tiles::close(width, rows, long);
                }
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let sums = out.iter().flat_map(AlignedBuf::typed::<f32>);
        Run {
            seconds: seconds[seconds.len() / 2],
            rate: reading(options, &blocks),
            digest: sums.fold(0, |digest: u64, x| {
                (digest ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3)
            }),
        }
    }
}

/// Rows of numbers around 0 that follow from the row's id.
fn random_rows(ids: Range<u32>, width: usize) -> AlignedBuf {
    let mut rows = AlignedBuf::zeroed(ids.len() * width * 4);
    let numbers = ids.flat_map(|id| (0..width as u32).map(move |column| (id, column)));
    for (x, (id, column)) in rows.typed_mut::<f32>().iter_mut().zip(numbers) {
        let hash = (id * 512 + column).wrapping_mul(2_654_435_761);
        *x = (hash >> 8) as f32 / (1 << 24) as f32 - 0.5;
    }
    rows
}

/// Bytes a second of all threads together that read an array again and again, the best of the repeats.
fn reading(options: &Options, table: &[&[f32]]) -> f64 {
    let len: usize = table.iter().map(|block| block.len()).sum();
    let rounds = (1 << 26) / len + 1;
    let one = || {
        let mut lanes = [0.0_f32; 64];
        for _ in 0..rounds {
            let blocks = std::hint::black_box(table);
            for some in blocks.iter().flat_map(|block| block.chunks_exact(64)) {
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
        (options.threads * rounds * len * 4) as f64 / start.elapsed().as_secs_f64()
    };
    (0..options.repeats).map(|_| together()).fold(0.0, f64::max)
}
