//! Inputs in the memory of this process, which the program that holds us brought: a job names them by URLs that mean something here
//! alone, and workers of this process read them without a detour.

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
        let url = format!("{SCHEME}{}", NEXT.fetch_add(1, Relaxed));
        inputs().insert(url.clone(), input);
        Resident { url }
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

/// The input of a URL, while it is known.
pub fn find(url: &str) -> Option<Arc<dyn ReadAt>> {
    inputs().get(url).cloned()
}

/// Forgets an input that will not be read again: its memory goes with its last reader.
pub fn let_go(url: &str) {
    // Dropped after the lock: it may be large.
    let gone = inputs().remove(url);
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
}
