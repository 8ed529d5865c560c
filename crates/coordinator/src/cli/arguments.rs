//! The grammar of the command line. Flags that set something come from the registry of settings.

use crate::cli::{help, pages};
use crate::failure::Failure;
use crate::job::describe;
use crate::job::keys::{KEYS, Key};
use crate::job::merge::Given;
use crate::job::settings::Location;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, ValueHint, builder::StyledStr};
use clap_complete::Shell;
use plan::Refusal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The bundled data, the whole path.
    Demo,
    /// Everything the job names.
    Run {
        /// The job file.
        job: PathBuf,
    },
    /// What it would take.
    Plan {
        /// The job file.
        job: PathBuf,
    },
    /// Parquet in, a sealed data set out.
    Ingest {
        /// The job file.
        job: PathBuf,
    },
    /// New rows on top of a data set.
    Update {
        /// The job file.
        job: PathBuf,
    },
    /// Users out of a data set and its models.
    Forget {
        /// The job file.
        job: PathBuf,
        /// Files of ids.
        users: Vec<PathBuf>,
        /// Ids.
        ids: Vec<String>,
    },
    /// A model from a data set.
    Train {
        /// The job file.
        job: PathBuf,
    },
    /// The best settings by the validation part.
    Tune {
        /// The job file.
        job: PathBuf,
    },
    /// Which model to use.
    Advise {
        /// The job file.
        job: PathBuf,
    },
    /// A model against the test part.
    Evaluate {
        /// The job file.
        job: PathBuf,
    },
    /// Products for every user.
    Recommend {
        /// The job file.
        job: PathBuf,
    },
    /// Rows that are like each row.
    Similar {
        /// The job file.
        job: PathBuf,
    },
    /// Rows brought together.
    Segments {
        /// The job file.
        job: PathBuf,
    },
    /// Rows through whom others are reached.
    Influencers {
        /// The job file.
        job: PathBuf,
    },
    /// The factors as files.
    Export {
        /// The job file.
        job: PathBuf,
    },
    /// The report, for people.
    Report {
        /// The job file.
        job: PathBuf,
    },
    /// What a data set or a model is.
    Inspect {
        /// Where it is.
        at: Location,
        /// Whether its graph is told of.
        graph: bool,
    },
    /// Whether every object of it is whole.
    Verify {
        /// Where it is.
        at: Location,
    },
    /// Purchases with a planted truth.
    Generate {
        /// The folder to make.
        at: Location,
        /// The file with [generate].
        job: Option<PathBuf>,
    },
    /// The merged settings.
    Config {
        /// The job file.
        job: Option<PathBuf>,
    },
}

impl Command {
    /// The verb.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Demo => "demo",
            Command::Run { .. } => "run",
            Command::Plan { .. } => "plan",
            Command::Ingest { .. } => "ingest",
            Command::Update { .. } => "update",
            Command::Forget { .. } => "forget",
            Command::Train { .. } => "train",
            Command::Tune { .. } => "tune",
            Command::Advise { .. } => "advise",
            Command::Evaluate { .. } => "evaluate",
            Command::Recommend { .. } => "recommend",
            Command::Similar { .. } => "similar",
            Command::Segments { .. } => "segments",
            Command::Influencers { .. } => "influencers",
            Command::Export { .. } => "export",
            Command::Report { .. } => "report",
            Command::Inspect { .. } => "inspect",
            Command::Verify { .. } => "verify",
            Command::Generate { .. } => "generate",
            Command::Config { .. } => "config",
        }
    }

    /// The job file that was named.
    pub fn job(&self) -> Option<&Path> {
        match self {
            Command::Run { job }
            | Command::Plan { job }
            | Command::Ingest { job }
            | Command::Update { job }
            | Command::Forget { job, .. }
            | Command::Train { job }
            | Command::Tune { job }
            | Command::Advise { job }
            | Command::Evaluate { job }
            | Command::Recommend { job }
            | Command::Similar { job }
            | Command::Segments { job }
            | Command::Influencers { job }
            | Command::Export { job }
            | Command::Report { job } => Some(job),
            Command::Config { job } | Command::Generate { job, .. } => job.as_deref(),
            Command::Demo | Command::Inspect { .. } | Command::Verify { .. } => None,
        }
    }
}

