//! Forgetting users: no byte of them stays, nobody else moves, and a kill at any moment leaves nothing that the next one does not
//! finish.

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, StringArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tables::{BuildViews, Compact, ScanSpec};
use tensor::{Duplicates, SplitPart, TimeBin, ViewSpec};
use tests::ingested::{DAY, Row, ingest, inputs, naive, parquet_of, some_rows, spec};
use tests::process::{coordinator, json_of, output_of};

/// Nothing else looks like it, and none is the beginning of another.
fn customer(number: i64) -> String {
    format!("Kundin-{number:04}-Zürich")
}

fn draw(seed: i64) -> i64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
    ((mixed ^ mixed >> 29).unsigned_abs() >> 8).cast_signed()
}

/// A shop whose customers have names, with what is known of them and who follows whom.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn of(model: &str, more: &str) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let shop = Shop { folder };
        shop.purchases("first", 6000, 250, 17_003);
        shop.purchases("second", 500, 280, 17_080);
        let ids: StringArray = (0..280).map(|id| Some(customer(id))).collect();
        let age: Int64Array = (0..280).map(|id| Some(20 + draw(id) % 60)).collect();
        shop.put(
            "customers",
            vec![("customer", text(ids)), ("age", std::sync::Arc::new(age))],
        );
        let from: StringArray = (0..600).map(|i| Some(customer(draw(i) % 280))).collect();
        let to: StringArray = (0..600)
            .map(|i| Some(customer(draw(i + 9999) % 280)))
            .collect();
        shop.put("follows", vec![("who", text(from)), ("whom", text(to))]);
        let job = format!(
            "[input]\nfiles = [\"first.parquet\"]\nuser = \"customer\"\nproduct = \"product\"\ntime = \"seconds\"\n\
             time_bin = \"week\"\nduplicates = \"count\"\n{more}[split]\ntest_fraction = 0.2\n[model]\n{model}\n\
             [output]\ndata = \"data\"\nmodel = \"model\"\n"
        );
        std::fs::write(shop.path("job.toml"), job).unwrap();
        shop
    }

    fn purchases(&self, name: &str, rows: i64, users: i64, first_day: i64) {
        let seed = first_day * 100_000;
        let users: StringArray = (0..rows)
            .map(|i| Some(customer(draw(seed + i) % users)))
            .collect();
        let product = |i| {
            let draw = draw(seed + i + 50_000) % 90;
            draw * draw / 90
        };
        let products: Int64Array = (0..rows).map(|i| Some(product(i))).collect();
        let seconds = |i| (first_day + draw(seed + i + 70_000) % 70) * 86_400;
        let times: Int64Array = (0..rows).map(|i| Some(seconds(i))).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("customer", text(users)),
            ("product", std::sync::Arc::new(products)),
            ("seconds", std::sync::Arc::new(times)),
        ];
        self.put(name, columns);
    }

    fn put(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let bytes = parquet_of(columns, 700);
        std::fs::write(self.path(&format!("{name}.parquet")), bytes).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verb(&self, verb: &str, places: &str) -> Command {
        let mut command = coordinator();
        command.arg("--json").arg(verb).arg(self.path("job.toml"));
        for place in ["data", "model"] {
            let path = self.path(&format!("{place}-{places}"));
            command.arg(format!("--set=output.{place}={}", path.display()));
        }
        command
    }

    fn update(&self, places: &str) -> Value {
        let mut update = self.verb("update", places);
        let file = self.path("second.parquet");
        json_of(update.arg(format!("--set=update.files={}", file.display())))
    }

    fn forget(&self, places: &str, users: &[String]) -> Command {
        let list = self.path("gone.txt");
        std::fs::write(&list, users.join("\n")).unwrap();
        let mut forget = self.verb("forget", places);
        forget.arg("--users").arg(list);
        forget
    }

    fn verify(&self, place: &str) -> Value {
        json_of(
            coordinator()
                .args(["--json", "verify"])
                .arg(self.path(place)),
        )
    }

    /// The lists of all users.
    fn lists(&self, places: &str) -> BTreeMap<String, Vec<(i64, f32)>> {
        let file = self.path("lists.parquet");
        let mut recommend = self.verb("recommend", places);
        json_of(recommend.arg(format!("--set=output.recommend.file={}", file.display())));
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap());
        let mut lists: BTreeMap<String, Vec<(i64, f32)>> = BTreeMap::new();
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let users = batch.column(0).as_string::<i32>();
            let products: &Int64Array = batch.column(2).as_primitive();
            let scores: &Float32Array = batch.column(3).as_primitive::<Float32Type>();
            for row in 0..batch.num_rows() {
                let list = lists.entry(users.value(row).to_owned()).or_default();
                list.push((products.value(row), scores.value(row)));
            }
        }
        lists
    }
}

