//! What segments buy, and how they lie among the levels of attributes.

use super::NO_SEGMENT;
use super::compare::lift;
use super::ops::{Bought, ContingencyOp, ProfileOp, ProfileTally};
use crate::facts::{Pairs, Places};
use tensor::CsrRef;
use tensor::attributes::MISSING;

/// Rows of each segment and level, as the op says. `labels` are segment and distance, `words` those of attributes.
///
/// # Panics
/// Where there are not as many rows of both.
pub fn contingency(op: &ContingencyOp, labels: &[u32], words: &[u32]) -> Vec<f64> {
    let attributes = op.attributes as usize;
    assert_eq!(
        labels.len() * attributes,
        words.len() * 2,
        "words of every row"
    );
    let mut sums = Vec::new();
    for &(place, levels) in &op.compared {
        let columns = levels as usize + 1;
        let mut counts = vec![0.0; op.segments as usize * columns];
        let rows = labels.chunks_exact(2).zip(words.chunks_exact(attributes));
        for (label, words) in rows.filter(|(label, _)| label[0] != NO_SEGMENT) {
            counts[label[0] as usize * columns + level(words[place as usize], levels)] += 1.0;
        }
        sums.append(&mut counts);
    }
    sums
}

/// The column of a word: those without the attribute are behind the levels.
fn level(word: u32, levels: u32) -> usize {
    if word == MISSING {
        levels as usize
    } else {
        word.min(levels) as usize
    }
}

/// A segment as it is kept for every user.
const NONE: u8 = u8::MAX;

/// A [`ProfileOp`] in progress.
#[derive(Debug)]
pub struct Profiling {
    op: ProfileOp,
    /// Of users, and their segments by place.
    users: Option<(Places, Vec<u8>)>,
    pairs: Pairs,
    /// Of each product, its buyers in each segment.
    buyers: Vec<u32>,
}

impl Profiling {
    /// Bytes that a user takes.
    pub const USER_BYTES: u64 = 1;

    /// A block of so many products, of which nothing is known yet. Segments come with [`Profiling::labels`].
    pub fn new(op: ProfileOp, products: usize) -> Self {
        let users = op.users.as_ref().map(|grid| {
            let labels = Vec::with_capacity(grid.rows_total() as usize);
            (Places::new(grid), labels)
        });
        Profiling {
            buyers: vec![0; products * op.sizes.len()],
            pairs: Pairs::default(),
            users,
            op,
        }
    }

    /// The segments of the next block of users.
    pub fn labels(&mut self, labels: &[u32]) {
        if let Some((_, known)) = &mut self.users {
            let labels = labels.chunks_exact(2);
            known.extend(labels.map(|label| u8::try_from(label[0]).unwrap_or(NONE)));
        }
    }

    /// Takes a piece of the partition of the products, whose segments are `own` where the users have none; a user that the grid lacks.
    pub fn absorb(&mut self, csr: &CsrRef<'_>, first: usize, own: &[u32]) -> Option<u32> {
        let (users, buyers, segments) = (&self.users, &mut self.buyers, self.op.sizes.len());
        let mut lacks = None;
        self.pairs.each(csr, first, |product, user| {
            let segment = match users {
                Some((places, labels)) => {
                    let place = places.of(user);
                    lacks = lacks.or(place.is_none().then_some(user));
                    let label = place.and_then(|place| labels.get(place as usize));
                    label.copied().unwrap_or(NONE)
                }
                None => u8::try_from(own[2 * product]).unwrap_or(NONE),
            };
            if let Some(count) = buyers[product * segments..][..segments].get_mut(segment as usize)
            {
                *count += 1;
            }
        });
        lacks
    }