/// One command line.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// Whether stdout gets one JSON object.
    pub json: bool,
    /// The settings given by flags.
    pub given: Given,
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Parsed {
    /// A verb.
    Invocation(Box<Invocation>),
    /// Help, the version, the page of settings, or a script for a shell.
    Print(String),
    /// The pages of the manual, into this folder.
    Manual(PathBuf),
}

/// Reads the arguments, the program's name first.
pub fn parse(arguments: Vec<OsString>) -> Result<Parsed, Failure> {
    let matches = match grammar().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Parsed::Print(error.render().to_string()))
                }
                ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::new(
                    Refusal::Usage,
                    "no verb is given: `coordinator --help` lists them, `demo` is a start",
                )),
                _ => Err(Failure::new(
                    Refusal::Usage,
                    one_sentence(&error.render().to_string()),
                )),
            };
        }
    };
    let Some((verb, of_verb)) = matches.subcommand() else {
        return Err(Failure::new(
            Refusal::Usage,
            "no verb is given: `coordinator --help` lists them",
        ));
    };
    if verb == "config" && of_verb.get_flag("describe") {
        return Ok(Parsed::Print(describe::page()));
    }
    if let Some(shell) = of_verb.try_get_one::<Shell>("shell").ok().flatten() {
        return Ok(Parsed::Print(pages::completions(*shell)));
    }
    if let Some(folder) = of_verb.try_get_one::<PathBuf>("folder").ok().flatten() {
        return Ok(Parsed::Manual(folder.clone()));
    }
    let job = || {
        of_verb
            .get_one::<PathBuf>("job")
            .cloned()
            .unwrap_or_default()
    };
    let at = || {
        let text = of_verb
            .get_one::<String>("at")
            .map(String::as_str)
            .unwrap_or_default();
        Location::new(text, Path::new(""))
    };
    let command = match verb {
        "demo" => Command::Demo,
        "run" => Command::Run { job: job() },
        "plan" => Command::Plan { job: job() },
        "ingest" => Command::Ingest { job: job() },
        "update" => Command::Update { job: job() },
        "forget" => Command::Forget {
            job: job(),
            users: all::<PathBuf>(of_verb, "users"),
            ids: all::<String>(of_verb, "user"),
        },
        "train" => Command::Train { job: job() },
        "tune" => Command::Tune { job: job() },
        "advise" => Command::Advise { job: job() },
        "evaluate" => Command::Evaluate { job: job() },
        "recommend" => Command::Recommend { job: job() },
        "similar" => Command::Similar { job: job() },
        "segments" => Command::Segments { job: job() },
        "influencers" => Command::Influencers { job: job() },
        "export" => Command::Export { job: job() },
        "report" => Command::Report { job: job() },
        "inspect" => Command::Inspect {
            at: at(),
            graph: of_verb.get_flag("graph"),
        },
        "verify" => Command::Verify { at: at() },
        "generate" => Command::Generate {
            at: at(),
            job: of_verb.get_one::<PathBuf>("job").cloned(),
        },
        _ => Command::Config {
            job: of_verb.get_one::<PathBuf>("job").cloned(),
        },
    };
    let given = Given {
        environment: Vec::new(),
        flags: flags(&matches, of_verb)?,
    };
    Ok(Parsed::Invocation(Box::new(Invocation {
        command,
        json: of_verb.get_flag("json"),
        given,
    })))
}

