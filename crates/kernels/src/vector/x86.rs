//! The vectors of x86-64: AVX2 with FMA in two registers, AVX-512 in one.

use super::Vector;
use crate::LANES;
use std::arch::x86_64::{
    __m256, __m512, _CMP_GE_OQ, _MM_HINT_T0, _MM_HINT_T1, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32,
    _mm_movehl_ps, _mm_prefetch, _mm_shuffle_ps, _mm256_add_ps, _mm256_castps256_ps128,
    _mm256_cmp_ps, _mm256_cvtss_f32, _mm256_div_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_permute_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_sqrt_ps,
    _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps,
    _mm512_castps512_ps256, _mm512_cmp_ps_mask, _mm512_cvtss_f32, _mm512_div_ps,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_max_ps,
    _mm512_mul_ps, _mm512_permute_ps, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps,
    _mm512_sqrt_ps, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

/// Two 256-bit registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

// SAFETY, for every block below: `Simd::run` calls kernels over these types only inside a function that enables
// their instructions, on a machine where they were found; pointers are the callers' promise.

/// The sum of eight lanes by halves.
///
/// # Safety
/// AVX is there.
#[inline(always)]
unsafe fn sum_8(lanes: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let (low, high) = (
            _mm256_castps256_ps128(lanes),
            _mm256_extractf128_ps::<1>(lanes),
        );
        let quads = _mm_add_ps(low, high);
        let twos = _mm_add_ps(quads, _mm_movehl_ps(quads, quads));
        _mm_cvtss_f32(_mm_add_ss(twos, _mm_shuffle_ps::<0x55>(twos, twos)))
    }
}

impl Vector for Avx2 {
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        unsafe { Avx2(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Avx2(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }

    #[inline(always)]
    fn prefetch(address: *const f32) {
        // SAFETY: a prefetch of any address is legal.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }

    #[inline(always)]
    fn prefetch_near(address: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_add_ps(self.0, other.0),
                _mm256_add_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_sub_ps(self.0, other.0),
                _mm256_sub_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_mul_ps(self.0, other.0),
                _mm256_mul_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_div_ps(self.0, other.0),
                _mm256_div_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see above.
        unsafe { Avx2(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_max_ps(self.0, other.0),
                _mm256_max_ps(self.1, other.1),
            )
        }
    }

    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_fmadd_ps(self.0, factor.0, term.0),
                _mm256_fmadd_ps(self.1, factor.1, term.1),
            )
        }
    }

    #[inline(always)]
    fn fnma(self, factor: Self, term: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Avx2(
                _mm256_fnmadd_ps(self.0, factor.0, term.0),
                _mm256_fnmadd_ps(self.1, factor.1, term.1),
            )
        }
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u32 {
        // SAFETY: see above.
        unsafe {
            let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(self.0, other.0));
            let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(self.1, other.1));
            low as u32 | (high as u32) << 8
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see above.
        unsafe { sum_8(_mm256_add_ps(self.0, self.1)) }
    }

    #[inline(always)]
    fn first(self) -> f32 {
        // SAFETY: see above.
        unsafe { _mm256_cvtss_f32(self.0) }
    }

    /// Halves of 8 lanes, then pairs of vectors side by side: the quads, and inside them 2 and 1.
    #[inline(always)]
    fn sums(vectors: [Self; 4]) -> [Self; 4] {
        let [a, b, c, d] = vectors;
        let ((a, b), (c, d)) = (sums_of_two(a, b), sums_of_two(c, d));
        [a, b, c, d]
    }

    /// Four squares of 8 × 8, the two off the diagonal exchanged.
    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        let a = transpose_8(std::array::from_fn(|i| square[i].0));
        let b = transpose_8(std::array::from_fn(|i| square[i].1));
        let c = transpose_8(std::array::from_fn(|i| square[i + 8].0));
        let d = transpose_8(std::array::from_fn(|i| square[i + 8].1));
        for i in 0..8 {
            square[i] = Avx2(a[i], c[i]);
            square[i + 8] = Avx2(b[i], d[i]);
        }
    }
}

/// The sums of two vectors, each in all lanes: a function, as a closure is not compiled with the instructions and took a
/// hundred nanoseconds.
#[inline(always)]
fn sums_of_two(a: Avx2, b: Avx2) -> (Avx2, Avx2) {
    // SAFETY: see above.
    unsafe {
        let (a, b) = (_mm256_add_ps(a.0, a.1), _mm256_add_ps(b.0, b.1));
        let quads = _mm256_add_ps(
            _mm256_permute2f128_ps::<0x20>(a, b),
            _mm256_permute2f128_ps::<0x31>(a, b),
        );
        let twos = _mm256_add_ps(quads, _mm256_permute_ps::<0x4E>(quads));
        let ones = _mm256_add_ps(twos, _mm256_permute_ps::<0xB1>(twos));
        let (first, second) = (
            _mm256_permute2f128_ps::<0x00>(ones, ones),
            _mm256_permute2f128_ps::<0x11>(ones, ones),
        );
        (Avx2(first, first), Avx2(second, second))
    }
}

