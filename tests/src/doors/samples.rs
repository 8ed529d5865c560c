//! What belongs behind each door, small: mutations start from here.

use super::cache;
use crate::ingested::{GENEROUS, ingest, inputs, parquet_of, some_rows, spec};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampSecondArray};
use bytes::Bytes;
use coordinator::verbs::stored_model::{Algorithm, Record as Kept};
use depot::{
    Body, Checkpoint, CheckpointObject, Manifest, Model, ModelTable, Versioned, Withdrawal,
};
use model::als;
use model::forecast::Forecast;
use model::graph::{gcn, lightgcn};
use model::reduce::ReduceOp;
use prost::Message;
use std::sync::Arc;
use store::dictionary::{DictionaryWriter, IdRef};
use store::partition::PartitionWriter;
use store::{Entry, Journal, Record, Sealed};
use tables::{Ingest, survey};
use tensor::{
    BlockId, DepotId, Digest, Grid, IdKind, KeyRange, Mode, ObjectKey, Program as _, SealedRef,
    Small, SplitPart, StepId, TableId, TaskId, ViewSpec, WorkerId,
};
use wire::codec::{self, Carries};
use wire::{
    Chunk, Done, FromWorker, Input, Open, Peer, Phase, Pull, PullPart, PullReply, Reach, Span,
    StorageReply, StorageRequest, ToWorker, Token, Totals, Traffic, proto,
};

const DIGEST: Digest = Digest([9; 32]);

fn key() -> ObjectKey {
    ObjectKey::Block {
        table: TableId(1),
        block: BlockId(2),
        version: 3,
    }
}

fn content(sealed: &Sealed) -> Vec<u8> {
    sealed
        .section(0..sealed.len())
        .expect("it is whole")
        .to_vec()
}

/// A small table of purchases.
pub fn table() -> Bytes {
    let rows = some_rows(40, 3);
    let ints = |of: fn(&crate::ingested::Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let seconds = rows.iter().map(|row| Some(row.seconds));
    let values = rows.iter().map(|row| Some(row.value));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", ints(|row| row.user)),
        ("p", ints(|row| row.product)),
        ("t", Arc::new(seconds.collect::<TimestampSecondArray>())),
        ("v", Arc::new(values.collect::<Float64Array>())),
    ];
    parquet_of(columns, 16)
}

/// Parquet files of purchases, edges and attributes.
pub fn parquets() -> Vec<Vec<u8>> {
    let ids: ArrayRef = Arc::new((0..9).collect::<Int64Array>());
    let words: ArrayRef = Arc::new(
        (0..9)
            .map(|word| Some(format!("w{}", word % 3)))
            .collect::<StringArray>(),
    );
    let described = parquet_of(vec![("u", ids), ("segment", words)], 4);
    vec![table().to_vec(), described.to_vec()]
}

/// Purchases alone.
pub fn purchases() -> Vec<Vec<u8>> {
    vec![table().to_vec()]
}

/// Files of ids: lines, and columns of Parquet.
pub fn lists_of_ids() -> Vec<Vec<u8>> {
    let column = |ids: ArrayRef| parquet_of(vec![("u", ids)], 4).to_vec();
    vec![
        b"12\n-7\n\n9000000000\n".to_vec(),
        b"0x00ff\nabcd\n".to_vec(),
        column(Arc::new((0..9).collect::<Int64Array>())),
        column(Arc::new(
            (0..9)
                .map(|word| Some(format!("w{word}")))
                .collect::<StringArray>(),
        )),
    ]
}

/// A model of a manifest.
pub fn model() -> Model {
    let object = SealedRef {
        digest: DIGEST,
        bytes: 64,
    };
    Model {
        run: DIGEST,
        kind: "als".to_owned(),
        scorer: Versioned {
            version: 1,
            bytes: vec![1],
        },
        settings: Versioned {
            version: 2,
            bytes: vec![2, 3],
        },
        tables: vec![ModelTable {
            name: "user".to_owned(),
            mode: Mode::User,
            rank: 4,
            width: 16,
            grid: Grid {
                stride_log2: 4,
                rows: vec![8, 7],
            },
            blocks: vec![object; 2],
        }],
        lineage: DIGEST,
        factors: DIGEST,
    }
}

/// The messages of manifests of every kind, without the hash before them.
pub fn manifests() -> Vec<Vec<u8>> {
    let object = SealedRef {
        digest: DIGEST,
        bytes: 64,
    };
    let data = ingest(&inputs(&[table()]), &spec()).data;
    let bodies = [
        Body::Term { run: Some(DIGEST) },
        Body::DataSet(Box::new(data)),
        Body::Checkpoint(Checkpoint {
            run: DIGEST,
            epoch: 2,
            program: "als".to_owned(),
            state: vec![1, 2, 3],
            objects: vec![CheckpointObject {
                key: key(),
                object,
                row_bytes: 16,
            }],
            finished: false,
        }),
        Body::Model(model()),
        Body::Withdrawal(Withdrawal {
            manifests: vec![1, 2],
            rows: vec![7, 9],
            cleared: vec![3],
        }),
    ];
    let message = |(number, body): (usize, Body)| {
        let manifest = Manifest {
            number: number as u64 + 1,
            term: 1,
            predecessor: Some(DIGEST),
            body,
        };
        // Magic and hash come before it.
        manifest.encode()[40..].to_vec()
    };
    bodies.into_iter().enumerate().map(message).collect()
}

