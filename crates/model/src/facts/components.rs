//! Connected components by forests over the nodes of one side.
//!
//! A row of the other side joins all nodes that it names, so a block's rows make a forest; forests are joined eight at a time like
//! the partials of any reduction. The steps depend on the number of blocks alone: spreading labels along edges would take as many
//! as the longest path. The forest keeps to the side with fewer rows, at 8 bytes a row.
//!
//! **Invariant:** the root of a tree is its least node, so the order of joining leaves no trace.

use super::ops::{Branch, GroveTally, GrovesOp, TreeTally};
use tensor::Grid;

/// Rows of a mode counted without the gaps between blocks.
#[derive(Clone, Debug)]
pub struct Places {
    grid: Grid,
    first: Vec<u32>,
}

impl Places {
    /// Of a grid.
    pub fn new(grid: &Grid) -> Self {
        let mut next = 0;
        let first = grid.rows.iter().map(|&rows| {
            next += rows;
            next - rows
        });
        Places {
            first: first.collect(),
            grid: grid.clone(),
        }
    }

    /// Of a row id; `None` where the grid lacks the row.
    pub fn of(&self, id: u32) -> Option<u32> {
        let (block, local) = self.grid.split(id);
        let block = block.0 as usize;
        let there = self.grid.rows.get(block).is_some_and(|&rows| local < rows);
        there.then(|| self.first[block] + local)
    }
}

/// Trees over nodes.
#[derive(Clone, Debug)]
pub struct Forest {
    /// Of each node; a root, or a node that nothing names, is its own.
    parents: Vec<u32>,
    others: Vec<u32>,
    /// A bit a node: whether it has an edge.
    seen: Vec<u64>,
}

impl Forest {
    /// Bytes that a node takes while a forest is made and written.
    pub const NODE_BYTES: u64 = 9 + size_of::<Branch>() as u64;

    /// Nodes without edges.
    pub fn new(grid: &Grid) -> Self {
        Self::of(grid.rows_total() as u32)
    }

    /// So many nodes without edges.
    pub fn of(nodes: u32) -> Self {
        Forest {
            parents: (0..nodes).collect(),
            others: vec![0; nodes as usize],
            seen: vec![0; nodes.div_ceil(64) as usize],
        }
    }

    /// The root of a node's tree.
    fn root(&mut self, mut node: u32) -> u32 {
        while self.parents[node as usize] != node {
            let above = self.parents[self.parents[node as usize] as usize];
            self.parents[node as usize] = above;
            node = above;
        }
        node
    }

    fn see(&mut self, node: u32) {
        self.seen[node as usize / 64] |= 1 << (node % 64);
    }

    /// Joins the trees of two nodes. Its root is the lesser of theirs.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn join(&mut self, left: u32, right: u32) {
        self.see(left);
        self.see(right);
        let (left, right) = (self.root(left), self.root(right));
        self.parents[left.max(right) as usize] = left.min(right);
    }

    /// Hangs a node of the other side on a node.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn hang(&mut self, node: u32) {
        self.see(node);
        self.others[node as usize] += 1;
    }

    /// Joins another forest of the same nodes.
    ///
    /// # Panics
    /// Where it names a node that is not there.
    pub fn absorb(&mut self, branches: &[Branch]) {
        for branch in branches {
            self.join(branch.node, branch.root);
            self.others[branch.node as usize] += branch.others;
        }
    }

    /// The nodes that have edges, by rising number.
    pub fn branches(mut self) -> Vec<Branch> {
        let mut branches = Vec::new();
        for node in 0..self.parents.len() as u32 {
            if self.seen[node as usize / 64] >> (node % 64) & 1 == 1 {
                branches.push(Branch {
                    node,
                    root: self.root(node),
                    others: self.others[node as usize],
                });
            }
        }
        branches
    }

    /// Counts trees, given [`Forest::branches`].
    ///
    /// # Panics
    /// Where a branch names a node that is not there.
    pub fn trees(grid: &Grid, branches: &[Branch]) -> TreeTally {
        let mut sizes = vec![(0_u32, 0_u32); grid.rows_total() as usize];
        for branch in branches {
            let size = &mut sizes[branch.root as usize];
            *size = (size.0 + 1, size.1 + branch.others);
        }
        let trees = sizes.iter().filter(|size| size.0 > 0).count() as u64;
        let all = |size: &(u32, u32)| u64::from(size.0) + u64::from(size.1);
        // Of equal ones that of the least node.
        let largest = sizes.iter().rev().max_by_key(|size| all(size));
        let (nodes, others) = largest.copied().unwrap_or_default();
        TreeTally {
            trees,
            nodes: nodes.into(),
            others: others.into(),
        }
    }
}

