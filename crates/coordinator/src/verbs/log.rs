//! What happened in the runs of a model and in a long ingest, from their journals.

use super::journal::FOLDER;
use crate::failure::Failure;
use crate::job::settings::Location;
use crate::output::VerbOutput;
use plan::Refusal;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use store::journal::{Entry, Journal, Record};
use tensor::time::text_of_day;
use tensor::{ByteSize, TaskId};

const DAY_MS: u64 = 86_400_000;

/// Tells of the runs at some places, the earliest first; of some only, where the beginning of a run key is given.
///
/// # Errors
/// Where no place is on this machine, there is no such run, or a journal cannot be read.
pub fn log(places: &[&Location], run: Option<&str>) -> Result<VerbOutput, Failure> {
    let unavailable = |sentence: String| Failure::new(Refusal::Unavailable, sentence);
    let named = places.iter().map(ToString::to_string);
    let named = named.collect::<Vec<String>>().join(" and ");
    let local: Vec<&Path> = places.iter().filter_map(|at| at.as_path()).collect();
    if local.is_empty() {
        let is = if places.len() > 1 {
            "are URLs"
        } else {
            "is a URL"
        };
        let sentence = format!(
            "{named} {is}, and journals are kept beside models on a disk: read the log of the coordinator instead"
        );
        return Err(unavailable(sentence));
    }
    let run = run.unwrap_or_default().to_ascii_lowercase();
    let mut journals = Vec::new();
    for place in local {
        for path in paths(&place.join(FOLDER), &run)? {
            let entries = Journal::read(&path)
                .map_err(|error| Failure::new(Refusal::Io, error.to_string()))?;
            let first = entries.first().map_or(0, |first| first.unix_ms);
            journals.push((first, entries));
        }
    }
    if journals.is_empty() {
        let of = if run.is_empty() {
            String::new()
        } else {
            format!(" of a run {run}")
        };
        let has = if places.len() > 1 { "have" } else { "has" };
        let sentence = format!(
            "{named} {has} no journal{of}: it is kept of a model from the moment that `train` or `run` begins to train, and of a data set \
             from the first checkpoint of a long ingest on"
        );
        return Err(unavailable(sentence));
    }
    journals.sort_by_key(|(first, _)| *first);
    let (mut runs, mut lines) = (Vec::new(), Vec::new());
    for (_, entries) in journals {
        runs.push(object(&entries));
        lines.extend(told(&entries));
    }
    let mut fields = Map::new();
    fields.insert("runs".to_owned(), Value::Array(runs));
    Ok(VerbOutput::Described { fields, lines })
}

