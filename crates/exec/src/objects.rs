//! What runners of this algorithm share: the task's keys, what was fetched as numbers, and the budget.

use crate::trouble::failure_of;
use crate::work::{Fetched, Held, Room};
use bytemuck::AnyBitPattern;
use model::als::gram::block_gram;
use plan::{Failure, Refusal};
use std::sync::Arc;
use store::partition::Partition;
use store::{AlignedBuf, Sealed, Section};
use tensor::{BlockId, ByteSize, KeyRange, ObjectKey, Task};

/// A fault of the program or the shell that only a bug can make.
pub fn bug(task: &Task, what: &str) -> Failure {
    Failure::Refused {
        refusal: Refusal::Bug,
        sentence: format!("task {} {what}", task.id),
    }
}

/// A partition that is sound in itself, but not the one of this data set.
pub fn bad_partition(what: &str) -> Failure {
    bad_data(format!("the partition {what}: ingest the data set again"))
}

/// An input that is not what it should be.
pub fn bad_data(sentence: String) -> Failure {
    Failure::Refused {
        refusal: Refusal::BadData,
        sentence,
    }
}

/// The keys of a read, by its place.
pub fn read_at(task: &Task, place: usize) -> Result<KeyRange, Failure> {
    task.reads
        .get(place)
        .map(|read| read.keys)
        .ok_or_else(|| bug(task, "reads fewer objects than its op"))
}

/// The one key of a read, by its place.
pub fn key_at(task: &Task, place: usize) -> Result<ObjectKey, Failure> {
    let mut keys = read_at(task, place)?.keys();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        _ => Err(bug(task, "reads a range where its op reads one object")),
    }
}

/// The block that a task writes first.
pub fn block_written(task: &Task) -> Result<BlockId, Failure> {
    match task.writes.first() {
        Some(ObjectKey::Block { block, .. }) => Ok(*block),
        _ => Err(bug(task, "writes no block")),
    }
}

/// An object's bytes, as numbers.
pub enum Numbers {
    Memory(Arc<AlignedBuf>),
    File(Section),
}

impl Numbers {
    pub fn typed<T: AnyBitPattern>(&self) -> &[T] {
        match self {
            Numbers::Memory(buffer) => buffer.typed(),
            Numbers::File(section) => section.typed(),
        }
    }
}

/// What came for a whole object or for rows of it.
pub fn numbers(fetched: Fetched, key: Option<ObjectKey>) -> Result<Numbers, Failure> {
    match fetched {
        Fetched::Held(Held::Memory { buffer, .. }) | Fetched::Rows(buffer) => {
            Ok(Numbers::Memory(buffer))
        }
        Fetched::Held(Held::File { file, .. }) => {
            let section = file.section(0..file.len());
            Ok(Numbers::File(
                section.map_err(|error| failure_of(error, key))?,
            ))
        }
        Fetched::Sealed(_) | Fetched::Bytes(_) => Err(Failure::Refused {
            refusal: Refusal::Bug,
            sentence: "a sealed file or bytes of an input came where an object was wanted"
                .to_owned(),
        }),
    }
}

/// A sealed file that came, as numbers.
pub fn sealed_numbers(fetched: Fetched, key: ObjectKey) -> Result<Numbers, Failure> {
    let Fetched::Sealed(file) = fetched else {
        return Err(Failure::Refused {
            refusal: Refusal::Bug,
            sentence: format!("{key} came, but not as a sealed file"),
        });
    };
    let section = file.section(0..file.len());
    Ok(Numbers::File(
        section.map_err(|error| failure_of(error, Some(key)))?,
    ))
}

/// The partition that came.
pub fn partition(fetched: Fetched, key: ObjectKey) -> Result<Partition, Failure> {
    let Fetched::Sealed(file) = fetched else {
        let sentence = format!("{key} came, but not as a sealed file");
        return Err(Failure::Refused {
            refusal: Refusal::Bug,
            sentence,
        });
    };
    Sealed::advise_sequential(&file);
    Partition::open(file).map_err(|error| failure_of(error, Some(key)))
}

/// A buffer as an object whose rows have this many bytes.
pub fn held(buffer: AlignedBuf, row_bytes: usize) -> Held {
    Held::Memory {
        buffer: Arc::new(buffer),
        row_bytes: row_bytes as u32,
    }
}

/// A vector of f64 as an object of one row.
pub fn held_row(numbers: &[f64]) -> Held {
    let bytes: &[u8] = bytemuck::cast_slice(numbers);
    held(AlignedBuf::copy_of(bytes), bytes.len())
}

/// The Gram partial of rows of a width.
pub fn held_gram(room: &Room, width: usize, rows: &[f32]) -> Held {
    held_row(&room.pool.install(|| block_gram(room.simd, width, rows)))
}

/// Refuses a task whose least piece does not fit.
pub fn fits(needed: u64, budget: u64) -> Result<(), Failure> {
    if needed <= budget {
        return Ok(());
    }
    let (needed, left) = (ByteSize(needed), ByteSize(budget));
    Err(Failure::Budget {
        needed,
        left,
        enough: needed,
    })
}