fn text(ids: StringArray) -> ArrayRef {
    std::sync::Arc::new(ids)
}

/// Files below a folder that hold these bytes.
fn holders(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, needle));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let needle = needle.as_bytes();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(path);
            }
        }
    }
    found
}

fn refusal(command: &mut Command) -> (i32, String) {
    let output = output_of(command);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["error"]["message"].as_str().unwrap().to_owned();
    (output.status.code().unwrap(), message)
}

/// Those of the first file, and one whom only the update brought.
fn gone() -> Vec<String> {
    let mut gone: Vec<String> = [3, 77, 140, 141, 249].map(customer).to_vec();
    gone.push(customer(261));
    gone
}

const ATTRIBUTES: &str = "[input.user_attributes]\nfiles = [\"customers.parquet\"]\nid = \"customer\"\n\
    [input.user_edges]\nfiles = [\"follows.parquet\"]\nfrom = \"who\"\nto = \"whom\"\ndirected = true\n";

#[test]
fn no_byte_of_a_forgotten_user_stays_and_nobody_else_moves() {
    let als = "kind = \"als\"\npreset = \"hu\"\nrank = 8\nepochs = 3";
    let shop = Shop::of(als, ATTRIBUTES);
    let scratch = shop.path("scratch");
    let (mut digests, mut left) = (Vec::new(), 0);
    for (places, workers) in [("a", "1"), ("b", "2")] {
        json_of(&mut shop.verb("ingest", places));
        // A model of before the update goes; so does the version of the data set.
        json_of(&mut shop.verb("train", places));
        let all = shop.update(places)["users"].as_u64().unwrap();
        json_of(&mut shop.verb("train", places));
        let before = shop.lists(places);
        let (data, model) = (
            shop.path(&format!("data-{places}")),
            shop.path(&format!("model-{places}")),
        );
        for user in &gone() {
            assert!(
                !holders(&data, user).is_empty(),
                "the search finds what is there"
            );
            assert!(before.contains_key(user), "{user} has a list");
        }
        let mut users = gone();
        users.extend([customer(999), "nobody".to_owned()]);
        let mut forget = shop.forget(places, &users);
        forget
            .args(["--workers", workers, "--scratch"])
            .arg(&scratch);
        let found = json_of(&mut forget);
        let count = |key: &str| found[key].as_u64().unwrap();
        assert_eq!(
            (count("asked"), count("forgotten"), count("unknown")),
            (8, 6, 2)
        );
        assert_eq!(
            found["unknown_ids"],
            serde_json::json!([customer(999), "nobody"])
        );
        assert_eq!((count("users_forgotten"), count("users")), (6, all - 6));
        assert_eq!(
            (count("models"), count("models_dropped"), count("versions")),
            (1, 1, 2)
        );
        assert!(count("objects") > 0 && count("partitions") > 64, "{found}");
        let reach = found["out_of_reach"].to_string();
        assert!(
            reach.contains("first.parquet (`input.files`): a new ingest would"),
            "{reach}"
        );
        for user in &gone() {
            for place in [&data, &model, &scratch] {
                assert_eq!(holders(place, user), [] as [PathBuf; 0], "{user}");
            }
        }
        let verified = shop.verify(&format!("data-{places}"));
        assert_eq!(verified["users_forgotten"], 6);
        assert!(verified["objects_without_them"].as_u64().unwrap() > 128);
        assert_eq!(
            shop.verify(&format!("model-{places}"))["users_forgotten"],
            6
        );
        let after = shop.lists(places);
        let kept = before
            .into_iter()
            .filter(|(user, _)| !gone().contains(user));
        assert!(
            after.into_iter().eq(kept),
            "the lists of the others are as they were"
        );
        let evaluated = json_of(&mut shop.verb("evaluate", places));
        let model = coordinator()
            .args(["--json", "inspect"])
            .arg(&model)
            .output()
            .unwrap();
        let model: Value = serde_json::from_slice(&model.stdout).unwrap();
        left = all - 6;
        digests.push((
            found["digest"].clone(),
            model["model"]["digest"].clone(),
            evaluated["tasks"].clone(),
        ));
    }
    assert_eq!(digests[0], digests[1], "whatever the workers");

    // Life goes on: files for others, similar users, a training of its own, and an update in which one of them is new.
    let folder = shop.path("factors");
    let mut export = shop.verb("export", "a");
    let exported = json_of(export.arg(format!("--set=output.export.folder={}", folder.display())));
    assert_eq!(exported["tables"]["user"]["rows"], left);
    assert!(gone().iter().all(|user| holders(&folder, user).is_empty()));
    let mut similar = shop.verb("similar", "a");
    similar.arg("--set=output.similar.of=user");
    similar.arg(format!(
        "--set=output.similar.file={}",
        shop.path("alike.parquet").display()
    ));
    let lists = json_of(&mut similar)["lists"].as_u64().unwrap();
    assert!(
        (left - 9..=left).contains(&lists),
        "who has nothing in training has no list: {lists}"
    );
    let (code, sentence) = refusal(&mut shop.forget("a", &gone()));
    assert_eq!(code, 65);
    assert!(sentence.starts_with("none of the users is in the data set, which never had them or has forgotten them: Kundin-0003"));
    let trained = json_of(&mut shop.verb("train", "a"));
    assert_eq!(trained["reused"], false);
    shop.purchases("second", 60, 4, 17_170);
    let updated = shop.update("a");
    assert_eq!(
        (
            updated["added"]["users"].as_u64(),
            updated["users"].as_u64()
        ),
        (Some(1), Some(left + 1))
    );
    assert_eq!(
        holders(&shop.path("data-a/objects"), &customer(3)).len(),
        1,
        "one dictionary has it"
    );
    json_of(&mut shop.verb("train", "a"));
    shop.lists("a");
    let again = json_of(&mut shop.forget("a", &[customer(3)]));
    assert_eq!(
        (
            again["forgotten"].as_u64(),
            again["users_forgotten"].as_u64()
        ),
        (Some(1), Some(7))
    );
    assert_eq!(
        holders(&shop.path("data-a"), &customer(3)),
        [] as [PathBuf; 0]
    );
    assert_eq!(shop.verify("data-a")["users_forgotten"], 7);
}