/// The settings that flags give: those of `--set` first, then the short ones, so that the more special flag wins.
fn flags(
    before: &ArgMatches,
    of_verb: &ArgMatches,
) -> Result<Vec<(String, String, String)>, Failure> {
    let mut flags = Vec::new();
    let given = [before, of_verb].map(|of| of.get_many::<String>("set"));
    for text in given.into_iter().flatten().flatten() {
        let Some((path, value)) = text.split_once('=') else {
            let sentence = format!("--set {text} has no `=`: write --set SECTION.KEY=VALUE");
            return Err(Failure::new(Refusal::Usage, sentence));
        };
        let path = path.trim();
        flags.push((
            format!("--set {path}"),
            path.to_owned(),
            value.trim().to_owned(),
        ));
    }
    for key in KEYS {
        let Some(flag) = key.flag else { continue };
        // Flags of [generate] belong to that verb: the others do not know them.
        if let Ok(Some(value)) = of_verb.try_get_one::<String>(flag) {
            flags.push((format!("--{flag}"), key.path.to_owned(), value.clone()));
        }
    }
    Ok(flags)
}

/// Every value of a flag that can be repeated.
fn all<T: Clone + Send + Sync + 'static>(of_verb: &ArgMatches, flag: &str) -> Vec<T> {
    let given = of_verb.get_many::<T>(flag);
    given.into_iter().flatten().cloned().collect()
}

/// Whom to forget. No setting: a job file is no place for the ids of people who want to be forgotten.
fn forgetting(verb: clap::Command) -> clap::Command {
    let heading = "Whom to forget";
    verb.arg(
        Arg::new("users")
            .long("users")
            .action(ArgAction::Append)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .required_unless_present("user")
            .help_heading(heading)
            .help("A file of ids: text with one a line, or Parquet; repeatable"),
    )
    .arg(
        Arg::new("user")
            .long("user")
            .action(ArgAction::Append)
            .value_name("ID")
            .allow_hyphen_values(true)
            .help_heading(heading)
            .help("An original id, as in --user 1029; bytes in hexadecimals; repeatable"),
    )
}

/// clap's message without its word "error", its usage and its hint about help: one sentence, tips in brackets.
fn one_sentence(rendered: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for line in rendered
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        words.push(line.trim_start_matches("error: "));
    }
    let sentence = words.join(" ").replace(" tip: ", ": ");
    format!("{sentence}; `coordinator --help` explains the command line")
}

