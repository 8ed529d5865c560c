//! Where a depot lies: a local directory, a bucket, or memory in tests.

use crate::error::DepotError;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use url::Url;

/// Durable objects and manifests under a URL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Depot {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) url: Arc<str>,
    /// The folder, where it is one of this machine.
    pub(crate) folder: Option<Arc<std::path::Path>>,
    /// Nothing here waits for a disk: work is done in place, which a simulation without threads needs.
    in_memory: bool,
}

impl Depot {
    /// Opens `file://...`, a bare path (made where it is missing), `s3://...`, `gs://...`, `az://...`, or `memory://NAME`,
    /// which lives as long as the process. Credentials of clouds come from their usual environment variables
    /// (docs/data.md names them).
    ///
    /// # Errors
    /// Where the URL is none of these or the directory cannot be made.
    pub fn open(url: &str) -> Result<Self, DepotError> {
        let wrong = |reason: String| DepotError::Url {
            url: url.to_owned(),
            reason,
        };
        if let Some(name) = url.strip_prefix("memory://") {
            let mut depot = Self::new(memory(name), Path::default(), url);
            depot.in_memory = true;
            return Ok(depot);
        }
        // A bare path; one letter before the colon would be a drive, no scheme.
        let Some((scheme, _)) = url.split_once("://") else {
            return Self::local(std::path::Path::new(url), url);
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        match scheme {
            "file" => {
                let path = parsed
                    .to_file_path()
                    .map_err(|()| wrong("it names no local path".to_owned()))?;
                Self::local(&path, url)
            }
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => {
                let (store, root) = object_store::parse_url_opts(&parsed, cloud_settings())
                    .map_err(|error| wrong(error.to_string()))?;
                Ok(Self::new(Arc::from(store), root, url))
            }
            _ => Err(wrong(format!("the scheme `{scheme}` is not known"))),
        }
    }

    fn local(path: &std::path::Path, url: &str) -> Result<Self, DepotError> {
        let wrong = |reason: String| DepotError::Url {
            url: url.to_owned(),
            reason,
        };
        store::folder::make_durable(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => DepotError::Denied {
                url: url.to_owned(),
                path: path.display().to_string(),
                doing: "made",
            },
            std::io::ErrorKind::NotADirectory
            | std::io::ErrorKind::AlreadyExists
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::InvalidFilename => wrong(error.to_string()),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                DepotError::Full {
                    url: url.to_owned(),
                    path: path.display().to_string(),
                }
            }
            // The place is right, the disk is not.
            _ => DepotError::Store(store::StoreError::Io {
                path: path.to_owned(),
                doing: "made",
                source: error,
            }),
        })?;
        let store =
            LocalFileSystem::new_with_prefix(path).map_err(|error| wrong(error.to_string()))?;
        let mut depot = Self::new(Arc::new(store.with_fsync(true)), Path::default(), url);
        depot.folder = Some(Arc::from(path));
        Ok(depot)
    }

    fn new(store: Arc<dyn ObjectStore>, root: Path, url: &str) -> Self {
        Depot {
            store,
            root,
            url: Arc::from(url),
            folder: None,
            in_memory: false,
        }
    }

    /// Makes removals of objects last: a store on a local disk syncs what it puts, but not what it removes.
    pub(crate) async fn sync_removals(&self) -> Result<(), DepotError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let objects = folder.join("objects");
        self.off_thread(move || Ok(store::folder::sync(&objects)?))
            .await
    }

    /// The URL it was opened by.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs what waits for a local disk where it does not hold up other work.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, DepotError> + Send + 'static,
    ) -> Result<T, DepotError> {
        if self.in_memory {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| DepotError::Abandoned)?
    }

    /// Names what the store said.
    pub(crate) fn failed(
        &self,
        path: &Path,
        doing: &'static str,
    ) -> impl FnOnce(Error) -> DepotError + use<> {
        let (url, path) = (self.url.to_string(), path.to_string());
        move |source| DepotError::of_store(url, path, doing, source)
    }
}

/// The depots in memory, by name: whoever opens the same name in one process sees the same objects.
fn memory(name: &str) -> Arc<dyn ObjectStore> {
    static PLACES: OnceLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = OnceLock::new();
    let mut places = PLACES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    places.entry(name.to_owned()).or_default().clone()
}

pub(crate) fn cloud_settings() -> Vec<(String, String)> {
    let of_a_cloud = |key: &str| {
        ["AWS_", "GOOGLE_", "AZURE_"]
            .iter()
            .any(|prefix| key.starts_with(prefix))
    };
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(key, _)| of_a_cloud(key))
        .collect()
}
