//! The law of identity (DESIGN 3.1) on real processes: one digest whatever computes it.
//!
//! `cargo test --workspace` runs a pairwise cover: every two settings of every two axes meet in some run.
//! The whole product is a command, `IDENTITY=all cargo test --release --workspace --test identity`, of hours; `IDENTITY=3/24` is
//! the fourth of 24 parts of it, each dealt over all axes.

use kernels::{Path as SimdPath, Simd};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, can_hide, json_of};

/// Embedded workers, then daemons.
const WORKERS: [(u32, bool); 7] = [
    (1, false),
    (2, false),
    (3, false),
    (5, false),
    (1, true),
    (2, true),
    (3, true),
];
const THREADS: [&str; 3] = ["1", "2", "4"];
const IO: [&str; 2] = ["mmap", "pread"];
/// Training's; a row group of an input is what ingest cannot cut, so it has the generous one. Its own test
/// of identity under a tight budget is in `ingest.rs`.
const MEMORY: [&str; 2] = ["4GiB", "256MiB"];
const GENEROUS: &str = MEMORY[0];
const DATA: [Data; 2] = [Data::Bundled, Data::Generated];
/// Matrix; tensor of smooth time with biases; the matrix with biases by steps from the last factors, in the eigenbasis; and, of
/// another kind, the filter of the graph (singular vectors as of `spectral`, and lists that are made from the data set), embeddings smoothed over the graph,
/// layers with weights on it, and rows of one length.
const MODELS: [(&str, &str); 7] = [
    ("ignore", "cholesky"),
    ("factor", "cholesky"),
    ("ignore", "cg"),
    ("ignore", "filter"),
    ("ignore", "lightgcn"),
    ("ignore", "gcn"),
    ("ignore", "ucmf"),
];

/// One choice on each axis: workers, threads, I/O, memory, SIMD, data, model.
type Case = [usize; 7];

/// The settings that a machine has on each axis.
fn axes(simd: &[SimdPath]) -> Case {
    [
        WORKERS.len(),
        THREADS.len(),
        IO.len(),
        MEMORY.len(),
        simd.len(),
        DATA.len(),
        MODELS.len(),
    ]
}

fn product(axes: Case) -> Vec<Case> {
    let mut cases = vec![Case::default()];
    for (axis, settings) in axes.into_iter().enumerate() {
        cases = cases
            .into_iter()
            .flat_map(|case| {
                (0..settings).map(move |setting| {
                    let mut case = case;
                    case[axis] = setting;
                    case
                })
            })
            .collect();
    }
    cases
}

/// The pairs of settings that meet in a run.
fn pairs(case: &Case) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
    let case = *case;
    (0..case.len()).flat_map(move |a| (0..a).map(move |b| (a, case[a], b, case[b])))
}

/// Greedy: always the run in which most pairs meet for the first time. `first` are runs in any case.
fn cover(axes: Case, first: &[Case]) -> Vec<Case> {
    let all = product(axes);
    let mut open: BTreeSet<_> = all.iter().flat_map(pairs).collect();
    let mut chosen = first.to_vec();
    for pair in first.iter().flat_map(pairs) {
        open.remove(&pair);
    }
    while !open.is_empty() {
        let news = |case: &&Case| pairs(case).filter(|pair| open.contains(pair)).count();
        // Of equals the last; any would do.
        let best = *all.iter().max_by_key(news).expect("axes are not empty");
        for pair in pairs(&best) {
            open.remove(&pair);
        }
        chosen.push(best);
    }
    chosen
}

/// Every n-th run from the k-th on, of `k/n`. A prime stride deals them over all axes first.
fn part_of(all: Vec<Case>, part: &str) -> Vec<Case> {
    let numbers = part.split_once('/');
    let numbers = numbers.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let (k, n): (usize, usize) = numbers.expect("IDENTITY is `all`, or a part of all such as 3/24");
    assert!(k < n, "parts of {n} are counted from 0");
    let stride = 7919;
    assert!(!all.len().is_multiple_of(stride));
    let dealt = (0..all.len()).map(|place| all[place * stride % all.len()]);
    dealt.skip(k).step_by(n).collect()
}

