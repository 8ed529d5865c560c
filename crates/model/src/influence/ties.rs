//! Ties of the rows of a block, and what is summed over them.

use super::ops::{ReachedOp, Scored};
use crate::facts::Pairs;
use std::collections::BTreeMap;
use tensor::{CsrRef, Grid};

/// Rows of a block with their neighbours by rising id, each with its weight; none is its own neighbour.
#[derive(Clone, Debug)]
pub struct Neighbours {
    first: u32,
    rows: Vec<BTreeMap<u32, f64>>,
}

impl Neighbours {
    /// Bytes that an edge takes.
    pub const EDGE_BYTES: u64 = 40;

    /// A block of so many rows from an id on, without a tie.
    pub fn new(first: u32, rows: usize) -> Self {
        Neighbours {
            first,
            rows: vec![BTreeMap::new(); rows],
        }
    }

    /// Takes a piece of a partition of edges: weights of one pair are added, also those of both directions; one that is not above 0 ties
    /// nobody.
    pub fn absorb(&mut self, csr: &CsrRef<'_>, first: usize) {
        for row in 0..csr.rows() {
            let id = self.first + (first + row) as u32;
            for at in csr.row(row) {
                let (column, weight) = (csr.columns()[at], f64::from(csr.values().at(at)));
                if column != id && weight > 0.0 {
                    *self.rows[first + row].entry(column).or_default() += weight;
                }
            }
        }
    }

    /// Strength and neighbours of each row.
    pub fn strengths(&self) -> Vec<[f64; 2]> {
        let rows = self.rows.iter();
        rows.map(|ties| [ties.values().sum(), ties.len() as f64])
            .collect()
    }

    /// The score of each row, by the strengths of all; a row that the grid lacks.
    ///
    /// # Errors
    /// Such a row.
    pub fn scores(&self, all: &Others<'_>) -> Result<Vec<Scored>, u32> {
        let rows = self.rows.iter().zip(self.strengths());
        let rows = rows.zip(self.first..).map(|((ties, own), row)| {
            let mut score = 0.0;
            for (&column, weight) in ties {
                score += weight / all.of(column).ok_or(column)?[0];
            }
            Ok(Scored {
                row,
                score,
                strength: own[0],
                ties: own[1] as u64,
            })
        });
        rows.collect()
    }

    /// Nearly isolated rows and the influencers that hold enough of their ties.
    pub fn reached(&self, op: &ReachedOp) -> Vec<[u32; 2]> {
        let mut found = Vec::new();
        for ((ties, own), row) in self.rows.iter().zip(self.strengths()).zip(self.first..) {
            if own[1] > f64::from(op.ties_max) {
                continue;
            }
            for (column, &weight) in ties {
                let place = op.influencers.binary_search_by_key(column, |&(row, _)| row);
                if let Ok(place) = place
                    && weight / own[0] >= op.share
                {
                    found.push([op.influencers[place].1, row]);
                }
            }
        }
        found
    }
}

/// What all columns are, two f64 each.
#[derive(Clone, Debug)]
pub struct Others<'a> {
    grid: &'a Grid,
    blocks: Vec<&'a [[f64; 2]]>,
}

impl<'a> Others<'a> {
    /// Of all blocks of a grid.
    ///
    /// # Panics
    /// Where there are not as many rows as the grid has.
    pub fn new(grid: &'a Grid, blocks: Vec<&'a [[f64; 2]]>) -> Self {
        assert_eq!(blocks.len(), grid.rows.len(), "all blocks");
        let mut sizes = blocks.iter().zip(&grid.rows);
        assert!(sizes.all(|(block, &rows)| block.len() == rows as usize));
        Others { grid, blocks }
    }

    fn of(&self, id: u32) -> Option<[f64; 2]> {
        let (block, local) = self.grid.split(id);
        let block = self.blocks.get(block.0 as usize)?;
        block.get(local as usize).copied()
    }
}

/// Strength of each row by what it shares: how many columns another row has too. Writes it twice, since it is also how many ties there are.
///
/// # Errors
/// A column that the grid lacks.
pub fn strengths(
    pairs: &mut Pairs,
    csr: &CsrRef<'_>,
    first: usize,
    counts: &Others<'_>,
    out: &mut [[f64; 2]],
) -> Result<(), u32> {
    let mut lacks = None;
    pairs.each(csr, first, |row, column| match counts.of(column) {
        Some([count, _]) if count > 1.0 => out[row] = out[row].map(|sum| sum + 1.0),
        Some(_) => {}
        None => lacks = lacks.or(Some(column)),
    });
    lacks.map_or(Ok(()), Err)
}

