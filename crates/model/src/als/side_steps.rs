//! The steps of side information: what half-steps read and write besides, and the maps that are solved behind them.
//!
//! **Invariant:** as in [`super::schedule`], every name follows from the epoch alone.

use super::linear::TERM_WIDTH;
use super::ops::{AlsOp, Columns, MapsOp, SideOp};
use super::schedule::{Draft, Layout, Role, Stage};
use super::side::side_len;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::{Holds, TableVersion};
use tensor::{Attributes, DepotId, Grid, KeyRange, Mode, Read, TableId};

/// The maps of users' attributes.
const USER_MAPS: TableId = TableId(5);
/// The maps of products' attributes.
const PRODUCT_MAPS: TableId = TableId(6);
/// The linear terms of users' attributes.
const USER_TERMS: TableId = TableId(11);
/// The linear terms of products' attributes.
const PRODUCT_TERMS: TableId = TableId(12);
/// Beyond the numbers of all other reductions, which rise from 0.
const REDUCTIONS: u64 = 1 << 40;

impl Layout<'_> {
    /// The attributes of a mode, where they have a part in its rows.
    pub fn attributes(&self, mode: Mode) -> Option<&Attributes> {
        let attributes = self.input.attributes.get(&mode)?;
        let used = self.settings.attribute_weight(mode) > 0.0 || self.settings.linear_attributes;
        used.then_some(attributes)
    }

    /// The maps of a mode's attributes after an epoch.
    fn maps(&self, mode: Mode, epoch: u64) -> Option<TableVersion> {
        let attributes = self.attributes(mode)?;
        let used = self.settings.attribute_weight(mode) > 0.0;
        used.then(|| TableVersion {
            id: if mode == Mode::User {
                USER_MAPS
            } else {
                PRODUCT_MAPS
            },
            mode,
            holds: Holds::Maps,
            rank: self.formula.rank,
            width: self.formula.width() as u32,
            grid: Grid::single(attributes.columns() as u32),
            version: epoch,
        })
    }

    /// The linear terms of a mode's attributes after an epoch.
    fn terms(&self, mode: Mode, epoch: u64) -> Option<TableVersion> {
        let attributes = self.attributes(mode)?;
        self.settings.linear_attributes.then(|| TableVersion {
            id: if mode == Mode::User {
                USER_TERMS
            } else {
                PRODUCT_TERMS
            },
            mode,
            holds: Holds::Terms,
            rank: 1,
            width: TERM_WIDTH as u32,
            grid: Grid::single(attributes.columns() as u32),
            version: epoch,
        })
    }

    /// What is learnt of a mode's attributes in an epoch: maps, then linear terms.
    fn learnt(&self, mode: Mode, epoch: u64) -> impl Iterator<Item = TableVersion> {
        let both = [self.maps(mode, epoch), self.terms(mode, epoch)];
        both.into_iter().flatten()
    }

    /// All that is learnt of attributes after an epoch.
    pub fn learnt_after(&self, epoch: u32) -> impl Iterator<Item = TableVersion> {
        let modes = [Mode::User, Mode::Product].into_iter();
        modes.flat_map(move |mode| self.learnt(mode, epoch.into()))
    }

    /// What the rows of a table are solved with: what was learnt in the epoch before.
    fn learnt_for(&self, solved: &TableVersion) -> impl Iterator<Item = TableVersion> {
        let before = solved.version.checked_sub(1).filter(|&before| before > 0);
        before
            .into_iter()
            .flat_map(|before| self.learnt(solved.mode, before))
    }

    /// What half-steps know of the rows of a table besides.
    pub(super) fn side(&self, solved: &TableVersion) -> Option<SideOp> {
        let attributes = self.attributes(solved.mode)?;
        Some(SideOp {
            weight: self.settings.attribute_weight(solved.mode),
            attributes: Columns::of(attributes),
            mapped: self.learnt_for(solved).next().is_some(),
            linear: self.settings.linear_attributes,
        })
    }

    /// What the half-step of a block reads of it.
    pub(super) fn side_reads(
        &self,
        solved: &TableVersion,
        block: u32,
    ) -> impl Iterator<Item = Read> {
        let words = self
            .attributes(solved.mode)
            .map(|attributes| attributes.blocks[block as usize].key(DepotId::DATA));
        let learnt = self.learnt_for(solved).map(|learnt| learnt.block(0));
        words.into_iter().chain(learnt).map(Read::whole)
    }

    /// The sums that maps and linear terms are solved from.
    pub(super) fn side_sums(&self, solved: &TableVersion, side: &SideOp) -> Reduction {
        Reduction {
            id: REDUCTIONS + solved.version * 2 + u64::from(solved.mode == Mode::Product),
            leaves: solved.grid.blocks(),
            rows: 1,
            row_bytes: (side_len(self.formula.width(), side) * 8) as u32,
        }
    }

    /// Adds up what the blocks know and solves the maps and the linear terms.
    pub(super) fn map_steps(&self, stage: &mut Stage, solved: &TableVersion, side: SideOp) {
        let sums = self.side_sums(solved, &side);
        stage.reduce(&format!("{} attributes", solved.mode), sums);
        let last: Vec<TableVersion> = self.learnt_for(solved).collect();
        let root = Read::whole(sums.root());
        let op = MapsOp {
            rank: self.formula.rank,
            side,
            regularization: self.settings.attribute_regularization,
        };
        let rank = u64::from(self.formula.rank);
        let attributes = op.side.attributes.len() as u64;
        let learnt = self.learnt(solved.mode, solved.version);
        let solve = Draft {
            op: Op::Als(AlsOp::Maps(op)).encode(),
            reads: std::iter::once(root)
                .chain(last.iter().map(|maps| Read::whole(maps.block(0))))
                .collect(),
            writes: learnt.map(|learnt| learnt.block(0)).collect(),
            cost: attributes * rank * rank / 64,
        };
        let mut frees = vec![KeyRange::One(sums.root())];
        frees.extend(last.iter().map(TableVersion::keys));
        let name = format!("{} maps", solved.mode);
        stage.push(&name, Role::Maps(solved.mode), vec![solve], frees);
    }
}
