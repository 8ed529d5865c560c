//! Side information against its formulas written naively in f64: rows with all, some and no attributes known, rows without
//! interactions, and the maps.

use kernels::random::Random;
use kernels::{Rows, Simd};
use model::als::desk::Desks;
use model::als::half_step::{Factors, HalfStep, Shared};
use model::als::linear::{TERM_WIDTH, solve_terms};
use model::als::maps::solve_maps;
use model::als::side::{Side, maps_len, side_len};
use model::als::{Biases, Columns, Formula, HalfStepOp, MapsOp, Preset, Settings, SideOp, Solver};
use std::sync::Arc;
use tensor::attributes::MISSING;
use tensor::csr::Values;
use tensor::{BlockId, CsrRef, Grid, Mode, Small};

const RANK: usize = 20;
const WIDTH: usize = 32;
const WEIGHT: f64 = 3.0;
/// Interactions of each row; the last three have none, and nothing is known of the very last.
const COUNTS: [usize; 9] = [300, 40, 17, 5, 3, 1, 0, 0, 0];

fn side_op(linear: bool) -> SideOp {
    SideOp {
        weight: WEIGHT,
        attributes: vec![Columns::Number, Columns::Levels(3), Columns::Number],
        mapped: true,
        linear,
    }
}

/// Linear terms of its columns, as they are stored.
fn terms() -> Vec<f32> {
    let mut rows = vec![0.0; 5 * TERM_WIDTH];
    let terms = [0.5, -1.25, 0.75, 2.0, -0.5];
    for (row, term) in rows.chunks_exact_mut(TERM_WIDTH).zip(terms) {
        row[0] = term;
    }
    rows
}

/// All is known of rows 0 and 6, nothing of rows 2 and 8.
fn words() -> Vec<u32> {
    let number = |x: f32| x.to_bits();
    [
        [number(0.5), 2, number(-1.25)],
        [number(-0.75), MISSING, number(0.5)],
        [MISSING; 3],
        [MISSING, 0, MISSING],
        [number(1.5), 1, MISSING],
        [MISSING, 2, number(2.0)],
        [number(-2.0), 0, number(0.25)],
        [MISSING, 1, MISSING],
        [MISSING; 3],
    ]
    .concat()
}

/// The columns of a row that are observed, each with its value.
fn observed(words: &[u32]) -> Vec<(usize, f64)> {
    let mut columns = Vec::new();
    let mut start = 0;
    for (of, &word) in side_op(false).attributes.iter().zip(words) {
        match of {
            _ if word == MISSING => {}
            Columns::Number => columns.push((start, f64::from(f32::from_bits(word)))),
            Columns::Levels(levels) => columns
                .extend((0..*levels).map(|l| (start + l as usize, f64::from(u8::from(l == word))))),
        }
        start += of.count();
    }
    columns
}

/// Rows of normal numbers, zeros beyond the rank.
fn normal(step: u32, rows: usize) -> Vec<f32> {
    let mut table = vec![0.0; rows * WIDTH];
    for (row, id) in table.chunks_exact_mut(WIDTH).zip(0..) {
        Random::new(3, 2, step, id).fill_normal(&mut row[..RANK]);
        for x in row {
            *x *= 0.4;
        }
    }
    table
}

fn wide(row: &[f32]) -> Vec<f64> {
    row[..RANK].iter().map(|&x| f64::from(x)).collect()
}

struct Solved {
    rows: Vec<f32>,
    sums: Vec<f64>,
}

fn formula(preset: Preset) -> Formula {
    Formula::of(&Settings {
        rank: RANK as u32,
        preset,
        regularization: 0.05,
        nu: 0.5,
        ..Settings::default()
    })
}

fn offsets() -> Vec<u64> {
    let ends = COUNTS.iter().scan(0, |sum, &count| {
        *sum += count as u64;
        Some(*sum)
    });
    std::iter::once(0).chain(ends).collect()
}

fn columns_of_rows() -> Vec<u32> {
    let each = COUNTS.iter().enumerate();
    each.flat_map(|(row, &count)| (0..count).map(move |i| ((i * 7 + row) % 50) as u32))
        .collect()
}

/// No biases, and the last two columns as biases of users and products.
fn biases(biased: bool, mode: Mode) -> Biases {
    Biases::new(RANK as u32, if biased { 2 } else { 0 }, mode)
}

/// The table of products.
fn products(biased: bool) -> Vec<f32> {
    let mut table = normal(1, 50);
    biases(biased, Mode::Product).complete(WIDTH, &mut table);
    table
}

