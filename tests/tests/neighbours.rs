//! Factors that are held to those of their neighbours: against the whole computation in f64, whatever must not matter, and what
//! they do without.

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use bytes::Bytes;
use kernels::Simd;
use model::als::{Als, Input, Preset, Settings, Solver, TimeUse};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::IoMode;
use store::partition::Partition;
use tables::EdgeSpec;
use tensor::{Grid, Mode, News, PartitionRef, Small};
use tests::dense::{Dense, matrix};
use tests::ingested::{inputs, parquet_of, some_rows};
use tests::inline::InlineError;
use tests::linked::{entries, link, spec};
use tests::tiled::{Bed, bed, bed_in_bins};

const MODES: [Mode; 2] = [Mode::User, Mode::Product];

/// Pairs of ids with weights, as a list.
fn list(edges: impl Iterator<Item = (i64, i64, f64)>) -> Bytes {
    let edges: Vec<_> = edges.collect();
    let ends = |of: fn(&(i64, i64, f64)) -> i64| -> ArrayRef {
        Arc::new(edges.iter().map(of).collect::<Int64Array>())
    };
    let weights: Float64Array = edges.iter().map(|edge| Some(edge.2)).collect();
    parquet_of(
        vec![
            ("a", ends(|edge| edge.0)),
            ("b", ends(|edge| edge.1)),
            ("w", Arc::new(weights)),
        ],
        50,
    )
}

/// Rows with edges, some of which are not trained on.
fn linked_bed(count: u64, mode: IoMode) -> Bed {
    linked(bed(&some_rows(count, 5), mode))
}

/// Directed edges between users, weighted ones between products.
fn linked(mut bed: Bed) -> Bed {
    let users = (0..160_i64).map(|i| (i * 7 % 110 - 40, (i * i + 3) % 110 - 40, 1.0));
    let products = (0..200_i64).map(|i| (i % 90, (i * i + 1) % 90, 0.5 + (i % 3) as f64));
    let specs = [
        EdgeSpec {
            directed: true,
            ..spec(Mode::User)
        },
        EdgeSpec {
            weight: Some("w".to_owned()),
            ..spec(Mode::Product)
        },
    ];
    for (list, spec) in [list(users), list(products)].into_iter().zip(specs) {
        link(&mut bed.found, &inputs(&[list]), &spec).unwrap();
    }
    bed
}

fn settings() -> Settings {
    Settings {
        rank: 6,
        epochs: 3,
        preset: Preset::Rendle,
        alpha0: Some(0.3),
        regularization: 0.05,
        init_scale: 1.0,
        user_edge_weight: 0.7,
        product_edge_weight: 0.2,
        ..Settings::default()
    }
}

/// Users, products, and the objective of every epoch.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    tables: [Vec<u8>; 2],
    objectives: Vec<f64>,
}

fn input(bed: &Bed) -> Input {
    Input {
        user: bed.input.user.clone(),
        product: bed.input.product.clone(),
        small: Small::default(),
        train: bed.input.train.clone(),
        decay: None,
        folds: None,
        attributes: BTreeMap::new(),
        edges: bed.found.data.edges.clone(),
        given: BTreeMap::new(),
    }
}

fn train(bed: &mut Bed, settings: &Settings) -> Result<Trained, InlineError> {
    let mut program = Als::new(settings.clone(), input(bed)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    let tables = program.tables();
    let news = bed.found.world.news.iter();
    let objectives = news.map(|News::Epoch { objective, .. }| objective.unwrap());
    Ok(Trained {
        objectives: objectives.collect(),
        tables: [0, 1].map(|at| bed.found.world.bytes_of(tables[at].keys())),
    })
}

/// S of a mode.
fn edges(bed: &Bed, mode: Mode) -> Dense {
    let grid = grid(bed, mode);
    let ids: Vec<u32> = grid
        .block_ids()
        .flat_map(|block| grid.row_ids(block))
        .collect();
    let mut dense = Dense::zeros(ids.len(), ids.len());
    let of = &bed.found.data.edges[&mode].forward;
    for ((from, to), weight) in entries(&bed.found, mode, of) {
        let [from, to] = [from, to].map(|row| ids.binary_search(&row).unwrap());
        dense.cells[from * ids.len() + to] = f64::from(weight);
    }
    dense
}

fn grid(bed: &Bed, mode: Mode) -> &Grid {
    if mode == Mode::User {
        &bed.input.user
    } else {
        &bed.input.product
    }
}

/// Solves a symmetric system by elimination.
fn solve(mut a: Dense, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        for i in k + 1..n {
            let by = a.at(i, k) / a.at(k, k);
            for j in k..n {
                a.cells[i * n + j] -= by * a.at(k, j);
            }
            b[i] -= by * b[k];
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| a.at(k, j) * b[j]).sum();
        b[k] = (b[k] - known) / a.at(k, k);
    }
    b
}

