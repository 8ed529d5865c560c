//! The pages for people tell the truth: commands, settings and code that stand in them exist, and the tutorial runs as it stands.

use coordinator::cli::arguments;
use coordinator::failure::Text;
use coordinator::job::document::Document;
use coordinator::job::keys;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use tests::pages;
use tests::process::{binary, coordinator, output_of};

/// Which test runs a page's Python.
const RUN_BY: &[(&str, &str)] = &[
    ("docs/churn.md", "tests/tests/churn.rs"),
    ("docs/embeddings.md", "tests/tests/export.rs"),
    ("docs/formats.md", "tests/tests/docs.rs"),
    ("docs/python.md", "tests/tests/python.rs"),
    ("docs/python-clusters.md", "tests/tests/clusters.rs"),
    ("docs/recommend.md", "tests/tests/explain.rs"),
    ("docs/segments.md", "tests/tests/segments.rs"),
    ("docs/tutorial.md", "tests/tests/docs.rs"),
];

/// The commands of a block of shell: continued lines joined, comments gone.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| match line.split_once(" #") {
        Some((command, _)) => command.trim().to_owned(),
        None => line.trim().to_owned(),
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// The words of a command, quotes taken off.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words
}

/// What stands behind the last word that is none of ours: a variable for this command, another program before `&&`.
fn of_coordinator(command: &str) -> Option<Vec<String>> {
    let part = command.split("&&").find(|part| {
        let part = part.trim();
        part.starts_with("coordinator ") || part.contains("--bin coordinator -- ")
    })?;
    let part = part.split(['>', '|']).next()?;
    let words = words(part.trim());
    let at = words
        .iter()
        .position(|word| word == "--" || word == "coordinator")?;
    let at = match words.iter().position(|word| word == "--") {
        Some(cargo) => cargo,
        None => at,
    };
    Some(words[at + 1..].to_vec())
}

