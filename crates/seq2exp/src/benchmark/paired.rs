//! Whether one model's error differs from another's, on the same seeds and on the same genes.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::ensemble::Spread;
use crate::metric::{BootstrapConfig, Estimate, Metric, quantile};

/// A paired t-test over seeds: does retraining with another seed overturn the difference?
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeedTest {
    /// Seeds that both models have.
    pub n_seeds: usize,
    /// Mean over seeds of the model's error minus the reference's.
    pub difference: f64,
    /// Two-sided p; none with fewer than two seeds, or when the difference is the same for every seed.
    pub p: Option<f64>,
}

/// A paired comparison over test genes: would other genes overturn the difference?
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GeneTest {
    /// Genes that both models predict.
    pub n_genes: usize,
    /// Mean over genes of the model's squared error minus the reference's, each the mean over seeds, with its
    /// bootstrap percentile interval.
    pub difference: Estimate,
    /// Two-sided p of a sign-flip test.
    pub p: Option<f64>,
}

/// Tests the errors of two models trained with the same seeds, given as (model's, reference's).
///
/// # Reference
/// Student's t with n - 1 degrees of freedom on the differences
pub fn seed_test(errors: &[(f64, f64)]) -> Option<SeedTest> {
    let differences: Vec<Option<f64>> = errors
        .iter()
        .map(|(model, reference)| Some(model - reference))
        .collect();
    let Spread { mean, sd } = Spread::of(&differences);
    let n_seeds = errors.len();
    let difference = mean?;
    let p = sd.filter(|sd| *sd > 0.0).and_then(|sd| {
        let t = difference / (sd / (n_seeds as f64).sqrt());
        let distribution = StudentsT::new(0.0, 1.0, (n_seeds - 1) as f64).ok()?;
        Some(2.0 * distribution.cdf(-t.abs()))
    });
    Some(SeedTest {
        n_seeds,
        difference,
        p,
    })
}

