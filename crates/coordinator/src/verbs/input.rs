//! The user's files, read where they lie.

use crate::cluster::InputFile;
use crate::failure::Failure;
use crate::job::settings::Location;
use plan::Refusal;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::ReadAt;

/// An open local file.
pub struct LocalFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl LocalFile {
    /// As people know it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As a session serves it.
    pub fn served(&self) -> InputFile {
        InputFile {
            path: self.path.clone(),
            bytes: self.bytes,
        }
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Opens an input file.
///
/// # Errors
/// Where it cannot be opened, or lies under a URL.
pub fn open(location: &Location) -> Result<Arc<LocalFile>, Failure> {
    match location {
        Location::Path(path) => {
            let failed = |error: io::Error| Failure::io(path.display(), &error);
            let file = File::open(path).map_err(failed)?;
            let bytes = file.metadata().map_err(failed)?.len();
            // Workers in this process open it by its path, from wherever the process stands.
            let path = std::path::absolute(path).map_err(failed)?;
            Ok(Arc::new(LocalFile { file, path, bytes }))
        }
        Location::Url(url) => {
            let sentence = format!(
                "{url}: input under a URL is not in this version: copy the files to a local directory"
            );
            Err(Failure::new(Refusal::Config, sentence))
        }
    }
}
