//! Half-steps against normal equations written naively in f64, and against themselves: any cut, any threads, any
//! instruction set.

use kernels::random::Random;
use kernels::{Rows, Simd, upper_index, upper_len};
use model::als::basis::{Basis, basis_of};
use model::als::desk::Desks;
use model::als::half_step::{Factors, HalfStep, Shared};
use model::als::small_mode::{SmallPartial, mean_of, packed_len, solve_small};
use model::als::{
    Biases, Formula, HalfStepOp, Preset, Scaling, Settings, SmallPartialOp, SmallSolveOp, Solver,
    Tally,
};
use tensor::csr::Values;
use tensor::{BlockId, CsrRef, Grid, Mode, Small};

/// One block of interactions and the tables around it.
struct Problem {
    formula: Formula,
    solver: Solver,
    cg_steps: u32,
    non_negative: bool,
    sums: Option<Mode>,
    rows: Grid,
    columns: Grid,
    /// Rows of each small mode that is factored.
    small: Small<Option<u32>>,
    offsets: Vec<u64>,
    ids: Vec<u32>,
    times: Vec<u32>,
    contexts: Vec<u32>,
    values: Vec<f32>,
    blocks: Vec<Vec<f32>>,
    tables: Small<Vec<f32>>,
}

const CONTEXTS: u32 = 5;
const COUNTS: [u64; 12] = [1000, 700, 257, 256, 255, 40, 17, 16, 3, 1, 0, 0];

impl Problem {
    fn new(preset: Preset, rank: u32, bins: Option<u32>, counts: &[u64]) -> Self {
        let random = Random::new(7, 1, 0, 0);
        let scaling = if preset == Preset::Hu {
            Scaling::Log
        } else {
            Scaling::Linear
        };
        let settings = Settings {
            rank,
            preset,
            scaling,
            epsilon: 0.5,
            regularization: 0.03,
            nu: 0.7,
            ..Settings::default()
        };
        let formula = Formula {
            offset: if preset == Preset::Explicit { 1.5 } else { 0.0 },
            ..Formula::of(&settings)
        };
        let width = formula.width();
        let columns = Grid {
            stride_log2: 8,
            rows: vec![90, 0, 120, 37],
        };
        let mut problem = Problem {
            formula,
            solver: Solver::Cholesky,
            cg_steps: 3,
            non_negative: false,
            sums: None,
            rows: Grid::single(counts.len() as u32),
            columns,
            small: Small {
                time: bins,
                context: None,
            },
            offsets: vec![0],
            ids: Vec::new(),
            times: Vec::new(),
            contexts: Vec::new(),
            values: Vec::new(),
            blocks: Vec::new(),
            tables: Small::default(),
        };
        let known: Vec<u32> = problem
            .columns
            .block_ids()
            .flat_map(|block| problem.columns.row_ids(block))
            .collect();
        let mut draw = 0;
        for &count in counts {
            let mut row: Vec<(u32, u32)> = (0..count)
                .map(|_| {
                    draw += 1;
                    let column = known[random.word(2 * draw) as usize % known.len()];
                    (column, random.word(2 * draw + 1) % bins.unwrap_or(1))
                })
                .collect();
            row.sort_unstable();
            for (column, time) in row {
                problem.ids.push(column);
                problem.times.push(time);
                problem.contexts.push((column / 3 + 2 * time) % CONTEXTS);
                problem.values.push((1 + column % 5) as f32 * 0.5);
            }
            problem.offsets.push(problem.ids.len() as u64);
        }
        let table = |step: u32, rows: u32| {
            let mut table = vec![0.0; rows as usize * width];
            for (row, id) in table.chunks_exact_mut(width).zip(0..) {
                Random::new(9, 2, step, id).fill_normal(&mut row[..rank as usize]);
                for x in row {
                    *x *= 0.3;
                }
            }
            table
        };
        problem.blocks = problem
            .columns
            .rows
            .iter()
            .zip(0..)
            .map(|(&rows, block)| table(block, rows))
            .collect();
        problem.tables.time = table(99, bins.unwrap_or(1));
        problem.tables.context = table(98, CONTEXTS);
        problem
    }

    /// The same interactions with factors of contexts.
    fn with_contexts(mut self) -> Self {
        self.small.context = Some(CONTEXTS);
        self
    }

    /// The same with the last columns, one a mode, as those of biases.
    fn with_biases(mut self) -> Self {
        let small = self.small.map(|rows| rows.is_some());
        self.formula.bias_columns = 2 + small.count() as u32;
        let width = self.formula.width();
        for block in &mut self.blocks {
            self.formula.biases(Mode::Product).complete(width, block);
        }
        if small.time {
            let times = self.formula.biases(Mode::Time);
            times.complete(width, &mut self.tables.time);
        }
        if small.context {
            let contexts = self.formula.biases(Mode::Context);
            contexts.complete(width, &mut self.tables.context);
        }
        self
    }