/// Tests the differences of squared error of genes, each (model's minus reference's).
///
/// The two-sided p is the share of random sign flips whose mean is at least as far from 0, with one added to the count
/// and to the number of flips: were the two models alike, each difference could as well have the other sign.
///
/// # Reference
/// Efron & Tibshirani 1993: percentile method over resampled genes; paired permutation test
pub fn gene_test(
    differences: &[f64],
    config: BootstrapConfig,
    rng: &mut impl Rng,
) -> Option<GeneTest> {
    let n_genes = differences.len();
    if n_genes == 0 {
        return None;
    }
    let mean = |sum: f64| sum / n_genes as f64;
    let mut means: Vec<f64> = (0..config.n_resamples)
        .map(|_| {
            mean(
                (0..n_genes)
                    .map(|_| differences[rng.random_range(0..n_genes)])
                    .sum(),
            )
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - config.level);
    let value = mean(differences.iter().sum());
    // Sums of the same terms in another order may differ in their last bits.
    let limit = value.abs() * (1.0 - 1e-12);
    let n_as_far = (0..config.n_resamples)
        .filter(|_| {
            let flipped = differences
                .iter()
                .map(|difference| match rng.random::<bool>() {
                    true => *difference,
                    false => -difference,
                });
            mean(flipped.sum()).abs() >= limit
        })
        .count();
    Some(GeneTest {
        n_genes,
        difference: Estimate {
            value: Some(value),
            low: quantile(&means, tail),
            high: quantile(&means, 1.0 - tail),
        },
        p: Some((n_as_far + 1) as f64 / (config.n_resamples + 1) as f64),
    })
}

/// The mean over seeds of a score, with its percentile interval over resampled genes.
///
/// # Shapes
/// - `predicted`: `[n_seeds, n_genes]`; `observed`: `[n_genes]`
pub(super) fn interval_over_genes(
    metric: Metric,
    predicted: &[Vec<f64>],
    observed: &[f64],
    config: BootstrapConfig,
    seed: u64,
) -> Estimate {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n_genes = observed.len();
    let mean_score = |predicted: &[Vec<f64>], observed: &[f64]| {
        let scores: Vec<Option<f64>> = predicted
            .iter()
            .map(|predicted| metric.score(predicted, observed))
            .collect();
        Spread::of(&scores).mean
    };
    let value = mean_score(predicted, observed);
    if value.is_none() {
        return Estimate {
            value,
            low: None,
            high: None,
        };
    }
    let mut chosen = predicted.to_vec();
    let mut chosen_observed = observed.to_vec();
    let mut means = Vec::with_capacity(config.n_resamples);
    for _ in 0..config.n_resamples {
        for place in 0..n_genes {
            let gene = rng.random_range(0..n_genes);
            chosen_observed[place] = observed[gene];
            for (chosen, predicted) in chosen.iter_mut().zip(predicted) {
                chosen[place] = predicted[gene];
            }
        }
        means.extend(mean_score(&chosen, &chosen_observed));
    }
    means.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - config.level);
    Estimate {
        value,
        low: quantile(&means, tail),
        high: quantile(&means, 1.0 - tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_test_matches_the_table_of_t() {
        // Differences 1, 2, 3: mean 2, sd 1, t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom. For these,
        // P(|T| > t) = 1 - t / sqrt(2 + t^2) = 1 - 3.4641 / sqrt 14 = 0.0741799.
        let test = seed_test(&[(2.0, 1.0), (3.0, 1.0), (4.0, 1.0)]).expect("defined");
        assert_eq!((test.n_seeds, test.difference), (3, 2.0));
        let expected = 1.0 - 12.0_f64.sqrt() / 14.0_f64.sqrt();
        // statrs states 1e-10 for the incomplete beta function.
        assert!((test.p.expect("defined") - expected).abs() < 1e-9);
        // Two-sided: the same p where the model is the better one.
        let better = seed_test(&[(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]).expect("defined");
        assert_eq!((better.difference, better.p), (-2.0, test.p));
    }

    #[test]
    fn seed_test_without_spread_has_no_p() {
        assert_eq!(seed_test(&[]), None);
        assert_eq!(seed_test(&[(2.0, 1.0)]).expect("one").p, None);
        assert_eq!(seed_test(&[(2.0, 1.0), (3.0, 2.0)]).expect("two").p, None);
    }

    #[test]
    fn gene_test_interval_is_that_of_the_mean() {
        let config = BootstrapConfig::default();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        // 200 differences with mean 0.1 and sd 1: half 1.1, half -0.9; standard error 1 / sqrt 200 = 0.0707.
        let mixed: Vec<f64> = (0..200)
            .map(|i| if i % 2 == 0 { 1.1 } else { -0.9 })
            .collect();
        let test = gene_test(&mixed, config, &mut rng).expect("genes");
        let (low, high) = (test.difference.low.unwrap(), test.difference.high.unwrap());
        // 0.1 ± 1.96 * 0.0707, with the Monte Carlo error of 2,000 resamples (about 0.005 at the tails).
        assert!((low - (0.1 - 0.1386)).abs() < 0.02, "{low}");
        assert!((high - (0.1 + 0.1386)).abs() < 0.02, "{high}");
        // Standard deviation of the flipped mean: sqrt((1.1^2 + 0.9^2) / 2 / 200) = 0.0711; z = 1.407, p = 0.159.
        assert!((test.p.unwrap() - 0.159).abs() < 0.04, "{:?}", test.p);
        let all_better = gene_test(&[-1.0; 50], config, &mut rng).expect("genes");
        // Two of 2^50 flips are as far, so none of the 2,000: (0 + 1) / (2,000 + 1).
        assert!((all_better.p.unwrap() - 1.0 / 2001.0).abs() < 1e-12);
        // With two genes half of the flips are as far.
        let two = gene_test(&[-1.0; 2], config, &mut rng).expect("genes");
        assert!((two.p.unwrap() - 0.5).abs() < 0.06, "{:?}", two.p);
        let same = gene_test(&[0.0; 50], config, &mut rng).expect("genes");
        assert_eq!(same.p, Some(1.0));
        assert_eq!(gene_test(&[], config, &mut rng), None);
    }

    #[test]
    fn interval_of_two_genes_follows_the_level() {
        // Two genes resample to twice the first, one of each, or twice the second: a quarter, a half and a quarter of
        // the resamples. The ends of 0.6, the shares 0.2 and 0.8, lie in the quarters; those of 0.2 in the half.
        for (level, low_and_high) in [(0.6, [0, 2]), (0.2, [1, 1])] {
            let config = BootstrapConfig {
                level,
                ..BootstrapConfig::default()
            };
            let expected = |means: [f64; 3]| low_and_high.map(|index| Some(means[index]));
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let test = gene_test(&[1.0, 3.0], config, &mut rng).expect("genes");
            assert_eq!(
                [test.difference.low, test.difference.high],
                expected([1.0, 2.0, 3.0]),
                "differences at {level}"
            );
            // Errors 1 and 2 of the first network, 3 and 0 of the second. Twice the first gene: (1 + 9) / 2 = 5; twice the
            // second: (4 + 0) / 2 = 2; both: ((1 + 4) / 2 + (9 + 0) / 2) / 2 = 3.5. A network given another's draw, or
            // observations of other genes, would have other values.
            let (observed, predicted) = ([10.0, 20.0], [vec![11.0, 22.0], vec![13.0, 20.0]]);
            let found = interval_over_genes(Metric::Mse, &predicted, &observed, config, 2);
            assert_eq!(
                [found.low, found.high],
                expected([2.0, 3.5, 5.0]),
                "MSE at {level}"
            );
            assert_eq!(found.value, Some(3.5));
        }
    }

    #[test]
    fn interval_over_genes_holds_the_mean_of_the_seeds() {
        // Errors 1 of the first network and 3 of the second, for every gene: MSE 1 and 9, mean 5 whatever the genes.
        let observed = vec![0.0; 7];
        let predicted = [vec![1.0; 7], vec![3.0; 7]];
        let found = interval_over_genes(
            Metric::Mse,
            &predicted,
            &observed,
            BootstrapConfig::default(),
            2,
        );
        assert_eq!(
            (found.value, found.low, found.high),
            (Some(5.0), Some(5.0), Some(5.0))
        );
    }
}
