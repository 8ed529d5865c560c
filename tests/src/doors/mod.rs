//! The doors through which bytes of strangers come in: every decoder as a function of bytes, and samples of what belongs there.
//! Fuzzing (`fuzz/`, by libFuzzer) and the mutations of `tests/tests/fuzz.rs` enter by the same functions.
//!
//! **Invariant:** a door returns. A panic, a hang or memory out of all proportion is a fault of what lies behind it.

mod samples;

use crate::ingested::{GENEROUS, inputs, spec, try_ingest_with};
use crate::process::folder_in_memory;
use bytes::Bytes;
use coordinator::failure::Text;
use coordinator::job::check::{self, Needs};
use coordinator::job::document::Document;
use coordinator::job::merge::{Faults, Given, Merged};
use coordinator::job::search;
use coordinator::verbs::stored_model::StoredModel;
use depot::{Manifest, Model, Versioned};
use model::reduce::ReduceOp;
use model::several;
use plan::Assignment;
use prost::Message;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use store::dictionary::Dictionary;
use store::partition::Partition;
use store::{Cache, IoMode, Journal, Sealed};
use tables::survey::InMemory;
use tables::{
    AttributeSpec, AttributeSurvey, EdgeSpec, EdgeSurvey, Ingest, OnBadRow, Survey, Wanted, survey,
};
use tensor::{IdKind, Mode, OpFamily, Program, Reduced};
use wire::{
    Done, FromWorker, Pull, PullReply, StorageReply, StorageRequest, ToWorker, Totals, codec, proto,
};

/// A decoder, by name.
pub struct Door {
    /// Its name, which is that of its target in `fuzz/`.
    pub name: &'static str,
    /// Lets bytes in.
    pub enter: fn(&[u8]),
    /// What belongs there.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// How many times dearer it is than the cheapest.
    pub cost: u32,
}

/// All of them.
pub const DOORS: &[Door] = &[
    Door {
        name: "manifest",
        enter: manifest,
        samples: samples::manifests,
        cost: 1,
    },
    Door {
        name: "partition",
        enter: partition,
        samples: samples::partitions,
        cost: 40,
    },
    Door {
        name: "dictionary",
        enter: dictionary,
        samples: samples::dictionaries,
        cost: 40,
    },
    Door {
        name: "message",
        enter: message,
        samples: samples::messages,
        cost: 1,
    },
    Door {
        name: "op",
        enter: op,
        samples: samples::ops,
        cost: 1,
    },
    Door {
        name: "job",
        enter: job,
        samples: samples::jobs,
        cost: 40,
    },
    Door {
        name: "journal",
        enter: journal,
        samples: samples::journals,
        cost: 1,
    },
    Door {
        name: "purchases",
        enter: purchases_schema,
        samples: samples::parquets,
        cost: 10,
    },
    Door {
        name: "edges",
        enter: edges_schema,
        samples: samples::parquets,
        cost: 10,
    },
    Door {
        name: "attributes",
        enter: attributes_schema,
        samples: samples::parquets,
        cost: 10,
    },
    Door {
        name: "rows",
        enter: rows,
        samples: samples::purchases,
        cost: 2000,
    },
    Door {
        name: "ids",
        enter: ids,
        samples: samples::lists_of_ids,
        cost: 20,
    },
    Door {
        name: "frame",
        enter: frame,
        samples: samples::frames,
        cost: 1,
    },
    Door {
        name: "state",
        enter: state,
        samples: samples::states,
        cost: 40,
    },
    Door {
        name: "record",
        enter: record,
        samples: samples::records,
        cost: 2,
    },
];

/// A manifest whose hash is right: what is behind it is decoded, and what is decoded is written as it was.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::decode(bytes);
    let framed = [&b"STRAMAN1"[..], blake3::hash(bytes).as_bytes(), bytes].concat();
    if let Ok(manifest) = Manifest::decode(&framed) {
        let again = Manifest::decode(&manifest.encode());
        // Numbers that are none are not equal to themselves.
        assert_eq!(
            format!("{again:?}"),
            format!("{:?}", Ok::<_, String>(manifest))
        );
    }
}