    /// Those of the rows that are solved.
    fn biases(&self) -> Biases {
        self.formula.biases(Mode::User)
    }

    fn op(&self) -> HalfStepOp {
        HalfStepOp {
            formula: self.formula,
            rows: self.rows.clone(),
            columns: self.columns.clone(),
            small: self.small,
            closes_epoch: true,
            solver: self.solver,
            cg_steps: self.cg_steps,
            basis: self.takes_basis() || self.shares_matrix(),
            warm: false,
            side: None,
            non_negative: self.non_negative,
            biases: self.biases(),
            sums: self.sums,
            neighbours: None,
            keeps: false,
        }
    }

    fn takes_basis(&self) -> bool {
        self.formula.has_base()
            && self.small.map(|rows| rows.is_some()).count() == 0
            && self.solver.takes_panels()
            && !self.shares_matrix()
    }

    /// Whether rows are solved in the basis of what they share, and the other table is not turned.
    fn shares_matrix(&self) -> bool {
        self.formula.is_weightless() && !self.non_negative && !self.biases().holds_any()
    }

    fn column(&self, id: u32) -> &[f32] {
        let (block, local) = self.columns.split(id);
        &self.blocks[block.0 as usize][local as usize * self.formula.width()..]
            [..self.formula.rank as usize]
    }

