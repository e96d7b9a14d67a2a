"""Ways of a tool that bends: arcs about the chord from an entry to the target."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes.config import RouteConfig


def bent_ways(straight: Array, directions: Array, axis: Array, config: RouteConfig) -> Array:
    """Bend each way into all directions about its chord.

    The directions are carried from those about the axis of approach along the shortest turn, so that they change little
    from one entry to the next.

    Args:
        straight: As the kernels take them, shape (m, 10): entry, target [m], direction of the bend, curvature [1/m].
        directions: Unit vectors from entry to target, shape (m, 3).
        axis: Unit axis of approach, shape (3,).
        config: Radius of the bend and number of directions.

    Returns:
        The ways of each entry one after another, shape (m · turns, 10).
    """
    aside = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    aside /= np.linalg.norm(aside)
    angles = 2.0 * np.pi * np.arange(config.bend_turns) / config.bend_turns
    about = np.cos(angles)[:, None] * aside + np.sin(angles)[:, None] * np.cross(axis, aside)
    turned = np.cross(axis, directions)  # R v = v + t × v + t × (t × v) / (1 + cos), t = axis × direction
    share = 1.0 / (1.0 + directions @ axis)
    once = np.cross(turned[:, None], about)
    ways = np.repeat(straight[:, None], config.bend_turns, axis=1)
    ways[:, :, 6:9] = about + once + share[:, None, None] * np.cross(turned[:, None], once)
    ways[:, :, 9] = 1.0 / config.bend_radius
    return np.asarray(ways.reshape(-1, 10))
