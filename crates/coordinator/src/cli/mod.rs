//! The command line: arguments in, one verb run, an exit code out.

pub mod arguments;
pub mod help;
pub mod pages;

pub use arguments::{Command, Invocation};

use crate::failure::Failure;
use crate::job::advising::Advising;
use crate::job::check::{self, Needs};
use crate::job::document::Document;
use crate::job::merge::{Faults, Given, Merged};
use crate::job::settings::Settings;
use crate::job::tuning::{self, Tuning};
use crate::live::Live;
use crate::output::{Console, VerbOutput};
use crate::progress::Observer;
use crate::verbs::{self, Stop};
use arguments::Parsed;
use plan::Refusal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The job of `demo`, seen from the top of the source tree.
const DEMO_JOB: &str = "examples/complete-journey/job.toml";

/// All that `main` does.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(arguments))
}

/// The same where the process is not ours to end.
pub fn exit_code(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    store::heap::fix_thresholds();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The wish for JSON must be known even where the arguments make no sense.
    let json = arguments.iter().any(|argument| argument == "--json");
    let done = match arguments::parse(arguments) {
        Ok(Parsed::Print(text)) => {
            print(&text);
            Ok(())
        }
        Ok(Parsed::Manual(folder)) => pages::manual(&folder).map(|count| {
            print(&format!("{count} pages in {}\n", folder.display()));
        }),
        Ok(Parsed::Certificates {
            folder,
            days,
            renew,
        }) => verbs::authority::make(&folder, days, renew).map(|told| print(&told)),
        Ok(Parsed::Invocation(invocation)) => run(*invocation),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => Console::fail(json, &failure),
    }
}

/// Prints to stdout; a reader that went away early (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    let mut console = Console::new(invocation.json);
    let command = &invocation.command;
    let job = match command {
        Command::Demo => Some(demo_job()?),
        other => other.job().map(Path::to_path_buf),
    };
    let document = job.as_deref().map(Document::open).transpose()?;
    let merged = load(command, document, invocation.given);
    let output = perform(
        command,
        merged,
        &mut console,
        (invocation.json, Stop::Signals),
    )?;
    console.finish(command.name(), &output)
}

