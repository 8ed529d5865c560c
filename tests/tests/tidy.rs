//! The house rules that no compiler holds: floors, privileges, documents that name what exists.
//!
//! A rule that must give way does so in a list here, with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may use, from the lowest floor to the highest (ARCHITECTURE.md, "Rooms").
const FLOORS: &[(&str, u32, &[&str])] = &[
    ("tensor", 0, &[]),
    ("kernels", 1, &["tensor"]),
    ("plan", 1, &["tensor"]),
    ("store", 1, &["tensor"]),
    ("model", 2, &["kernels", "tensor"]),
    ("tables", 2, &["store", "tensor"]),
    ("depot", 2, &["store", "tensor"]),
    ("wire", 2, &["plan", "tensor"]),
    ("exec", 3, &["model", "tables", "store", "plan", "tensor"]),
    ("worker", 4, &["exec", "depot", "wire", "tensor"]),
    (
        "coordinator",
        5,
        &[
            "plan", "model", "tables", "worker", "depot", "wire", "tensor",
        ],
    ),
    ("python", 6, &["coordinator"]),
];

/// Uses beyond the table. All of them go down.
const MORE_USES: &[(&str, &str, &str)] = &[
    (
        "exec",
        "kernels",
        "hands the chosen instruction set and the scratch to ops",
    ),
    ("worker", "plan", "assignments and failures are its types"),
    (
        "worker",
        "store",
        "owns the cache directory of a process, and gives its memory back",
    ),
    (
        "worker",
        "kernels",
        "chooses the instruction set once, at its start",
    ),
    (
        "coordinator",
        "exec",
        "the probe's programs, and the settings of embedded workers",
    ),
    (
        "coordinator",
        "store",
        "the cache directory of an embedded worker, the run journal, and the allocator of a process",
    ),
    (
        "coordinator",
        "kernels",
        "names the instruction sets of --simd",
    ),
    (
        "python",
        "tables",
        "stages the caller's tables, and reads back what verbs wrote",
    ),
    (
        "python",
        "plan",
        "its own failures are of the kinds of the command line",
    ),
    ("python", "tensor", "hears the news of programs"),
    ("python", "worker", "a wheel carries the daemon, too"),
];

/// A word that only some may write. Comments do not count.
struct Privilege {
    what: &'static str,
    words: &'static [&'static str],
    crates: &'static [&'static str],
}

const PRIVILEGES: &[Privilege] = &[
    Privilege {
        what: "unsafe code",
        words: &[
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "allow(unsafe_code)",
        ],
        crates: &["kernels", "store", "python"],
    },
    Privilege {
        what: "maps of files",
        words: &["memmap2", "libc::mmap", "Mmap::map", "MmapOptions"],
        crates: &["store"],
    },
    Privilege {
        what: "the allocator",
        words: &["libc::mallopt", "libc::malloc_trim"],
        crates: &["store"],
    },
    Privilege {
        what: "object stores",
        words: &["object_store::"],
        crates: &["depot"],
    },
    Privilege {
        what: "RPC",
        words: &["tonic::", "tonic_"],
        crates: &["wire", "worker", "coordinator"],
    },
    Privilege {
        what: "the clock",
        words: &["Instant::now", "SystemTime", "UNIX_EPOCH"],
        crates: &["worker", "coordinator", "python"],
    },
    Privilege {
        what: "Parquet",
        words: &["parquet::"],
        crates: &["tables"],
    },
    Privilege {
        what: "bincode",
        words: &["bincode::"],
        crates: &["store"],
    },
    Privilege {
        what: "hash order",
        words: &["HashMap", "HashSet"],
        crates: &[
            "store",
            "tables",
            "depot",
            "wire",
            "exec",
            "worker",
            "coordinator",
        ],
    },
    Privilege {
        what: "Python",
        words: &["pyo3::"],
        crates: &["python"],
    },
];

