//! Records of a segment in the order of an orientation.
//!
//! A record is a few 32-bit words: row, column, time bin (where there is time), context (where there is context), value
//! (f64, where there are values).

use crate::op::{Blocks, EdgeRule, Shape};
use tensor::Small;

/// A segment's records with row ids, column by column, in the order of the file.
pub struct Translated {
    /// Row ids of users.
    pub users: Vec<u32>,
    /// Row ids of products.
    pub products: Vec<u32>,
    /// Bins of the data set and contexts; empty where there are none.
    pub small: Small<Vec<u32>>,
    /// Values, two words each; empty where there are none.
    pub values: Vec<[u32; 2]>,
}

impl Translated {
    /// Of records with local ranks; `users`, `products` and, where they are ids, `contexts` are the rows of those.
    pub fn new(
        records: &[u32],
        shape: Shape,
        users: &[u32],
        products: &[u32],
        contexts: Option<&[u32]>,
        first_bin: i64,
    ) -> Self {
        let records = records.chunks_exact(shape.words());
        let count = records.len();
        let mut translated = Translated {
            users: Vec::with_capacity(count),
            products: Vec::with_capacity(count),
            small: shape
                .small
                .map(|has| Vec::with_capacity(if has { count } else { 0 })),
            values: Vec::with_capacity(if shape.value { count } else { 0 }),
        };
        for record in records {
            translated.users.push(users[record[0] as usize]);
            translated.products.push(products[record[1] as usize]);
            let small = shape.small_of(record).unwrap_or_default();
            if shape.small.time {
                let bin = i64::from(small.time.cast_signed()) - first_bin;
                translated.small.time.push(bin as u32);
            }
            if shape.small.context {
                let row = contexts.map_or(small.context, |rows| rows[small.context as usize]);
                translated.small.context.push(row);
            }
            if shape.value {
                let at = shape.value_at();
                translated.values.push([record[at], record[at + 1]]);
            }
        }
        translated
    }

    /// Edges out of records whose rows count from 1, 0 being unknown; and how many were unknown, and how many join a row with itself.
    /// An edge and the one back stand beside each other, so that both are combined in the order of the file.
    pub fn edges(self, rule: EdgeRule) -> (Translated, u64, u64) {
        let mut edges = Translated {
            users: Vec::new(),
            products: Vec::new(),
            small: Small::default(),
            values: Vec::new(),
        };
        let (mut unknown, mut loops) = (0, 0);
        for (place, ends) in self.users.iter().zip(&self.products).enumerate() {
            let (Some(from), Some(to)) = (ends.0.checked_sub(1), ends.1.checked_sub(1)) else {
                unknown += 1;
                continue;
            };
            let mut push = |from: u32, to: u32| {
                edges.users.push(from);
                edges.products.push(to);
                edges.values.extend(self.values.get(place));
            };
            push(from, to);
            if from == to {
                loops += 1;
            } else if rule == EdgeRule::Both {
                push(to, from);
            }
        }
        (edges, unknown, loops)
    }

    /// The records sorted by (row, column, time, context, place in the file), and where each block begins.
    pub fn ordered(&self, by_user: bool, blocks: Blocks) -> Ordered {
        let (rows, columns) = if by_user {
            (&self.users, &self.products)
        } else {
            (&self.products, &self.users)
        };
        let small = self.small.as_ref().map(Vec::as_slice);
        let order = order(rows, columns, small);
        let shape = Shape {
            small: small.map(|ids| !ids.is_empty()),
            value: !self.values.is_empty(),
        };
        let mut words = Vec::with_capacity(order.len() * shape.words());
        let mut starts = vec![0_u32; blocks.count as usize + 1];
        for &place in &order {
            let place = place as usize;
            words.extend_from_slice(&[rows[place], columns[place]]);
            for (_, ids) in small.each() {
                words.extend(ids.get(place));
            }
            if shape.value {
                words.extend_from_slice(&self.values[place]);
            }
            let block = u64::from(rows[place]) >> blocks.stride_log2;
            starts[block as usize + 1] += 1;
        }
        for block in 0..blocks.count as usize {
            starts[block + 1] += starts[block];
        }
        Ordered { words, starts }
    }
}

/// Sorted records.
pub struct Ordered {
    /// The records.
    pub words: Vec<u32>,
    /// The first record of each block, and the number of all.
    pub starts: Vec<u32>,
}