/// Counts trees over users and, behind them, products, given [`Forest::branches`].
///
/// # Panics
/// Where a branch names a node that is not there.
pub fn groves(op: GrovesOp, branches: &[Branch]) -> GroveTally {
    let mut sizes = vec![[0_u32; 2]; op.nodes as usize];
    let mut tally = GroveTally::default();
    for branch in branches {
        let side = usize::from(branch.node >= op.users);
        sizes[branch.root as usize][side] += 1;
        *[&mut tally.users, &mut tally.products][side] += 1;
    }
    let all = |size: &&[u32; 2]| size.map(u64::from).iter().sum::<u64>();
    tally.trees = sizes.iter().filter(|size| all(size) > 0).count() as u64;
    // Of equal ones that of the least node.
    let largest = sizes.iter().rev().max_by_key(all).copied();
    [tally.largest_users, tally.largest_products] = largest.unwrap_or_default().map(u64::from);
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forest(rows: &[&[u32]], nodes: u32) -> Vec<Branch> {
        let mut forest = Forest::new(&Grid::single(nodes));
        for row in rows {
            forest.hang(row[0]);
            for &node in &row[1..] {
                forest.join(row[0], node);
            }
        }
        forest.branches()
    }

    /// A path of 10,000 rows that runs through all nodes, in an order that jumps about.
    #[test]
    fn forests_join_in_any_order() {
        let nodes = 10_001_u32;
        let at = |step: u32| (u64::from(step) * 7_919 % u64::from(nodes)) as u32;
        let path: Vec<[u32; 2]> = (0..nodes - 1)
            .map(|step| [at(step), at(step + 1)])
            .collect();
        let rows: Vec<&[u32]> = path.iter().map(|row| &row[..]).collect();
        let grid = Grid::single(nodes);
        let whole = forest(&rows, nodes);
        let expected = TreeTally {
            trees: 1,
            nodes: nodes.into(),
            others: u64::from(nodes - 1),
        };
        assert_eq!(Forest::trees(&grid, &whole), expected);
        let parts = [0..17, 17..5_000, 5_000..10_000].map(|part| forest(&rows[part], nodes));
        for order in [[0_usize, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut joined = Forest::new(&grid);
            for part in order {
                joined.absorb(&parts[part]);
            }
            let joined = joined.branches();
            assert!(joined.iter().all(|branch| branch.root == 0));
            assert_eq!(Forest::trees(&grid, &joined), expected);
        }
    }

    #[test]
    fn trees_and_places_leave_out_what_is_not_there() {
        let grid = Grid {
            stride_log2: 3,
            rows: vec![2, 0, 3],
        };
        let places = Places::new(&grid);
        assert_eq!(
            [0, 1, 2, 8, 16, 18, 19, 24].map(|id| places.of(id)),
            [Some(0), Some(1), None, None, Some(2), Some(4), None, None]
        );
        let branches = forest(&[&[4], &[1, 3], &[3]], 5);
        let found = Forest::trees(&grid, &branches);
        assert_eq!((found.trees, found.nodes, found.others), (2, 2, 2));
        assert_eq!(branches.len(), 3);
    }
}
