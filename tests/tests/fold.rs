//! Folding in: who has new interactions is solved as a half-step on the whole history solves him, and nobody else moves.

use arrow::array::{AsArray, Float32Array, Int64Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use tests::generate;
use tests::process::{coordinator, json_of, output_of};

/// The bits of the factors of each id.
type Bits = BTreeMap<i64, Vec<u32>>;

struct Shop {
    folder: tempfile::TempDir,
    /// Users of the second file.
    touched: BTreeSet<i64>,
}

fn draw(seed: i64) -> i64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
    ((mixed ^ mixed >> 29).unsigned_abs() >> 8).cast_signed()
}

impl Shop {
    fn of(model: &str, input: &str) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        // A few old users and a few new ones come again, for products that all were bought before.
        let row = |i: i64, user: i64| {
            let product = draw(i + 1_000_000) % 60;
            let value = 1.0 + (draw(i + 2_000_000) % 4) as f32;
            (user, product, (17_003 + draw(i) % 70) * 86_400, value)
        };
        let first: Vec<_> = (0..9000)
            .map(|i| row(i, draw(i + 3_000_000) % 300))
            .collect();
        let user = |i| 290 + draw(i + 3_000_000) % 20;
        let second: Vec<_> = (20_000..20_150).map(|i| row(i, user(i))).collect();
        let touched = second.iter().map(|row| row.0).collect();
        let shop = Shop { folder, touched };
        generate::write(&shop.path("first.parquet"), &first);
        generate::write(&shop.path("second.parquet"), &second);
        let job = format!(
            "[input]\nfiles = [\"first.parquet\"]\nuser = \"user\"\nproduct = \"product\"\ntime = \"seconds\"\n{input}\n\
             [split]\ntest_fraction = 0.2\n[model]\nkind = \"als\"\nrank = 8\nepochs = 3\n{model}\n\
             [output]\ndata = \"data\"\nmodel = \"model\"\n"
        );
        std::fs::write(shop.path("job.toml"), job).unwrap();
        shop
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

    fn update(&self, places: &str, settings: &[&str]) -> Command {
        let mut update = self.verb("update", places);
        let file = self.path("second.parquet");
        update.arg(format!("--set=update.files={}", file.display()));
        update.args(settings);
        update
    }

    /// The factors of users and of products.
    fn factors(&self, places: &str) -> (Bits, Bits) {
        let folder = self.path("factors");
        let mut export = self.verb("export", places);
        json_of(export.arg(format!("--set=output.export.folder={}", folder.display())));
        let read = |name: &str| {
            let file = std::fs::File::open(folder.join(name)).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let mut bits = Bits::new();
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                let ids: &Int64Array = batch.column(0).as_primitive();
                let rows = batch.column(1).as_fixed_size_list();
                for row in 0..batch.num_rows() {
                    let factors = rows.value(row);
                    let factors: &Float32Array = factors.as_primitive();
                    let of_row = (0..factors.len()).map(|at| factors.value(at).to_bits());
                    bits.insert(ids.value(row), of_row.collect());
                }
            }
            bits
        };
        (read("user.parquet"), read("product.parquet"))
    }
}

fn refusal(command: &mut Command) -> (i32, String) {
    let output = output_of(command);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["error"]["message"].as_str().unwrap().to_owned();
    (output.status.code().unwrap(), message)
}

const FOLD: &str = "--set=update.fold_in=true";

#[test]
fn who_is_touched_is_solved_as_by_a_half_step_and_nobody_else_moves() {
    for (model, input) in [
        ("preset = \"hu\"", "duplicates = \"count\""),
        (
            "preset = \"explicit\"\nbiases = true\nsolver = \"cg\"",
            "duplicates = \"last\"\nvalue = \"value\"",
        ),
    ] {
        let shop = Shop::of(model, input);
        for places in ["a", "b", "c", "d"] {
            json_of(&mut shop.verb("ingest", places));
            json_of(&mut shop.verb("train", places));
        }
        let (users, products) = shop.factors("a");
        let folded = json_of(&mut shop.update("a", &[FOLD]));
        assert_eq!(
            folded["train"]["epochs"].as_array().unwrap().len(),
            1,
            "{model}"
        );
        let (after, moved) = shop.factors("a");
        assert_eq!(moved, products, "products do not move");
        // An epoch begins with the half-step of users on everything.
        json_of(&mut shop.update("b", &["--set=update.epochs=1"]));
        let (half_step, _) = shop.factors("b");
        for (user, row) in &after {
            if shop.touched.contains(user) {
                assert_eq!(Some(row), half_step.get(user), "{user} {model}");
                assert_ne!(Some(row), users.get(user), "{user} {model}");
            } else {
                assert_eq!(Some(row), users.get(user), "{user} {model}");
            }
        }
        assert!(shop.touched.iter().all(|user| after.contains_key(user)));
        assert!(
            users
                .iter()
                .filter(|(user, row)| half_step[*user] != **row)
                .count()
                > 200
        );
        // In two commands, as after a kill behind the first, and on other workers: the same model.
        json_of(&mut shop.update("c", &[]));
        let later = json_of(&mut shop.update("c", &[FOLD, "--workers", "2"]));
        assert_eq!(
            later["train"]["digest"], folded["train"]["digest"],
            "{model}"
        );
        // Where nothing tells any more who was touched, all users are.
        json_of(&mut shop.update("d", &["--set=update.deltas_max=0"]));
        json_of(&mut shop.update("d", &[FOLD]));
        let (all, _) = shop.factors("d");
        assert_eq!(all, half_step, "{model}");
        // Given again, nothing happens; the model serves.
        let again = json_of(&mut shop.update("a", &[FOLD]));
        assert_eq!((&again["reused"], again.get("train")), (&true.into(), None));
        json_of(&mut shop.verb("evaluate", "a"));
        let lists = shop.path("lists.parquet");
        let mut recommend = shop.verb("recommend", "a");
        json_of(recommend.arg(format!("--set=output.recommend.file={}", lists.display())));
    }
}

#[test]
fn what_cannot_be_folded_is_refused_before_anything_is_added() {
    let shop = Shop::of("preset = \"hu\"", "duplicates = \"count\"");
    json_of(&mut shop.verb("ingest", "a"));
    let (code, sentence) = refusal(&mut shop.update("a", &[FOLD]));
    assert!(
        code == 69 && sentence.contains("holds no model to go on from"),
        "{sentence}"
    );
    json_of(&mut shop.verb("train", "a"));
    let (code, sentence) = refusal(&mut shop.update("a", &[FOLD, "--set=update.epochs=1"]));
    assert!(
        code == 78 && sentence.contains("an epoch folds users in already"),
        "{sentence}"
    );
    let job = std::fs::read_to_string(shop.path("job.toml")).unwrap();
    for (from, to, expected) in [
        (
            "test_fraction = 0.2",
            "test_bins = 1",
            "is not for a [split] by bins",
        ),
        (
            "epochs = 3",
            "epochs = 3\ntime = \"decay\"\nhalf_life = 4",
            "or that fade",
        ),
    ] {
        std::fs::write(shop.path("job.toml"), job.replace(from, to)).unwrap();
        let (code, sentence) = refusal(&mut shop.update("a", &[FOLD]));
        assert!(
            code == 78
                && sentence.contains(expected)
                && sentence.ends_with("set `update.epochs` = 1 instead"),
            "{sentence}"
        );
    }
    std::fs::write(shop.path("job.toml"), job).unwrap();
    let added = json_of(&mut shop.update("a", &[]));
    assert_eq!(added["reused"], false);
}
