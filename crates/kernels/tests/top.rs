//! Fused top-k against a full sort, bit for bit across instruction sets and cuts.

use kernels::{
    Added, Caps, Products, Random, Ranked, Rows, Simd, Users, finish, pack_products, packed_len,
    rank, rank_scratch,
};
use proptest::prelude::*;

/// From one user to the next: room for whole vectors from any product on.
fn stride(products: usize) -> usize {
    products + 16
}

/// Products and users with many equal scores.
struct Case {
    width: usize,
    users: Vec<f32>,
    factors: Vec<f32>,
    ties: Vec<u64>,
    biases: Option<Vec<f32>>,
    added: Option<Vec<f32>>,
    masks: Vec<Vec<u32>>,
    /// The group of each product, and the most of one.
    caps: Option<(Vec<u32>, u32)>,
}

impl Case {
    fn new(
        seed: u64,
        width: usize,
        users: usize,
        products: usize,
        (biased, adds): (bool, bool),
    ) -> Self {
        let small = |purpose: u32, row: usize, draw: u32| {
            (Random::new(seed, purpose, 0, row as u32).word(draw) % 5) as f32 - 2.0
        };
        let rows = |purpose, count: usize| -> Vec<f32> {
            (0..count)
                .flat_map(|row| (0..width).map(move |k| small(purpose, row, k as u32) / 3.0))
                .collect()
        };
        let masked = |u: usize, j: usize| {
            Random::new(seed, 4, u as u32, j as u32)
                .word(0)
                .is_multiple_of(3)
        };
        Case {
            width,
            users: rows(0, users),
            // Every product twice, so that whole scores are tied.
            factors: rows(1, products.div_ceil(2)).repeat(2)[..products * width].to_vec(),
            ties: (0..products)
                .map(|j| u64::from(Random::new(seed, 2, 0, j as u32).word(0) % 7))
                .collect(),
            biases: biased.then(|| (0..products).map(|j| small(3, j, 0)).collect()),
            added: adds.then(|| {
                let all = (0..users * stride(products)).map(|i| small(5, i, 0) / 7.0);
                all.collect()
            }),
            masks: (0..users)
                .map(|u| {
                    (0..products)
                        .filter(|&j| masked(u, j))
                        .map(|j| j as u32)
                        .collect()
                })
                .collect(),
            caps: None,
        }
    }

    /// With so many groups, beside products of none, of which a list holds at most some.
    fn capped(mut self, seed: u64, groups: u32, most: u32) -> Self {
        let group = |j: usize| {
            let drawn = Random::new(seed, 6, 0, j as u32).word(0) % (groups + 1);
            if drawn == groups {
                Ranked::NO_GROUP
            } else {
                drawn
            }
        };
        self.caps = Some(((0..self.ties.len()).map(group).collect(), most));
        self
    }

    fn group(&self, j: usize) -> u32 {
        let caps = self.caps.as_ref();
        caps.map_or(Ranked::NO_GROUP, |(groups, _)| groups[j])
    }

    /// The k best, products in blocks of `product_cut`, users of `user_cut`.
    fn ranked(
        &self,
        simd: Simd,
        k: usize,
        product_cut: usize,
        user_cut: usize,
    ) -> Vec<Vec<Ranked>> {
        let (width, mut scratch) = (self.width, vec![f32::NAN; rank_scratch()]);
        let mut best = vec![Ranked::NONE; self.masks.len() * k];
        let masks: Vec<&[u32]> = self.masks.iter().map(Vec::as_slice).collect();
        let ids: Vec<u32> = (0..self.ties.len() as u32).collect();
        for (block, rows) in ids.chunks(product_cut).enumerate() {
            let mut packed = vec![f32::NAN; packed_len(width, rows.len())];
            pack_products(
                simd,
                Rows::contiguous(&[&self.factors], width),
                rows,
                &mut packed,
            );
            let range = block * product_cut..block * product_cut + rows.len();
            let biases = self.biases.as_ref().map(|biases| &biases[range.clone()]);
            let products = Products {
                packed: &packed,
                rows,
                ties: &self.ties[range.clone()],
                biases,
                caps: self.caps.as_ref().map(|(groups, most)| Caps {
                    groups: &groups[range.clone()],
                    most: *most,
                }),
            };
            let places = best.chunks_mut(user_cut * k);
            let stride = stride(self.ties.len());
            for (((factors, masks), best), first) in self
                .users
                .chunks(user_cut * width)
                .zip(masks.chunks(user_cut))
                .zip(places)
                .zip((0..).step_by(user_cut))
            {
                let added = self.added.as_ref().map(|added| Added {
                    scores: &added[first * stride + range.start..],
                    stride,
                });
                let users = Users { factors, added };
                rank(simd, width, users, products, masks, k, &mut scratch, best);
            }
        }
        let taken = |places: &mut [Ranked]| {
            let count = finish(places);
            places[..count].to_vec()
        };
        best.chunks_mut(k).map(taken).collect()
    }

