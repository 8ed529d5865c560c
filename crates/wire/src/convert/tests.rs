//! There and back again, for every variant; and what cannot be decoded says so.

use super::Malformed;
use crate::message::{
    Done, FromWorker, Input, Open, Peer, Phase, Pull, PullPart, PullReply, Reach, Span,
    StorageReply, StorageRequest, TableRead, ToWorker, Totals, Traffic,
};
use crate::{Chunk, Token, proto};
use bytes::Bytes;
use plan::{Assignment, Failure, Holder, Profile, Refusal, Source, Wrote};
use prost::Message;
use std::fmt::Debug;
use std::sync::Arc;
use tensor::{
    BlockId, ByteSize, DepotId, Digest, KeyRange, ObjectKey, Op, OpFamily, Read, StepId, TableId,
    Task, TaskId, WorkerId,
};

/// Through the bytes of the wire and back.
fn check<T, P>(value: T)
where
    T: Clone + Debug + PartialEq + TryFrom<P, Error = Malformed>,
    P: Message + Default + From<T>,
{
    let bytes = P::from(value.clone()).encode_to_vec();
    let decoded = P::decode(&bytes[..]).expect("our own bytes");
    assert_eq!(T::try_from(decoded), Ok(value));
}

fn digest(seed: u8) -> Digest {
    Digest([seed; 32])
}

fn keys() -> [ObjectKey; 3] {
    [
        ObjectKey::Block {
            table: TableId(u16::MAX),
            block: BlockId(7),
            version: u64::MAX,
        },
        ObjectKey::Partial {
            reduction: 3,
            level: u8::MAX,
            index: u32::MAX,
        },
        ObjectKey::Sealed {
            depot: DepotId::MODEL,
            digest: digest(9),
            bytes: 12,
        },
    ]
}

fn task(family: OpFamily, chain: Option<u32>) -> Task {
    let id = |index| TaskId {
        step: StepId(1 << 63),
        index,
    };
    Task {
        id: id(4),
        op: Op {
            family,
            version: 2,
            body: Arc::from(&b"op"[..]),
        },
        reads: keys()
            .map(Read::whole)
            .into_iter()
            .chain([Read::rows(KeyRange::Blocks {
                table: TableId(1),
                first: 0,
                count: 64,
                version: 5,
            })])
            .collect(),
        writes: keys().to_vec(),
        after: vec![id(1), id(2)],
        chain,
        cost: 99,
    }
}

fn failures() -> Vec<Failure> {
    let mut failures = vec![
        Failure::Unreachable {
            key: keys()[0],
            holder: WorkerId(3),
        },
        Failure::Corrupt {
            key: keys()[1],
            holder: None,
        },
        Failure::Corrupt {
            key: keys()[2],
            holder: Some(WorkerId(0)),
        },
        Failure::Disk {
            sentence: "the disk says no".to_owned(),
        },
        Failure::Exhausted {
            sentence: "the disk is full".into(),
        },
        Failure::Panicked {
            sentence: "task 3.4 panicked: row 7 is odd".into(),
        },
        Failure::Budget {
            needed: ByteSize(3),
            left: ByteSize(2),
            enough: ByteSize(9),
        },
    ];
    for refusal in [
        Refusal::Usage,
        Refusal::BadData,
        Refusal::Unavailable,
        Refusal::Bug,
        Refusal::TryAgain,
        Refusal::Permission,
        Refusal::Config,
    ] {
        failures.push(Failure::Refused {
            refusal,
            sentence: "column `week` is missing".into(),
        });
    }
    failures
}

fn token() -> Token {
    Token::from_bytes(&[9; 32]).expect("its length")
}

fn open() -> Open {
    Open {
        term: 4,
        run: digest(1),
        token: token(),
        worker: WorkerId(2),
        build: "0.1.0".into(),
        inputs: vec![
            Input {
                reach: Reach::Served,
                bytes: 10,
            },
            Input {
                reach: Reach::Url("s3://b/f".into()),
                bytes: 0,
            },
        ],
        depots: vec![
            (DepotId::DATA, Reach::Url("gs://b/d".into())),
            (DepotId::MODEL, Reach::Served),
        ],
        peers: vec![Peer {
            worker: WorkerId(0),
            address: "127.0.0.1:7000".into(),
        }],
        heartbeat_ms: 500,
    }
}

