//! The proof that users are forgotten: whatever stands at a place is read, and holds nothing at their rows.
//!
//! **Invariant:** ids are needed nowhere: a row is forgotten where the dictionary has no id for it.

use super::models::of_users;
use crate::failure::Failure;
use crate::verbs::engine::failed;
use depot::{Body, Depot, Model};
use plan::Refusal;
use std::fmt::Display;
use store::Cache;
use store::dictionary::Dictionary;
use store::partition::Partition;
use tensor::{DataSet, Mode, PartitionRef, Partitions, SealedRef, SuperBlocks, attributes};

/// Interactions that are looked at together.
const STRIDE: u64 = 1 << 20;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Users who were forgotten.
    pub users: u64,
    /// Objects that hold nothing of theirs.
    pub objects: u64,
}

/// Reads all that stands at a place and has rows of users, where any was forgotten there.
///
/// # Errors
/// Where an object holds something of a user who was forgotten, by name.
pub async fn prove(depot: &Depot, cache: &Cache) -> Result<Option<Proof>, Failure> {
    let reader = Reader { depot, cache };
    let mut proof = Proof::default();
    let standing = depot.standing().await.map_err(failed)?;
    let data = standing.iter().find_map(|(_, body)| match body {
        Body::DataSet(data) => Some(data),
        _ => None,
    });
    if let Some(data) = data.filter(|data| data.forgotten.is_some()) {
        proof.users = reader.data_set(data, &standing, &mut proof.objects).await?;
    }
    let withdrawals = standing.iter().filter_map(|(_, body)| match body {
        Body::Withdrawal(withdrawal) => Some(withdrawal),
        _ => None,
    });
    for withdrawal in withdrawals {
        for (number, body) in &standing {
            if let Body::Model(model) = body
                && withdrawal.cleared.contains(number)
            {
                reader
                    .model(model, &withdrawal.rows, &mut proof.objects)
                    .await?;
                proof.users = proof.users.max(withdrawal.rows.len() as u64);
            }
        }
    }
    Ok((proof.users > 0).then_some(proof))
}

struct Reader<'a> {
    depot: &'a Depot,
    cache: &'a Cache,
}

