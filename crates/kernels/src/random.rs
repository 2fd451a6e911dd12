//! Counter-based random draws: a sample depends on a seed and a position and on nothing else.
//!
//! Each `(seed, position)` pair owns an endless stream of its own, so a draw is the same whatever the batch,
//! the number of threads or the order of evaluation, and can be repeated in a backward pass instead of stored.
//! Only IEEE arithmetic and the portable `libm` crate are used, so a draw is also the same on every machine.

#[cfg(feature = "gpu")]
pub(crate) mod gpu;

/// Multipliers of the Philox round; Salmon et al. 2011, table 2.
const PHILOX_MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Key increments of the Philox round (golden ratio and √3 - 1); Salmon et al. 2011, section 4.3.
const PHILOX_WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Rounds of the recommended variant, Philox4x32-10.
const PHILOX_ROUNDS: usize = 10;

/// Encrypts a 128-bit counter with a 64-bit key into four random words: Philox4x32-10.
///
/// # Reference
/// Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"
#[inline]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..PHILOX_ROUNDS {
        let product0 = u64::from(PHILOX_MULTIPLIERS[0]) * u64::from(c0);
        let product1 = u64::from(PHILOX_MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (
            (product1 >> 32) as u32 ^ c1 ^ k0,
            product1 as u32,
            (product0 >> 32) as u32 ^ c3 ^ k1,
            product0 as u32,
        );
        k0 = k0.wrapping_add(PHILOX_WEYL[0]);
        k1 = k1.wrapping_add(PHILOX_WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The endless random stream of one position under one seed.
///
/// Key: the seed's two halves. Counter: the position's two halves, then the two halves of the block index
/// within the stream. Each block gives two uniforms.
#[derive(Debug, Clone)]
pub struct PositionStream {
    key: [u32; 2],
    position: [u32; 2],
    block: u64,
    second_uniform: Option<f64>,
    second_normal: Option<f64>,
}

impl PositionStream {
    /// Starts the stream of `position` under `seed`.
    #[inline]
    pub fn new(seed: u64, position: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            position: [position as u32, (position >> 32) as u32],
            block: 0,
            second_uniform: None,
            second_normal: None,
        }
    }

    /// Draws a uniform from the open interval (0, 1): an odd multiple of 2^-54.
    #[inline]
    pub fn sample_uniform(&mut self) -> f64 {
        if let Some(uniform) = self.second_uniform.take() {
            return uniform;
        }
        let [p0, p1] = self.position;
        let counter = [p0, p1, self.block as u32, (self.block >> 32) as u32];
        let [w0, w1, w2, w3] = philox4x32(counter, self.key);
        self.block += 1;
        self.second_uniform = Some(open_unit(w2, w3));
        open_unit(w0, w1)
    }

    /// Draws a standard normal (Box & Muller 1958); the pair's second half is kept for the next call.
    #[inline]
    pub fn sample_normal(&mut self) -> f64 {
        if let Some(normal) = self.second_normal.take() {
            return normal;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.sample_uniform()));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.sample_uniform());
        self.second_normal = Some(radius * sin);
        radius * cos
    }

    /// Draws from Gamma(`shape`, 1), `shape >= 1`.
    ///
    /// # Reference
    /// Marsaglia & Tsang 2000, "A simple method for generating gamma variables"
    #[inline]
    fn sample_gamma_above_one(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.sample_normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            let uniform = self.sample_uniform();
            let squared = x * x;
            // The first test is a cheap lower bound of the second.
            if uniform < 1.0 - 0.0331 * squared * squared
                || libm::log(uniform) < 0.5 * squared + d * (1.0 - v + libm::log(v))
            {
                return d * v;
            }
        }
    }

    /// Draws the logit, `ln(z / (1 - z))`, of a sample z of Beta(`alpha`, `beta`).
    ///
    /// z = g / (g + h) with g ~ Gamma(alpha), h ~ Gamma(beta). For a concentration below 1 the Gamma is that of
    /// concentration + 1 times u^(1 / concentration); the power stays a logarithm, so that tiny concentrations,
    /// whose Gammas underflow, still give a finite logit. Both concentrations must be positive and finite;
    /// anything else gives NaN.
    #[inline]
    pub fn sample_beta_logit(&mut self, alpha: f64, beta: f64) -> f64 {
        let valid = alpha > 0.0 && beta > 0.0 && alpha.is_finite() && beta.is_finite();
        if !valid {
            return f64::NAN;
        }
        let mut boost = 0.0;
        let mut gamma = |concentration: f64, sign: f64| {
            if concentration >= 1.0 {
                self.sample_gamma_above_one(concentration)
            } else {
                let gamma = self.sample_gamma_above_one(concentration + 1.0);
                boost += sign * libm::log(self.sample_uniform()) / concentration;
                gamma
            }
        };
        let ratio = gamma(alpha, 1.0) / gamma(beta, -1.0);
        libm::log(ratio) + boost
    }
}

