"""Forces of an instrument in tissue from a measured table: what was felt is rendered again.

The table holds forces over depth and speed, measured once, for going in and for coming out (Bjelland et al. 2025 render
measured profiles in place of a linear spring). Coming out is never above going in, so that a stroke costs energy; the
observer of `fixtures.mixer` may be put behind it for what sampling leaves.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

_STILL = 5e-4  # m/s, speed at which the branches meet
_LEAST_SAMPLES = 20


class ForcePhase(StrEnum):
    """What the instrument does."""

    APPROACH = 'approach'
    INDENT = 'indent'
    CUT = 'cut'
    RELEASE = 'release'


@dataclass(frozen=True)
class ForceConfig:
    """How a profile is rendered and watched."""

    alarm_force: float = setting(
        'Force above which an alarm is given; 8.5 N is the limit for probing menisci.', 8.5, unit='N', minimum=0.1,
        maximum=100.0,
    )  # fmt: skip
    cut_drop: float = setting(
        'Share of the largest force by which it falls when tissue gives way.', 0.3, minimum=0.05, maximum=0.95
    )
    tolerance: float = setting(
        'A measured force leaves the profile when it is off by this and by `share`, or by 3 σ of the table if that is '
        'more.', 0.5, unit='N', minimum=0.0, maximum=50.0,
    )  # fmt: skip
    share: float = setting('Share of the expected force that it may be off besides.', 0.2, minimum=0.0, maximum=2.0)
    dwell: float = setting(
        'How long it must be off, or back, before that is said; too much force is said at once.', 0.1, unit='s',
        minimum=0.0, maximum=5.0,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ForceProfile:
    """A measured table.

    Args:
        depths: Ascending from 0 [m], shape (n,).
        speeds: Ascending, of the tip along its way [m/s], shape (m,).
        entering: Force against the tip while it goes in [N], shape (n, m).
        leaving: The same while it comes out [N], shape (n, m); nowhere above `entering`.
        sigma: Root mean square of what the strokes were off the table [N].

    Raises:
        ConfigError: shapes that do not agree, an order that is none, NaN, or leaving above entering.
    """

    depths: Array
    speeds: Array
    entering: Array
    leaving: Array
    sigma: float = 0.0

    def __post_init__(self) -> None:
        shape = (len(self.depths), len(self.speeds))
        if self.entering.shape != shape or self.leaving.shape != shape:
            raise ConfigError(f'forces must have shape {shape}, got {self.entering.shape} and {self.leaving.shape}')
        if not all(np.isfinite(part).all() for part in (self.depths, self.speeds, self.entering, self.leaving)):
            raise ConfigError('force profile has NaN or Inf')
        if not 0.0 <= self.sigma < np.inf:
            raise ConfigError(f'sigma={self.sigma} N of a force profile must be a number of at least 0')
        if len(self.depths) < 2 or not (np.diff(self.depths) > 0.0).all() or not (np.diff(self.speeds) > 0.0).all():
            raise ConfigError('depths (at least two) and speeds of a force profile must ascend')
        if (self.leaving > self.entering + 1e-12).any() or (self.leaving < 0.0).any():
            raise ConfigError('coming out must not push harder than going in, nor pull: it would give energy')

    def force(self, depth: float, speed: float) -> float:
        """Force against the tip [N] at a depth [m] for a speed inwards [m/s]; none outside, the last beyond the table.

        Between the branches the force blends over `still` speeds, so that a reversal has no edge.
        """
        if depth <= 0.0:
            return 0.0
        pace = abs(speed)
        inwards = _bilinear(self.depths, self.speeds, self.entering, depth, pace)
        outwards = _bilinear(self.depths, self.speeds, self.leaving, depth, pace)
        share = min(max(0.5 + 0.5 * speed / _STILL, 0.0), 1.0)
        return share * inwards + (1.0 - share) * outwards


class ForceWatch:
    """Tells the phase of a stroke, and when the force is too high.

    Args:
        config: Limits.
    """

    def __init__(self, config: ForceConfig) -> None:
        self._config = config
        self._most = 0.0
        self._phase = ForcePhase.APPROACH

    def update(self, depth: float, speed: float, force: float) -> tuple[ForcePhase, bool]:
        """Take in depth [m], speed inwards [m/s] and force [N]; the phase, and whether the force is above its limit.

        Raises:
            InputError: NOT_FINITE.
        """
        if not np.isfinite((depth, speed, force)).all():
            raise InputError(f'depth {depth}, speed {speed} or force {force} is NaN or Inf', code='NOT_FINITE')
        if depth <= 0.0:
            self._phase, self._most = ForcePhase.APPROACH, 0.0
        elif speed < -_STILL:
            self._phase = ForcePhase.RELEASE
        elif self._most > 0.0 and force < (1.0 - self._config.cut_drop) * self._most:
            self._phase = ForcePhase.CUT
        elif self._phase is not ForcePhase.CUT:
            self._phase = ForcePhase.INDENT
        self._most = max(self._most, force) if depth > 0.0 else 0.0
        return self._phase, force > self._config.alarm_force


def identify_profile(
    depths: ArrayLike, speeds: ArrayLike, forces: ArrayLike, *, bins: int = 24, paces: int = 3
) -> ForceProfile:
    """Build a table from recorded strokes: means over cells of depth and speed, empty cells from their neighbours.

    Args:
        depths: Depth of the tip in the tissue [m], shape (n,).
        speeds: Speed inwards [m/s], negative on the way out, shape (n,).
        forces: Force against the tip [N], shape (n,).
        bins: Depths of the table besides 0.
        paces: Speeds of the table.

    Raises:
        InputError: shapes that do not agree, or NaN.
        DegenerateGeometryError: too few samples inside the tissue on the way in.
    """
    depth, speed, force = (np.asarray(part, float) for part in (depths, speeds, forces))
    if not depth.shape == speed.shape == force.shape or depth.ndim != 1:
        raise InputError(f'depths, speeds, forces must be (n,), got {depth.shape}, {speed.shape}, {force.shape}')
    if not (np.isfinite(depth).all() and np.isfinite(speed).all() and np.isfinite(force).all()):
        raise InputError('strokes have NaN or Inf', code='NOT_FINITE')
    entering, leaving = (depth > 0.0) & (speed > _STILL), (depth > 0.0) & (speed < -_STILL)
    if entering.sum() < _LEAST_SAMPLES:
        raise DegenerateGeometryError(f'{entering.sum()} samples of going in, at least {_LEAST_SAMPLES} are needed')
    grid = np.linspace(0.0, float(depth.max()), bins + 1)
    steps = np.unique(np.quantile(np.abs(speed[entering]), (np.arange(paces) + 0.5) / paces))
    steps = steps[np.concatenate([[True], np.diff(steps) > _STILL])]  # paces that one cannot tell apart are one
    first = _cells(grid, steps, depth[entering], speed[entering], force[entering])
    second = first
    if leaving.sum() >= _LEAST_SAMPLES:
        second = np.minimum(first, _cells(grid, steps, depth[leaving], -speed[leaving], force[leaving]))
    table = ForceProfile(grid, steps, first, second)
    off = [table.force(d, v) - f for d, v, f in zip(depth, speed, force, strict=True) if d > 0.0 and abs(v) > _STILL]
    return replace(table, sigma=float(np.sqrt(np.mean(np.square(off)))))


def _cells(grid: Array, steps: Array, depth: Array, pace: Array, force: Array) -> Array:
    """Mean force at each node, by linear weights along the depth and the nearest speed; no force at depth 0."""
    table = np.zeros((len(grid), len(steps)))
    nearest = np.abs(pace[:, None] - steps).argmin(axis=1)
    for column in range(len(steps)):
        here = nearest == column
        if not here.any():
            here = np.ones(len(pace), bool)
        nodes = _hat_fit(grid, depth[here], force[here])
        table[1:, column] = np.maximum(nodes[1:], 0.0)
    return table


def _hat_fit(grid: Array, depth: Array, force: Array) -> Array:
    """Least squares of a piecewise linear function with a weak pull towards even slopes, shape (n,)."""
    place = np.clip(depth / grid[1], 0.0, len(grid) - 1 - 1e-9)
    left = place.astype(int)
    rows = np.zeros((len(depth), len(grid)))
    rows[np.arange(len(depth)), left] = 1.0 - (place - left)
    rows[np.arange(len(depth)), left + 1] = place - left
    bend = 0.05 * np.diff(np.eye(len(grid)), n=2, axis=0)
    zero = np.zeros((1, len(grid)))
    zero[0, 0] = 100.0
    found: Array = np.linalg.lstsq(
        np.vstack([rows, bend, zero]), np.append(force, np.zeros(len(grid) - 1)), rcond=None
    )[0]
    return found


def _bilinear(depths: Array, speeds: Array, table: Array, depth: float, pace: float) -> float:
    columns = [float(np.interp(depth, depths, table[:, column])) for column in range(len(speeds))]
    return float(np.interp(pace, speeds, columns))
