//! Graph models in f64 and without blocks: what the engine's are compared with.

use crate::ingested::{Row, parquet_of, some_rows};
use crate::linked;
use crate::tiled::Bed;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use kernels::Random;
use model::graph::{Batch, Head, Normalization, Power, RivalsOp, Versus};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::partition::Partition;
use tensor::{BlockId, Grid, Mode};

/// Rows of users, then of products.
pub type Nodes = Vec<Vec<f64>>;

/// The rows of a table, without padding.
///
/// # Panics
/// Where the bytes are not whole rows.
pub fn numbers(bytes: &[u8], columns: usize) -> Nodes {
    let floats = bytes.chunks_exact(4);
    let floats: Vec<f64> = floats
        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
        .collect();
    let rows = floats.chunks_exact(columns.next_multiple_of(16));
    rows.map(|row| row[..columns].to_vec()).collect()
}

/// Interactions of which some products share their blocks, others are alone.
pub fn small() -> Vec<Row> {
    let mut rows = some_rows(1500, 3);
    for (row, i) in rows.iter_mut().zip(0_i64..) {
        (row.user, row.product) = (row.user % 40, (row.product * 3 + i % 3) % 200);
    }
    rows
}

/// Tells attributes of nodes: a number and one of some levels, which some of them have not, but an attribute of its own.
pub fn describe(bed: &mut Bed) {
    let ids = || (0..300_i64).filter(|id| id % 7 != 3);
    let ages = ids().map(|id| (id % 5 != 1).then_some((id % 11) as f64));
    let towns = ids().map(|id| (id % 4 != 2).then(|| format!("town-{}", id * id % 5)));
    let others = ids().map(|id| (id % 4 == 2).then(|| format!("town-{}", id * id % 5)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(ids().collect::<Int64Array>())),
        ("age", Arc::new(ages.collect::<Float64Array>())),
        ("town", Arc::new(towns.collect::<StringArray>())),
        ("other_town", Arc::new(others.collect::<StringArray>())),
    ];
    let table = parquet_of(columns, 100);
    for mode in [Mode::User, Mode::Product] {
        bed.found.describe(mode, &table);
    }
}

/// The graph of a bed's training view.
pub struct Graph {
    /// Row ids of users.
    pub users: Vec<u32>,
    /// Row ids of products.
    pub products: Vec<u32>,
    /// The products' grid.
    pub product_grid: Grid,
    /// Pairs of a user's place and a product's.
    pub pairs: Vec<(usize, usize)>,
    /// Of pairs.
    pub values: Vec<f64>,
    /// Of users, then of products.
    pub degrees: Vec<f64>,
    /// Edges of nodes of one mode: who takes, from whom, and how much.
    pub links: Vec<(usize, usize, f64)>,
    /// Whether nodes have edges to themselves.
    pub loops: bool,
}

impl Graph {
    /// Of a bed.
    ///
    /// # Panics
    /// Where its partitions cannot be read.
    pub fn of(bed: &Bed) -> Self {
        let ids = |grid: &Grid| -> Vec<u32> {
            let blocks = grid.block_ids();
            blocks.flat_map(|block| grid.row_ids(block)).collect()
        };
        let (users, products) = (ids(&bed.input.user), ids(&bed.input.product));
        let place: BTreeMap<u32, usize> = products.iter().copied().zip(0..).collect();
        let (mut pairs, mut values, mut user) = (Vec::new(), Vec::new(), 0);
        for of in &bed.input.train.user_major {
            let sealed = bed.found.world.sealed[&of.object.digest].clone();
            let partition = Partition::open(sealed).unwrap();
            let piece = partition.piece(0..partition.interactions()).unwrap();
            let csr = piece.csr(partition.offsets(), 1 << 32).unwrap();
            for row in 0..csr.rows() {
                let columns = csr.row(row).map(|at| place[&csr.columns()[at]]);
                pairs.extend(columns.map(|product| (user, product)));
                values.extend(csr.row(row).map(|at| f64::from(csr.values().at(at))));
                user += 1;
            }
        }
        let mut degrees = vec![0.0; users.len() + products.len()];
        for &(user, product) in &pairs {
            degrees[user] += 1.0;
            degrees[users.len() + product] += 1.0;
        }
        Graph {
            users,
            products,
            product_grid: bed.input.product.clone(),
            pairs,
            values,
            degrees,
            links: Vec::new(),
            loops: false,
        }
    }

