"""What the points of a frame say of pose and modes, linearised at a state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.nonrigid import row_kernels
from twin_nodes.core.geometry.covariance import TO_SIGMA
from twin_nodes.core.geometry.se3 import Array

_GROSS = 2.5  # spreads beyond which the spread itself is not asked


class Linear:
    """The normal equations of points.

    What changes a point is kept in single precision, which halves what is moved; the products are not: where a cloud
    says little, they would not be positive definite.

    Args:
        variance: Of each point with its part of the error that its neighbours share [m²], shape (n,).
        sigma: Of each point by its noise alone [m], shape (n,).
        count: Number r of modes.

    Attributes:
        residuals: What each misses along the normal [m], shape (n,).
        jacobian: By how much the place of each moves along the normal by pose and modes, float32, shape (n, 6 + r).
        weights: What each deserves [1/m²], shape (n,).
        information: Of pose and modes, as of the last `inform`, shape (6 + r, 6 + r).
    """

    def __init__(self, variance: Array, sigma: Array, count: int) -> None:
        self.variance = variance
        self.residuals, self.weights = np.empty(len(variance)), np.empty(len(variance))
        self.jacobian: NDArray[np.float32] = np.empty((len(variance), 6 + count), np.float32)
        self.information: Array = np.zeros((6 + count, 6 + count))
        self._weighted: Array = np.empty(self.jacobian.shape)
        self._noise = float(np.median(sigma)) if len(sigma) else np.inf

    def weigh(self, usable: NDArray[np.bool_], tuning: float) -> float:
        """Weigh the points by their residuals; return the spread of these [m].

        Args:
            usable: Which may be matched, shape (n,).
            tuning: A point so many spreads off has a quarter of its weight.
        """
        sigma = max(_spread(self.residuals[usable]), self._noise)
        row_kernels.weigh(self.residuals, self.variance, tuning * sigma, self.weights)
        self.weights[~usable] = 0.0
        return sigma

    def inform(self) -> None:
        """Find the information by jacobian and weights."""
        np.multiply(self.jacobian, np.sqrt(self.weights)[:, None], out=self._weighted)
        self.information[:] = self._weighted.T @ self._weighted

    def pull(self) -> Array:
        """Return whereto the residuals pull pose and modes, shape (6 + r,)."""
        return np.asarray(self.jacobian.T @ (self.weights * self.residuals).astype(np.float32), np.float64)


def _spread(residuals: Array) -> float:
    """Return the robust standard deviation of residuals about zero [m]; infinite for none."""
    if not len(residuals):
        return np.inf
    sizes = np.abs(residuals)
    first = TO_SIGMA * _median(sizes)
    core = residuals[sizes <= _GROSS * first]
    return float(np.sqrt(core @ core / len(core))) * 1.05 if len(core) else first


def _median(values: Array) -> float:
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    return float(np.partition(values, (half - 1, half))[half - 1 : half + 1].mean())
