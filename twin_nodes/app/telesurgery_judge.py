"""What telesurgery is judged by: how the robot stops, how it comes back, how near it keeps to what was commanded."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.app.telesurgery_watch import TelesurgeryWatch
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.telesurgery.operator.path_error import path_errors

SLOW = 0.0005  # below this speed a tip stands [m/s]
FIRST_S = 1.0
REACH_S = 12.0
ADJACENT_S = 0.025  # over more some were not heard or not sent; at 20 mm/s it is the 0.5 mm that a step may have


@dataclass(frozen=True)
class Return:
    """How a robot came back to its operator.

    Args:
        step: Largest step of the set point in the first second [m].
        speed: Largest speed in the first second [m/s].
    """

    step: float
    speed: float


def last_motion(times: Array, points: Array, *, slow: float = SLOW) -> float:
    """Return when points (n, 3) [m] last moved faster than `slow` [m/s], in their times (n,) [s]; -inf when never."""
    if len(times) < 2:
        return -np.inf
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    spans = np.maximum(np.diff(times), 1e-3)
    moving = np.flatnonzero(steps / spans > slow)
    return float(times[1:][moving[-1]]) if len(moving) else -np.inf


def largest_step(times: Array, points: Array) -> tuple[float, int]:
    """Return the largest step from one set point to the next [m], and how many gaps there are, over which none is told.

    What moves over a gap counts in `fastest`.

    Args:
        times: Their stamps [s], shape (n,).
        points: Where they are [m], shape (n, 3).
    """
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    adjacent = np.diff(times) <= ADJACENT_S
    return float(steps[adjacent].max(initial=0.0)), int((~adjacent).sum())


def fastest(times: Array, points: Array, *, span: float = 0.03) -> float:
    """Return the largest mean speed over a span [m/s]: single set points are sent some milliseconds early or late."""
    later = np.searchsorted(times, times + span)
    first = np.flatnonzero(later < len(times))
    second = later[first]
    if not len(first):
        return 0.0
    way = np.linalg.norm(points[second] - points[first], axis=1)
    return float((way / (times[second] - times[first])).max())


def returns(watch: TelesurgeryWatch) -> list[Return]:
    """Judge the first second of each time that the robot came back from standing, whatever mode it then is in."""
    found = []
    before = 'hold'
    for asked_ns, mode in watch.modes:
        if mode == 'catch-up' and before in ('hold', 'outage'):
            times, points = watch.told.since(asked_ns - 20_000_000)
            way = times < 0.02 + FIRST_S
            if way.sum() > 1:
                step, _ = largest_step(times[way], points[way])
                found.append(Return(step, fastest(times[way], points[way])))
        before = mode
    return found


def holds(watch: TelesurgeryWatch, *, gap: float = 0.3) -> list[float]:
    """Return for each gap in the commands at the robot's site how long after the last one the set point moved [s]."""
    times = np.array(watch.come.times, dtype=np.int64)
    told_ns = np.array(watch.told.times, dtype=np.int64)
    points = watch.told.array()
    found = []
    for number in np.flatnonzero(np.diff(times) > gap * 1e9):
        inside = (told_ns > times[number] - 200_000_000) & (told_ns < times[number + 1])
        moved = last_motion((told_ns[inside] - times[number]) * 1e-9, points[inside])
        if np.isfinite(moved):
            found.append(max(moved, 0.0))
    return found


def path_error(watch: TelesurgeryWatch, keep: Array | None = None) -> tuple[float, float]:
    """Return root mean square and largest distance [m] of the set points from the path that was commanded before them.

    Args:
        watch: What was heard.
        keep: Which set points count, shape (n,); all when None.
    """
    said_ns = np.array(watch.said.times, dtype=np.int64)
    told_ns = np.array(watch.told.times, dtype=np.int64)
    said, told = watch.said.array(), watch.told.array()
    steps = np.searchsorted(said_ns, told_ns, side='right').astype(np.int64) - 1
    inside = steps > 0
    inside &= told_ns > begun_ns(watch)
    for start_ns, end_ns in straight_ways(watch):
        inside &= (told_ns < start_ns) | (told_ns > end_ns)
    if keep is not None:
        inside &= keep
    if not inside.any():
        return float('nan'), float('nan')
    rate = len(said_ns) / max((said_ns[-1] - said_ns[0]) * 1e-9, 1e-3)
    return path_errors(said, told[inside], steps[inside], reach=int(REACH_S * rate))


def straight_ways(watch: TelesurgeryWatch) -> list[tuple[int, int]]:
    """Return from when to when [ns] the robot went straight to its operator, who had let go of what he did before."""
    found = []
    for number, (start_ns, mode) in enumerate(watch.modes):
        asked = [action for at, action in watch.asked if at < start_ns]
        if mode == 'catch-up' and asked and asked[-1] == 'discard':
            after = watch.modes[number + 1 :]
            end_ns = next((at for at, name in after if name in ('degraded', 'connected', 'catch-up')), 1 << 62)
            found.append((start_ns - 20_000_000, end_ns + 300_000_000))  # what is left of the way fades
    return found


def begun_ns(watch: TelesurgeryWatch) -> int:
    """Return when the robot was first with its operator [ns]; before that it is on its way to him."""
    return next((at for at, mode in watch.modes if mode in ('degraded', 'connected')), 1 << 62)


def residual_loss(watch: TelesurgeryWatch) -> float:
    """Return the share of the commands that did not come to the robot's site, while the link was not cut."""
    come = np.array(watch.come.points, dtype=float).reshape(-1, 3)
    said = np.array(watch.said.points, dtype=float).reshape(-1, 3)
    if len(come) < 2 or not len(said):
        return float('nan')
    known = {point.tobytes(): number for number, point in enumerate(said)}
    numbers = np.array([known[point.tobytes()] for point in come if point.tobytes() in known])
    if len(numbers) < 2:
        return float('nan')
    first, last = int(numbers.min()), int(numbers.max())
    expected = len({point.tobytes() for point in said[first : last + 1]})
    return max(0.0, 1.0 - len(set(numbers.tolist())) / expected)