/// What a run came to: that of ingest, and that of train.
struct Ran {
    ingest: Value,
    train: Value,
}

fn job(inputs: &Inputs, data: Data, (time, solver): (&str, &str)) -> Job {
    // Validation makes views, and metrics after every epoch.
    let split = match data {
        Data::Bundled => "validation_bins = 4",
        Data::Generated | Data::Small => "",
    };
    if solver == "filter" {
        let model = "kind = \"filter\"\nrank = 8\nepochs = 2\nedges = \"values\"";
        return Job::of(inputs, data, model, split);
    }
    if solver == "lightgcn" {
        let model = "kind = \"lightgcn\"\nrank = 16\nlayers = 1\nself_loops = true\nepochs = 2\nbatches = 2\nrate = 0.05";
        return Job::of(inputs, data, model, split);
    }
    if solver == "gcn" {
        let layers = "layers = 2\nactivation = \"tanh\"\nself_weights = \"free\"";
        let model =
            format!("kind = \"gcn\"\nrank = 16\n{layers}\nepochs = 2\nbatches = 1\nrate = 0.005");
        return Job::of(inputs, data, &model, split);
    }
    if solver == "ucmf" {
        let model = "kind = \"ucmf\"\nrank = 15\nepochs = 2\nbatches = 2\nrate = 0.02";
        return Job::of(inputs, data, model, split);
    }
    // With their biases all rows have 16 columns.
    let (rank, more) = match (time, solver) {
        ("factor", _) => (13, "time_smoothing = 100\nbiases = true"),
        (_, "cg") => (14, "biases = true"),
        _ => (16, ""),
    };
    let model = format!(
        "rank = {rank}\nepochs = 2\nregularization = 0.0001\ntime = {time:?}\nsolver = {solver:?}\n{more}"
    );
    Job::new(inputs, data, &model, split)
}

fn run(inputs: &Inputs, case: &Case, simd: &[SimdPath]) -> Ran {
    let [workers, threads, io, memory, path, data, model] = *case;
    let ((workers, remote), memory) = (WORKERS[workers], MEMORY[memory]);
    let job = job(inputs, DATA[data], MODELS[model]);
    let common = ["--io", IO[io], "--simd", simd[path].name()];
    let caches = tempfile::tempdir().expect("a temporary folder");
    let daemons = |memory: &str, made: u32| -> Vec<Daemon> {
        let arguments = ["--memory", memory, "--threads", THREADS[threads]];
        let arguments = [arguments, common].concat();
        let hidden = [job.folder(), inputs.folder()];
        (0..if remote { workers } else { 0 })
            .map(|worker| {
                let cache = caches.path().join(format!("{made}-{worker}"));
                Daemon::start_blind(&cache, &hidden, &arguments)
            })
            .collect()
    };
    let verb = |verb: &str, memory: &str, daemons: &[Daemon]| {
        let many = if remote {
            addresses(daemons)
        } else {
            workers.to_string()
        };
        let mut arguments = vec!["--workers", &many, "--memory", memory];
        if !remote {
            arguments.extend(["--threads", THREADS[threads]]);
        }
        json_of(&mut job.command(verb, &[&arguments[..], &common].concat()))
    };
    let generous = daemons(GENEROUS, 0);
    let ingest = verb("ingest", GENEROUS, &generous);
    let train = if memory == GENEROUS {
        verb("train", memory, &generous)
    } else {
        verb("train", memory, &daemons(memory, 1))
    };
    Ran { ingest, train }
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is a count"))
}

