"""Continues a motion by a regression on its own past, learned while it runs.

The change of position over the horizon is linear in the changes since earlier instants (an autoregression fitted for
the horizon itself: Krilavicius et al. 2013 and Pohl et al. 2022 use it as a baseline), fitted by recursive least
squares with forgetting and a ridge prior.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.recursion_kernels import update

_UNIT = 1e-3  # regressors are millimetres, so that the ridge prior and the constant 1 weigh alike
_BOUND = 1e8  # covariance of a weight above which forgetting has outrun what was seen


class LagRegression:
    """One regression for one horizon.

    Args:
        count: Regressors besides the constant.
        axes: Axes that are predicted together.
        prior: Precision of the prior on each weight.
        forgetting: Weight of an observation after one more.
    """

    def __init__(self, count: int, axes: int, *, prior: float, forgetting: float) -> None:
        self._prior = prior
        self._forgetting = forgetting
        self._covariance = np.eye(count + 1) / prior
        self._weights = np.zeros((count + 1, axes))

    def learn(self, regressors: Array, change: Array) -> None:
        """Take in what happened: regressors [m], shape (count,), and the change that followed [m], shape (axes,)."""
        row = _row(regressors)
        update(self._covariance, self._weights, row, change / _UNIT, self._forgetting)
        if np.trace(self._covariance) > _BOUND:
            self._covariance = np.eye(len(row)) / self._prior

    def change(self, regressors: Array) -> Array:
        """Predict the change over the horizon [m], shape (axes,)."""
        predicted: Array = _UNIT * (_row(regressors) @ self._weights)
        return predicted


def _row(regressors: Array) -> Array:
    return np.append(regressors / _UNIT, 1.0)