/// A half-step: who is solved, the interactions by his rows, and his last rows with S and w where he is held.
fn half_step(r: &Dense, other: &Dense, held: Option<(&Dense, &Dense, f64)>, s: &Settings) -> Dense {
    let (rank, alpha0) = (other.columns, s.alpha0());
    let active: Vec<bool> = (0..r.columns)
        .map(|j| (0..r.rows()).any(|i| r.at(i, j) > 0.0))
        .collect();
    let mut solved = Dense::zeros(r.rows(), rank);
    for i in 0..r.rows() {
        let had: Vec<usize> = (0..r.columns).filter(|&j| r.at(i, j) > 0.0).collect();
        let (mut degree, mut pull) = (0.0, vec![0.0; rank]);
        if let Some((last, edges, w)) = held {
            for k in 0..edges.columns {
                degree += w * edges.at(i, k);
                (0..rank).for_each(|c| pull[c] += w * edges.at(i, k) * last.at(k, c));
            }
        }
        let row = if had.is_empty() {
            pull.iter()
                .map(|x| if degree > 0.0 { x / degree } else { 0.0 })
                .collect()
        } else {
            let size = had.len() as f64 + alpha0 * r.columns as f64;
            let ridge = s.regularization * size.powf(s.nu) + degree;
            let a = Dense::from(rank, rank, |c, d| {
                let all = (0..r.columns).filter(|&j| active[j]);
                let all = all
                    .map(|j| alpha0 * other.at(j, c) * other.at(j, d))
                    .sum::<f64>();
                let own = had
                    .iter()
                    .map(|&j| other.at(j, c) * other.at(j, d))
                    .sum::<f64>();
                all + own + if c == d { ridge } else { 0.0 }
            });
            let side = |c| had.iter().map(|&j| other.at(j, c)).sum::<f64>() + pull[c];
            solve(a, (0..rank).map(side).collect())
        };
        solved.cells[i * rank..][..rank].copy_from_slice(&row);
    }
    solved
}

fn table(bytes: &[u8], rank: usize) -> Dense {
    let table = tests::dense::table(bytes, rank.next_multiple_of(16));
    Dense::from(table.rows(), rank, |i, j| table.at(i, j))
}

/// From the first epoch's tables on, the next is that of the formula; and so is the objective.
#[test]
fn training_is_that_of_the_whole_computation() {
    let mut bed = linked_bed(900, IoMode::Mmap);
    let r = matrix(&bed.found, &bed.input.train, model::graph::Edges::Binary);
    let s = MODES.map(|mode| edges(&bed, mode));
    for settings in [
        settings(),
        Settings {
            product_edge_weight: 0.0,
            ..settings()
        },
    ] {
        let mut after = |epochs| {
            let trained = train(
                &mut bed,
                &Settings {
                    epochs,
                    ..settings.clone()
                },
            )
            .unwrap();
            let tables = trained.tables.each_ref().map(|bytes| table(bytes, 6));
            (tables, trained.objectives)
        };
        let (first, _) = after(1);
        let ([users, products], objectives) = after(2);
        let w = MODES.map(|mode| settings.edge_weight(mode));
        let expected = half_step(&r, &first[1], Some((&first[0], &s[0], w[0])), &settings);
        assert!(users.minus(&expected).size() < 1e-4 * expected.size());
        let held = (w[1] > 0.0).then_some((&first[1], &s[1], w[1]));
        let expected = half_step(&r.transposed(), &users, held, &settings);
        assert!(products.minus(&expected).size() < 1e-4 * expected.size());
        let objective = objective(
            &r,
            [&users, &products],
            [&first[0], &first[1]],
            &s,
            &settings,
        );
        let found = objectives[1];
        assert!(
            (found - objective).abs() < 1e-4 * objective,
            "{found} instead of {objective}"
        );
    }
}