    /// What was found; `words` are those of the products' attributes.
    pub fn finish(self, words: &[u32]) -> ProfileTally {
        let op = &self.op;
        let (segments, total) = (op.sizes.len(), op.sizes.iter().sum::<u64>());
        let mut found = ProfileTally {
            popular: vec![Vec::new(); segments],
            own: vec![Vec::new(); segments],
            pairs: vec![0; segments],
            levels: op
                .compared
                .iter()
                .map(|&(_, levels)| vec![0; (levels as usize + 1) * segments])
                .collect(),
            ..ProfileTally::default()
        };
        let mut owned: Vec<Vec<(f64, Bought)>> = vec![Vec::new(); segments];
        for (place, buyers) in self.buyers.chunks_exact(segments.max(1)).enumerate() {
            let all = buyers.iter().sum::<u32>();
            if all == 0 {
                continue;
            }
            let product = op.first + place as u32;
            let bought = |buyers| Bought {
                product,
                buyers,
                all,
            };
            found.popular_of_all.push(bought(all));
            for (segment, &count) in buyers.iter().enumerate().filter(|(_, count)| **count > 0) {
                found.pairs[segment] += u64::from(count);
                found.popular[segment].push(bought(count));
                let beyond = lift(count.into(), op.sizes[segment], all.into(), total);
                if let Some((_, lower)) = beyond.filter(|(_, lower)| *lower > 1.0)
                    && count >= op.count_min
                    && op.users.is_some()
                {
                    owned[segment].push((lower, bought(count)));
                }
            }
            for (&(at, levels), counts) in op.compared.iter().zip(&mut found.levels) {
                let word = words[place * op.attributes as usize + at as usize];
                let counts = &mut counts[level(word, levels) * segments..][..segments];
                counts
                    .iter_mut()
                    .zip(buyers)
                    .for_each(|(sum, &count)| *sum += u64::from(count));
            }
        }
        for (to, mut owned) in found.own.iter_mut().zip(owned) {
            owned.sort_by(|(x, of_x), (y, of_y)| {
                y.total_cmp(x).then(of_x.product.cmp(&of_y.product))
            });
            owned.truncate(op.top as usize);
            to.extend(owned.into_iter().map(|(_, bought)| bought));
        }
        for list in found.popular.iter_mut().chain([&mut found.popular_of_all]) {
            most_bought(list, op.top);
        }
        found
    }
}

/// The products that most buy, the first `top` of them.
pub(super) fn most_bought(list: &mut Vec<Bought>, top: u32) {
    list.sort_by_key(|bought| (std::cmp::Reverse(bought.buyers), bought.product));
    list.truncate(top as usize);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::csr::Values;
    use tensor::{Grid, Small};

    #[test]
    fn products_are_told_by_their_buyers() {
        let grid = Grid {
            stride_log2: 2,
            rows: vec![3, 2],
        };
        let op = ProfileOp {
            users: Some(grid),
            first: 8,
            sizes: vec![2, 2],
            count_min: 1,
            top: 2,
            attributes: 1,
            compared: vec![(0, 2)],
        };
        let mut profiling = Profiling::new(op, 3);
        // Users 0, 1, 2 of the first block, 4 and 5 of the second; 2 is in no segment.
        profiling.labels(&[0, 0, 1, 0, NO_SEGMENT, 0]);
        profiling.labels(&[0, 0, 1, 0]);
        let offsets = [0, 4, 6, 8];
        let columns = [0, 0, 2, 4, 1, 5, 0, 1];
        let (small, values) = (Small::default(), Values::All(1.0));
        let csr = CsrRef::new(&offsets, 0, &columns, small, values, None).unwrap();
        assert_eq!(profiling.absorb(&csr, 0, &[]), None);
        let found = profiling.finish(&[0, MISSING, 1]);
        let bought = |product, buyers, all| Bought {
            product,
            buyers,
            all,
        };
        assert_eq!(found.popular[0], [bought(8, 2, 2), bought(10, 1, 2)]);
        assert_eq!(found.popular[1], [bought(9, 2, 2), bought(10, 1, 2)]);
        assert_eq!(found.popular_of_all, [bought(8, 2, 2), bought(9, 2, 2)]);
        assert_eq!(found.pairs, [3, 3]);
        assert_eq!(found.levels, [[2, 0, 1, 1, 0, 2]]);
    }

    #[test]
    fn rows_are_counted_by_segment_and_level() {
        let op = ContingencyOp {
            segments: 2,
            attributes: 2,
            compared: vec![(1, 2)],
        };
        let labels = [1, 0, 0, 0, NO_SEGMENT, 0, 1, 0];
        let words = [9, 0, 9, 1, 9, 1, 9, MISSING];
        assert_eq!(
            contingency(&op, &labels, &words),
            [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
        );
    }
}
