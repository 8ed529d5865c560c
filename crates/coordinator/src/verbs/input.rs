//! The user's files, read where they lie: on a disk, under a URL, in the memory of the program that holds us, or in that of workers.

use super::engine::Engine;
use crate::away::waited;
use crate::cluster::{InputFile, InputPlace};
use crate::failure::Failure;
use crate::job::settings::Location;
use plan::Refusal;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use tensor::ReadAt;
use tokio::runtime::Handle;
use worker::inputs::Inputs;
use worker::resident;

/// When something that is no file was written: nobody asks.
const NEVER: (i64, i64) = (0, 0);

/// An open input.
pub struct OpenInput {
    source: Source,
    place: InputPlace,
    bytes: u64,
    written: (i64, i64),
}

enum Source {
    File(File),
    Resident(Arc<dyn ReadAt>),
    Away(Away),
}

/// What is asked for over a network.
struct Away {
    url: String,
    ways: Arc<Inputs>,
    runtime: Handle,
}

impl OpenInput {
    /// As people know it.
    pub fn name(&self) -> String {
        self.location().to_string()
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        match &self.place {
            InputPlace::Path(path) => Location::Path(path.clone()),
            InputPlace::Resident(url) | InputPlace::Url(url) => Location::Url(url.clone()),
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
        match &self.source {
            Source::File(_) => {}
            Source::Resident(_) => resident::let_go(&self.name()),
            Source::Away(away) => {
                let (ways, url) = (Arc::clone(&away.ways), away.url.clone());
                drop(away.runtime.spawn(async move { ways.let_go(&url).await }));
            }
        }
    }
}

impl ReadAt for OpenInput {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.source {
            Source::File(file) => file.read_exact_at(buffer, offset),
            Source::Resident(table) => table.read_at(offset, buffer),
            Source::Away(away) => {
                let (ways, url, bytes) = (Arc::clone(&away.ways), away.url.clone(), self.bytes);
                let range = offset..offset + buffer.len() as u64;
                let reading = async move { ways.read(&url, bytes, range).await };
                let read = waited(&away.runtime, reading).map_err(io::Error::other)?;
                buffer.copy_from_slice(&read);
                Ok(())
            }
        }
    }
}

/// Opens an input.
///
/// # Errors
/// Where it cannot be opened.
pub fn open(engine: &Engine<'_>, location: &Location) -> Result<Arc<OpenInput>, Failure> {
    let opened = match location {
        Location::Path(path) => {
            let failed = |error: io::Error| Failure::io(path.display(), &error);
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            // Workers in this process open it by its path, from wherever the process stands.
            let path = std::path::absolute(path).map_err(failed)?;
            OpenInput {
                source: Source::File(file),
                place: InputPlace::Path(path),
                bytes: metadata.len(),
                written: written(&metadata),
            }
        }
        Location::Url(url) => match resident::find(url) {
            Some(table) => OpenInput {
                bytes: table.len(),
                source: Source::Resident(table),
                place: InputPlace::Resident(url.clone()),
                written: NEVER,
            },
            None => away(engine, url)?,
        },
    };
    Ok(Arc::new(opened))
}

fn away(engine: &Engine<'_>, url: &str) -> Result<OpenInput, Failure> {
    let (ways, runtime) = (engine.ways()?, Handle::current());
    let asking = (Arc::clone(&ways), url.to_owned());
    let bytes = waited(&runtime, async move { asking.0.bytes(&asking.1).await })?;
    Ok(OpenInput {
        source: Source::Away(Away {
            url: url.to_owned(),
            ways,
            runtime,
        }),
        place: InputPlace::Url(url.to_owned()),
        bytes,
        written: NEVER,
    })
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