    fn small_row<'a>(&self, table: &'a [f32], row: u32) -> &'a [f32] {
        &table[row as usize * self.formula.width()..][..self.formula.rank as usize]
    }

    /// Cells of a pair of the large modes.
    fn small_cells(&self) -> f64 {
        let rows = self.small.map(|rows| f64::from(rows.unwrap_or(1)));
        rows.time * rows.context
    }

    /// z of an interaction, in f64.
    fn z(&self, position: usize) -> Vec<f64> {
        self.z_of(position, self.small)
    }

    /// The elementwise product of a column's row and those of some small modes.
    fn z_of(&self, position: usize, small: Small<Option<u32>>) -> Vec<f64> {
        let v = self
            .column(self.ids[position])
            .iter()
            .map(|&x| f64::from(x));
        let mut z: Vec<f64> = v.collect();
        let ids = Small {
            time: self.times[position],
            context: self.contexts[position],
        };
        let tables = self.tables.as_ref().map(Vec::as_slice);
        for (_, ((rows, table), id)) in small.zip(tables).zip(ids).each() {
            if rows.is_some() {
                let row = self.small_row(table, id);
                z.iter_mut().zip(row).for_each(|(z, &t)| *z *= f64::from(t));
            }
        }
        z
    }

    /// The Gram matrix of rows, naively, in the kernels' triangle.
    fn gram<'a>(&self, rows: impl Iterator<Item = &'a [f32]>) -> Vec<f64> {
        let (width, rank) = (self.formula.width(), self.formula.rank as usize);
        let mut gram = vec![0.0; upper_len(width)];
        for row in rows {
            for i in 0..rank {
                for j in i / 16 * 16..rank {
                    gram[upper_index(width, i, j)] += f64::from(row[i]) * f64::from(row[j]);
                }
            }
        }
        gram
    }

    fn grams(&self) -> (Vec<f64>, Small<Vec<f64>>) {
        let all = self
            .columns
            .block_ids()
            .flat_map(|block| self.columns.row_ids(block));
        (
            self.gram(all.map(|id| self.column(id))),
            self.tables
                .as_ref()
                .map(|table| self.gram(table.chunks_exact(self.formula.width()))),
        )
    }

    /// The half-step on a pool from zero, in pieces that end at `cuts`.
    fn run(&self, simd: Simd, threads: usize, cuts: &[u64]) -> (Vec<f32>, Tally) {
        let last = vec![0.0; (self.offsets.len() - 1) * self.formula.width()];
        self.run_from(&last, simd, threads, cuts)
    }

    /// The half-step on a pool from the last factors, in pieces that end at `cuts`.
    fn run_from(
        &self,
        last: &[f32],
        simd: Simd,
        threads: usize,
        cuts: &[u64],
    ) -> (Vec<f32>, Tally) {
        let (out, tally, _) = self.run_whole(last, simd, threads, cuts);
        (out, tally)
    }

    /// The same with the equations of the small mode that come along.
    fn run_whole(
        &self,
        last: &[f32],
        simd: Simd,
        threads: usize,
        cuts: &[u64],
    ) -> (Vec<f32>, Tally, Vec<f64>) {
        let width = self.formula.width();
        let (gram, small_grams) = self.grams();
        let base = self.formula.has_base();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let factored = self.small.zip(small_grams.as_ref());
        let factored = factored.map(|(rows, gram)| rows.map(|_| &gram[..]));
        let mut grams = vec![&gram[..]];
        grams.extend(factored.each().into_iter().filter_map(|(_, gram)| gram));
        let object = (self.takes_basis() || self.shares_matrix())
            .then(|| basis_of(simd, self.formula.rank as usize, self.biases(), &grams));
        let mut blocks = self.blocks.clone();
        if let Some(object) = object.as_ref().filter(|_| self.takes_basis()) {
            let basis = Basis::open(width, object);
            for (turned, block) in blocks.iter_mut().zip(&self.blocks) {
                pool.install(|| basis.turn(simd, block, turned));
            }
        }
        let shared = Shared {
            gram: (base && object.is_none()).then_some(&gram),
            small_grams: factored.map(|gram| gram.filter(|_| base && object.is_none())),
            basis: object.as_deref(),
        };
        let op = self.op();
        let mut step = HalfStep::new(simd, &op, BlockId(0), shared);
        let mut out = vec![f32::NAN; last.len()];
        let last = (self.solver.takes_panels() || op.non_negative).then_some(last);
        pool.install(|| step.start(last, &self.offsets, &mut out));
        let blocks: Vec<&[f32]> = blocks.iter().map(Vec::as_slice).collect();
        let columns = Rows::new(&blocks, self.columns.stride_log2, width);
        let tables = self.tables.as_ref().map(|table| [&table[..]]);
        let small = self
            .small
            .zip(tables.as_ref())
            .map(|(rows, table)| rows.map(|_| Rows::contiguous(table, width)));
        let longest = self.offsets.windows(2).map(|ends| ends[1] - ends[0]).max();
        let panel = HalfStep::panel(&op, longest.unwrap());
        let desks = Desks::new(width, panel, threads);
        self.in_pieces(cuts, |csr, first_row| {
            pool.install(|| {
                step.piece(csr, first_row, Factors { columns, small }, &desks, &mut out);
            });
        });
        let rows = self.sums.and_then(|mode| *self.small.of(mode)?);
        let mut equations = vec![0.0; rows.unwrap_or(0) as usize * packed_len(&self.formula)];
        if self.sums.is_some() {
            step.small_equations(&mut equations);
        }
        let (tally, _) = pool.install(|| step.finish(&self.offsets, &mut out));
        (out, tally, equations)
    }

    fn in_pieces(&self, cuts: &[u64], mut piece: impl FnMut(CsrRef<'_>, u32)) {
        let mut start = 0;
        let limit = u64::from(self.columns.blocks()) << self.columns.stride_log2;
        for &end in cuts.iter().chain([&(self.ids.len() as u64)]) {
            let (a, b) = (start as usize, end as usize);
            let first = self.offsets.partition_point(|&offset| offset <= start) - 1;
            let last = self.offsets.partition_point(|&offset| offset < end);
            let offsets = &self.offsets[first..=last];
            let ids = Small {
                time: &self.times[a..b],
                context: &self.contexts[a..b],
            };
            let ids = self.small.zip(ids).map(|(rows, ids)| rows.map(|_| ids));
            let csr = CsrRef::new(
                offsets,
                start,
                &self.ids[a..b],
                ids,
                Values::Each(&self.values[a..b]),
                Some(limit),
            )
            .unwrap();
            piece(csr, first as u32);
            start = end;
        }
    }

    /// λ of a row.
    fn ridge(&self, row: usize) -> f64 {
        let count = self.offsets[row + 1] - self.offsets[row];
        let cells = self.columns.rows_total() as f64 * self.small_cells();
        0.03 * (count as f64 + self.formula.alpha0 * cells).powf(0.7)
    }

    /// Matrix and right-hand side of a row from the formula, in f64.
    fn equations(&self, row: usize) -> (Vec<f64>, Vec<f64>) {
        let (rank, width) = (self.formula.rank as usize, self.formula.width());
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        let (gram, small_grams) = self.grams();
        let lambda = self.ridge(row);
        let (mut a, mut b) = (vec![0.0; rank * rank], vec![0.0; rank]);
        for i in 0..rank {
            for j in 0..rank {
                let at = upper_index(width, i.min(j), i.max(j));
                let small = self.small.zip(small_grams.as_ref());
                let small = small.map(|(rows, gram)| rows.map_or(1.0, |_| gram[at]));
                let base = self.formula.alpha0 * gram[at] * small.time * small.context;
                a[i * rank + j] = base + if i == j { lambda } else { 0.0 };
            }
        }
        for position in range {
            let (weight, target) = weights(&self.formula, f64::from(self.values[position]));
            let z = self.z(position);
            for i in 0..rank {
                b[i] += target * z[i];
                (0..rank).for_each(|j| a[i * rank + j] += weight * z[i] * z[j]);
            }
        }
        (a, b)
    }
}