#[test]
fn models_of_every_shape_forget() {
    for model in [
        "kind = \"als\"\npreset = \"hu\"\nrank = 4\nepochs = 2\nsolver = \"cg\"\nbiases = true\ntime = \"factor\"",
        "kind = \"sgd\"\nloss = \"logistic\"\nrank = 4\nepochs = 2",
        "kind = \"lightgcn\"\nrank = 4\nepochs = 2",
    ] {
        let shop = Shop::of(model, "");
        json_of(&mut shop.verb("ingest", "a"));
        json_of(&mut shop.verb("train", "a"));
        let before = shop.lists("a");
        let found = json_of(&mut shop.forget("a", &gone()));
        assert_eq!(
            (found["forgotten"].as_u64(), found["models"].as_u64()),
            (Some(5), Some(1)),
            "{model}"
        );
        let after = shop.lists("a");
        let kept = before
            .into_iter()
            .filter(|(user, _)| !gone().contains(user));
        assert!(after.into_iter().eq(kept), "{model}");
        for place in ["data-a", "model-a"] {
            assert_eq!(shop.verify(place)["users_forgotten"], 5, "{model}");
            assert!(
                gone()
                    .iter()
                    .all(|user| holders(&shop.path(place), user).is_empty())
            );
        }
        // Views are made anew for training, tiles too, and hold nothing either; one more epoch goes on from what there is.
        json_of(&mut shop.verb("train", "a"));
        assert_eq!(shop.verify("data-a")["users_forgotten"], 5, "{model}");
        let mut update = shop.verb("update", "a");
        update.arg(format!(
            "--set=update.files={}",
            shop.path("second.parquet").display()
        ));
        let updated = json_of(update.arg("--set=update.epochs=1"));
        assert!(updated["train"]["digest"].is_string(), "{model}");
        assert_eq!(shop.verify("data-a")["users_forgotten"], 5, "{model}");
    }
}