#[test]
fn commands_in_the_pages_are_understood() {
    let mut seen = 0;
    let known = output_of(Command::new(binary("worker")).arg("--help")).stdout;
    let known = String::from_utf8(known).unwrap();
    for name in pages::names() {
        for (language, code) in pages::blocks(&pages::page(&name)) {
            if !language.starts_with("sh") {
                continue;
            }
            for command in commands(&code) {
                if command.starts_with("worker ") {
                    let flags = words(&command);
                    let flags = flags.iter().filter(|word| word.starts_with("--"));
                    flags.for_each(|flag| assert!(known.contains(flag.as_str()), "{name}: {flag}"));
                }
                let Some(words) = of_coordinator(&command) else {
                    continue;
                };
                let all = std::iter::once("coordinator".to_owned()).chain(words);
                let parsed = arguments::parse(all.map(OsString::from).collect());
                let parsed =
                    parsed.unwrap_or_else(|failure| panic!("{name}: {command}: {failure}"));
                if let arguments::Parsed::Invocation(invocation) = parsed {
                    for (_, path, _) in &invocation.given.flags {
                        assert!(keys::find(path).is_some(), "{name}: {command}: {path}");
                    }
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn jobs_in_the_pages_are_understood() {
    let mut seen = 0;
    for name in pages::names() {
        for (language, code) in pages::blocks(&pages::page(&name)) {
            if language != "toml" {
                continue;
            }
            let document = Document::parse(Text {
                name: name.clone(),
                content: code,
            });
            let wrong: Vec<String> = document
                .complaints
                .iter()
                .map(|c| format!("{c:?}"))
                .collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen}");
}

/// Words in backticks that begin like a setting are one, or a section.
#[test]
fn settings_named_in_the_pages_exist() {
    let sections: BTreeSet<&str> = keys::KEYS.iter().map(keys::Key::section).collect();
    for name in pages::names() {
        let page = pages::page(&name);
        let prose: String = page.split("```").step_by(2).collect();
        for word in prose.split('`').skip(1).step_by(2) {
            let path = word.split([' ', '=']).next().unwrap_or_default();
            let is_path = path.contains('.')
                && path
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || "._".contains(c));
            let of_section = |section: &&&str| path.starts_with(&format!("{section}."));
            if is_path && sections.iter().any(|section| of_section(&section)) {
                let known = keys::find(path).is_some() || keys::is_section(path) || is_file(path);
                assert!(known, "{name}: `{word}` is no setting");
            }
        }
    }
}

/// Names like `model.json` are files.
fn is_file(path: &str) -> bool {
    let ends = [
        ".json", ".parquet", ".toml", ".npy", ".arrow", ".md", ".html", ".jsonl",
    ];
    ends.iter().any(|end| path.ends_with(end))
}

#[test]
fn code_in_the_pages_is_run_somewhere() {
    for name in pages::names() {
        if pages::blocks_of(&name, "python").is_empty() {
            continue;
        }
        let by = RUN_BY.iter().find(|(page, _)| *page == name);
        let Some((_, test)) = by else {
            panic!("{name} has Python that no test runs: run it, and say here which test does")
        };
        assert!(
            pages::page(test).contains(&name),
            "{test} says nothing of {name}"
        );
    }
}

/// Runs a block of shell. What it starts ends with it, whatever happens.
fn shell(code: &str, folder: &Path, path: &str) {
    let code = format!("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{code}");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &code]);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("STRATA_")) {
        bash.env_remove(key);
    }
    let output = output_of(bash.current_dir(folder).env("PATH", path));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{code}\n{said}");
}

/// From a clone to a verdict, in a folder that has the examples and nothing else; then a look at the files it left.
#[test]
fn the_tutorial_runs_as_it_stands() {
    let Some(python) = pages::readers(env!("CARGO_TARGET_TMPDIR"), "the tutorial") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::os::unix::fs::symlink(
        examples.canonicalize().unwrap(),
        folder.path().join("examples"),
    )
    .unwrap();
    let programs = binary("coordinator");
    let path = format!(
        "{}:{}",
        programs.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut blocks = pages::blocks(&pages::page("docs/tutorial.md"));
    let formats = pages::blocks(&pages::page("docs/formats.md"));
    assert!(formats.iter().all(|(language, _)| language == "python"));
    blocks.extend(formats);
    assert!(blocks[0].1.starts_with("cargo build"), "{:?}", blocks[0]);
    for (language, code) in &blocks[1..] {
        match language.as_str() {
            "python" => {
                pages::run(&python, code, folder.path());
            }
            "sh" => shell(code, folder.path(), &path),
            other => panic!("a block of {other:?}: how is it run?"),
        }
    }
    the_figures_are_those_of_the_page(folder.path());
}

/// NDCG@20 on new products, with two digits more than zeros, as the page tells it.
fn the_figures_are_those_of_the_page(folder: &Path) {
    let advice = std::fs::read_to_string(folder.join("shop/model/advise/advice.json")).unwrap();
    let advice: serde_json::Value = serde_json::from_str(&advice).unwrap();
    let text = advice.to_string();
    assert!(text.contains("matrix"), "{text}");
    let page = folder.join("shop/report.html");
    let report = std::fs::read_to_string(page).unwrap();
    let told = pages::page("docs/tutorial.md");
    for figure in [".0429", ".0350", ".3247", ".1903"] {
        assert!(told.contains(figure), "the page does not tell {figure}");
        assert!(report.contains(figure), "the report does not tell {figure}");
    }
}

#[test]
fn the_manual_and_the_completions_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let output = output_of(coordinator().arg("manual").arg(&man));
    assert!(output.status.success());
    let run = std::fs::read_to_string(man.join("coordinator-run.1")).unwrap();
    assert!(run.contains("JOB.toml"), "{run}");
    assert!(man.join("coordinator.1").exists() && man.join("worker.1").exists());
    let output = output_of(coordinator().args(["completions", "bash"]));
    let script = folder.path().join("script");
    std::fs::write(&script, &output.stdout).unwrap();
    let checked = output_of(Command::new("bash").arg("-n").arg(&script));
    assert!(checked.status.success() && !output.stdout.is_empty());
    let completed = r#"source "$1"; COMP_WORDS=(coordinator advi); COMP_CWORD=1; _coordinator coordinator advi coordinator; echo "${COMPREPLY[@]}""#;
    let output = output_of(
        Command::new("bash")
            .args(["-c", completed, "-"])
            .arg(&script),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), "advise");
    // A file stands where the folder should be.
    let output = output_of(coordinator().arg("manual").arg(&script));
    assert_eq!(output.status.code(), Some(74));
    let output = output_of(coordinator().args(["completions", "tcsh"]));
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("invalid value 'tcsh'"), "{said}");
}