fn traffic() -> Vec<Traffic> {
    vec![Traffic {
        worker: WorkerId(1),
        sent_bytes: 5,
        received_bytes: 6,
    }]
}

#[test]
fn what_goes_to_a_worker_comes_back() {
    check::<ToWorker, proto::ToWorker>(ToWorker::Open(open()));
    let source = Source {
        keys: keys()[0].into(),
        holders: vec![
            Holder::Worker(WorkerId(0)),
            Holder::Durable {
                digest: digest(3),
                bytes: 640,
                row_bytes: 64,
            },
        ],
    };
    for family in [
        OpFamily::Builtin,
        OpFamily::Model,
        OpFamily::Tables,
        OpFamily::Probe,
    ] {
        for chain in [None, Some(0), Some(7)] {
            let task = Arc::new(task(family, chain));
            let sources = vec![source.clone()];
            check::<ToWorker, proto::ToWorker>(ToWorker::Assign(vec![Assignment {
                task,
                attempt: 3,
                verify: true,
                sources,
            }]));
        }
    }
    let task = TaskId {
        step: StepId(0),
        index: 0,
    };
    check::<ToWorker, proto::ToWorker>(ToWorker::Revoke { task, attempt: 0 });
    check::<ToWorker, proto::ToWorker>(ToWorker::Drop(keys().map(KeyRange::One).to_vec()));
    check::<ToWorker, proto::ToWorker>(ToWorker::Peers(vec![]));
    check::<ToWorker, proto::ToWorker>(ToWorker::Close);
}

#[test]
fn what_comes_from_a_worker_comes_back() {
    let task = TaskId {
        step: StepId(5),
        index: 6,
    };
    let done = Done {
        task,
        attempt: 1,
        partial: vec![1, 2, 3],
        wrote: vec![Wrote {
            key: keys()[0],
            bytes: 64,
            digest: Some(Digest([7; 32])),
        }],
        pieces: 2,
        cut_rows: 1,
        lane: 1,
        spans: [Phase::Fetch, Phase::Compute, Phase::Send]
            .map(|phase| Span {
                phase,
                start_us: 10,
                length_us: 20,
            })
            .to_vec(),
        peak_anonymous_bytes: 1 << 40,
        traffic: traffic(),
    };
    let totals = Totals {
        tasks: 1,
        peak_anonymous_bytes: 2,
        storage_bytes: 3,
        traffic: traffic(),
    };
    let mut messages = vec![
        FromWorker::Hello {
            build: "0.1.0".into(),
            profile: Profile {
                threads: 2,
                memory_bytes: 1 << 33,
            },
        },
        FromWorker::Opened,
        FromWorker::Busy("serves another job".into()),
        FromWorker::Alive { anonymous_bytes: 8 },
        FromWorker::Done(done),
        FromWorker::Returned { task, attempt: 9 },
        FromWorker::Draining,
        FromWorker::Closed(totals),
    ];
    messages.extend(failures().into_iter().map(|failure| FromWorker::Failed {
        task,
        attempt: 1,
        failure,
    }));
    messages.extend(failures().into_iter().map(FromWorker::Refused));
    messages
        .into_iter()
        .for_each(check::<FromWorker, proto::FromWorker>);
}

