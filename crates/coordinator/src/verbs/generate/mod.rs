//! `generate`: purchases with a planted truth, made beside their place and moved there when all of it is whole.
//!
//! **Invariant:** the folder has its name only with everything in it; what others put there is never touched.

mod files;
mod job;

use super::interrupted;
use crate::failure::{Failure, Kind};
use crate::job::settings::{Generate, Location, Settings};
use crate::output::report::GenerateReport;
use crate::output::{Console, VerbOutput};
use crate::progress::Unit;
use files::{Made, Table, Writer};
use indicatif::HumanCount;
use model::generate::{Activity, Rows, World};
use plan::Refusal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tensor::{ByteSize, Digest};
use tokio_util::sync::CancellationToken;

/// Other laws or another writer of the same settings have another number.
const GENERATOR: u32 = 1;
/// What says that a folder is ours, and what it holds.
const RECORD: &str = "generate.json";
/// What a writer of Parquet holds: a row group as it is encoded, and a batch in Arrow's form.
const WRITER_BYTES: u64 = 24 << 20;
/// What the process takes besides.
const FIXED_BYTES: u64 = 32 << 20;

/// What a folder holds and of what it is made.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    generator: u32,
    settings: serde_json::Value,
    rows: u64,
    digest: String,
    files: Vec<Made>,
}

/// Makes the folder, or finds it made.
///
/// # Errors
/// Where it holds something else, the memory does not do, or the disk is full.
pub fn generate(
    at: &Location,
    settings: &Settings,
    console: &Console,
    cancel: &CancellationToken,
) -> Result<VerbOutput, Failure> {
    let Location::Path(path) = at else {
        let sentence = format!("{at} is a URL: what is generated goes to a local folder");
        return Err(Failure::new(Refusal::Usage, sentence));
    };
    let wish = &settings.generate;
    let made_of = serde_json::to_value(wish)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    let folder = std::path::absolute(path).map_err(|error| Failure::io(path.display(), &error))?;
    if let Some(record) = found(&folder, &made_of)? {
        return Ok(VerbOutput::Generate(report(&record, path, true)));
    }
    let threads = settings.run.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        |threads| threads as usize,
    );
    let pool = exec::pool(threads).map_err(Failure::from)?;
    let (activity, threads) = pool.install(|| sized(wish, settings.run.memory, threads as u64))?;
    let work = begun(&folder, &made_of)?;
    let pool = exec::pool(threads).map_err(Failure::from)?;
    let files = pool.install(|| written(wish, activity, &work, console, cancel))?;
    let record = Record {
        generator: GENERATOR,
        settings: made_of,
        rows: wish.world.interactions,
        digest: digest_of(&files),
        files,
    };
    publish(&work.join("job.toml"), &job::text(wish))?;
    let text = serde_json::to_string_pretty(&record)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    publish(&work.join(RECORD), &text)?;
    fs::rename(&work, &folder).map_err(|error| Failure::io(folder.display(), &error))?;
    Ok(VerbOutput::Generate(report(&record, path, false)))
}

/// What the folder holds, where it is that already.
fn found(folder: &Path, made_of: &serde_json::Value) -> Result<Option<Record>, Failure> {
    let shown = folder.display();
    let taken = |why: &str| {
        let sentence = format!("{shown} {why}: remove it, or name another folder");
        Failure::new(Refusal::Config, sentence)
    };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(taken("is a file"));
        }
        Err(error) => return Err(Failure::io(shown, &error)),
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(None);
            }
        }
    }
    let Some(record) = recorded(&folder.join(RECORD)) else {
        return Err(taken("holds what `generate` did not make"));
    };
    if record.generator != GENERATOR || record.settings != *made_of {
        return Err(taken("was generated with other settings"));
    }
    for file in &record.files {
        let length = fs::metadata(folder.join(&file.name)).map(|meta| meta.len());
        if length.ok() != Some(file.bytes) {
            return Err(taken(&format!("lacks {} or has changed it", file.name)));
        }
    }
    Ok(Some(record))
}