/// w and b y as the papers have them.
fn weights(formula: &Formula, y: f64) -> (f64, f64) {
    match formula.preset {
        Preset::Explicit => (1.0, y - f64::from(formula.offset)),
        Preset::Rendle => (1.0, 1.0),
        Preset::Full => (0.0, y),
        Preset::Hu => {
            let above = formula.alpha * (1.0 + y / formula.epsilon).ln();
            (above, formula.alpha0 + above)
        }
    }
}

/// The equations of the free columns where others are held at 1, with what `x` has for them.
fn free(biases: Biases, a: &[f64], b: &[f64], x: &[f32]) -> (Vec<f64>, Vec<f64>, Vec<f32>) {
    let free: Vec<usize> = (0..b.len()).filter(|&k| !biases.holds(k)).collect();
    assert!(biases.held().all(|k| x[k].to_bits() == 1_f32.to_bits()));
    let row = |i: usize| &a[i * b.len()..][..b.len()];
    let side = |&i: &usize| b[i] - biases.held().map(|k| row(i)[k]).sum::<f64>();
    (
        free.iter()
            .flat_map(|&i| free.iter().map(move |&j| row(i)[j]))
            .collect(),
        free.iter().map(side).collect(),
        free.iter().map(|&i| x[i]).collect(),
    )
}

/// |A x − b| / (|A| |x| + |b|).
fn backward_error(a: &[f64], b: &[f64], x: &[f32]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let product = |row: &[f64]| {
        row.iter()
            .zip(x)
            .map(|(a, &x)| a * f64::from(x))
            .sum::<f64>()
    };
    let residual = norm(
        &mut a
            .chunks_exact(b.len())
            .zip(b)
            .map(|(row, b)| product(row) - b),
    );
    let size = norm(&mut a.iter().copied()) * norm(&mut x.iter().map(|&x| f64::from(x)));
    residual / (size + norm(&mut b.iter().copied()))
}

