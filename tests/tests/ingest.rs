//! Ingest against a naive computation in memory, over every type of column.

use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, Date32Array, Date64Array, Decimal128Array,
    DictionaryArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt16Array, UInt64Array,
};
use arrow::datatypes::Int16Type;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::ScanSpec;
use tensor::{Duplicates, Grid, SplitPart, TimeBin};
use tests::ingested::{DAY, Row, ingest, inputs, naive, parquet_of, some_rows, spec};

type IdColumn = (&'static str, fn(&[i64]) -> ArrayRef, fn(i64) -> String);

fn text(id: i64) -> String {
    format!("id {id} é")
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn id_columns() -> Vec<IdColumn> {
    fn texts(ids: &[i64]) -> Vec<String> {
        ids.iter().map(|&id| text(id)).collect()
    }
    fn binary(ids: &[i64]) -> Vec<[u8; 8]> {
        ids.iter().map(|id| id.to_be_bytes()).collect()
    }
    fn slices(bytes: &[[u8; 8]]) -> Vec<&[u8]> {
        bytes.iter().map(|bytes| &bytes[..]).collect()
    }
    let plain = |id: i64| id.to_string();
    let coded = |id: i64| hex(&id.to_be_bytes());
    vec![
        (
            "int16",
            |ids| {
                Arc::new(
                    ids.iter()
                        .map(|&id| Some(id as i16))
                        .collect::<Int16Array>(),
                )
            },
            plain,
        ),
        (
            "int32",
            |ids| {
                Arc::new(
                    ids.iter()
                        .map(|&id| Some(id as i32))
                        .collect::<Int32Array>(),
                )
            },
            plain,
        ),
        (
            "int64",
            |ids| Arc::new(Int64Array::from(ids.to_vec())),
            plain,
        ),
        (
            "uint16",
            |ids| {
                Arc::new(
                    ids.iter()
                        .map(|&id| Some((id + 50) as u16))
                        .collect::<UInt16Array>(),
                )
            },
            |id| (id + 50).to_string(),
        ),
        (
            "uint64",
            |ids| {
                Arc::new(
                    ids.iter()
                        .map(|&id| Some(u64::MAX - (id + 50) as u64))
                        .collect::<UInt64Array>(),
                )
            },
            |id| (u64::MAX - (id + 50) as u64).to_string(),
        ),
        ("utf8", |ids| Arc::new(StringArray::from(texts(ids))), text),
        (
            "large utf8",
            |ids| Arc::new(LargeStringArray::from(texts(ids))),
            text,
        ),
        (
            "utf8 view",
            |ids| Arc::new(StringViewArray::from(texts(ids))),
            text,
        ),
        (
            "dictionary",
            |ids| {
                let texts = texts(ids);
                Arc::new(
                    texts
                        .iter()
                        .map(String::as_str)
                        .collect::<DictionaryArray<Int16Type>>(),
                )
            },
            text,
        ),
        (
            "binary",
            |ids| Arc::new(BinaryArray::from(slices(&binary(ids)))),
            coded,
        ),
        (
            "large binary",
            |ids| Arc::new(LargeBinaryArray::from(slices(&binary(ids)))),
            coded,
        ),
        (
            "binary view",
            |ids| Arc::new(BinaryViewArray::from(slices(&binary(ids)))),
            coded,
        ),
        (
            "fixed binary",
            |ids| Arc::new(FixedSizeBinaryArray::try_from_iter(binary(ids).into_iter()).unwrap()),
            coded,
        ),
    ]
}

fn times(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.seconds).collect()
}

fn file_of(rows: &[Row], user: &IdColumn, product: &IdColumn) -> Bytes {
    let users: Vec<i64> = rows.iter().map(|row| row.user).collect();
    let products: Vec<i64> = rows.iter().map(|row| row.product).collect();
    let days: Date32Array = rows
        .iter()
        .map(|row| Some((row.seconds / DAY) as i32))
        .collect();
    let values: Float32Array = rows.iter().map(|row| Some(row.value as f32)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("v", Arc::new(values)),
        ("u", user.1(&users)),
        ("t", Arc::new(days)),
        ("p", product.1(&products)),
    ];
    parquet_of(columns, 300)
}

#[test]
fn every_type_of_id_gives_the_naive_data_set() {
    let columns = id_columns();
    for (number, user) in columns.iter().enumerate() {
        let product = &columns[(number + 5) % columns.len()];
        let duplicates = [
            Duplicates::Sum,
            Duplicates::Max,
            Duplicates::Last,
            Duplicates::Count,
        ][number % 4];
        let (first, second) = (
            some_rows(900, number as u64),
            some_rows(500, 77 + number as u64),
        );
        let files = inputs(&[
            file_of(&first, user, product),
            file_of(&second, user, product),
        ]);
        let spec = ScanSpec {
            duplicates,
            ..spec()
        };
        let found = ingest(&files, &spec);
        let rows = [first, second].concat();
        let expected = naive(
            &rows,
            |s| TimeBin::Week.index(s),
            duplicates,
            user.2,
            product.2,
        );
        let (part, partitions) = &found.data.parts[0];
        assert_eq!((*part, found.data.parts.len()), (SplitPart::Train, 1));
        assert_eq!(
            found.named(partitions),
            expected,
            "{} x {}",
            user.0,
            product.0
        );
        assert_eq!(found.data.input_rows, 1400);
        assert!(found.data.bad_rows.is_empty());
    }
}

#[test]
fn rows_are_dealt_by_count_and_then_by_id() {
    let columns = id_columns();
    for number in [2, 4, 5, 9] {
        let column = &columns[number];
        let rows = some_rows(3000, 5);
        let found = ingest(&inputs(&[file_of(&rows, column, &columns[2])]), &spec());
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for row in &rows {
            *counts.entry(row.user).or_default() += 1;
        }
        let mut ranked: Vec<(i64, u64)> = counts.into_iter().collect();
        // Typed order: numbers by number (descending in the unsigned column), text and binary by bytes.
        let by_id = |a: &i64, b: &i64| match column.0 {
            "int64" => a.cmp(b),
            "uint64" => b.cmp(a),
            "utf8" => text(*a).cmp(&text(*b)),
            _ => a.to_be_bytes().cmp(&b.to_be_bytes()),
        };
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then(by_id(&a.0, &b.0)));
        let grid = &found.data.user.grid;
        assert_eq!(*grid, Grid::deal(ranked.len() as u64, 3000).unwrap());
        let ids = found.ids(&found.data.user);
        for (rank, (id, _)) in ranked.iter().enumerate() {
            assert_eq!(
                ids[&grid.dealt_row(rank as u64)],
                (column.2)(*id),
                "{} rank {rank}",
                column.0
            );
        }
    }
}