#[test]
fn a_killed_forget_is_finished_by_the_next() {
    let als = "kind = \"als\"\npreset = \"hu\"\nrank = 8\nepochs = 2";
    let shop = Shop::of(als, "");
    for places in ["a", "b"] {
        json_of(&mut shop.verb("ingest", places));
        shop.update(places);
        json_of(&mut shop.verb("train", places));
    }
    let reference = json_of(&mut shop.forget("a", &gone()));
    for milliseconds in [30, 60, 90, 120, 150, 200, 250] {
        let mut killed = shop.forget("b", &gone());
        let killed = killed.stdout(std::process::Stdio::null());
        let mut killed = killed.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        killed.kill().unwrap();
        killed.wait().unwrap();
        // Whatever was reached, the data set can be read.
        json_of(
            coordinator()
                .args(["--json", "inspect"])
                .arg(shop.path("data-b")),
        );
    }
    // The last one finishes, or finds all of it done.
    let last = output_of(&mut shop.forget("b", &gone()));
    assert!([0, 65].contains(&last.status.code().unwrap()), "{last:?}");
    for place in ["data-b", "model-b"] {
        assert_eq!(shop.verify(place)["users_forgotten"], 6, "{place}");
        assert!(
            gone()
                .iter()
                .all(|user| holders(&shop.path(place), user).is_empty())
        );
    }
    let update = json_of(&mut shop.verb("update", "b"));
    assert_eq!(update["digest"], reference["digest"]);
    assert!(shop.lists("a") == shop.lists("b"));
}

