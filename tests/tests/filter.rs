//! The graph filter end to end: all scores of all users against the dense matrix in f64, and whatever must not matter.

use kernels::{Simd, eigen, eigen_scratch};
use model::evaluate::Factors;
use model::graph::filter::Settings;
use model::graph::spectral::Spectral;
use model::graph::tiles::Caches;
use model::graph::{Edges, filter};
use model::recommend::{self, Recommend};
use std::collections::BTreeMap;
use store::IoMode;
use store::partition::Partition;
use tensor::Recommended;
use tests::ingested::{Row, some_rows};
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of};
use tests::tiled::{Bed, bed};

fn small() -> Vec<Row> {
    let mut rows = some_rows(1_500, 3);
    for row in &mut rows {
        (row.user, row.product) = (row.user % 90, row.product % 40);
    }
    rows
}

/// Trains, and lists `k` products of every user, seen or not.
fn lists(bed: &mut Bed, settings: &Settings, k: u32) -> Result<Vec<Recommended>, InlineError> {
    let (input, train) = (bed.graph(Caches::default()), bed.input.train.clone());
    let world = &mut bed.found.world;
    world.objects.clear();
    world.delivered.clear();
    let mut program = Spectral::new(settings.low_pass(), input).unwrap();
    world.run(&mut program, &exec::begin)?;
    let factors = Factors::of(&program.tables(), None, 0.0).unwrap();
    let input = recommend::Input {
        user: bed.found.data.user.clone(),
        product: bed.found.data.product.clone(),
        factors: Factors {
            filter: settings.scored_by(),
            ..factors
        },
        train,
        held_out: Vec::new(),
        alike: None,
    };
    let settings = recommend::Settings {
        k,
        exclude_train: false,
        exclude_held_out: false,
        users: None,
    };
    let mut program = Recommend::new(settings, input).unwrap();
    world.run(&mut program, &exec::begin)?;
    let delivered = world.delivered.iter();
    Ok(delivered
        .flat_map(|(_, bytes)| Recommended::rows(bytes))
        .collect())
}

/// The training view by row ids.
fn cells(bed: &Bed, edges: Edges) -> BTreeMap<(u32, u32), f64> {
    let mut cells = BTreeMap::new();
    for (block, of) in bed.input.user.block_ids().zip(&bed.input.train.user_major) {
        let partition = Partition::open(bed.found.world.sealed[&of.object.digest].clone()).unwrap();
        let piece = partition.whole().unwrap();
        let csr = piece.csr(partition.offsets(), 1 << 32).unwrap();
        for (row, user) in (0..csr.rows()).zip(bed.input.user.row_ids(block)) {
            for position in csr.row(row) {
                let value = match edges {
                    Edges::Binary => 1.0,
                    Edges::Values => f64::from(csr.values().at(position)),
                };
                cells.insert((user, csr.columns()[position]), value);
            }
        }
    }
    cells
}

/// R R̃ᵀR̃ + β R D_v^-½ V Vᵀ D_v^½, every cell of it, as the paper writes it.
fn dense(bed: &Bed, settings: &Settings) -> BTreeMap<(u32, u32), f64> {
    let cells = cells(bed, settings.edges);
    let ids = |of: fn(&(u32, u32)) -> u32| -> Vec<u32> {
        let mut ids: Vec<u32> = cells.keys().map(of).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let (users, products) = (ids(|cell| cell.0), ids(|cell| cell.1));
    let at = |i: usize, j: usize| cells.get(&(users[i], products[j])).copied().unwrap_or(0.0);
    let (m, n) = (users.len(), products.len());
    let user_degrees: Vec<f64> = (0..m).map(|i| (0..n).map(|j| at(i, j)).sum()).collect();
    let product_degrees: Vec<f64> = (0..n).map(|j| (0..m).map(|i| at(i, j)).sum()).collect();
    let normalized = |i: usize, j: usize| {
        let by: f64 = user_degrees[i] * product_degrees[j];
        if by > 0.0 { at(i, j) / by.sqrt() } else { 0.0 }
    };
    let between =
        |j: usize, k: usize| -> f64 { (0..m).map(|i| normalized(i, j) * normalized(i, k)).sum() };
    let similar: Vec<f64> = (0..n * n).map(|at| between(at / n, at % n)).collect();
    let (mut vectors, mut values) = (similar.clone(), vec![0.0; n]);
    let mut scratch = vec![0.0; eigen_scratch(n)];
    assert!(eigen(
        Simd::PORTABLE,
        &mut vectors,
        &mut values,
        &mut scratch
    ));
    let passed = |j: usize, k: usize| -> f64 {
        let ratio = (product_degrees[k] / product_degrees[j]).sqrt();
        let vectors = vectors.chunks(n).take(settings.rank as usize);
        ratio * vectors.map(|v| v[j] * v[k]).sum::<f64>()
    };
    let linear = f64::from(u8::from(settings.linear));
    let mut scores = BTreeMap::new();
    for (i, k) in (0..m).flat_map(|i| (0..n).map(move |k| (i, k))) {
        let terms = (0..n)
            .filter(|&j| at(i, j) != 0.0)
            .map(|j| at(i, j) * (linear * similar[j * n + k] + settings.weight * passed(j, k)));
        scores.insert((users[i], products[k]), terms.sum());
    }
    scores
}

/// Values above 0: a row of zeros has no degree.
fn positive(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.value += 0.25;
    }
    rows
}

