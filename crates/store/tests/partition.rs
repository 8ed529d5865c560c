//! The sealed partition and the sealed dictionary: what was written is read, by us and by Arrow's own reader, and a
//! malformed file is an error.

use proptest::prelude::*;
use std::io::Cursor;
use store::dictionary::{Dictionary, DictionaryWriter, IdRef};
use store::partition::{Partition, PartitionValues, PartitionWriter};
use store::{Cache, IoMode, Sealed, StoreError};
use tensor::{BlockId, IdKind, Mode, Small};

type Row = Vec<(u32, Small<u32>, f32)>;

const NEITHER: Small<bool> = Small {
    time: false,
    context: false,
};
const TIME: Small<bool> = Small {
    time: true,
    context: false,
};
const BOTH: Small<bool> = Small {
    time: true,
    context: true,
};

fn cache(mode: IoMode) -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open_unsynced(directory.path(), u64::MAX, mode).unwrap();
    (directory, cache)
}

fn write(cache: &Cache, rows: &[Row], has: Small<bool>) -> Sealed {
    let mut writer = PartitionWriter::create(cache, Mode::Product, BlockId(7), has).unwrap();
    for row in rows {
        for &(column, small, value) in row {
            writer.push(column, small, value).unwrap();
        }
        writer.end_row().unwrap();
    }
    let (sealed, reference) = writer.seal().unwrap();
    assert_eq!(reference.object, sealed.reference());
    assert_eq!(
        reference.interactions,
        rows.iter().map(|row| row.len() as u64).sum::<u64>()
    );
    sealed
}

fn read(partition: &Partition) -> Vec<Row> {
    let piece = partition.whole().unwrap();
    let csr = piece.csr(partition.offsets(), 1 << 32).unwrap();
    (0..csr.rows())
        .map(|row| {
            csr.row(row)
                .map(|i| {
                    (
                        csr.columns()[i],
                        csr.small().map(|ids| ids.map_or(0, |ids| ids[i])),
                        csr.values().at(i),
                    )
                })
                .collect()
        })
        .collect()
}

fn rows(seed: u64, count: usize, has: Small<bool>, equal: bool) -> Vec<Row> {
    let mut state = seed;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..count)
        .map(|_| {
            let mut row: Vec<_> = (0..next() % 40)
                .map(|_| {
                    let (column, time, context) = (next() % 5000, next() % 53, next() % 7);
                    let small = Small { time, context };
                    (
                        column,
                        small.zip(has).map(|(id, has)| if has { id } else { 0 }),
                    )
                })
                .collect();
            row.sort_unstable();
            row.into_iter()
                .map(|(c, s)| (c, s, if equal { 2.5 } else { next() as f32 }))
                .collect()
        })
        .collect()
}

#[test]
fn what_was_written_is_read() {
    for mode in [IoMode::Mmap, IoMode::Pread] {
        let (_directory, cache) = cache(mode);
        let context = Small {
            time: false,
            context: true,
        };
        let shapes = [TIME, BOTH, context, NEITHER];
        for (has, equal) in shapes.iter().flat_map(|&has| [(has, true), (has, false)]) {
            let rows = rows(1, 300, has, equal);
            let partition = Partition::open(write(&cache, &rows, has)).unwrap();
            assert_eq!(
                (partition.rows(), partition.orientation(), partition.block()),
                (300, Mode::Product, BlockId(7))
            );
            assert_eq!(partition.constant_value(), equal.then_some(2.5));
            let words = 1 + has.count() + usize::from(!equal);
            assert_eq!(partition.bytes_per_interaction(), 4 * words as u64);
            assert_eq!(partition.has(), has);
            let ids = partition.small(0..1).unwrap();
            assert_eq!(ids.map(|ids| ids.is_some()), has);
            assert_eq!(read(&partition), rows);
        }
        for rows in [vec![], vec![vec![], vec![]]] {
            let partition = Partition::open(write(&cache, &rows, TIME)).unwrap();
            assert_eq!((partition.interactions(), read(&partition)), (0, rows));
        }
    }
}

