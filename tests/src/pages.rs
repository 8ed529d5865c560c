//! The pages for people, taken apart: their blocks of code, so that tests can run them as they stand.

use crate::process::output_of;
use crate::python::python;
use std::path::{Path, PathBuf};
use std::process::Command;

/// With what the pages read files.
const READERS: [&str; 3] = ["duckdb==1.4.2", "pandas==2.3.3", "pyarrow==22.0.0"];

/// A page by its name below the top of the tree, as `docs/data.md`.
///
/// # Panics
/// Where it cannot be read.
pub fn page(name: &str) -> String {
    let file = root().join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The names of all pages that tell how the programs are used.
///
/// # Panics
/// Where the folder cannot be listed.
pub fn names() -> Vec<String> {
    let listed = std::fs::read_dir(root().join("docs")).expect("docs");
    let names = listed.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
        .collect();
    names.sort();
    let docs = names.iter().map(|name| format!("docs/{name}"));
    std::iter::once("README.md".to_owned())
        .chain(docs)
        .collect()
}

/// A page's fenced blocks in their order, each with its language, which may be none.
pub fn blocks(page: &str) -> Vec<(String, String)> {
    let fenced = page.split("```").skip(1).step_by(2);
    let parts = fenced.filter_map(|block| block.split_once('\n'));
    parts
        .map(|(language, code)| (language.trim().to_owned(), code.to_owned()))
        .collect()
}

/// The blocks of one language.
pub fn blocks_of(name: &str, language: &str) -> Vec<String> {
    let blocks = blocks(&page(name)).into_iter();
    blocks
        .filter_map(|(found, code)| (found == language).then_some(code))
        .collect()
}

/// A Python that has what the pages read files with. Nothing where it cannot be had, and then a notice says what was not tried.
pub fn readers(within: &str, what: &str) -> Option<PathBuf> {
    let found = python(within, "readers", &READERS);
    found
        .inspect_err(|why| eprintln!("NOTICE: {what} was not tried: {why}"))
        .ok()
}

/// Runs Python in a folder, and gives what it printed.
///
/// # Panics
/// Where it fails or prints nothing.
pub fn run(python: &Path, code: &str, folder: &Path) -> String {
    let output = output_of(Command::new(python).current_dir(folder).args(["-c", code]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{code}\n{said}");
    assert!(!output.stdout.is_empty(), "{code}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The top of the tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_with_their_language() {
        let found = blocks("a\n```sh ci\nls\n```\nb\n```\nplain\n```\n```python\nx = 1\ny\n```\n");
        let expected = [("sh ci", "ls\n"), ("", "plain\n"), ("python", "x = 1\ny\n")];
        let expected = expected.map(|(language, code)| (language.to_owned(), code.to_owned()));
        assert_eq!(found, expected);
    }
}
