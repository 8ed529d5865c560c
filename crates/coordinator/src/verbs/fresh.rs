//! Places that a verb makes, so that a verb that fails can take them away again.
//!
//! **Invariant:** only what this process made is removed, and only while nothing was committed into it.

use crate::job::settings::Location;
use depot::{Body, Depot};
use std::fs;
use std::path::{Path, PathBuf};

/// A local directory that was not there.
pub struct Fresh {
    /// It and its parents that were missing too, innermost first.
    missing: Vec<PathBuf>,
}

impl Fresh {
    /// `None` where the place is there already, or is not local.
    pub fn at(location: &Location) -> Option<Self> {
        let missing: Vec<PathBuf> = location
            .as_path()?
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_path_buf)
            .collect();
        (!missing.is_empty()).then_some(Fresh { missing })
    }

    /// Removes the directory, and the parents that came with it where nothing else is in them. What cannot be
    /// removed stays: the failure that led here is what people must hear of.
    pub fn remove(self) {
        let mut paths = self.missing.iter();
        let removed = paths.next().map(fs::remove_dir_all);
        if removed.is_some_and(|removed| removed.is_ok()) {
            for parent in paths {
                if fs::remove_dir(parent).is_err() {
                    break;
                }
            }
        }
    }
}

/// Whether no data set, view, checkpoint or model was committed.
pub async fn holds_nothing(depot: &Depot) -> bool {
    let Ok(numbers) = depot.manifests().await else {
        return false;
    };
    for number in numbers {
        match depot.manifest(number).await {
            Ok((manifest, _)) if matches!(manifest.body, Body::Term { .. }) => {}
            _ => return false,
        }
    }
    true
}
