//! Full iterations of implicit ALS with kernels alone: the ceiling for everything above them.
//!
//! `cargo bench --bench half_step -- [--users N --products N --interactions N --rank R --threads T --iterations I
//! --simd auto|avx512|avx2|portable --solver cholesky|cg --steps N --blocks N --dump FILE]`; small under `cargo test`.
//!
//! Rows lie as the engine lays them out, dealt over `blocks` blocks. The dump has them in the order of the generator.
//!
//! `cholesky` solves every row exactly; `cg` works in the eigenbasis of the Gram matrix, from the row's previous
//! factors, on rows that a panel holds.

use benches::matrix::{Matrix, uniform};
use benches::peak::{peak, processor_seconds};
use kernels::{
    Base, CHUNK, Common, Equations, GROUP, Onto, Rows, Simd, Source, accumulate, add, batch_len,
    close, close_long, conjugate_gradients, conjugate_gradients_scratch, eigen, eigen_scratch,
    flush, gram, pack, panel_len, rotate, solve, solve_scratch, system_len, upper_index, upper_len,
    width_of,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const ALPHA: f32 = 1.0;
const RIDGE: f32 = 1.0;
/// Rows a thread takes at a time.
const ROWS: usize = 256;
/// Interactions summed in f64 before the binary tree.
const SEGMENT: usize = 65_536;
/// Row ids handed over beyond a chunk, to be prefetched.
const LOOK_AHEAD: usize = 64;
/// Floats of a panel.
const PANEL: usize = 1 << 19;

struct Options {
    users: usize,
    products: usize,
    interactions: usize,
    rank: usize,
    threads: usize,
    iterations: usize,
    simd: Simd,
    /// Steps of conjugate gradients; `None`: every row exactly.
    steps: Option<usize>,
    blocks: usize,
    dump: Option<String>,
}

impl Options {
    /// Large under `cargo bench`, small under `cargo test`.
    fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let large = words.iter().any(|word| word == "--bench");
        let word = |name: &str| {
            words
                .iter()
                .position(|word| word == name)
                .map(|at| words[at + 1].clone())
        };
        let number = |name: &str, small: usize, big: usize| {
            word(name).map_or(if large { big } else { small }, |word| {
                word.parse().expect("a number")
            })
        };
        Options {
            users: number("--users", 600, 200_000),
            products: number("--products", 300, 50_000),
            interactions: number("--interactions", 20_000, 20_000_000),
            rank: number("--rank", 32, 64),
            threads: number("--threads", 2, 2),
            iterations: number("--iterations", 2, 3),
            simd: word("--simd").map_or_else(Simd::detect, |word| word.parse().expect("a path")),
            steps: (word("--solver").as_deref() == Some("cg")).then(|| number("--steps", 3, 3)),
            blocks: number("--blocks", 4, 64),
            dump: word("--dump"),
        }
    }
}

fn main() {
    let options = Options::read();
    run(&options);
    if !std::env::args().any(|word| word == "--bench") {
        run(&Options {
            steps: Some(3),
            ..options
        });
    }
}

fn run(options: &Options) {
    let by_user = Matrix::generate(options.users, options.products, options.interactions);
    if let Some(file) = &options.dump {
        let mut file =
            std::io::BufWriter::new(std::fs::File::create(file).expect("a file to write"));
        by_user.write(&mut file).expect("the dump");
    }
    let by_user = by_user.dealt(options.blocks);
    let by_product = by_user.transposed();
    let (simd, threads, width) = (options.simd, options.threads, width_of(options.rank));
    println!(
        "{} interactions, rank {}, {simd}, {threads} threads",
        by_user.ids.len(),
        options.rank
    );
    let peak = peak(simd, threads);
    println!("multiply-add peak {peak:.0} GFLOP/s");
    let (mut u, mut v) = (
        initial(by_user.rows(), options.rank),
        initial(by_product.rows(), options.rank),
    );
    let flops = flops(&by_user, options.rank) + flops(&by_product, options.rank);
    let mut losses = Vec::new();
    let mut seconds = Vec::new();
    for iteration in 0..options.iterations {
        let users = half_step(options, &by_user, &v, &mut u);
        let products = half_step(options, &by_product, &u, &mut v);
        let (wall, cpu) = (users.wall + products.wall, users.cpu + products.cpu);
        losses.push(loss(simd, width, &by_user, &u, &v));
        seconds.push(wall);
        println!(
            "iteration {iteration}: users {:.3} s, products {:.3} s, both {wall:.3} s ({:.3} s of processor per thread), \
             {:.0} GFLOP/s, {:.0} % of peak by processor time, objective {:.9e}",
            users.wall,
            products.wall,
            cpu / threads as f64,
            flops / wall / 1e9,
            100.0 * flops / (cpu / threads as f64) / 1e9 / peak,
            losses[iteration],
        );
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "median {:.3} s, digest {:016x}",
        seconds[seconds.len() / 2],
        digest(&[&u, &v])
    );
    assert!(
        losses.windows(2).all(|pair| pair[1] <= pair[0]),
        "the objective rose"
    );
}

