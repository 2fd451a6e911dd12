//! Sixteen floats handled together, and the elementary functions of the kernels on them.
//!
//! Everything here is plain arithmetic on `[f32; 16]`, inlined into functions compiled for one
//! [`SimdLevel`](crate::simd_level::SimdLevel), where the compiler turns it into vector instructions.
//! `FMA` says whether those instructions include a fused multiply-add. All functions carry NaN through.

/// Floats handled together.
pub(crate) const WIDTH: usize = 16;

/// Magnitudes below this are set to zero where a recurrence would drive them into denormal numbers, which
/// some processors handle a hundred times more slowly. It is 1e8 times the smallest normal `f32`.
const TINY: f32 = 1.2e-30;

/// Sixteen floats, one per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(transparent)]
pub(crate) struct Lanes(pub(crate) [f32; WIDTH]);

macro_rules! per_lane {
    ($i:ident => $value:expr) => {{
        let mut out = [0.0f32; WIDTH];
        let mut $i = 0;
        while $i < WIDTH {
            out[$i] = $value;
            $i += 1;
        }
        Lanes(out)
    }};
}

impl Lanes {
    pub(crate) const ZERO: Self = Self([0.0; WIDTH]);

    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; WIDTH])
    }

    /// Reads the sixteen floats at `start`.
    #[inline(always)]
    pub(crate) fn load(values: &[f32], start: usize) -> Self {
        let mut out = [0.0; WIDTH];
        out.copy_from_slice(&values[start..start + WIDTH]);
        Self(out)
    }

    /// Writes the sixteen floats at `start`.
    #[inline(always)]
    pub(crate) fn store(self, values: &mut [f32], start: usize) {
        values[start..start + WIDTH].copy_from_slice(&self.0);
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add<const FMA: bool>(self, factor: Self, addend: Self) -> Self {
        if FMA {
            per_lane!(i => self.0[i].mul_add(factor.0[i], addend.0[i]))
        } else {
            per_lane!(i => self.0[i] * factor.0[i] + addend.0[i])
        }
    }

    /// Zero where the magnitude is below `TINY`, unchanged elsewhere.
    #[inline(always)]
    pub(crate) fn flush_tiny(self) -> Self {
        per_lane!(i => if self.0[i].abs() < TINY { 0.0 } else { self.0[i] })
    }

    /// `2^self`, relative error below 2e-7 (and below 1e-8 times `self` near 0, so that decays close to 1 are
    /// not biased); arguments are limited to [-126, 127].
    #[inline(always)]
    pub(crate) fn exp2<const FMA: bool>(self) -> Self {
        per_lane!(i => if self.0[i] > 127.0 { 127.0 } else { self.0[i] }).exp2_nonpositive::<FMA>()
    }

    /// [`exp2`](Self::exp2) without the upper limit, for arguments that are known to be at most 127.
    #[inline(always)]
    pub(crate) fn exp2_nonpositive<const FMA: bool>(self) -> Self {
        // 2^r = 1 + r q(r) on [-0.5, 0.5]; q is a degree-5 minimax fit (Lawson iteration in f64) with error
        // 7.5e-9 to (2^r - 1) / r.
        const Q: [f32; 6] = [
            0.693_147_2,
            0.240_226_51,
            0.055_503_57,
            0.009_618_031,
            0.001_339_086_7,
            0.000_154_697_3,
        ];
        // Adding 1.5 * 2^23 rounds to an integer in the low bits; the 127 more is the exponent's bias.
        const MAGIC: f32 = 12_582_912.0 + 127.0;
        // Compared this way round so that NaN is kept.
        let x = per_lane!(i => if self.0[i] < -126.0 { -126.0 } else { self.0[i] });
        let shifted = per_lane!(i => x.0[i] + MAGIC);
        let r = per_lane!(i => x.0[i] - (shifted.0[i] - MAGIC));
        let scale = per_lane!(i => f32::from_bits(shifted.0[i].to_bits() << 23));
        let mut q = Self::splat(Q[5]);
        for coefficient in [Q[4], Q[3], Q[2], Q[1], Q[0]] {
            q = q.mul_add::<FMA>(r, Self::splat(coefficient));
        }
        q.mul_add::<FMA>(r, Self::splat(1.0)) * scale
    }

    /// Logistic function `1 / (1 + exp(-self))`.
    #[inline(always)]
    pub(crate) fn sigmoid<const FMA: bool>(self) -> Self {
        let e = (self * Self::splat(-std::f32::consts::LOG2_E)).exp2::<FMA>();
        per_lane!(i => 1.0 / (1.0 + e.0[i]))
    }

    /// `ln(1 + exp(self))` and its derivative, the logistic function.
    ///
    /// Above 20 the value is the argument itself and the derivative 1, as in PyTorch's `softplus`.
    #[inline(always)]
    pub(crate) fn softplus<const FMA: bool>(self) -> (Self, Self) {
        // ln(1 + w) = 2 s (1 + s^2 Q(s^2)) with s = w / (2 + w); for w in [0, 1], s^2 <= 1/9, Q a degree-4
        // minimax fit to the series of atanh with error 4.3e-9.
        const Q: [f32; 5] = [
            0.333_333_34,
            0.199_999_24,
            0.142_938_33,
            0.108_816_534,
            0.114_984_594,
        ];
        let magnitude = per_lane!(i => self.0[i].abs());
        let w = (magnitude * Self::splat(-std::f32::consts::LOG2_E)).exp2::<FMA>();
        let s = per_lane!(i => w.0[i] / (2.0 + w.0[i]));
        let z = s * s;
        let mut q = Self::splat(Q[4]);
        for coefficient in [Q[3], Q[2], Q[1], Q[0]] {
            q = q.mul_add::<FMA>(z, Self::splat(coefficient));
        }
        let series = q.mul_add::<FMA>(z, Self::splat(1.0)) * s;
        let value = per_lane!(i => {
            let x = self.0[i];
            if x > 20.0 { x } else { (if x < 0.0 { 0.0 } else { x }) + 2.0 * series.0[i] }
        });
        let slope = per_lane!(i => {
            let x = self.0[i];
            let numerator = if x < 0.0 { w.0[i] } else { 1.0 };
            if x > 20.0 { 1.0 } else { numerator / (1.0 + w.0[i]) }
        });
        (value, slope)
    }

    /// The sum of the sixteen floats of each of sixteen values, in a fixed order.
    ///
    /// Works like a tournament: every round halves the number of values by adding the two halves of each and
    /// packing the sums of two values into one.
    #[inline(always)]
    pub(crate) fn sum_each(values: &[Self; WIDTH]) -> Self {
        let mut eight = [Self::ZERO; 8];
        for (i, out) in eight.iter_mut().enumerate() {
            *out = Self::pack_sums::<8>(values[i], values[i + 8]);
        }
        let mut four = [Self::ZERO; 4];
        for (i, out) in four.iter_mut().enumerate() {
            *out = Self::pack_sums::<4>(eight[i], eight[i + 4]);
        }
        let two = [
            Self::pack_sums::<2>(four[0], four[2]),
            Self::pack_sums::<2>(four[1], four[3]),
        ];
        Self::pack_sums::<1>(two[0], two[1])
    }

    /// In each run of `2 HALF` lanes, the sums of the two halves of `x` followed by those of `y`.
    #[inline(always)]
    fn pack_sums<const HALF: usize>(x: Self, y: Self) -> Self {
        let mut low = [0.0f32; WIDTH];
        let mut high = [0.0f32; WIDTH];
        let mut i = 0;
        while i < WIDTH {
            let run = i & !(2 * HALF - 1);
            let lane = i & (HALF - 1);
            let source = if i & HALF == 0 { &x.0 } else { &y.0 };
            low[i] = source[run + lane];
            high[i] = source[run + HALF + lane];
            i += 1;
        }
        Self(low) + Self(high)
    }
}

