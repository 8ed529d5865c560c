//! Planted tensors, generated, through the whole pipeline: Parquet in, factors out, by completion, by descent and as a CP
//! decomposition. No published tensor is bundled: the shapes are made here.

use kernels::random::Random;
use tests::factors::{self, match_score};
use tests::generate::write;
use tests::jobs::Job;
use tests::process::json_of;

/// Users, products, bins.
const SHAPE: [u32; 3] = [60, 40, 12];
const RANK: usize = 3;
const INPUT: &str = "user = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"hour\"\n\
                     value = \"value\"\nduplicates = \"sum\"";

/// The factors of a mode: normal numbers around `mean`, a share of them zero.
fn planted(mode: usize, mean: f32, zeros: f32) -> Vec<Vec<f64>> {
    let row = |row: u32| {
        let mut numbers = [0.0; RANK];
        Random::new(17, mode as u32, 0, row).fill_normal(&mut numbers);
        let coins = Random::new(17, 9 + mode as u32, 0, row);
        let number = |r: usize| {
            let coin = f64::from(coins.word(r as u32)) / f64::from(u32::MAX);
            // One component has every row, so that no row is empty.
            if r > 0 && coin < f64::from(zeros) {
                0.0
            } else {
                f64::from(mean + numbers[r])
            }
        };
        (0..RANK).map(number).collect()
    };
    (0..SHAPE[mode]).map(row).collect()
}

/// Trains on the cells that `seen` picks and those that are not zero, and compares the factors with the planted ones.
fn score(truth: &[Vec<Vec<f64>>], model: &str, seen: impl Fn(u32) -> bool) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    let mut rows = Vec::new();
    for user in 0..SHAPE[0] {
        for product in 0..SHAPE[1] {
            for bin in 0..SHAPE[2] {
                let row = |mode: usize, row: u32| &truth[mode][row as usize];
                let value: f64 = (0..RANK)
                    .map(|r| row(0, user)[r] * row(1, product)[r] * row(2, bin)[r])
                    .sum();
                if value != 0.0 && seen((user * SHAPE[1] + product) * SHAPE[2] + bin) {
                    let seconds = 3600 * i64::from(bin);
                    rows.push((i64::from(user), i64::from(product), seconds, value as f32));
                }
            }
        }
    }
    write(&file, &rows);
    let model = format!("rank = {RANK}\ntime = \"factor\"\n{model}");
    let job = Job::over(&file, INPUT, &model, "");
    json_of(&mut job.command("ingest", &[]));
    let report = json_of(&mut job.command("train", &["--workers", "2"]));
    let objectives: Vec<f64> = report["epochs"]
        .as_array()
        .expect("epochs")
        .iter()
        .map(|epoch| epoch["objective"].as_f64().expect("a number"))
        .collect();
    let power: f64 = rows.iter().map(|row| f64::from(row.3).powi(2)).sum();
    // Roundings of a difference of two large numbers apart, it falls.
    assert!(
        objectives
            .windows(2)
            .all(|pair| pair[1] <= pair[0] + 1e-6 * power),
        "{objectives:?}"
    );
    let tables = factors::of(&job);
    let found: Vec<Vec<Vec<f64>>> = tables
        .iter()
        .zip(SHAPE)
        .map(|(table, rows)| {
            let row = |row: u32| {
                let row = table[&row.to_string()].iter();
                row.map(|&x| f64::from(x)).collect()
            };
            (0..rows).map(row).collect()
        })
        .collect();
    match_score(truth, &found)
}

#[test]
fn a_planted_tensor_is_completed_from_a_third_of_its_cells() {
    let truth = [
        planted(0, 0.5, 0.0),
        planted(1, 0.5, 0.0),
        planted(2, 0.5, 0.0),
    ];
    let coin = Random::new(3, 3, 0, 0);
    let model = "preset = \"explicit\"\nepochs = 60\nregularization = 0.0001";
    let score = score(&truth, model, |cell| coin.word(cell).is_multiple_of(3));
    assert!(score >= 0.98, "{score}");
}

/// Noise of σ = 0.2 on a fifth of the cells of a larger tensor; a tenth of these is held out.
#[test]
fn a_planted_tensor_is_descended_to_its_noise() {
    let (shape, noise) = ([400_u32, 200, 12], 0.2);
    let row = |mode: u32, row: u32| {
        let mut numbers = [0.0; RANK];
        Random::new(23, mode, 0, row).fill_normal(&mut numbers);
        numbers.map(|x| 0.5 + x)
    };
    let table = |mode: u32| -> Vec<[f32; RANK]> {
        (0..shape[mode as usize]).map(|at| row(mode, at)).collect()
    };
    let tables = [table(0), table(1), table(2)];
    let mut rows = Vec::new();
    for user in 0..shape[0] {
        for product in 0..shape[1] {
            let random = Random::new(23, 9, user, product);
            let mut normal = [0.0; 12];
            Random::new(23, 10, user, product).fill_normal(&mut normal);
            for bin in (0..shape[2]).filter(|&bin| random.word(bin).is_multiple_of(5)) {
                let [u, v, t] = [(0, user), (1, product), (2, bin)]
                    .map(|(mode, at): (usize, u32)| tables[mode][at as usize]);
                let value: f32 = (0..RANK).map(|r| u[r] * v[r] * t[r]).sum();
                rows.push((
                    i64::from(user),
                    i64::from(product),
                    3600 * i64::from(bin),
                    value + noise * normal[bin as usize],
                ));
            }
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cells.parquet");
    write(&file, &rows);
    let rmse = |time: &str| {
        let model = format!(
            "kind = \"sgd\"\nloss = \"squared\"\ntime = {time:?}\nrank = 8\nepochs = 20\nrate = 0.2\nregularization = 0.01"
        );
        let job = Job::over(&file, INPUT, &model, "test_fraction = 0.1");
        let report = json_of(&mut job.command("run", &["--workers", "2"]));
        report["evaluation"]["rmse"].as_f64().expect("a number")
    };
    let (tensor, matrix) = (rmse("factor"), rmse("ignore"));
    assert!(tensor < 1.1 * f64::from(noise), "{tensor}");
    assert!(matrix > 1.0, "{matrix}");
}

#[test]
fn a_planted_tensor_is_decomposed_with_its_zeros() {
    let truth = [
        planted(0, 0.5, 0.6),
        planted(1, 0.5, 0.6),
        planted(2, 0.5, 0.0),
    ];
    let score = score(&truth, "preset = \"full\"\nepochs = 60", |_| true);
    assert!(score >= 0.98, "{score}");
}
