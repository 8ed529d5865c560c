//! A graph convolution on users and products that it was not trained on: what it is told of them and their neighbours, through its
//! matrices, against the formula in f64; whatever computes it; what cannot be taken over; and first rows of another model's.

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::Float32Type;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tests::factors::{self, Factors};
use tests::generate::{write, write_columns};
use tests::jobs::Job;
use tests::process::{Daemon, addresses, json_of, output_of};

const RANK: usize = 6;

/// What a table of attributes says of an id: an age and a town, neither of all.
fn age(id: i64) -> Option<f64> {
    (id % 5 != 1).then_some((id * 7 % 31) as f64)
}

fn town(id: i64) -> Option<String> {
    (id % 4 != 2).then(|| format!("t{}", id / 10))
}

fn write_attributes(path: &Path, key: &str, ids: std::ops::Range<i64>) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (key, Arc::new(ids.clone().collect::<Int64Array>())),
        (
            "age",
            Arc::new(ids.clone().map(age).collect::<Float64Array>()),
        ),
        ("town", Arc::new(ids.map(town).collect::<StringArray>())),
    ];
    write_columns(path, columns);
}

/// Purchases of some users of some products.
fn purchases(users: std::ops::Range<i64>, products: std::ops::Range<i64>) -> Vec<(i64, i64)> {
    let count = products.end - products.start;
    let of = |user: i64| (0..6).map(move |k: i64| (user, (user * 3 + k * k * 5 + k) % count));
    let pairs: BTreeSet<(i64, i64)> = users.flat_map(of).collect();
    let pairs = pairs.into_iter();
    pairs
        .map(|(user, product)| (user, products.start + product))
        .collect()
}

/// A folder with purchases and what is known of who made them.
struct World {
    folder: tempfile::TempDir,
    pairs: Vec<(i64, i64)>,
}

impl World {
    fn of(users: std::ops::Range<i64>, products: std::ops::Range<i64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pairs = purchases(users.clone(), products.clone());
        let rows: Vec<_> = pairs
            .iter()
            .map(|&(user, product)| (user, product, 0, 1.0))
            .collect();
        write(&folder.path().join("purchases.parquet"), &rows);
        write_attributes(&folder.path().join("users.parquet"), "user", users);
        write_attributes(&folder.path().join("products.parquet"), "product", products);
        World { folder, pairs }
    }

    fn job(&self, model: &str) -> Job {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let input = format!(
            "user = \"user\"\nproduct = \"product\"\nduplicates = \"count\"\n[input.user_attributes]\nfiles = \"{}\"\n\
             [input.product_attributes]\nfiles = \"{}\"",
            at("users.parquet"),
            at("products.parquet")
        );
        let model = format!("kind = \"gcn\"\nrank = {RANK}\nself_weights = \"free\"\n{model}");
        Job::over(
            &self.folder.path().join("purchases.parquet"),
            &input,
            &model,
            "",
        )
    }
}

/// The attributes of a mode, as the manifest of a job's model tells them.
fn told(job: &Job, mode: &str) -> Vec<Value> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let manifest = runtime.block_on(async {
        let depot = depot::Depot::open(&job.model().to_string_lossy()).unwrap();
        depot.latest_model(None).await.unwrap().unwrap().1
    });
    let record: Value = serde_json::from_slice(&manifest.settings.bytes).unwrap();
    record["attributes"][mode].as_array().unwrap().clone()
}

/// A row of F.
fn features(attributes: &[Value], id: i64) -> Vec<f64> {
    let mut row = Vec::new();
    for attribute in attributes {
        let kind = &attribute["kind"];
        if let Some(number) = kind.get("Number") {
            let of = |key: &str| number[key].as_f64().unwrap();
            row.push(age(id).map_or(0.0, |age| (age - of("mean")) / of("deviation")));
        } else {
            for level in kind["Levels"]["levels"].as_array().unwrap() {
                let is = town(id).as_deref() == level.as_str();
                row.push(f64::from(u8::from(is)));
            }
        }
    }
    row
}