/// How far x ≥ 0 is from the conditions of Karush, Kuhn and Tucker, relative to the size of the terms: with
/// g = A x − b, g ≥ 0 where x = 0, and g = 0 where x > 0.
fn optimality_error(a: &[f64], b: &[f64], x: &[f32]) -> f64 {
    assert!(x.iter().all(|&x| x >= 0.0), "{x:?}");
    let rows = a.chunks_exact(b.len()).zip(b).zip(x);
    let errors = rows.map(|((row, &b), &xk)| {
        let terms = row.iter().zip(x).map(|(a, &x)| a * f64::from(x));
        let gradient = terms.clone().sum::<f64>() - b;
        let size = terms.map(f64::abs).sum::<f64>() + b.abs();
        let wrong = if xk > 0.0 { gradient.abs() } else { -gradient };
        wrong.max(0.0) / size.max(f64::MIN_POSITIVE)
    });
    errors.fold(0.0, f64::max)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

const PRESETS: [Preset; 4] = [Preset::Explicit, Preset::Hu, Preset::Rendle, Preset::Full];
const SOLVERS: [Solver; 5] = [
    Solver::Auto,
    Solver::Cholesky,
    Solver::Dual,
    Solver::Cg,
    Solver::Subspace,
];

#[test]
fn rows_solve_the_normal_equations() {
    let biased = [false, true];
    let cases = PRESETS.into_iter().flat_map(|p| SOLVERS.map(|s| (p, s)));
    for ((preset, solver), biased) in cases.flat_map(|case| biased.map(|biased| (case, biased))) {
        for (rank, bins, contexts) in [
            (5, None, false),
            (20, None, false),
            (20, Some(7), false),
            (64, Some(3), false),
            (20, None, true),
            (20, Some(7), true),
        ] {
            let problem = Problem::new(preset, rank, bins, &COUNTS);
            let problem = if contexts {
                problem.with_contexts()
            } else {
                problem
            };
            let problem = if biased {
                problem.with_biases()
            } else {
                problem
            };
            let biases = problem.biases();
            // With as many steps as columns, and some for roundings, conjugate gradients are exact; sweeps converge.
            let problem = Problem {
                solver,
                cg_steps: 3 * rank,
                ..problem
            };
            let (mut out, mut tally) = problem.run(Simd::detect(), 2, &[]);
            for _ in 0..if solver == Solver::Subspace { 99 } else { 0 } {
                (out, tally) = problem.run_from(&out, Simd::detect(), 2, &[]);
            }
            assert_eq!(tally.failed, None);
            let mut fit = 0.0;
            for (row, x) in out.chunks_exact(problem.formula.width()).enumerate() {
                let (x, padding) = x.split_at(rank as usize);
                assert!(padding.iter().all(|x| x.to_bits() == 0));
                if COUNTS[row] == 0 {
                    assert!(
                        x.iter().all(|x| x.to_bits() == 0),
                        "a row without interactions is exactly zero"
                    );
                    continue;
                }
                let (a, b) = problem.equations(row);
                let (free_a, free_b, free_x) = free(biases, &a, &b, x);
                let error = backward_error(&free_a, &free_b, &free_x);
                // Sweeps come near at the pace of the condition, which columns of ones make worse for all.
                let limit = match (solver, biased) {
                    (Solver::Subspace, true) => 1e-4,
                    (Solver::Subspace, false) => 1e-5,
                    (_, true) => 2e-6,
                    (_, false) => 1e-6,
                };
                assert!(
                    error <= limit,
                    "{preset:?} {solver:?} {biased} rank {rank} {bins:?} row {row}: {error:e}"
                );
                // Held columns are not regularized.
                fit += biases.held_count() * problem.ridge(row);
                let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                let linear: f64 = b.iter().zip(&x).map(|(b, x)| b * x).sum();
                let products = a
                    .chunks_exact(x.len())
                    .map(|row| row.iter().zip(&x).map(|(a, x)| a * x).sum::<f64>());
                fit += 2.0 * linear - products.zip(&x).map(|(ax, x)| ax * x).sum::<f64>();
            }
            // Of held columns all cells are counted, which cancel for the most part.
            let limit = if biased { 4e-6 } else { 1e-6 };
            assert!(
                (tally.fit - fit).abs() <= limit * fit.abs(),
                "{preset:?} {solver:?} {biased} rank {rank} {bins:?}: fit {} is not {fit}",
                tally.fit
            );
        }
    }
}

#[test]
fn rows_of_parts_come_to_the_best_factors_of_0_or_more() {
    for (preset, biased) in PRESETS.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        for (rank, bins) in [(5, None), (20, Some(7)), (40, None)] {
            let problem = Problem::new(preset, rank, bins, &COUNTS);
            let problem = if biased {
                problem.with_biases()
            } else {
                problem
            };
            let problem = Problem {
                non_negative: true,
                ..problem
            };
            let (mut out, mut tally) = problem.run(Simd::detect(), 2, &[]);
            for _ in 0..60 {
                let before = tally.fit;
                (out, tally) = problem.run_from(&out, Simd::detect(), 2, &[]);
                assert!(tally.fit >= before - 1e-6 * before.abs(), "it never rises");
            }
            assert_eq!(tally.failed, None);
            let mut held = 0;
            for (row, x) in out.chunks_exact(problem.formula.width()).enumerate() {
                let (x, padding) = x.split_at(rank as usize);
                assert!(padding.iter().all(|x| x.to_bits() == 0));
                let (a, b) = problem.equations(row);
                if COUNTS[row] > 0 {
                    let (a, b, x) = free(problem.biases(), &a, &b, x);
                    let error = optimality_error(&a, &b, &x);
                    assert!(error <= 2e-5, "{preset:?} {rank} row {row}: {error:e}");
                    held += x.iter().filter(|&&x| x == 0.0).count();
                }
            }
            assert!(held > 0, "some bound holds");
            for (simd, cuts) in Simd::available().zip([vec![5, 900, 901], vec![], vec![1500]]) {
                let (other, _) = problem.run_from(&out, simd, 3, &cuts);
                let (again, _) = problem.run_from(&out, Simd::detect(), 1, &[]);
                assert_eq!(bits(&other), bits(&again), "{simd} {cuts:?}");
            }
        }
    }
}

