//! Files that get their name when they are whole.

use crate::out::OutError;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file in the making, beside its final name. Dropped without [`Unfinished::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
}

impl Unfinished {
    /// Begins a file; its directory is made where it is missing.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub fn create(path: &Path) -> Result<(Self, File), OutError> {
        let directory = directory_of(path);
        fs::create_dir_all(directory).map_err(|error| OutError::Io {
            path: directory.to_owned(),
            error,
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}.part", std::process::id()));
        // What lies there is of a process of this number that died, or a link that somebody laid: it goes, and never what it leads to.
        let _ = fs::remove_file(&temporary);
        let file = File::create_new(&temporary).map_err(|error| OutError::Io {
            path: temporary.clone(),
            error,
        })?;
        let path = path.to_owned();
        Ok((Unfinished { path, temporary }, file))
    }

    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable under its name.
    ///
    /// # Errors
    /// Where it cannot be written out or renamed.
    pub fn finish(self, file: &File) -> Result<(), OutError> {
        let io = |error| OutError::Io {
            path: self.path.clone(),
            error,
        };
        file.sync_all().map_err(io)?;
        fs::rename(&self.temporary, &self.path).map_err(io)?;
        sync_folder(directory_of(&self.path))
    }
}

/// Makes names in a folder durable, or that they are gone.
pub(super) fn sync_folder(folder: &Path) -> Result<(), OutError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| OutError::Io {
            path: folder.to_owned(),
            error,
        })
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is no such file; where removing fails there is nobody left to tell.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes a text that has its name only when it is whole.
///
/// # Errors
/// Where it cannot be written.
pub fn publish_text(path: &Path, text: &str) -> Result<(), OutError> {
    let (unfinished, mut file) = Unfinished::create(path)?;
    file.write_all(text.as_bytes())
        .map_err(|error| OutError::Io {
            path: path.to_owned(),
            error,
        })?;
    unfinished.finish(&file)
}
