//! Scores of a stretch of products for some users, masked and fused with the selection of the best.
//!
//! **Invariant:** a score is one chain of fused multiply-adds in the order of the columns of the factors, so it does not
//! depend on how users and products are cut.

use crate::evaluate::ProductRow;
use crate::rank::{Best, Entry};

/// Users scored together.
pub const USERS: usize = 64;

/// Products with consecutive row ids.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// The row id of the first.
    pub first: u32,
    /// What is known of each.
    pub products: &'a [ProductRow],
    /// A row of factors each.
    pub factors: &'a [f32],
    /// f32 per row of factors.
    pub width: usize,
}

/// Offers every candidate of the stretch that is not masked to the best of each user.
///
/// `masks` are rising row ids, one list a user; `users` holds a row of factors each.
pub fn absorb(users: &[f32], masks: &[&[u32]], stretch: &Stretch<'_>, best: &mut [&mut Best<f32>]) {
    for ((user, mask), best) in users.chunks_exact(stretch.width).zip(masks).zip(best) {
        let mut mask = mask[mask.partition_point(|&product| product < stretch.first)..].iter().copied().peekable();
        let factors = stretch.factors.chunks_exact(stretch.width);
        for ((product, row), factor) in (stretch.first..).zip(stretch.products).zip(factors) {
            let masked = mask.next_if_eq(&product).is_some();
            if masked || row.popularity == 0 {
                continue;
            }
            let score = user.iter().zip(factor).fold(0.0_f32, |sum, (u, v)| u.mul_add(*v, sum));
            best.offer(Entry { score, tie: row.tie, product, popularity: row.popularity });
        }
    }
}

/// `users ∘ time`, row by row.
pub fn at_time(users: &mut [f32], time: &[f32]) {
    for user in users.chunks_exact_mut(time.len()) {
        user.iter_mut().zip(time).for_each(|(u, t)| *u *= t);
    }
}
