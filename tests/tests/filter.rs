//! The graph filter end to end: all scores of all users against the dense matrix in f64, and whatever must not matter.

use kernels::Simd;
use model::evaluate::Factors;
use model::graph::filter::{Nearest, Settings};
use model::graph::spectral::Spectral;
use model::graph::tiles::Caches;
use model::graph::{Edges, filter};
use model::recommend::{self, Recommend};
use model::rules::Rules;
use store::IoMode;
use tensor::Recommended;
use tests::filtered::{dense, nearest, positive, small_with_values, some_of};
use tests::ingested::some_rows;
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, json_of};
use tests::tiled::{Bed, bed};

/// Trains, and lists `k` products of every user, seen or not.
fn lists(bed: &mut Bed, settings: &Settings, k: u32) -> Result<Vec<Recommended>, InlineError> {
    lists_but(bed, settings, k, Vec::new())
}

/// The same without products that are barred.
fn lists_but(
    bed: &mut Bed,
    settings: &Settings,
    k: u32,
    barred: Vec<u32>,
) -> Result<Vec<Recommended>, InlineError> {
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
        rules: Rules {
            barred,
            ..Rules::default()
        },
        ..recommend::Settings::default()
    };
    let mut program = Recommend::new(settings, input).unwrap();
    world.run(&mut program, &exec::begin)?;
    let delivered = world.delivered.iter();
    Ok(delivered
        .flat_map(|(_, bytes)| Recommended::rows(bytes))
        .collect())
}

#[test]
fn all_scores_are_those_of_the_dense_filter() {
    let mut bed = bed(&small_with_values(), IoMode::Mmap);
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

fn near(count: u32, shrinkage: f64) -> Settings {
    Settings {
        rank: 1,
        epochs: 1,
        weight: 0.0,
        nearest: count,
        shrinkage,
        ..Settings::default()
    }
}

/// Every cell against all pairs in f64; where all are kept, too.
#[test]
fn scores_by_the_nearest_are_those_of_all_pairs_cut() {
    for rows in [small_with_values(), positive(some_rows(4_000, 5))] {
        let mut bed = bed(&rows, IoMode::Mmap);
        for (count, shrinkage) in [(1, 0.0), (5, 3.0), (30, 10.0), (1_000, 0.5)] {
            let expected = nearest(&bed, Nearest { count, shrinkage });
            let found = lists(&mut bed, &near(count, shrinkage), 1_000).unwrap();
            assert_eq!(found.len(), expected.len());
            let scored = found.iter().filter(|it| it.score > 0.0).count();
            assert!(scored > 500, "{scored}");
            for it in found {
                let exact = expected[&(it.user, it.product)];
                let off = (f64::from(it.score) - exact).abs();
                assert!(off <= 3e-6 * exact, "{count}: {} {exact}", it.score);
            }
        }
    }
}

/// A product that rules bar takes its own score out of the lists, and no other's.
#[test]
fn barred_products_leave_the_scores_of_others_as_they_are() {
    let mut bed = bed(&positive(some_rows(4_000, 5)), IoMode::Mmap);
    let barred = some_of(&bed.input.product);
    let shared = Settings {
        rank: 5,
        epochs: 3,
        ..Settings::default()
    };
    for settings in [shared, near(20, 2.0)] {
        let mut expected = lists(&mut bed, &settings, 1_000).unwrap();
        expected.retain(|it| !barred.contains(&it.product));
        let found = lists_but(&mut bed, &settings, 1_000, barred.clone()).unwrap();
        assert_eq!(found.len(), expected.len());
        assert!(found.len() > 1_000);
        for (found, expected) in found.iter().zip(expected) {
            let both = [found, &expected].map(|it| (it.user, it.product, it.score));
            assert_eq!(both[0], both[1]);
        }
    }
}

#[test]
fn neither_budget_nor_order_nor_instructions_nor_io_change_a_bit() {
    let rows = some_rows(20_000, 5);
    let mut reference = bed(&rows, IoMode::Mmap);
    let mut other = bed(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    let shared = [Edges::Binary, Edges::Values].map(|edges| Settings {
        rank: 20,
        epochs: 2,
        edges,
        ..Settings::default()
    });
    for settings in shared.into_iter().chain([near(25, 4.0)]) {
        let expected = lists(&mut reference, &settings, 7).unwrap();
        for simd in Simd::available() {
            let room = &mut other.found.world.room;
            (room.simd, room.budget_bytes) = (simd, 50_000);
            let found = loop {
                match lists(&mut other, &settings, 7) {
                    Ok(found) => break found,
                    Err(InlineError::Task(plan::Failure::Budget { .. })) => {
                        other.found.world.room.budget_bytes += 200_000;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(found == expected, "{settings:?} {simd}");
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
    same_on_any_cluster("kind = \"filter\"\nrank = 16\nepochs = 2");
    same_on_any_cluster(
        "kind = \"filter\"\nrank = 16\nepochs = 1\nfilter_weight = 0\nfilter_nearest = 40\nfilter_shrinkage = 5",
    );
}

fn same_on_any_cluster(model: &str) {
    let inputs = Inputs::of(&[Data::Small]);
    let run = |flags: &[&str]| {
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
