"""Prints the expected values of the tests in crates/seq2exp/src/metric.rs, computed by numpy and scipy.

python -m pip install numpy scipy && python oracle/metric_expected.py
"""

import numpy as np
import scipy
from scipy import stats

OBSERVED = np.array([0.0, 0.0, 0.31, 1.72, 0.31, 2.45, 3.08, 0.9, 1.72, 2.2, 0.05, 2.9])
PREDICTED = np.array([0.12, 0.4, 0.12, 1.2, 0.8, 2.6, 2.4, 1.1, 1.9, 1.9, 0.3, 2.05])


def mse(predicted, observed, axis=-1):
    return np.mean((predicted - observed) ** 2, axis=axis)


def mae(predicted, observed, axis=-1):
    return np.mean(np.abs(predicted - observed), axis=axis)


def pearson(predicted, observed):
    return stats.pearsonr(predicted, observed).statistic


def spearman(predicted, observed):
    return stats.spearmanr(predicted, observed).statistic


print(f"numpy {np.__version__}, scipy {scipy.__version__}")
for metric in (mse, mae, pearson, spearman):
    value = metric(PREDICTED, OBSERVED)
    interval = stats.bootstrap(
        (PREDICTED, OBSERVED),
        metric,
        paired=True,
        vectorized=metric in (mse, mae),
        n_resamples=200_000 if metric in (mse, mae) else 20_000,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    print(f"{metric.__name__}: {value!r}, percentile interval {interval.low:.4f} {interval.high:.4f}")
print("ranks of OBSERVED:", stats.rankdata(OBSERVED).tolist())
for share in (0.025, 0.25, 0.5, 0.975):
    print(f"quantile {share} of PREDICTED: {np.quantile(PREDICTED, share)!r}")