/// The journals of runs whose keys begin so.
fn paths(folder: &Path, run: &str) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error: std::io::Error| Failure::io(folder.display(), &error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(run) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// `2026-11-26T23:58:01.250Z`.
fn moment(unix_ms: u64) -> String {
    let day = text_of_day((unix_ms / DAY_MS) as i32);
    let ms = unix_ms % DAY_MS;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{day}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// For programs.
fn object(entries: &[Entry]) -> Value {
    let mut of = Map::new();
    let mut events = Vec::new();
    for entry in entries {
        if let Record::RunOpened { run, term, phase } = &entry.record {
            of.insert("run".to_owned(), json!(run.to_string()));
            of.insert("term".to_owned(), json!(term));
            of.insert("phase".to_owned(), json!(phase));
        }
        let mut event = event(&entry.record);
        event["at"] = json!(moment(entry.unix_ms));
        events.push(event);
    }
    of.insert("events".to_owned(), Value::Array(events));
    Value::Object(of)
}

fn event(record: &Record) -> Value {
    match record {
        Record::RunOpened { .. } => json!({"event": "opened"}),
        Record::Resumed { from_epoch } => json!({"event": "resumed", "from_epoch": from_epoch}),
        Record::WorkerJoined {
            worker,
            threads,
            memory_bytes,
            address,
        } => json!({
            "event": "worker_joined", "worker": worker.0, "threads": threads, "memory_bytes": memory_bytes,
            "address": address,
        }),
        Record::WorkerLeaving(worker) => json!({"event": "worker_leaving", "worker": worker.0}),
        Record::TaskSlow { task, worker } => {
            json!({"event": "task_slow", "task": task.to_string(), "worker": worker.0})
        }
        Record::ResultsDiffer { task, worker } => {
            json!({"event": "results_differ", "task": task.to_string(), "worker": worker.0})
        }
        Record::WorkerShutOut(worker) => json!({"event": "worker_shut_out", "worker": worker.0}),
        Record::WorkerSuspected(worker) => json!({"event": "worker_suspected", "worker": worker.0}),
        Record::WorkerTrusted(worker) => json!({"event": "worker_trusted", "worker": worker.0}),
        Record::WorkerLost { worker, given_up } => {
            json!({"event": "worker_lost", "worker": worker.0, "given_up": given_up})
        }
        Record::TaskFailed {
            task,
            attempt,
            worker,
            why,
        } => json!({
            "event": "task_failed", "task": task.to_string(), "attempt": attempt, "worker": worker.0, "why": why,
        }),
        Record::Replayed { task, attempt } => {
            json!({"event": "task_replayed", "task": task.to_string(), "attempt": attempt})
        }
        Record::RolledBack => json!({"event": "rolled_back"}),
        Record::Epoch {
            epoch,
            objective,
            seconds,
        } => json!({"event": "epoch", "epoch": epoch, "objective": objective, "seconds": seconds}),
        Record::Checkpoint { epoch, seconds } => {
            json!({"event": "checkpoint", "epoch": epoch, "seconds": seconds})
        }
        Record::Closed => json!({"event": "finished"}),
        Record::Stopped { exit_code } => json!({"event": "stopped", "exit_code": exit_code}),
        Record::Full => json!({"event": "full"}),
    }
}

/// For people: tasks that were given again in a row are one line.
fn told(entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut again: Option<(u64, TaskId, u64)> = None;
    let line = |unix_ms: u64, text: &str| {
        let moment = moment(unix_ms).replace('T', " ");
        format!("{}  {text}", &moment[..19])
    };
    let replayed = |again: Option<(u64, TaskId, u64)>| {
        let (unix_ms, first, count) = again?;
        let text = if count == 1 {
            format!("task {first} is given again")
        } else {
            format!("{count} tasks are given again, task {first} first")
        };
        Some(line(unix_ms, &text))
    };
    let mut of_ingest = false;
    for entry in entries {
        if let Record::RunOpened { phase, .. } = &entry.record {
            of_ingest = phase == "ingest";
        }
        if let Record::Replayed { task, .. } = &entry.record {
            let known = again.take();
            let (at, first, count) = known.unwrap_or((entry.unix_ms, *task, 0));
            again = Some((at, first, count + 1));
            continue;
        }
        lines.extend(replayed(again.take()));
        let text = match &entry.record {
            Record::Resumed { from_epoch } if of_ingest => {
                format!("it goes on where it was broken off: {from_epoch} of its tasks are done")
            }
            Record::Checkpoint { epoch, seconds } if of_ingest => {
                format!("what {epoch} tasks did is durable ({seconds:.2} s)")
            }
            record => sentence(record),
        };
        lines.push(line(entry.unix_ms, &text));
    }
    lines.extend(replayed(again));
    if !matches!(
        entries.last().map(|last| &last.record),
        Some(Record::Closed | Record::Stopped { .. } | Record::Full)
    ) {
        lines.push("                     (it goes on, or was killed here)".to_owned());
    }
    lines
}

fn sentence(record: &Record) -> String {
    match record {
        Record::RunOpened { run, term, phase } => {
            format!("{phase}: run {} is opened under term {term}", run.short())
        }
        Record::Resumed { from_epoch } => {
            format!("it goes on from the checkpoint of epoch {from_epoch}")
        }
        Record::WorkerJoined {
            worker,
            threads,
            memory_bytes,
            address,
        } => {
            let at = if address.is_empty() {
                "of this process".to_owned()
            } else {
                format!("from {address}")
            };
            let memory = ByteSize(*memory_bytes);
            format!("{worker} {at} joined: {threads} threads, {memory}")
        }
        Record::WorkerLeaving(worker) => format!("{worker} is leaving"),
        Record::TaskSlow { task, worker } => {
            format!("{worker} takes long for task {task}: another does it as well")
        }
        Record::ResultsDiffer { task, worker } => {
            format!("{worker} came to another result of task {task} than another worker")
        }
        Record::WorkerShutOut(worker) => {
            format!("{worker} is shut out: two others came to another result than it did")
        }
        Record::WorkerSuspected(worker) => {
            format!("{worker} has fallen silent: others do its tasks until it speaks")
        }
        Record::WorkerTrusted(worker) => format!("{worker} speaks again"),
        Record::WorkerLost {
            worker,
            given_up: false,
        } => format!("{worker} is lost: its session ended"),
        Record::WorkerLost { worker, .. } => {
            format!("{worker} is given up: it was silent for too long, or had nothing left to do")
        }
        Record::TaskFailed {
            task,
            attempt,
            worker,
            why,
        } => format!("{worker} could not do task {task} (attempt {attempt}): {why}"),
        Record::Replayed { task, .. } => format!("task {task} is given again"),
        Record::RolledBack => "back to the last durable checkpoint".to_owned(),
        Record::Epoch {
            epoch,
            objective,
            seconds,
        } => {
            let objective =
                objective.map_or_else(String::new, |value| format!(", objective {value:.6e}"));
            format!("epoch {epoch}{objective} ({seconds:.2} s)")
        }
        Record::Checkpoint { epoch, seconds } => {
            format!("the checkpoint of epoch {epoch} is durable ({seconds:.2} s)")
        }
        Record::Closed => "finished".to_owned(),
        Record::Stopped { exit_code: 0 } => "stopped on request".to_owned(),
        Record::Stopped { exit_code } => format!("ended with exit code {exit_code}"),
        Record::Full => "the journal is full: what follows is not in it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::{Digest, StepId, WorkerId};

    #[test]
    fn tasks_that_are_given_again_in_a_row_are_one_line() {
        let task = |index| TaskId {
            step: StepId(4),
            index,
        };
        let replayed = |index| Record::Replayed {
            task: task(index),
            attempt: 1,
        };
        let run = Digest([0xab; 32]);
        let records = vec![
            Record::RunOpened {
                run,
                term: 2,
                phase: "train".into(),
            },
            Record::WorkerLost {
                worker: WorkerId(1),
                given_up: false,
            },
            replayed(3),
            replayed(4),
            Record::RolledBack,
            replayed(7),
        ];
        let entries: Vec<Entry> = records
            .into_iter()
            .enumerate()
            .map(|(second, record)| Entry {
                unix_ms: 1_795_737_481_250 + 1000 * second as u64,
                record,
            })
            .collect();
        let lines = told(&entries);
        let [opened, lost, several, back, one, open] = &lines[..] else {
            panic!("{lines:?}")
        };
        let at = "2026-11-26 23:58:01  ";
        assert_eq!(
            opened,
            &format!("{at}train: run {} is opened under term 2", run.short())
        );
        assert!(lost.ends_with("w1 is lost: its session ended"));
        let first = task(3);
        assert_eq!(
            several,
            &format!("2026-11-26 23:58:03  2 tasks are given again, task {first} first")
        );
        assert!(back.ends_with("back to the last durable checkpoint"));
        assert!(one.ends_with(&format!("task {} is given again", task(7))));
        assert!(open.contains("was killed here"));
        let object = object(&entries);
        assert_eq!(object["term"], 2);
        assert_eq!(object["events"][0]["at"], "2026-11-26T23:58:01.250Z");
        assert_eq!(object["events"][2]["event"], "task_replayed");
    }
}
