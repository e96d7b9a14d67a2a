"""Brings the joints of an arm and the poses of a body on it to the same instants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

MAX_GAP_NS = 100_000_000


def pair_joints(
    stamps: NDArray[np.int64], positions: Array, pose_stamps: NDArray[np.int64], poses: Array, *, most: int
) -> tuple[Array, Array]:
    """Interpolate joints at the instants of poses; gaps above 0.1 s are left out.

    Args:
        stamps: Of the joint states, rising [ns], shape (n,).
        positions: Joint positions [rad or m], shape (n, m).
        pose_stamps: Of the poses, rising [ns], shape (k,).
        poses: Shape (k, 4, 4).
        most: Pairs that are kept, spread evenly.

    Returns:
        Positions (p, m) and poses (p, 4, 4) of the same instants.

    Raises:
        InputError: The streams do not overlap: both ranges are told.
    """
    after = np.searchsorted(stamps, pose_stamps)
    inside = (after > 0) & (after < len(stamps)) | np.isin(pose_stamps, stamps)
    later = np.clip(after, 0, len(stamps) - 1)
    earlier = np.clip(np.where(stamps[later] == pose_stamps, later, later - 1), 0, len(stamps) - 1)
    gap = stamps[later] - stamps[earlier]
    good = np.nonzero(inside & (gap <= MAX_GAP_NS))[0]
    if not len(good):
        first, last = stamps[0] / NANOSECONDS, stamps[-1] / NANOSECONDS
        raise InputError(
            f'no pose lies between two joint states: joints from {first:.1f} to {last:.1f} s, poses from '
            f'{pose_stamps[0] / NANOSECONDS:.1f} to {pose_stamps[-1] / NANOSECONDS:.1f} s'
        )
    good = good[np.unique(np.linspace(0, len(good) - 1, min(len(good), most)).astype(int))]
    share = ((pose_stamps[good] - stamps[earlier[good]]) / np.maximum(gap[good], 1))[:, None]
    return (1.0 - share) * positions[earlier[good]] + share * positions[later[good]], poses[good]
