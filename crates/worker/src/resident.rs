//! Inputs in the memory of this process, which the program that holds us brought: a job names them by URLs, and workers of this process
//! read them without a detour.
//!
//! `resident://NAME` means something here alone. `resident://HOST:PORT/NAME` is a table in the process of the worker that listens there,
//! which gives parts of it to whoever knows the name: nobody can guess it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tensor::ReadAt;

/// What a URL of such an input begins with.
const SCHEME: &str = "resident://";

type Inputs = BTreeMap<String, Arc<dyn ReadAt>>;

static INPUTS: Mutex<Inputs> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

fn inputs() -> MutexGuard<'static, Inputs> {
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An input that can be read as long as this lives, or until it is let go.
#[derive(Debug)]
pub struct Resident {
    url: String,
}

impl Resident {
    /// Makes an input known.
    pub fn new(input: Arc<dyn ReadAt>) -> Self {
        let name = NEXT.fetch_add(1, Relaxed).to_string();
        Self::named(&name, input)
    }

    /// Makes an input known under a name, which nobody else must have given.
    pub fn named(name: &str, input: Arc<dyn ReadAt>) -> Self {
        inputs().insert(name.to_owned(), input);
        Resident {
            url: format!("{SCHEME}{name}"),
        }
    }

    /// Its name in a job.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let_go(&self.url);
    }
}

/// Whether a URL is one of an input in memory, here or elsewhere.
pub fn is(url: &str) -> bool {
    url.starts_with(SCHEME)
}

/// The name in a URL of such an input, wherever it is.
fn name(url: &str) -> Option<&str> {
    let place = url.strip_prefix(SCHEME)?;
    Some(place.rsplit_once('/').map_or(place, |(_, name)| name))
}

/// The address of the worker that has an input, where its URL names one.
pub fn holder(url: &str) -> Option<&str> {
    let place = url.strip_prefix(SCHEME)?;
    place.rsplit_once('/').map(|(holder, _)| holder)
}

/// The input of a URL, while it is known here.
pub fn find(url: &str) -> Option<Arc<dyn ReadAt>> {
    inputs().get(name(url)?).cloned()
}

/// Forgets an input that will not be read again: its memory goes with its last reader.
pub fn let_go(url: &str) {
    // Dropped after the lock: it may be large.
    let gone = name(url).and_then(|name| inputs().remove(name));
    drop(gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(&'static [u8]);

    impl ReadAt for Text {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn an_input_is_known_until_it_is_let_go() {
        let (one, other) = (
            Resident::new(Arc::new(Text(b"one"))),
            Resident::new(Arc::new(Text(b"other"))),
        );
        assert_ne!(one.url(), other.url());
        assert_eq!(find(one.url()).unwrap().len(), 3);
        let url = other.url().to_owned();
        drop(other);
        assert!(find(&url).is_none());
        let_go(one.url());
        assert!(find(one.url()).is_none());
    }

    #[test]
    fn a_worker_is_named_in_front_of_a_name() {
        let held = Resident::named("0a1b", Arc::new(Text(b"rows")));
        let there = "resident://10.0.0.7:7001/0a1b";
        assert_eq!(holder(there), Some("10.0.0.7:7001"));
        assert_eq!(holder(held.url()), None);
        assert_eq!(find(there).unwrap().len(), 4);
        assert!(find("s3://bucket/0a1b").is_none());
        let_go(there);
        assert!(find(held.url()).is_none());
    }
}