/// Maps 53 of 64 random bits to the middle of one of 2^53 equal cells of (0, 1).
#[inline]
fn open_unit(low: u32, high: u32) -> f64 {
    let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
    (bits as f64 + 0.5) * f64::from_bits((1023 - 53) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_known_answers() {
        // `kat_vectors` of Random123 1.14: "philox4x32 10".
        let cases = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn stream_depends_on_seed_and_position_alone() {
        let draw = |seed: u64, position: u64| {
            PositionStream::new(seed, position).sample_beta_logit(0.7, 3.0)
        };
        let forward: Vec<f64> = (0..100).map(|position| draw(9, position)).collect();
        let backward: Vec<f64> = (0..100).rev().map(|position| draw(9, position)).collect();
        assert_eq!(forward, backward.into_iter().rev().collect::<Vec<f64>>());
        let high = 1 << 32;
        for other in [
            draw(10, 5),
            draw(9 + high, 5),
            draw(9, 6),
            draw(9, 5 + high),
        ] {
            assert_ne!(other, draw(9, 5));
        }
    }

    #[test]
    fn uniforms_and_normals_have_their_moments() {
        let n = 200_000;
        let mut stream = PositionStream::new(1, 2);
        let moments = |draws: Vec<f64>| {
            let mean = draws.iter().sum::<f64>() / n as f64;
            (
                mean,
                draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64,
            )
        };
        // Four standard errors of each: sd / √n for the mean, √(kurtosis - 1) variance / √n for the variance.
        let (mean, variance) = moments((0..n).map(|_| stream.sample_uniform()).collect());
        assert!(
            (mean - 0.5).abs() < 2.6e-3 && (variance - 1.0 / 12.0).abs() < 6.7e-4,
            "{mean} {variance}"
        );
        let (mean, variance) = moments((0..n).map(|_| stream.sample_normal()).collect());
        assert!(
            mean.abs() < 9e-3 && (variance - 1.0).abs() < 1.3e-2,
            "{mean} {variance}"
        );
    }

    #[test]
    fn beta_samples_follow_the_exact_distribution() {
        const N: usize = 20_000;
        // Kolmogorov-Smirnov at a level of 1e-4: √(-ln(level / 2) / 2) = 2.23.
        let critical = 2.23 / (N as f64).sqrt();
        let concentrations = [0.01, 0.3, 1.0, 2.5, 40.0, 1e4];
        for (row, alpha) in concentrations.into_iter().enumerate() {
            for (column, beta) in concentrations.into_iter().enumerate() {
                let seed = (10 * row + column) as u64;
                let mut quantiles: Vec<f64> = (0..N as u64)
                    .map(|position| {
                        let logit =
                            PositionStream::new(seed, position).sample_beta_logit(alpha, beta);
                        // The nearer end keeps the precision.
                        if logit < 0.0 {
                            statrs::function::beta::beta_reg(
                                alpha,
                                beta,
                                1.0 / (1.0 + (-logit).exp()),
                            )
                        } else {
                            1.0 - statrs::function::beta::beta_reg(
                                beta,
                                alpha,
                                1.0 / (1.0 + logit.exp()),
                            )
                        }
                    })
                    .collect();
                quantiles.sort_by(f64::total_cmp);
                let distance = quantiles
                    .iter()
                    .enumerate()
                    .map(|(rank, q)| {
                        (q - rank as f64 / N as f64).max((rank + 1) as f64 / N as f64 - q)
                    })
                    .fold(0.0, f64::max);
                assert!(
                    distance < critical,
                    "Beta({alpha}, {beta}): {distance} is not below {critical}"
                );
            }
        }
    }

    #[test]
    fn beta_samples_have_their_moments() {
        const N: usize = 40_000;
        for (seed, (alpha, beta)) in [(0.01, 0.02), (0.5, 3.0), (12.0, 20.0), (1e4, 30.0)]
            .into_iter()
            .enumerate()
        {
            let draws: Vec<f64> = (0..N as u64)
                .map(|position| {
                    let logit =
                        PositionStream::new(seed as u64, position).sample_beta_logit(alpha, beta);
                    1.0 / (1.0 + (-logit).exp())
                })
                .collect();
            let sum = alpha + beta;
            let (mean, variance) = (alpha / sum, alpha * beta / (sum * sum * (sum + 1.0)));
            let found = draws.iter().sum::<f64>() / N as f64;
            let found_variance = draws.iter().map(|z| (z - found).powi(2)).sum::<f64>() / N as f64;
            // Four standard errors of the mean; the variance's is below 3 % for these shapes.
            assert!(
                (found - mean).abs() < 4.0 * (variance / N as f64).sqrt(),
                "Beta({alpha}, {beta}): {found}"
            );
            assert!(
                (found_variance / variance - 1.0).abs() < 0.05,
                "Beta({alpha}, {beta}): {found_variance}"
            );
        }
    }

    #[test]
    fn tiny_concentrations_give_finite_logits_and_invalid_ones_nan() {
        for position in 0..1000 {
            let logit = PositionStream::new(1, position).sample_beta_logit(1e-8, 1e-8);
            assert!(logit.is_finite() && logit.abs() > 100.0, "{logit}");
        }
        for (alpha, beta) in [
            (0.0, 1.0),
            (1.0, -1.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
        ] {
            assert!(
                PositionStream::new(1, 0)
                    .sample_beta_logit(alpha, beta)
                    .is_nan()
            );
        }
    }
}