fn recorded(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The folder of work beside the place: a new one, or that of an interrupted call with the same settings, which goes on.
fn begun(folder: &Path, made_of: &serde_json::Value) -> Result<PathBuf, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let work = folder.with_file_name(format!(".{name}.generating"));
    let failed = |error: std::io::Error| Failure::io(work.display(), &error);
    let open = Record {
        generator: GENERATOR,
        settings: made_of.clone(),
        rows: 0,
        digest: String::new(),
        files: Vec::new(),
    };
    if work.exists() {
        match recorded(&work.join(RECORD)) {
            Some(record) if record.generator == GENERATOR && record.settings == *made_of => {
                clear_unfinished(&work).map_err(failed)?;
                return Ok(work);
            }
            Some(_) => fs::remove_dir_all(&work).map_err(failed)?,
            None => {
                let sentence = format!(
                    "{} is in the way, and `generate` did not make it: remove it",
                    work.display()
                );
                return Err(Failure::new(Refusal::Config, sentence));
            }
        }
    }
    fs::create_dir_all(&work).map_err(failed)?;
    let text = serde_json::to_string(&open)
        .map_err(|error| Failure::new(Refusal::Bug, error.to_string()))?;
    publish(&work.join(RECORD), &text)?;
    Ok(work)
}

/// Removes what a killed call left of files that it had not finished.
fn clear_unfinished(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear_unfinished(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with('.') {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The users' rows in parts, and the threads that the memory is enough for.
fn sized(wish: &Generate, memory: ByteSize, threads: u64) -> Result<(Activity, usize), Failure> {
    let activity = Activity::new(&wish.world, wish.rows_per_file);
    let parts = 0..activity.parts();
    let rows = parts.map(|part| activity.rows_of(part)).max().unwrap_or(0);
    let (tables, building) = World::bytes(&wish.world, threads);
    let each = rows * Rows::BYTES + WRITER_BYTES;
    let needed = |threads: u64| FIXED_BYTES + tables + building.max(threads * each);
    let fits = (1..=threads)
        .rev()
        .find(|&threads| needed(threads) <= memory.0);
    let Some(fits) = fits else {
        let sentence = format!(
            "{} are needed for tables of {} products and files of {} rows, and --memory is {memory}: give more, or less of \
             `products`, `rank` or `rows_per_file`",
            ByteSize(needed(1)),
            HumanCount(u64::from(wish.world.products)),
            HumanCount(rows)
        );
        return Err(Failure::new(Refusal::Config, sentence));
    };
    if rows > u64::from(u32::MAX) / 2 {
        let sentence = format!(
            "a file would have {} rows: give more `users`, or fewer `interactions`",
            HumanCount(rows)
        );
        return Err(Failure::new(Refusal::Config, sentence));
    }
    Ok((activity, fits as usize))
}

/// Writes all files that are not there yet; gives all, by name.
fn written(
    wish: &Generate,
    activity: Activity,
    work: &Path,
    console: &Console,
    cancel: &CancellationToken,
) -> Result<Vec<Made>, Failure> {
    let total = wish.world.interactions;
    let observer = console.observer();
    observer.begin("generate", Unit::Rows, Some(total));
    let (began, done) = (Instant::now(), AtomicU64::new(0));
    let world = World::new(wish.world.clone());
    let writer = Writer::new(wish, &world, &activity, work);
    let tables: Vec<Table> = writer.tables();
    let each = tables.par_iter().map(|table| {
        if cancel.is_cancelled() {
            return Err(interrupted(Kind::Interrupted));
        }
        let made = writer.write(*table)?;
        if let Table::Purchases(part) = table {
            let rows = activity.rows_of(*part);
            observer.progress(done.fetch_add(rows, Ordering::Relaxed) + rows, Some(total));
        }
        Ok(made)
    });
    let made = each.collect::<Result<Vec<Vec<Made>>, Failure>>()?;
    let mut files: Vec<Made> = made.into_iter().flatten().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let rate = total as f64 / began.elapsed().as_secs_f64().max(1e-9);
    observer.end(&format!(
        "{} rows, {} a second",
        HumanCount(total),
        HumanCount(rate as u64)
    ));
    Ok(files)
}

/// The digest of names and digests, in order.
fn digest_of(files: &[Made]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(file.name.as_bytes());
        hasher.update(&[0]);
        hasher.update(file.blake3.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes()).to_string()
}

fn report(record: &Record, folder: &Path, reused: bool) -> GenerateReport {
    GenerateReport {
        rows: record.rows,
        files: record.files.len() as u64,
        bytes: record.files.iter().map(|file| file.bytes).sum(),
        digest: record.digest.clone(),
        folder: folder.to_path_buf(),
        job: folder.join("job.toml"),
        reused,
    }
}

fn publish(path: &Path, text: &str) -> Result<(), Failure> {
    tables::out::publish_text(path, text).map_err(Failure::unwritten)
}
