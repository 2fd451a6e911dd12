//! Sixteen floats in AVX-512 and AVX2 registers.

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

use super::{Lanes, Simd, WIDTH, proven};

/// `2^(i / 16)`.
#[expect(clippy::approx_constant, reason = "one of them is the root of 2")]
const SIXTEENTH_POWERS: [f32; WIDTH] = [
    1.0,
    1.044_273_7,
    1.090_507_7,
    1.138_788_6,
    1.189_207_1,
    1.241_857_8,
    1.296_839_6,
    1.354_255_6,
    1.414_213_5,
    1.476_826_2,
    1.542_210_8,
    1.610_490_3,
    1.681_792_9,
    1.756_252_2,
    1.834_008_1,
    1.915_206_6,
];

/// Asks for the cache line of a value, if there is one at `index`.
#[inline(always)]
fn prefetch_line(values: &[f32], index: usize) {
    if let Some(value) = values.get(index) {
        // SAFETY: the address is that of a value; SSE is part of the architecture.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
}

/// Proof that the processor has AVX-512 (F, VL, BW, DQ), AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor must have avx512f, avx512vl, avx512bw, avx512dq, avx2 and fma.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Rounds 1 and 2 of the sums of four values: adds within quarters of the registers and interleaves the sums.
    #[inline(always)]
    fn add_quarters(self, values: &[Avx512Lanes; WIDTH], i: usize) -> __m512 {
        let [x, y, z, w] = [
            values[i].0,
            values[i + 1].0,
            values[i + 2].0,
            values[i + 3].0,
        ];
        proven!({
            let xy = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
            let zw = _mm512_add_ps(_mm512_unpacklo_ps(z, w), _mm512_unpackhi_ps(z, w));
            _mm512_add_ps(
                _mm512_shuffle_ps::<0b01_00_01_00>(xy, zw),
                _mm512_shuffle_ps::<0b11_10_11_10>(xy, zw),
            )
        })
    }
}

/// Sixteen floats in one register; exists only where an [`Avx512`] made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512Lanes(__m512);

impl Simd for Avx512 {
    type Lanes = Avx512Lanes;

    #[inline(always)]
    fn prefetch(self, values: &[f32], index: usize) {
        prefetch_line(values, index);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Avx512Lanes {
        Avx512Lanes(proven!(_mm512_set1_ps(value)))
    }

    #[inline(always)]
    fn load_array(self, values: &[f32; WIDTH]) -> Avx512Lanes {
        // SAFETY: the token proves the instruction; the array holds the sixteen floats that are read.
        Avx512Lanes(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn exp2_nonpositive(self, x: Avx512Lanes) -> Avx512Lanes {
        // 2^x = 2^(x - r) (1 + r q(r)) with x - r rounded to sixteenths, so that the polynomial is short: q is a
        // degree-2 minimax fit (Lawson iteration in f64) with error 7.6e-8 to (2^r - 1) / r for |r| <= 1/32. These
        // instructions round and scale any argument; the remainder of an infinite one is 0.
        #[expect(clippy::approx_constant, reason = "fitted, not ln 2")]
        const Q: [f32; 3] = [0.693_147_2, 0.240_233_56, 0.055_505_738];
        // Adding 1.5 * 2^19 rounds to sixteenths in the low bits, of which the permutation reads four.
        let sixteenth = self.splat(786_432.0) + x;
        let whole = proven!(_mm512_roundscale_ps::<0x40>(x.0));
        let r = Avx512Lanes(proven!(_mm512_reduce_ps::<0x40>(x.0)));
        let q = self.splat(Q[2]).mul_add(r, self.splat(Q[1]));
        let q = q.mul_add(r, self.splat(Q[0]));
        let p = q.mul_add(r, self.splat(1.0));
        let powers = self.load_array(&SIXTEENTH_POWERS).0;
        proven!({
            let power = _mm512_permutexvar_ps(_mm512_castps_si512(sixteenth.0), powers);
            Avx512Lanes(_mm512_scalef_ps(_mm512_mul_ps(p.0, power), whole))
        })
    }

    #[inline(always)]
    fn sum_each(self, values: &[Avx512Lanes; WIDTH]) -> Avx512Lanes {
        let [a, b, c, d] = [
            self.add_quarters(values, 0),
            self.add_quarters(values, 4),
            self.add_quarters(values, 8),
            self.add_quarters(values, 12),
        ];
        // Rounds 3 and 4 add the quarters.
        proven!({
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
            );
            Avx512Lanes(_mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            ))
        })
    }
}

macro_rules! operator {
    ($type:ident, $trait:ident, $method:ident, $a:ident, $b:ident => $value:expr) => {
        impl $trait for $type {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self.0, other.0);
                $type(proven!($value))
            }
        }
    };
}

operator!(Avx512Lanes, Add, add, a, b => _mm512_add_ps(a, b));
operator!(Avx512Lanes, Sub, sub, a, b => _mm512_sub_ps(a, b));
operator!(Avx512Lanes, Mul, mul, a, b => _mm512_mul_ps(a, b));
operator!(Avx512Lanes, Div, div, a, b => _mm512_div_ps(a, b));