fn times(row: &[f64], matrix: &Factors, first: usize) -> Vec<f64> {
    let mut out = vec![0.0; RANK];
    for (line, x) in row.iter().enumerate() {
        for (sum, y) in out.iter_mut().zip(&matrix[&(first + line).to_string()]) {
            *sum += x * f64::from(*y);
        }
    }
    out
}

/// The mean of two layers of tanh and one without, on purchases that the model does not know: users, then products by id.
fn formula(
    pairs: &[(i64, i64)],
    tables: &[Factors],
    told: [Vec<Value>; 2],
) -> [BTreeMap<i64, Vec<f64>>; 2] {
    let mut degrees: [BTreeMap<i64, f64>; 2] = Default::default();
    for &(user, product) in pairs {
        *degrees[0].entry(user).or_default() += 1.0;
        *degrees[1].entry(product).or_default() += 1.0;
    }
    // Tables by their modes: rows, then matrices of layers and of attributes in the order of their names.
    let table = |side: usize, name: usize| &tables[3 * side + name];
    let mut layer = [0, 1].map(|side| {
        let ids = degrees[side].keys();
        let row = |&id: &i64| (id, times(&features(&told[side], id), table(side, MAPS), 0));
        ids.map(row).collect::<BTreeMap<i64, Vec<f64>>>()
    });
    let mut sum = layer.clone();
    for at in 0..2 {
        let mut made = [0, 1].map(|side| {
            layer[side]
                .iter()
                .map(|(&id, _)| (id, vec![0.0; RANK]))
                .collect::<BTreeMap<_, _>>()
        });
        for &(user, product) in pairs {
            let by = 1.0 / (degrees[0][&user] * degrees[1][&product]).sqrt();
            let mut add = |side: usize, to: i64, from: &[f64]| {
                let row = made[side].get_mut(&to).unwrap();
                row.iter_mut().zip(from).for_each(|(sum, x)| *sum += by * x);
            };
            add(0, user, &layer[1][&product]);
            add(1, product, &layer[0][&user]);
        }
        for side in [0, 1] {
            for (id, row) in &mut made[side] {
                let first = 2 * RANK * at;
                let sums = times(row, table(side, WEIGHTS), first);
                let own = times(&layer[side][id], table(side, WEIGHTS), first + RANK);
                for k in 0..RANK {
                    let x = sums[k] + own[k];
                    row[k] = if at == 0 { x.tanh() } else { x };
                    sum[side].get_mut(id).unwrap()[k] += row[k];
                }
            }
        }
        layer = made;
    }
    for row in sum.iter_mut().flat_map(BTreeMap::values_mut) {
        for x in row {
            *x /= 3.0;
        }
    }
    sum
}

/// Places of a mode's tables in the model: as they are stored.
const ROWS: usize = 0;
const WEIGHTS: usize = 1;
const MAPS: usize = 2;

fn near(found: &Factors, exact: &BTreeMap<i64, Vec<f64>>) {
    assert_eq!(found.len(), exact.len());
    let size = exact
        .values()
        .flatten()
        .fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(size > 1e-3, "{size}");
    for (id, row) in exact {
        for (x, y) in found[&id.to_string()].iter().zip(row) {
            assert!(
                (f64::from(*x) - y).abs() < 1e-5 * (size + 1.0),
                "{id}: {x} instead of {y}"
            );
        }
    }
}

const SHAPE: &str = "features = \"attributes\"\nlayers = 2\nactivation = \"tanh\"";