/// The places of the records in the order (row, column, time, context, place). Keys are packed into 64 bits where they fit.
fn order(rows: &[u32], columns: &[u32], small: Small<&[u32]>) -> Vec<u32> {
    let bits = |numbers: &[u32]| {
        let largest = numbers.iter().copied().max().unwrap_or(0);
        u32::BITS - largest.leading_zeros()
    };
    let (row_bits, column_bits, small_bits) = (bits(rows), bits(columns), small.map(bits));
    let place_bits = usize::BITS - rows.len().leading_zeros();
    let total = row_bits + column_bits + small_bits.time + small_bits.context + place_bits;
    assert!(
        total <= u128::BITS,
        "bins, contexts and segments have their limits"
    );
    let at = |place: usize| small.map(|ids| ids.get(place).copied().unwrap_or(0));
    if total <= u64::BITS {
        let mut keys: Vec<u64> = (0..rows.len())
            .map(|place| {
                let small = at(place);
                let key = u64::from(rows[place]) << column_bits | u64::from(columns[place]);
                let key = key << small_bits.time | u64::from(small.time);
                let key = key << small_bits.context | u64::from(small.context);
                key << place_bits | place as u64
            })
            .collect();
        keys.sort_unstable();
        let mask = (1 << place_bits) - 1;
        return keys.into_iter().map(|key| (key & mask) as u32).collect();
    }
    let mut keys: Vec<u128> = (0..rows.len())
        .map(|place| {
            let small = at(place);
            let key = u64::from(rows[place]) << 32 | u64::from(columns[place]);
            let key = u128::from(key) << small_bits.time | u128::from(small.time);
            let key = key << small_bits.context | u128::from(small.context);
            key << place_bits | place as u128
        })
        .collect();
    keys.sort_unstable();
    let mask = (1 << place_bits) - 1;
    keys.into_iter().map(|key| (key & mask) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_widths_of_keys_give_the_naive_order(
            records in proptest::collection::vec((0_u32..9, 0_u32..9, 0_u32..3, 0_u32..3), 0..200),
            wide in any::<bool>(),
        ) {
            let factor = if wide { 300_000_000 } else { 1 };
            let rows: Vec<u32> = records.iter().map(|r| r.0 * factor).collect();
            let columns: Vec<u32> = records.iter().map(|r| r.1 * factor).collect();
            let times: Vec<u32> = records.iter().map(|r| r.2 * factor).collect();
            let contexts: Vec<u32> = records.iter().map(|r| r.3).collect();
            let small = Small { time: &times[..], context: &contexts[..] };
            let mut expected: Vec<u32> = (0..records.len() as u32).collect();
            expected.sort_by_key(|&place| records[place as usize]);
            prop_assert_eq!(order(&rows, &columns, small), expected);
        }
    }

    #[test]
    fn edges_are_known_and_go_back_unless_they_are_directed() {
        let shape = Shape {
            small: Small::default(),
            value: true,
        };
        // (from, to, weight): an edge, one of an unknown row, a loop.
        let records = [0, 1, 7, 8, 2, 0, 1, 1, 1, 1, 5, 6];
        let rows = [4, 9, 0];
        let translated = || Translated::new(&records, shape, &rows, &rows, None, 0);
        let (edges, unknown, loops) = translated().edges(EdgeRule::Both);
        assert_eq!((unknown, loops), (1, 1));
        assert_eq!(
            (edges.users, edges.products),
            (vec![3, 8, 8], vec![8, 3, 8])
        );
        assert_eq!(edges.values, [[7, 8], [7, 8], [5, 6]]);
        let (edges, ..) = translated().edges(EdgeRule::Directed);
        assert_eq!((edges.users, edges.products), (vec![3, 8], vec![8, 8]));
    }

    #[test]
    fn blocks_begin_where_their_rows_do() {
        let shape = Shape {
            small: Small {
                time: true,
                context: true,
            },
            value: false,
        };
        // (user, product, absolute bin, context)
        let records = [0, 1, 100, 1, 1, 0, 101, 0, 0, 0, 100, 1];
        let translated = Translated::new(&records, shape, &[9, 2], &[4, 5], Some(&[6, 3]), 100);
        let blocks = Blocks {
            count: 3,
            stride_log2: 2,
        };
        let ordered = translated.ordered(true, blocks);
        assert_eq!(ordered.words, [2, 4, 1, 6, 9, 4, 0, 3, 9, 5, 0, 3]);
        assert_eq!(ordered.starts, [0, 1, 1, 3]);
    }
}
