"""A small model of how hands go on: the next moment as a sum of the last ones, weighed by the shape of the motion.

The change over a horizon is Σ w_k(s)·(p(t) − p(t − l_k)), where s describes the motion by numbers that do not turn with
it: so the model is the same in all directions, and a still hand stays still. The weights come from a network of two
layers of tanh, trained by `scripts/train_operator_model.py` on simulated operators whose reaches of minimum
jerk (Flash and Hogan 1985) overlap, pause, tremble and stop, seen with up to 3 mm of noise at 20 to 200 Hz and at each
level of smoothing, which the network is told as well. A second, smaller network of the same kind knows hands that
move freely (`core/simulate/free_hand.py`), which are less smooth, at the raw level. No recording was used to train
either.
"""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.prediction.smoothing import FREQUENCIES

LAGS = np.array([1, 2, 3, 4, 6, 8, 11, 15, 20, 30]) / 60.0  # seconds
HORIZONS = np.array([0.05, 0.1, 0.2, 0.3, 0.5])  # seconds; what lies between is interpolated
PACES = np.log10(np.array([278.0, *FREQUENCIES]) / 30.0)  # what the network is told of each level of smoothing
SCALE = HORIZONS[:, None] / LAGS / len(LAGS)  # of the weights that the network gives

NAMES = ('w1', 'b1', 'w2', 'b2', 'w3', 'b3')

Layers = tuple[Array, Array, Array, Array, Array, Array]


@cache
def shipped_layers() -> Layers:
    """Weights and biases of the three layers of the network that is shipped."""
    with _file().open('rb') as file:
        kept = np.load(file)
        w1, b1, w2, b2, w3, b3 = (np.ascontiguousarray(kept[name], dtype=float) for name in NAMES)
    return w1, b1, w2, b2, w3, b3


@cache
def free_hand_layers() -> Layers:
    """Weights and biases of the network of hands that move freely, for raw positions."""
    with _file().open('rb') as file:
        kept = np.load(file)
        w1, b1, w2, b2, w3, b3 = (np.ascontiguousarray(kept[f'free_{name}'], dtype=float) for name in NAMES)
    return w1, b1, w2, b2, w3, b3


@cache
def linear_weights() -> Array:
    """Weights of the best linear model of the simulated operators, where the regressions start, (levels, h, n)."""
    with _file().open('rb') as file:
        return np.ascontiguousarray(np.load(file)['line'], dtype=float)


def _file() -> Traversable:
    return files('twin_nodes.core.guidance.prediction').joinpath('operator_model.npz')
