//! Verbs of the command line, and tables in memory for them.

use crate::attend::{attended, exception};
use arrow::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use coordinator::cli::{Command, embedded};
use coordinator::failure::{Failure, Kind, Text};
use coordinator::job::document::Document;
use coordinator::job::settings::Location;
use coordinator::memory::default_budget;
use coordinator::progress::{Observer as _, Unit};
use plan::Refusal;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::out::interchange::{self, Taken};
use tensor::{ByteSize, ReadAt};
use worker::resident;

/// What a job is called that stands in no file.
const CALL: &str = "the call";

/// Runs a verb with this job (TOML), whose relative paths start at `directory`; gives the object that `--json` prints. `hear` is
/// called with what the verb tells on its way; `at` is the place that `inspect` looks at.
#[pyfunction]
#[pyo3(signature = (verb, job, directory, hear=None, at=None))]
pub fn perform(
    py: Python<'_>,
    verb: &str,
    job: String,
    directory: PathBuf,
    hear: Option<&Bound<'_, PyAny>>,
    at: Option<&str>,
) -> PyResult<String> {
    let command = command(verb, at).map_err(|failure| exception(py, &failure))?;
    let text = Text {
        name: CALL.to_owned(),
        content: job,
    };
    attended(py, hear, move |speaker, stop| {
        let mut document = Document::parse(text);
        document.directory = directory;
        embedded(&command, document, Arc::new(speaker), stop)
    })
}

fn command(verb: &str, at: Option<&str>) -> Result<Command, Failure> {
    let job = PathBuf::from(CALL);
    Ok(match verb {
        "inspect" => Command::Inspect {
            at: Location::new(at.unwrap_or_default(), Path::new("")),
            graph: false,
        },
        "run" => Command::Run { job },
        "plan" => Command::Plan { job },
        "update" => Command::Update { job },
        "evaluate" => Command::Evaluate { job },
        "recommend" => Command::Recommend { job },
        "similar" => Command::Similar { job },
        "segments" => Command::Segments { job },
        "influencers" => Command::Influencers { job },
        "export" => Command::Export { job },
        "report" => Command::Report { job },
        "config" => Command::Config { job: Some(job) },
        other => {
            let sentence = format!("the verb `{other}` is for the command line");
            return Err(Failure::new(Refusal::Usage, sentence));
        }
    })
}

/// Interactions in memory, which a job names by `url` as long as this is there.
#[pyclass(frozen, module = "strata._engine")]
pub struct Resident {
    held: resident::Resident,
}

#[pymethods]
impl Resident {
    #[getter]
    fn url(&self) -> &str {
        self.held.url()
    }

    /// Forgets the interactions, if an ingest has not done so before.
    fn let_go(&self) {
        resident::let_go(self.held.url());
    }
}

/// Takes the named columns of anything that exports an Arrow stream: into memory as far as there is room, what lies there anyway
/// (without `room_bytes`) whole, else into a file at `path`. Gives what is in memory.
#[pyfunction]
#[pyo3(signature = (source, path, columns, room_bytes=None, hear=None))]
pub fn take(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    path: PathBuf,
    columns: Vec<String>,
    room_bytes: Option<u64>,
    hear: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Resident>> {
    let stream = stream_of(source)?;
    let room_bytes = room_bytes.unwrap_or(u64::MAX);
    attended(py, hear, move |speaker, stop| {
        let stream = RecordBatchStreamReader::try_new(stream)
            .map_err(|error| Failure::new(Refusal::BadData, error.to_string()))?;
        speaker.begin("stage", Unit::Rows, None);
        let heard = |rows| {
            speaker.progress(rows, None);
            !stop.is_cancelled()
        };
        let taken = interchange::take(&path, stream, &columns, room_bytes, heard);
        let (taken, rows) = taken.map_err(|error| {
            if stop.is_cancelled() {
                Failure::stopped(Kind::Interrupted, "stopped on request")
            } else {
                Failure::new(Refusal::Io, error.to_string())
            }
        })?;
        speaker.end(&format!("{rows} rows"));
        Ok(match taken {
            Taken::Resident(table) => Some(Resident {
                held: resident::Resident::new(Arc::new(table)),
            }),
            Taken::Staged => None,
        })
    })
}

/// Takes the named columns of an Arrow stream for other processes, which read them under a name as long as what is given is there: in
/// memory where they need no more than `room_bytes`, else in a file at `path`. Gives the rows, and the bytes that they take of memory.
#[pyfunction]
pub fn hold(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    path: PathBuf,
    name: &str,
    columns: Vec<String>,
    room_bytes: u64,
) -> PyResult<(Resident, u64, Option<u64>)> {
    let stream = RecordBatchStreamReader::try_new(stream_of(source)?)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let taken = py.detach(|| interchange::take(&path, stream, &columns, room_bytes, |_| true));
    let (taken, rows) = taken.map_err(|error| PyOSError::new_err(error.to_string()))?;
    let (held, bytes): (Arc<dyn ReadAt>, _) = match taken {
        Taken::Resident(table) => {
            let bytes = table.len();
            (Arc::new(table), Some(bytes))
        }
        Taken::Staged => (Arc::new(Staged::open(&path)?), None),
    };
    let held = resident::Resident::named(name, held);
    Ok((Resident { held }, rows, bytes))
}

/// A quarter of what the engine may take: so much of a stream comes into memory.
#[pyfunction]
#[pyo3(signature = (memory=None))]
pub fn room(memory: Option<&str>) -> u64 {
    // What is no size is told when the job is checked.
    let budget = memory.and_then(|memory| memory.parse().ok());
    let budget: ByteSize = budget.unwrap_or_else(default_budget);
    budget.0 / 4
}

/// A file that others read through this process.
struct Staged {
    file: File,
    bytes: u64,
}

impl Staged {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Staged { file, bytes })
    }
}

impl ReadAt for Staged {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// The stream of an object that exports one (the Arrow `PyCapsule` interface).
fn stream_of(source: &Bound<'_, PyAny>) -> PyResult<FFI_ArrowArrayStream> {
    let capsule = source.call_method0("__arrow_c_stream__")?;
    let capsule = capsule
        .cast_into::<PyCapsule>()
        .map_err(|_| PyTypeError::new_err("__arrow_c_stream__ gave no capsule"))?;
    let stream = capsule.pointer_checked(Some(c"arrow_array_stream"))?;
    // SAFETY: a capsule of this name holds a pointer to an ArrowArrayStream, which the one who asked for it may move out of it;
    // what is left there is marked as released.
    #[allow(unsafe_code)]
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.as_ptr().cast()) };
    Ok(stream)
}