/// Partitions with and without times and values.
pub fn partitions() -> Vec<Vec<u8>> {
    let partition = |time: bool, step: f32| {
        let has = Small {
            time,
            context: false,
        };
        let writer = PartitionWriter::create(&cache(), Mode::User, BlockId(1), has);
        let mut writer = writer.expect("room");
        for row in 0..6_u32 {
            for column in 0..row {
                let small = Small {
                    time: column,
                    context: 0,
                };
                writer
                    .push(3 * column, small, 1.0 + step * column as f32)
                    .expect("room");
            }
            writer.end_row().expect("room");
        }
        content(&writer.seal().expect("it is closed").0)
    };
    vec![partition(true, 1.0), partition(false, 0.0)]
}

/// Dictionaries of numbers and of words, with an erased id.
pub fn dictionaries() -> Vec<Vec<u8>> {
    let create = |kind| DictionaryWriter::create(&cache(), kind).expect("room");
    let (mut numbers, mut words) = (create(IdKind::Int64), create(IdKind::Utf8));
    for id in 0..7 {
        numbers.push(IdRef::Int64(id * id - 3)).expect("room");
        words
            .push(IdRef::Utf8(&format!("word {id} é")))
            .expect("room");
    }
    words.push_erased().expect("room");
    [numbers, words]
        .map(|writer| content(&writer.seal().expect("it is written")))
        .to_vec()
}

/// Messages of every kind, after the byte that says which.
pub fn messages() -> Vec<Vec<u8>> {
    let of = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let task = TaskId {
        step: StepId(3),
        index: 1,
    };
    let worker = WorkerId(2);
    let chunk = || Chunk::new(Bytes::from_static(b"some bytes"));
    // The same in every run, as samples must be.
    let token = Token::from_bytes(&[9; 32]).expect("its length");
    let open = Open {
        token,
        term: 3,
        run: DIGEST,
        worker,
        build: "0.1.0".to_owned(),
        inputs: vec![Input {
            reach: Reach::Served,
            bytes: 99,
        }],
        depots: vec![(DepotId::MODEL, Reach::Url("file:///model".to_owned()))],
        peers: vec![Peer {
            worker,
            address: "127.0.0.1:7070".to_owned(),
        }],
        heartbeat_ms: 500,
    };
    let range = KeyRange::Blocks {
        table: TableId(1),
        first: 0,
        count: 64,
        version: 5,
    };
    let to_worker = [
        ToWorker::Open(open),
        ToWorker::Revoke { task, attempt: 2 },
        ToWorker::Drop(vec![range]),
        ToWorker::Close,
    ];
    let traffic = vec![Traffic {
        worker,
        sent_bytes: 5,
        received_bytes: 6,
    }];
    let done = Done {
        task,
        attempt: 1,
        partial: vec![1, 2, 3],
        wrote: vec![plan::Wrote {
            key: key(),
            bytes: 64,
            digest: None,
        }],
        pieces: 2,
        cut_rows: 0,
        lane: 1,
        spans: vec![Span {
            phase: Phase::Compute,
            start_us: 5,
            length_us: 9,
        }],
        peak_anonymous_bytes: 1 << 20,
        traffic: traffic.clone(),
    };
    let totals = Totals {
        tasks: 3,
        peak_anonymous_bytes: 9,
        storage_bytes: 8,
        traffic,
    };
    let from_worker = [
        FromWorker::Done(done.clone()),
        FromWorker::Busy("in use".to_owned()),
        FromWorker::Closed(totals.clone()),
    ];
    let pull = |part| Pull {
        token,
        run: DIGEST,
        term: 1,
        key: key(),
        puller: worker,
        part,
    };
    let pulls = [
        pull(PullPart::Rows(Arc::from([1, 5, 9]))),
        pull(PullPart::Span(3..9)),
        pull(PullPart::Whole),
    ];
    let replies = [
        PullReply::Head {
            bytes: 64,
            row_bytes: 16,
        },
        PullReply::Content(chunk()),
        PullReply::Missing,
    ];
    let requests = [
        StorageRequest::ReadInput {
            id: 1,
            input: 0,
            range: 5..9,
        },
        StorageRequest::Put {
            id: 2,
            depot: DepotId::MODEL,
            digest: DIGEST,
            bytes: 4,
        },
        StorageRequest::Relay {
            id: 3,
            holder: worker,
            pull: pull(PullPart::Span(2..7)),
        },
        StorageRequest::Take {
            id: 3,
            range: 0..64,
        },
    ];
    let answers = [
        StorageReply::Attach {
            token,
            run: DIGEST,
            term: 2,
        },
        StorageReply::Content {
            id: 2,
            chunk: chunk(),
        },
        StorageReply::Head {
            id: 3,
            bytes: 64,
            row_bytes: 16,
        },
    ];
    let mut all = Vec::new();
    all.extend(to_worker.map(|message| of(0, proto::ToWorker::from(message).encode_to_vec())));
    all.extend(from_worker.map(|message| of(1, proto::FromWorker::from(message).encode_to_vec())));
    all.extend(pulls.map(|message| of(2, proto::PullRequest::from(message).encode_to_vec())));
    all.extend(replies.map(|message| of(3, proto::PullReply::from(message).encode_to_vec())));
    all.extend(requests.map(|message| of(4, proto::StorageRequest::from(message).encode_to_vec())));
    all.extend(answers.map(|message| of(5, proto::StorageReply::from(message).encode_to_vec())));
    all.push(of(7, proto::Done::from(done).encode_to_vec()));
    all.push(of(8, proto::Closed::from(totals).encode_to_vec()));
    all
}

