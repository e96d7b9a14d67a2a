"""Motion of an arm and the errors of what it says, for tests."""

import numpy as np

from twin_nodes.core.geometry.se3 import rotation_exp


def smooth_motion(chain, rng, seconds, *, step=0.1):
    """Sums of sines within the limits, shape (n, m)."""
    times = np.arange(0.0, seconds, step)
    positions = np.tile(chain.middle, (len(times), 1))
    reach = 0.35 * np.minimum(chain.upper - chain.lower, 2.0)
    for index in range(len(chain)):
        for frequency, phase in zip(rng.uniform(0.02, 0.3, 3), rng.uniform(0.0, 6.0, 3), strict=True):
            positions[:, index] += reach[index] / 3.0 * np.sin(2.0 * np.pi * frequency * times + phase)
    return np.clip(positions, chain.lower, chain.upper)


def reported(chain, positions, rng, *, position=1e-4, rotation=2e-3):
    """Tip poses with noise, shape (n, 4, 4)."""
    poses = chain.forward(positions)
    poses[:, :3, 3] += rng.normal(0.0, position, (len(poses), 3))
    poses[:, :3, :3] = rotation_exp(rng.normal(0.0, rotation, (len(poses), 3))) @ poses[:, :3, :3]
    return poses


def slack(positions, size):
    """What the cables of a wrist add: half the slack behind the motion of each of the last two joints."""
    behind = np.zeros_like(positions)
    behind[:, -2:] = 0.5 * size * np.sign(np.gradient(positions, axis=0))[:, -2:]
    return positions - behind