    fn sorted(&self, k: usize) -> Vec<Vec<Ranked>> {
        let of_user = |(u, (user, mask)): (usize, (&[f32], &Vec<u32>))| {
            let offers = self
                .factors
                .chunks(self.width)
                .enumerate()
                .filter(|(j, _)| !mask.contains(&(*j as u32)));
            let mut all: Vec<Ranked> = offers
                .map(|(j, product)| {
                    let chain = user
                        .iter()
                        .zip(product)
                        .fold(0.0_f32, |sum, (x, y)| x.mul_add(*y, sum));
                    let added = self.added.as_ref();
                    let added = added.map_or(0.0, |added| added[u * stride(self.ties.len()) + j]);
                    let bias = self.biases.as_ref().map_or(0.0, |biases| biases[j]);
                    let score = chain + added + bias + 0.0;
                    Ranked {
                        score,
                        tie: self.ties[j],
                        row: j as u32,
                        group: self.group(j),
                    }
                })
                .collect();
            all.sort_by(Ranked::compare);
            // From the best down, whatever still has room in its group.
            let (most, mut listed) = (self.caps.as_ref().map(|caps| caps.1), Vec::new());
            for ranked in all {
                let same = |other: &&Ranked| {
                    ranked.group != Ranked::NO_GROUP && other.group == ranked.group
                };
                let held = listed.iter().filter(same).count() as u32;
                if listed.len() < k && most.is_none_or(|most| held < most) {
                    listed.push(ranked);
                }
            }
            listed
        };
        self.users
            .chunks(self.width)
            .zip(&self.masks)
            .enumerate()
            .map(of_user)
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_best_are_those_of_a_full_sort(
        seed: u64, blocks in 1_usize..6, users in 1_usize..30, products in 1_usize..700, k in 1_usize..40,
        biased: bool, adds: bool, product_cut in 1_usize..700, user_cut in 1_usize..30,
    ) {
        let case = Case::new(seed, 16 * blocks, users, products, (biased, adds));
        let expected = case.sorted(k);
        for simd in Simd::available() {
            prop_assert_eq!(&case.ranked(simd, k, product_cut, user_cut), &expected, "{}", simd);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn capped_lists_are_those_of_a_full_sort(
        seed: u64, users in 1_usize..20, products in 1_usize..400, k in 1_usize..30, groups in 1_u32..20, most in 1_u32..5,
        product_cut in 1_usize..400, user_cut in 1_usize..20,
    ) {
        let case = Case::new(seed, 16, users, products, (true, false)).capped(seed, groups, most);
        let expected = case.sorted(k);
        for simd in Simd::available() {
            prop_assert_eq!(&case.ranked(simd, k, product_cut, user_cut), &expected, "{}", simd);
        }
    }
}

#[test]
fn a_score_that_is_no_number_is_never_ranked() {
    let mut case = Case::new(1, 16, 1, 20, (false, false));
    case.masks[0].clear();
    case.factors[5 * 16] = f32::NAN;
    for simd in Simd::available() {
        let ranked = case.ranked(simd, 20, 20, 1);
        assert_eq!(ranked[0].len(), 19);
        assert!(ranked[0].iter().all(|place| place.row != 5));
    }
}