#[test]
fn who_was_not_trained_on_is_embedded_by_the_formula() {
    let (before, now) = (World::of(0..50, 0..40), World::of(30..100, 20..90));
    let trained = before.job(&format!("{SHAPE}\nepochs = 6"));
    let report = json_of(&mut trained.command("run", &[]));
    assert_eq!(report["epochs"].as_array().unwrap().len(), 6);
    let knew = ["user", "product"].map(|mode| told(&trained, mode));
    let matrices = factors::of(&trained);
    near(
        &matrices[ROWS],
        &formula(&before.pairs, &matrices, knew.clone())[0],
    );
    let embed = |arguments: &[&str]| {
        let weights = trained.model().display().to_string();
        let job = now.job(&format!(
            "{SHAPE}\nepochs = 0\ninitial_weights = \"{weights}\""
        ));
        let lists = job.folder().join("lists.parquet").display().to_string();
        let lists = format!("output.recommend.file={lists}");
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--set", &lists]).collect();
        let report = json_of(&mut job.command("run", &arguments));
        (report, job)
    };
    let (one, job) = embed(&["--threads", "2", "--memory", "4GiB"]);
    let tables = factors::of(&job);
    let exact = formula(&now.pairs, &tables, knew.clone());
    near(&tables[ROWS], &exact[0]);
    near(&tables[3 + ROWS], &exact[1]);
    for at in [WEIGHTS, MAPS, 3 + WEIGHTS, 3 + MAPS] {
        assert_eq!(
            tables[at], matrices[at],
            "matrices are those of the other model"
        );
    }
    assert_eq!(told(&job, "user"), knew[0]);
    let listed = one["recommend"]["users"]
        .as_u64()
        .or(one["recommendations"]["users"].as_u64());
    assert_eq!(listed, Some(70), "{one}");
    let caches = tempfile::tempdir().unwrap();
    let daemons = ["a", "b"].map(|name| {
        let hidden = [now.folder.path(), before.folder.path(), trained.folder()];
        Daemon::start_blind(&caches.path().join(name), &hidden, &["--threads", "1"])
    });
    let remote = addresses(&daemons);
    for apart in [
        &["--workers", "2", "--memory", "256MiB", "--io", "pread"][..],
        &["--workers", &remote],
    ] {
        assert_eq!(embed(apart).0["digest"], one["digest"]);
    }
}

#[test]
fn matrices_warm_a_start() {
    let world = World::of(0..60, 0..50);
    let cold = world.job(&format!("{SHAPE}\nepochs = 8"));
    json_of(&mut cold.command("run", &[]));
    let weights = cold.model().display().to_string();
    let warm = world.job(&format!(
        "{SHAPE}\nepochs = 1\ninitial_weights = \"{weights}\""
    ));
    let first = |job: &Job| -> f64 {
        let report = json_of(&mut job.command("train", &[]));
        report["epochs"][0]["objective"]
            .as_f64()
            .unwrap_or(f64::NAN)
    };
    json_of(&mut warm.command("ingest", &[]));
    let begun = world.job(&format!("{SHAPE}\nepochs = 1"));
    json_of(&mut begun.command("ingest", &[]));
    let (warm, begun) = (first(&warm), first(&begun));
    assert!(warm < begun, "{warm} with what was learnt, {begun} without");
}

