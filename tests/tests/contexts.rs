//! Contexts from Parquet to views: ids and cycles, duplicates, collapsing, and what is refused; the bytes depend on neither
//! budget nor order of tasks.

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::IoMode;
use store::partition::Partition;
use tables::{BuildViews, ContextSpec, OnBadRow, ScanSpec, SplitSettings, split_specs};
use tensor::{
    ContextAxis, Cycle, Decay, Duplicates, PartitionRef, Partitions, Small, TimeBin, ViewSpec,
};
use tests::ingested::{
    DAY, GENEROUS, Ingested, Row, TIGHT, ingest, inputs, parquet_of, refusal, some_rows, spec,
    try_ingest_with,
};

/// What a store is called; a few stores have most of the rows.
fn store(place: usize) -> String {
    format!("store {}", place % 11 * (place % 13) % 9)
}

fn file(rows: &[Row], store: impl Fn(usize) -> Option<String>) -> Bytes {
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products: Int64Array = rows.iter().map(|row| Some(row.product)).collect();
    let days: Date32Array = rows
        .iter()
        .map(|row| Some((row.seconds / DAY) as i32))
        .collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let stores: StringArray = (0..rows.len()).map(store).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", Arc::new(users)),
        ("p", Arc::new(products)),
        ("t", Arc::new(days)),
        ("v", Arc::new(values)),
        ("s", Arc::new(stores)),
    ];
    parquet_of(columns, 3000)
}

fn by_store() -> ScanSpec {
    ScanSpec {
        context: Some(ContextSpec::Column("s".into())),
        ..spec()
    }
}

/// User row, product row, bin, context -> value; both orientations agree and stand in canonical order.
type Cells = BTreeMap<(u32, u32, Small<u32>), f32>;

fn side(found: &Ingested, side: &[PartitionRef], users: bool) -> Cells {
    let data = &found.data;
    let grid = if users {
        &data.user.grid
    } else {
        &data.product.grid
    };
    let mut cells = Cells::new();
    for (block, reference) in grid.block_ids().zip(side) {
        let file = found.world.sealed[&reference.object.digest].clone();
        let partition = Partition::open(file).unwrap();
        let piece = partition.whole().unwrap();
        let csr = piece.csr(partition.offsets(), 1 << 32).unwrap();
        for (local, row) in grid.row_ids(block).enumerate() {
            let of = |at: usize| csr.small().map(|ids| ids.map_or(0, |ids| ids[at]));
            let keys: Vec<_> = csr
                .row(local)
                .map(|at| (csr.columns()[at], of(at)))
                .collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
            for (at, (column, small)) in csr.row(local).zip(keys) {
                let (user, product) = if users { (row, column) } else { (column, row) };
                cells.insert((user, product, small), csr.values().at(at));
            }
        }
    }
    cells
}

fn cells(found: &Ingested, partitions: &Partitions) -> Cells {
    let by_user = side(found, &partitions.user_major, true);
    let by_product = side(found, &partitions.product_major, false);
    assert_eq!(by_user, by_product);
    assert_eq!(by_user.len() as u64, partitions.interactions);
    by_user
}

/// The same in original ids.
fn named(found: &Ingested) -> BTreeMap<(String, String, u32, String), f32> {
    let data = &found.data;
    let (users, products) = (found.ids(&data.user), found.ids(&data.product));
    let contexts: Vec<String> = match data.context.as_deref().unwrap() {
        ContextAxis::Ids(axis) => found.ids(axis).into_values().collect(),
        ContextAxis::Cycle { cycle, .. } => {
            (0..cycle.places()).map(|place| cycle.name(place)).collect()
        }
    };
    let cells = cells(found, &data.parts[0].1).into_iter();
    cells
        .map(|((user, product, small), value)| {
            let context = contexts[small.context as usize].clone();
            let ids = (users[&user].clone(), products[&product].clone());
            ((ids.0, ids.1, small.time, context), value)
        })
        .collect()
}