impl Lanes for Avx512Lanes {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        let mut out = [0.0; WIDTH];
        self.store_array(&mut out);
        out
    }

    #[inline(always)]
    fn store_array(self, values: &mut [f32; WIDTH]) {
        // SAFETY: `self` proves the instruction; the array holds the sixteen floats that are written.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }

    #[inline(always)]
    fn at_least(self, floor: Self) -> Self {
        // The second operand is returned when either is NaN.
        Self(proven!(_mm512_max_ps(floor.0, self.0)))
    }

    #[inline(always)]
    fn at_most(self, ceiling: Self) -> Self {
        Self(proven!(_mm512_min_ps(ceiling.0, self.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(_mm512_abs_ps(self.0)))
    }

    #[inline(always)]
    fn where_below(self, limit: Self, below: Self, otherwise: Self) -> Self {
        proven!({
            let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, limit.0);
            Self(_mm512_mask_blend_ps(mask, otherwise.0, below.0))
        })
    }

    #[inline(always)]
    fn bits_to_exponent(self) -> Self {
        proven!({
            let bits = _mm512_slli_epi32::<23>(_mm512_castps_si512(self.0));
            Self(_mm512_castsi512_ps(bits))
        })
    }
}

/// Proof that the processor has AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor must have avx2 and fma.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Sums of four values in each half of a register, as for AVX-512, after adding the two registers of each.
    #[inline(always)]
    fn add_quarters(self, values: &[Avx2Lanes; WIDTH], i: usize) -> __m256 {
        proven!({
            let x = _mm256_add_ps(values[i].0[0], values[i].0[1]);
            let y = _mm256_add_ps(values[i + 1].0[0], values[i + 1].0[1]);
            let z = _mm256_add_ps(values[i + 2].0[0], values[i + 2].0[1]);
            let w = _mm256_add_ps(values[i + 3].0[0], values[i + 3].0[1]);
            let xy = _mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
            let zw = _mm256_add_ps(_mm256_unpacklo_ps(z, w), _mm256_unpackhi_ps(z, w));
            _mm256_add_ps(
                _mm256_shuffle_ps::<0b01_00_01_00>(xy, zw),
                _mm256_shuffle_ps::<0b11_10_11_10>(xy, zw),
            )
        })
    }

    /// Sums of eight values.
    #[inline(always)]
    fn sum_eight(self, values: &[Avx2Lanes; WIDTH], i: usize) -> __m256 {
        let (a, b) = (
            self.add_quarters(values, i),
            self.add_quarters(values, i + 4),
        );
        proven!(_mm256_add_ps(
            _mm256_permute2f128_ps::<0x20>(a, b),
            _mm256_permute2f128_ps::<0x31>(a, b),
        ))
    }
}

/// Sixteen floats in two registers; exists only where an [`Avx2`] made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2Lanes([__m256; 2]);

impl Simd for Avx2 {
    type Lanes = Avx2Lanes;

    #[inline(always)]
    fn prefetch(self, values: &[f32], index: usize) {
        prefetch_line(values, index);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Avx2Lanes {
        Avx2Lanes([proven!(_mm256_set1_ps(value)); 2])
    }

    #[inline(always)]
    fn load_array(self, values: &[f32; WIDTH]) -> Avx2Lanes {
        // SAFETY: the token proves the instruction; the array holds the sixteen floats that are read.
        unsafe {
            Avx2Lanes([
                _mm256_loadu_ps(values.as_ptr()),
                _mm256_loadu_ps(values.as_ptr().add(8)),
            ])
        }
    }

    #[inline(always)]
    fn sum_each(self, values: &[Avx2Lanes; WIDTH]) -> Avx2Lanes {
        Avx2Lanes([self.sum_eight(values, 0), self.sum_eight(values, 8)])
    }
}

/// Applies an intrinsic to both registers.
macro_rules! both {
    ($i:ident => $value:expr) => {
        proven!({
            let $i = 0;
            let low = $value;
            let $i = 1;
            let high = $value;
            Avx2Lanes([low, high])
        })
    };
}

macro_rules! operator_on_both {
    ($trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for Avx2Lanes {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                both!(i => $intrinsic(self.0[i], other.0[i]))
            }
        }
    };
}

operator_on_both!(Add, add, _mm256_add_ps);
operator_on_both!(Sub, sub, _mm256_sub_ps);
operator_on_both!(Mul, mul, _mm256_mul_ps);
operator_on_both!(Div, div, _mm256_div_ps);

impl Lanes for Avx2Lanes {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        let mut out = [0.0; WIDTH];
        self.store_array(&mut out);
        out
    }

    #[inline(always)]
    fn store_array(self, values: &mut [f32; WIDTH]) {
        // SAFETY: `self` proves the instruction; the array holds the sixteen floats that are written.
        unsafe {
            _mm256_storeu_ps(values.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(values.as_mut_ptr().add(8), self.0[1]);
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        both!(i => _mm256_fmadd_ps(self.0[i], factor.0[i], addend.0[i]))
    }

    #[inline(always)]
    fn at_least(self, floor: Self) -> Self {
        both!(i => _mm256_max_ps(floor.0[i], self.0[i]))
    }

    #[inline(always)]
    fn at_most(self, ceiling: Self) -> Self {
        both!(i => _mm256_min_ps(ceiling.0[i], self.0[i]))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        both!(i => _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0[i]))
    }

    #[inline(always)]
    fn where_below(self, limit: Self, below: Self, otherwise: Self) -> Self {
        both!(i => {
            let mask = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[i], limit.0[i]);
            _mm256_blendv_ps(otherwise.0[i], below.0[i], mask)
        })
    }

    #[inline(always)]
    fn bits_to_exponent(self) -> Self {
        both!(i => _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0[i]))))
    }
}