/// With biases, these have linear terms.
fn half_step(preset: Preset, solver: Solver, biased: bool, simd: Simd, threads: usize) -> Solved {
    let (formula, offsets, columns) = (formula(preset), offsets(), columns_of_rows());
    let op = HalfStepOp {
        formula,
        rows: Grid::single(COUNTS.len() as u32),
        columns: Grid::single(50),
        small: Small::default(),
        closes_epoch: true,
        solver,
        cg_steps: 60,
        basis: false,
        warm: false,
        side: Some(side_op(biased)),
        non_negative: false,
        biases: biases(biased, Mode::User),
        sums: None,
        neighbours: None,
        keeps: false,
    };
    let table = products(biased);
    let gram = model::als::gram::block_gram(simd, WIDTH, &table);
    let shared = Shared {
        gram: formula.has_base().then_some(&gram),
        ..Shared::default()
    };
    let maps = normal(2, side_op(biased).columns());
    let terms = biased.then(terms);
    let (maps, terms) = (Some(&maps[..]), terms.as_deref());
    let side = Side::new(simd, RANK as u32, &side_op(biased), &words(), maps, terms);
    let side = Arc::new(side);
    let mut step = HalfStep::new(simd, &op, BlockId(0), shared).with_side(Arc::clone(&side));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let desks = Desks::new(WIDTH, HalfStep::panel(&op, 300), threads);
    let mut rows = vec![0.0; COUNTS.len() * WIDTH];
    let csr = CsrRef::new(
        &offsets,
        0,
        &columns,
        Small::default(),
        Values::All(2.0),
        Some(64),
    )
    .unwrap();
    let blocks = [&table[..]];
    let factors = Factors {
        columns: Rows::contiguous(&blocks, WIDTH),
        small: Small::default(),
    };
    let mut sums = vec![0.0; side_len(WIDTH, &side_op(biased))];
    pool.install(|| {
        step.piece(csr, 0, factors, &desks, &mut rows);
        let (tally, _) = step.finish(&offsets, &mut rows);
        assert_eq!(tally.failed, None);
        side.partial(&op, &rows, &offsets, &mut sums);
        side.read_out(&op, &offsets, 0, &mut rows).unwrap();
        op.biases.complete(WIDTH, &mut rows);
    });
    Solved { rows, sums }
}

/// The largest |A x − b| over the size of its terms.
fn misfit(a: &[Vec<f64>], b: &[f64], x: &[f64]) -> f64 {
    let size = |row: &Vec<f64>| -> f64 { row.iter().zip(x).map(|(a, x)| (a * x).abs()).sum() };
    let largest = a.iter().zip(b).map(|(row, b)| size(row) + b.abs());
    let largest = largest.fold(0.0, f64::max);
    a.iter()
        .zip(b)
        .map(|(row, b)| (row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>() - b).abs() / largest)
        .fold(0.0, f64::max)
}

#[test]
fn rows_solve_their_equations() {
    let maps = normal(2, 5);
    let solvers = [Solver::Cholesky, Solver::Auto, Solver::Dual, Solver::Cg];
    for preset in [Preset::Hu, Preset::Explicit, Preset::Rendle, Preset::Full] {
        for (solver, biased) in solvers.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let table = products(biased);
            let held = biases(biased, Mode::User);
            let solved = half_step(preset, solver, biased, Simd::detect(), 2);
            let formula = formula(preset);
            for (row, &count) in COUNTS.iter().enumerate() {
                let x = wide(&solved.rows[row * WIDTH..][..WIDTH]);
                let known = observed(&words()[row * 3..][..3]);
                if count == 0 && known.is_empty() {
                    let rows = solved.rows[row * WIDTH..][..WIDTH].iter().enumerate();
                    let mut free = rows.filter(|(column, _)| !held.holds(*column));
                    assert!(free.all(|(_, x)| x.to_bits() == 0));
                    continue;
                }
                let mut a = vec![vec![0.0; RANK]; RANK];
                let mut b = vec![0.0; RANK];
                let mut add = |z: &[f64], weight: f64, target: f64| {
                    for i in 0..RANK {
                        b[i] += target * z[i];
                        (0..RANK).for_each(|j| a[i][j] += weight * z[i] * z[j]);
                    }
                };
                for &(column, x) in &known {
                    add(&wide(&maps[column * WIDTH..][..WIDTH]), WEIGHT, WEIGHT * x);
                }
                if count > 0 {
                    for row in table.chunks_exact(WIDTH) {
                        add(&wide(row), formula.alpha0, 0.0);
                    }
                }
                let first = offsets()[row] as usize;
                for &column in &columns_of_rows()[first..first + count] {
                    let (weight, target) = match preset {
                        Preset::Explicit => (1.0, 2.0),
                        Preset::Full => (0.0, 2.0),
                        Preset::Rendle => (1.0, 1.0),
                        Preset::Hu => (2.0 * formula.alpha, formula.alpha0 + 2.0 * formula.alpha),
                    };
                    add(
                        &wide(&table[column as usize * WIDTH..][..WIDTH]),
                        weight,
                        target,
                    );
                }
                let lambda = 0.05 * (count.max(1) as f64 + formula.alpha0 * 50.0).sqrt();
                (0..RANK).for_each(|k| a[k][k] += lambda);
                if biased {
                    let of_columns = known.iter();
                    let of_columns =
                        of_columns.map(|&(c, x)| x * f64::from(terms()[c * TERM_WIDTH]));
                    b[held.own()] += lambda * of_columns.sum::<f64>();
                }
                for column in held.held() {
                    assert_eq!(x[column], 1.0);
                    (0..RANK).for_each(|k| b[k] -= a[k][column]);
                    (0..RANK).for_each(|k| (a[k][column], a[column][k]) = (0.0, 0.0));
                    (a[column][column], b[column]) = (1.0, 1.0);
                }
                let misfit = misfit(&a, &b, &x);
                assert!(
                    misfit < 3e-6,
                    "{preset:?} {solver:?} {biased} row {row}: {misfit}"
                );
            }
        }
    }
}