fn objective(
    r: &Dense,
    [users, products]: [&Dense; 2],
    last: [&Dense; 2],
    s: &[Dense; 2],
    settings: &Settings,
) -> f64 {
    let alpha0 = settings.alpha0();
    let scores = users.times(&products.transposed());
    let counts = |m: &Dense| -> Vec<usize> {
        let count = |i| (0..m.columns).filter(|&j| m.at(i, j) > 0.0).count();
        (0..m.rows()).map(count).collect()
    };
    let counts = [counts(r), counts(&r.transposed())];
    let mut sum = 0.0;
    for i in 0..r.rows() {
        for j in 0..r.columns {
            let x = scores.at(i, j);
            if counts[0][i] > 0 && counts[1][j] > 0 {
                sum += alpha0 * x * x;
            }
            if r.at(i, j) > 0.0 {
                sum += (1.0 - x).powi(2);
            }
        }
    }
    for (at, mode) in MODES.into_iter().enumerate() {
        let (x, before, edges, w) = (
            [users, products][at],
            last[at],
            &s[at],
            settings.edge_weight(mode),
        );
        for i in (0..x.rows()).filter(|&i| counts[at][i] > 0) {
            let size = counts[at][i] as f64 + alpha0 * counts[1 - at].len() as f64;
            let lambda = settings.regularization * size.powf(settings.nu);
            let degree: f64 = (0..edges.columns).map(|k| edges.at(i, k)).sum();
            for c in 0..x.columns {
                sum += lambda * x.at(i, c).powi(2);
                let mean = (0..edges.columns)
                    .map(|k| edges.at(i, k) * before.at(k, c))
                    .sum::<f64>()
                    / degree;
                if degree > 0.0 {
                    sum += w * degree * (x.at(i, c) - mean).powi(2);
                }
            }
        }
    }
    sum
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit_and_empty_edges_none() {
    let mut reference = linked_bed(9_000, IoMode::Mmap);
    let mut other = linked_bed(9_000, IoMode::Pread);
    other.found.world.backwards = true;
    let settings = Settings {
        rank: 20,
        ..settings()
    };
    let expected = train(&mut reference, &settings).unwrap();
    for simd in Simd::available() {
        let room = &mut other.found.world.room;
        (room.simd, room.budget_bytes) = (simd, 50_000);
        let found = loop {
            match train(&mut other, &settings) {
                Ok(found) => break found,
                Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                    other.found.world.room.budget_bytes = enough.0;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert!(found == expected, "{simd}");
    }
    let free = Settings {
        user_edge_weight: 0.0,
        product_edge_weight: 0.0,
        ..settings
    };
    let unused = train(&mut reference, &free).unwrap();
    reference.found.data.edges.clear();
    assert!(train(&mut reference, &free).unwrap() == unused);
    assert!(unused != expected);
}

#[test]
fn a_run_goes_on_from_a_pause() {
    use model::Training;
    use tensor::Program;
    let mut bed = linked_bed(3_000, IoMode::Mmap);
    let settings = Settings {
        epochs: 4,
        ..settings()
    };
    let expected = train(&mut bed, &settings).unwrap();
    bed.found.world.objects.clear();
    let mut program = Als::new(settings.clone(), input(&bed))
        .unwrap()
        .with_pause(2);
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    let state = program.encode();
    let mut program = Als::new(settings, input(&bed)).unwrap();
    program.restore(Some(&state)).unwrap();
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    assert_eq!(Training::epochs_done(&program), 4);
    let tables = program.tables();
    let found = [0, 1].map(|at| bed.found.world.bytes_of(tables[at].keys()));
    assert!(found == expected.tables);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let bed = bed(&some_rows(50, 3), IoMode::Mmap);
    let refused = Als::new(settings(), input(&bed)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "`user_edge_weight` is 0.7, but the data have no edges between users: name their files under [input.user_edges], or remove \
         the weight"
    );
    for settings in [
        Settings {
            solver: Solver::Cg,
            ..settings()
        },
        Settings {
            biases: true,
            ..settings()
        },
        Settings {
            non_negative: true,
            ..settings()
        },
    ] {
        assert_eq!(settings.check().unwrap_err().key, "user_edge_weight");
    }
}

/// In a tensor rows are held in the same way: a user who is only in lists of edges is the mean of his neighbours.
#[test]
fn in_a_tensor_rows_without_interactions_are_the_mean_of_their_neighbours() {
    let rows = some_rows(150, 5);
    let mut bed = linked(bed_in_bins(&rows, IoMode::Mmap));
    let bins = bed.input.bins;
    let settings = Settings {
        time: TimeUse::Factor,
        epochs: 2,
        ..settings()
    };
    let mut after = |epochs| {
        let settings = Settings {
            epochs,
            ..settings.clone()
        };
        let mut input = input(&bed);
        input.small.time = bins;
        let mut program = Als::new(settings, input).unwrap();
        bed.found.world.objects.clear();
        bed.found.world.run(&mut program, &exec::begin).unwrap();
        table(&bed.found.world.bytes_of(program.tables()[0].keys()), 6)
    };
    let (before, after) = (after(1), after(2));
    let s = edges(&bed, Mode::User);
    let trained: Vec<bool> = {
        let counts = bed.input.train.user_major.iter();
        counts
            .flat_map(|partition| counted(&bed, partition))
            .collect()
    };
    let mut cold = 0;
    for (i, trained) in trained.into_iter().enumerate() {
        let degree: f64 = (0..s.columns).map(|k| s.at(i, k)).sum();
        if trained || degree == 0.0 {
            continue;
        }
        cold += 1;
        for c in 0..6 {
            let sum: f64 = (0..s.columns).map(|k| s.at(i, k) * before.at(k, c)).sum();
            assert!((after.at(i, c) - sum / degree).abs() < 1e-5);
        }
    }
    assert!(cold > 0, "some are not trained on");
}

/// Whether each row of a block has an interaction.
fn counted(bed: &Bed, of: &PartitionRef) -> Vec<bool> {
    let sealed = bed.found.world.sealed[&of.object.digest].clone();
    let partition = Partition::open(sealed).unwrap();
    let offsets = partition.offsets().windows(2);
    offsets.map(|ends| ends[0] < ends[1]).collect()
}
