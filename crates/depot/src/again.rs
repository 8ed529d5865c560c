//! What a store says in part only is asked again. The client of the clouds tries requests again by itself, with pauses that grow; but not
//! where an answer breaks off in the middle, and not where a request might have been heard already, as one that creates.
//!
//! **Invariant:** what is asked again may be done twice without harm: reads, objects under the hash of their bytes, and the creation of a
//! manifest, of which the second finds the first in its way.

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as Cause;
use std::time::Duration;

/// How often, and the first pause, which doubles: 6 s in all.
const TIMES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until there is an answer, or for the last time.
pub(crate) async fn again<T, F: Future<Output = Result<T, Error>>>(
    ask: impl Fn() -> F,
) -> Result<T, Error> {
    let mut pause = PAUSE;
    for _ in 0..TIMES {
        match ask().await {
            Err(error) if broke_off(&error) => {
                tracing::debug!(%error, "a store is asked again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
    ask().await
}

/// Whether a connection ended on the way. One that does not come about was tried often enough by then.
fn broke_off(error: &Error) -> bool {
    let mut cause: Option<&(dyn Cause + 'static)> = Some(error);
    while let Some(at) = cause {
        if let Some(found) = at.downcast_ref::<HttpError>() {
            return found.kind() != HttpErrorKind::Connect;
        }
        cause = at.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn broken(kind: HttpErrorKind) -> Error {
        Error::Generic {
            store: "of a test",
            source: Box::new(HttpError::new(kind, std::io::Error::other("it ended"))),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_off_is_asked_again_for_a_while() {
        let asked = Cell::new(0);
        let after = |answers: u32, kind| {
            asked.set(0);
            let asked = &asked;
            again(move || async move {
                asked.set(asked.get() + 1);
                if asked.get() > answers {
                    Ok(7)
                } else {
                    Err(broken(kind))
                }
            })
        };
        assert_eq!(after(0, HttpErrorKind::Unknown).await.unwrap(), 7);
        assert_eq!(after(6, HttpErrorKind::Interrupted).await.unwrap(), 7);
        assert_eq!(asked.get(), 7);
        assert!(after(7, HttpErrorKind::Request).await.is_err());
        assert_eq!(asked.get(), 7);
        assert!(after(1, HttpErrorKind::Connect).await.is_err());
        assert_eq!(asked.get(), 1);
        let missing = || async {
            asked.set(asked.get() + 1);
            Err::<(), _>(Error::NotFound {
                path: "a".into(),
                source: "nothing".into(),
            })
        };
        assert!(again(missing).await.is_err());
        assert_eq!(asked.get(), 2);
    }
}