#[test]
fn instructions_and_threads_change_no_bit() {
    for solver in [Solver::Cholesky, Solver::Cg] {
        let one = half_step(Preset::Hu, solver, true, Simd::PORTABLE, 1);
        let other = half_step(Preset::Hu, solver, true, Simd::detect(), 4);
        let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one.rows), bits(&other.rows));
        assert!(
            one.sums
                .iter()
                .zip(&other.sums)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}

#[test]
fn maps_are_ridge_regressions_over_the_rows_that_are_known() {
    let solved = half_step(Preset::Hu, Solver::Cholesky, false, Simd::detect(), 2);
    let op = MapsOp {
        rank: RANK as u32,
        side: side_op(false),
        regularization: 0.1,
    };
    let last = normal(2, 5);
    let mut maps = vec![0.0; 5 * WIDTH];
    let tally = solve_maps(&op, &solved.sums, Some(&last), &mut maps);
    assert_eq!(tally.failed, None);
    let (mut loss, mut taken) = (0.0, 0.0);
    for column in 0..5 {
        let map = wide(&maps[column * WIDTH..][..WIDTH]);
        let mut a = vec![vec![0.0; RANK]; RANK];
        let mut b = vec![0.0; RANK];
        for row in (0..COUNTS.len()).filter(|&row| COUNTS[row] > 0) {
            let known = observed(&words()[row * 3..][..3]);
            let Some(&(_, x)) = known.iter().find(|(of, _)| *of == column) else {
                continue;
            };
            let u = wide(&solved.rows[row * WIDTH..][..WIDTH]);
            for i in 0..RANK {
                b[i] += u[i] * x;
                a[i][i] += 0.1;
                (0..RANK).for_each(|j| a[i][j] += u[i] * u[j]);
            }
            let told = |map: &[f64]| map.iter().zip(&u).map(|(a, u)| a * u).sum::<f64>();
            let norm: f64 = map.iter().map(|a| a * a).sum();
            loss += (told(&map) - x).powi(2) + 0.1 * norm;
            let last = wide(&last[column * WIDTH..][..WIDTH]);
            taken += x * x - (told(&last) - x).powi(2);
        }
        let misfit = misfit(&a, &b, &map);
        assert!(misfit < 1e-6, "column {column}: {misfit}");
    }
    assert!(
        (tally.loss - WEIGHT * loss).abs() < 1e-6 * tally.loss,
        "{tally:?} {loss}"
    );
    assert!((tally.taken - WEIGHT * taken).abs() < 1e-6 * tally.taken.abs());
}

#[test]
fn linear_terms_are_the_ridge_regression_of_biases() {
    let solved = half_step(Preset::Hu, Solver::Cholesky, true, Simd::detect(), 2);
    let op = MapsOp {
        rank: RANK as u32,
        side: side_op(true),
        regularization: 0.1,
    };
    let sums = &solved.sums[maps_len(WIDTH, &op.side)..];
    let (last, mut out) = (terms(), vec![0.0; 5 * TERM_WIDTH]);
    let tally = solve_terms(&op, sums, Some(&last), &mut out);
    let of = |rows: &[f32]| -> Vec<f64> {
        let rows = rows.chunks_exact(TERM_WIDTH);
        rows.map(|row| f64::from(row[0])).collect()
    };
    let (last, found) = (of(&last), of(&out));
    let (mut a, mut b) = (vec![vec![0.0; 5]; 5], vec![0.0; 5]);
    let (mut loss, mut taken) = (0.0, 0.0);
    for row in (0..COUNTS.len()).filter(|&row| COUNTS[row] > 0) {
        let known = observed(&words()[row * 3..][..3]);
        let lambda = 0.05 * (COUNTS[row] as f64 + formula(Preset::Hu).alpha0 * 50.0).sqrt();
        let bias = f64::from(solved.rows[row * WIDTH + RANK - 2]);
        for &(i, x) in &known {
            b[i] += lambda * bias * x;
            a[i][i] += 0.1 * lambda;
            loss += 0.1 * lambda * found[i] * found[i];
            for &(j, y) in &known {
                a[i][j] += lambda * x * y;
            }
        }
        let told = |terms: &[f64]| known.iter().map(|&(i, x)| x * terms[i]).sum::<f64>();
        loss += lambda * ((bias - told(&found)).powi(2) - bias * bias);
        taken += lambda * 2.0 * bias * told(&last);
    }
    let misfit = misfit(&a, &b, &found);
    assert!(misfit < 1e-6, "{misfit}");
    assert!(
        (tally.loss - loss).abs() < 1e-6 * loss.abs(),
        "{tally:?} {loss}"
    );
    assert!((tally.taken - taken).abs() < 1e-6 * taken.abs());
    assert_eq!(tally.failed, None);
}