#[test]
fn neither_cuts_nor_threads_nor_instructions_change_a_bit() {
    let cases = [
        (Preset::Hu, 20, None, false),
        (Preset::Hu, 20, None, true),
        (Preset::Explicit, 5, Some(4), false),
        (Preset::Explicit, 18, None, true),
        (Preset::Rendle, 40, None, false),
        (Preset::Hu, 20, Some(3), true),
        (Preset::Full, 40, Some(3), false),
    ];
    for ((preset, rank, bins, biased), solver) in
        cases.into_iter().flat_map(|c| SOLVERS.map(|s| (c, s)))
    {
        let problem = Problem::new(preset, rank, bins, &COUNTS);
        let problem = if biased {
            problem.with_biases()
        } else {
            problem
        };
        let mut problem = Problem { solver, ..problem };
        if preset == Preset::Hu {
            // Of weight 0, wherever a row is cut.
            problem.values.iter_mut().step_by(7).for_each(|y| *y = 0.0);
        }
        let (expected, tally) = problem.run(Simd::detect(), 1, &[]);
        let random = Random::new(3, 3, 0, 0);
        for (round, simd) in Simd::available()
            .collect::<Vec<_>>()
            .into_iter()
            .cycle()
            .take(12)
            .enumerate()
        {
            let mut cuts: Vec<u64> = (0..round)
                .map(|i| u64::from(random.word((20 * round + i) as u32)) % problem.ids.len() as u64)
                .collect();
            cuts.sort_unstable();
            cuts.dedup();
            cuts.retain(|&cut| cut > 0);
            let (out, other) = problem.run(simd, [1, 2, 4][round % 3], &cuts);
            assert_eq!(bits(&out), bits(&expected), "{solver:?} {simd} {cuts:?}");
            assert_eq!(other, tally);
        }
    }
}

#[test]
fn a_few_steps_from_the_last_factors_come_near_and_nearer() {
    let cases = [
        (Preset::Explicit, None),
        (Preset::Hu, None),
        (Preset::Hu, Some(3)),
    ];
    let solvers = [Solver::Cg, Solver::Subspace];
    for ((preset, bins), solver) in cases.into_iter().flat_map(|c| solvers.map(|s| (c, s))) {
        let exact = Problem::new(preset, 20, bins, &COUNTS);
        let (_, best) = exact.run(Simd::detect(), 1, &[]);
        let problem = Problem { solver, ..exact };
        let (mut rows, first) = problem.run(Simd::detect(), 1, &[]);
        let mut gaps = vec![best.fit - first.fit];
        for _ in 0..3 {
            let (next, tally) = problem.run_from(&rows, Simd::detect(), 1, &[]);
            rows = next;
            gaps.push(best.fit - tally.fit);
        }
        let (far, near) = match solver {
            Solver::Cg => (0.01, 5e-5),
            _ => (0.1, 1e-3),
        };
        let size = best.fit;
        assert!(
            gaps[0] > 0.0 && gaps[0] < far * size,
            "{solver:?} {gaps:?} of {size}"
        );
        assert!(
            gaps[3] < gaps[0] && gaps[3].abs() < near * size,
            "{solver:?} {gaps:?} of {size}"
        );
        let empty = &rows[10 * problem.formula.width()..];
        assert!(empty.iter().all(|x| x.to_bits() == 0));
    }
}

#[test]
fn a_giant_row_is_shared_by_threads_and_cut_anywhere() {
    let counts = [65_536 * 3 + 1234, 65_536, 65_537, 20];
    let problem = Problem::new(Preset::Hu, 3, None, &counts);
    let (expected, _) = problem.run(Simd::detect(), 1, &[]);
    let (a, b) = problem.equations(0);
    // Some 800 equal interactions follow each other here, so that roundings do not cancel within a chunk.
    let error = backward_error(&a, &b, &expected[..3]);
    assert!(error <= 5e-6, "{error:e}");
    for (threads, cuts) in [
        (4, vec![]),
        (2, vec![70_000]),
        (4, vec![1, 65_535, 65_537, 131_072, 196_900, 200_000]),
        (1, vec![65_536, 197_842, 263_378, 290_000]),
    ] {
        assert_eq!(
            bits(&problem.run(Simd::detect(), threads, &cuts).0),
            bits(&expected),
            "{threads} {cuts:?}"
        );
    }
}

#[test]
fn a_singular_row_is_carried_by_its_id() {
    let mut problem = Problem::new(Preset::Explicit, 20, None, &COUNTS);
    problem.formula.regularization = 0.0;
    problem.rows = Grid {
        stride_log2: 4,
        rows: vec![12],
    };
    let (_, tally) = problem.run(Simd::detect(), 2, &[]);
    let failed = tally
        .failed
        .expect("seventeen interactions do not fix twenty numbers");
    assert_eq!(
        failed.row, 6,
        "the first row with fewer interactions than columns"
    );
    assert!(failed.pivot >= 16);
}