    /// With the edges of its bed, times what they count.
    ///
    /// # Panics
    /// Where its partitions cannot be read.
    #[must_use]
    pub fn linked(mut self, bed: &Bed, weight: impl Fn(Mode) -> f64) -> Self {
        for (mode, edges) in &bed.found.data.edges {
            let (rows, first) = match mode {
                Mode::User => (&self.users, 0),
                _ => (&self.products, self.users.len()),
            };
            let place = |row: u32| first + rows.binary_search(&row).unwrap();
            let by = weight(*mode);
            let entries = linked::entries(&bed.found, *mode, &edges.forward).into_iter();
            self.links.extend(
                entries
                    .map(|((from, to), weight)| (place(from), place(to), by * f64::from(weight))),
            );
        }
        for &(from, _, weight) in &self.links {
            self.degrees[from] += weight;
        }
        self
    }

    /// With an edge of each node to itself: in the degrees of those that have any.
    #[must_use]
    pub fn looped(mut self, loops: bool) -> Self {
        self.loops = loops;
        for degree in self.degrees.iter_mut().filter(|degree| **degree > 0.0) {
            *degree += f64::from(u8::from(loops));
        }
        self
    }

    /// The random rows that training starts from.
    pub fn start(&self, seed: u64, rank: usize, scale: f64) -> Nodes {
        let deviation = scale / (rank as f64).sqrt();
        let ids = self.users.iter().map(|&id| (1, id));
        let ids = ids.chain(self.products.iter().map(|&id| (0, id)));
        ids.zip(&self.degrees)
            .map(|((stream, id), &degree)| {
                let mut row = vec![0.0; rank];
                Random::new(seed, 0x300, stream, id).fill_normal(&mut row);
                let some = if degree > 0.0 { deviation } else { 0.0 };
                row.iter().map(|&x| some * f64::from(x)).collect()
            })
            .collect()
    }

    /// Â of nodes, or its transpose.
    pub fn neighbours(&self, normalization: Normalization, nodes: &Nodes, back: bool) -> Nodes {
        let [made, read] = normalization.of_layers();
        let (made, read) = if back { (read, made) } else { (made, read) };
        let power = |node: usize, of: Power| self.degrees[node].powf(f64::from(of.0) / 2.0);
        let weight_of = |at: usize, other: usize| power(at, made) * power(other, read);
        let mut out = vec![vec![0.0; nodes[0].len()]; nodes.len()];
        for &(user, product) in &self.pairs {
            let product = self.users.len() + product;
            for (at, other) in [(user, product), (product, user)] {
                let by = weight_of(at, other);
                for k in 0..nodes[0].len() {
                    out[at][k] += by * nodes[other][k];
                }
            }
        }
        for &(from, to, weight) in &self.links {
            // A node of no degree is nothing, whatever leads to it.
            let sound = self.degrees[from] > 0.0 && self.degrees[to] > 0.0;
            let (at, other) = if back { (to, from) } else { (from, to) };
            let by = weight * weight_of(at, other);
            for k in 0..nodes[0].len() {
                out[at][k] += if sound { by * nodes[other][k] } else { 0.0 };
            }
        }
        if self.loops {
            for (node, row) in nodes.iter().enumerate() {
                // The loop is all that a node of no degree has.
                let sound = self.degrees[node] > 0.0;
                let by = if sound { weight_of(node, node) } else { 1.0 };
                out[node]
                    .iter_mut()
                    .zip(row)
                    .for_each(|(x, y)| *x += by * y);
            }
        }
        out
    }

