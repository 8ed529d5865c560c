//! The user's files, read where they lie: on a disk, or in the memory of the program that holds us.

use crate::cluster::{InputFile, InputPlace};
use crate::failure::Failure;
use crate::job::settings::Location;
use plan::Refusal;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use tensor::ReadAt;
use worker::resident;

/// An open local file.
pub struct LocalFile {
    source: Source,
    place: InputPlace,
    bytes: u64,
    written: (i64, i64),
}

enum Source {
    File(File),
    Resident(Arc<dyn ReadAt>),
}

impl LocalFile {
    /// As people know it.
    pub fn name(&self) -> String {
        self.location().to_string()
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        match &self.place {
            InputPlace::Path(path) => Location::Path(path.clone()),
            InputPlace::Resident(url) => Location::Url(url.clone()),
        }
    }

    /// As a session serves it.
    pub fn served(&self) -> InputFile {
        InputFile {
            place: self.place.clone(),
            bytes: self.bytes,
            written: self.written,
        }
    }

    /// Says that no verb reads it again: one in memory goes with the last who holds it.
    pub fn let_go(&self) {
        if let InputPlace::Resident(url) = &self.place {
            resident::let_go(url);
        }
    }
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.source {
            Source::File(file) => file.read_exact_at(buffer, offset),
            Source::Resident(table) => table.read_at(offset, buffer),
        }
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
            let metadata = file.metadata().map_err(failed)?;
            // Workers in this process open it by its path, from wherever the process stands.
            let path = std::path::absolute(path).map_err(failed)?;
            Ok(Arc::new(LocalFile {
                source: Source::File(file),
                place: InputPlace::Path(path),
                bytes: metadata.len(),
                written: written(&metadata),
            }))
        }
        Location::Url(url) => {
            if let Some(table) = resident::find(url) {
                return Ok(Arc::new(LocalFile {
                    bytes: table.len(),
                    source: Source::Resident(table),
                    place: InputPlace::Resident(url.clone()),
                    written: (0, 0),
                }));
            }
            let sentence = format!(
                "{url}: input under a URL is not in this version: copy the files to a local directory"
            );
            Err(Failure::new(Refusal::Config, sentence))
        }
    }
}

fn written(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Holds that files are still those that were opened: of one that was written meanwhile, rows may have been read that never stood beside
/// each other.
///
/// # Errors
/// Where one is not, by its name.
pub fn unchanged(inputs: &[InputFile]) -> Result<(), Failure> {
    for input in inputs {
        let InputPlace::Path(path) = &input.place else {
            continue;
        };
        let same = std::fs::metadata(path).is_ok_and(|metadata| {
            (metadata.len(), written(&metadata)) == (input.bytes, input.written)
        });
        if !same {
            let sentence = format!(
                "{} was changed while it was read, and nothing was made of it: give the command again when nobody writes it",
                path.display()
            );
            return Err(Failure::new(Refusal::TryAgain, sentence));
        }
    }
    Ok(())
}
