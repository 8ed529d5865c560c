//! Cold start: where attributes carry the signal they beat popularity, where they do not it is said, a history makes newcomers known; the same
//! figures whatever computes them; and what is refused.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use kernels::Random;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tests::generate::{write, write_columns};
use tests::process::{coordinator, json_of, output_of};

const USERS: i64 = 700;
const PRODUCTS: i64 = 240;
const KINDS: i64 = 4;

struct World(tempfile::TempDir);

impl World {
    /// Users of four kinds who mostly buy products of theirs. What tables say of users and products is their kind, or anything.
    fn of(told: bool) -> World {
        let world = World(tempfile::tempdir().expect("a folder"));
        let mut rows = Vec::new();
        for user in 0..USERS {
            let random = Random::new(2, 0x80, 0, user as u32);
            for turn in 0..30 {
                let uniform = |draw: u32| random.uniform_f64(10 * turn + draw);
                let kind = if uniform(0) < 0.8 {
                    user % KINDS
                } else {
                    (uniform(2) * KINDS as f64) as i64
                };
                // Low products of a kind are popular.
                let of_kind = (uniform(4) * uniform(6) * (PRODUCTS / KINDS) as f64) as i64;
                let second = 1_470_000_000 + 86_400 * i64::from(turn);
                rows.push((user, of_kind * KINDS + kind, second, 1.0));
            }
        }
        write(&world.path("rows.parquet"), &rows);
        for (name, key, count) in [("users", "user", USERS), ("products", "product", PRODUCTS)] {
            let said = |id: i64| {
                let any = i64::from(Random::new(3, 0x81, 0, id as u32).word(0) % 4);
                format!("kind {}", if told { id % KINDS } else { any })
            };
            let columns: Vec<(&str, ArrayRef)> = vec![
                (key, Arc::new((0..count).collect::<Int64Array>())),
                (
                    "kind",
                    Arc::new((0..count).map(said).map(Some).collect::<StringArray>()),
                ),
            ];
            write_columns(&world.path(&format!("{name}.parquet")), columns);
        }
        let job = "[input]\nfiles = [\"rows.parquet\"]\nuser = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\ntime_bin = \"day\"\n\
                   duplicates = \"count\"\n[input.user_attributes]\nfiles = \"users.parquet\"\n[input.product_attributes]\n\
                   files = \"products.parquet\"\n[model]\nkind = \"als\"\nrank = 8\nepochs = 5\n[cold]\nusers = 0.3\nproducts = 0.3\n\
                   history = [0, 1, 5]\n[output]\ndata = \"data\"\nmodel = \"model\"\n";
        std::fs::write(world.path("job.toml"), job).expect("the job is written");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cold(&self, settings: &[&str]) -> Command {
        let mut command = coordinator();
        command.args(["--json", "cold"]).arg(self.path("job.toml"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        command
    }
}

fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// A row of a side.
fn row<'a>(side: &'a Value, name: &str, history: Option<u32>) -> &'a Value {
    let rows = side["rows"].as_array().expect("rows");
    let found = rows
        .iter()
        .find(|row| row["name"] == name && history.is_none_or(|of| row["history"] == of));
    found.unwrap_or_else(|| panic!("{name} in {side}"))
}

fn least(row: &Value) -> f64 {
    real(&row["gap"]["interval"][0])
}

#[test]
fn attributes_that_carry_the_signal_beat_popularity() {
    let world = World::of(true);
    let found = json_of(&mut world.cold(&[]));
    assert_eq!(found["metric"], "recall@20");
    let users = &found["users"];
    let newcomers = real(&users["newcomers"]);
    assert!((140.0..280.0).contains(&newcomers), "{newcomers}");
    assert_eq!(users["users"], users["newcomers"], "all are judged");
    assert!(least(row(users, "attributes", Some(0))) > 0.05, "{users}");
    assert!(
        least(row(users, "popularity within kind", None)) > 0.05,
        "{users}"
    );
    let folded = |history| real(&row(users, "fold-in", Some(history))["figures"]["recall@20"]);
    assert!(folded(5) > folded(1), "{users}");
    assert!(least(row(users, "fold-in", Some(5))) > 0.0, "{users}");
    // A convolution that never saw them embeds them by their kind, and by what they buy first.
    for history in [0, 1, 5] {
        let convolved = row(users, "convolution", Some(history));
        assert!(least(convolved) > 0.05, "{convolved}");
    }
    let verdict = users["verdict"].as_str().expect("a verdict");
    assert!(
        verdict.starts_with("New users: attributes beat popularity by +"),
        "{verdict}"
    );
    assert!(
        verdict.contains("Without any, a graph convolution of attributes beats popularity by +"),
        "{verdict}"
    );
    assert!(
        verdict.contains("purchases on, folding in beats popularity"),
        "{verdict}"
    );

    // New products: what their kind sells to whom, against chance; a few buyers tell their kind.
    let products = &found["products"];
    let value = |name: &str, history| real(&row(products, name, history)["figures"]["recall@20"]);
    let chance = value("chance", None);
    assert!(value("attributes", Some(0)) > 1.2 * chance, "{products}");
    assert!(
        value("purchases of its kind", None) > 1.2 * chance,
        "{products}"
    );
    assert!(value("fold-in", Some(5)) > 1.2 * chance, "{products}");
    // A convolution is trained on products with buyers, and needs one to tell what a product is.
    for history in [1, 5] {
        let [convolved, folded] = ["convolution", "fold-in"].map(|of| value(of, Some(history)));
        assert!(convolved > 1.2 * chance && convolved > folded, "{products}");
    }
    assert_eq!(products["against"], "purchases of its kind");
    assert!(
        products["verdict"]
            .as_str()
            .is_some_and(|said| said.starts_with("New products: "))
    );
}

#[test]
fn attributes_that_say_nothing_are_said_to_say_nothing() {
    let world = World::of(false);
    let found = json_of(&mut world.cold(&["cold.products=0"]));
    assert!(found["products"].is_null());
    let users = &found["users"];
    let attributes = row(users, "attributes", Some(0));
    assert!(least(attributes) <= 0.0, "{attributes}");
    let verdict = users["verdict"].as_str().expect("a verdict");
    assert!(!verdict.contains("attributes beat"), "{verdict}");
    assert!(
        verdict.contains("no difference that the intervals support")
            || verdict.contains("attributes are worse than popularity"),
        "{verdict}"
    );
    // Attributes that say nothing say nothing through a convolution either.
    let convolved = row(users, "convolution", Some(0));
    assert!(least(convolved) <= 0.0, "{convolved}");
    // Their first purchases tell what tables do not.
    assert!(least(row(users, "fold-in", Some(5))) > 0.0, "{users}");
}

#[test]
fn figures_are_the_same_whatever_computes_them() {
    let world = World::of(true);
    let found = |name: &str, arguments: &[&str]| {
        let model = format!("output.model={}", world.path(name).display());
        let settings = [
            &model,
            "cold.history=0,2",
            "model.epochs=2",
            "evaluate.replicates=20",
        ];
        let mut told = json_of(world.cold(&settings).args(arguments));
        let told = told.as_object_mut().expect("an object");
        for key in ["seconds", "peak_anonymous_bytes"] {
            told.remove(key);
        }
        Value::Object(told.clone())
    };
    let first = found("one", &["--threads", "1"]);
    assert_eq!(first, found("two", &["--workers", "2", "--io", "pread"]));
    // What was trained is there and used again.
    assert_eq!(first, found("one", &[]));
}

#[test]
fn what_cannot_be_compared_is_refused_in_words() {
    let world = World::of(true);
    let check = |settings: &[&str], code: i32, words: &str| {
        let output = output_of(&mut world.cold(settings));
        let said: Value = serde_json::from_slice(&output.stdout).expect("an object");
        let message = said["error"]["message"].as_str().expect("a message");
        assert!(
            output.status.code() == Some(code) && message.contains(words),
            "{message}"
        );
    };
    check(
        &["model.kind=spectral"],
        78,
        "newcomers are compared in lists of a model of the kind \"als\" that ranks",
    );
    check(
        &["cold.users=0", "cold.products=0"],
        78,
        "`cold.users` and `cold.products` are 0, so nobody is held out",
    );
    check(
        &["evaluate.replicates=0"],
        78,
        "`cold` compares by intervals: set `evaluate.replicates` to 2 or more",
    );
    check(
        &["cold.history=0,100"],
        78,
        "only 0 users can be held out as new: of 0.3 of them, those with more than 100",
    );
}
