//! Python with packages that a test needs, in a virtual environment below the target directory that is made once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of the environment `name` in `within`, which has these packages; made where it is not there yet.
///
/// # Errors
/// Where Python or its packages cannot be had: a notice is then all that is left of a test.
pub fn python(within: &str, name: &str, packages: &[&str]) -> Result<PathBuf, String> {
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
    run(Path::new("python3"), &["-m", "venv", "--clear", path])?;
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
