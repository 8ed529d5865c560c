//! The report: one page that says the same for the same model, that nothing in the data can break, and in which a browser finds no
//! fault.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use roxmltree::{Document, ParsingOptions};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tests::browser::Browser;
use tests::jobs::{Data, Inputs, Job};
use tests::process::{coordinator, json_of, output_of};

/// A tensor with all that a report tells of.
const TENSOR: &str = "rank = 5\nepochs = 4\ntime = \"factor\"\npatience = 3";
const BINS: &str = "validation_bins = 1\ntest_bins = 1";

fn sections(page: &str) -> Vec<String> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(page, options).expect("a well-formed page");
    let sections = document
        .descendants()
        .filter(|node| node.has_tag_name("section"));
    sections
        .filter_map(|node| node.attribute("id"))
        .map(str::to_owned)
        .collect()
}

/// All but what the run took.
fn lasting(page: &str) -> String {
    let (before, rest) = page
        .split_once("<section id=\"work\"")
        .expect("the section");
    let (_, after) = rest.split_once("</section>").expect("its end");
    format!("{before}{after}")
}

fn written(report: &Value) -> String {
    let file = report["file"].as_str().expect("a file");
    let page = fs::read_to_string(file).expect("the page");
    assert_eq!(report["bytes"], page.len());
    page
}

fn setting(file: &Path) -> String {
    format!("output.report.file={}", file.display())
}

#[test]
fn the_same_model_has_the_same_page_whoever_makes_it() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, TENSOR, BINS);
    let file = setting(&job.folder().join("deep/run.html"));
    let ran = json_of(&mut job.command("run", &["--set", &file]));
    let page = written(&ran["report"]);
    let expected = [
        "quality", "training", "time", "users", "examples", "data", "work", "origin",
    ];
    assert_eq!(sections(&page), expected);
    let digest = ran["digest"].as_str().expect("a digest");
    assert!(
        page.contains(digest),
        "the page names the digest of its factors"
    );
    let all = ran["ingest"]["interactions"].as_u64().expect("a count");
    let (thousands, rest) = (all / 1000, all % 1000);
    assert!(page.contains(&format!("{thousands},{rest:03} interactions")));
    for slice in ["heavy users", "rare products"] {
        assert!(page.contains(slice), "{slice}");
    }
    for phase in ["Reading the data", "Training", "Evaluation"] {
        assert!(page.contains(phase), "{phase}");
    }

    // Another process, other workers: it evaluates again, and reads the curve and the phases beside the model.
    let file = setting(&job.folder().join("again.html"));
    let again = json_of(&mut job.command("report", &["--workers", "3", "--set", &file]));
    let again = written(&again);
    assert_eq!(lasting(&again), lasting(&page));
    assert!(
        again.contains("Reading the data"),
        "phases of the run that trained"
    );

    // And another training, elsewhere.
    let other = Job::new(&inputs, Data::Small, TENSOR, BINS);
    let file = setting(&other.folder().join("other.html"));
    let ran = json_of(&mut other.command("run", &["--workers", "3", "--set", &file]));
    assert_eq!(lasting(&written(&ran["report"])), lasting(&page));
}

/// Compares a few models, and writes their page.
fn advised(job: &Job, page: &Path) -> Value {
    let some = "advise.models=matrix,spectral";
    let enough = "advise.seconds=100000";
    let page = setting(page);
    json_of(&mut job.command("advise", &["--set", some, "--set", enough, "--set", &page]))
}

#[test]
fn a_comparison_has_a_page_of_its_own() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 5", BINS);
    let told = advised(&job, &job.folder().join("page.html"));
    let file = told["report"]["file"].as_str().expect("a file");
    assert!(
        file.ends_with("page.advice.html"),
        "{file}: that of a model keeps its name"
    );
    let page = written(&told["report"]);
    assert_eq!(sections(&page), ["advice", "data", "origin"]);
    for task in ["new_products", "all_products"] {
        let model = told["tasks"][task]["model"].as_str().expect("a model");
        let task = task.replace('_', " ");
        let table = format!("Models for {task}; the one to use is marked");
        let (_, table) = page.split_once(&table).expect("its table");
        let (_, marked) = table
            .split_once("<tr class=\"model\">")
            .expect("a marked row");
        let name = format!("<th scope=\"row\"><bdi class=\"id\">{model}</bdi>");
        assert!(marked.starts_with(&name), "{model}");
    }
    let said = told["verdict"][0]["text"].as_str().expect("a sentence");
    let start: String = said
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == ' ')
        .collect();
    assert!(page.contains(&format!("<li>{start}")), "{said}");
    for part in [
        "Models for new products",
        "Models for all products",
        "heavy users",
        "spectral",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("coordinator advise JOB.toml"));
}