fn cache() -> Cache {
    static CACHE: Mutex<Option<Cache>> = Mutex::new(None);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = cache.get_or_insert_with(|| {
        let folder = folder_in_memory().keep();
        Cache::open_unsynced(&folder, 1 << 30, IoMode::Pread).expect("a cache")
    });
    opened.clone()
}

fn sealed(bytes: &[u8]) -> Sealed {
    let mut writer = cache().writer().expect("room");
    writer.append(bytes).expect("room");
    writer.seal_unnamed().expect("room")
}

/// A sealed file of somebody else's making, opened as a partition and read whole.
pub fn partition(bytes: &[u8]) {
    let Ok(partition) = Partition::open(sealed(bytes)) else {
        return;
    };
    let rows = partition.rows_of(0..partition.interactions());
    if let Ok(piece) = partition.whole() {
        let _ = piece.csr(&partition.offsets()[rows.start..=rows.end], 1 << 20);
    }
}

/// The same as a dictionary.
pub fn dictionary(bytes: &[u8]) {
    if let Ok(dictionary) = Dictionary::open(sealed(bytes)) {
        let ids = dictionary.iter().flatten().map(|id| id.to_string().len());
        assert!(ids.count() as u64 + dictionary.erased() == dictionary.rows() as u64);
    }
}

fn converted<P: Message + Default, T: TryFrom<P>>(bytes: &[u8]) {
    if let Ok(message) = P::decode(bytes) {
        let _ = T::try_from(message);
    }
}

/// A message of the protocol: the first byte says which.
pub fn message(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 9 {
        0 => converted::<proto::ToWorker, ToWorker>(bytes),
        1 => converted::<proto::FromWorker, FromWorker>(bytes),
        2 => converted::<proto::PullRequest, Pull>(bytes),
        3 => converted::<proto::PullReply, PullReply>(bytes),
        4 => converted::<proto::StorageRequest, StorageRequest>(bytes),
        5 => converted::<proto::StorageReply, StorageReply>(bytes),
        6 => converted::<proto::Assignment, Assignment>(bytes),
        7 => converted::<proto::Done, Done>(bytes),
        _ => converted::<proto::Closed, Totals>(bytes),
    }
}

/// A message with its sum, as it comes out of a stream: the first byte says which.
pub fn frame(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let bytes = Bytes::copy_from_slice(bytes);
    match kind % 6 {
        0 => drop(codec::checked::<proto::ToWorker>(bytes).map(ToWorker::try_from)),
        1 => drop(codec::checked::<proto::FromWorker>(bytes).map(FromWorker::try_from)),
        2 => drop(codec::checked::<proto::PullRequest>(bytes).map(Pull::try_from)),
        3 => {
            let reply = codec::checked::<proto::PullReply>(bytes).map(PullReply::try_from);
            if let Some(Ok(PullReply::Content(chunk))) = reply {
                let _ = chunk.verified();
            }
        }
        4 => drop(codec::checked::<proto::StorageRequest>(bytes).map(StorageRequest::try_from)),
        _ => drop(codec::checked::<proto::StorageReply>(bytes).map(StorageReply::try_from)),
    }
}

/// What a checkpoint of an ingest says, or what a task of one reports: the first byte says which.
pub fn state(bytes: &[u8]) {
    static FOUND: LazyLock<Survey> = LazyLock::new(|| {
        let files = inputs(&[samples::table()]);
        survey(&files, &spec(), GENEROUS).expect("it is whole")
    });
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let mut program = Ingest::new(FOUND.clone(), spec());
    if kind % 2 == 0 {
        if program.restore(Some(bytes)).is_ok() {
            let _ = program.start();
        }
        return;
    }
    let first = program.start().expect("it begins");
    for step in first.steps {
        let partials = step.tasks.iter().map(|_| bytes.to_vec()).collect();
        let Some(told) = several::told(&several::counts(&step), Reduced::Collect(partials)) else {
            continue;
        };
        let _ = program.completed(step.id, told);
    }
}