#[test]
fn other_shapes_are_refused_in_a_sentence() {
    let (before, now) = (World::of(0..50, 0..40), World::of(30..100, 20..90));
    let trained = before.job(&format!("{SHAPE}\nepochs = 1"));
    json_of(&mut trained.command("run", &[]));
    let refused = |model: &str, weights: &Path, code: i32, sentence: &str| {
        let job = now.job(&format!(
            "{model}\ninitial_weights = \"{}\"",
            weights.display()
        ));
        let output = output_of(&mut job.command("run", &[]));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    let (model, nowhere) = (trained.model(), trained.folder().join("nowhere"));
    let one = SHAPE.replace("layers = 2", "layers = 1");
    refused(
        &one,
        &model,
        78,
        "was made with `layers` = 2, the job says 1: give the same",
    );
    let tied = format!("{SHAPE}\nweights = \"shared\"");
    refused(
        &tied,
        &model,
        78,
        "`weights` = \"separate\", the job says \"shared\"",
    );
    let sentence = format!(
        "`model.initial_weights`: there is no directory {}: name the place of a trained model",
        nowhere.display()
    );
    refused(SHAPE, &nowhere, 69, &sentence);
    refused(SHAPE, &trained.folder().join("data"), 69, "holds no model");
    let rows = "layers = 2\nactivation = \"tanh\"\nepochs = 0";
    refused(rows, &model, 78, "`model.epochs` is 0");
}

/// Rows of a factorization, as the first layer reads them.
#[test]
fn factors_are_first_rows() {
    let world = World::of(0..60, 0..50);
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, key: &str, ids: std::ops::Range<i64>| {
        let row =
            |id: i64| Some((0..RANK as i64).map(move |k| Some((id * 7 + k) as f32 / 100.0 - 1.0)));
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(ids.clone().map(row));
        let path = folder.path().join(name);
        let columns: Vec<(&str, ArrayRef)> = vec![
            (key, Arc::new(ids.collect::<Int64Array>())),
            ("factors", Arc::new(lists)),
        ];
        write_columns(&path, columns);
        path.display().to_string()
    };
    let (users, products) = (
        put("u.parquet", "user", 0..60),
        put("p.parquet", "product", 0..40),
    );
    for kind in ["gcn", "lightgcn"] {
        let run = |given: bool, arguments: &[&str]| {
            let model = "epochs = 1\nbatches = 1\nlayers = 1\nrate = 1e-9".to_owned();
            let job = world.job(&model);
            let text = std::fs::read_to_string(job.folder().join("job.toml")).unwrap();
            let text = match kind {
                "gcn" => text,
                _ => text
                    .replace("\"gcn\"", "\"lightgcn\"")
                    .replace("self_weights = \"free\"\n", ""),
            };
            std::fs::write(job.folder().join("job.toml"), text).unwrap();
            let sets = [
                format!("model.initial_users={users}"),
                format!("model.initial_products={products}"),
            ];
            let mut all = arguments.to_vec();
            for set in sets.iter().filter(|_| given) {
                all.extend(["--set", set]);
            }
            (json_of(&mut job.command("run", &all)), job)
        };
        let (one, job) = run(true, &["--threads", "2"]);
        let two = run(
            true,
            &["--workers", "2", "--memory", "256MiB", "--io", "pread"],
        )
        .0;
        assert_eq!(one["digest"], two["digest"], "{kind}");
        assert_eq!(one["initial"]["product"]["known"], 40, "{kind}");
        assert_ne!(one["digest"], run(false, &[]).0["digest"], "{kind}");
        // A step of nothing: half of a row and half of its neighbours' mean, of the layer's or of the smoothing.
        let found = factors::of(&job);
        let rows = &found[0];
        let given = |id: i64| (0..RANK as i64).map(move |k| (id * 7 + k) as f64 / 100.0 - 1.0);
        let known = |user: i64| world.pairs.iter().filter(move |pair| pair.0 == user);
        let mut degrees: BTreeMap<i64, f64> = BTreeMap::new();
        for &(_, product) in &world.pairs {
            *degrees.entry(product).or_default() += 1.0;
        }
        let whole = (0..60).filter(|&user| known(user).all(|pair| pair.1 < 40));
        let mut looked = 0;
        for user in whole {
            let count = known(user).count() as f64;
            for (k, own) in given(user).enumerate() {
                let sums: f64 = known(user)
                    .map(|pair| given(pair.1).nth(k).unwrap() / (count * degrees[&pair.1]).sqrt())
                    .sum();
                let exact = match kind {
                    "gcn" => 0.5 * (own + 0.5 * (own + sums)),
                    _ => 0.5 * (own + sums),
                };
                let found = f64::from(rows[&user.to_string()][k]);
                assert!(
                    (found - exact).abs() < 1e-4,
                    "{kind} {user}: {found} instead of {exact}"
                );
                looked += 1;
            }
        }
        assert!(looked > 20);
    }
}