impl std::ops::Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        per_lane!(i => self.0[i] + other.0[i])
    }
}

impl std::ops::Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        per_lane!(i => self.0[i] - other.0[i])
    }
}

impl std::ops::Mul for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        per_lane!(i => self.0[i] * other.0[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(from: f32, to: f32) -> impl Iterator<Item = Lanes> {
        (0..4096).map(move |row| {
            let mut out = [0.0; WIDTH];
            for (i, value) in out.iter_mut().enumerate() {
                *value = from + (to - from) * ((row * WIDTH + i) as f32 / (4096 * WIDTH) as f32);
            }
            Lanes(out)
        })
    }

    fn worst_relative_error(
        from: f32,
        to: f32,
        ours: impl Fn(Lanes) -> Lanes,
        exact: impl Fn(f64) -> f64,
    ) -> f64 {
        let mut worst = 0.0f64;
        for x in grid(from, to) {
            for (x, y) in x.0.into_iter().zip(ours(x).0) {
                let expected = exact(f64::from(x));
                worst = worst.max((f64::from(y) - expected).abs() / expected.abs());
            }
        }
        worst
    }

    #[test]
    fn elementary_functions_agree_with_libm_in_f64() {
        // Two roundings of f32 (6e-8 each) and the polynomial; the argument's own rounding adds |x| * 6e-8
        // to an exponential.
        let exp2 = worst_relative_error(-126.0, 127.0, Lanes::exp2::<false>, libm::exp2);
        assert!(exp2 < 2e-7, "exp2: {exp2:e}");
        let near_zero = worst_relative_error(-2e-3, -1e-5, Lanes::exp2::<false>, libm::exp2);
        assert!(near_zero < 6.1e-8, "exp2 near 0: {near_zero:e}");
        let sigmoid = worst_relative_error(-80.0, 80.0, Lanes::sigmoid::<false>, |x| {
            1.0 / (1.0 + libm::exp(-x))
        });
        assert!(sigmoid < 8e-6, "sigmoid: {sigmoid:e}");
        let softplus = worst_relative_error(
            -15.0,
            25.0,
            |x| x.softplus::<false>().0,
            |x| libm::log1p(libm::exp(x)),
        );
        assert!(softplus < 2e-6, "softplus: {softplus:e}");
        let slope = worst_relative_error(
            -15.0,
            20.0,
            |x| x.softplus::<false>().1,
            |x| 1.0 / (1.0 + libm::exp(-x)),
        );
        assert!(slope < 2e-6, "softplus slope: {slope:e}");
    }

    #[test]
    fn elementary_functions_carry_nan_and_bound_infinities() {
        let x = Lanes::splat(f32::NAN);
        assert!(x.exp2::<false>().0[0].is_nan());
        assert!(x.sigmoid::<false>().0[0].is_nan());
        assert!(x.softplus::<false>().0.0[0].is_nan());
        assert!(x.flush_tiny().0[0].is_nan());
        let x = Lanes::splat(f32::INFINITY);
        assert_eq!(x.sigmoid::<false>().0[0], 1.0);
        assert_eq!(x.softplus::<false>(), (x, Lanes::splat(1.0)));
        let x = Lanes::splat(f32::NEG_INFINITY);
        assert!(x.sigmoid::<false>().0[0] < 1e-37);
        assert!(x.softplus::<false>().0.0[0] < 1e-37);
    }

    #[test]
    fn sum_each_returns_sums_in_the_order_of_the_values() {
        let mut values = [Lanes::ZERO; WIDTH];
        for (n, value) in values.iter_mut().enumerate() {
            for (i, lane) in value.0.iter_mut().enumerate() {
                *lane = (100 * n + i) as f32;
            }
        }
        // Sum over i = 0..16 of (100 n + i) is 1600 n + 120.
        for (n, sum) in Lanes::sum_each(&values).0.into_iter().enumerate() {
            assert_eq!(sum, (1600 * n + 120) as f32);
        }
    }
}
