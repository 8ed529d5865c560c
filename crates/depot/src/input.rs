//! The user's files under URLs: how long they are, ranges of them, and what lies below a folder. Nothing is ever written.

use crate::again::again;
use crate::error::DepotError;
use crate::place::cloud_settings;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use url::{Position, Url};

/// How long a place may take to answer at first. Who has no credentials is asked to wait for minutes by some clouds.
const PATIENCE: Duration = Duration::from_secs(20);

/// An object of the user's that is not written to while it is read.
#[derive(Clone, Debug)]
pub struct Input {
    place: Place,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Place {
    store: Arc<dyn ObjectStore>,
    path: Path,
    url: Arc<str>,
}

impl Place {
    fn of(url: &str) -> Result<Self, DepotError> {
        let wrong = |reason: String| DepotError::Input {
            url: url.to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if parsed.query().is_some() {
            return Err(wrong("it has a query, behind a `?`".to_owned()));
        }
        let mut settings = cloud_settings();
        match parsed.scheme() {
            "s3" | "gs" | "az" | "https" => {}
            // What is asked for in clear is given in clear; for clouds the environment says so.
            "http" => settings = vec![("allow_http".to_owned(), "true".to_owned())],
            other => return Err(wrong(format!("the scheme `{other}` is not known"))),
        }
        let (store, path) = object_store::parse_url_opts(&parsed, settings)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Place {
            store: Arc::from(store),
            path,
            url: Arc::from(url),
        })
    }

    fn failed(&self, doing: &'static str, error: Error) -> DepotError {
        match error {
            Error::NotFound { .. } if !DepotError::tells_of_a_bucket(&error) => {
                DepotError::NoObject {
                    url: self.url.to_string(),
                }
            }
            error => {
                DepotError::of_store(self.url.to_string(), self.path.to_string(), doing, error)
            }
        }
    }

    /// The first answer of a place, or that there is none.
    async fn first<T>(
        &self,
        doing: &'static str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DepotError> {
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|error| self.failed(doing, error)),
            Err(_) => Err(DepotError::Silent {
                url: self.url.to_string(),
                seconds: PATIENCE.as_secs(),
            }),
        }
    }
}

impl Input {
    /// Looks up `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, `https://HOST/PATH` or `http://HOST/PATH`.
    ///
    /// # Errors
    /// Where the URL is none of these, nothing is there, or the place does not answer.
    pub async fn open(url: &str) -> Result<Self, DepotError> {
        let place = Place::of(url)?;
        let found = place
            .first("looked up", again(|| place.store.head(&place.path)))
            .await?;
        Ok(Input {
            bytes: found.size,
            place,
        })
    }

    /// One of a length that is known.
    ///
    /// # Errors
    /// Where the URL is none of an object.
    pub fn of(url: &str, bytes: u64) -> Result<Self, DepotError> {
        let place = Place::of(url)?;
        Ok(Input { place, bytes })
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of it.
    ///
    /// # Errors
    /// Where the place does not give them, or the object is shorter by now.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, DepotError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let get = || self.place.store.get_range(&self.place.path, range.clone());
        let read = again(get).await;
        let read = read.map_err(|error| self.place.failed("read", error))?;
        if read.len() as u64 != wanted {
            return Err(DepotError::Input {
                url: self.place.url.to_string(),
                reason: "it has become shorter while it was read".to_owned(),
            });
        }
        Ok(read)
    }
}

/// The Parquet files below a folder, a URL that ends with a slash, in the order of their names.
///
/// # Errors
/// Where the place does not tell.
pub async fn below(folder: &str) -> Result<Vec<String>, DepotError> {
    let place = Place::of(folder)?;
    if folder.starts_with("http") {
        return Err(DepotError::Input {
            url: folder.to_owned(),
            reason: "a web server does not tell what lies in a folder: name each file".to_owned(),
        });
    }
    let listed = again(|| place.store.list(Some(&place.path)).try_collect());
    let found: Vec<object_store::ObjectMeta> = place.first("listed", listed).await?;
    let root =
        Url::parse(folder).map_or(String::new(), |url| url[..Position::BeforePath].to_owned());
    let mut files: Vec<String> = found
        .iter()
        .filter(|meta| meta.location.extension() == Some("parquet"))
        .map(|meta| format!("{root}/{}", meta.location))
        .collect();
    files.sort();
    Ok(files)
}