/// The whole grammar.
pub fn grammar() -> clap::Command {
    let job = || {
        Arg::new("job")
            .value_name("JOB.toml")
            .required(true)
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help("The job file")
    };
    let at = || {
        Arg::new("at")
            .value_name("PLACE")
            .required(true)
            .value_hint(ValueHint::AnyPath)
            .help("A data set or a model: a path or a URL")
    };
    // One before the verb and one behind it add up. A global one would keep those behind it alone.
    let set = || {
        Arg::new("set")
            .long("set")
            .action(ArgAction::Append)
            .value_name("SECTION.KEY=VALUE")
            .help("Any setting, as in --set model.rank=32; repeatable")
    };
    let verb = |name: &'static str| {
        let (about, examples) = help::of_verb(name);
        clap::Command::new(name)
            .about(about)
            .arg(set())
            .after_help(StyledStr::from(examples))
    };
    let mut grammar = clap::Command::new("coordinator")
        .version(env!("CARGO_PKG_VERSION"))
        .about(help::ABOUT)
        .after_help(help::AFTER)
        .subcommand_required(true)
        .disable_help_subcommand(false)
        .arg(
            Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help(help::JSON),
        )
        .arg(set());
    let flag = |key: &Key| {
        let default = key.default.map(|default| format!(" [default: {default}]"));
        let flag = key.flag?;
        let help = format!("{}{}", key.help, default.unwrap_or_default());
        let value = help::value_name(flag);
        Some(Arg::new(flag).long(flag).value_name(value).help(help))
    };
    let (generating, machine): (Vec<&Key>, Vec<&Key>) =
        KEYS.iter().partition(|key| key.section() == "generate");
    let globals = machine.into_iter().filter_map(flag);
    grammar = grammar.args(globals.map(|flag| flag.global(true)));
    let world = generating.into_iter().filter_map(flag);
    let world = world.map(|flag| flag.help_heading("What to generate"));
    grammar
        .subcommand(verb("demo"))
        .subcommand(verb("run").arg(job()))
        .subcommand(verb("plan").arg(job()))
        .subcommand(verb("ingest").arg(job()))
        .subcommand(verb("update").arg(job()))
        .subcommand(forgetting(verb("forget").arg(job())))
        .subcommand(verb("train").arg(job()))
        .subcommand(verb("tune").arg(job()))
        .subcommand(verb("advise").arg(job()))
        .subcommand(verb("evaluate").arg(job()))
        .subcommand(verb("recommend").arg(job()))
        .subcommand(verb("similar").arg(job()))
        .subcommand(verb("segments").arg(job()))
        .subcommand(verb("influencers").arg(job()))
        .subcommand(verb("export").arg(job()))
        .subcommand(verb("report").arg(job()))
        .subcommand(
            verb("inspect").arg(at()).arg(
                Arg::new("graph")
                    .long("graph")
                    .action(ArgAction::SetTrue)
                    .help("Tell facts about the graph of users and products, too; reads all interactions"),
            ),
        )
        .subcommand(verb("verify").arg(at()))
        .subcommand(
            verb("generate")
                .arg(
                    Arg::new("at")
                        .value_name("FOLDER")
                        .required(true)
                        .help("The folder to make"),
                )
                .arg(job().required(false).help("A file with [generate]"))
                .args(world),
        )
        .subcommand(
            verb("config").arg(job().required(false)).arg(
                Arg::new("describe")
                    .long("describe")
                    .action(ArgAction::SetTrue)
                    .help("Print what every setting does, as docs/settings.md"),
            ),
        )
        .subcommand(
            verb("completions").arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(clap::value_parser!(Shell))
                    .help("The shell that is to complete"),
            ),
        )
        .subcommand(
            verb("manual").arg(
                Arg::new("folder")
                    .value_name("FOLDER")
                    .required(true)
                    .value_parser(clap::value_parser!(PathBuf))
                    .value_hint(ValueHint::DirPath)
                    .help("Where the pages go, as in ~/.local/share/man/man1"),
            ),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_verb() {
        for line in [
            "coordinator --workers 2 --json run j.toml --set model.rank=8",
            "coordinator run --workers 2 j.toml --set model.rank=8 --json",
            "coordinator --set model.rank=8 run --set run.workers=2 j.toml --json",
        ] {
            let Ok(Parsed::Invocation(invocation)) = parsed(line) else {
                panic!("{line}")
            };
            assert_eq!(
                invocation.command,
                Command::Run {
                    job: "j.toml".into()
                }
            );
            assert!(invocation.json);
            let paths: Vec<&str> = invocation
                .given
                .flags
                .iter()
                .map(|(_, path, _)| path.as_str())
                .collect();
            assert_eq!(paths, ["model.rank", "run.workers"]);
        }
    }

    #[test]
    fn wrong_usage_is_one_sentence() {
        for (line, sentence) in [
            ("coordinator", "no verb is given"),
            (
                "coordinator rum j.toml",
                "unrecognized subcommand 'rum': a similar subcommand exists: 'run'",
            ),
            (
                "coordinator run",
                "the following required arguments were not provided: <JOB.toml>",
            ),
            (
                "coordinator run j.toml --wokers 2",
                "unexpected argument '--wokers' found: a similar argument exists",
            ),
            ("coordinator run j.toml --set rank", "--set rank has no `=`"),
        ] {
            let failure = parsed(line).expect_err(line);
            assert_eq!(failure.exit_code(), 64);
            assert!(failure.message().starts_with(sentence), "{line}: {failure}");
            assert!(!failure.message().contains('\n'));
        }
    }

    #[test]
    fn help_and_version_are_no_failures() {
        for line in [
            "coordinator --help",
            "coordinator run --help",
            "coordinator --version",
            "coordinator config --describe",
        ] {
            assert!(matches!(parsed(line), Ok(Parsed::Print(_))), "{line}");
        }
    }
}