#[test]
fn what_a_model_lacks_is_left_out() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 5\nepochs = 1", "");
    let ran = json_of(&mut job.command("run", &[]));
    assert_eq!(ran.get("report"), None, "no report was asked for");
    // Where nobody says, the page lies where the verb was started.
    let mut command = job.command("report", &[]);
    let mut report = json_of(command.current_dir(job.folder()));
    assert_eq!(report["file"], "report.html");
    report["file"] = job
        .folder()
        .join("report.html")
        .display()
        .to_string()
        .into();
    let page = written(&report);
    assert_eq!(
        sections(&page),
        ["users", "examples", "data", "work", "origin"]
    );
    assert!(page.contains("nothing is held out that could tell how good it is"));
}

/// The page of a job whose lists obey rules tells their price, as `evaluate` does.
#[test]
fn the_price_of_rules_is_on_the_page() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 5\nepochs = 2", BINS);
    let deny = job.folder().join("deny.txt");
    let ids: Vec<String> = (0..3_000)
        .step_by(2)
        .map(|id: i64| id.to_string())
        .collect();
    fs::write(&deny, ids.join("\n")).expect("a list");
    let rules = format!("output.rules.deny={}", deny.display());
    let file = setting(&job.folder().join("page.html"));
    let ran = json_of(&mut job.command("run", &["--set", &rules, "--set", &file]));
    let told = json_of(&mut job.command("evaluate", &["--set", &rules]));
    let cost = &told["differences"]["new_products"]["model_with_rules"];
    assert_eq!(
        &ran["evaluation"]["differences"]["new_products"]["model_with_rules"],
        cost
    );
    let page = written(&ran["report"]);
    let cost = cost["ndcg@20"]["difference"].as_f64().expect("a price");
    assert!(cost > 0.0, "half of the products are barred: {cost}");
    assert!(page.contains("This model under the rules"), "its row");
    let [left, all] = ["candidates_with_rules", "candidates"].map(|key| {
        let count = told[key].as_u64().expect("a count");
        match count / 1000 {
            0 => count.to_string(),
            thousands => format!("{thousands},{:03}", count % 1000),
        }
    });
    let sentence = format!("The job's rules of lists leave {left} of {all} products.");
    let page = page.replace("&#39;", "'").replace("&apos;", "'");
    assert!(page.contains(&sentence), "{sentence}");
    // Without rules there is nothing to tell.
    let plain = written(&json_of(&mut job.command("report", &["--set", &file])));
    assert!(!plain.contains("under the rules"));
}

/// Models of values have errors and no lists to be measured by, and amounts that are no counts.
#[test]
fn values_are_told_by_their_errors() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::over(
        &inputs.folder().join("small.parquet"),
        "user = \"user\"\nproduct = \"product\"\nvalue = \"value\"\nduplicates = \"last\"",
        "kind = \"als\"\npreset = \"explicit\"\nrank = 3\nepochs = 2",
        "test_fraction = 0.2",
    );
    let file = setting(&job.folder().join("report.html"));
    let ran = json_of(&mut job.command("run", &["--set", &file]));
    let page = written(&ran["report"]);
    let expected = [
        "quality", "training", "users", "examples", "data", "work", "origin",
    ];
    assert_eq!(sections(&page), expected);
    let rmse = ran["evaluation"]["rmse"].as_f64().expect("an error");
    for part in [
        "than averages of users and products do",
        "Errors on what was held out",
        "20.0 % of the interactions, taken at random",
        "<small>value ",
        &format!("{rmse:.4}"),
    ] {
        assert!(page.contains(part), "{part}");
    }
}

/// Ids that try to be more than text.
fn hostile(path: &Path) {
    let id = |kind: &str, number: usize| match number % 4 {
        0 => format!("<script>alert('{kind} {number}')</script>"),
        1 => format!("\"><img src=x onerror=alert({number})>"),
        2 => format!("{kind} & {number} \u{202e}\u{1b}[31m</title></style>"),
        _ => format!("{}{number}", "W".repeat(5000)),
    };
    let pairs: Vec<(usize, usize)> = (0..80)
        .flat_map(|user| (0..15).map(move |turn| (user, (user * 7 + turn * turn) % 60)))
        .collect();
    let users: StringArray = pairs.iter().map(|pair| Some(id("user", pair.0))).collect();
    let products: StringArray = pairs
        .iter()
        .map(|pair| Some(id("product", pair.1)))
        .collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("user", Arc::new(users)), ("product", Arc::new(products))];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(path).expect("the file can be made");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the file is closed");
}

