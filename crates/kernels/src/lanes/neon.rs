//! Sixteen floats in NEON registers, which every 64-bit ARM processor has.

use std::arch::aarch64::*;
use std::ops::{Add, Div, Mul, Sub};

use super::{Lanes, Simd, WIDTH, proven};

/// Proof that the processor has NEON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The processor must have neon.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Sums of four values, in the order of the values.
    #[inline(always)]
    fn sum_four(self, values: &[NeonLanes; WIDTH], i: usize) -> float32x4_t {
        proven!({
            let x = sum_of_registers(values[i]);
            let y = sum_of_registers(values[i + 1]);
            let z = sum_of_registers(values[i + 2]);
            let w = sum_of_registers(values[i + 3]);
            vpaddq_f32(vpaddq_f32(x, y), vpaddq_f32(z, w))
        })
    }
}

/// Sums of the four registers' floats at the same place.
///
/// # Safety
/// The processor must have neon.
#[inline(always)]
unsafe fn sum_of_registers(lanes: NeonLanes) -> float32x4_t {
    let [a, b, c, d] = lanes.0;
    // SAFETY: the caller promises the instruction.
    unsafe { vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d)) }
}

/// Sixteen floats in four registers; exists only where a [`Neon`] made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeonLanes([float32x4_t; 4]);

impl Simd for Neon {
    type Lanes = NeonLanes;

    #[inline(always)]
    fn splat(self, value: f32) -> NeonLanes {
        NeonLanes([proven!(vdupq_n_f32(value)); 4])
    }

    #[inline(always)]
    fn load_array(self, values: &[f32; WIDTH]) -> NeonLanes {
        let start = values.as_ptr();
        // SAFETY: the token proves the instruction; the array holds the sixteen floats that are read.
        NeonLanes([0, 4, 8, 12].map(|i| unsafe { vld1q_f32(start.add(i)) }))
    }

    #[inline(always)]
    fn sum_each(self, values: &[NeonLanes; WIDTH]) -> NeonLanes {
        NeonLanes([0, 4, 8, 12].map(|i| self.sum_four(values, i)))
    }
}

/// Applies an intrinsic to each register.
macro_rules! each {
    ($i:ident => $value:expr) => {
        NeonLanes([0, 1, 2, 3].map(|$i: usize| proven!($value)))
    };
}

macro_rules! operator {
    ($trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for NeonLanes {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                each!(i => $intrinsic(self.0[i], other.0[i]))
            }
        }
    };
}

operator!(Add, add, vaddq_f32);
operator!(Sub, sub, vsubq_f32);
operator!(Mul, mul, vmulq_f32);
operator!(Div, div, vdivq_f32);

impl Lanes for NeonLanes {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        let mut out = [0.0; WIDTH];
        self.store_array(&mut out);
        out
    }

    #[inline(always)]
    fn store_array(self, values: &mut [f32; WIDTH]) {
        let start = values.as_mut_ptr();
        for (i, register) in self.0.into_iter().enumerate() {
            // SAFETY: `self` proves the instruction; the array holds the sixteen floats that are written.
            unsafe { vst1q_f32(start.add(4 * i), register) }
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        each!(i => vfmaq_f32(addend.0[i], self.0[i], factor.0[i]))
    }

    #[inline(always)]
    fn at_least(self, floor: Self) -> Self {
        // NaN when either is; no limit is.
        each!(i => vmaxq_f32(self.0[i], floor.0[i]))
    }

    #[inline(always)]
    fn at_most(self, ceiling: Self) -> Self {
        each!(i => vminq_f32(self.0[i], ceiling.0[i]))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        each!(i => vabsq_f32(self.0[i]))
    }

    #[inline(always)]
    fn where_below(self, limit: Self, below: Self, otherwise: Self) -> Self {
        each!(i => vbslq_f32(vcltq_f32(self.0[i], limit.0[i]), below.0[i], otherwise.0[i]))
    }

    #[inline(always)]
    fn bits_to_exponent(self) -> Self {
        each!(i => {
            vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(self.0[i])))
        })
    }
}
