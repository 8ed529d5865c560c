//! Identity of the ingested data set, bad rows, refusals, splits as views, and the bundled data.

use arrow::array::{
    ArrayRef, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
    Time32SecondArray,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::IoMode;
use store::partition::Partition;
use tables::survey::InMemory;
use tables::{
    BuildViews, OnBadRow, ScanSpec, SplitSettings, ValueRule, interaction_hash, split_specs,
};
use tensor::{
    BlockId, Decay, Duplicates, Grid, Small, SplitPart, SuperBlocks, TimeBin, View, ViewSpec,
};
use tests::ingested::{
    DAY, GENEROUS, Ingested, Input, Row, TIGHT, ingest, inputs, parquet_of, refusal, some_rows,
    spec, try_ingest_with,
};

const COLLAPSED: Small<bool> = Small {
    time: true,
    context: true,
};

fn plain_file(rows: &[Row]) -> Bytes {
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products: StringArray = rows
        .iter()
        .map(|row| Some(format!("p{}", row.product)))
        .collect();
    let days: Date32Array = rows
        .iter()
        .map(|row| Some((row.seconds / DAY) as i32))
        .collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", Arc::new(users)),
        ("p", Arc::new(products)),
        ("t", Arc::new(days)),
        ("v", Arc::new(values)),
    ];
    parquet_of(columns, 700)
}

#[test]
fn the_bytes_do_not_depend_on_budget_io_or_order_of_tasks() {
    let files: Vec<Bytes> = (0..5)
        .map(|seed| plain_file(&some_rows(2000, seed)))
        .collect();
    let files = inputs(&files);
    for duplicates in [Duplicates::Sum, Duplicates::Last] {
        let spec = ScanSpec {
            duplicates,
            ..spec()
        };
        let reference = ingest(&files, &spec).data;
        for (budget_bytes, mode, backwards) in [
            (TIGHT, IoMode::Mmap, false),
            (TIGHT, IoMode::Pread, true),
            (GENEROUS, IoMode::Pread, true),
        ] {
            let other = try_ingest_with(&files, &spec, budget_bytes, mode, backwards).unwrap();
            assert_eq!(other.data, reference);
        }
    }
}

#[test]
fn the_lineage_follows_content_and_spec_but_not_names() {
    let bytes = plain_file(&some_rows(300, 1));
    let lineage = |files: &[Input], spec: &ScanSpec| ingest(files, spec).data.lineage;
    let reference = lineage(&inputs(std::slice::from_ref(&bytes)), &spec());
    let renamed: Vec<Input> = vec![("other".into(), Arc::new(InMemory(bytes.clone())))];
    assert_eq!(lineage(&renamed, &spec()), reference);
    let monthly = ScanSpec {
        time_bin: TimeBin::Month,
        ..spec()
    };
    assert_ne!(lineage(&inputs(&[bytes]), &monthly), reference);
    let changed = plain_file(&some_rows(300, 2));
    assert_ne!(lineage(&inputs(&[changed]), &spec()), reference);
}

/// Ten rows of which five are bad, each for a reason of its own.
fn bad_file() -> Bytes {
    let users = Int32Array::from(vec![
        Some(1),
        None,
        Some(1),
        Some(2),
        Some(2),
        Some(2),
        Some(3),
        Some(9),
    ]);
    let products = StringArray::from(vec![
        Some("a"),
        Some("a"),
        None,
        Some("b"),
        Some("a"),
        Some("b"),
        Some("a"),
        Some("z"),
    ]);
    let days = Date32Array::from(vec![
        Some(17_000),
        Some(17_000),
        Some(17_000),
        None,
        Some(17_001),
        Some(17_001),
        Some(17_001),
        Some(1),
    ]);
    let values = Float32Array::from(vec![
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(f32::NAN),
        Some(f32::INFINITY),
        Some(2.0),
        None,
    ]);
    parquet_of(
        vec![
            ("u", Arc::new(users)),
            ("p", Arc::new(products)),
            ("t", Arc::new(days)),
            ("v", Arc::new(values)),
        ],
        3,
    )
}

