//! Objects and manifests, in memory and in a local directory: one winner a number, whole states only, and nothing
//! damaged goes unnoticed.

use bytes::Bytes;
use depot::{
    Body, Checkpoint, CheckpointObject, Depot, DepotError, Model, ModelTable, Versioned, ViewOf,
    Withdrawal,
};
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use store::{Cache, IoMode, Sealed};
use tensor::{
    Attribute, AttributeKind, Attributes, Axis, BlockId, ContextAxis, Cycle, DataSet, Delta,
    DepotId, Digest, Duplicates, Forgotten, Grid, IdKind, Mode, ModeEdges, ObjectKey, PartitionRef,
    Partitions, SealedRef, SplitPart, TableId, TimeAxis, TimeBin, View, ViewSpec,
};

/// Both kinds of places, each empty, with a cache.
fn places(name: &str) -> Vec<(Depot, Cache, tempfile::TempDir)> {
    let make = |url: &dyn Fn(&Path) -> String| {
        let directory = tempfile::tempdir().unwrap();
        let cache =
            Cache::open_unsynced(&directory.path().join("cache"), u64::MAX, IoMode::Mmap).unwrap();
        (
            Depot::open(&url(directory.path())).unwrap(),
            cache,
            directory,
        )
    };
    vec![
        make(&|_| format!("memory://{name}")),
        make(&|path| path.join("bare").display().to_string()),
        make(&|path| format!("file://{}", path.join("url").display())),
    ]
}

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ seed)
        .collect()
}

fn seal(cache: &Cache, bytes: &[u8]) -> Sealed {
    let mut writer = cache.writer().unwrap();
    writer.append(bytes).unwrap();
    writer.seal().unwrap()
}

fn checkpoint(run: u8, epoch: u32, objects: &[SealedRef]) -> Body {
    let block = |block: u32| ObjectKey::Block {
        table: TableId(2),
        block: BlockId(block),
        version: epoch.into(),
    };
    Body::Checkpoint(Checkpoint {
        run: Digest([run; 32]),
        epoch,
        program: "als".to_owned(),
        state: vec![1, 2, 3],
        objects: (0..)
            .zip(objects)
            .map(|(i, &object)| CheckpointObject {
                key: block(i),
                object,
                row_bytes: 64,
            })
            .collect(),
        finished: false,
    })
}

fn refer(seed: u8) -> SealedRef {
    SealedRef {
        digest: Digest([seed; 32]),
        bytes: seed.into(),
    }
}

fn data_set() -> DataSet {
    let partition = |seed| PartitionRef {
        object: refer(seed),
        rows: 3,
        interactions: 1 << 40,
    };
    let axis = |column: &str, id_kind, seed| Axis {
        column: column.to_owned(),
        id_kind,
        grid: Grid {
            stride_log2: 3,
            rows: vec![3, 0, 2],
        },
        dictionary: vec![refer(seed), refer(seed + 1), refer(seed + 2)],
    };
    let parts = Partitions {
        user_major: vec![partition(1)],
        product_major: vec![partition(2)],
        interactions: 7,
        netted: 2,
    };
    DataSet {
        lineage: Digest([3; 32]),
        user: axis("household_id", IdKind::Int64, 10),
        product: axis("product", IdKind::Utf8, 20),
        time: Some(TimeAxis {
            column: "day".to_owned(),
            bin: TimeBin::Week,
            first_bin: -3,
            bins: 53,
            last_is_partial: true,
        }),
        context: Some(Box::new(ContextAxis::Ids(Axis {
            grid: Grid::single(5),
            dictionary: vec![refer(40)],
            ..axis("store", IdKind::UInt64, 40)
        }))),
        value_column: Some("sales".to_owned()),
        duplicates: Duplicates::Last,
        nets: true,
        parts: vec![(SplitPart::Train, parts.clone()), (SplitPart::Test, parts)],
        input_rows: u64::MAX,
        bad_rows: BTreeMap::from([("null user".to_owned(), 4)]),
        attributes: BTreeMap::from([(Mode::Product, attributes())]),
        edges: BTreeMap::from([(Mode::User, follows()), (Mode::Product, bundles())]),
        first: Some(Digest([6; 32])),
        inputs: vec![Digest([7; 32]), Digest([8; 32])],
        deltas: vec![
            Delta {
                user_major: BTreeMap::from([(0, partition(81)), (2, partition(82))]),
                product_major: BTreeMap::from([(1, partition(83))]),
                interactions: 9,
            },
            Delta::default(),
        ],
        forgotten: Some(Forgotten {
            users: 5,
            before: Digest([9; 32]),
            after: Digest([3; 32]),
        }),
    }
}