#[test]
fn what_carries_bytes_comes_back() {
    let chunk = Chunk::new(Bytes::from_static(b"bytes"));
    for request in [
        StorageRequest::ReadInput {
            id: 1,
            input: 2,
            range: 3..9,
        },
        StorageRequest::ReadObject {
            id: 2,
            depot: DepotId::DATA,
            digest: digest(4),
            range: 0..u64::MAX,
        },
        StorageRequest::Put {
            id: 3,
            depot: DepotId::MODEL,
            digest: digest(5),
            bytes: 7,
        },
        StorageRequest::Content {
            id: 3,
            chunk: chunk.clone(),
        },
        StorageRequest::Relay {
            id: 4,
            holder: WorkerId(6),
            pull: Pull {
                run: digest(1),
                term: 2,
                token: token(),
                key: keys()[0],
                puller: WorkerId(1),
                part: PullPart::Span(2..8),
            },
        },
        StorageRequest::Take { id: 4, range: 5..9 },
    ] {
        check::<StorageRequest, proto::StorageRequest>(request);
    }
    check::<StorageReply, proto::StorageReply>(StorageReply::Attach {
        run: digest(1),
        term: 2,
        token: token(),
    });
    check::<StorageReply, proto::StorageReply>(StorageReply::Content {
        id: 1,
        chunk: chunk.clone(),
    });
    check::<StorageReply, proto::StorageReply>(StorageReply::Head {
        id: 1,
        bytes: 640,
        row_bytes: 64,
    });
    check::<StorageReply, proto::StorageReply>(StorageReply::Stored { id: 1 });
    for failure in failures() {
        check::<StorageReply, proto::StorageReply>(StorageReply::Failed { id: 1, failure });
    }
    for part in [
        PullPart::Whole,
        PullPart::Rows(Arc::from([0, 5, 5])),
        PullPart::Span(2..8),
    ] {
        for key in keys() {
            let part = part.clone();
            check::<Pull, proto::PullRequest>(Pull {
                run: digest(1),
                term: 2,
                token: token(),
                key,
                puller: WorkerId(1),
                part,
            });
        }
    }
    for (range, last) in [(0..0, false), (7..u64::MAX, false), (0..0, true)] {
        check::<TableRead, proto::TableRequest>(TableRead {
            url: "resident://127.0.0.1:7001/0a".to_owned(),
            range,
            last,
        });
    }
    let head = PullReply::Head {
        bytes: 640,
        row_bytes: 64,
    };
    for reply in [
        head,
        PullReply::Content(chunk),
        PullReply::Missing,
        PullReply::Damaged,
    ] {
        check::<PullReply, proto::PullReply>(reply);
    }
}

#[test]
fn what_is_malformed_is_refused_by_name() {
    assert_eq!(
        ToWorker::try_from(proto::ToWorker::default()),
        Err(Malformed::Missing("message"))
    );
    assert_eq!(
        ObjectKey::try_from(proto::ObjectKey::default()),
        Err(Malformed::Missing("key"))
    );

    let short = proto::SealedKey {
        depot: 0,
        digest: Bytes::from_static(b"short"),
        bytes: 1,
    };
    let key = proto::ObjectKey {
        key: Some(proto::object_key::Key::Sealed(short)),
    };
    assert_eq!(
        ObjectKey::try_from(key),
        Err(Malformed::Value {
            what: "length of a digest",
            value: 5
        })
    );

    let wide = proto::BlockKey {
        table: 1 << 16,
        block: 0,
        version: 0,
    };
    let key = proto::ObjectKey {
        key: Some(proto::object_key::Key::Block(wide)),
    };
    assert_eq!(
        ObjectKey::try_from(key),
        Err(Malformed::Value {
            what: "table",
            value: 1 << 16
        })
    );

    let over = proto::BlockRange {
        table: 0,
        first: u32::MAX,
        count: 1,
        version: 0,
    };
    let range = proto::KeyRange {
        range: Some(proto::key_range::Range::Blocks(over)),
    };
    assert_eq!(
        KeyRange::try_from(range),
        Err(Malformed::Value {
            what: "count of blocks",
            value: 1
        })
    );

    let mut op = proto::Op::from(&task(OpFamily::Model, None).op);
    op.family = 77;
    assert_eq!(
        Op::try_from(op),
        Err(Malformed::Value {
            what: "family of op",
            value: 77
        })
    );
}

#[test]
fn no_place_of_a_disk_goes_over_the_wire() {
    let place = |url: &str| proto::Reach {
        reach: Some(proto::reach::Reach::Url(url.to_owned())),
    };
    for url in [
        "",
        "models",
        "/etc",
        "../../home",
        "file:///etc",
        "FILE:///etc",
        "memory://of-a-test",
    ] {
        let found = Reach::try_from(place(url));
        assert_eq!(found, Err(Malformed::Local(url.to_owned())));
    }
    for url in [
        "s3://b/d",
        "gs://b/d",
        "az://c/d",
        "https://h/f",
        "http://h/f",
    ] {
        assert_eq!(Reach::try_from(place(url)), Ok(Reach::Url(url.to_owned())));
    }
}