/// How many have what may be shared, and Σ 1 / s over them; without strengths, the count alone.
///
/// # Errors
/// A row that the grid lacks.
pub fn through(
    pairs: &mut Pairs,
    csr: &CsrRef<'_>,
    first: usize,
    strengths: Option<&Others<'_>>,
    out: &mut [[f64; 2]],
) -> Result<(), u32> {
    let mut lacks = None;
    pairs.each(csr, first, |row, column| {
        out[row][0] += 1.0;
        match strengths.map(|strengths| strengths.of(column)) {
            Some(Some([strength, _])) if strength > 0.0 => out[row][1] += 1.0 / strength,
            Some(None) => lacks = lacks.or(Some(column)),
            Some(Some(_)) | None => {}
        }
    });
    lacks.map_or(Ok(()), Err)
}

/// Adds to the score of each row what goes through its columns; `own` are the strengths of the rows.
///
/// # Errors
/// A column that the grid lacks.
pub fn scores(
    pairs: &mut Pairs,
    csr: &CsrRef<'_>,
    first: usize,
    (all, own): (&Others<'_>, &[[f64; 2]]),
    out: &mut [f64],
) -> Result<(), u32> {
    let mut lacks = None;
    pairs.each(csr, first, |row, column| match all.of(column) {
        Some([count, through]) if count > 1.0 => {
            // What the row takes part in itself does not come to it from others.
            out[row] += (through - 1.0 / own[row][0]).max(0.0) / (count - 1.0);
        }
        Some(_) => {}
        None => lacks = lacks.or(Some(column)),
    });
    lacks.map_or(Ok(()), Err)
}

/// The influencers that hold enough of what a nearly isolated row shares, whose columns are row 0 of the piece: `row` is its place in the
/// block, `own` the strengths of the block's rows, `marks` column and influencer, rising.
pub fn reached(
    op: &ReachedOp,
    row: usize,
    csr: &CsrRef<'_>,
    own: &[[f64; 2]],
    all: &Others<'_>,
    marks: &[[u32; 2]],
) -> Vec<[u32; 2]> {
    let id = op.first + row as u32;
    let mut ties: BTreeMap<u32, f64> = BTreeMap::new();
    Pairs::default().each(csr, 0, |_, column| {
        let count = all.of(column).map_or(0.0, |[count, _]| count);
        let from = marks.partition_point(|mark| mark[0] < column);
        for mark in marks[from..].iter().take_while(|mark| mark[0] == column) {
            if count > 1.0 {
                *ties.entry(mark[1]).or_default() += 1.0 / (count - 1.0);
            }
        }
    });
    let itself = op.influencers.binary_search_by_key(&id, |&(row, _)| row);
    let itself = itself.ok().map(|at| op.influencers[at].1);
    let enough = ties
        .into_iter()
        .filter(|&(place, weight)| weight / own[row][0] >= op.share && Some(place) != itself);
    enough.map(|(place, _)| [place, id]).collect()
}

/// The rows of the highest scores, those without any left out; of equal ones the first.
pub fn best(mut scored: Vec<Scored>, top: u32) -> Vec<Scored> {
    scored.retain(|of| of.score > 0.0);
    scored.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.row.cmp(&y.row)));
    scored.truncate(top as usize);
    scored
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Random;
    use tensor::Small;
    use tensor::csr::Values;

    fn csr<'a>(offsets: &'a [u64], columns: &'a [u32], values: Values<'a>) -> CsrRef<'a> {
        CsrRef::new(offsets, 0, columns, Small::default(), values, None).unwrap()
    }

    fn rows(of: &[Vec<u32>]) -> (Vec<u64>, Vec<u32>) {
        let mut offsets = vec![0];
        for row in of {
            offsets.push(offsets[offsets.len() - 1] + row.len() as u64);
        }
        (offsets, of.concat())
    }

    /// Baskets of some users, and their transpose.
    fn baskets() -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
        let (users, products) = (30_u32, 20_u32);
        let mut of_users = vec![Vec::new(); users as usize];
        let mut of_products = vec![Vec::new(); products as usize];
        for user in 0..users {
            for product in 0..products {
                let draw = Random::new(3, 1, user, product).word(0) % 100;
                if draw < 3 * (product + 1) / 2 && product != 7 || user == product && product == 7 {
                    of_users[user as usize].push(product);
                    of_products[product as usize].push(user);
                }
            }
        }
        // Seen twice, counted once.
        let twice = of_users[4][0];
        of_users[4].insert(0, twice);
        (of_users, of_products)
    }

    #[test]
    fn scores_by_what_is_shared_are_those_of_the_projection() {
        let (of_users, of_products) = baskets();
        let (users, products) = (Grid::single(30), Grid::single(20));
        let (user_offsets, user_columns) = rows(&of_users);
        let (product_offsets, product_columns) = rows(&of_products);
        let by_user = csr(&user_offsets, &user_columns, Values::All(1.0));
        let by_product = csr(&product_offsets, &product_columns, Values::All(1.0));
        let mut counts = vec![[0.0; 2]; 20];
        through(&mut Pairs::default(), &by_product, 0, None, &mut counts).unwrap();
        let mut own = vec![[0.0; 2]; 30];
        let all = Others::new(&products, vec![&counts]);
        strengths(&mut Pairs::default(), &by_user, 0, &all, &mut own).unwrap();
        let mut shared = vec![[0.0; 2]; 20];
        let strong = Others::new(&users, vec![&own]);
        let pairs = &mut Pairs::default();
        through(pairs, &by_product, 0, Some(&strong), &mut shared).unwrap();
        let all = Others::new(&products, vec![&shared]);
        let mut found = vec![0.0; 30];
        scores(&mut Pairs::default(), &by_user, 0, (&all, &own), &mut found).unwrap();

        // The projection as it is defined.
        let mut ties = vec![[0.0_f64; 30]; 30];
        for buyers in of_products.iter().filter(|of| of.len() > 1) {
            for &a in buyers {
                for &b in buyers.iter().filter(|&&b| b != a) {
                    ties[a as usize][b as usize] += 1.0 / (buyers.len() - 1) as f64;
                }
            }
        }
        let strength: Vec<f64> = ties.iter().map(|ties| ties.iter().sum()).collect();
        for a in 0..30 {
            assert!((own[a][0] - strength[a]).abs() < 1e-12);
            let exact: f64 = (0..30)
                .filter(|&b| strength[b] > 0.0)
                .map(|b| ties[a][b] / strength[b])
                .sum();
            assert!(
                (found[a] - exact).abs() < 1e-12,
                "{a}: {} {exact}",
                found[a]
            );
        }
        // Those who share little with anyone, and who holds it.
        let op = ReachedOp {
            first: 0,
            partitions: 1,
            columns: Some(products.clone()),
            influencers: vec![(5, 1), (11, 0)],
            ties_max: 4,
            share: 0.05,
        };
        let mut marks: Vec<[u32; 2]> = Vec::new();
        for &(row, place) in &op.influencers {
            let mut basket = of_users[row as usize].clone();
            basket.dedup();
            marks.extend(basket.into_iter().map(|column| [column, place]));
        }
        marks.sort_unstable();
        let mut found = Vec::new();
        for b in (0..30).filter(|&b| own[b][1] > 0.0 && own[b][1] <= 4.0) {
            let (offsets, columns) = rows(&of_users[b..=b]);
            let row = csr(&offsets, &columns, Values::All(1.0));
            found.extend(reached(&op, b, &row, &own, &all, &marks));
        }
        let mut exact = Vec::new();
        for b in 0..30_usize {
            for (row, place) in [(11_usize, 0), (5, 1)] {
                let near = strength[b] > 0.0 && strength[b] <= 4.0;
                if b != row && near && ties[b][row] / strength[b] >= 0.05 {
                    exact.push([place, b as u32]);
                }
            }
        }
        assert!(!exact.is_empty());
        assert_eq!(found, exact);
    }

    #[test]
    fn edges_count_once_in_both_directions_and_not_with_oneself() {
        // 0 has followers 1, 2, 3; 3 and 4 know each other; 4 names itself.
        let (forward, backward) = (
            vec![vec![], vec![0], vec![0], vec![0, 4], vec![3, 4]],
            vec![vec![1, 2, 3], vec![], vec![], vec![4], vec![3, 4]],
        );
        let mut ties = Neighbours::new(0, 5);
        for edges in [&forward, &backward] {
            let (offsets, columns) = rows(edges);
            ties.absorb(&csr(&offsets, &columns, Values::All(2.0)), 0);
        }
        let own = ties.strengths();
        assert_eq!(
            own,
            [[6.0, 3.0], [2.0, 1.0], [2.0, 1.0], [6.0, 2.0], [4.0, 1.0]]
        );
        let grid = Grid::single(5);
        let all = Others::new(&grid, vec![&own]);
        let scored = ties.scores(&all).unwrap();
        assert!((scored[0].score - (1.0 + 1.0 + 1.0 / 3.0)).abs() < 1e-12);
        assert!((scored[3].score - (1.0 / 3.0 + 1.0)).abs() < 1e-12);
        let rows: Vec<u32> = best(scored, 2).iter().map(|of| of.row).collect();
        assert_eq!(rows, [0, 3]);
        let mut op = ReachedOp {
            first: 0,
            partitions: 2,
            columns: None,
            influencers: vec![(0, 0), (3, 1)],
            ties_max: 1,
            share: 0.1,
        };
        assert_eq!(ties.reached(&op), [[0, 1], [0, 2], [1, 4]]);
        op.ties_max = 2;
        op.share = 0.5;
        assert_eq!(ties.reached(&op), [[0, 1], [0, 2], [1, 4]]);
        let short = Grid::single(3);
        let few = Others::new(&short, vec![&own[..3]]);
        assert_eq!(ties.scores(&few), Err(3));
    }
}
