//! The verbs: each takes checked settings and a console, and gives what it found.
//!
//! **Invariant:** a verb prints nothing but through the console's observer, and reads no flag or variable.

use crate::cli::Command;
use crate::failure::Failure;
use crate::job::settings::Settings;
use crate::output::{Console, VerbOutput};
use plan::Refusal;

/// Runs a verb. `config` never comes here: it shows what stands before settings are typed.
pub fn dispatch(
    command: &Command,
    _settings: &Settings,
    _console: &Console,
) -> Result<VerbOutput, Failure> {
    let sentence = format!(
        "the verb `{}` is not joined to the engine in this build",
        command.name()
    );
    Err(Failure::new(Refusal::Bug, sentence))
}