fn list(seed: u8) -> Vec<PartitionRef> {
    let partition = |seed| PartitionRef {
        object: refer(seed),
        rows: 2,
        interactions: 5,
    };
    (seed..seed + 3).map(partition).collect()
}

fn follows() -> ModeEdges {
    ModeEdges {
        from: "follower".to_owned(),
        to: "followed".to_owned(),
        weight: None,
        directed: true,
        forward: list(50),
        backward: list(60),
        input_rows: 99,
        bad_rows: BTreeMap::from([("null_to".to_owned(), 1)]),
        unknown: 2,
        loops: 3,
    }
}

fn bundles() -> ModeEdges {
    ModeEdges {
        weight: Some("times".to_owned()),
        directed: false,
        forward: list(70),
        backward: Vec::new(),
        ..follows()
    }
}

fn attributes() -> Attributes {
    let attribute = |name: &str, kind| Attribute {
        name: name.to_owned(),
        kind,
    };
    let price = AttributeKind::Number {
        mean: -1.5,
        deviation: 0.25,
    };
    let brand = AttributeKind::Levels {
        levels: vec!["own".to_owned(), String::new()],
        others: true,
    };
    Attributes {
        column: "sku".to_owned(),
        attributes: vec![attribute("price", price), attribute("brand", brand)],
        blocks: vec![refer(31), refer(32), refer(33)],
        described: 4,
        unknown: 1 << 33,
    }
}

/// One manifest body of each kind, with every field in use.
fn bodies() -> Vec<Body> {
    let data = data_set();
    let partitions = data.parts[0].1.clone();
    let spec = ViewSpec {
        part: SplitPart::Validation,
        bins: Some(2..9),
        hash: Some((5, 1..u64::MAX)),
        collapse_time: true,
        collapse_context: true,
        tiles: Some(9),
        decay: Some(tensor::Decay {
            half_life: 2.5,
            last_bin: 8,
            keeps_bin: true,
        }),
        newcomers: Some(tensor::Newcomers {
            mode: Mode::Product,
            kept: tensor::newcomers::Kept::Later,
            seed: 7,
            limits: vec![(4, tensor::newcomers::moment(7, 1, 4, 9))],
        }),
    };
    let plain = DataSet {
        time: None,
        context: None,
        value_column: None,
        bad_rows: BTreeMap::new(),
        attributes: BTreeMap::new(),
        edges: BTreeMap::new(),
        first: None,
        inputs: Vec::new(),
        deltas: Vec::new(),
        forgotten: None,
        ..data.clone()
    };
    let cycle = DataSet {
        context: Some(Box::new(ContextAxis::Cycle {
            column: "day".to_owned(),
            cycle: Cycle::MonthOfYear,
        })),
        ..plain.clone()
    };
    let mut kept = checkpoint(4, 9, &[refer(1)]);
    if let Body::Checkpoint(checkpoint) = &mut kept {
        let key = ObjectKey::Partial {
            reduction: 1 << 50,
            level: 2,
            index: 7,
        };
        checkpoint.objects.push(CheckpointObject {
            key,
            object: refer(2),
            row_bytes: 8,
        });
        let key = refer(8).key(DepotId::MODEL);
        checkpoint.objects.push(CheckpointObject {
            key,
            object: refer(8),
            row_bytes: 1,
        });
        checkpoint.finished = true;
    }
    vec![
        Body::Term { run: None },
        Body::Term {
            run: Some(Digest([1; 32])),
        },
        Body::DataSet(Box::new(data)),
        Body::DataSet(Box::new(plain)),
        Body::DataSet(Box::new(cycle)),
        Body::View(ViewOf {
            lineage: Digest([3; 32]),
            spec_hash: Digest([4; 32]),
            view: View { spec, partitions },
        }),
        kept,
        Body::Model(Model {
            run: Digest([4; 32]),
            kind: "als".to_owned(),
            scorer: Versioned {
                version: 1,
                bytes: vec![9],
            },
            settings: Versioned::default(),
            tables: vec![ModelTable {
                name: "U".to_owned(),
                mode: Mode::User,
                rank: 10,
                width: 16,
                grid: Grid {
                    stride_log2: 3,
                    rows: vec![3, 0],
                },
                blocks: vec![refer(1), refer(2)],
            }],
            lineage: Digest([3; 32]),
            factors: Digest([5; 32]),
        }),
        // Last: it withdraws nothing that the others are read by.
        Body::Withdrawal(Withdrawal {
            manifests: vec![1000, 1 << 40],
            rows: vec![0, 2, u32::MAX],
            cleared: vec![8],
        }),
    ]
}

