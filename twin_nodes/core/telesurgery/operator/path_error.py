"""How far the robot is from the path of the commands, time left out: the least distance over all lags."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array


@njit(cache=True)
def _distances(said: Array, robot: Array, steps: Array, reach: int) -> Array:
    out = np.zeros(len(robot))
    for i in range(len(robot)):
        best = 1e30
        end = int(steps[i])
        for j in range(max(end - reach, 0), end):
            ax, ay, az = said[j, 0], said[j, 1], said[j, 2]
            bx, by, bz = said[j + 1, 0] - ax, said[j + 1, 1] - ay, said[j + 1, 2] - az
            px, py, pz = robot[i, 0] - ax, robot[i, 1] - ay, robot[i, 2] - az
            square = bx * bx + by * by + bz * bz
            t = 0.0
            if square > 0.0:
                t = min(max((px * bx + py * by + pz * bz) / square, 0.0), 1.0)
            dx, dy, dz = px - t * bx, py - t * by, pz - t * bz
            best = min(best, dx * dx + dy * dy + dz * dz)
        out[i] = np.sqrt(best) if best < 1e30 else 0.0
    return out


def path_errors(
    said: Array, robot: Array, steps: NDArray[np.int64] | None = None, *, reach: int = 2400
) -> tuple[float, float]:
    """Return root mean square and largest distance [m] of the robot's points from the commanded path before them.

    e(t) = min over 0 ≤ τ ≤ D of ‖robot(t) − said(t − τ)‖, the path taken as the chords between the commands.

    Args:
        said: Commanded tip of each step [m], shape (n, 3).
        robot: Tip of the robot at some of these steps [m], shape (m, 3).
        steps: Which steps these are, shape (m,); all by default.
        reach: D in steps.
    """
    if not len(robot):
        return float('nan'), float('nan')
    at = np.arange(len(robot)) if steps is None else steps
    found = _distances(said, robot, at.astype(np.float64), reach)
    return float(np.sqrt(np.mean(found**2))), float(found.max(initial=0.0))