/// Useful operations of one half-step: the triangle of every interaction, right-hand sides, Gram, Cholesky, solves.
fn flops(matrix: &Matrix, rank: usize) -> f64 {
    let r = rank as f64;
    let interactions = matrix.ids.len() as f64 * (r * (r + 1.0) + 2.0 * r);
    let rows = matrix.rows() as f64 * (r.powi(3) / 3.0 + 2.0 * r * r);
    interactions + rows + matrix.columns as f64 * r * (r + 1.0)
}

/// Rows of a table start on a cache line: padding in front of a vector, which an aligned buffer would not need.
struct Table {
    numbers: Vec<f32>,
    start: usize,
    length: usize,
}

impl Table {
    fn zeroed(length: usize) -> Self {
        let numbers = vec![0.0; length + 16];
        let start = numbers.as_ptr().align_offset(64);
        Table {
            numbers,
            start,
            length,
        }
    }

    fn read(&self) -> &[f32] {
        &self.numbers[self.start..][..self.length]
    }

    fn write(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.length]
    }
}

fn initial(rows: usize, rank: usize) -> Table {
    let mut state = rows as u64;
    let mut table = Table::zeroed(rows * width_of(rank));
    for row in table.write().chunks_mut(width_of(rank)) {
        for x in &mut row[..rank] {
            *x = (uniform(&mut state) - 0.5) as f32 * 0.1;
        }
    }
    table
}

struct Spent {
    wall: f64,
    cpu: f64,
}

/// One side of an iteration: its Gram matrix, then every row.
fn half_step(options: &Options, matrix: &Matrix, other: &Table, out: &mut Table) -> Spent {
    let (simd, threads, rank) = (options.simd, options.threads, options.rank);
    let width = width_of(rank);
    let start = Instant::now();
    let (mut base, gram_cpu) = base(simd, threads, width, rank, other.read());
    let basis = options
        .steps
        .map(|steps| (steps, Basis::of(simd, rank, &base)));
    let mut turned = Table::zeroed(0);
    let mut turning = 0.0;
    if let Some((_, basis)) = &basis {
        base = basis.upper();
        turned = Table::zeroed(other.length);
        turning = basis.turn(simd, threads, &basis.into, other.read(), turned.write());
    }
    let other = if basis.is_some() { &turned } else { other };
    let jobs: Vec<Mutex<&mut [f32]>> = out
        .write()
        .chunks_mut(ROWS * width)
        .map(Mutex::new)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let before = processor_seconds();
        let mut rows = RowSolver::new(simd, width, &base, basis.as_ref());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { break };
            rows.run(
                matrix,
                other.read(),
                number * ROWS,
                &mut job.lock().expect("one thread per job"),
            );
        }
        processor_seconds() - before
    };
    let cpu: f64 = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .sum()
    });
    Spent {
        wall: start.elapsed().as_secs_f64(),
        cpu: cpu + gram_cpu + turning,
    }
}

/// The eigenbasis of a Gram matrix: its values, and the matrices into it and back.
struct Basis {
    values: Vec<f32>,
    into: Vec<f32>,
    back: Vec<f32>,
}

