//! The pages for people, taken apart: their blocks of code, so that tests can run them as they stand.

use std::path::{Path, PathBuf};

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