#[test]
fn every_type_of_time_gives_its_bins() {
    let rows = some_rows(400, 3);
    let seconds = times(&rows);
    let shift = |factor: i64, rest: i64| {
        seconds
            .iter()
            .map(|s| s * factor + rest)
            .collect::<Vec<i64>>()
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "date32",
            Arc::new(
                seconds
                    .iter()
                    .map(|s| Some((s / DAY) as i32))
                    .collect::<Date32Array>(),
            ),
        ),
        ("date64", Arc::new(Date64Array::from(shift(1000, 0)))),
        ("s", Arc::new(TimestampSecondArray::from(shift(1, 0)))),
        (
            "ms",
            Arc::new(TimestampMillisecondArray::from(shift(1000, 999))),
        ),
        (
            "us",
            Arc::new(
                TimestampMicrosecondArray::from(shift(1_000_000, 1)).with_timezone("Asia/Tokyo"),
            ),
        ),
        (
            "ns",
            Arc::new(
                TimestampNanosecondArray::from(shift(1_000_000_000, 7)).with_timezone("+05:30"),
            ),
        ),
        ("int64", Arc::new(Int64Array::from(shift(1, 0)))),
        (
            "uint64",
            Arc::new(
                seconds
                    .iter()
                    .map(|&s| Some(s as u64))
                    .collect::<UInt64Array>(),
            ),
        ),
    ];
    let ids = &id_columns()[2];
    let users: Vec<i64> = rows.iter().map(|row| row.user).collect();
    let products: Vec<i64> = rows.iter().map(|row| row.product).collect();
    for (number, (name, times)) in columns.into_iter().enumerate() {
        let bin = [
            TimeBin::Day,
            TimeBin::Week,
            TimeBin::Month,
            TimeBin::Quarter,
            TimeBin::Hour,
        ][number % 5];
        let file = parquet_of(
            vec![("u", ids.1(&users)), ("p", ids.1(&products)), ("t", times)],
            1000,
        );
        let spec = ScanSpec {
            value: None,
            time_bin: bin,
            ..spec()
        };
        let found = ingest(&inputs(&[file]), &spec);
        let expected = naive(&rows, |s| bin.index(s), Duplicates::Count, ids.2, ids.2);
        assert_eq!(found.named(&found.data.parts[0].1), expected, "{name}");
        let axis = found.data.time.as_ref().unwrap();
        let last = seconds.iter().max().unwrap();
        let unit = if name.starts_with("date") { DAY } else { 1 };
        let first = bin.index(*seconds.iter().min().unwrap());
        assert_eq!(axis.first_bin, first, "{name}");
        assert_eq!(i64::from(axis.bins), bin.index(*last) - first + 1, "{name}");
        assert_eq!(
            axis.last_is_partial,
            bin.is_partial(bin.index(*last), *last, unit),
            "{name}"
        );
    }
}

