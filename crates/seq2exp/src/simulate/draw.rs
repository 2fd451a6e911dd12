//! Random numbers of a simulation.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of one locus; loci do not depend on each other.
pub(super) fn generator(seed: u64, locus: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(locus as u64);
    rng
}

/// A number in [0, 1).
pub(super) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    rng.random::<f64>()
}

/// A whole number from `low` to `high`, both included.
pub(super) fn between(rng: &mut ChaCha8Rng, low: u64, high: u64) -> u64 {
    rng.random_range(low..=high)
}

/// A number of mean 0 and standard deviation 1 (Box and Muller).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}

/// A count of this mean (exponential waiting times in the unit interval).
pub(super) fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> u32 {
    let mut time = 0.0;
    let mut count = 0;
    loop {
        time -= (1.0 - unit(rng)).ln();
        if time > mean {
            return count;
        }
        count += 1;
    }
}

/// A base.
pub(super) fn base(rng: &mut ChaCha8Rng) -> u8 {
    b"ACGT"[rng.random_range(0..4)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_and_spread_they_promise() {
        let mut rng = generator(3, 4);
        let n = 20_000;
        let moments = |values: Vec<f64>| {
            let mean = values.iter().sum::<f64>() / n as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            (mean, variance)
        };
        // Four standard errors: 4 / sqrt(20,000) = 0.028 of the standard deviation for a mean.
        let (mean, variance) = moments((0..n).map(|_| normal(&mut rng)).collect());
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        let (mean, variance) = moments((0..n).map(|_| f64::from(poisson(&mut rng, 7.0))).collect());
        assert!(
            (mean - 7.0).abs() < 0.08 && (variance - 7.0).abs() < 0.4,
            "{mean} {variance}"
        );
        assert_eq!(poisson(&mut rng, 0.0), 0);
    }

    #[test]
    fn loci_draw_different_numbers_and_the_same_ones_again() {
        let draw = |seed, locus| unit(&mut generator(seed, locus));
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