impl Basis {
    fn of(simd: Simd, rank: usize, base: &[f32]) -> Self {
        let width = width_of(rank);
        let entry = |i: usize| {
            let (i, j) = (i / rank, i % rank);
            f64::from(base[upper_index(width, i.min(j), i.max(j))])
        };
        let mut vectors: Vec<f64> = (0..rank * rank).map(entry).collect();
        let (mut values, mut scratch) = (vec![0.0; rank], vec![0.0; eigen_scratch(rank)]);
        assert!(eigen(simd, &mut vectors, &mut values, &mut scratch));
        let mut basis = Basis {
            values: vec![1.0; width],
            into: vec![0.0; width * width],
            back: vec![0.0; width * width],
        };
        for i in 0..rank {
            basis.values[i] = values[i].max(0.0) as f32;
            for j in 0..rank {
                basis.back[i * width + j] = vectors[i * rank + j] as f32;
                basis.into[j * width + i] = vectors[i * rank + j] as f32;
            }
        }
        basis
    }

    /// The diagonal matrix of the values, as an upper triangle.
    fn upper(&self) -> Vec<f32> {
        let width = self.values.len();
        let mut upper = vec![0.0; upper_len(width)];
        for (k, &value) in self.values.iter().enumerate() {
            upper[upper_index(width, k, k)] = value;
        }
        upper
    }

    /// Turns rows on all threads; gives the processor seconds.
    fn turn(
        &self,
        simd: Simd,
        threads: usize,
        matrix: &[f32],
        rows: &[f32],
        out: &mut [f32],
    ) -> f64 {
        let width = self.values.len();
        let share = (rows.len() / width).div_ceil(threads) * width;
        std::thread::scope(|scope| {
            let one = |rows: &[f32], out: &mut [f32]| {
                let before = processor_seconds();
                rotate(simd, width, matrix, rows, out);
                processor_seconds() - before
            };
            let parts = rows.chunks(share).zip(out.chunks_mut(share));
            let started: Vec<_> = parts
                .map(|(rows, out)| scope.spawn(move || one(rows, out)))
                .collect();
            started
                .into_iter()
                .map(|thread| thread.join().expect("a thread"))
                .sum()
        })
    }
}

/// The Gram matrix with ones on the diagonal of the padding.
fn base(simd: Simd, threads: usize, width: usize, rank: usize, other: &[f32]) -> (Vec<f32>, f64) {
    let share = (other.len() / width)
        .div_ceil(threads)
        .next_multiple_of(CHUNK)
        * width;
    let partials: Vec<(Vec<f64>, f64)> = std::thread::scope(|scope| {
        let one = |rows: &[f32]| {
            let before = processor_seconds();
            let mut sum = vec![0.0; upper_len(width)];
            gram(
                simd,
                width,
                rows,
                &mut vec![0.0; upper_len(width)],
                &mut sum,
            );
            (sum, processor_seconds() - before)
        };
        let started: Vec<_> = other
            .chunks(share)
            .map(|rows| scope.spawn(move || one(rows)))
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .collect()
    });
    let mut sum = vec![0.0; upper_len(width)];
    for (partial, _) in &partials {
        add(simd, &mut sum, partial);
    }
    let mut base: Vec<f32> = sum.iter().map(|&x| x as f32).collect();
    for k in rank..width {
        base[upper_index(width, k, k)] = 1.0;
    }
    (base, partials.iter().map(|(_, cpu)| cpu).sum())
}

/// A thread's scratch.
struct RowSolver<'a> {
    simd: Simd,
    width: usize,
    base: &'a [f32],
    zeros: Vec<f32>,
    panel: Vec<f32>,
    chunk: Table,
    sum: Vec<f64>,
    systems: Table,
    scratch: Vec<f32>,
    weights: Vec<f32>,
    targets: Vec<f32>,
    basis: Option<&'a (usize, Basis)>,
    lines: Table,
    rhs: Vec<f32>,
    turned: Vec<f32>,
}

