//! A coordinator whose course is watched from outside: by what it logs.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// What was heard of it.
#[derive(Default)]
struct Heard {
    /// When epochs ended, by their numbers.
    epochs: Vec<(u64, Instant)>,
    /// Seconds that checkpoints took.
    checkpoints: Vec<f64>,
    /// All lines but those of epochs and checkpoints.
    lines: Vec<String>,
}

/// A coordinator at work.
pub struct Run {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    answer: Option<JoinHandle<String>>,
}

impl Run {
    /// Starts a command that asks for `--json`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(command: &mut Command) -> Run {
        let mut child = command
            .args(["--log", "info"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the coordinator starts");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let hearing = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                hear(&mut locked(&hearing), line);
            }
        });
        let mut out = child.stdout.take().expect("stdout is piped");
        let answer = std::thread::spawn(move || {
            let mut text = String::new();
            // Of one that is killed nothing comes.
            let _ = out.read_to_string(&mut text);
            text
        });
        Run {
            child,
            heard,
            answer: Some(answer),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The epoch that ended last, and when.
    pub fn last_epoch(&self) -> Option<(u64, Instant)> {
        locked(&self.heard).epochs.last().copied()
    }

    /// When the first epoch beyond this one ended.
    pub fn beyond(&self, epoch: u64) -> Option<Instant> {
        let heard = locked(&self.heard);
        let beyond = heard.epochs.iter().find(|(number, _)| *number > epoch);
        beyond.map(|(_, at)| *at)
    }

    /// When the first epoch ended, and how long after that the last one.
    pub fn epochs(&self) -> Vec<(u64, Instant)> {
        locked(&self.heard).epochs.clone()
    }

    /// Seconds that each of its checkpoints took.
    pub fn checkpoints(&self) -> Vec<f64> {
        locked(&self.heard).checkpoints.clone()
    }

    /// When it first said something that has these words in it: not when it said so, but when this was asked.
    pub fn has_said(&self, words: &str) -> bool {
        locked(&self.heard)
            .lines
            .iter()
            .any(|line| line.contains(words))
    }

    /// What it said besides epochs and checkpoints.
    pub fn said(&self) -> String {
        locked(&self.heard).lines.join("\n")
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// Never: it is our own child.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits until something is so, or it has ended, or the patience is over. True where it is so.
    pub fn until(&mut self, patience: Duration, mut so: impl FnMut(&Run) -> bool) -> bool {
        let began = Instant::now();
        loop {
            if so(self) {
                return true;
            }
            if self.ended().is_some() || began.elapsed() > patience {
                return so(self);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The object that it printed; it has ended.
    ///
    /// # Panics
    /// Where it was asked for already.
    pub fn answer(&mut self) -> Option<Value> {
        let answer = self.answer.take().expect("asked for once").join();
        serde_json::from_str(&answer.unwrap_or_default()).ok()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}

fn locked(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(heard: &mut Heard, line: String) {
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    let fields = &said["fields"];
    match fields["message"].as_str() {
        Some("an epoch ended") => {
            let epoch = fields["epoch"].as_u64().unwrap_or_default();
            heard.epochs.push((epoch, Instant::now()));
        }
        Some("a checkpoint is durable") => {
            heard.checkpoints.extend(fields["seconds"].as_f64());
        }
        _ => heard.lines.push(line),
    }
}