/// Ops of each family, after the byte that says whose.
pub fn ops() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![];
    let reduce = model::Op::Reduce(ReduceOp {
        rows: 3,
        row_bytes: 16,
    })
    .encode();
    all.push([&[0], &reduce.body[..]].concat());
    let probe = exec::Probe::SumRows { rows: 9, step: 2 }.op();
    all.push([&[2], &probe.body[..]].concat());
    // Every kind of op of the two others, short: postcard begins with the number of the kind.
    for family in [0_u8, 1] {
        all.extend((0..24_u8).map(|kind| [&[family, kind][..], &[1; 40]].concat()));
    }
    all
}

/// Job files that people write.
pub fn jobs() -> Vec<Vec<u8>> {
    let examples = crate::process::examples();
    let mut all: Vec<Vec<u8>> = vec![
        b"[tune.search]\nrank = [32, 64]\nregularization = { from = 0.0001, to = 0.1, scale = \"log\" }\n".to_vec(),
        b"rank = 32, 64; regularization = 0.0001..0.1 log".to_vec(),
    ];
    let files = std::fs::read_dir(examples).expect("the examples are there");
    let mut paths: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    all.extend(
        paths
            .into_iter()
            .map(|path| std::fs::read(path).expect("a job")),
    );
    all
}

/// A journal.
pub fn journals() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::open(&path).expect("a journal");
    let records = [
        Record::RunOpened {
            run: DIGEST,
            term: 3,
            phase: "train".to_owned(),
        },
        Record::Resumed { from_epoch: 4 },
        Record::WorkerLost {
            worker: WorkerId(3),
            given_up: true,
        },
        Record::Epoch {
            epoch: 5,
            objective: Some(0.1),
            seconds: 2.5,
        },
        Record::Closed,
    ];
    let entries: Vec<Entry> = (1..)
        .zip(records)
        .map(|(unix_ms, record)| Entry { unix_ms, record })
        .collect();
    journal.append(&entries).expect("room");
    vec![std::fs::read(path).expect("it is there")]
}

/// Messages with their sums, after the byte that says which.
pub fn frames() -> Vec<Vec<u8>> {
    fn summed<T: Carries + Default>(kind: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        codec::put(&T::decode(message).expect("a message"), &mut bytes);
        bytes
    }
    let of_stream = |message: Vec<u8>| match message.split_first()? {
        (0, message) => Some(summed::<proto::ToWorker>(0, message)),
        (1, message) => Some(summed::<proto::FromWorker>(1, message)),
        (2, message) => Some(summed::<proto::PullRequest>(2, message)),
        (3, message) => Some(summed::<proto::PullReply>(3, message)),
        (4, message) => Some(summed::<proto::StorageRequest>(4, message)),
        (5, message) => Some(summed::<proto::StorageReply>(5, message)),
        _ => None,
    };
    messages().into_iter().filter_map(of_stream).collect()
}

/// The state of an ingest that begins, and a report of nothing.
pub fn states() -> Vec<Vec<u8>> {
    let found = survey(&inputs(&[table()]), &spec(), GENEROUS).expect("it is whole");
    let begun = Ingest::new(found, spec()).encode();
    vec![[vec![0], begun].concat(), vec![1; 64], vec![1]]
}

/// Settings of models, and how they score.
pub fn records() -> Vec<Vec<u8>> {
    let of = |algorithm, scorer: &[u8]| {
        let train = ViewSpec::whole(SplitPart::Train);
        let record = Kept::new(
            algorithm,
            train,
            Forecast::default(),
            None,
            [(Mode::User, DIGEST)].into(),
        );
        let settings = record.encode().expect("they were checked");
        [&settings[..], &[0], scorer].concat()
    };
    vec![
        of(Algorithm::Als(als::Settings::default()), b"dot"),
        of(
            Algorithm::LightGcn(lightgcn::Settings::default()),
            b"{\"filter\":{\"weight\":0.3}}",
        ),
        of(Algorithm::Gcn(gcn::Settings::default()), b"dot"),
    ]
}
