//! A table in memory is the Parquet file of its rows, wherever it is read and however it was cut.

use super::*;
use arrow::array::{
    Date64Array, Decimal128Array, DictionaryArray, Float64Array, Int16Array, Int64Array,
    LargeStringArray, StringArray, StringViewArray, TimestampSecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Int8Type, UInt32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const ROWS: i64 = 40_000;

/// Columns of most kinds, some with nulls, over two pages.
fn table() -> RecordBatch {
    let rows = 0..ROWS;
    let holes = |each: i64| (each % 7 != 3).then_some(each * 3);
    let text = |each: i64| format!("user-{}", each * each % 977);
    let some_text = |each: i64| (each % 5 != 0).then(|| text(each));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("long", Arc::new(Int64Array::from_iter_values(rows.clone()))),
        (
            "holes",
            Arc::new(rows.clone().map(holes).collect::<Int64Array>()),
        ),
        (
            "short",
            Arc::new(
                rows.clone()
                    .map(|each| holes(each).map(|each| (each % 999) as i16))
                    .collect::<Int16Array>(),
            ),
        ),
        (
            "unsigned",
            Arc::new(UInt32Array::from_iter_values(
                rows.clone().map(|each| u32::MAX - each as u32),
            )),
        ),
        (
            "large",
            Arc::new(UInt64Array::from_iter_values(
                rows.clone().map(|each| u64::MAX - each as u64),
            )),
        ),
        (
            "value",
            Arc::new(Float64Array::from_iter_values(
                rows.clone().map(|each| each as f64 / 3.0),
            )),
        ),
        (
            "day",
            Arc::new(Date64Array::from_iter_values(
                rows.clone().map(|each| each * 86_400_000),
            )),
        ),
        (
            "at",
            Arc::new(TimestampSecondArray::from_iter_values(rows.clone())),
        ),
        (
            "text",
            Arc::new(StringArray::from_iter_values(rows.clone().map(text))),
        ),
        (
            "large_text",
            Arc::new(rows.clone().map(some_text).collect::<LargeStringArray>()),
        ),
        (
            "view",
            Arc::new(rows.clone().map(some_text).collect::<StringViewArray>()),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_iter_values(rows.map(i64::to_le_bytes))),
        ),
        (
            "price",
            Arc::new(decimals(|each| Some(each * 7 - 100_000), 7)),
        ),
        (
            "sum",
            Arc::new(decimals(|each| Some(each * -12_345_678), 15)),
        ),
        (
            "large_sum",
            Arc::new(decimals(
                |each| holes(each).map(|each| each * 9_000_000_000_000),
                30,
            )),
        ),
        (
            "category",
            Arc::new(
                (0..ROWS)
                    .map(some_category)
                    .collect::<DictionaryArray<Int8Type>>(),
            ),
        ),
        ("numbered", Arc::new(numbered())),
        (
            "never",
            Arc::new(Int64Array::from(vec![None; ROWS as usize])),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Hundredths.
fn decimals(of: impl Fn(i64) -> Option<i64>, precision: u8) -> Decimal128Array {
    let values = (0..ROWS).map(|each| of(each).map(i128::from));
    let values = values.collect::<Decimal128Array>();
    values.with_precision_and_scale(precision, 2).unwrap()
}

fn some_category(each: i64) -> Option<&'static str> {
    [Some("groceries"), None, Some("shoes"), Some("")][(each % 4) as usize]
}

/// Categories of numbers, of which one is none: a null as much as a key that is missing.
fn numbered() -> DictionaryArray<UInt32Type> {
    let keys: UInt32Array = (0..ROWS as u32)
        .map(|each| (each % 11 != 0).then_some(each % 3))
        .collect();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(4_711), None, Some(-1)]));
    DictionaryArray::try_new(keys, values).unwrap()
}

fn cut(table: &RecordBatch, lengths: &[usize]) -> Vec<RecordBatch> {
    let (mut at, mut batches) = (0, Vec::new());
    for length in lengths.iter().cycle() {
        if at == table.num_rows() {
            return batches;
        }
        let length = (*length).min(table.num_rows() - at);
        batches.push(table.slice(at, length));
        at += length;
    }
    batches
}

fn whole(resident: &Resident) -> Vec<u8> {
    let mut bytes = vec![0; resident.len() as usize];
    resident.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn it_is_the_parquet_file_of_its_rows() {
    let table = table();
    let resident = Resident::new(&table.schema(), &cut(&table, &[10_000, 1, 20_001])).unwrap();
    let bytes = Bytes::from(whole(&resident));
    let read = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let schema = Arc::clone(read.schema());
    let read: Vec<RecordBatch> = read.build().unwrap().map(Result::unwrap).collect();
    let read = arrow::compute::concat_batches(&schema, &read).unwrap();
    assert_eq!(read.num_rows(), table.num_rows());
    for (field, found) in schema.fields().iter().zip(read.columns()) {
        let wanted = table.column_by_name(field.name()).unwrap();
        assert_eq!(Some(field.data_type()), laid(wanted.data_type()).as_ref());
        assert_eq!(
            field.is_nullable(),
            wanted.logical_null_count() > 0,
            "{field}"
        );
        let wanted = cast(wanted, field.data_type()).unwrap();
        assert_eq!(found, &wanted, "{field}");
    }
}

#[test]
fn its_bytes_do_not_tell_how_the_rows_were_cut() {
    let table = table();
    let wanted = whole(&Resident::new(&table.schema(), std::slice::from_ref(&table)).unwrap());
    for lengths in [&[7_777][..], &[1, 16_384, 0, 5_000], &[39_999]] {
        let cut = cut(&table, lengths);
        let resident = Resident::new(&table.schema(), &cut).unwrap();
        assert!(whole(&resident) == wanted, "{lengths:?}");
    }
}

#[test]
fn any_part_of_it_can_be_read() {
    let table = table();
    let resident = Resident::new(&table.schema(), &cut(&table, &[9_000])).unwrap();
    let wanted = whole(&resident);
    for length in [1, 3, 4096, 100_000] {
        for offset in (0..wanted.len() - length).step_by(30_011) {
            let mut part = vec![0; length];
            resident.read_at(offset as u64, &mut part).unwrap();
            assert!(part == wanted[offset..offset + length], "{offset} {length}");
        }
    }
    let mut beyond = [0; 2];
    let found = resident
        .read_at(resident.len() - 1, &mut beyond)
        .unwrap_err();
    assert_eq!(found.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_takes_a_writer_is_not_taken() {
    let list = DataType::new_list(DataType::Int64, true);
    let schema = Schema::new(vec![
        Field::new("user", DataType::Utf8, true),
        Field::new("tags", list, true),
    ]);
    let takes = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Resident::takes(&schema, &names)
    };
    assert!(takes(&["user"]));
    assert!(!takes(&["user", "tags"]) && !takes(&["usr"]) && !takes(&[]));
}