/// A verb inside a program that holds us: it brings the job as a document, hears what is told, and stops us by the token. Gives the
/// object that `--json` prints. The verb's own job file is not read.
///
/// # Errors
/// With the sentences and the exit code that the command line would end with.
pub fn embedded(
    command: &Command,
    job: Document,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<String, Failure> {
    let mut console = Console::of(observer);
    let merged = load(command, Some(job), Given::default());
    let output = perform(command, merged, &mut console, (true, Stop::Token(stop)))?;
    console.json(command.name(), &output)
}

/// Checks the settings together and runs the verb.
fn perform(
    command: &Command,
    (merged, faults): (Merged, Faults),
    console: &mut Console,
    (json, stop): (bool, Stop),
) -> Result<VerbOutput, Failure> {
    let needs = needs(command);
    let mut settings = match command {
        Command::Tune { .. } => tuning::base(&merged, needs, &faults)?,
        _ => check::settings(&merged, needs, faults)?,
    };
    // A verb without a job reads the place that it is given.
    if let Command::Inspect { at, graph: true } = command {
        settings.output.data = Some(at.clone());
    }
    let tuning = match command {
        Command::Tune { .. } => Some(Tuning::of(&merged, needs, &settings)?),
        _ => None,
    };
    let advising = match command {
        Command::Advise { .. } => Some(Advising::of(&merged, needs, &settings)?),
        _ => None,
    };
    if let Some(advising) = &advising {
        settings = advising.base();
    }
    // A search keeps what it makes beside the model, and leaves that alone.
    if let Some(trial) = tuning.as_ref().and_then(|tuning| tuning.trials.first()) {
        settings
            .output
            .model
            .clone_from(&trial.settings.output.model);
    }
    // With `--json` only errors reach stderr, unless a log was asked for.
    let quiet = json && !merged.is_given("run.log");
    start_log(if quiet { "error" } else { &settings.run.log }, json)?;
    if settings.run.http.is_some() {
        console.show(Arc::new(Live::new(command.name(), settings.run.memory.0)));
    }
    match command {
        Command::Config { .. } => Ok(VerbOutput::Config {
            settings: crate::job::describe::list(&merged),
        }),
        command => {
            let of = (tuning.as_ref(), advising.as_ref());
            verbs::dispatch(command, &settings, of, console, stop)
        }
    }
}

/// Merges; the environment is read here and nowhere else.
fn load(command: &Command, job: Option<Document>, mut given: Given) -> (Merged, Faults) {
    given.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut faults = Faults::default();
    let mut merged = Merged::new(job, &given, &mut faults);
    if matches!(command, Command::Demo) {
        merged.prefer("run.workers", "2", "demo");
    }
    (merged, faults)
}

/// The bundled job: in the source tree we stand in, beside the program's source tree, or installed beside it.
fn demo_job() -> Result<PathBuf, Failure> {
    let here = PathBuf::from(".");
    let mut roots = vec![here];
    if let Ok(program) = std::env::current_exe() {
        roots.extend(
            program
                .ancestors()
                .skip(1)
                .flat_map(|parent| [parent.to_path_buf(), parent.join("share/strata")]),
        );
    }
    roots.iter().map(|root| root.join(DEMO_JOB)).find(|job| job.is_file()).ok_or_else(|| {
        let sentence =
            format!("the demo reads {DEMO_JOB} of the source tree, which is not here: start it from the top of the tree");
        Failure::new(Refusal::Unavailable, sentence)
    })
}

fn needs(command: &Command) -> Needs {
    let none = Needs::default();
    match command {
        Command::Demo | Command::Run { .. } | Command::Tune { .. } => Needs {
            input: true,
            data: true,
            model: true,
            ..none
        },
        Command::Advise { .. } => Needs {
            input: true,
            data: true,
            model: true,
            test: true,
            ..none
        },
        Command::Cold { .. } => Needs {
            input: true,
            data: true,
            model: true,
            cold: true,
            ..none
        },
        Command::Plan { .. } => Needs {
            input: true,
            ..none
        },
        Command::Ingest { .. } => Needs {
            input: true,
            data: true,
            ..none
        },
        Command::Update { .. } => Needs {
            columns: true,
            data: true,
            ..none
        },
        Command::Forget { .. } => Needs { data: true, ..none },
        Command::Train { .. } => Needs {
            data: true,
            model: true,
            ..none
        },
        Command::Evaluate { .. } => Needs {
            data: true,
            model: true,
            test: true,
            ..none
        },
        Command::Recommend { .. } => Needs {
            data: true,
            model: true,
            recommend: true,
            ..none
        },
        Command::Export { .. } => Needs {
            data: true,
            model: true,
            export: true,
            ..none
        },
        Command::Report { .. } | Command::Segments { .. } | Command::Influencers { .. } => Needs {
            data: true,
            model: true,
            ..none
        },
        Command::Churn { .. } => Needs {
            data: true,
            model: true,
            churn: true,
            ..none
        },
        Command::Similar { .. } => Needs {
            data: true,
            model: true,
            similar: true,
            ..none
        },
        Command::Log { .. }
        | Command::Inspect { .. }
        | Command::Verify { .. }
        | Command::Generate { .. }
        | Command::Config { .. } => none,
    }
}

fn start_log(filter: &str, json: bool) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(
            Refusal::Config,
            format!("`run.log` \"{filter}\" is no filter of a log: {error}"),
        )
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first log.
    let _ = if json {
        lines.json().try_init()
    } else {
        lines.with_target(false).try_init()
    };
    Ok(())
}

/// The settings of a job file alone, for tests and tools that embed the coordinator.
pub fn settings_of(job: &Path, given: Given, needs: Needs) -> Result<Settings, Failure> {
    let mut faults = Faults::default();
    let merged = Merged::new(Some(Document::open(job)?), &given, &mut faults);
    check::settings(&merged, needs, faults)
}
