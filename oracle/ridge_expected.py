"""Prints the expected values of the tests in crates/seq2exp/src/ridge.rs, computed by numpy.

python -m pip install numpy && python oracle/ridge_expected.py
"""

import numpy as np

FEATURES = np.array(
    [
        [0.5, -1.2, 3.0],
        [1.1, 0.3, 3.0],
        [-0.7, 0.9, 3.0],
        [2.2, -0.4, 3.0],
        [0.0, 1.5, 3.0],
        [-1.4, -0.8, 3.0],
        [0.9, 0.7, 3.0],
        [1.7, -1.9, 3.0],
    ]
)
TARGETS = np.array([1.0, 2.3, 0.8, 2.9, 1.9, -0.6, 2.0, 1.3])
NEW = np.array([0.4, 0.2, 3.0])
PENALTIES = [0.01, 0.1, 1.0, 10.0, 100.0]

mean, sd = FEATURES.mean(0), FEATURES.std(0)
design = np.column_stack([np.ones(len(TARGETS)), ((FEATURES - mean) / np.where(sd > 0, sd, 1))[:, :2]])


def fit(rows, targets, penalty):
    return np.linalg.solve(rows.T @ rows + penalty * np.diag([0.0, 1.0, 1.0]), rows.T @ targets)


new = np.concatenate([[1.0], ((NEW - mean) / np.where(sd > 0, sd, 1))[:2]])
print(f"numpy {np.__version__}")
for penalty in [0.0] + PENALTIES:
    errors = []
    for left_out in range(len(TARGETS)):
        kept = np.arange(len(TARGETS)) != left_out
        errors.append(TARGETS[left_out] - design[left_out] @ fit(design[kept], TARGETS[kept], penalty))
    print(f"penalty {penalty}: leave-one-out error {np.mean(np.square(errors))!r}, new {new @ fit(design, TARGETS, penalty)!r}")

# Four features, correlated pairwise: three steps deep into a Cholesky factor.
CORRELATED = np.array(
    [
        [1.0, 0.8, -0.5, 2.0],
        [2.0, 1.9, 0.4, 1.0],
        [3.0, 2.2, -1.1, 0.5],
        [4.0, 4.1, 0.9, -1.0],
        [5.0, 4.4, 2.0, -0.5],
        [6.0, 6.5, 1.2, -2.0],
        [7.0, 6.6, 3.1, -2.5],
    ]
)
OUTCOMES = np.array([0.3, 1.1, 0.2, 2.4, 1.7, 3.9, 2.8])
rows = (CORRELATED - CORRELATED.mean(0)) / CORRELATED.std(0)
for penalty in [0.0, 1.0]:
    coefficients = np.linalg.solve(rows.T @ rows + penalty * np.eye(4), rows.T @ (OUTCOMES - OUTCOMES.mean()))
    new = (np.array([3.5, 3.0, 1.5, 0.0]) - CORRELATED.mean(0)) / CORRELATED.std(0)
    print(f"four features, penalty {penalty}: new {OUTCOMES.mean() + new @ coefficients!r}")
