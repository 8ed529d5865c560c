//! The files that `input.files` means: names, directories and globs expanded in a fixed order.
//!
//! **Invariant:** the order of the files never depends on the order in which a directory lists them, for
//! the order (file, row) decides which duplicate is the last.

use crate::away::waited;
use crate::failure::Failure;
use crate::job::settings::Location;
use plan::Refusal;
use std::fs;
use std::path::{Component, Path, PathBuf};
use tokio::runtime::Handle;
use worker::storage::depot_failure;

/// Expands what stands at `key`. A URL that ends with a slash is a folder, and any other one a file; what is local must exist or match
/// a file. Within a runtime, where there are URLs.
pub fn expand(key: &str, given: &[Location]) -> Result<Vec<Location>, Failure> {
    let mut files = Vec::new();
    for location in given {
        match location {
            Location::Url(url) => {
                files.extend(expand_url(key, url)?.into_iter().map(Location::Url));
            }
            Location::Path(path) => {
                files.extend(expand_path(key, path)?.into_iter().map(Location::Path));
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !seen.insert(*file)) {
        let sentence = format!("`{key}` names {twice} twice: its rows would count double");
        return Err(Failure::new(Refusal::Config, sentence));
    }
    Ok(files)
}

fn expand_url(key: &str, url: &str) -> Result<Vec<String>, Failure> {
    if url.contains('*') {
        let sentence = format!(
            "`{key}`: {url}: a `*` is for local files: name each file, or a folder with a slash at its end for all *.parquet below it"
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    if !url.ends_with('/') {
        return Ok(vec![url.to_owned()]);
    }
    let folder = url.to_owned();
    let found = waited(&Handle::current(), async move {
        let below = depot::input::below(&folder).await;
        below.map_err(|error| depot_failure(error, None))
    })?;
    if found.is_empty() {
        let sentence = format!("`{key}`: {url} holds no *.parquet file");
        return Err(Failure::new(Refusal::Unavailable, sentence));
    }
    Ok(found)
}

fn expand_path(key: &str, path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = path.display();
    if is_glob(path) && !path.exists() {
        let mut found = Vec::new();
        let parts: Vec<Component<'_>> = path.components().collect();
        walk(PathBuf::new(), &parts, &mut found)
            .map_err(|error| Failure::io(format!("`{key}`: {shown}"), &error))?;
        found.sort();
        found.dedup();
        if found.is_empty() {
            return Err(Failure::new(
                Refusal::Unavailable,
                format!("`{key}`: no file matches {shown}"),
            ));
        }
        return Ok(found);
    }
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let mut found = Vec::new();
            walk(
                path.to_path_buf(),
                &[
                    Component::Normal("**".as_ref()),
                    Component::Normal("*.parquet".as_ref()),
                ],
                &mut found,
            )
            .map_err(|error| Failure::io(format!("`{key}`: {shown}"), &error))?;
            found.sort();
            if found.is_empty() {
                let sentence = format!("`{key}`: the directory {shown} holds no *.parquet file");
                return Err(Failure::new(Refusal::Unavailable, sentence));
            }
            Ok(found)
        }
        Ok(_) => Ok(vec![path.to_path_buf()]),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::new(
            Refusal::Unavailable,
            format!("`{key}`: there is no file {shown}"),
        )),
        Err(error) => Err(Failure::io(format!("`{key}`: {shown}"), &error)),
    }
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

/// Collects the files below `at` that match; `**` stands for any number of directories. Hidden names match only a
/// pattern that begins with a dot.
fn walk(at: PathBuf, parts: &[Component<'_>], found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        if at.is_file() {
            found.push(at);
        }
        return Ok(());
    };
    let pattern = part.as_os_str().to_string_lossy();
    if !pattern.contains(['*', '?']) {
        return walk(at.join(part), rest, found);
    }
    let directory = if at.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &at
    };
    if !directory.is_dir() {
        return Ok(());
    }
    if pattern == "**" {
        walk(at.clone(), rest, found)?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && !pattern.starts_with('.') {
            continue;
        }
        if pattern == "**" {
            if entry.file_type()?.is_dir() {
                walk(at.join(&name), parts, found)?;
            }
        } else if matches(pattern.as_bytes(), name.as_bytes()) {
            walk(at.join(&name), rest, found)?;
        }
    }
    Ok(())
}

/// Whether a name matches a pattern of `*` and `?`; linear but for one remembered star.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a.csv", false),
            ("part-?-*", "part-3-x", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyyb", false),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn files_come_in_order_and_once() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::create_dir_all(root.join("day=2/deep")).unwrap();
        for name in [
            "b.parquet",
            "a.parquet",
            "c.csv",
            "day=2/x.parquet",
            "day=2/deep/y.parquet",
            ".hidden.parquet",
        ] {
            fs::write(root.join(name), b"").unwrap();
        }
        let shown = |pattern: &str| -> Vec<String> {
            let found = expand("input.files", &[Location::new(pattern, root)]).unwrap();
            found
                .iter()
                .map(|file| {
                    file.as_path()
                        .unwrap()
                        .strip_prefix(root)
                        .unwrap()
                        .display()
                        .to_string()
                })
                .collect()
        };
        assert_eq!(shown("*.parquet"), ["a.parquet", "b.parquet"]);
        assert_eq!(shown("**/*.parquet"), shown("."));
        assert_eq!(
            shown("**/?.parquet"),
            [
                "a.parquet",
                "b.parquet",
                "day=2/deep/y.parquet",
                "day=2/x.parquet"
            ]
        );
        assert_eq!(shown("day=*/x.parquet"), ["day=2/x.parquet"]);

        let twice = [
            Location::new("a.parquet", root),
            Location::new("*.parquet", root),
        ];
        assert_eq!(expand("input.files", &twice).unwrap_err().exit_code(), 78);
        let absent = [Location::new("absent.parquet", root)];
        assert_eq!(expand("input.files", &absent).unwrap_err().exit_code(), 69);
    }
}