/// What each run must show by itself.
fn check(case: &Case, ran: &Ran, simd: &[SimdPath]) {
    let Ran { ingest, train } = ran;
    let (workers, remote) = WORKERS[case[0]];
    assert_eq!(ingest["reused"], false, "{case:?}");
    assert_eq!(train["resumed_from"], Value::Null, "{case:?}");
    assert_eq!(train["reused"], false, "{case:?}");
    assert_eq!(train["simd"], simd[case[4]].name(), "{case:?}");
    let work = &train["work"];
    // A machine at its limits makes a daemon look lost, and its tasks are done again: with the same digest, as everything here.
    match number(&work["tasks_replayed"]) {
        0 => {}
        replayed if remote => println!("NOTICE: {case:?} did {replayed} tasks again"),
        replayed => panic!("{case:?} did {replayed} tasks again, and no worker can be lost"),
    }
    let sent = work["bytes_to_peers"].as_array().expect("a list");
    assert_eq!(sent.len(), workers as usize, "{case:?}: {work}");
    if workers > 1 {
        assert!(sent.iter().all(|sent| number(sent) > 0), "{case:?}: {work}");
    }
    // Embedded workers see every file. For daemons the coordinator serves the views once to each worker at
    // the most, and takes in the checkpoints: never the exchange of factors.
    let through = number(&work["bytes_through_coordinator"]);
    if remote {
        let rows = number(&ingest["users"]) + number(&ingest["products"]);
        // 16 lanes of 4 bytes a row, and Gram partials and time factors beside them; a checkpoint per epoch. Embeddings have
        // parameters and Adam's means beside them, and layers with weights what they made.
        let tables = match MODELS[case[6]].1 {
            "lightgcn" | "ucmf" => 5,
            "gcn" => 8,
            _ => 1,
        };
        let checkpoints = 2 * (tables * rows * 64 + (1 << 20));
        // Both orientations, three words an interaction and two a row, to each worker; the sample's views too.
        let views = u64::from(workers) * 4 * (12 * number(&ingest["interactions"]) + 8 * rows);
        assert!(through <= checkpoints + views, "{case:?}: {work}");
    } else {
        assert_eq!(through, 0, "{case:?}: {work}");
    }
}

/// Epochs without their seconds.
fn epochs(train: &Value) -> Vec<(Value, Value)> {
    let epochs = train["epochs"].as_array().expect("a list");
    epochs
        .iter()
        .map(|epoch| (epoch["objective"].clone(), epoch["metrics"].clone()))
        .collect()
}

#[test]
fn one_digest_whatever_computes_it() {
    let simd: Vec<SimdPath> = SimdPath::ALL
        .into_iter()
        .filter(|path| Simd::new(*path).is_ok())
        .collect();
    if !can_hide() {
        println!("NOTICE: folders cannot be hidden from daemons here");
    }
    let inputs = Inputs::of(&DATA);
    let best = simd.len() - 1;
    // Five workers of 51.2 MiB each must cut the row of the heavy user; beside them the generous run.
    let tight = |model| [3, 0, 0, 1, 0, 1, model];
    let fixed: Vec<Case> = (0..MODELS.len())
        .flat_map(|model| [tight(model), [0, 1, 1, 0, best, 1, model]])
        .collect();
    let cases = match std::env::var("IDENTITY").as_deref() {
        Ok("all") => product(axes(&simd)),
        Ok(part) => part_of(product(axes(&simd)), part),
        Err(_) => cover(axes(&simd), &fixed),
    };
    println!("{} runs of {}", cases.len(), product(axes(&simd)).len());
    let mut digests: BTreeMap<(usize, usize), (Case, Ran)> = BTreeMap::new();
    for case in cases {
        let began = Instant::now();
        let ran = run(&inputs, &case, &simd);
        println!(
            "{case:?} {} {} {:.1} s {}",
            simd[case[4]].name(),
            ran.train["digest"],
            began.elapsed().as_secs_f64(),
            ran.train["work"],
        );
        check(&case, &ran, &simd);
        let (first, law) = digests.entry((case[5], case[6])).or_insert_with(|| {
            let (ingest, train) = (ran.ingest.clone(), ran.train.clone());
            (case, Ran { ingest, train })
        });
        for key in ["digest", "interactions", "users", "products", "blocks"] {
            assert_eq!(ran.ingest[key], law.ingest[key], "{first:?} and {case:?}");
        }
        assert_eq!(
            ran.train["digest"], law.train["digest"],
            "{first:?} and {case:?}"
        );
        assert_eq!(
            epochs(&ran.train),
            epochs(&law.train),
            "{first:?} and {case:?}"
        );
    }
    // Factors that have all become zero would be equal whatever computed them.
    for (_, ran) in digests.values() {
        let objectives: Vec<Option<f64>> = epochs(&ran.train)
            .iter()
            .map(|(objective, _)| objective.as_f64())
            .collect();
        assert!(objectives[1] < objectives[0], "{objectives:?}");
    }
    // The models and the two data sets are different ones: a constant digest would be no law.
    let different: BTreeSet<String> = digests
        .values()
        .map(|(_, ran)| ran.train["digest"].to_string())
        .collect();
    assert_eq!(different.len(), digests.len());
}