impl<'a> RowSolver<'a> {
    fn new(simd: Simd, width: usize, base: &'a [f32], basis: Option<&'a (usize, Basis)>) -> Self {
        RowSolver {
            simd,
            width,
            base,
            zeros: vec![0.0; width],
            panel: vec![0.0; panel_len(width)],
            chunk: Table::zeroed(system_len(width)),
            sum: vec![0.0; system_len(width)],
            systems: Table::zeroed(system_len(width) * batch_len(width)),
            scratch: vec![0.0; solve_scratch(width).max(conjugate_gradients_scratch(width))],
            weights: Vec::with_capacity(CHUNK),
            targets: Vec::with_capacity(CHUNK),
            basis,
            lines: Table::zeroed(if basis.is_some() { PANEL } else { 0 }),
            rhs: vec![0.0; width],
            turned: vec![0.0; ROWS * width],
        }
    }

    /// Solves the rows from `first` on.
    fn run(&mut self, matrix: &Matrix, other: &[f32], first: usize, out: &mut [f32]) {
        let Some((_, basis)) = self.basis else {
            self.run_exactly(matrix, other, first, out);
            return;
        };
        let mut turned = std::mem::take(&mut self.turned);
        let turned_here = &mut turned[..out.len()];
        rotate(self.simd, self.width, &basis.into, out, turned_here);
        for (slot, x) in turned_here.chunks_mut(self.width).enumerate() {
            let (row, range) = (
                first + slot,
                matrix.offsets[first + slot]..matrix.offsets[first + slot + 1],
            );
            if range.len() * self.width <= PANEL {
                self.improve(matrix, other, range, x);
            } else {
                self.run_exactly(matrix, other, row, x);
            }
        }
        rotate(self.simd, self.width, &basis.back, turned_here, out);
        self.turned = turned;
    }

    /// Conjugate gradients on one row.
    fn improve(
        &mut self,
        matrix: &Matrix,
        other: &[f32],
        range: std::ops::Range<usize>,
        x: &mut [f32],
    ) {
        let width = self.width;
        let (steps, basis) = self.basis.expect("a basis");
        let lines = range.len().next_multiple_of(GROUP);
        let panel = &mut self.lines.write()[..lines * width];
        panel[range.len() * width..].fill(0.0);
        self.weights.clear();
        let weights = matrix.values[range.clone()].iter();
        self.weights.extend(weights.map(|value| ALPHA * value));
        self.targets.clear();
        self.targets
            .extend(self.weights.iter().map(|weight| 1.0 + weight));
        let ids = &matrix.ids[range.start..(range.end + LOOK_AHEAD).min(matrix.ids.len())];
        let blocks = [other];
        let sources = [Source {
            rows: Rows::contiguous(&blocks, width),
            ids,
        }];
        self.rhs.fill(0.0);
        let own = &mut panel[..range.len() * width];
        pack(
            self.simd,
            &sources,
            &self.weights,
            &self.targets,
            own,
            &mut self.rhs,
        );
        let equations = Equations {
            common: Common::Diagonal(&basis.values),
            ridge: RIDGE,
            panel,
            rhs: &self.rhs,
        };
        let scratch = &mut self.scratch[..conjugate_gradients_scratch(width)];
        assert_eq!(
            conjugate_gradients(self.simd, equations, *steps, x, scratch),
            None
        );
    }

    fn run_exactly(&mut self, matrix: &Matrix, other: &[f32], first: usize, out: &mut [f32]) {
        let (width, length) = (self.width, system_len(self.width));
        let batch = batch_len(width);
        for (number, out) in out.chunks_mut(batch * width).enumerate() {
            let rows = out.len() / width;
            for slot in 0..rows {
                self.close_row(matrix, other, first + number * batch + slot, slot);
            }
            let systems = &mut self.systems.write()[..rows * length];
            let failed = solve(self.simd, width, systems, out, &mut self.scratch);
            assert_eq!(failed, None);
        }
    }