#[test]
fn all_scores_are_those_of_the_dense_filter() {
    let mut bed = bed(&positive(small()), IoMode::Mmap);
    for edges in [Edges::Binary, Edges::Values] {
        for (weight, linear) in [(0.3, true), (0.0, true), (1.5, false)] {
            let settings = Settings {
                rank: 5,
                epochs: 40,
                edges,
                weight,
                linear,
                ..Settings::default()
            };
            let expected = dense(&bed, &settings);
            let largest = expected.values().fold(0.0_f64, |a, &b| a.max(b.abs()));
            let found = lists(&mut bed, &settings, 1_000).unwrap();
            assert_eq!(found.len(), expected.len());
            for it in found {
                let exact = expected[&(it.user, it.product)];
                let off = (f64::from(it.score) - exact).abs() / largest;
                assert!(
                    off < 1e-3,
                    "{edges:?} {weight} {linear}: {} instead of {exact}",
                    it.score
                );
            }
        }
    }
}

/// The linear part alone has no rounding of iteration in it.
#[test]
fn the_linear_part_is_exact_to_rounding() {
    let mut bed = bed(&positive(some_rows(20_000, 5)), IoMode::Mmap);
    let settings = Settings {
        rank: 1,
        epochs: 1,
        edges: Edges::Values,
        weight: 0.0,
        ..Settings::default()
    };
    let expected = dense(&bed, &settings);
    let found = lists(&mut bed, &settings, 1_000).unwrap();
    assert_eq!(found.len(), expected.len());
    for it in found {
        let exact = expected[&(it.user, it.product)];
        assert!(
            (f64::from(it.score) - exact).abs() <= 3e-6 * exact,
            "{} {exact}",
            it.score
        );
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = bed(&rows, IoMode::Mmap);
    let mut other = bed(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    for edges in [Edges::Binary, Edges::Values] {
        let settings = Settings {
            rank: 20,
            epochs: 2,
            edges,
            ..Settings::default()
        };
        let expected = lists(&mut reference, &settings, 7).unwrap();
        for simd in Simd::available() {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            let found = loop {
                match lists(&mut other, &settings, 7) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { .. })) => {
                        other.found.world.room.budget_bytes += 1 << 20;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(found == expected, "{edges:?} {simd}");
        }
    }
}

#[test]
fn a_row_of_scores_has_room_for_whole_vectors() {
    for rows in [1, 15, 16, 992, 1_000, 40_981] {
        let stride = filter::linear::stride(&tensor::Grid::single(rows));
        assert!(
            stride >= rows as usize + 16
                && stride.is_multiple_of(16)
                && !stride.is_multiple_of(1_024)
        );
    }
}

/// Two daemons, two workers that share little memory and one with much: one file, one evaluation.
#[test]
fn lists_and_figures_are_the_same_on_any_cluster() {
    let inputs = Inputs::of(&[Data::Small]);
    let run = |flags: &[&str]| {
        let model = "kind = \"filter\"\nrank = 16\nepochs = 2";
        let split = "test_bins = 2\nvalidation_bins = 1";
        let job = Job::of(&inputs, Data::Small, model, split);
        let lists = job.folder().join("lists.parquet");
        let file = format!("output.recommend.file={}", lists.display());
        let common = ["--set", &file, "--set", "evaluate.replicates=20"];
        let report = json_of(&mut job.command("run", &[&common, flags].concat()));
        let lists = std::fs::read(lists).expect("the lists were written");
        (lists, report["evaluation"].clone(), job)
    };
    let (lists, figures, job) = run(&["--workers", "1", "--threads", "2"]);
    let recall = &figures["tasks"]["new_products"]["model"]["recall@20"];
    assert!(
        recall.as_f64().is_some_and(|recall| recall > 0.0),
        "{figures}"
    );
    let tight = [
        "--workers",
        "2",
        "--threads",
        "1",
        "--memory",
        "256MiB",
        "--io",
        "pread",
    ];
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons = ["a", "b"].map(|name| {
        let cache = caches.path().join(name);
        Daemon::start_blind(&cache, &[inputs.folder()], &["--threads", "1"])
    });
    let daemons = addresses(&daemons);
    for flags in [&tight[..], &["--workers", &daemons]] {
        let (other, others_figures, _) = run(flags);
        assert!(other == lists, "{flags:?}: other lists");
        assert_eq!(others_figures, figures, "{flags:?}");
    }
    // The model scores with its data set: another one is refused.
    let data = job.folder().join("data");
    std::fs::remove_dir_all(&data).expect("the data set was there");
    let output = job.command("evaluate", &[]).output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && told.contains("ingest"),
        "{told}"
    );
}
