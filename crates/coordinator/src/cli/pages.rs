//! What clap knows of the command line, for others: completions for shells, and pages of the manual.

use crate::cli::arguments::grammar;
use crate::failure::Failure;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;
use worker::arguments::Arguments;

/// The section of the manual: programs that a user starts.
const SECTION: &str = "1";

/// The script that teaches a shell the verbs and flags.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "coordinator", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes `coordinator.1`, a page for every verb, as `coordinator-run.1`, and `worker.1` into a folder, which is made if it is not there. Says how
/// many.
///
/// # Errors
/// [`plan::Refusal::Io`] where the folder or a page cannot be written.
pub fn manual(folder: &Path) -> Result<usize, Failure> {
    let pages = rendered();
    let cannot = |error: std::io::Error| {
        Failure::io(format!("{} cannot be written", folder.display()), &error)
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    for (name, page) in &pages {
        let file = folder.join(format!("{name}.{SECTION}"));
        std::fs::write(&file, page).map_err(|error| {
            Failure::io(format!("{} cannot be written", file.display()), &error)
        })?;
    }
    Ok(pages.len())
}

/// The pages by name.
fn rendered() -> Vec<(String, Vec<u8>)> {
    let mut whole = grammar().disable_help_subcommand(true);
    whole.build();
    let verbs = whole.get_subcommands().map(|verb| {
        let name = format!("coordinator-{}", verb.get_name());
        (verb.clone().display_name(&name), name)
    });
    let mut commands: Vec<(clap::Command, String)> = verbs.collect();
    commands.insert(0, (whole.clone(), "coordinator".to_owned()));
    commands.push((Arguments::command(), "worker".to_owned()));
    let page = |(command, name): (clap::Command, String)| {
        let mut page = Vec::new();
        // Writing to memory does not fail.
        let _ = Man::new(command).section(SECTION).render(&mut page);
        (name, page)
    };
    commands.into_iter().map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_learns_every_verb() {
        let grammar = grammar();
        for shell in Shell::value_variants() {
            let script = completions(*shell);
            for verb in grammar.get_subcommands() {
                assert!(
                    script.contains(verb.get_name()),
                    "{shell}: {}",
                    verb.get_name()
                );
            }
        }
    }

    #[test]
    fn every_verb_has_a_page_with_its_flags_and_examples() {
        let pages = rendered();
        assert_eq!(pages.len(), grammar().get_subcommands().count() + 2);
        for (name, page) in &pages {
            let text = String::from_utf8(page.clone()).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{name}");
            let flag = if name == "worker" {
                "\\-\\-listen"
            } else {
                "\\-\\-set"
            };
            assert!(text.contains(flag), "{name}");
        }
        let run = pages.iter().find(|(name, _)| name == "coordinator-run");
        let run = String::from_utf8(run.unwrap().1.clone()).unwrap();
        assert!(
            run.contains("JOB.toml") && run.contains("Examples:") && run.contains("\\-\\-memory")
        );
    }
}
