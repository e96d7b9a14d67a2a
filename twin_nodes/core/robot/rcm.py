"""The remote centre of motion: estimated from the shaft's motion, and watched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True)
class RcmConfig:
    """When the remote centre is known, and when it has moved."""

    samples: int = setting('Samples of the shaft from which the centre is estimated.', 200, minimum=3, maximum=100000)
    min_spread: float = setting(
        'Spread of the directions of the shaft that an estimate needs, 1 σ across.', 0.05, unit='rad', minimum=0.001,
        maximum=1.0,
    )  # fmt: skip
    max_deviation: float = setting(
        'Distance of the shaft from the centre above which it has moved.', 0.002, unit='m', minimum=1e-6, maximum=0.1
    )
    confirm: int = setting('Samples in a row above it before it is said.', 5, minimum=1, maximum=10000)


@dataclass(frozen=True, eq=False)
class RcmEstimate:
    """The point nearest to all positions of the shaft.

    Args:
        centre: In the frame of the lines [m], shape (3,).
        rms: Root mean square distance of the lines from it [m].
        worst: Largest one [m].
        sigma: Standard deviation of the centre, root of the trace [m].
        spread: Spread of the directions about the axis turned second least [rad].
    """

    centre: Array
    rms: float
    worst: float
    sigma: float
    spread: float


def estimate_rcm(points: Array, directions: Array, *, min_spread: float = 0.05) -> RcmEstimate:
    """Find the point nearest to lines, in the least squares of the distances.

    Args:
        points: A point of each line [m], shape (n, 3).
        directions: Direction of each, shape (n, 3).
        min_spread: See `RcmConfig`.

    Raises:
        InputError: NaN, fewer than three lines, or a direction of length 0.
        DegenerateGeometryError: Lines that are all but parallel: the centre along them is open.
    """
    p, d = np.asarray(points, float), np.asarray(directions, float)
    if p.ndim != 2 or p.shape != d.shape or p.shape[1] != 3 or len(p) < 3:
        raise InputError(f'points {p.shape} and directions {d.shape}, expected the same (n, 3) with n of 3 or more')
    if not (np.isfinite(p).all() and np.isfinite(d).all()):
        raise InputError('lines have NaN or Inf', code='NOT_FINITE')
    length = np.linalg.norm(d, axis=1, keepdims=True)
    if length.min() < 1e-9:
        raise InputError('a direction has length 0')
    d = d / length
    across = np.eye(3) - d[:, :, None] * d[:, None, :]
    matrix = across.mean(axis=0)
    values = np.linalg.eigvalsh(matrix)
    spread = float(np.sqrt(max(values[0], 0.0)))
    if spread < min_spread:
        raise DegenerateGeometryError(
            f'the shaft turned by {np.degrees(spread):.1f}° (1 σ) of {np.degrees(min_spread):.1f}°: pivot it further',
            code='CALIBRATION_REFUSED',
        )
    centre = np.linalg.solve(matrix, np.einsum('nij,nj->i', across, p) / len(p))
    distances = np.linalg.norm(np.einsum('nij,nj->ni', across, p - centre), axis=1)
    rms = float(np.sqrt(np.mean(distances**2)))
    sigma = rms / np.sqrt(2.0) * float(np.sqrt(np.trace(np.linalg.inv(matrix)) / len(p)))
    return RcmEstimate(centre, rms, float(distances.max()), sigma, spread)


def deviation(centre: Array, point: Array, direction: Array) -> float:
    """Return the distance [m] of a line from the centre."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    return float(np.linalg.norm(np.cross(np.asarray(centre, float) - point, unit)))


class RcmWatch:
    """Learns the centre from the first motion and then watches the shaft.

    Attribute `estimate` holds the centre, None while it is learned; `moved` whether the shaft misses it; `missing` why
    there is no estimate.

    Args:
        config: Limits.
    """

    def __init__(self, config: RcmConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Learn anew."""
        self.estimate: RcmEstimate | None = None
        self.moved = False
        self.missing = 'no motion yet'
        self._lines: list[tuple[Array, Array]] = []
        self._above = 0

    def add(self, point: Array, direction: Array) -> float | None:
        """Take a position of the shaft; returns its distance from the centre [m], None while it is learned."""
        if self.estimate is None:
            self._learn(point, direction)
            return None
        distance = deviation(self.estimate.centre, point, direction)
        self._above = self._above + 1 if distance > self._config.max_deviation else 0
        self.moved = self._above >= self._config.confirm or (self.moved and self._above > 0)
        return distance

    def _learn(self, point: Array, direction: Array) -> None:
        self._lines.append((np.array(point, float), np.array(direction, float)))
        if len(self._lines) < self._config.samples:
            self.missing = f'{len(self._lines)} of {self._config.samples} samples'
            return
        points, directions = (np.array(part) for part in zip(*self._lines, strict=True))
        try:
            found = estimate_rcm(points, directions, min_spread=self._config.min_spread)
        except DegenerateGeometryError as error:
            self.missing = str(error)
            self._lines = self._lines[::2]  # what was seen stays, at half the density, so that slow motion adds up
            return
        if found.rms > self._config.max_deviation:
            self.missing = (
                f'the shaft passes no single point: {found.rms * 1e3:.1f} mm RMS from the best one, limit '
                f'{self._config.max_deviation * 1e3:g} mm'
            )
            self._lines = self._lines[len(self._lines) // 2 :]
            return
        self.estimate = found
