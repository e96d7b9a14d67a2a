"""The inner loop of recursive least squares."""

from numba import njit

from twin_nodes.core.geometry.se3 import Array


@njit(cache=True)
def update(covariance: Array, weights: Array, row: Array, target: Array, forgetting: float) -> None:
    """Take one observation into a recursive least squares fit, in place (Haykin 2002, table 9.1).

    Args:
        covariance: Inverse of the information of the weights, shape (n, n).
        weights: Weights, shape (n, k).
        row: Regressors, shape (n,).
        target: Observed values, shape (k,).
        forgetting: Weight of what was known before.
    """
    n, k = weights.shape
    gain = covariance @ row
    spread = forgetting
    for i in range(n):
        spread += row[i] * gain[i]
    for j in range(k):
        error = target[j]
        for i in range(n):
            error -= row[i] * weights[i, j]
        error /= spread
        for i in range(n):
            weights[i, j] += gain[i] * error
    # only the upper triangle is computed, so that rounding cannot make the matrix asymmetric
    for i in range(n):
        for j in range(i, n):
            value = (covariance[i, j] - gain[i] * gain[j] / spread) / forgetting
            covariance[i, j] = value
            covariance[j, i] = value
