//! The filter as plain factors: against the best approximation of the dense filter in f64, and whatever must not matter.

use kernels::{Simd, eigen, eigen_scratch};
use model::graph::Edges;
use model::graph::filter::{Distilled, Settings};
use model::graph::tiles::Caches;
use std::collections::BTreeMap;
use store::IoMode;
use tensor::{News, Program};
use tests::filtered::{dense, small_with_values};
use tests::graph::numbers;
use tests::ingested::some_rows;
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::process::json_of;
use tests::tiled::{BY_RANGES, Bed, bed};

/// The tables of a model as bytes, and the objective and the residual of every epoch.
#[derive(Clone, Debug, PartialEq)]
struct Trained {
    tables: [Vec<u8>; 2],
    objectives: Vec<f64>,
    residuals: Vec<f64>,
}

fn result(bed: &Bed, program: &Distilled) -> Trained {
    let tables = program.tables();
    let news = || bed.found.world.news.iter();
    let objectives = news().map(|News::Epoch { objective, .. }| objective.unwrap());
    let residuals = news().map(|News::Epoch { metrics, .. }| metrics[0].1);
    Trained {
        tables: [0, 1].map(|at| bed.found.world.bytes_of(tables[at].keys())),
        objectives: objectives.collect(),
        residuals: residuals.collect(),
    }
}

fn train(bed: &mut Bed, settings: &Settings, caches: Caches) -> Result<Trained, InlineError> {
    let mut program = Distilled::new(settings, bed.graph(caches)).unwrap();
    bed.found.world.news.clear();
    bed.found.world.objects.clear();
    bed.found.world.run(&mut program, &exec::begin)?;
    Ok(result(bed, &program))
}

/// The best approximation of a matrix by its first right singular vectors, with its singular values.
fn truncated(cells: &[Vec<f64>], rank: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let n = cells[0].len();
    let product = |j: usize, k: usize| cells.iter().map(|row| row[j] * row[k]).sum::<f64>();
    let mut vectors: Vec<f64> = (0..n * n).map(|at| product(at / n, at % n)).collect();
    let (mut values, mut scratch) = (vec![0.0; n], vec![0.0; eigen_scratch(n)]);
    assert!(eigen(
        Simd::PORTABLE,
        &mut vectors,
        &mut values,
        &mut scratch
    ));
    let first: Vec<&[f64]> = vectors.chunks(n).take(rank).collect();
    let project = |row: &Vec<f64>| -> Vec<f64> {
        let mut projected = vec![0.0; n];
        for vector in &first {
            let along: f64 = row.iter().zip(*vector).map(|(x, v)| x * v).sum();
            projected
                .iter_mut()
                .zip(*vector)
                .for_each(|(sum, v)| *sum += along * v);
        }
        projected
    };
    let values = values[..rank].iter().map(|value| value.max(0.0).sqrt());
    (cells.iter().map(project).collect(), values.collect())
}