#[inline(always)]
fn transpose_8(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: see above.
    unsafe {
        let mut pairs = rows;
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut quads = pairs;
        for h in [0, 4] {
            for i in 0..2 {
                quads[h + 2 * i] = _mm256_shuffle_ps::<0x44>(pairs[h + i], pairs[h + i + 2]);
                quads[h + 2 * i + 1] = _mm256_shuffle_ps::<0xEE>(pairs[h + i], pairs[h + i + 2]);
            }
        }
        let mut columns = quads;
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(quads[i], quads[i + 4]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(quads[i], quads[i + 4]);
        }
        columns
    }
}

impl Vector for Avx512 {
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, self.0) };
    }

    #[inline(always)]
    fn prefetch(address: *const f32) {
        // SAFETY: a prefetch of any address is legal.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }

    #[inline(always)]
    fn prefetch_near(address: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_add_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_sub_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_mul_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_div_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_sqrt_ps(self.0)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_max_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn fma(self, factor: Self, term: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_fmadd_ps(self.0, factor.0, term.0)) }
    }

    #[inline(always)]
    fn fnma(self, factor: Self, term: Self) -> Self {
        // SAFETY: see above.
        unsafe { Avx512(_mm512_fnmadd_ps(self.0, factor.0, term.0)) }
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u32 {
        // SAFETY: see above.
        u32::from(unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, other.0) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see above.
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(self.0);
            sum_8(_mm256_add_ps(_mm512_castps512_ps256(self.0), high))
        }
    }

    #[inline(always)]
    fn first(self) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_cvtss_f32(self.0) }
    }

    /// Pairs of vectors side by side halve to 8 lanes each, the two pairs to a quad for each vector, and inside the
    /// quads 2 and 1.
    #[inline(always)]
    fn sums(vectors: [Self; 4]) -> [Self; 4] {
        // SAFETY: see above.
        unsafe {
            let pair = |a: __m512, b: __m512| {
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x44>(a, b),
                    _mm512_shuffle_f32x4::<0xEE>(a, b),
                )
            };
            let (low, high) = (
                pair(vectors[0].0, vectors[1].0),
                pair(vectors[2].0, vectors[3].0),
            );
            let quads = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0x88>(low, high),
                _mm512_shuffle_f32x4::<0xDD>(low, high),
            );
            let twos = _mm512_add_ps(quads, _mm512_permute_ps::<0x4E>(quads));
            let ones = _mm512_add_ps(twos, _mm512_permute_ps::<0xB1>(twos));
            [
                Avx512(_mm512_shuffle_f32x4::<0x00>(ones, ones)),
                Avx512(_mm512_shuffle_f32x4::<0x55>(ones, ones)),
                Avx512(_mm512_shuffle_f32x4::<0xAA>(ones, ones)),
                Avx512(_mm512_shuffle_f32x4::<0xFF>(ones, ones)),
            ]
        }
    }

    /// Pairs, quads, then the 128-bit quarters twice: 64 shuffles.
    #[inline(always)]
    fn transpose(square: &mut [Self; LANES]) {
        // SAFETY: see above.
        unsafe {
            let rows: [__m512; LANES] = std::array::from_fn(|i| square[i].0);
            let mut pairs = rows;
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            let mut quads = pairs;
            for h in [0, 4, 8, 12] {
                for i in 0..2 {
                    quads[h + 2 * i] = _mm512_shuffle_ps::<0x44>(pairs[h + i], pairs[h + i + 2]);
                    quads[h + 2 * i + 1] =
                        _mm512_shuffle_ps::<0xEE>(pairs[h + i], pairs[h + i + 2]);
                }
            }
            for i in 0..4 {
                let even_low = _mm512_shuffle_f32x4::<0x88>(quads[i], quads[i + 4]);
                let odd_low = _mm512_shuffle_f32x4::<0xDD>(quads[i], quads[i + 4]);
                let even_high = _mm512_shuffle_f32x4::<0x88>(quads[i + 8], quads[i + 12]);
                let odd_high = _mm512_shuffle_f32x4::<0xDD>(quads[i + 8], quads[i + 12]);
                square[i] = Avx512(_mm512_shuffle_f32x4::<0x88>(even_low, even_high));
                square[i + 4] = Avx512(_mm512_shuffle_f32x4::<0x88>(odd_low, odd_high));
                square[i + 8] = Avx512(_mm512_shuffle_f32x4::<0xDD>(even_low, even_high));
                square[i + 12] = Avx512(_mm512_shuffle_f32x4::<0xDD>(odd_low, odd_high));
            }
        }
    }
}
