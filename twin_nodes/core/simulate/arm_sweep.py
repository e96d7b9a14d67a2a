"""Motion that shows all joints of an arm to a tracker, and the tracker that sees a body on its tip."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_exp
from twin_nodes.core.robot.chain import SerialChain

START = 3.0  # until the motion is whole [s]
SHARE = 0.35  # of the range of a joint, to each side
WIDEST = 2.0  # of a range that counts [rad or m]: a roll need not turn further
FREQUENCIES = (0.05, 0.11, 0.19)  # [Hz]
TIP_T_BODY = make_transform(rotation_exp(np.array([0.4, -0.3, 0.2])), np.array([0.01, -0.02, 0.03]))


def sweep(chain: SerialChain, home: Array, seconds: float) -> Array:
    """Return where the joints are on a smooth way through 0.7 of their ranges, which begins at rest.

    Args:
        chain: The joints.
        home: Where it begins [rad or m], shape (m,).
        seconds: Time since then.

    Returns:
        Within the limits, shape (m,).
    """
    lower, upper = np.maximum(chain.lower, -np.pi), np.minimum(chain.upper, np.pi)
    index = np.arange(len(chain))
    waves = [np.sin(2.0 * np.pi * f * (1.0 + 0.13 * index) * seconds + 1.7 * index * (k + 1))
             for k, f in enumerate(FREQUENCIES)]  # fmt: skip
    goal = 0.5 * (lower + upper) + SHARE * np.minimum(upper - lower, WIDEST) * np.mean(waves, axis=0)
    share = min(seconds / START, 1.0)
    share = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)  # without a jump of speed or acceleration
    return np.asarray(home + share * (goal - home))


class TrackedTip:
    """A tracker that sees a body fixed to the tip of an arm, with noise.

    Args:
        reference_T_tracker: Where the tracker stands [m], shape (4, 4).
        position_noise: Of each axis [m].
        rotation_noise: About each axis [rad].
        rng: Draws the noise.
    """

    def __init__(
        self, reference_T_tracker: Array, *, position_noise: float, rotation_noise: float, rng: np.random.Generator
    ) -> None:
        self._tracker_T_reference = inverse(reference_T_tracker)
        self._position_noise, self._rotation_noise, self._rng = position_noise, rotation_noise, rng

    def see(self, reference_T_tip: Array) -> Array:
        """Return tracker_T_body [m], shape (4, 4)."""
        pose = self._tracker_T_reference @ reference_T_tip @ TIP_T_BODY
        turn = rotation_exp(self._rng.normal(0.0, self._rotation_noise, 3))
        return make_transform(turn @ pose[:3, :3], pose[:3, 3] + self._rng.normal(0.0, self._position_noise, 3))
