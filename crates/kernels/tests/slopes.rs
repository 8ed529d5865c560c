//! Scores and gradients of a line against a naive f64 reference, bit for bit across instruction sets and wherever lines are cut.

use kernels::losses::Loss;
use kernels::{Losses, Rows, Simd, Weights, slopes};
use proptest::prelude::*;

/// Deterministic numbers for data; their quality does not matter here.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as u32
    }

    fn signed(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Rows of two blocks, the second shorter, a row of one's own and ids, with targets.
struct Case {
    width: usize,
    blocks: [Vec<f32>; 2],
    own: Vec<f32>,
    ids: Vec<u32>,
    targets: Vec<f32>,
}

impl Case {
    fn new(seed: u64, width: usize, count: usize) -> Self {
        let mut numbers = Numbers(seed);
        let blocks = [32, 9].map(|rows| (0..rows * width).map(|_| numbers.signed()).collect());
        let own = (0..width).map(|_| numbers.signed()).collect();
        let ids = (0..count).map(|_| numbers.next() % 41).collect();
        let targets = (0..count).map(|_| (numbers.next() % 2) as f32).collect();
        Case {
            width,
            blocks,
            own,
            ids,
            targets,
        }
    }

    /// With targets of 1.
    fn run(&self, simd: Simd, loss: Loss, ids: &[u32], sums: &mut [f32]) -> Losses {
        self.run_to(simd, (loss, Weights::All(1.0)), ids, sums)
    }

    fn run_to(&self, simd: Simd, of: (Loss, Weights<'_>), ids: &[u32], sums: &mut [f32]) -> Losses {
        let blocks = self.blocks.each_ref().map(Vec::as_slice);
        let rows = Rows::new(&blocks, 5, self.width);
        slopes(simd, of, rows, &self.own, ids, sums)
    }

    /// The sums in f64 and the sum of losses; with each the size of its terms.
    fn reference(&self, loss: Loss, targets: &[f32]) -> (Vec<(f64, f64)>, f64) {
        let (mut sums, mut total) = (vec![(0.0, 0.0); self.width], 0.0);
        for (&id, &target) in self.ids.iter().zip(targets) {
            let row = &self.blocks[id as usize / 32][id as usize % 32 * self.width..][..self.width];
            let products = self.own.iter().zip(row);
            let score: f64 = products.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            let target = f64::from(target);
            let (value, slope) = match loss {
                Loss::Squared => (0.5 * (score - target).powi(2), score - target),
                _ => (
                    score.exp().ln_1p() - score * target,
                    1.0 / (1.0 + (-score).exp()) - target,
                ),
            };
            total += value;
            for (sum, &y) in sums.iter_mut().zip(row) {
                let term = slope * f64::from(y);
                *sum = (sum.0 + term, sum.1 + term.abs());
            }
        }
        (sums, total)
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

proptest! {
    #[test]
    fn gradients_and_losses_are_those_of_the_reference_on_every_path(
        seed in any::<u64>(),
        vectors in 1_usize..=32,
        count in 0_usize..60,
        (squared, each) in (any::<bool>(), any::<bool>()),
    ) {
        let case = Case::new(seed, 16 * vectors, count);
        let loss = if squared { Loss::Squared } else { Loss::Logistic };
        let ones = vec![1.0; count];
        let (targets, told) = if each {
            (&case.targets, Weights::Each(&case.targets))
        } else {
            (&ones, Weights::All(1.0))
        };
        let (exact, total) = case.reference(loss, targets);
        let mut first: Option<(Vec<u32>, Losses)> = None;
        for simd in Simd::available() {
            let mut sums = vec![0.0; case.width];
            let losses = case.run_to(simd, (loss, told), &case.ids, &mut sums);
            for (sum, (exact, sizes)) in sums.iter().zip(&exact) {
                prop_assert!((f64::from(*sum) - exact).abs() <= 2e-5 * (sizes + 1.0), "{sum} instead of {exact}");
            }
            let slack = 2e-5 * total + 1e-6 * count as f64;
            prop_assert!((losses.total() - total).abs() <= slack, "{} instead of {total}", losses.total());
            let now = (bits(&sums), losses);
            prop_assert_eq!(first.get_or_insert_with(|| now.clone()), &now, "{} differs", simd);
        }
    }

    #[test]
    fn a_cut_line_changes_no_bit(seed in any::<u64>(), count in 1_usize..40, cut in 0_usize..40) {
        let (case, simd, cut) = (Case::new(seed, 48, count), Simd::detect(), cut.min(count));
        let (mut whole, mut parts) = (vec![0.0; 48], vec![0.0; 48]);
        let all = case.run(simd, Loss::Logistic, &case.ids, &mut whole);
        let (head, tail) = case.ids.split_at(cut);
        let first = case.run(simd, Loss::Logistic, head, &mut parts);
        let second = case.run(simd, Loss::Logistic, tail, &mut parts);
        prop_assert_eq!(bits(&whole), bits(&parts));
        prop_assert_eq!(all, second.and(first));
    }
}

#[test]
fn a_loss_out_of_bounds_spoils_the_sum() {
    let mut case = Case::new(1, 16, 5);
    case.own.fill(1e10);
    for loss in [Loss::Squared, Loss::Logistic] {
        let spoilt = case.run(Simd::detect(), loss, &case.ids, &mut [0.0; 16]);
        assert!(spoilt.total().is_nan() && spoilt.and(Losses::default()).total().is_nan());
    }
    case.own.fill(f32::NAN);
    let spoilt = case.run(Simd::detect(), Loss::Logistic, &case.ids, &mut [0.0; 16]);
    assert!(spoilt.total().is_nan());
}
