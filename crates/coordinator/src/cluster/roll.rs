//! Addresses that may change while a run lasts: those that a name has, or those in a file.
//!
//! **Invariant:** an address that was on the roll once is dialled as long as the run lasts, whatever becomes of the roll: who keeps it
//! may lose sight of a worker that works.

use super::Shared;
use super::member::{self, Place};
use crate::job::check::host_and_port;
use plan::{Failure, Refusal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How often a name is resolved again, to find workers that were added.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// How often a file is read again.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long those in a file may take to come where nobody is there at first: as long as it takes to start them anew.
const FILE_PATIENCE: Duration = Duration::from_mins(1);

/// Where addresses are found.
pub(super) enum Roll {
    /// All that a name resolves to, HOST:PORT.
    Name(String),
    /// A file with an address a line.
    File(PathBuf),
}

impl Roll {
    /// The roll that stands in the place of an address.
    pub(super) fn of(address: &str) -> Option<Roll> {
        let name = address.strip_prefix("dns://");
        let file = || address.strip_prefix("file://");
        name.map(|name| Roll::Name(name.to_owned()))
            .or_else(|| file().map(|path| Roll::File(PathBuf::from(path))))
    }

    /// How long to wait for the first of them.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Roll::Name(_) => Duration::ZERO,
            Roll::File(_) => FILE_PATIENCE,
        }
    }

    /// The addresses now, sorted, each once.
    ///
    /// # Errors
    /// Where the name cannot be resolved, or the file not read, or a line of it is no address.
    pub(super) async fn call(&self) -> Result<Vec<String>, Failure> {
        let mut addresses: Vec<String> = match self {
            Roll::Name(service) => {
                let found = tokio::net::lookup_host(service).await.map_err(|error| {
                    refused(
                        Refusal::Unavailable,
                        format!("dns://{service} cannot be resolved: {error}"),
                    )
                })?;
                found.map(|address| address.to_string()).collect()
            }
            Roll::File(path) => {
                // Read on this thread: a page at most, and looked at once a second.
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let sentence =
                        format!("the workers in {} cannot be read: {error}", path.display());
                    refused(Refusal::Unavailable, sentence)
                })?;
                listed(&text).map_err(|(line, why)| {
                    let sentence = format!("{}, line {line}: {why}", path.display());
                    refused(Refusal::Config, sentence)
                })?
            }
        };
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }

    /// Dials addresses that come later.
    pub(super) async fn watch(self, shared: Arc<Shared>, mut known: Vec<String>) {
        let every = match self {
            Roll::Name(_) => RESOLVE_EVERY,
            Roll::File(_) => READ_EVERY,
        };
        let mut keepers = JoinSet::new();
        loop {
            tokio::time::sleep(every).await;
            // Told once, at the start; what cannot be read now may be so again.
            for address in self.call().await.unwrap_or_default() {
                if known.contains(&address) {
                    continue;
                }
                let (first, _) = oneshot::channel();
                let place = Place::There(address.clone());
                keepers.spawn(member::keep(Arc::clone(&shared), place, first));
                known.push(address);
            }
        }
    }
}

fn refused(refusal: Refusal, sentence: String) -> Failure {
    Failure::Refused { refusal, sentence }
}

/// The addresses of a file: one a line; empty lines and those that begin with `#` do not count. The line that is none, from 1.
fn listed(text: &str) -> Result<Vec<String>, (usize, String)> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| match host_and_port(line) {
            Ok(_) => Ok(line.to_owned()),
            Err(why) => Err((number + 1, why)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_an_address_a_line() {
        let read = listed("# ours\n\n b:2 \na:1\n");
        assert_eq!(read, Ok(vec!["b:2".to_owned(), "a:1".to_owned()]));
        assert_eq!(listed(""), Ok(Vec::new()));
        let (line, why) = listed("a:1\nhost\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(why.contains("`host` is no address of a worker"), "{why}");
    }
}