#[test]
fn long_columns_go_through_scratch_files_and_values_that_differ_late_are_kept() {
    let (_directory, cache) = cache(IoMode::Pread);
    let mut writer = PartitionWriter::create(&cache, Mode::User, BlockId(0), TIME).unwrap();
    let count = 700_000_u32;
    for column in 0..count {
        writer
            .push(
                column,
                Small {
                    time: column % 53,
                    context: 0,
                },
                if column == count - 1 { 9.0 } else { 1.0 },
            )
            .unwrap();
        if column % 1000 == 999 {
            writer.end_row().unwrap();
        }
    }
    let (sealed, _) = writer.seal().unwrap();
    let partition = Partition::open(sealed).unwrap();
    let range = 262_100..600_000_u64;
    let piece = partition.piece(range.clone()).unwrap();
    assert!(
        piece
            .columns
            .iter()
            .copied()
            .eq(range.start as u32..range.end as u32)
    );
    assert!(
        piece
            .small
            .time
            .unwrap()
            .iter()
            .copied()
            .eq((range.start as u32..range.end as u32).map(|c| c % 53))
    );
    match partition
        .values(u64::from(count) - 2..u64::from(count))
        .unwrap()
    {
        PartitionValues::Each(values) => assert_eq!(&*values, [1.0, 9.0]),
        PartitionValues::All(_) => panic!("the last value differs"),
    }
    assert_eq!(partition.rows_of(999..1001), 0..2);
    assert_eq!(partition.rows_of(1000..2000), 1..2);
    assert!(partition.columns(0..u64::from(count) + 1).is_err());
    partition.prefetch(0..count.into());
    partition.drop_behind(0..count.into());
    assert_eq!(partition.columns(5..6).unwrap()[0], 5);
}

#[test]
fn the_bytes_do_not_depend_on_how_they_were_pushed() {
    let (_directory, cache) = cache(IoMode::Mmap);
    let rows = rows(3, 100, BOTH, false);
    let by_one = write(&cache, &rows, BOTH);
    let mut writer = PartitionWriter::create(&cache, Mode::Product, BlockId(7), BOTH).unwrap();
    for row in &rows {
        let columns: Vec<u32> = row.iter().map(|i| i.0).collect();
        let times: Vec<u32> = row.iter().map(|i| i.1.time).collect();
        let contexts: Vec<u32> = row.iter().map(|i| i.1.context).collect();
        let values: Vec<f32> = row.iter().map(|i| i.2).collect();
        let small = Small {
            time: &times[..],
            context: &contexts[..],
        };
        writer
            .push_all(&columns, small, tensor::csr::Values::Each(&values))
            .unwrap();
        writer.end_row().unwrap();
    }
    assert_eq!(writer.seal().unwrap().0.digest(), by_one.digest());
}

#[test]
fn arrow_reads_it_too() {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float32Type, UInt32Type};
    let (_directory, cache) = cache(IoMode::Mmap);
    let rows = rows(4, 20, TIME, false);
    let sealed = write(&cache, &rows, TIME);
    let bytes = sealed.section(0..sealed.len()).unwrap().to_vec();
    let mut reader = arrow::ipc::reader::FileReader::try_new(Cursor::new(&bytes), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    let list = batch.column(0).as_list::<i64>();
    for (row, expected) in rows.iter().enumerate() {
        let entry = list.value(row);
        let entry = entry.as_struct();
        let columns = entry
            .column_by_name("column")
            .unwrap()
            .as_primitive::<UInt32Type>();
        let values = entry
            .column_by_name("value")
            .unwrap()
            .as_primitive::<Float32Type>();
        assert_eq!(entry.len(), expected.len());
        assert!(
            expected
                .iter()
                .enumerate()
                .all(|(i, e)| (columns.value(i), values.value(i)) == (e.0, e.2))
        );
    }
    let mut stream =
        arrow::ipc::reader::StreamReader::try_new(Cursor::new(&bytes[8..]), None).unwrap();
    assert_eq!(
        stream.next().unwrap().unwrap().num_rows(),
        20,
        "it is a stream behind its first eight bytes"
    );
}