/// What an ingest should find.
fn naive(
    rows: &[Row],
    duplicates: Duplicates,
    context: impl Fn(usize, &Row) -> String,
) -> BTreeMap<(String, String, u32, String), f32> {
    let week = |row: &Row| TimeBin::Week.index(row.seconds);
    let first = rows.iter().map(week).min().unwrap();
    let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let key = (
            row.user.to_string(),
            row.product.to_string(),
            (week(row) - first) as u32,
            context(place, row),
        );
        all.entry(key).or_default().push(row.value);
    }
    let combine = |values: Vec<f64>| match duplicates {
        Duplicates::Sum => values.iter().sum::<f64>() as f32,
        Duplicates::Max => values.into_iter().fold(f64::MIN, f64::max) as f32,
        Duplicates::Last => values[values.len() - 1] as f32,
        Duplicates::Count => values.len() as f32,
    };
    let all = all.into_iter();
    all.map(|(key, values)| (key, combine(values))).collect()
}

#[test]
fn contexts_of_a_column_are_combined_as_computed_naively() {
    let rows = some_rows(20_000, 1);
    let files = inputs(&[file(&rows, |place| Some(store(place)))]);
    for duplicates in [Duplicates::Sum, Duplicates::Last, Duplicates::Count] {
        let spec = ScanSpec {
            duplicates,
            ..by_store()
        };
        let found = ingest(&files, &spec);
        let expected = naive(&rows, duplicates, |place, _| store(place));
        assert_eq!(named(&found), expected, "{duplicates:?}");
        let Some(ContextAxis::Ids(axis)) = found.data.context.as_deref() else {
            panic!("contexts are ids");
        };
        assert_eq!((axis.grid.blocks(), axis.column.as_str()), (1, "s"));
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        (0..rows.len()).for_each(|place| *counts.entry(store(place)).or_default() += 1);
        let ordered: Vec<u32> = found
            .ids(axis)
            .into_values()
            .map(|id| counts[&id])
            .collect();
        assert!(ordered.is_sorted_by(|a, b| a >= b), "{ordered:?}");
    }
}

#[test]
fn the_places_of_times_in_a_cycle_are_contexts() {
    let rows = some_rows(9_000, 2);
    let files = inputs(&[file(&rows, |_| None)]);
    for cycle in [Cycle::DayOfWeek, Cycle::MonthOfYear] {
        let spec = ScanSpec {
            context: Some(ContextSpec::Cycle(cycle)),
            ..spec()
        };
        let found = ingest(&files, &spec);
        let place = |_: usize, row: &Row| cycle.name(cycle.place(row.seconds));
        assert_eq!(named(&found), naive(&rows, Duplicates::Sum, place));
        let context = found.data.context.as_ref().unwrap();
        assert_eq!(
            (context.rows(), context.dictionary().len()),
            (cycle.places(), 0)
        );
    }
}

#[test]
fn neither_budget_nor_order_changes_a_byte() {
    let rows = some_rows(30_000, 3);
    let halves = rows.split_at(17_000);
    let part = |rows: &[Row], skip: usize| file(rows, |place| Some(store(place + skip)));
    let files = inputs(&[part(halves.0, 0), part(halves.1, 17_000)]);
    let of = |budget, mode, backwards| {
        let found = try_ingest_with(&files, &by_store(), budget, mode, backwards).unwrap();
        (found.data.parts.clone(), found.data.context.clone())
    };
    let expected = of(GENEROUS, IoMode::Mmap, false);
    assert_eq!(of(TIGHT, IoMode::Pread, true), expected);
}

/// What a view that keeps these should hold: values by pair and by what is kept, combined in f64 in canonical order.
fn collapsed(all: &Cells, keeps: Small<bool>, decay: Option<Decay>) -> Cells {
    let fades = decay.map_or_else(Vec::new, |decay| decay.fades());
    let mut sums: BTreeMap<(u32, u32, Small<u32>), (f64, u32)> = BTreeMap::new();
    for (&(user, product, small), &value) in all {
        let kept = small
            .zip(keeps)
            .map(|(id, keeps)| if keeps { id } else { 0 });
        let faded = decay
            .filter(|decay| !decay.keeps_bin)
            .map_or(1.0, |_| fades[small.time as usize]);
        let sum = sums.entry((user, product, kept)).or_default();
        *sum = (sum.0 + f64::from(value) * faded, small.time);
    }
    let keeps_bin = decay.is_some_and(|decay| decay.keeps_bin);
    let cells = sums
        .into_iter()
        .map(|((user, product, small), (sum, newest))| {
            let time = if keeps_bin { newest } else { small.time };
            ((user, product, Small { time, ..small }), sum as f32)
        });
    cells.collect()
}