#[test]
fn integers_are_bins_where_there_is_no_width() {
    let ids = Int64Array::from(vec![1, 1, 2, 2]);
    let bins = Int8Array::from(vec![-3, 4, 4, 4]);
    let file = parquet_of(
        vec![
            ("u", Arc::new(ids.clone())),
            ("p", Arc::new(ids)),
            ("t", Arc::new(bins)),
        ],
        10,
    );
    let spec = ScanSpec {
        value: None,
        time_bin: TimeBin::None,
        duplicates: Duplicates::Count,
        ..spec()
    };
    let found = ingest(&inputs(&[file]), &spec);
    let axis = found.data.time.as_ref().unwrap();
    assert_eq!(
        (axis.first_bin, axis.bins, axis.last_is_partial),
        (-3, 8, false)
    );
    let key = |id: &str, bin| (id.to_owned(), id.to_owned(), bin);
    let expected = BTreeMap::from([(key("1", 0), 1.0), (key("1", 7), 1.0), (key("2", 7), 2.0)]);
    assert_eq!(found.named(&found.data.parts[0].1), expected);
}

#[test]
fn every_type_of_value_is_read() {
    let ids = || Arc::new(Int64Array::from(vec![1, 1, 2])) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int8", Arc::new(Int8Array::from(vec![2, 3, -4]))),
        ("uint64", Arc::new(UInt64Array::from(vec![2, 3, 4]))),
        (
            "float32",
            Arc::new(Float32Array::from(vec![2.0, 3.0, -4.0])),
        ),
        (
            "float64",
            Arc::new(Float64Array::from(vec![2.0, 3.0, -4.0])),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![200, 300, -400])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
    ];
    for (name, values) in columns {
        let file = parquet_of(vec![("u", ids()), ("p", ids()), ("v", values)], 2);
        let found = ingest(
            &inputs(&[file]),
            &ScanSpec {
                time: None,
                ..spec()
            },
        );
        let last = if name == "uint64" { 4.0 } else { -4.0 };
        let key = |id: &str| (id.to_owned(), id.to_owned(), 0);
        let expected = BTreeMap::from([(key("1"), 5.0), (key("2"), last)]);
        assert_eq!(found.named(&found.data.parts[0].1), expected, "{name}");
        assert!(found.data.time.is_none());
    }
}
