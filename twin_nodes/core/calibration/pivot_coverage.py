"""How far a tool was turned during pivoting, and what is missing."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, nearest_rotation, rotation_log

_MAX_DIRECTIONS = 200
_NEAR_SHAFT = np.cos(np.radians(35.0))


@dataclass(frozen=True)
class PivotCoverage:
    """How far the tool was turned.

    Args:
        span: Angle [rad] swept by that direction of the tool which swept least; the tip is known no better along it.
        tilt: Angle [rad] swept by the shaft, from marker to tip; 0 while the tip is unknown.
        roll: Range of rotation about the shaft [rad]; 0 while the tip is unknown.
        turn: Greatest rotation between a pose and the mean pose [rad].
        shaft_lags: Whether the direction that swept least is the shaft.
    """

    span: float
    tilt: float
    roll: float
    turn: float
    shaft_lags: bool

    def advice(self, wanted: float) -> str:
        """Return what to do to reach a span [rad], such as 'tilt more: 12° of 40°'."""
        reached = f'{np.degrees(self.span):.0f}° of {np.degrees(wanted):.0f}°'
        if self.shaft_lags or self.tilt < wanted:
            return f'tilt more: {reached}'
        return f'tilt in other directions too: {reached}'


def measure_coverage(tracker_R_tool: Array, tip_tool: Array | None) -> PivotCoverage:
    """Measure the coverage of rotations (n, 3, 3); the shaft is the direction of the tip [m], shape (3,), if known.

    The squared spread of R_i v over the poses is vᵀ (I − R̄ᵀR̄) v for a direction v of the tool: the eigenvector of the
    least eigenvalue is the direction that swept least, and the normal matrix of the pivot problem is the same matrix.
    """
    mean = tracker_R_tool.mean(axis=0)
    least = np.linalg.eigh(np.eye(3) - mean.T @ mean)[1][:, 0]
    span = _swept(tracker_R_tool @ least)
    centre = nearest_rotation(mean)
    turns = rotation_log(np.swapaxes(tracker_R_tool, 1, 2) @ centre)
    turn = float(np.linalg.norm(turns, axis=1).max())
    length = float(np.linalg.norm(tip_tool)) if tip_tool is not None else 0.0
    if tip_tool is None or length < 1e-6:
        return PivotCoverage(span, 0.0, 0.0, turn, False)
    shaft = tip_tool / length
    tilt = _swept(tracker_R_tool @ shaft)
    roll = float(np.ptp(turns @ shaft))
    return PivotCoverage(span, tilt, roll, turn, bool(abs(least @ shaft) > _NEAR_SHAFT))


def _swept(directions: Array) -> float:
    """Greatest angle [rad] between two of many unit vectors (n, 3); at most 200 of them are compared."""
    directions = directions[:: -(-len(directions) // _MAX_DIRECTIONS)]
    # |a - b| = 2 sin(θ/2) keeps the digits of small angles that arccos loses.
    chords = np.linalg.norm(directions[:, None] - directions[None], axis=-1)
    return float(2.0 * np.arcsin(min(float(chords.max()) / 2.0, 1.0)))