#[test]
fn columns_are_known_from_the_first_on_while_the_file_is_open() {
    let (_directory, cache) = cache(IoMode::Mmap);
    let sealed = write(&cache, &rows(5, 100, NEITHER, true), NEITHER);
    let object = sealed.reference();
    let partition = Partition::open(sealed.clone()).unwrap();
    let end = partition.interactions();
    assert!(!partition.knows_columns(0..1, 5000));
    partition.know_columns(end / 2..end, 5000);
    assert!(!partition.knows_columns(end / 2..end, 5000), "a gap");
    partition.know_columns(0..end / 2, 5000);
    partition.know_columns(end / 2..end, 6000);
    assert!(!partition.knows_columns(0..end, 6000), "another limit");
    let again = Partition::open(cache.find(object).unwrap().unwrap()).unwrap();
    assert!(again.knows_columns(0..end / 2, 5000) && again.knows_columns(0..end / 2, 5001));
    assert!(!again.knows_columns(0..end / 2, 4999));
    again.know_columns(end / 2..end, 4000);
    assert!(partition.knows_columns(end / 2..end, 5000));
}

#[test]
fn an_open_row_is_refused() {
    let (_directory, cache) = cache(IoMode::Mmap);
    let mut writer = PartitionWriter::create(&cache, Mode::User, BlockId(0), NEITHER).unwrap();
    writer.push(1, Small::default(), 1.0).unwrap();
    assert!(matches!(writer.seal(), Err(StoreError::Malformed { .. })));
}

#[test]
fn dictionaries_keep_every_kind_of_id() {
    let text = ["", "a", "Zürich", "日本"];
    let bytes: [&[u8]; 3] = [&[], &[0, 255], b"x"];
    let cases: [(IdKind, Vec<IdRef>); 5] = [
        (
            IdKind::Int64,
            vec![
                IdRef::Int64(i64::MIN),
                IdRef::Int64(-1),
                IdRef::Int64(i64::MAX),
            ],
        ),
        (
            IdKind::UInt64,
            vec![IdRef::UInt64(u64::MAX), IdRef::UInt64(0)],
        ),
        (IdKind::Utf8, text.map(IdRef::Utf8).to_vec()),
        (IdKind::Binary, bytes.map(IdRef::Binary).to_vec()),
        (IdKind::Utf8, vec![]),
    ];
    for mode in [IoMode::Mmap, IoMode::Pread] {
        let (_directory, cache) = cache(mode);
        for (kind, ids) in &cases {
            let mut writer = DictionaryWriter::create(&cache, *kind).unwrap();
            for &id in ids {
                writer.push(id).unwrap();
            }
            let sealed = writer.seal().unwrap();
            let dictionary = Dictionary::open(sealed.clone()).unwrap();
            assert_eq!((dictionary.kind(), dictionary.rows()), (*kind, ids.len()));
            assert!(dictionary.iter().eq(ids.iter().copied().map(Some)));
            assert_eq!(dictionary.erased(), 0);
            assert_eq!(dictionary.get(ids.len() as u32), None);
            let bytes = sealed.section(0..sealed.len()).unwrap().to_vec();
            let mut reader =
                arrow::ipc::reader::FileReader::try_new(Cursor::new(bytes), None).unwrap();
            assert_eq!(reader.next().unwrap().unwrap().num_rows(), ids.len());
            assert!(
                Partition::open(sealed).is_err(),
                "a dictionary is no partition"
            );
        }
    }
}