/// Five workers that share 256 MiB cannot hold the products' factors: they gather them for more pieces than there
/// are blocks, cut inside the one row of over 65,536 interactions, and arrive at the same bits.
#[test]
fn a_tight_budget_cuts_rows_and_changes_no_bit() {
    let inputs = Inputs::of(&[Data::Generated]);
    let train = |memory: &str, workers: &str| {
        let model = "rank = 128\nepochs = 1\nregularization = 0.01\n";
        let job = Job::new(&inputs, Data::Generated, model, "");
        let ingest = json_of(&mut job.command("ingest", &["--memory", "4GiB"]));
        let flags = ["--memory", memory, "--workers", workers, "--threads", "1"];
        (ingest, json_of(&mut job.command("train", &flags)))
    };
    let (_, generous) = train("4GiB", "1");
    let (ingest, tight) = train("256MiB", "5");
    assert_eq!(generous["digest"], tight["digest"]);
    assert!(tight["digest"].is_string() && tight["resumed_from"].is_null());
    let of = |report: &Value, key: &str| number(&report["work"][key]);
    let blocks = number(&ingest["blocks"]["user"]) + number(&ingest["blocks"]["product"]);
    let (pieces, more) = (of(&generous, "pieces"), of(&tight, "pieces"));
    assert!(
        more > pieces && more > blocks,
        "{pieces}, {more} of {blocks}"
    );
    assert!(of(&tight, "cut_rows") >= 1, "{tight}");
}

#[test]
fn a_cover_meets_every_pair() {
    let axes: Case = [7, 3, 2, 2, 3, 2, 2];
    let first = [[3, 0, 0, 1, 0, 1, 0]];
    let cover = cover(axes, &first);
    let met: BTreeSet<_> = cover.iter().flat_map(pairs).collect();
    let all: BTreeSet<_> = product(axes).iter().flat_map(pairs).collect();
    assert_eq!(met, all);
    assert!(cover.len() < 30, "{}", cover.len());
}

/// One bin and T held at ones: the factors of users and products are those of the matrix, to the bit.
#[test]
fn a_tensor_of_one_bin_is_the_matrix() {
    let inputs = Inputs::of(&[Data::Small]);
    let train = |model: &str| {
        let model = format!("rank = 16\nepochs = 3\nregularization = 0.01\n{model}");
        let job = Job::new(&inputs, Data::Small, &model, "");
        let text = std::fs::read_to_string(job.folder().join("job.toml")).expect("just written");
        // Forty days from the 18th of July lie in one quarter.
        let text = text.replace("time_bin = \"week\"", "time_bin = \"quarter\"");
        std::fs::write(job.folder().join("job.toml"), text).expect("just written");
        let report = json_of(&mut job.command("run", &["--workers", "2"]));
        let tables = tables(&job);
        (report, tables)
    };
    let (matrix, matrix_tables) = train("time = \"ignore\"");
    let (tensor, tensor_tables) = train("time = \"factor\"\nhold_time = true");
    assert_eq!(matrix_tables[..], tensor_tables[..2]);
    assert_eq!((matrix_tables.len(), tensor_tables.len()), (2, 3));
    assert_eq!(tensor["ingest"]["time_bins"], 1);
    let objective = |report: &Value| epochs(report).into_iter().map(|(objective, _)| objective);
    assert!(objective(&matrix).eq(objective(&tensor)));
}

/// The sealed blocks of a model's tables: equal hashes are equal bits.
fn tables(job: &Job) -> Vec<Vec<tensor::SealedRef>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let depot = depot::Depot::open(&job.model().to_string_lossy()).expect("a depot");
        let (_, model) = depot
            .latest_model(None)
            .await
            .expect("whole manifests")
            .expect("a model");
        model.tables.into_iter().map(|table| table.blocks).collect()
    })
}
