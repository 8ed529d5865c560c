//! The graph filter in f64, every cell of it: what the engine's scores and factors are compared with.

use crate::ingested::{Row, some_rows};
use crate::tiled::Bed;
use kernels::{Simd, eigen, eigen_scratch};
use model::graph::Edges;
use model::graph::filter::{Nearest, Settings};
use std::collections::BTreeMap;
use store::partition::Partition;
use tensor::Grid;

/// Few users and products with many interactions, of values above 0.
pub fn small_with_values() -> Vec<Row> {
    let mut rows = some_rows(1_500, 3);
    for row in &mut rows {
        (row.user, row.product) = (row.user % 90, row.product % 40);
    }
    positive(rows)
}

/// Values above 0: a row of zeros has no degree.
#[must_use]
pub fn positive(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.value += 0.25;
    }
    rows
}

/// The training view by row ids.
fn cells(bed: &Bed, edges: Edges) -> BTreeMap<(u32, u32), f64> {
    let mut cells = BTreeMap::new();
    for (block, of) in bed.input.user.block_ids().zip(&bed.input.train.user_major) {
        let partition = Partition::open(bed.found.world.sealed[&of.object.digest].clone()).unwrap();
        let piece = partition.whole().unwrap();
        let csr = piece.csr(partition.offsets(), 1 << 32).unwrap();
        for (row, user) in (0..csr.rows()).zip(bed.input.user.row_ids(block)) {
            for position in csr.row(row) {
                let value = match edges {
                    Edges::Binary => 1.0,
                    Edges::Values => f64::from(csr.values().at(position)),
                };
                cells.insert((user, csr.columns()[position]), value);
            }
        }
    }
    cells
}

/// R R̃ᵀR̃ + β R D_v^-½ V Vᵀ D_v^½, every cell of it, as the paper writes it.
///
/// # Panics
/// Where the partitions of the bed cannot be read.
pub fn dense(bed: &Bed, settings: &Settings) -> BTreeMap<(u32, u32), f64> {
    let cells = cells(bed, settings.edges);
    let ids = |of: fn(&(u32, u32)) -> u32| -> Vec<u32> {
        let mut ids: Vec<u32> = cells.keys().map(of).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let (users, products) = (ids(|cell| cell.0), ids(|cell| cell.1));
    let at = |i: usize, j: usize| cells.get(&(users[i], products[j])).copied().unwrap_or(0.0);
    let (m, n) = (users.len(), products.len());
    let user_degrees: Vec<f64> = (0..m).map(|i| (0..n).map(|j| at(i, j)).sum()).collect();
    let product_degrees: Vec<f64> = (0..n).map(|j| (0..m).map(|i| at(i, j)).sum()).collect();
    let normalized = |i: usize, j: usize| {
        let by: f64 = user_degrees[i] * product_degrees[j];
        if by > 0.0 { at(i, j) / by.sqrt() } else { 0.0 }
    };
    let between =
        |j: usize, k: usize| -> f64 { (0..m).map(|i| normalized(i, j) * normalized(i, k)).sum() };
    let similar: Vec<f64> = (0..n * n).map(|at| between(at / n, at % n)).collect();
    let (mut vectors, mut values) = (similar.clone(), vec![0.0; n]);
    let mut scratch = vec![0.0; eigen_scratch(n)];
    assert!(eigen(
        Simd::PORTABLE,
        &mut vectors,
        &mut values,
        &mut scratch
    ));
    let passed = |j: usize, k: usize| -> f64 {
        let ratio = (product_degrees[k] / product_degrees[j]).sqrt();
        let vectors = vectors.chunks(n).take(settings.rank as usize);
        ratio * vectors.map(|v| v[j] * v[k]).sum::<f64>()
    };
    let linear = f64::from(u8::from(settings.linear));
    let mut scores = BTreeMap::new();
    for (i, k) in (0..m).flat_map(|i| (0..n).map(move |k| (i, k))) {
        let terms = (0..n)
            .filter(|&j| at(i, j) != 0.0)
            .map(|j| at(i, j) * (linear * similar[j * n + k] + settings.weight * passed(j, k)));
        scores.insert((users[i], products[k]), terms.sum());
    }
    scores
}

/// The original ids of products by their rows, which tell equally near ones apart.
fn product_hashes(bed: &Bed) -> BTreeMap<u32, u64> {
    let axis = &bed.found.data.product;
    let blocks = axis.grid.block_ids().zip(&axis.dictionary);
    let of = blocks.flat_map(|(block, object)| {
        let file = bed.found.world.sealed[&object.digest].clone();
        let ids = store::dictionary::Dictionary::open(file).unwrap();
        let hashes: Vec<u64> = ids
            .iter()
            .map(|id| match id {
                Some(store::dictionary::IdRef::Int64(id)) => {
                    model::evaluate::id_hash(&id.to_le_bytes())
                }
                other => panic!("no integer: {other:?}"),
            })
            .collect();
        axis.grid.row_ids(block).zip(hashes)
    });
    of.collect()
}

/// The sum over what a user had of the cosines with those among the nearest of each, every cell of it, from all pairs.
///
/// # Panics
/// Where the partitions of the bed cannot be read.
pub fn nearest(bed: &Bed, of: Nearest) -> BTreeMap<(u32, u32), f64> {
    let cells = cells(bed, Edges::Binary);
    let mut had: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut users: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &(user, product) in cells.keys() {
        had.entry(user).or_default().push(product);
        users.entry(product).or_default().push(user);
    }
    let hashes = product_hashes(bed);
    let near = |product: u32| -> Vec<(u32, f64)> {
        let mine = &users[&product];
        let others = users.iter().filter(|(other, _)| **other != product);
        let mut all: Vec<(f64, u64, u32)> = others
            .map(|(&other, theirs)| {
                let both = mine.iter().filter(|user| theirs.contains(user)).count();
                let roots = ((mine.len() * theirs.len()) as f64).sqrt();
                let cosine = both as f64 / (roots + of.shrinkage);
                (-cosine, hashes[&other], other)
            })
            .filter(|found| found.0 < 0.0)
            .collect();
        all.sort_by(|one, other| one.partial_cmp(other).unwrap());
        all.truncate(of.count as usize);
        all.into_iter()
            .map(|(cosine, _, other)| (other, -cosine))
            .collect()
    };
    let near: BTreeMap<u32, Vec<(u32, f64)>> = users.keys().map(|&of| (of, near(of))).collect();
    let mut scores = BTreeMap::new();
    for (&user, had) in &had {
        for &product in users.keys() {
            scores.insert((user, product), 0.0);
        }
        for (product, cosine) in had.iter().flat_map(|had| &near[had]) {
            *scores.get_mut(&(user, *product)).unwrap() += cosine;
        }
    }
    scores
}

/// Some products of a grid, none of the first.
pub fn some_of(grid: &Grid) -> Vec<u32> {
    let ids = grid.block_ids().flat_map(|block| grid.row_ids(block));
    ids.enumerate()
        .filter(|(place, _)| place % 3 == 1)
        .map(|(_, id)| id)
        .collect()
}
