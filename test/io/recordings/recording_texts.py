"""Pieces of recordings with the structure of the real ones."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp

IDENTITY_MM = '1 0 0 10 0 1 0 20 0 0 1 30 0 0 0 1'


def plus_frame(index: int, stamp: str, **fields: str) -> str:
    lines = [f'Seq_Frame{index:04d}_{key} = {value}' for key, value in fields.items()]
    if stamp:
        lines.append(f'Seq_Frame{index:04d}_Timestamp = {stamp}')
    return '\n'.join(lines) + '\n'


def known_poses(count: int = 40) -> Array:
    """Poses of a tool that turns and moves about 1.5 m from its tracker [m], shape (n, 4, 4)."""
    rng = np.random.default_rng(4)
    rotations = rotation_exp(rng.normal(0.0, 0.9, (count, 3)))
    return make_transform(rotations, rng.normal([0.2, -0.3, -1.5], 0.1, (count, 3)))


def in_millimetres(poses: Array) -> Array:
    """The same matrices as a tracker writes them, positions in millimetres."""
    written = poses.copy()
    written[:, :3, 3] *= 1e3
    return written