#[test]
fn bins_and_contexts_are_solved_from_partials_of_blocks() {
    let both = |preset| Problem::new(preset, 12, Some(5), &COUNTS).with_contexts();
    for preset in PRESETS {
        let times = || Problem::new(preset, 12, Some(5), &COUNTS);
        solves_small(&times(), Mode::Time);
        solves_small(&times().with_biases(), Mode::Time);
        solves_small(
            &Problem::new(preset, 12, None, &COUNTS).with_contexts(),
            Mode::Context,
        );
        solves_small(&both(preset), Mode::Time);
        solves_small(&both(preset), Mode::Context);
    }
}

#[test]
fn equations_of_bins_come_along_with_rows_that_share_their_matrix() {
    // Rows of three segments and of one, cut and whole, in several spans.
    let counts = [
        140_000, 1000, 9_000, 700, 257, 0, 256, 255, 9_000, 40, 17, 16, 3, 1, 66_000, 0, 5_000,
    ];
    for (rank, mode) in [(12, Mode::Time), (33, Mode::Context)] {
        let mut problem = Problem::new(Preset::Full, rank, Some(5), &counts);
        if mode == Mode::Context {
            problem = problem.with_contexts();
            problem.small.time = None;
        }
        let width = problem.formula.width();
        let last = vec![0.0; counts.len() * width];
        let alone = problem.run(Simd::detect(), 2, &[]).0;
        problem.sums = Some(mode);
        let (out, tally, equations) = problem.run_whole(&last, Simd::detect(), 1, &[]);
        assert_eq!(tally.failed, None);
        let whole = problem.offsets[counts.len()];
        for (simd, cuts) in Simd::available().zip([
            vec![5, 70_000, 140_500, 149_990, 151_000],
            vec![],
            (1..24).map(|part| part * whole / 24).collect(),
        ]) {
            let again = problem.run_whole(&last, simd, 3, &cuts);
            assert_eq!(again.1, tally, "{simd} {cuts:?}");
            assert!(again.0 == out && again.2 == equations, "{simd} {cuts:?}");
        }
        let scale = alone.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        for (x, alone) in out.iter().zip(&alone) {
            assert!((x - alone).abs() <= 1e-5 * scale, "{x} is not {alone}");
        }
        let ids = match mode {
            Mode::Time => &problem.times,
            _ => &problem.contexts,
        };
        let bins = problem.small.of(mode).copied().flatten().unwrap() as usize;
        let mut expected = vec![0.0; bins * (width + 1)];
        for row in 0..counts.len() {
            for position in problem.offsets[row] as usize..problem.offsets[row + 1] as usize {
                let sums = &mut expected[ids[position] as usize * (width + 1)..][..=width];
                let v = problem.column(problem.ids[position]);
                let target = f64::from(problem.values[position]);
                for k in 0..rank as usize {
                    sums[k] += target * f64::from(v[k]) * f64::from(out[row * width + k]);
                }
                sums[width] += 1.0;
            }
        }
        let scale = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        for (sum, expected) in equations.iter().zip(&expected) {
            assert!(
                (sum - expected).abs() <= 1e-6 * scale,
                "{sum} is not {expected}"
            );
        }
    }
}