#[test]
fn bad_rows_are_skipped_and_counted_by_reason() {
    let spec = ScanSpec {
        on_bad_row: OnBadRow::Skip,
        ..spec()
    };
    let found = ingest(&inputs(&[bad_file()]), &spec);
    let reasons = [
        "null_user",
        "null_product",
        "null_time",
        "nan_value",
        "infinite_value",
        "null_value",
    ];
    let expected: BTreeMap<String, u64> = reasons
        .iter()
        .map(|reason| ((*reason).to_owned(), 1))
        .collect();
    assert_eq!(found.data.bad_rows, expected);
    assert_eq!(found.data.input_rows, 8);
    let key = |user: &str| (user.to_owned(), "a".to_owned(), 0);
    let named = found.named(&found.data.parts[0].1);
    assert_eq!(named, BTreeMap::from([(key("1"), 1.0), (key("3"), 2.0)]));
    assert_eq!(
        found.data.product.grid.rows_total(),
        1,
        "ids of bad rows are no ids"
    );
    assert_eq!(
        found.data.time.as_ref().unwrap().bins,
        1,
        "times of bad rows are no times"
    );
}

#[test]
fn the_first_bad_row_is_named() {
    let good = plain_file(&some_rows(50, 1));
    let files = [
        parquet_of(
            vec![
                ("u", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
                ("p", Arc::new(StringArray::from(vec!["a"]))),
                ("t", Arc::new(Date32Array::from(vec![1]))),
                ("v", Arc::new(Float32Array::from(vec![-1.0]))),
            ],
            10,
        ),
        bad_file(),
    ];
    let sentence = refusal(
        &inputs(&[good.clone(), files[1].clone(), files[0].clone()]),
        &spec(),
    );
    insta::assert_snapshot!(sentence, @r#"file-1.parquet, row 1 (from 0): column `u` is null; correct it, or set on_bad_row = "skip" to leave such rows out"#);
    let rule = ScanSpec {
        value_rule: ValueRule::NonNegative,
        ..spec()
    };
    let sentence = refusal(&inputs(&[good, files[0].clone()]), &rule);
    insta::assert_snapshot!(sentence, @r#"file-1.parquet, row 0 (from 0): column `v` is negative, which the model forbids; correct it, or set on_bad_row = "skip" to leave such rows out"#);
}

#[test]
fn input_that_cannot_be_read_is_refused_in_a_sentence() {
    let good = plain_file(&some_rows(900, 1));
    let one = |bytes: Bytes| inputs(&[bytes]);
    let column = |name: &'static str, array: ArrayRef| parquet_of(vec![(name, array)], 10);
    let mut damaged = good.to_vec();
    damaged[4..24].fill(0xff);
    let other_type = parquet_of(
        vec![
            ("u", Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
            ("p", Arc::new(StringArray::from(vec!["a"]))),
            ("t", Arc::new(Date32Array::from(vec![1]))),
            ("v", Arc::new(Float32Array::from(vec![1.0]))),
        ],
        10,
    );
    let timeless = ScanSpec {
        time: Some("v".into()),
        value: None,
        ..spec()
    };
    let renamed = |user: &str| ScanSpec {
        user: user.into(),
        ..spec()
    };
    let only_u = column("u", Arc::new(Time32SecondArray::from(vec![1])));
    let cases = [
        refusal(&[], &spec()),
        refusal(&one(plain_file(&[])), &spec()),
        refusal(&one(Bytes::from_static(b"PAR1")), &spec()),
        refusal(&one(good.slice(..good.len() - 9)), &spec()),
        refusal(&one(good.clone()), &renamed("customer")),
        refusal(&one(good.clone()), &renamed("p")),
        refusal(&one(good.clone()), &timeless),
        refusal(&one(only_u), &spec()),
        refusal(&inputs(&[good.clone(), other_type]), &spec()),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r"
    no input file is given: nothing to ingest
    file-0.parquet has no rows: nothing to ingest
    file-0.parquet is not a whole Parquet file (it has 4 bytes): it may be truncated or damaged, write it again
    file-0.parquet is not a whole Parquet file (it does not end with the word PAR1): it may be truncated or damaged, write it again
    file-0.parquet has no column `customer` (user); it has `u`, `p`, `t`, `v`
    column `p` is named both as user and as product: name another column
    column `v` (time) of file-0.parquet is Float64; it must be a date, timestamp or integer column
    column `u` (user) of file-0.parquet is Time32(s); it must be an integer, text or binary column
    column `u` is text in file-1.parquet but an integer in file-0.parquet: write both with one type
    ");
    let sentence = refusal(&one(damaged.into()), &spec());
    assert!(
        sentence.starts_with("file-0.parquet is not a whole Parquet file ("),
        "{sentence}"
    );
}

fn build(found: &mut Ingested, specs: Vec<ViewSpec>) -> Vec<View> {
    let mut program = BuildViews::new(found.data.clone(), specs);
    found.world.run(&mut program, &exec::begin).unwrap();
    program.into_views().unwrap()
}

#[test]
fn splits_by_bins_keep_their_bins_and_collapse_by_the_rule() {
    for duplicates in [
        Duplicates::Sum,
        Duplicates::Max,
        Duplicates::Last,
        Duplicates::Count,
    ] {
        let files = inputs(&[
            plain_file(&some_rows(3000, 9)),
            plain_file(&some_rows(1000, 10)),
        ]);
        let mut found = ingest(
            &files,
            &ScanSpec {
                duplicates,
                ..spec()
            },
        );
        let all = found.rows(&found.data.parts[0].1.clone());
        let settings = SplitSettings::Bins {
            validation: 4,
            test: 5,
        };
        let whole = found.data.time.as_ref().unwrap().whole_bins();
        let splits = split_specs(&settings, &found.data, Small::default()).unwrap();
        let collapsed = split_specs(&settings, &found.data, COLLAPSED).unwrap();
        let specs = splits
            .each()
            .into_iter()
            .chain(collapsed.each())
            .cloned()
            .collect();
        let views = build(&mut found, specs);
        let ranges = [0..whole - 9, whole - 9..whole - 5, whole - 5..whole];
        for (range, (view, flat)) in ranges.iter().zip(views[..3].iter().zip(&views[3..])) {
            let kept: BTreeMap<_, _> = all
                .iter()
                .filter(|((_, _, bin), _)| range.contains(bin))
                .map(|(k, v)| (*k, *v))
                .collect();
            assert!(!kept.is_empty());
            assert_eq!(found.rows(&view.partitions), kept);
            let mut expected: BTreeMap<(u32, u32, u32), Vec<f32>> = BTreeMap::new();
            for ((user, product, _), value) in kept {
                expected.entry((user, product, 0)).or_default().push(value);
            }
            let combine = |values: Vec<f32>| match duplicates {
                Duplicates::Sum | Duplicates::Count => {
                    values.iter().map(|&v| f64::from(v)).sum::<f64>() as f32
                }
                Duplicates::Max => values.into_iter().fold(f32::MIN, f32::max),
                Duplicates::Last => values[values.len() - 1],
            };
            let expected: BTreeMap<_, _> =
                expected.into_iter().map(|(k, v)| (k, combine(v))).collect();
            assert_eq!(found.rows(&flat.partitions), expected, "{duplicates:?}");
        }
    }
}

#[test]
fn a_view_fades_values_or_keeps_the_bin_that_decides() {
    let files = inputs(&[plain_file(&some_rows(6000, 3))]);
    for duplicates in [
        Duplicates::Sum,
        Duplicates::Count,
        Duplicates::Max,
        Duplicates::Last,
    ] {
        let mut found = ingest(
            &files,
            &ScanSpec {
                duplicates,
                ..spec()
            },
        );
        let all = found.rows(&found.data.parts[0].1.clone());
        let by = SplitSettings::Bins {
            validation: 0,
            test: 5,
        };
        let train = split_specs(&by, &found.data, COLLAPSED).unwrap().train;
        let end = train.bins.clone().unwrap().end;
        let faded = |keeps_bin| ViewSpec {
            decay: Some(Decay {
                half_life: 3.5,
                last_bin: end - 1,
                keeps_bin,
            }),
            ..train.clone()
        };
        let views = build(&mut found, vec![faded(false), faded(true)]);
        let mut pairs: BTreeMap<(u32, u32), Vec<(u32, f64)>> = BTreeMap::new();
        for ((user, product, bin), value) in all.into_iter().filter(|((_, _, bin), _)| *bin < end) {
            pairs
                .entry((user, product))
                .or_default()
                .push((bin, f64::from(value)));
        }
        let combine = |values: &[f64]| match duplicates {
            Duplicates::Sum | Duplicates::Count => values.iter().sum::<f64>(),
            Duplicates::Max => values.iter().copied().fold(f64::MIN, f64::max),
            Duplicates::Last => values[values.len() - 1],
        };
        let fade = |bin: u32| (-f64::from(end - 1 - bin) / 3.5).exp2();
        let values = found.rows(&views[0].partitions);
        let bins = found.rows(&views[1].partitions);
        assert_eq!((values.len(), bins.len()), (pairs.len(), pairs.len()));
        for (((user, product), seen), ((user_too, product_too, bin), value)) in
            pairs.iter().zip(bins)
        {
            assert_eq!((*user, *product), (user_too, product_too));
            let plain: Vec<f64> = seen.iter().map(|(_, value)| *value).collect();
            assert_eq!(value, combine(&plain) as f32, "{duplicates:?}");
            let newest = seen.iter().rev();
            let decides = match duplicates {
                Duplicates::Max => newest.max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0))),
                _ => newest.max_by_key(|(bin, _)| *bin),
            };
            assert_eq!(bin, decides.unwrap().0, "{duplicates:?} {seen:?}");
            let aged: Vec<f64> = seen.iter().map(|(bin, value)| value * fade(*bin)).collect();
            let (aged, found) = (combine(&aged), f64::from(values[&(*user, *product, 0)]));
            assert!(
                (found - aged).abs() <= 1e-6 * aged,
                "{duplicates:?}: {found} for {aged}"
            );
        }
    }
}

/// The interactions of a view of tiles as (user row, product row, bin) -> value.
fn untiled(found: &Ingested, view: &View) -> BTreeMap<(u32, u32, u32), f32> {
    let side = view.spec.tiles.unwrap();
    let (user, product) = (&found.data.user.grid, &found.data.product.grid);
    let ids = |grid: &Grid| {
        let joined = SuperBlocks::new(grid, side);
        let rows = grid.block_ids().flat_map(|block| grid.row_ids(block));
        rows.map(|row| (joined.split(row).unwrap(), row))
            .collect::<BTreeMap<_, _>>()
    };
    let (users, products) = (ids(user), ids(product));
    let mut rows = BTreeMap::new();
    for (tile, reference) in (0..).zip(&view.partitions.user_major) {
        let file = found.world.sealed[&reference.object.digest].clone();
        let partition = Partition::open(file).unwrap();
        assert_eq!(partition.block(), BlockId(tile));
        let piece = partition.whole().unwrap();
        for row in 0..partition.rows() {
            let offsets = &partition.offsets()[row as usize..];
            for at in offsets[0] as usize..offsets[1] as usize {
                let time = piece.small_ids().time.map_or(0, |times| times[at]);
                let user = users[&(tile / side, row)];
                let product = products[&(tile % side, piece.columns[at])];
                rows.insert((user, product, time), piece.values.as_values().at(at));
            }
        }
    }
    assert_eq!(rows.len() as u64, view.partitions.interactions);
    rows
}

#[test]
fn tiles_hold_what_their_view_holds_whatever_the_budget() {
    let files = inputs(&[plain_file(&some_rows(6000, 3))]);
    let mut references: Option<Vec<View>> = None;
    for budget_bytes in [GENEROUS, TIGHT, 5 << 20] {
        let mut found = ingest(&files, &spec());
        found.world.room.budget_bytes = budget_bytes;
        let by = SplitSettings::Hash {
            seed: 4,
            validation: 0.1,
            test: 0.2,
        };
        let flat = split_specs(&by, &found.data, COLLAPSED).unwrap().train;
        let timed = split_specs(&by, &found.data, Small::default())
            .unwrap()
            .train;
        let tiled = |spec: &ViewSpec, side| ViewSpec {
            tiles: Some(side),
            ..spec.clone()
        };
        let whole = ViewSpec {
            hash: None,
            ..tiled(&timed, 8)
        };
        let specs = vec![
            flat.clone(),
            tiled(&flat, 8),
            timed.clone(),
            tiled(&timed, 5),
            whole,
        ];
        let views = build(&mut found, specs);
        assert_eq!(untiled(&found, &views[1]), found.rows(&views[0].partitions));
        assert_eq!(untiled(&found, &views[3]), found.rows(&views[2].partitions));
        let all = found.data.parts[0].1.clone();
        assert_eq!(untiled(&found, &views[4]), found.rows(&all));
        assert_eq!(*references.get_or_insert_with(|| views.clone()), views);
    }
}

#[test]
fn splits_by_hash_are_a_partition_and_both_orientations_agree() {
    let mut found = ingest(&inputs(&[plain_file(&some_rows(5000, 4))]), &spec());
    let all = found.rows(&found.data.parts[0].1.clone());
    let settings = SplitSettings::Hash {
        seed: 5,
        validation: 0.1,
        test: 0.2,
    };
    let splits = split_specs(&settings, &found.data, Small::default()).unwrap();
    let views = build(&mut found, splits.each().map(Clone::clone).to_vec());
    let mut joined = BTreeMap::new();
    for view in &views {
        let (_, range) = view.spec.hash.clone().unwrap();
        for (key, value) in found.rows(&view.partitions) {
            let at = Small {
                time: key.2,
                context: 0,
            };
            assert!(range.contains(&interaction_hash(5, key.0, key.1, at)));
            assert!(
                joined.insert(key, value).is_none(),
                "the parts are disjoint"
            );
        }
        assert!(view.partitions.interactions > 100);
    }
    assert_eq!(joined, all);
}

#[test]
fn given_files_become_parts_of_one_data_set() {
    let parts = vec![
        SplitPart::Train,
        SplitPart::Test,
        SplitPart::Train,
        SplitPart::Validation,
    ];
    let rows: Vec<Vec<Row>> = (0..4).map(|seed| some_rows(600, 20 + seed)).collect();
    let files: Vec<Bytes> = rows.iter().map(|rows| plain_file(rows)).collect();
    let spec = ScanSpec {
        parts: parts.clone(),
        duplicates: Duplicates::Count,
        ..spec()
    };
    let mut found = ingest(&inputs(&files), &spec);
    let counted: Vec<(SplitPart, f32)> = found
        .data
        .parts
        .iter()
        .map(|(part, partitions)| (*part, found.rows(partitions).values().sum()))
        .collect();
    let expected = [
        (SplitPart::Train, 1200.0),
        (SplitPart::Validation, 600.0),
        (SplitPart::Test, 600.0),
    ];
    assert_eq!(counted, expected);
    let splits = split_specs(&SplitSettings::Given, &found.data, Small::default()).unwrap();
    let views = build(&mut found, splits.each().map(Clone::clone).to_vec());
    for (view, (_, partitions)) in views.iter().zip(&found.data.parts) {
        assert_eq!(
            view.partitions, *partitions,
            "a view that keeps everything is the data set itself"
        );
    }
}

#[test]
fn the_bundled_data_are_whole() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/complete-journey/transactions.parquet"
    );
    let bytes: Bytes = std::fs::read(path).unwrap().into();
    let files: Vec<Input> = vec![("transactions.parquet".into(), Arc::new(InMemory(bytes)))];
    let spec = ScanSpec {
        user: "household_id".into(),
        product: "product_id".into(),
        time: Some("day".into()),
        value: None,
        duplicates: Duplicates::Count,
        ..spec()
    };
    let started = std::time::Instant::now();
    let generous = try_ingest_with(&files, &spec, GENEROUS, IoMode::Mmap, false).unwrap();
    eprintln!(
        "ingest of the bundled data: {:.2} s",
        started.elapsed().as_secs_f64()
    );
    let data = &generous.data;
    assert_eq!(data.input_rows, 1_469_307);
    assert_eq!(data.user.grid.rows_total(), 2_469);
    assert_eq!(data.product.grid.rows_total(), 68_509);
    let time = data.time.as_ref().unwrap();
    assert_eq!((time.bins, time.last_is_partial), (54, true));
    let rows = generous.rows(&data.parts[0].1);
    assert_eq!(
        rows.values().map(|&count| f64::from(count)).sum::<f64>(),
        1_469_307.0
    );
    let tight = try_ingest_with(&files, &spec, TIGHT, IoMode::Pread, false).unwrap();
    assert_eq!(tight.data, *data);
}