/// A job on hostile ids, and its page.
fn hostile_page() -> (Job, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hostile.parquet");
    hostile(&file);
    let job = Job::over(
        &file,
        "user = \"user\"\nproduct = \"product\"",
        "kind = \"als\"\npreset = \"hu\"\nrank = 4\nepochs = 2",
        "test_fraction = 0.2\nvalidation_fraction = 0.1",
    );
    let page = job.folder().join("report.html");
    json_of(&mut job.command("run", &["--set", &setting(&page)]));
    (job, page)
}

#[test]
fn hostile_ids_are_text() {
    let (_job, file) = hostile_page();
    let page = fs::read_to_string(file).expect("the page");
    assert!(sections(&page).contains(&"examples".to_owned()));
    assert!(
        page.contains("&lt;script&gt;alert("),
        "an id shows as it is"
    );
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.len() < 500_000, "{} bytes: ids are cut", page.len());
}

#[test]
fn what_cannot_be_done_is_told() {
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, "rank = 4\nepochs = 1", BINS);
    let fails = |command: &mut Command, code: i32, sentence: &str| {
        let output = output_of(command);
        let said: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let message = said["error"]["message"]
            .as_str()
            .expect("a sentence")
            .to_owned();
        assert!(message.contains(sentence), "{message}");
        assert_eq!(output.status.code(), Some(code), "{message}");
    };
    fails(&mut job.command("report", &[]), 69, "ingest");
    json_of(&mut job.command("ingest", &[]));
    fails(&mut job.command("report", &[]), 69, "holds no model");
    json_of(&mut job.command("train", &[]));
    let url = ["--set", "output.report.file=s3://bucket/report.html"];
    fails(
        &mut job.command("report", &url),
        78,
        "`output.report.file`: s3://bucket/report.html is a URL",
    );
    let inside = setting(&job.model().join("report.html"));
    fails(
        &mut job.command("report", &["--set", &inside]),
        78,
        "`output.report.file`",
    );
    // A folder is in the way: what is there stays, and nothing is left beside it.
    let taken = job.folder().join("taken");
    fs::create_dir_all(taken.join("full")).expect("a folder");
    fails(
        &mut job.command("report", &["--set", &setting(&taken)]),
        74,
        "taken cannot be written",
    );
    assert!(taken.join("full").is_dir() && !job.folder().join("taken.part").exists());
}

#[test]
fn help_teaches_the_verb() {
    let mut command = coordinator();
    let output = output_of(command.args(["report", "--help"]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("one HTML file for people") && text.contains("output.report.file=model.html"),
        "{text}"
    );
}

/// What a browser must say of a page.
fn is_sound(found: &Value) {
    for view in ["light", "dark", "phone"] {
        let of = &found[view];
        let none = Value::Array(Vec::new());
        assert_eq!(of["violations"], none, "{view}: accessibility");
        assert_eq!(of["said"], none, "{view}: console");
        assert_eq!(of["asked"], none, "{view}: requests");
        assert!(
            of["passed"].as_u64().is_some_and(|rules| rules > 15),
            "{view}: {of}"
        );
    }
    assert_eq!(
        found["phone"]["width"], 390,
        "a phone scrolls in one direction only"
    );
    assert_eq!(found["background"], "rgb(255, 255, 255)");
    assert_ne!(
        found["dark_background"], found["background"],
        "dark is dark"
    );
    assert_eq!(
        found["paper_background"], found["background"],
        "paper is white"
    );
}

#[test]
fn a_browser_finds_no_fault() {
    let browser = match Browser::find(env!("CARGO_TARGET_TMPDIR")) {
        Ok(browser) => browser,
        Err(why) => {
            eprintln!("NOTICE: the report was not opened in a browser: {why}");
            return;
        }
    };
    let inputs = Inputs::of(&[Data::Small]);
    let job = Job::new(&inputs, Data::Small, TENSOR, BINS);
    let page = job.folder().join("report.html");
    json_of(&mut job.command("run", &["--set", &setting(&page)]));
    let advice = tempfile::tempdir().expect("a temporary folder");
    let told = advised(&job, &advice.path().join("page.html"));
    let advice_page = PathBuf::from(told["report"]["file"].as_str().expect("a file"));
    let (other, hostile) = hostile_page();
    for (page, folder) in [
        (page, job.folder()),
        (hostile, other.folder()),
        (advice_page, advice.path()),
    ] {
        let found = match browser.look(&page, folder) {
            Ok(found) => found,
            Err(why) => panic!("the browser is there and does not work: {why}"),
        };
        is_sound(&found);
        for picture in ["light.png", "dark.png", "phone.png", "paper.pdf"] {
            let bytes = fs::metadata(folder.join(picture)).map_or(0, |of| of.len());
            assert!(bytes > 10_000, "{picture}: {bytes} bytes");
        }
    }
}
