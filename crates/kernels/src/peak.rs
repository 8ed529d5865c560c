//! What the machine could do at most: fused multiply-adds on registers, nothing else. Benchmarks divide by it.

use crate::simd::{Kernel, Simd};
use crate::vector::Vector;

/// Runs `rounds` rounds of multiply-adds; gives the floating-point operations done and a number that depends on all
/// of them.
pub fn multiply_add(simd: Simd, rounds: u64) -> (u64, f32) {
    simd.run(Peak { rounds })
}

struct Peak {
    rounds: u64,
}

impl Kernel for Peak {
    type Output = (u64, f32);

    #[inline(always)]
    fn run<V: Vector>(self) -> (u64, f32) {
        // As many chains as fit in registers: 16 of one register, or 6 of two.
        if V::WIDE {
            chains::<V, 16>(self.rounds)
        } else {
            chains::<V, 6>(self.rounds)
        }
    }
}

#[inline(always)]
fn chains<V: Vector, const N: usize>(rounds: u64) -> (u64, f32) {
    let (factor, term) = (V::splat(0.999), V::splat(0.001));
    let mut sums = [V::splat(1.0); N];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = V::splat(i as f32);
    }
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.fma(factor, term);
        }
    }
    let total = sums.iter().fold(0.0, |total, sum| total + sum.sum());
    (rounds * (N * crate::LANES * 2) as u64, total)
}