#[test]
fn factors_are_the_best_of_their_rank_over_all_cells() {
    let mut bed = bed(&small_with_values(), IoMode::Mmap);
    for (edges, weight, rank, distill) in [
        (Edges::Binary, 0.3, 5, 6),
        (Edges::Values, 3.0, 20, 3),
        (Edges::Binary, 0.0, 4, 12),
    ] {
        let settings = Settings {
            rank,
            epochs: 40,
            edges,
            weight,
            distill,
            ..Settings::default()
        };
        let scores: BTreeMap<(u32, u32), f64> = dense(&bed, &settings);
        let ids = |of: fn(&(u32, u32)) -> u32| -> Vec<u32> {
            let mut ids: Vec<u32> = scores.keys().map(of).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let (users, products) = (ids(|cell| cell.0), ids(|cell| cell.1));
        let row = |&user: &u32| -> Vec<f64> {
            let cells = products.iter().map(|&product| scores[&(user, product)]);
            cells.collect()
        };
        let cells: Vec<Vec<f64>> = users.iter().map(row).collect();
        let (best, values) = truncated(&cells, distill as usize);
        let trained = train(&mut bed, &settings, Caches::default()).unwrap();
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let objective = -trained.objectives.last().unwrap();
        assert!(
            (objective - squares).abs() < 1e-4 * squares,
            "{objective} {squares}"
        );
        let found = [&bed.input.user, &bed.input.product].map(|grid| {
            let blocks = grid.block_ids();
            blocks
                .flat_map(|block| grid.row_ids(block))
                .collect::<Vec<_>>()
        });
        let [of_users, of_products] =
            [0, 1].map(|at| numbers(&trained.tables[at], distill as usize));
        let place = |side: usize, id: &u32| found[side].binary_search(id).unwrap();
        let largest = best
            .iter()
            .flatten()
            .fold(0.0_f64, |most, x| x.abs().max(most));
        let mut squared_columns = vec![0.0; distill as usize];
        for (user, best) in users.iter().zip(&best) {
            let u = &of_users[place(0, user)];
            for (product, best) in products.iter().zip(best) {
                let v = &of_products[place(1, product)];
                let score: f64 = u.iter().zip(v).map(|(x, y)| x * y).sum();
                assert!(
                    (score - best).abs() < 1e-3 * largest,
                    "{settings:?}: {score} instead of {best}"
                );
            }
            let columns = squared_columns.iter_mut().zip(u);
            columns.for_each(|(sum, x)| *sum += x * x);
        }
        // A column of either side has the root of its singular value for a length.
        for (square, value) in squared_columns.iter().zip(&values) {
            assert!(
                (square - value).abs() < 1e-3 * values[0],
                "{square} {value}"
            );
        }
        assert!(
            trained.residuals.last().unwrap() < &1e-2,
            "{:?}",
            trained.residuals
        );
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = bed(&rows, IoMode::Mmap);
    let mut other = bed(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    for (edges, rank, distill) in [(Edges::Binary, 20, 40), (Edges::Values, 40, 9)] {
        let settings = Settings {
            rank,
            epochs: 2,
            edges,
            distill,
            ..Settings::default()
        };
        let expected = train(&mut reference, &settings, Caches::default()).unwrap();
        let ranges = train(&mut reference, &settings, BY_RANGES).unwrap();
        assert!(ranges == expected, "by ranges {edges:?}");
        let paths = Simd::available().map(|simd| (simd, Caches::default()));
        for (simd, caches) in paths.chain([(Simd::detect(), BY_RANGES)]) {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            let found = loop {
                match train(&mut other, &settings, caches) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                        other.found.world.room.budget_bytes = enough.0;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(found == expected, "{edges:?} {simd} {caches:?}");
        }
    }
}

#[test]
fn a_run_goes_on_from_a_pause_and_frees_what_nobody_reads() {
    let mut bed = bed(&some_rows(6000, 5), IoMode::Mmap);
    let settings = Settings {
        rank: 6,
        distill: 20,
        epochs: 4,
        ..Settings::default()
    };
    let expected = train(&mut bed, &settings, Caches::default()).unwrap();
    let (users, products) = (bed.input.user.blocks(), bed.input.product.blocks());
    // The model, degrees, and the sums of both iterations with their Grams, with which a next epoch would begin.
    assert_eq!(
        bed.found.world.objects.len() as u32,
        2 * (users + products) + 2 * (products + 1)
    );
    bed.found.world.objects.clear();
    bed.found.world.news.clear();
    let mut program = Distilled::new(&settings, bed.graph(Caches::default()))
        .unwrap()
        .with_pause(2);
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    let state = program.encode();
    let mut program = Distilled::new(&settings, bed.graph(Caches::default())).unwrap();
    program.restore(Some(&state)).unwrap();
    bed.found.world.run(&mut program, &exec::begin).unwrap();
    assert!(result(&bed, &program) == expected);
}

/// The same model and figures from any cluster.
#[test]
fn such_a_model_is_scored_as_any_factors_are() {
    let inputs = Inputs::of(&[Data::Small]);
    let run = |flags: &[&str]| {
        let model = "kind = \"filter\"\nrank = 8\nepochs = 3\ndistill = 16";
        let split = "test_bins = 2\nvalidation_bins = 1";
        let job = Job::of(&inputs, Data::Small, model, split);
        let flags = [&["--set", "evaluate.replicates=20"], flags].concat();
        let report = json_of(&mut job.command("run", &flags));
        (report["digest"].clone(), report["evaluation"].clone())
    };
    let expected = run(&["--workers", "1", "--threads", "2"]);
    let recall = &expected.1["tasks"]["new_products"]["model"]["recall@20"];
    assert!(recall.as_f64().is_some_and(|recall| recall > 0.0));
    for flags in [
        &["--workers", "2", "--threads", "1", "--memory", "256MiB"][..],
        &["--workers", "2", "--io", "pread", "--simd", "portable"],
    ] {
        assert_eq!(run(flags), expected, "{flags:?}");
    }
}
