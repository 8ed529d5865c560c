//! The view that SGD reads: one partition a tile, the interactions of one super-block of users with one of products, in
//! the order of users, then products. Rows and columns are numbered within the super-blocks.
//!
//! A tile has a row pointer for every row of its users, with or without interactions: 8 bytes, where descent visits
//! every user of a tile anyway for his share of the negatives.

use crate::combine::{Built, PartitionBuild};
use crate::error::TablesError;
use crate::op::{self, Forgets, Op, RowsKept, SealReport, TilesOp};
use crate::staged::Staged;
use crate::view::{Reading, kept, reorders};
use store::{Cache, Sealed};
use tensor::{
    BlockId, DataSet, DepotId, Mode, PartialSpec, Partitions, Read, Small, Step, StepId,
    SuperBlocks, Task, TaskId, ViewSpec,
};

/// Memory of a tile in the making: its row pointers, columns, times and values, each before it goes to disk.
const TILE_BYTES: u64 = 1 << 20;

/// Derives the tiles of a user super-block, as many at a time as the budget lets be open.
///
/// # Errors
/// Where a source is damaged or not of these grids, the disk is full, or a collapsed value overflows.
pub fn derive(
    op: &TilesOp,
    sources: Vec<Sealed>,
    cache: &Cache,
    budget_bytes: u64,
) -> Result<Vec<Built>, TablesError> {
    let side = op.spec.tiles.unwrap_or(1);
    let users = SuperBlocks::new(&op.user, side);
    let products = SuperBlocks::new(&op.product, side);
    let mut files = sources.into_iter();
    let staged = op.sources.iter();
    let staged: Vec<Staged> = staged
        .map(|&count| Staged::open(files.by_ref().take(count as usize).collect()))
        .collect::<Result<_, _>>()?;
    let blocks = users.blocks(op.super_block);
    let fits = staged
        .iter()
        .zip(&op.user.rows[blocks.start as usize..blocks.end as usize])
        .all(|(staged, rows)| staged.rows() <= *rows);
    if !fits || staged.len() != blocks.len() {
        return Err(TablesError::Malformed("a partition of other users"));
    }
    let has = staged.first().map_or(Small::default(), Staged::has);
    if reorders(&op.spec, has) {
        return Err(TablesError::Malformed("tiles of a view that is combined"));
    }
    let open = (budget_bytes / 2 / TILE_BYTES).clamp(1, side.into()) as u32;
    let mut sealed = Vec::new();
    for first in (0..side).step_by(open as usize) {
        let group = first..side.min(first + open);
        let build = |tile: u32| {
            let build = PartitionBuild::new(
                cache,
                Mode::User,
                op.super_block * side + tile,
                users.rows(op.super_block),
                kept(&op.spec, has),
                op.duplicates,
                "value",
            )?;
            Ok::<_, TablesError>(build.netting(op.nets))
        };
        let mut builds = group.clone().map(build).collect::<Result<Vec<_>, _>>()?;
        for (staged, block) in staged.iter().zip(blocks.clone()) {
            let (_, start) = users.place(BlockId(block));
            let first_row = (Mode::User, op.user.row_ids(BlockId(block)).start);
            let reading = Reading {
                spec: &op.spec,
                duplicates: op.duplicates,
                forgets: &Forgets::default(),
                rows_kept: RowsKept::All,
                budget_bytes: budget_bytes / 4,
            };
            reading.each_kept(staged, first_row, |row, column, small, value| {
                let (tile, place) = products
                    .split(column)
                    .ok_or(TablesError::Malformed("a partition of other products"))?;
                if group.contains(&tile) {
                    builds[(tile - first) as usize].push(start + row, place, small, value)?;
                }
                Ok(())
            })?;
        }
        for build in builds {
            sealed.push(build.seal()?);
        }
    }
    Ok(sealed)
}

/// One task a super-block of users.
pub(crate) fn step(number: usize, data: &DataSet, spec: &ViewSpec, side: u32) -> Step {
    let id = StepId(number as u64);
    let users = SuperBlocks::new(&data.user.grid, side);
    let task = |super_block: u32| {
        let blocks = users.blocks(super_block);
        let sources: Vec<_> = blocks
            .map(|block| data.sources(spec.part, Mode::User, block))
            .collect();
        let op = Op::Tiles(TilesOp {
            spec: spec.clone(),
            super_block,
            sources: sources.iter().map(|block| block.len() as u32).collect(),
            user: data.user.grid.clone(),
            product: data.product.grid.clone(),
            duplicates: data.duplicates,
            nets: data.nets,
        });
        Task {
            id: TaskId {
                step: id,
                index: super_block,
            },
            op: op.encode(),
            reads: sources
                .iter()
                .flatten()
                .map(|source| Read::whole(source.object.key(DepotId::DATA)))
                .collect(),
            writes: vec![],
            after: vec![],
            chain: None,
            cost: 1 + sources
                .iter()
                .flatten()
                .map(|source| source.interactions)
                .sum::<u64>(),
        }
    };
    Step {
        id,
        name: format!("tiles {}", number + 1),
        tasks: (0..side).map(task).collect(),
        partial: PartialSpec::Collect,
        frees: vec![],
    }
}

/// The tiles of all super-blocks, from their reports.
pub(crate) fn gather(reports: Vec<Vec<u8>>) -> Result<Partitions, TablesError> {
    let (mut tiles, mut netted) = (Vec::new(), 0);
    for report in reports {
        let report: SealReport = op::decode(&report)?;
        tiles.extend(report.partitions);
        netted += report.netted;
    }
    Ok(Partitions {
        interactions: tiles.iter().map(|tile| tile.interactions).sum(),
        user_major: tiles,
        product_major: Vec::new(),
        netted,
    })
}
