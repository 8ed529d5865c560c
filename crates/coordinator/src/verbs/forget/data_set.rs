//! The data set without users: partitions, dictionaries, words of attributes.

use crate::failure::Failure;
use crate::verbs::data::unfinished;
use crate::verbs::engine::{Engine, Stage, failed, key_of};
use depot::Body;
use plan::Refusal;
use std::collections::BTreeSet;
use store::dictionary::{Dictionary, DictionaryWriter};
use store::{Sealed, StoreError};
use tables::{Compact, Wanted};
use tensor::{Attributes, BlockId, DataSet, DepotId, Forgotten, Mode, SealedRef, attributes};

/// Rows of users, rising.
#[derive(Default)]
pub(super) struct Rows {
    /// Those whose ids are wanted.
    pub new: Vec<u32>,
    /// Those whose ids were erased before.
    pub erased: Vec<u32>,
}

/// The rows of the wanted users, and those of users who were forgotten before.
pub(super) async fn rows_of(
    engine: &Engine<'_>,
    data: &DataSet,
    wanted: &mut Wanted,
) -> Result<Rows, Failure> {
    let mut rows = Rows::default();
    for block in data.user.grid.block_ids() {
        let dictionary = dictionary(engine, data, block).await?;
        for (row, id) in data.user.grid.row_ids(block).zip(dictionary.iter()) {
            match id {
                None => rows.erased.push(row),
                Some(id) if wanted.finds(id) => rows.new.push(row),
                Some(_) => {}
            }
        }
    }
    Ok(rows)
}

/// The dictionary of a block of users.
pub(super) async fn dictionary(
    engine: &Engine<'_>,
    data: &DataSet,
    block: BlockId,
) -> Result<Dictionary, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let object = data.user.dictionary[block.0 as usize];
    let file = depot.fetch(object, &engine.cache).await.map_err(failed)?;
    Dictionary::open(file).map_err(|error| Failure::new(Refusal::BadData, error.to_string()))
}

/// Seals and commits the data set without the users at new rows; with how many partitions were sealed.
pub(super) async fn without(
    engine: &Engine<'_>,
    before: DataSet,
    rows: &Rows,
) -> Result<(DataSet, u64), Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let term = depot.claim_term(None).await.map_err(failed)?;
    // By rows and not by ids: whoever reads the manifest must not be able to try whether an id was among them.
    let bytes: Vec<u8> = rows.new.iter().flat_map(|row| row.to_le_bytes()).collect();
    let lineage = key_of(&[b"forget", &before.lineage.0, &bytes]);
    let (origin, earlier) = (before.origin(), before.lineage);
    let mut program = Compact::without(before, rows.new.clone());
    let partitions = program.partitions() as u64;
    let stage = Stage::plain("forget", key_of(&[b"forgetting", &lineage.0]), term);
    engine.run(&mut program, stage).await?;
    let data = program.into_data_set();
    let mut data = data.ok_or_else(|| unfinished("forgetting"))?;
    let grid = data.user.grid.clone();
    let blocks: BTreeSet<BlockId> = rows.new.iter().map(|&row| grid.split(row).0).collect();
    for block in blocks {
        let known = dictionary(engine, &data, block).await?;
        let gone = |local: u32| {
            rows.new
                .binary_search(&(grid.row_ids(block).start + local))
                .is_ok()
        };
        let erased = erased(engine, &known, gone).map_err(io)?;
        data.user.dictionary[block.0 as usize] = put(engine, &erased).await?;
        if let Some(known) = data.attributes.get_mut(&Mode::User) {
            unknow(engine, known, block, gone).await?;
        }
    }
    let users = (rows.new.len() + rows.erased.len()) as u64;
    let data = DataSet {
        lineage,
        first: Some(origin),
        forgotten: Some(Forgotten {
            users,
            before: earlier,
            after: lineage,
        }),
        ..data
    };
    let body = Body::DataSet(Box::new(data.clone()));
    depot.commit(term, body).await.map_err(failed)?;
    Ok((data, partitions))
}

/// A dictionary without the ids of some rows.
fn erased(
    engine: &Engine<'_>,
    known: &Dictionary,
    gone: impl Fn(u32) -> bool,
) -> Result<Sealed, StoreError> {
    let mut writer = DictionaryWriter::create(&engine.cache, known.kind())?;
    for (local, id) in (0..).zip(known.iter()) {
        match id.filter(|_| !gone(local)) {
            Some(id) => writer.push(id)?,
            None => writer.push_erased()?,
        }
    }
    writer.seal()
}

/// Makes all words of some rows of a block missing.
async fn unknow(
    engine: &Engine<'_>,
    known: &mut Attributes,
    block: BlockId,
    gone: impl Fn(u32) -> bool,
) -> Result<(), Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let object = known.blocks[block.0 as usize];
    let file = depot.fetch(object, &engine.cache).await.map_err(failed)?;
    let mut bytes = file.section(0..file.len()).map_err(io)?.to_vec();
    let missing = attributes::MISSING.to_le_bytes();
    for (local, row) in (0..).zip(bytes.chunks_exact_mut(4 * known.attributes.len())) {
        if gone(local) {
            let was_described = row.chunks_exact(4).any(|word| word != missing);
            known.described -= u64::from(was_described);
            row.chunks_exact_mut(4)
                .for_each(|word| word.copy_from_slice(&missing));
        }
    }
    known.blocks[block.0 as usize] = put(engine, &sealed(engine, &bytes).map_err(io)?).await?;
    Ok(())
}

/// Bytes as a sealed file of this process.
pub(super) fn sealed(engine: &Engine<'_>, bytes: &[u8]) -> Result<Sealed, StoreError> {
    let mut writer = engine.cache.writer()?;
    writer.append(bytes)?;
    writer.seal()
}

async fn put(engine: &Engine<'_>, file: &Sealed) -> Result<SealedRef, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    depot.put(file).await.map_err(failed)?;
    Ok(file.reference())
}

pub(super) fn io(error: StoreError) -> Failure {
    Failure::new(Refusal::Io, error.to_string())
}