#[test]
fn who_cannot_be_forgotten_is_refused_in_words() {
    let als = "kind = \"als\"\npreset = \"hu\"\nrank = 4\nepochs = 1";
    let shop = Shop::of(als, "");
    let (code, sentence) = refusal(&mut shop.forget("a", &gone()));
    assert!(
        code == 69 && sentence.contains("holds no data set"),
        "{sentence}"
    );
    json_of(&mut shop.verb("ingest", "a"));
    let (code, sentence) = refusal(&mut shop.verb("forget", "a"));
    assert!(
        code == 64 && sentence.contains("--users <FILE>"),
        "{sentence}"
    );
    let unknown: Vec<String> = (900..912).map(customer).collect();
    let (code, sentence) = refusal(&mut shop.forget("a", &unknown));
    assert!(
        code == 65 && sentence.ends_with("Kundin-0909-Zürich and 2 more"),
        "{sentence}"
    );
    let (code, sentence) = refusal(&mut shop.forget("a", &[]));
    assert!(
        code == 65 && sentence.ends_with("gone.txt names no user: give a file with ids"),
        "{sentence}"
    );
    let table = |file: &str| {
        let mut forget = shop.verb("forget", "a");
        forget
            .arg("--users")
            .arg(shop.path(&format!("{file}.parquet")));
        refusal(&mut forget)
    };
    let (code, sentence) = table("follows");
    assert!(
        code == 65 && sentence.ends_with("has no column `customer`: it has `who`, `whom`; name the column of ids so, or write it alone"),
        "{sentence}"
    );
    let numbers: Int64Array = (0..3).map(Some).collect();
    shop.put("numbers", vec![("customer", std::sync::Arc::new(numbers))]);
    let (code, sentence) = table("numbers");
    assert!(
        code == 65
            && sentence.ends_with(
                "is Int64, but the ids of the data set are text: write them with one type"
            ),
        "{sentence}"
    );
    let (code, _) = table("missing");
    assert_eq!(code, 69);
    // Nothing of that has touched the data set; a table with the column does.
    assert_eq!(shop.verify("data-a").get("users_forgotten"), None);
    let ids: StringArray = [3, 77].into_iter().map(|id| Some(customer(id))).collect();
    shop.put("some", vec![("who", text(ids))]);
    let mut forget = shop.verb("forget", "a");
    forget.arg("--users").arg(shop.path("some.parquet"));
    let found = json_of(forget.arg("--user").arg(customer(4)));
    assert_eq!(
        (found["forgotten"].as_u64(), found["models"].as_u64()),
        (Some(3), Some(0))
    );
}

fn week(seconds: i64) -> i64 {
    TimeBin::Week.index(seconds)
}

#[test]
fn what_is_left_is_what_an_ingest_without_them_finds() {
    let mut rows = some_rows(4000, 1);
    rows[0].seconds = 17_100 * DAY;
    let (first, second) = rows.split_at(3000);
    let gone = |row: &Row| row.user % 9 == 4;
    let file = |rows: &[Row]| {
        let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
        let products: StringArray = rows
            .iter()
            .map(|row| Some(format!("p{}", row.product)))
            .collect();
        let days = rows.iter().map(|row| Some((row.seconds / DAY) as i32));
        let days: arrow::array::Date32Array = days.collect();
        let values = rows.iter().map(|row| Some(row.value));
        let values: arrow::array::Float64Array = values.collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("u", std::sync::Arc::new(users)),
            ("p", text(products)),
            ("t", std::sync::Arc::new(days)),
            ("v", std::sync::Arc::new(values)),
        ];
        parquet_of(columns, 700)
    };
    let left: Vec<Row> = rows.iter().filter(|row| !gone(row)).cloned().collect();
    for duplicates in [
        Duplicates::Sum,
        Duplicates::Max,
        Duplicates::Last,
        Duplicates::Count,
    ] {
        let spec = ScanSpec {
            duplicates,
            ..spec()
        };
        let mut found = ingest(&inputs(&[file(first)]), &spec);
        found.try_update(&inputs(&[file(second)]), &spec).unwrap();
        let ids = found.ids(&found.data.user);
        let whom = ids
            .iter()
            .filter(|(_, id)| id.parse::<i64>().unwrap() % 9 == 4);
        let whom: Vec<u32> = whom.map(|(row, _)| *row).collect();
        assert!(whom.len() > 3);
        let mut program = Compact::without(found.data.clone(), whom);
        found.world.run(&mut program, &exec::begin).unwrap();
        found.data = program.into_data_set().unwrap();
        let mut program =
            BuildViews::new(found.data.clone(), vec![ViewSpec::whole(SplitPart::Train)]);
        found.world.run(&mut program, &exec::begin).unwrap();
        let view = program.into_views().unwrap().remove(0);
        let product = |id: i64| format!("p{id}");
        let expected = naive(&left, week, duplicates, |id| id.to_string(), product);
        assert_eq!(found.named(&view.partitions), expected, "{duplicates:?}");
    }
}