/// What a manifest keeps of a model, before and behind the first zero: its settings, and how it scores.
pub fn record(bytes: &[u8]) {
    let (settings, scorer) = bytes.split_at(
        bytes
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(bytes.len()),
    );
    let versioned = |bytes: &[u8]| Versioned {
        version: 1,
        bytes: bytes.to_vec(),
    };
    let _ = StoredModel::of(Model {
        settings: versioned(settings),
        scorer: versioned(scorer.strip_prefix(&[0]).unwrap_or_default()),
        ..samples::model()
    });
}

/// A file of ids, as text or Parquet.
pub fn ids(bytes: &[u8]) {
    for kind in [IdKind::Int64, IdKind::Utf8, IdKind::Binary] {
        let mut wanted = Wanted::new("u", kind);
        let _ = wanted.read("ids", &InMemory(Bytes::copy_from_slice(bytes)));
    }
}

/// Purchases as far as their rows: pages, and all that is made of them.
pub fn rows(bytes: &[u8]) {
    let files = inputs(&[Bytes::copy_from_slice(bytes)]);
    let _ = try_ingest_with(&files, &spec(), GENEROUS, IoMode::Pread, false);
}

/// The op of a task: the first byte says whose.
pub fn op(bytes: &[u8]) {
    let Some((family, body)) = bytes.split_first() else {
        return;
    };
    let op = |family, version| tensor::Op {
        family,
        version,
        body: body.into(),
    };
    let of_model = model::Op::Reduce(ReduceOp {
        rows: 1,
        row_bytes: 4,
    })
    .encode()
    .version;
    let _ = match family % 3 {
        0 => model::Op::decode(&op(OpFamily::Model, of_model)).is_ok(),
        1 => tables::Op::decode(&op(OpFamily::Tables, tables::op::VERSION)).is_ok(),
        _ => exec::Probe::decode(&op(OpFamily::Probe, exec::Probe::Sum.op().version)).is_some(),
    };
}

/// A job file: taken apart, merged and checked.
pub fn job(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let document = Document::parse(Text {
        name: "job.toml".into(),
        content: text.into(),
    });
    let mut faults = Faults::default();
    let merged = Merged::new(Some(document), &Given::default(), &mut faults);
    let _ = check::settings(&merged, Needs::default(), faults);
    let _ = search::read_text(text);
}

/// The journal of a run.
pub fn journal(bytes: &[u8]) {
    let _ = Journal::parse(Path::new("journal"), bytes);
}

/// A Parquet file of purchases, as far as its footer: its columns and row groups.
pub fn purchases_schema(bytes: &[u8]) {
    let _ = survey(&inputs(&[Bytes::copy_from_slice(bytes)]), &spec(), GENEROUS);
}

/// The same as a list of edges.
pub fn edges_schema(bytes: &[u8]) {
    let spec = EdgeSpec {
        mode: Mode::User,
        from: "u".into(),
        to: "p".into(),
        weight: Some("v".into()),
        directed: false,
        on_bad_row: OnBadRow::Reject,
    };
    let files = inputs(&[Bytes::copy_from_slice(bytes)]);
    let _ = EdgeSurvey::of(&files, spec, IdKind::Int64, GENEROUS);
}

/// The same as a table of attributes.
pub fn attributes_schema(bytes: &[u8]) {
    let spec = AttributeSpec {
        mode: Mode::User,
        id: "u".into(),
        columns: Vec::new(),
        categorical: Vec::new(),
        max_levels: 100,
        max_columns: 512,
        on_bad_row: OnBadRow::Reject,
    };
    let files = inputs(&[Bytes::copy_from_slice(bytes)]);
    let _ = AttributeSurvey::of(&files, 0, spec, IdKind::Int64, GENEROUS);
}