    /// The loss of embeddings and its gradient by them, of a batch counted from 0 over all epochs, of which each has `count`; rivals are
    /// drawn by a power of degrees.
    pub fn head(
        &self,
        (head, noise): (Head, f64),
        (seed, count): (u64, u32),
        e: &Nodes,
        batch: u32,
    ) -> (f64, Nodes) {
        let first = self.users.len();
        let of = Batch {
            seed,
            epoch: batch / count + 1,
            count,
            number: batch % count,
        };
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let (mut loss, mut g) = (0.0, vec![vec![0.0; e[0].len()]; e.len()]);
        let dealings = batch * head.rivals() + 1..=(batch + 1) * head.rivals();
        let rivals: Vec<_> = dealings
            .map(|dealing| self.rivals(seed, noise, dealing))
            .collect();
        let add = |g: &mut Nodes, to: usize, by: f64, from: usize| {
            for k in 0..e[0].len() {
                g[to][k] += by * e[from][k];
            }
        };
        for (&(user, place), &value) in self.pairs.iter().zip(&self.values) {
            let held = count == 1 || of.holds(self.users[user], self.products[place]);
            let product = first + place;
            match (held, head) {
                (false, _) => (),
                (true, Head::AllPairs { .. }) => {
                    let off = dot(&e[user], &e[product]) - 1.0;
                    loss += 0.5 * off * off;
                    add(&mut g, user, off, product);
                    add(&mut g, product, off, user);
                }
                (true, Head::Bpr) => {
                    let rival = rivals[0].get(&place).map(|rival| first + rival);
                    let against = rival.map_or(0.0, |rival| dot(&e[user], &e[rival]));
                    let x = dot(&e[user], &e[product]) - against;
                    loss += (-x).exp().ln_1p();
                    let slope = -1.0 / (1.0 + x.exp());
                    add(&mut g, user, slope, product);
                    add(&mut g, product, slope, user);
                    if let Some(rival) = rival {
                        add(&mut g, user, -slope, rival);
                        add(&mut g, rival, -slope, user);
                    }
                }
                (true, Head::Logistic { .. } | Head::Squared { .. }) => {
                    let own = std::iter::once((Some(product), 1.0, value));
                    let others = rivals.iter().map(|rivals| rivals.get(&place));
                    let others = others.map(|rival| (rival.map(|rival| first + rival), 0.0, 0.0));
                    for (product, link, value) in own.chain(others) {
                        let x = product.map_or(0.0, |product| dot(&e[user], &e[product]));
                        let (part, slope) = if matches!(head, Head::Squared { .. }) {
                            (0.5 * (x - value) * (x - value), x - value)
                        } else {
                            (x.exp().ln_1p() - link * x, 1.0 / (1.0 + (-x).exp()) - link)
                        };
                        loss += part;
                        if let Some(product) = product {
                            add(&mut g, user, slope, product);
                            add(&mut g, product, slope, user);
                        }
                    }
                }
            }
        }
        if let Head::AllPairs { alpha0 } = head {
            for user in 0..first {
                for product in first..e.len() {
                    let score = dot(&e[user], &e[product]);
                    loss += 0.5 * alpha0 * score * score;
                    add(&mut g, user, alpha0 * score, product);
                    add(&mut g, product, alpha0 * score, user);
                }
            }
        }
        (loss, g)
    }

    fn rivals(&self, seed: u64, noise: f64, dealing: u32) -> BTreeMap<usize, usize> {
        let grid = &self.product_grid;
        let op = RivalsOp {
            versus: Versus::Rival,
            noise,
            blocks: grid.blocks(),
            columns: 1,
            seed,
            dealing,
            power: Power(0),
        };
        let first = |block: BlockId| grid.rows[..block.0 as usize].iter().sum::<u32>() as usize;
        let degrees = |block: BlockId| {
            let rows = grid.rows[block.0 as usize] as usize;
            &self.degrees[self.users.len() + first(block)..][..rows]
        };
        let mut of = BTreeMap::new();
        for block in grid.block_ids() {
            let other = op.rivals_of(block);
            assert_eq!(op.against(other), block);
            let pairs = op.pairs(block, degrees(block), degrees(other)).into_iter();
            of.extend(
                pairs.map(|(row, rival)| {
                    (first(block) + row as usize, first(other) + rival as usize)
                }),
            );
        }
        of
    }
}

/// What Adam has learnt of some numbers.
#[derive(Clone, Debug, Default)]
pub struct Moments(Vec<[f64; 2]>);

impl Moments {
    /// The means of gradients.
    pub fn means(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|[mean, _]| *mean)
    }

    /// Moves numbers along their gradient, at a step counted from 1.
    pub fn step<'a>(
        &mut self,
        (rate, step): (f64, i32),
        numbers: impl Iterator<Item = &'a mut f64>,
        gradient: impl Iterator<Item = f64>,
    ) {
        let corrections = [0.9_f64, 0.999].map(|beta| 1.0 - beta.powi(step));
        for (at, (x, g)) in numbers.zip(gradient).enumerate() {
            if at == self.0.len() {
                self.0.push([0.0; 2]);
            }
            let [m, v] = &mut self.0[at];
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *x -= rate * (*m / corrections[0]) / ((*v / corrections[1]).sqrt() + 1e-8);
        }
    }
}
