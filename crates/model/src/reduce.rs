//! Reduction trees: sums whose order is fixed by position, whoever computes them.
//!
//! **Invariant:** the tree is binary, spans the next power of two, and skips absent leaves. A task adds an
//! aligned subtree of [`FAN_IN`] leaves at once, which gives the bits of the binary tree.

use crate::op::Op;
use serde::{Deserialize, Serialize};
use tensor::{KeyRange, ObjectKey, PartialSpec, Read, Step, StepId, Task, TaskId};

/// Nodes that one task adds: three levels of the binary tree.
pub const FAN_IN: u32 = 8;

/// Adds up to [`FAN_IN`] objects of f64 element by element, by the binary tree over their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReduceOp {
    /// Rows of each object.
    pub rows: u64,
    /// Bytes of a row.
    pub row_bytes: u32,
}

/// The sum of `leaves` by the fixed binary tree over their positions; 0 where there is none.
pub fn tree_sum(leaves: &[f64]) -> f64 {
    match leaves {
        [] => 0.0,
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            tree_sum(left) + tree_sum(right)
        }
    }
}

/// Adds vectors element by element by the fixed binary tree over their positions, into the first.
///
/// # Panics
/// Where lengths differ.
pub fn tree_add(leaves: &mut [&mut [f64]]) {
    let count = leaves.len();
    if count < 2 {
        return;
    }
    let (left, right) = leaves.split_at_mut(count.next_power_of_two() / 2);
    tree_add(left);
    tree_add(right);
    assert_eq!(
        left[0].len(),
        right[0].len(),
        "leaves of one reduction have one length"
    );
    left[0]
        .iter_mut()
        .zip(right[0].iter())
        .for_each(|(sum, term)| *sum += term);
}

/// The shape of a reduction of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// The program's number, unique in the run.
    pub id: u64,
    /// Leaves, written at level 0 by the tasks of an earlier step.
    pub leaves: u32,
    /// Rows of each object.
    pub rows: u64,
    /// Bytes of a row.
    pub row_bytes: u32,
}

impl Reduction {
    /// The key of a leaf.
    pub fn leaf(&self, index: u32) -> ObjectKey {
        self.node(0, index)
    }

    /// Levels of tasks above the leaves.
    pub fn levels(&self) -> u8 {
        let (mut nodes, mut levels) = (self.leaves, 0);
        while nodes > 1 {
            nodes = nodes.div_ceil(FAN_IN);
            levels += 1;
        }
        levels
    }

    /// The key of the sum.
    pub fn root(&self) -> ObjectKey {
        self.node(self.levels(), 0)
    }

    /// The key of what is made of the root: it stands one level above it.
    pub fn above_root(&self) -> ObjectKey {
        self.node(self.levels() + 1, 0)
    }

    /// The steps that add the leaves up, one per level; they take the ids from `first` on. Each frees the nodes that
    /// it reads.
    pub fn steps(&self, first: StepId, name: &str) -> Vec<Step> {
        let add = Op::Reduce(ReduceOp {
            rows: self.rows,
            row_bytes: self.row_bytes,
        });
        self.steps_of(&add, first, name)
    }

    /// The same steps by another op, which brings objects together otherwise than by addition.
    pub fn steps_of(&self, op: &Op, first: StepId, name: &str) -> Vec<Step> {
        let op = op.encode();
        let mut nodes = self.leaves;
        (0..self.levels())
            .map(|level| {
                let id = StepId(first.0 + u64::from(level));
                let parents = nodes.div_ceil(FAN_IN);
                let children = |parent: u32| parent * FAN_IN..nodes.min((parent + 1) * FAN_IN);
                let tasks = (0..parents).map(|index| Task {
                    id: TaskId { step: id, index },
                    op: op.clone(),
                    reads: children(index)
                        .map(|child| Read::whole(self.node(level, child)))
                        .collect(),
                    writes: vec![self.node(level + 1, index)],
                    after: Vec::new(),
                    chain: None,
                    cost: (self.rows * u64::from(self.row_bytes) * u64::from(FAN_IN) / 1024).max(1),
                });
                let step = Step {
                    id,
                    name: name.to_owned(),
                    tasks: tasks.collect(),
                    partial: PartialSpec::None,
                    frees: (0..nodes)
                        .map(|index| KeyRange::One(self.node(level, index)))
                        .collect(),
                };
                nodes = parents;
                step
            })
            .collect()
    }

    fn node(&self, level: u8, index: u32) -> ObjectKey {
        ObjectKey::Partial {
            reduction: self.id,
            level,
            index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves whose sum shows its order.
    fn leaves(count: usize) -> Vec<f64> {
        (0..count)
            .map(|i| (i as f64 + 0.1).sin() * 10f64.powi(i as i32 % 17 - 8))
            .collect()
    }

    #[test]
    fn subtrees_of_eight_give_the_bits_of_the_binary_tree() {
        for count in [1, 2, 7, 8, 9, 63, 64, 65, 100, 513] {
            let all = leaves(count);
            let mut level = all.clone();
            while level.len() > 1 {
                level = level.chunks(FAN_IN as usize).map(tree_sum).collect();
            }
            assert_eq!(
                level[0].to_bits(),
                tree_sum(&all).to_bits(),
                "{count} leaves"
            );
            let mut vectors: Vec<[f64; 1]> = all.iter().map(|&x| [x]).collect();
            let mut slices: Vec<&mut [f64]> = vectors.iter_mut().map(|v| &mut v[..]).collect();
            tree_add(&mut slices);
            assert_eq!(vectors[0][0].to_bits(), tree_sum(&all).to_bits());
        }
    }

    #[test]
    fn the_tree_of_tasks_reaches_one_root() {
        for leaves in [1, 2, 8, 9, 64, 65, 600] {
            let reduction = Reduction {
                id: 3,
                leaves,
                rows: 4,
                row_bytes: 8,
            };
            let steps = reduction.steps(StepId(10), "sum");
            assert_eq!(steps.len(), usize::from(reduction.levels()));
            let mut have: Vec<ObjectKey> = (0..leaves).map(|index| reduction.leaf(index)).collect();
            for step in &steps {
                let read: Vec<ObjectKey> = step
                    .tasks
                    .iter()
                    .flat_map(|task| &task.reads)
                    .flat_map(|read| read.keys.keys())
                    .collect();
                assert_eq!(read, have, "every node is read once");
                assert_eq!(
                    step.frees,
                    have.iter()
                        .map(|&key| KeyRange::One(key))
                        .collect::<Vec<_>>()
                );
                have = step
                    .tasks
                    .iter()
                    .flat_map(|task| task.writes.clone())
                    .collect();
            }
            assert_eq!(have, [reduction.root()]);
        }
    }
}
