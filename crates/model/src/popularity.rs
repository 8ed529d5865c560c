//! Popularity of products: the number of their distinct users in training, the same for a matrix and a tensor.

use crate::evaluate::ProductRow;
use crate::metrics::Listed;
use crate::rank::Entry;
use tensor::csr::CsrRef;

/// Counts the distinct users of each product of a product-major block, piece by piece: in canonical order equal users
/// are neighbours.
#[derive(Clone, Debug)]
pub struct DistinctUsers {
    counts: Vec<u32>,
    last: Option<(usize, u32)>,
}

impl DistinctUsers {
    /// Of a block of `rows` products.
    pub fn new(rows: usize) -> Self {
        DistinctUsers {
            counts: vec![0; rows],
            last: None,
        }
    }

    /// Adds the piece that follows; its row 0 is the block's row `first`.
    pub fn absorb(&mut self, piece: &CsrRef<'_>, first: usize) {
        for row in 0..piece.rows() {
            for &user in &piece.columns()[piece.row(row)] {
                let next = Some((first + row, user));
                self.counts[first + row] += u32::from(self.last != next);
                self.last = next;
            }
        }
    }

    /// One count a product.
    pub fn counts(self) -> Vec<u32> {
        self.counts
    }
}

/// The most popular candidates, as many as any user of a block needs after masking.
#[derive(Clone, Debug)]
pub struct Popular<S = (u32, u32)> {
    wanted: usize,
    entries: Vec<Entry<S>>,
}

impl Popular {
    /// Will hold the best `wanted`: the longest list plus the largest mask.
    pub fn new(wanted: usize) -> Self {
        Popular {
            wanted,
            entries: Vec::new(),
        }
    }

    /// Adds products with consecutive row ids, ranked by `score`.
    pub fn absorb(
        &mut self,
        first: u32,
        products: &[ProductRow],
        score: impl Fn(&ProductRow) -> (u32, u32),
    ) {
        for (product, row) in (first..)
            .zip(products)
            .filter(|(_, row)| row.popularity > 0)
        {
            self.entries.push(Entry {
                score: score(row),
                tie: row.tie,
                product,
                popularity: row.popularity,
            });
            if self.entries.len() >= 2 * self.wanted + 1024 {
                self.cut();
            }
        }
    }

    /// Sorts, once all products were absorbed.
    pub fn close(&mut self) {
        self.cut();
        self.entries.sort_unstable_by(Entry::rank);
    }

    fn cut(&mut self) {
        if self.entries.len() > self.wanted {
            self.entries
                .select_nth_unstable_by(self.wanted, Entry::rank);
            self.entries.truncate(self.wanted);
        }
    }

    /// Fills `list` up to `k` with the most popular products that are not in `masked` (rising).
    pub fn fill(&self, masked: &[u32], k: u32, list: &mut Vec<Listed>) {
        let open = self
            .entries
            .iter()
            .filter(|entry| masked.binary_search(&entry.product).is_err());
        let missing = (k as usize).saturating_sub(list.len());
        list.extend(open.take(missing).map(|entry| Listed {
            product: entry.product,
            popularity: entry.popularity,
        }));
    }

    /// Bytes that a list of `wanted` may take.
    pub fn bytes(wanted: usize) -> u64 {
        (2 * wanted as u64 + 1024) * 2 * size_of::<Entry<(u32, u32)>>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::Small;
    use tensor::csr::Values;

    #[test]
    fn a_user_of_many_bins_counts_once_wherever_the_block_is_cut() {
        let (offsets, users) = ([0, 4, 4, 6], [3, 3, 7, 8, 3, 3]);
        for cut in 0..=users.len() {
            let mut distinct = DistinctUsers::new(3);
            for range in [0..cut, cut..users.len()] {
                let piece = CsrRef::new(
                    &offsets,
                    range.start as u64,
                    &users[range],
                    Small::default(),
                    Values::All(1.0),
                    Some(9),
                )
                .unwrap();
                distinct.absorb(&piece, 0);
            }
            assert_eq!(distinct.counts(), [3, 0, 1], "cut at {cut}");
        }
    }

    #[test]
    fn the_popular_list_is_that_of_a_full_sort_after_masking() {
        let rows: Vec<ProductRow> = (0..5000_u32)
            .map(|i| ProductRow {
                tie: crate::bootstrap::mix(u64::from(i)),
                popularity: i * 7919 % 40,
                ..ProductRow::default()
            })
            .collect();
        let mut popular = Popular::new(13);
        for (index, chunk) in rows.chunks(700).enumerate() {
            popular.absorb(index as u32 * 700, chunk, |row| (row.popularity, 0));
        }
        popular.close();
        let mut order: Vec<u32> = (0..5000)
            .filter(|&i| rows[i as usize].popularity > 0)
            .collect();
        order.sort_by_key(|&i| {
            (
                std::cmp::Reverse(rows[i as usize].popularity),
                rows[i as usize].tie,
            )
        });
        let mut masked = order[1..4].to_vec();
        masked.sort_unstable();
        let mut list = Vec::new();
        popular.fill(&masked, 10, &mut list);
        let expected: Vec<u32> = order
            .iter()
            .copied()
            .filter(|p| !masked.contains(p))
            .take(10)
            .collect();
        assert_eq!(list.iter().map(|l| l.product).collect::<Vec<_>>(), expected);
    }
}