impl Reader<'_> {
    async fn fetch(&self, object: SealedRef) -> Result<store::Sealed, Failure> {
        self.depot.fetch(object, self.cache).await.map_err(failed)
    }

    async fn data_set(
        &self,
        data: &DataSet,
        standing: &[(u64, Body)],
        objects: &mut u64,
    ) -> Result<u64, Failure> {
        let mut rows = Vec::new();
        for block in data.user.grid.block_ids() {
            let object = data.user.dictionary[block.0 as usize];
            let known = Dictionary::open(self.fetch(object).await?).map_err(damaged)?;
            let used = data.user.grid.row_ids(block).zip(known.iter());
            rows.extend(used.filter(|(_, id)| id.is_none()).map(|(row, _)| row));
            self.cache.discard(object.digest);
            *objects += 1;
        }
        let told = data.forgotten.map_or(0, |forgotten| forgotten.users);
        if rows.len() as u64 != told {
            let sentence = format!(
                "the data set says that {told} users were forgotten, but {} rows have no id: restore it from a copy",
                rows.len()
            );
            return Err(Failure::new(Refusal::BadData, sentence));
        }
        let whom = Whom { data, rows: &rows };
        for (_, partitions) in &data.parts {
            self.partitions(&whom, partitions, objects).await?;
        }
        for delta in &data.deltas {
            for (side, edges) in [(&delta.user_major, false), (&delta.product_major, false)] {
                for partition in side.values() {
                    self.partition(&whom, partition, edges, objects).await?;
                }
            }
        }
        for partition in data
            .edges
            .get(&Mode::User)
            .iter()
            .flat_map(|edges| edges.partitions())
        {
            self.partition(&whom, partition, true, objects).await?;
        }
        if let Some(known) = data.attributes.get(&Mode::User) {
            for (block, &object) in data.user.grid.block_ids().zip(&known.blocks) {
                let width = 4 * known.attributes.len();
                let missing = attributes::MISSING.to_le_bytes().repeat(width / 4);
                self.table(
                    object,
                    width,
                    &missing,
                    data.user.grid.row_ids(block),
                    &rows,
                )
                .await?;
                *objects += 1;
            }
        }
        for (_, body) in standing {
            if let Body::View(view) = body
                && view.lineage == data.lineage
            {
                match view.view.spec.tiles {
                    None => {
                        self.partitions(&whom, &view.view.partitions, objects)
                            .await?;
                    }
                    Some(side) => {
                        self.tiles(&whom, &view.view.partitions, side, objects)
                            .await?;
                    }
                }
            }
        }
        Ok(told)
    }

    async fn partitions(
        &self,
        whom: &Whom<'_>,
        partitions: &Partitions,
        objects: &mut u64,
    ) -> Result<(), Failure> {
        for partition in partitions
            .user_major
            .iter()
            .chain(&partitions.product_major)
        {
            self.partition(whom, partition, false, objects).await?;
        }
        Ok(())
    }

    async fn partition(
        &self,
        whom: &Whom<'_>,
        partition: &PartitionRef,
        edges: bool,
        objects: &mut u64,
    ) -> Result<(), Failure> {
        let object = partition.object;
        let opened = Partition::open(self.fetch(object).await?).map_err(damaged)?;
        let users = opened.orientation() == Mode::User;
        let empty = !users || whom.rows_are_empty(&opened);
        if !empty || ((edges || !users) && whom.is_among(&opened)?) {
            return Err(held(object, "interactions"));
        }
        self.cache.discard(object.digest);
        *objects += 1;
        Ok(())
    }

    async fn tiles(
        &self,
        whom: &Whom<'_>,
        tiles: &Partitions,
        side: u32,
        objects: &mut u64,
    ) -> Result<(), Failure> {
        let users = SuperBlocks::new(&whom.data.user.grid, side);
        for (tile, number) in tiles.user_major.iter().zip(0_u32..) {
            let opened = Partition::open(self.fetch(tile.object).await?).map_err(damaged)?;
            let offsets = opened.offsets();
            let of_tile = whom.rows.iter().filter_map(|&row| users.split(row));
            let mut of_tile = of_tile.filter(|(one, _)| *one == number / side);
            if of_tile.any(|(_, row)| offsets[row as usize] != offsets[row as usize + 1]) {
                return Err(held(tile.object, "interactions"));
            }
            self.cache.discard(tile.object.digest);
            *objects += 1;
        }
        Ok(())
    }

    async fn model(&self, model: &Model, rows: &[u32], objects: &mut u64) -> Result<(), Failure> {
        for table in model.tables.iter().filter(|table| of_users(table)) {
            let width = table.width as usize * 4;
            for (block, &object) in table.grid.block_ids().zip(&table.blocks) {
                let used = table.grid.row_ids(block);
                self.table(object, width, &vec![0; width], used, rows)
                    .await?;
                *objects += 1;
            }
        }
        Ok(())
    }

    /// A block of rows of `width` bytes, of which those who were forgotten are `nothing`.
    async fn table(
        &self,
        object: SealedRef,
        width: usize,
        nothing: &[u8],
        used: std::ops::Range<u32>,
        rows: &[u32],
    ) -> Result<(), Failure> {
        let file = self.fetch(object).await?;
        let bytes = file.section(0..file.len()).map_err(damaged)?;
        let here = rows.iter().filter(|row| used.contains(row));
        for start in here.map(|row| (row - used.start) as usize * width) {
            if bytes.get(start..start + width) != Some(nothing) {
                return Err(held(object, "a row"));
            }
        }
        self.cache.discard(object.digest);
        Ok(())
    }
}

/// Who was forgotten.
struct Whom<'a> {
    data: &'a DataSet,
    /// Their rows, rising.
    rows: &'a [u32],
}

impl Whom<'_> {
    /// Whether their rows in a partition with rows of users are empty.
    fn rows_are_empty(&self, partition: &Partition) -> bool {
        let offsets = partition.offsets();
        let of_block = self.rows.iter().map(|&row| self.data.user.grid.split(row));
        let mut of_block = of_block.filter(|(block, _)| *block == partition.block());
        // A delta does not know of later rows.
        of_block.all(|(_, local)| {
            let ends = offsets.get(local as usize..local as usize + 2);
            ends.is_none_or(|ends| ends[0] == ends[1])
        })
    }

    /// Whether one of them is a column of a partition.
    fn is_among(&self, partition: &Partition) -> Result<bool, Failure> {
        let end = partition.interactions();
        for first in (0..end).step_by(STRIDE as usize) {
            let columns = partition
                .columns(first..end.min(first + STRIDE))
                .map_err(damaged)?;
            let found = |column: &u32| self.rows.binary_search(column).is_ok();
            if columns.iter().any(found) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn held(object: SealedRef, what: &str) -> Failure {
    let sentence = format!(
        "object {} holds {what} of a user who was forgotten: run `coordinator forget` with the job and the user again",
        object.digest
    );
    Failure::new(Refusal::BadData, sentence)
}

fn damaged(error: impl Display) -> Failure {
    Failure::new(Refusal::BadData, error.to_string())
}