#[test]
fn views_keep_or_collapse_each_small_mode() {
    let rows = some_rows(20_000, 4);
    let mut found = ingest(
        &inputs(&[file(&rows, |place| Some(store(place)))]),
        &by_store(),
    );
    let data = found.data.clone();
    let all = cells(&found, &data.parts[0].1);
    let by = SplitSettings::Bins {
        validation: 4,
        test: 4,
    };
    let last = data.time.as_ref().unwrap().whole_bins() - 9;
    let decay = |keeps_bin| Decay {
        half_life: 6.0,
        last_bin: last,
        keeps_bin,
    };
    let train: Cells = all
        .iter()
        .filter(|((_, _, small), _)| small.time <= last)
        .map(|(key, value)| (*key, *value))
        .collect();
    for (collapse_time, collapse_context) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let collapse = Small {
            time: collapse_time,
            context: collapse_context,
        };
        let mut decays = vec![None];
        if collapse_time {
            decays.extend([Some(decay(false)), Some(decay(true))]);
        }
        for decay in decays {
            let spec = ViewSpec {
                decay,
                ..split_specs(&by, &data, collapse).unwrap().train
            };
            let mut program = BuildViews::new(data.clone(), vec![spec]);
            found.world.run(&mut program, &exec::begin).unwrap();
            let view = program.into_views().unwrap().remove(0);
            let expected = collapsed(&train, collapse.map(|collapse| !collapse), decay);
            assert_eq!(cells(&found, &view.partitions), expected, "{view:?}");
        }
    }
}

#[test]
fn hash_splits_part_interactions_that_differ_by_context_alone() {
    let rows = some_rows(20_000, 5);
    let mut found = ingest(
        &inputs(&[file(&rows, |place| Some(store(place)))]),
        &by_store(),
    );
    let by = SplitSettings::Hash {
        seed: 5,
        validation: 0.2,
        test: 0.3,
    };
    let data = found.data.clone();
    let splits = split_specs(&by, &data, Small::default()).unwrap();
    let specs = splits.each().map(Clone::clone).to_vec();
    let mut program = BuildViews::new(data.clone(), specs);
    found.world.run(&mut program, &exec::begin).unwrap();
    let views = program.into_views().unwrap();
    let parts: Vec<Cells> = views
        .iter()
        .map(|view| cells(&found, &view.partitions))
        .collect();
    let all: Cells = parts.iter().flatten().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(all, cells(&found, &data.parts[0].1));
    assert_eq!(all.len(), parts.iter().map(Cells::len).sum::<usize>());
    for (part, share) in parts.iter().zip([0.5, 0.2, 0.3]) {
        let found = part.len() as f64 / all.len() as f64;
        assert!((found - share).abs() < 0.02, "{found}, not {share}");
    }
}

#[test]
fn what_cannot_be_a_context_is_named() {
    let rows = some_rows(70_000, 6);
    let many = inputs(&[file(&rows, |place| Some(place.to_string()))]);
    assert_eq!(
        refusal(&many, &by_store()),
        "column `s` has 70000 different contexts, the limit is 65536: name a coarser column, or make it an attribute"
    );
    let gaps = |place: usize| (place != 7).then(|| store(place));
    let gaps = inputs(&[file(&rows[..100], gaps)]);
    assert_eq!(
        refusal(&gaps, &by_store()),
        "file-0.parquet, row 7 (from 0): column `s` is null; correct it, or set on_bad_row = \"skip\" to leave such rows out"
    );
    let skipping = ScanSpec {
        on_bad_row: OnBadRow::Skip,
        ..by_store()
    };
    let found = ingest(&gaps, &skipping);
    assert_eq!(
        found.data.bad_rows,
        BTreeMap::from([("null_context".to_owned(), 1)])
    );
    let hours = ScanSpec {
        context: Some(ContextSpec::Cycle(Cycle::HourOfDay)),
        ..spec()
    };
    assert_eq!(
        refusal(&gaps, &hours),
        "column `t` (time) of file-0.parquet is Date32; it must be a timestamp or integer column, of which \"hour-of-day\" can be told"
    );
    let twice = ScanSpec {
        context: Some(ContextSpec::Column("p".into())),
        ..spec()
    };
    assert_eq!(
        refusal(&gaps, &twice),
        "column `p` is named both as product and as context: name another column"
    );
}
