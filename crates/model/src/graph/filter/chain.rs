//! The filter times a table, as steps: for T = R D_v^-½ (Rᵀ D_u⁻¹ R D_v^-½) + L Gᵀ, L and G the factors of the low-pass part,
//!
//!   T X = R (D_v^-½ Rᵀ (D_u⁻¹ R (D_v^-½ X))) + L (Gᵀ X),      Tᵀ Y = D_v^-½ Rᵀ (D_u⁻¹ R (D_v^-½ Rᵀ Y)) + G (Lᵀ Y),
//!
//! three products with the partitions each. Neither T nor Rᵀ R is formed.

use crate::graph::ops::{CrossOp, GraphOp, Power, Scales, TimesOp};
use crate::graph::spectral::schedule::{Layout, Role, Stage};
use crate::graph::steps::rows;
use crate::op::Op;
use crate::reduce::Reduction;
use crate::training::TableVersion;
use kernels::width_of;
use tensor::{KeyRange, Mode, Read, TableId};

/// What the first product of either chain makes of users and products, beside the tables of the iteration; the second makes the other.
const FIRST: [TableId; 2] = [TableId(11), TableId(12)];
/// And the second.
const SECOND: [TableId; 2] = [TableId(13), TableId(14)];
/// What the low-pass part adds to users and to products.
const LOW_PASS: [TableId; 2] = [TableId(15), TableId(16)];

/// Beyond the numbers of the reductions of Grams.
const REDUCTIONS: u64 = 1 << 48;

fn made(power: Power) -> Scales {
    Scales {
        made: power,
        ..Scales::default()
    }
}

/// T X, of X and of D_v^-½ X.
pub(in crate::graph) fn forward(
    of: &Layout<'_>,
    part: &Layout<'_>,
    stage: &mut Stage,
    [right, scaled]: [&TableVersion; 2],
    to: &TableVersion,
) {
    let added = low_pass(of, part, stage, right, Mode::User);
    let first = table(of, FIRST, Mode::User, to);
    of.product(stage, scaled, made(Power(-2)), &first, None);
    stage.push_frees(vec![scaled.keys()]);
    let second = table(of, SECOND, Mode::Product, to);
    of.product(stage, &first, made(Power(-1)), &second, None);
    stage.push_frees(vec![first.keys()]);
    of.product(stage, &second, made(Power(0)), to, Some(&added));
    stage.push_frees(vec![second.keys(), added.keys()]);
}

/// Tᵀ Y. The low-pass part's factors are not read again in this epoch.
pub(in crate::graph) fn back(
    of: &Layout<'_>,
    part: &Layout<'_>,
    stage: &mut Stage,
    left: &TableVersion,
    to: &TableVersion,
) {
    let added = low_pass(of, part, stage, left, Mode::Product);
    let low = [Mode::User, Mode::Product].map(|mode| part.table(mode, epoch_of(to)).keys());
    stage.push_frees(low.to_vec());
    let first = table(of, FIRST, Mode::Product, to);
    of.product(stage, left, made(Power(-1)), &first, None);
    let second = table(of, SECOND, Mode::User, to);
    of.product(stage, &first, made(Power(-2)), &second, None);
    stage.push_frees(vec![first.keys()]);
    of.product(stage, &second, made(Power(-1)), to, Some(&added));
    stage.push_frees(vec![second.keys(), added.keys()]);
}

/// Tables of an iteration have its epoch for a version.
fn epoch_of(table: &TableVersion) -> u32 {
    table.version as u32
}

/// A table of a mode that the chain makes on its way to another.
fn table(of: &Layout<'_>, ids: [TableId; 2], mode: Mode, to: &TableVersion) -> TableVersion {
    let id = ids[usize::from(mode == Mode::Product)];
    of.version(id, mode, to.rank, epoch_of(to))
}

/// What the low-pass part makes of a table of the other mode, for rows of a mode: L (Gᵀ X), or G (Lᵀ Y).
fn low_pass(
    of: &Layout<'_>,
    part: &Layout<'_>,
    stage: &mut Stage,
    from: &TableVersion,
    mode: Mode,
) -> TableVersion {
    let epoch = epoch_of(from);
    let (own, others) = (part.table(mode, epoch), part.table(from.mode, epoch));
    let (left, right) = (own.rank, from.rank);
    let sum = Reduction {
        id: REDUCTIONS + 2 * from.version + u64::from(mode == Mode::Product),
        leaves: from.grid.blocks(),
        rows: left.into(),
        row_bytes: 8 * width_of(right as usize) as u32,
    };
    let op = Op::Graph(GraphOp::Cross(CrossOp { left, right })).encode();
    let drafts = (0..from.grid.blocks()).map(|block| {
        let reads = [others.block(block), from.block(block)].map(Read::whole);
        let cost = rows(from, block) * u64::from(left.div_ceil(16));
        (op.clone(), reads.to_vec(), vec![sum.leaf(block)], cost)
    });
    stage.push("low-pass sums", Role::Silent, drafts, Vec::new());
    stage.reduce("low-pass sums", sum);
    let to = table(of, LOW_PASS, mode, from);
    let op = Op::Graph(GraphOp::Times(TimesOp { left, right })).encode();
    let drafts = (0..to.grid.blocks()).map(|block| {
        let reads = [own.block(block), sum.root()].map(Read::whole);
        let cost = rows(&to, block) * u64::from(left.div_ceil(16));
        (op.clone(), reads.to_vec(), vec![to.block(block)], cost)
    });
    let frees = vec![KeyRange::One(sum.root())];
    stage.push("low-pass rows", Role::Silent, drafts, frees);
    to
}
