//! The tool of Prometheus that evaluates alerts: of this machine, or out of Debian's package, put below the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(said.lines().last().unwrap_or("without a word").to_owned())
}

/// `promtool` of the search path; else that of the package, which is fetched without any privilege and unpacked in `within`.
///
/// # Errors
/// Where it cannot be had: a notice is then all that is left of a test.
pub fn promtool(within: &str) -> Result<PathBuf, String> {
    let here = PathBuf::from("promtool");
    if run(Command::new(&here).arg("--version")).is_ok() {
        return Ok(here);
    }
    let folder = Path::new(within).join("promtool");
    let ours = folder.join("promtool");
    if ours.exists() {
        return Ok(ours);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let unpacked = folder.join("unpacked");
    std::fs::create_dir_all(&unpacked).map_err(failed)?;
    let mut fetch = Command::new("apt-get");
    run(fetch.args(["download", "prometheus"]).current_dir(&folder))?;
    let files = std::fs::read_dir(&folder).map_err(failed)?;
    let package = files
        .filter_map(|file| file.map(|file| file.path()).ok())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let package = package.ok_or("apt-get has fetched no package")?;
    let mut unpack = Command::new("dpkg-deb");
    run(unpack.arg("-x").arg(&package).arg(&unpacked))?;
    run(Command::new(unpacked.join("usr/bin/promtool")).arg("--version"))?;
    std::fs::rename(unpacked.join("usr/bin/promtool"), &ours).map_err(failed)?;
    // The rest is large.
    std::fs::remove_file(package).map_err(failed)?;
    std::fs::remove_dir_all(unpacked).map_err(failed)?;
    Ok(ours)
}
