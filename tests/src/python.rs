//! Python with packages that a test needs, in a virtual environment below the target directory that is made once, and our own
//! package as pip would install it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of the environment `name` in `within`, which has these packages; made where it is not there yet.
///
/// # Errors
/// Where Python or its packages cannot be had: a notice is then all that is left of a test.
pub fn python(within: &str, name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    made_by(Path::new("python3"), within, name, packages)
}

/// The oldest and the newest Python of this machine from 3.`oldest` on, by the number behind the point: of those on the search path and
/// of pyenv's. Both are the same where there is only one, none where there is none.
pub fn oldest_and_newest(oldest: u32) -> Option<[(u32, PathBuf); 2]> {
    let mut found: BTreeMap<u32, PathBuf> = BTreeMap::new();
    let mut look = |program: PathBuf| {
        let version = "import sys; print(sys.version_info[0], sys.version_info[1])";
        let told = Command::new(&program).args(["-c", version]).output();
        let told = told.ok().filter(|told| told.status.success());
        let told = told.and_then(|told| String::from_utf8(told.stdout).ok());
        let minor = told.and_then(|told| told.trim().strip_prefix("3 ")?.parse().ok());
        if let Some(minor) = minor.filter(|minor| *minor >= oldest) {
            found.entry(minor).or_insert(program);
        }
    };
    look("python3".into());
    for minor in oldest..oldest + 20 {
        look(format!("python3.{minor}").into());
    }
    let home = std::env::var("PYENV_ROOT").map(PathBuf::from);
    let home = home.or_else(|_| std::env::var("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let versions = home
        .ok()
        .and_then(|home| fs::read_dir(home.join("versions")).ok());
    for version in versions.into_iter().flatten().flatten() {
        look(version.path().join("bin/python3"));
    }
    let first = found
        .first_key_value()
        .map(|(minor, path)| (*minor, path.clone()))?;
    let last = found
        .last_key_value()
        .map(|(minor, path)| (*minor, path.clone()))?;
    Some([first, last])
}

/// The same as [`python`], by this interpreter.
///
/// # Errors
/// As there.
pub fn made_by(
    interpreter: &Path,
    within: &str,
    name: &str,
    packages: &[&str],
) -> Result<PathBuf, String> {
    let folder = Path::new(within).join(name);
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&complete).is_ok_and(|what| what == wanted) {
        return Ok(python);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(said.lines().last().unwrap_or("without a word").to_owned())
    };
    let path = folder.to_str().ok_or("a path that is no text")?;
    run(interpreter, &["-m", "venv", "--clear", path])?;
    let quietly = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    run(&python, &[&quietly[..], packages].concat())?;
    std::fs::write(&complete, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

/// A command of this Python that knows none of our settings, and finds the package in a folder.
pub fn with_package(python: &Path, folder: &Path) -> Command {
    let mut command = Command::new(python);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("STRATA_")) {
        command.env_remove(key);
    }
    command
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the sources") {
        let (from, to) = entry
            .map(|entry| (entry.path(), to.join(entry.file_name())))
            .expect("a source");
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// The package `strata` in a folder, from the sources and the library that cargo made beside this test, with some of its folders of
/// tests, and a page whose examples are tried.
///
/// # Panics
/// Where the library was not built, or cannot be copied.
pub fn install(folder: &Path, tests: &[&str], page: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = root.join("python");
    for part in [&["strata"], tests].concat() {
        copy(&sources.join(part), &folder.join(part));
    }
    for file in ["conftest.py", "pyproject.toml"] {
        fs::copy(sources.join(file), folder.join(file)).expect("the project");
    }
    let library: PathBuf = std::env::current_exe()
        .expect("a test knows its own path")
        .with_file_name("lib_engine.so");
    assert!(library.exists(), "{} is not built", library.display());
    fs::hard_link(&library, folder.join("strata/_engine.abi3.so"))
        .or_else(|_| fs::copy(&library, folder.join("strata/_engine.abi3.so")).map(|_| ()))
        .expect("the library");
    let page = root.join(page);
    let name = page.file_name().expect("a page has a name").to_owned();
    fs::copy(page, folder.join(name)).expect("the page");
}
