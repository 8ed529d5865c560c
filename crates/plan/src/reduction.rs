//! Partials brought together: the fixed binary tree over task indices, added as the leaves come.
//!
//! **Invariant:** a node is the sum of its two children, left plus right, or the one child that is
//! there. So the bits of the root do not depend on the order in which leaves come.

use tensor::{PartialSpec, Reduced};

/// A task returned a partial of another shape than its step announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPartial {
    /// Its length.
    pub bytes: usize,
}

pub(crate) enum Node {
    Pending,
    Absent,
    Present(Vec<f64>),
}

/// The partials of one step while its tasks come in.
pub(crate) enum Reduction {
    None,
    /// A heap: the root is 1, the children of `n` are `2n` and `2n + 1`; leaves are the second half.
    Sum(Vec<Node>),
    Collect(Vec<Vec<u8>>),
}

impl Reduction {
    pub(crate) fn new(spec: PartialSpec, tasks: usize) -> Self {
        match spec {
            PartialSpec::None => Reduction::None,
            PartialSpec::Collect => Reduction::Collect(vec![Vec::new(); tasks]),
            PartialSpec::Sum => {
                let leaves = tasks.max(1).next_power_of_two();
                let mut nodes: Vec<Node> = (0..2 * leaves).map(|_| Node::Pending).collect();
                for leaf in tasks..leaves {
                    settle(&mut nodes, leaves + leaf, Node::Absent);
                }
                Reduction::Sum(nodes)
            }
        }
    }

    /// Takes the partial of a task; called once per task.
    pub(crate) fn take(&mut self, index: u32, partial: Vec<u8>) -> Result<(), BadPartial> {
        let bad = BadPartial {
            bytes: partial.len(),
        };
        match self {
            Reduction::None if partial.is_empty() => Ok(()),
            Reduction::None => Err(bad),
            Reduction::Collect(all) => {
                all[index as usize] = partial;
                Ok(())
            }
            Reduction::Sum(nodes) => {
                let (values, rest) = partial.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(bad);
                }
                let leaf = nodes.len() / 2 + index as usize;
                let node = if values.is_empty() {
                    Node::Absent
                } else {
                    Node::Present(
                        values
                            .iter()
                            .map(|bytes| f64::from_le_bytes(*bytes))
                            .collect(),
                    )
                };
                if settle(nodes, leaf, node) {
                    Ok(())
                } else {
                    Err(bad)
                }
            }
        }
    }

    /// The whole, once every task has given its partial.
    pub(crate) fn finish(self) -> Reduced {
        match self {
            Reduction::None => Reduced::None,
            Reduction::Collect(all) => Reduced::Collect(all),
            Reduction::Sum(mut nodes) => match nodes.swap_remove(1) {
                Node::Present(sum) => Reduced::Sum(sum),
                Node::Absent => Reduced::Sum(Vec::new()),
                Node::Pending => unreachable!("finish before every leaf came"),
            },
        }
    }
}

/// Puts a node in place and climbs as long as its sibling is settled too. False where two vectors that
/// are to be added differ in length.
fn settle(nodes: &mut [Node], mut at: usize, mut node: Node) -> bool {
    while at > 1 {
        let sibling = std::mem::replace(&mut nodes[at ^ 1], Node::Pending);
        let (left, right) = match (sibling, at.is_multiple_of(2)) {
            (Node::Pending, _) => break,
            (sibling, true) => (node, sibling),
            (sibling, false) => (sibling, node),
        };
        node = match (left, right) {
            (Node::Present(mut left), Node::Present(right)) => {
                if left.len() != right.len() {
                    return false;
                }
                left.iter_mut().zip(&right).for_each(|(l, r)| *l += r);
                Node::Present(left)
            }
            (Node::Present(one), _) | (_, Node::Present(one)) => Node::Present(one),
            _ => Node::Absent,
        };
        at /= 2;
    }
    nodes[at] = node;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(leaves: &[Option<f64>]) -> Option<f64> {
        if let [leaf] = leaves {
            *leaf
        } else {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            match (tree(left), tree(right)) {
                (Some(l), Some(r)) => Some(l + r),
                (one, other) => one.or(other),
            }
        }
    }

    #[test]
    fn the_order_of_arrival_changes_no_bit() {
        for tasks in [1_usize, 2, 3, 5, 8, 13, 64] {
            let leaves: Vec<Option<f64>> = (0..tasks)
                .map(|i| (i % 5 != 3).then(|| 0.1 * (i as f64 + 1.0).powi(7)))
                .collect();
            for stride in [1, 3, 7, 11]
                .into_iter()
                .filter(|s| tasks % s != 0 || *s == 1)
            {
                let mut sum = Reduction::new(PartialSpec::Sum, tasks);
                for i in 0..tasks {
                    let index = i * stride % tasks;
                    let bytes = leaves[index]
                        .map(|v| v.to_le_bytes().to_vec())
                        .unwrap_or_default();
                    sum.take(index as u32, bytes).unwrap();
                }
                let mut padded = leaves.clone();
                padded.resize(tasks.next_power_of_two(), None);
                let expected = tree(&padded).into_iter().collect();
                assert_eq!(
                    sum.finish(),
                    Reduced::Sum(expected),
                    "{tasks} tasks by {stride}"
                );
            }
        }
    }

    #[test]
    fn shapes_are_checked() {
        let mut sum = Reduction::new(PartialSpec::Sum, 2);
        assert_eq!(sum.take(0, vec![1, 2, 3]), Err(BadPartial { bytes: 3 }));
        sum.take(0, vec![0; 8]).unwrap();
        assert_eq!(sum.take(1, vec![0; 16]), Err(BadPartial { bytes: 16 }));
        assert_eq!(
            Reduction::new(PartialSpec::None, 1).take(0, vec![1]),
            Err(BadPartial { bytes: 1 })
        );
        assert_eq!(
            Reduction::new(PartialSpec::Sum, 0).finish(),
            Reduced::Sum(Vec::new())
        );
    }
}