/// Lines of a source that are not worth a split: one idea each.
const LONG: &[(&str, &str)] = &[
    (
        "crates/model/tests/half_step.rs",
        "one naive problem in f64, and every way to solve a mode of it compared with it",
    ),
    (
        "tests/tests/simulation.rs",
        "one simulated world, and every trouble that befalls it",
    ),
    (
        "crates/plan/tests/laws.rs",
        "one random world and the laws it must keep, read side by side",
    ),
    (
        "crates/plan/tests/scripts.rs",
        "one language of scripts, and every decision of the plan in it",
    ),
    (
        "tests/tests/als.rs",
        "one bed of data, and all that training on it must keep, with the objective written naively beside",
    ),
    (
        "tests/tests/evaluate.rs",
        "the naive evaluation in memory beside everything that is compared with it",
    ),
];

/// A reminder, not a law: beyond it a file needs a reason in `LONG`.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where a crate lies.
fn folder(name: &str) -> String {
    if name == "python" {
        name.to_owned()
    } else {
        format!("crates/{name}")
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory with an ending, sorted, as paths relative to the root.
fn files(below: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The code of a source: comments go, strings stay.
fn code(source: &str) -> String {
    source
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Ends the test with all findings at once.
fn none(findings: &str) {
    assert!(findings.is_empty(), "\n{findings}");
}

#[test]
fn dependencies_only_go_down() {
    let floors: BTreeMap<&str, u32> = FLOORS
        .iter()
        .map(|(name, floor, _)| (*name, *floor))
        .collect();
    let mut findings = String::new();
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    for name in crates.chain(["python".to_owned()]) {
        let Some((_, floor, allowed)) = FLOORS.iter().find(|(known, _, _)| *known == name) else {
            writeln!(
                findings,
                "crates/{name} has no floor: give it one here and in ARCHITECTURE.md"
            )
            .unwrap();
            continue;
        };
        let manifest: toml::Table = read(&root().join(folder(&name)).join("Cargo.toml"))
            .parse()
            .unwrap();
        for section in ["dependencies", "build-dependencies"] {
            let uses = manifest.get(section).and_then(toml::Value::as_table);
            for used in uses.into_iter().flat_map(toml::Table::keys) {
                let Some(below) = floors.get(used.as_str()) else {
                    continue;
                };
                let listed = MORE_USES
                    .iter()
                    .any(|(who, what, _)| *who == name && what == used);
                if below >= floor || !(allowed.contains(&used.as_str()) || listed) {
                    writeln!(
                        findings,
                        "{name} uses {used}, which is not below it in the table"
                    )
                    .unwrap();
                }
            }
        }
    }
    for (who, what, _) in MORE_USES {
        assert!(
            floors[what] < floors[who],
            "the exception {who} -> {what} goes up"
        );
    }
    none(&findings);
}

#[test]
fn privileges_stay_in_their_rooms() {
    let mut findings = String::new();
    for (name, _, _) in FLOORS {
        for file in files(&format!("{}/src", folder(name)), ".rs") {
            let code = code(&read(&root().join(&file)));
            for privilege in PRIVILEGES
                .iter()
                .filter(|privilege| !privilege.crates.contains(name))
            {
                for word in privilege.words.iter().filter(|word| code.contains(**word)) {
                    writeln!(
                        findings,
                        "{file}: `{word}`: {} belongs to {:?}",
                        privilege.what, privilege.crates
                    )
                    .unwrap();
                }
            }
        }
    }
    for file in files("crates/store/src", ".rs")
        .iter()
        .filter(|file| !file.ends_with("journal.rs"))
    {
        if code(&read(&root().join(file))).contains("bincode::") {
            writeln!(
                findings,
                "{file}: bincode is for journal.rs alone (deny.toml says why)"
            )
            .unwrap();
        }
    }
    none(&findings);
}

/// The rooms of unsafe code; that of `kernels` is wherever SIMD is.
const UNSAFE: &[(&str, &str)] = &[
    (
        "crates/store/src/map.rs",
        "maps of sealed files, advice and allocation by the kernel",
    ),
    (
        "crates/store/src/heap.rs",
        "what is freed goes back to the machine: std has no word for it",
    ),
    (
        "crates/store/src/huge.rs",
        "buffers that share huge pages: the allocator gives none",
    ),
    (
        "python/src/verbs.rs",
        "the C stream interface of Arrow is a pointer in a capsule",
    ),
];

#[test]
fn unsafe_code_is_where_it_is_listed() {
    let found: Vec<String> = ["crates/store/src", "python/src"]
        .iter()
        .flat_map(|below| files(below, ".rs"))
        .filter(|file| code(&read(&root().join(file))).contains("allow(unsafe_code)"))
        .collect();
    let mut listed: Vec<&str> = UNSAFE.iter().map(|(file, _)| *file).collect();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn unsafe_blocks_state_their_claim() {
    let mut findings = String::new();
    for file in ["crates", "python/src"]
        .iter()
        .flat_map(|below| files(below, ".rs"))
    {
        let source = read(&root().join(&file));
        let opens = code(&source).matches("unsafe {").count();
        let claims = source.matches("SAFETY").count();
        if opens > 0 && claims == 0 {
            writeln!(
                findings,
                "{file}: {opens} unsafe blocks and no `SAFETY:` claim"
            )
            .unwrap();
        }
    }
    none(&findings);
}

#[test]
fn every_source_says_what_it_is_and_leaves_nothing_open() {
    // Spelt so that this file does not find itself.
    let open = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    let mut findings = String::new();
    for file in ["crates", "python/src", "tests", "benches"]
        .iter()
        .flat_map(|below| files(below, ".rs"))
    {
        if file.starts_with("target") || file.contains("/target/") {
            continue;
        }
        let source = read(&root().join(&file));
        if !source.starts_with("//!") {
            writeln!(findings, "{file} does not open with what it is (`//!`)").unwrap();
        }
        for word in open.iter().filter(|word| source.contains(**word)) {
            writeln!(findings, "{file}: `{word}`").unwrap();
        }
        let lines = source.lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(long, _)| *long == file) {
            writeln!(
                findings,
                "{file} has {lines} lines: is it one idea? Then list it with its reason"
            )
            .unwrap();
        }
    }
    none(&findings);
}

/// Paths in back quotes or links of a document. `target/...` is made by running things.
fn named_paths(document: &str) -> Vec<String> {
    let tops = [
        "crates/",
        "docs/",
        "deploy/",
        "examples/",
        "tests/",
        "benches/",
        "proto/",
        "python/",
        ".ci/",
    ];
    let mut paths = Vec::new();
    for word in document.split(|c: char| c.is_whitespace() || "`()[]\"',;".contains(c)) {
        let word = word.trim_end_matches(['.', ':']);
        let top_file = [
            "README.md",
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "LICENSE",
            "deny.toml",
        ]
        .contains(&word);
        if top_file || tops.iter().any(|top| word.starts_with(top)) {
            paths.push(word.to_owned());
        }
    }
    paths
}

#[test]
fn documents_name_what_exists() {
    let mut findings = String::new();
    let mut documents = vec![
        "README.md".to_owned(),
        "ARCHITECTURE.md".to_owned(),
        "CHANGELOG.md".to_owned(),
    ];
    documents.extend(files("docs", ".md"));
    for document in documents {
        let path = root().join(&document);
        let folder = path.parent().unwrap().to_path_buf();
        for named in named_paths(&read(&path)) {
            if !root().join(&named).exists() && !folder.join(&named).exists() {
                writeln!(findings, "{document} names {named}, which is not there").unwrap();
            }
        }
    }
    none(&findings);
}

#[test]
fn the_page_of_settings_is_that_of_the_registry() {
    let page = read(&root().join("docs/settings.md"));
    assert_eq!(
        page,
        coordinator::job::describe::page(),
        "write it anew: cargo run --bin coordinator -- config --describe > docs/settings.md"
    );
}

#[test]
fn the_readme_shows_the_demo_job_as_it_is() {
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        });
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    let readme = read(&root().join("README.md"));
    let shown = readme
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a TOML block");
    assert_eq!(
        bare(shown),
        bare(&read(&root().join("examples/complete-journey/job.toml")))
    );
}
