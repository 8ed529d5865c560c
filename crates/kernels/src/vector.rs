//! Sixteen lanes of f32: the one small vocabulary that the kernels are written in.
//!
//! Every operation is IEEE in every lane, so two implementations differ in speed only.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use crate::LANES;

/// Sixteen f32 lanes. The methods must be called from inside a function that enables the instructions of the type,
/// which `Simd::run` sees to.
pub(crate) trait Vector: Copy {
    /// Whether the machine keeps 32 such vectors in registers; otherwise about 8.
    const WIDE: bool;

    fn splat(value: f32) -> Self;

    /// # Safety
    /// `from` points at 16 readable floats; no alignment is asked for.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` points at 16 writable floats; no alignment is asked for.
    unsafe fn store(self, to: *mut f32);

    /// Asks for the cache line at an address that need not be valid.
    fn prefetch(address: *const f32);

    /// The same, into the second-level cache only.
    fn prefetch_near(address: *const f32);

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;

    /// In each lane the larger; the other's where one is not a number.
    fn max(self, other: Self) -> Self;

    /// self · factor + term, rounded once.
    fn fma(self, factor: Self, term: Self) -> Self;

    /// term − self · factor, rounded once.
    fn fnma(self, factor: Self, term: Self) -> Self;

    /// Bit i is set where lane i is at least that of the other; never where one is not a number.
    fn at_least(self, other: Self) -> u32;

    /// Rows of a 16 × 16 square become its columns.
    fn transpose(square: &mut [Self; LANES]);

    /// The lanes, the first first.
    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: the array has 16 floats.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }

    /// The sum of the lanes by halves: lane i with lane i + 8, then + 4, + 2, + 1.
    #[inline(always)]
    fn sum(self) -> f32 {
        let mut lanes = self.lanes();
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }

    /// The first lane.
    fn first(self) -> f32;

    /// The [`Vector::sum`] of each of four vectors, in all lanes.
    fn sums(vectors: [Self; 4]) -> [Self; 4];
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| operation(self.0[i], other.0[i])))
    }
}

impl Vector for Portable {
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of f32 has the alignment of f32.
        Portable(unsafe { *from.cast::<[f32; LANES]>() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to.cast::<[f32; LANES]>() = self.0 };
    }

    #[inline(always)]
    fn prefetch(_address: *const f32) {}

    #[inline(always)]
    fn prefetch_near(_address: *const f32) {}

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Portable(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        Portable(std::array::from_fn(|i| {
            self.0[i].mul_add(factor.0[i], term.0[i])
        }))
    }

    #[inline(always)]
    fn fnma(self, factor: Self, term: Self) -> Self {
        Portable(std::array::from_fn(|i| {
            (-self.0[i]).mul_add(factor.0[i], term.0[i])
        }))
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u32 {
        (0..LANES).fold(0, |bits, i| bits | u32::from(self.0[i] >= other.0[i]) << i)
    }

    #[inline(always)]
    fn first(self) -> f32 {
        self.0[0]
    }

    #[inline(always)]
    fn sums(vectors: [Self; 4]) -> [Self; 4] {
        vectors.map(|vector| Self::splat(vector.sum()))
    }

    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        for i in 0..LANES {
            for j in 0..i {
                (square[i].0[j], square[j].0[i]) = (square[j].0[i], square[i].0[j]);
            }
        }
    }
}