#[test]
fn an_erased_id_keeps_its_place_and_leaves_no_bytes() {
    let text: Vec<String> = (0..21).map(|row| format!("user-{row}")).collect();
    let cases: [(IdKind, Vec<IdRef>); 2] = [
        (
            IdKind::Utf8,
            text.iter().map(|id| IdRef::Utf8(id)).collect(),
        ),
        (IdKind::Int64, (7000..7021).map(IdRef::Int64).collect()),
    ];
    for mode in [IoMode::Mmap, IoMode::Pread] {
        let (_directory, cache) = cache(mode);
        for (kind, ids) in &cases {
            for erased in [vec![0], vec![7, 8], vec![20], (0..21).collect()] {
                let mut writer = DictionaryWriter::create(&cache, *kind).unwrap();
                let kept = |row: usize| Some(ids[row]).filter(|_| !erased.contains(&row));
                for row in 0..ids.len() {
                    match kept(row) {
                        Some(id) => writer.push(id).unwrap(),
                        None => writer.push_erased().unwrap(),
                    }
                }
                let sealed = writer.seal().unwrap();
                let dictionary = Dictionary::open(sealed.clone()).unwrap();
                assert_eq!(dictionary.rows(), ids.len());
                assert_eq!(dictionary.erased(), erased.len() as u64);
                assert!(dictionary.iter().eq((0..ids.len()).map(kept)));
                assert!(!dictionary.is_erased(21) && dictionary.get(21).is_none());
                let bytes = sealed.section(0..sealed.len()).unwrap().to_vec();
                let gone = |row: &usize| {
                    let id = match ids[*row] {
                        IdRef::Int64(id) => id.to_le_bytes().to_vec(),
                        _ => text[*row].clone().into_bytes(),
                    };
                    // `user-2` stands in `user-20`.
                    !bytes.windows(id.len()).any(|window| window == id)
                };
                assert!(erased.iter().filter(|row| **row > 2).all(gone));
                let reader = arrow::ipc::reader::FileReader::try_new(Cursor::new(bytes), None);
                let batch = reader.unwrap().next().unwrap().unwrap();
                assert_eq!(batch.column(0).null_count(), erased.len());
            }
        }
    }
}

/// Seals damaged bytes anew, so that their sums are right and only the format can object.
fn reseal(cache: &Cache, bytes: &[u8]) -> Sealed {
    let mut writer = cache.writer().unwrap();
    writer.append(bytes).unwrap();
    writer.seal_unnamed().unwrap()
}

/// Opens and reads everything: whatever the answer, it is no panic.
fn exercise(sealed: Sealed) {
    if let Ok(partition) = Partition::open(sealed.clone())
        && let Ok(piece) = partition.whole()
    {
        let _ = piece.csr(partition.offsets(), 5000);
    }
    if let Ok(dictionary) = Dictionary::open(sealed) {
        assert!(dictionary.iter().count() <= dictionary.rows());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_malformed_file_is_an_error_and_never_a_panic(
        partition: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (_directory, cache) = cache(IoMode::Mmap);
        let sealed = if partition {
            write(&cache, &rows(5, 3, BOTH, false), BOTH)
        } else {
            let mut writer = DictionaryWriter::create(&cache, IdKind::Utf8).unwrap();
            for id in ["ä", "bc", "d"] {
                writer.push(IdRef::Utf8(id)).unwrap();
            }
            if cut.is_none() {
                writer.push_erased().unwrap();
            }
            writer.seal().unwrap()
        };
        let mut bytes = sealed.section(0..sealed.len()).unwrap().to_vec();
        let footer = bytes.len().saturating_sub(700);
        for (place, byte, near_the_end) in flips {
            let at = if near_the_end { footer + place.index(bytes.len() - footer) } else { place.index(bytes.len()) };
            bytes[at] ^= byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(reseal(&cache, &bytes));
    }
}
