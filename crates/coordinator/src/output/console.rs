//! The two channels to the user: stdout for the one JSON object, stderr for everything else.

use crate::failure::Failure;
use crate::live::Live;
use crate::memory::PeakMemory;
use crate::output::report::{Report, VerbOutput};
use crate::output::tables;
use crate::progress::{Lines, Observer, Several};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

/// What a verb is given to speak through.
pub struct Console {
    json: bool,
    began: Instant,
    memory: PeakMemory,
    observers: Several,
    live: Option<Arc<Live>>,
}

impl Console {
    /// With `json`, stderr is silent but for errors.
    pub fn new(json: bool) -> Self {
        let mut observers = Several::default();
        if !json {
            observers.add(Arc::new(Lines::new(std::io::stderr().is_terminal())));
        }
        Self {
            json,
            began: Instant::now(),
            memory: PeakMemory::watch(),
            observers,
            live: None,
        }
    }

    /// Of a program that holds us: all goes to its observer, and nothing is printed.
    pub fn of(observer: Arc<dyn Observer>) -> Self {
        let mut console = Self::new(true);
        console.observers.add(observer);
        console
    }

    /// Tells those who look over HTTP too.
    pub fn show(&mut self, live: Arc<Live>) {
        self.observers.add(Arc::clone(&live) as Arc<dyn Observer>);
        self.live = Some(live);
    }

    /// What is told over HTTP, where it is.
    pub fn live(&self) -> Option<&Arc<Live>> {
        self.live.as_ref()
    }

    /// Hears how the verb goes on.
    pub fn observer(&self) -> &dyn Observer {
        &self.observers
    }

    /// The memory of this process since it began.
    pub fn memory(&self) -> &PeakMemory {
        &self.memory
    }

    /// Prints what a verb found.
    pub fn finish(&self, verb: &str, output: &VerbOutput) -> Result<(), Failure> {
        if !self.json {
            eprintln!("{}", tables::show(output));
            return Ok(());
        }
        print(&self.json(verb, output)?)
    }

    /// What a verb found, as the object that `--json` prints.
    pub fn json(&self, verb: &str, output: &VerbOutput) -> Result<String, Failure> {
        json_of(&Report {
            verb,
            version: env!("CARGO_PKG_VERSION"),
            seconds: self.began.elapsed().as_secs_f64(),
            peak_anonymous_bytes: self.memory.peak_bytes(),
            body: output,
        })
    }

    /// Prints why a verb failed, and gives the exit code.
    pub fn fail(json: bool, failure: &Failure) -> u8 {
        if json {
            // Nothing is left to tell anyone if stdout is closed as well: the exit code still speaks.
            let _ = json_of(&failure.json()).and_then(|text| print(&text));
        }
        eprint!("{}", failure.render(std::io::stderr().is_terminal()));
        failure.exit_code()
    }
}

fn json_of(object: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(object).map_err(|error| {
        Failure::new(
            plan::Refusal::Bug,
            format!("the result cannot be written as JSON: {error}"),
        )
    })
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::io("stdout", &error))
}