    /// The closed system of one row into a slot.
    fn close_row(&mut self, matrix: &Matrix, other: &[f32], row: usize, slot: usize) {
        let (length, range) = (
            system_len(self.width),
            matrix.offsets[row]..matrix.offsets[row + 1],
        );
        let simd = self.simd;
        if range.len() <= CHUNK {
            self.add_chunk(matrix, other, range);
            let base = Base {
                upper: self.base,
                ridge: RIDGE,
                rhs: &self.zeros,
            };
            close(
                simd,
                base,
                self.chunk.read(),
                &mut self.systems.write()[slot * length..][..length],
            );
            return;
        }
        let mut tree: Vec<(u32, Vec<f64>)> = Vec::new();
        for segment in range.clone().step_by(SEGMENT) {
            self.sum.fill(0.0);
            let end = (segment + SEGMENT).min(range.end);
            for start in (segment..end).step_by(CHUNK) {
                self.add_chunk(matrix, other, start..(start + CHUNK).min(end));
                flush(simd, self.chunk.write(), &mut self.sum);
            }
            if range.len() <= SEGMENT {
                break;
            }
            tree.push((0, self.sum.clone()));
            while let [.., (left, _), (right, _)] = &tree[..]
                && left == right
            {
                fold(simd, &mut tree);
            }
        }
        while tree.len() > 1 {
            fold(simd, &mut tree);
        }
        let base = Base {
            upper: self.base,
            ridge: RIDGE,
            rhs: &self.zeros,
        };
        let sum = tree.first().map_or(&self.sum, |(_, sum)| sum);
        close_long(
            simd,
            base,
            sum,
            &mut self.systems.write()[slot * length..][..length],
        );
    }

    fn add_chunk(&mut self, matrix: &Matrix, other: &[f32], range: std::ops::Range<usize>) {
        self.weights.clear();
        self.weights.extend(
            matrix.values[range.clone()]
                .iter()
                .map(|value| ALPHA * value),
        );
        self.targets.clear();
        self.targets
            .extend(self.weights.iter().map(|weight| 1.0 + weight));
        let ids = &matrix.ids[range.start..(range.end + LOOK_AHEAD).min(matrix.ids.len())];
        let blocks = [other];
        let sources = [Source {
            rows: Rows::contiguous(&blocks, self.width),
            ids,
        }];
        accumulate(
            self.simd,
            &sources,
            &self.weights,
            &self.targets,
            &mut self.panel,
            Onto::Zeros,
            self.chunk.write(),
        );
    }
}

/// The last two nodes of the tree become their sum, one level higher.
fn fold(simd: Simd, tree: &mut Vec<(u32, Vec<f64>)>) {
    let (_, right) = tree.pop().expect("two nodes");
    let (level, left) = tree.last_mut().expect("two nodes");
    add(simd, left, &right);
    *level += 1;
}

/// Σ over all cells of (1 + α y)(1 − u·v)² on interactions and (u·v)² elsewhere, and the ridge.
fn loss(simd: Simd, width: usize, matrix: &Matrix, u: &Table, v: &Table) -> f64 {
    let square = |table: &Table| {
        let mut sum = vec![0.0; upper_len(width)];
        gram(
            simd,
            width,
            table.read(),
            &mut vec![0.0; upper_len(width)],
            &mut sum,
        );
        sum
    };
    let (gu, gv) = (square(u), square(v));
    let entry = |i: usize, j: usize| upper_index(width, i.min(j), i.max(j));
    let pairs = (0..width).flat_map(|i| (0..width).map(move |j| (i, j)));
    let mut total: f64 = pairs.map(|(i, j)| gu[entry(i, j)] * gv[entry(i, j)]).sum();
    for row in 0..matrix.rows() {
        let x = &u.read()[row * width..][..width];
        for position in matrix.offsets[row]..matrix.offsets[row + 1] {
            let y = &v.read()[matrix.ids[position] as usize * width..][..width];
            let score = f64::from(kernels::dot(simd, x, y));
            let weight = 1.0 + f64::from(ALPHA * matrix.values[position]);
            total += weight * (1.0 - score).powi(2) - score * score;
        }
    }
    let trace = |g: &[f64]| (0..width).map(|k| g[entry(k, k)]).sum::<f64>();
    total + f64::from(RIDGE) * (trace(&gu) + trace(&gv))
}

/// FNV-1a over the bits of the tables.
fn digest(tables: &[&Table]) -> u64 {
    let numbers = tables.iter().flat_map(|table| table.read());
    numbers.fold(0xCBF2_9CE4_8422_2325, |hash, x| {
        (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01B3)
    })
}