/// Five rows of a small mode have interactions, a sixth has none.
fn solves_small(problem: &Problem, mode: Mode) {
    let (width, preset) = (problem.formula.width(), problem.formula.preset);
    let biases = problem.formula.biases(mode);
    let users: Vec<f32> = problem.run(Simd::detect(), 1, &[]).0;
    let (mut small, mut others) = (problem.small, problem.small);
    let ids = if mode == Mode::Time {
        (small.time, others.time) = (Some(6), None);
        &problem.times
    } else {
        (small.context, others.context) = (Some(6), None);
        &problem.contexts
    };
    let tables = problem.tables.as_ref().map(|table| [&table[..]]);
    let partial = |simd, threads: usize, cuts: &[u64]| {
        let op = SmallPartialOp {
            mode,
            formula: problem.formula,
            columns: problem.columns.clone(),
            small,
        };
        let mut sums = SmallPartial::new(simd, &op);
        let blocks: Vec<&[f32]> = problem.blocks.iter().map(Vec::as_slice).collect();
        let columns = Rows::new(&blocks, problem.columns.stride_log2, width);
        let user_block = [&users[..]];
        let user_rows = Rows::contiguous(&user_block, width);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let desks = Desks::new(width, 0, threads);
        problem.in_pieces(cuts, |csr, first_row| {
            let small = others.zip(tables.as_ref());
            let small = small.map(|(rows, table)| rows.map(|_| Rows::contiguous(table, width)));
            let factors = Factors { columns, small };
            pool.install(|| sums.piece(csr, first_row, user_rows, factors, &desks));
        });
        let mut out = vec![0.0; 6 * packed_len(&op.formula)];
        sums.finish(&mut out);
        out
    };
    let equations = partial(Simd::detect(), 1, &[]);
    for (simd, cuts) in Simd::available().zip([vec![5, 900, 901, 1500], vec![], vec![2000]]) {
        assert_eq!(partial(simd, 3, &cuts), equations, "{simd} {cuts:?}");
    }
    // One row of users against the other tables, per row of the mode, in f64.
    let rank = 12;
    let mut a = vec![vec![0.0; rank * rank]; 6];
    let mut b = vec![vec![0.0; rank]; 6];
    for row in 0..COUNTS.len() {
        let (start, end) = (
            problem.offsets[row] as usize,
            problem.offsets[row + 1] as usize,
        );
        for (position, &bin) in (start..end).zip(&ids[start..end]) {
            let (weight, target) = weights(&problem.formula, f64::from(problem.values[position]));
            let z: Vec<f64> = problem
                .z_of(position, others)
                .iter()
                .zip(&users[row * width..])
                .map(|(&z, &u)| z * f64::from(u))
                .collect();
            let bin = bin as usize;
            for i in 0..rank {
                b[bin][i] += target * z[i];
                (0..rank).for_each(|j| a[bin][i * rank + j] += weight * z[i] * z[j]);
            }
        }
    }
    let user_gram = problem.gram(users.chunks_exact(width));
    let (gram, small_grams) = problem.grams();
    let mut grams = vec![&user_gram[..], &gram[..]];
    let small_grams = others.zip(small_grams.as_ref());
    let other_grams = small_grams.map(|(rows, gram)| rows.map(|_| &gram[..]));
    grams.extend(other_grams.each().into_iter().filter_map(|(_, gram)| gram));
    let other_rows = others.map(|rows| f64::from(rows.unwrap_or(1)));
    let cells = 12.0 * problem.columns.rows_total() as f64 * other_rows.time * other_rows.context;
    let op = SmallSolveOp {
        formula: problem.formula,
        rows: 6,
        cells,
        grams: grams.len() as u32,
        smoothing: 0.0,
        non_negative: false,
        mean: false,
        biases,
    };
    let mut out = vec![1.0; 6 * width];
    let tally = solve_small(&op, &equations, &grams, &mut out);
    assert_eq!(tally.failed, None);
    let descending = SmallSolveOp {
        non_negative: true,
        ..op.clone()
    };
    let mut parts = vec![0.0; 6 * width];
    let mut fits: Vec<f64> = Vec::new();
    for _ in 0..60 {
        fits.push(solve_small(&descending, &equations, &grams, &mut parts).fit);
    }
    let rises = |pair: &[f64]| pair[1] >= pair[0] - 1e-6 * pair[0].abs();
    assert!(fits.windows(2).all(rises), "{preset:?}");
    assert!(
        out[5 * width..].iter().all(|&t| t == 0.0),
        "a bin without interactions is exactly zero"
    );
    let counts: Vec<usize> = (0..6)
        .map(|bin| ids.iter().filter(|&&id| id == bin).count())
        .collect();
    for bin in 0..5 {
        let alpha0 = problem.formula.alpha0;
        let lambda = 0.03 * (counts[bin] as f64 + alpha0 * cells).powf(0.7);
        for i in 0..rank {
            for j in 0..rank {
                let at = upper_index(width, i.min(j), i.max(j));
                a[bin][i * rank + j] += alpha0 * grams.iter().map(|gram| gram[at]).product::<f64>();
            }
            a[bin][i * rank + i] += lambda;
        }
        let (free_a, free_b, x) = free(biases, &a[bin], &b[bin], &out[bin * width..][..rank]);
        let error = backward_error(&free_a, &free_b, &x);
        // What is moved leaves a smaller right-hand side with the roundings of the larger one.
        let limit = if biases.holds_any() { 3e-6 } else { 1e-6 };
        assert!(error <= limit, "{preset:?} bin {bin}: {error:e}");
        let (free_a, free_b, parts) = free(biases, &a[bin], &b[bin], &parts[bin * width..][..rank]);
        let error = optimality_error(&free_a, &free_b, &parts);
        assert!(error <= 2e-5, "{preset:?} bin {bin}: {error:e}");
    }
    let mut mean = vec![7.0; width];
    mean_of(&op, &equations, &out, &mut mean);
    let all = counts.iter().sum::<usize>() as f64;
    for (column, &mean) in mean.iter().enumerate() {
        let terms = counts.iter().zip(out.iter().skip(column).step_by(width));
        let sum: f64 = terms.map(|(&count, &x)| count as f64 * f64::from(x)).sum();
        assert!((f64::from(mean) - sum / all).abs() <= 1e-6 * (1.0 + sum.abs() / all));
    }
}