#[tokio::test]
async fn every_body_is_read_as_it_was_written() {
    for (depot, _, _directory) in places("bodies") {
        assert_eq!(depot.latest().await.unwrap(), None);
        for (number, body) in (1..).zip(bodies()) {
            assert_eq!(depot.commit(1, body.clone()).await.unwrap(), number);
            let (manifest, _) = depot.manifest(number).await.unwrap();
            assert_eq!(
                (manifest.body, manifest.term, manifest.number),
                (body, 1, number)
            );
        }
        assert_eq!(
            depot.manifests().await.unwrap(),
            (1..=9).collect::<Vec<_>>()
        );
        assert_eq!(depot.latest_data_set(None).await.unwrap().unwrap().0, 5);
        assert!(
            depot
                .latest_data_set(Some(Digest([9; 32])))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            depot
                .latest_view(Digest([3; 32]), Digest([4; 32]))
                .await
                .unwrap()
                .unwrap()
                .0,
            6
        );
        assert!(
            depot
                .latest_view(Digest([3; 32]), Digest([5; 32]))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            depot
                .latest_checkpoint(Digest([4; 32]))
                .await
                .unwrap()
                .unwrap()
                .1
                .epoch,
            9
        );
        assert_eq!(depot.latest_model(None).await.unwrap().unwrap().0, 8);
        assert!(
            depot
                .latest_model(Some(Digest([7; 32])))
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test]
async fn objects_go_in_and_come_out_whatever_their_length() {
    for (depot, cache, directory) in places("objects") {
        let other =
            Cache::open_unsynced(&directory.path().join("other"), u64::MAX, IoMode::Pread).unwrap();
        // Nothing, a little, one part exactly, three parts.
        for len in [0, 1, 8 << 20, (17 << 20) + 3] {
            let contents = bytes(len as u8, len);
            let sealed = seal(&cache, &contents);
            assert!(!depot.has(sealed.reference()).await.unwrap());
            depot.put(&sealed).await.unwrap();
            depot.put(&sealed).await.unwrap();
            assert!(depot.has(sealed.reference()).await.unwrap());
            let back = depot.fetch(sealed.reference(), &other).await.unwrap();
            assert_eq!(&*back.section(0..back.len()).unwrap(), &contents);
            let middle = len as u64 / 2..(len as u64 / 2 + 100).min(len as u64);
            let read = depot.read(sealed.digest(), middle.clone()).await.unwrap();
            assert_eq!(read, contents[middle.start as usize..middle.end as usize]);
        }
        assert_eq!(depot.list().await.unwrap().len(), 4);
        let absent = depot.fetch(refer(77), &other).await;
        assert!(
            matches!(absent, Err(DepotError::Missing { object, .. }) if object == refer(77).digest)
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_not_what_it_says_leaves_nothing() {
    for (depot, _, directory) in places("streams") {
        for len in [1000, 20 << 20] {
            let contents = Bytes::from(bytes(1, len));
            let object = SealedRef {
                digest: Digest(*blake3::hash(&contents).as_bytes()),
                bytes: len as u64,
            };
            let parts = |bytes: Bytes| {
                let pieces: Vec<_> = bytes
                    .chunks(1 << 20)
                    .map(|piece| Ok(bytes.slice_ref(piece)))
                    .collect();
                futures::stream::iter(pieces)
            };
            let longer = Bytes::from([&contents[..], &[1]].concat());
            for wrong in [Bytes::from(bytes(2, len)), contents.slice(1..), longer] {
                let refused = depot.put_stream(object, parts(wrong)).await;
                assert!(
                    matches!(refused, Err(DepotError::Damaged { .. })),
                    "{refused:?}"
                );
            }
            let broken = parts(contents.slice(..len / 2))
                .chain(futures::stream::iter([Err(DepotError::Abandoned)]));
            assert!(matches!(
                depot.put_stream(object, broken).await,
                Err(DepotError::Abandoned)
            ));
            assert_eq!(depot.list().await.unwrap(), []);
            depot.put_stream(object, parts(contents)).await.unwrap();
            assert_eq!(depot.list().await.unwrap()[0].object, object);
            let path = depot_directory(&depot, &directory).map(|path| path.join("objects"));
            if let Some(path) = path {
                assert_eq!(
                    fs::read_dir(&path).unwrap().count(),
                    1,
                    "no part is left behind"
                );
                fs::remove_file(path.join(object.digest.to_string())).unwrap();
            } else {
                depot.claim_term(None).await.unwrap();
                assert_eq!(depot.collect(u64::MAX, i64::MAX).await.unwrap().objects, 1);
            }
        }
    }
}

fn depot_directory(depot: &Depot, directory: &tempfile::TempDir) -> Option<std::path::PathBuf> {
    let name = depot.url().rsplit('/').next()?;
    let path = directory.path().join(name);
    path.is_dir().then_some(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_commits_each_number_has_one_winner() {
    for (depot, _, _directory) in places("race") {
        let racers = (0..16_u8).map(|racer| {
            let depot = depot.clone();
            tokio::spawn(async move {
                (
                    depot.commit(1, checkpoint(racer, 1, &[])).await.unwrap(),
                    racer,
                )
            })
        });
        let mut numbers = BTreeSet::new();
        for won in futures::future::join_all(racers).await {
            let (number, racer) = won.unwrap();
            assert!(numbers.insert(number), "two winners of {number}");
            assert_eq!(
                depot.manifest(number).await.unwrap().0.body,
                checkpoint(racer, 1, &[])
            );
        }
        assert!(numbers.into_iter().eq(1..=16));
        assert!(
            depot.verify().await.unwrap().is_sound(),
            "and they make one chain"
        );
    }
}

#[tokio::test]
async fn who_was_superseded_commits_nothing_more() {
    for (depot, _, _directory) in places("terms") {
        let first = depot.claim_term(None).await.unwrap();
        depot.commit(first, checkpoint(1, 1, &[])).await.unwrap();
        let second = depot.claim_term(Some(Digest([1; 32]))).await.unwrap();
        assert_eq!((first, second), (1, 2));
        let refused = depot.commit(first, checkpoint(1, 2, &[])).await;
        assert!(matches!(
            refused,
            Err(DepotError::Superseded {
                term: 1,
                current: 2,
                ..
            })
        ));
        assert!(matches!(
            depot.collect(first, 0).await,
            Err(DepotError::Superseded { .. })
        ));
        depot.commit(second, checkpoint(1, 2, &[])).await.unwrap();
        let resumed = depot
            .latest_checkpoint(Digest([1; 32]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((resumed.0, resumed.1.epoch), (4, 2));
    }
}

#[tokio::test]
async fn a_kill_between_object_and_manifest_changes_nothing_that_is_read() {
    for (depot, cache, directory) in places("kill") {
        let one = seal(&cache, b"one");
        depot.put(&one).await.unwrap();
        depot
            .commit(1, checkpoint(1, 1, &[one.reference()]))
            .await
            .unwrap();
        let two = seal(&cache, b"two");
        depot.put(&two).await.unwrap();
        // Killed here. A reader still sees epoch 1 whole; what was put waits for its manifest or the collector.
        let again = Depot::open(depot.url()).unwrap();
        assert_eq!(
            again
                .latest_checkpoint(Digest([1; 32]))
                .await
                .unwrap()
                .unwrap()
                .1
                .epoch,
            1
        );
        let report = again.verify().await.unwrap();
        assert!(report.is_sound());
        assert_eq!(report.unreferenced, [two.reference()]);
        assert_eq!(
            again.collect(1, 0).await.unwrap().objects,
            0,
            "younger than the grace"
        );
        // A manifest that was half-written never has its name, and what else lies there is not taken for one.
        if let Some(path) = depot_directory(&depot, &directory) {
            fs::write(path.join("manifests/0000000002#1"), b"torn").unwrap();
            fs::write(path.join("objects/notes"), b"not ours").unwrap();
        }
        again
            .commit(1, checkpoint(1, 2, &[two.reference()]))
            .await
            .unwrap();
        let latest = again
            .latest_checkpoint(Digest([1; 32]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((latest.0, latest.1.epoch), (2, 2));
        // Now the first checkpoint is outdated, and its object may go.
        assert_eq!(again.collect(1, i64::MAX).await.unwrap().objects, 1);
        assert!(
            again.has(two.reference()).await.unwrap() && !again.has(one.reference()).await.unwrap()
        );
        assert!(again.verify().await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_not_found_not_needed_and_collected() {
    for (depot, cache, _directory) in places("withdrawn") {
        let [old, shared, new] = [1, 2, 3].map(|seed| seal(&cache, &bytes(seed, 900)));
        for file in [&old, &shared, &new] {
            depot.put(file).await.unwrap();
        }
        let (old, shared, new) = (old.reference(), shared.reference(), new.reference());
        let model = |run: u8, block: SealedRef, both: SealedRef| {
            let table = ModelTable {
                name: "user".to_owned(),
                mode: Mode::User,
                rank: 1,
                width: 1,
                grid: Grid {
                    stride_log2: 3,
                    rows: vec![1, 1],
                },
                blocks: vec![block, both],
            };
            Body::Model(Model {
                run: Digest([run; 32]),
                kind: "als".to_owned(),
                scorer: Versioned::default(),
                settings: Versioned::default(),
                tables: vec![table],
                lineage: Digest([3; 32]),
                factors: Digest([run; 32]),
            })
        };
        let first = depot.commit(1, model(1, old, shared)).await.unwrap();
        let open = depot.commit(1, checkpoint(7, 1, &[old])).await.unwrap();
        let second = depot.commit(1, model(2, new, shared)).await.unwrap();
        let withdrawal = Withdrawal {
            manifests: vec![first, open],
            rows: vec![0],
            cleared: vec![second],
        };
        let body = Body::Withdrawal(withdrawal);
        let last = depot.commit(1, body.clone()).await.unwrap();
        let run = |run| Some(Digest([run; 32]));
        assert!(depot.latest_model(run(1)).await.unwrap().is_none());
        assert!(
            depot
                .latest_checkpoint(Digest([7; 32]))
                .await
                .unwrap()
                .is_none()
        );
        let found = depot.latest_model(None).await.unwrap().unwrap();
        assert_eq!(found.0, second);
        let standing = depot.standing().await.unwrap();
        let standing: Vec<u64> = standing.into_iter().map(|(number, _)| number).collect();
        assert_eq!(standing, [last, second]);
        // Until it is collected, it lingers, and that is told.
        let report = depot.verify().await.unwrap();
        assert_eq!(
            (report.lingering.clone(), report.is_sound()),
            (vec![old], false)
        );
        let collected = depot.collect(1, i64::MAX).await.unwrap();
        assert_eq!((collected.objects, collected.bytes), (1, 900));
        let report = depot.verify().await.unwrap();
        assert!(report.is_sound() && report.sound == 2, "{report:?}");
        assert!(!depot.has(old).await.unwrap());
    }
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("depot");
    let cache =
        Cache::open_unsynced(&directory.path().join("cache"), u64::MAX, IoMode::Mmap).unwrap();
    let other =
        Cache::open_unsynced(&directory.path().join("other"), u64::MAX, IoMode::Mmap).unwrap();
    let depot = Depot::open(place.to_str().unwrap()).unwrap();
    let sealed: Vec<Sealed> = (0..4)
        .map(|seed| seal(&cache, &bytes(seed, 3000)))
        .collect();
    for sealed in &sealed {
        depot.put(sealed).await.unwrap();
    }
    let objects: Vec<SealedRef> = sealed.iter().map(Sealed::reference).collect();
    depot.commit(1, checkpoint(1, 1, &objects)).await.unwrap();
    let report = depot.verify().await.unwrap();
    assert!(
        report.is_sound()
            && report.sound == 4
            && report.sound_bytes == 12_000
            && report.manifests == 1
    );

    let path = |object: SealedRef| place.join("objects").join(object.digest.to_string());
    let mut flipped = bytes(0, 3000);
    flipped[1234] ^= 0x10;
    fs::write(path(objects[0]), flipped).unwrap();
    fs::write(path(objects[1]), &bytes(1, 3000)[..2999]).unwrap();
    fs::remove_file(path(objects[2])).unwrap();
    let report = depot.verify().await.unwrap();
    let named: BTreeSet<Digest> = report
        .damaged
        .iter()
        .map(|(object, _)| object.digest)
        .collect();
    assert_eq!(
        named,
        BTreeSet::from([objects[0].digest, objects[1].digest])
    );
    assert_eq!((report.missing, report.sound), (vec![(objects[2], 1)], 1));
    let damaged = depot.fetch(objects[0], &other).await;
    assert!(
        matches!(damaged, Err(DepotError::Damaged { object, .. }) if object == objects[0].digest)
    );
    assert!(depot.fetch(objects[1], &other).await.is_err());
    assert!(
        other.find(objects[0]).unwrap().is_none(),
        "and nothing damaged is visible"
    );
    depot.put(&sealed[1]).await.unwrap();
    assert!(
        depot.fetch(objects[1], &other).await.is_ok(),
        "a copy of the wrong length is replaced"
    );
}

#[tokio::test]
async fn a_damaged_manifest_is_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("depot");
    let depot = Depot::open(place.to_str().unwrap()).unwrap();
    for body in bodies() {
        depot.commit(1, body).await.unwrap();
    }
    let path = |number: u64| place.join(format!("manifests/{number:010}"));
    for number in 1..=7 {
        let whole = fs::read(path(number)).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x21;
            fs::write(path(number), &bytes).unwrap();
            assert!(matches!(
                depot.manifest(number).await,
                Err(DepotError::Manifest { .. })
            ));
            fs::write(path(number), &whole[..at]).unwrap();
            assert!(matches!(
                depot.manifest(number).await,
                Err(DepotError::Manifest { .. })
            ));
        }
        // The right sum over a wrong message: any answer but a panic.
        for at in (40..whole.len()).step_by(2) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let sum = *blake3::hash(&bytes[40..]).as_bytes();
            bytes[8..40].copy_from_slice(&sum);
            fs::write(path(number), &bytes).unwrap();
            let _ = depot.manifest(number).await;
        }
        fs::write(path(number), &whole).unwrap();
    }
    // A manifest that is sound but not the one that its successor followed.
    let swapped = fs::read(path(3)).unwrap();
    fs::write(path(3), fs::read(path(4)).unwrap()).unwrap();
    assert!(
        depot.manifest(3).await.is_err(),
        "it says that it is manifest 4"
    );
    let report = depot.verify().await.unwrap();
    assert_eq!(report.damaged_manifests[0].0, 3);
    assert!(matches!(
        depot.collect(1, i64::MAX).await,
        Err(DepotError::Manifest { .. })
    ));
    fs::write(path(3), swapped).unwrap();
    fs::remove_file(path(2)).unwrap();
    assert!(
        !depot.verify().await.unwrap().damaged_manifests.is_empty(),
        "a gap in the chain"
    );
}

#[test]
fn what_is_no_place_is_refused_in_words() {
    for url in [
        "http://example.org/x",
        "s3://",
        "file://host/x",
        "nonsense://x",
        "/proc/version/x",
    ] {
        let refused = Depot::open(url);
        assert!(
            matches!(&refused, Err(DepotError::Url { url: named, .. }) if named == url),
            "{url}: {refused:?}"
        );
    }
}
