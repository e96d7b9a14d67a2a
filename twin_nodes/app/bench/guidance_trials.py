"""Trials of bench `guidance`: scripted approaches, safe work and grazing work, at the core, with known truth.

A pose is measured at its stamp with noise and reaches the guidance `latency` later; the advice is for that instant. An
alarm counts as before the contact when it is given, at stamp + latency, before the true tip touches.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.chain import Chain
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.guidance.alarms import AlarmMonitor
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.lookout import Lookout
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.predictor import PosePredictor
from twin_nodes.core.simulate.motion import minimum_jerk
from twin_nodes.core.simulate.operator_motion import operator_trace
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.core.stamps import NANOSECONDS

RADIUS = 0.02  # m, of the ball that is guarded
NOISE = 1e-4  # m, RMS over three axes
BIAS = 2e-4  # m, sigma of registration and calibration on each axis
RATE_HZ = 60.0
DEEPEST, SHALLOWEST = -0.016, 0.004  # m, how deep a path goes into a ball, at most and at least
CLEAR = 0.004  # m, about a sample, in which balls may lie anywhere
SURFACES = 40  # balls to a path
GRAZING_S = 0.1
RINGS = 128  # of the ball's triangles, which then lie 2 µm inside of it in the mean
FURTHEST = 0.005  # m, speed × latency
SAFE = 0.003  # m, that safe work keeps from the structure
START_NS = 1_000 * NANOSECONDS
COVARIANCE = np.diag([NOISE**2 / 3.0 + BIAS**2] * 3 + [1e-8] * 3)


@dataclass(frozen=True, eq=False)
class Watched:
    """What the guidance said along one trace.

    Args:
        alarmed: Times of the advice at which an alarm began [s].
        probabilities: Of a breach at the instant of each advice, shape (n,).
        breached: Whether the true tip was inside at that instant, shape (n,).
    """

    alarmed: list[float]
    probabilities: Array
    breached: NDArray[np.bool_]


def ball() -> ClearanceMonitor:
    """Guard a ball of `RADIUS` about the origin with the tip alone."""
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0, rings=RINGS)
    grid = DistanceGrid.from_surface(make_surface('ball', vertices, triangles), 0.001, 0.06)
    return ClearanceMonitor(GuidanceConfig(), [Structure('ball', grid)])


def watch(
    monitor: ClearanceMonitor, times: Array, truth: Array, rng: np.random.Generator, latency: float, until: float
) -> Watched:
    """Feed a true path [m] (n, 3) with noise and bias, up to a time [s]."""
    config = GuidanceConfig()
    lookout, alarms = Lookout(PredictionConfig(), config.alarms), AlarmMonitor(config.alarms, ('ball',))
    lookout.latency = latency
    bias = rng.normal(0.0, BIAS, 3)
    alarmed, probabilities, breached = [], [], []
    for time, position in zip(times, truth, strict=True):
        if time > until:
            break
        stamp_ns = START_NS + round(time * NANOSECONDS)
        pose = make_transform(np.eye(3), position + bias + rng.normal(0.0, NOISE / np.sqrt(3.0), 3))
        lookout.add(stamp_ns, pose, np.eye(4))
        view = lookout.look(monitor, Chain(pose, COVARIANCE, ()), np.eye(4))
        if any(event.raised for event in alarms.update(stamp_ns, view.outlooks)):
            alarmed.append(time + latency)
        if time + latency <= times[-1]:
            probabilities.append(float(view.rows[0, 2]))
            future = [np.interp(time + latency, times, truth[:, axis]) for axis in range(3)]
            breached.append(float(np.linalg.norm(future)) < RADIUS)
    return Watched(alarmed, np.array(probabilities), np.array(breached, bool))


def approaches(monitor: ClearanceMonitor, count: int) -> tuple[int, list[float]]:
    """Approach the ball with speed × latency up to `FURTHEST`; return how many were announced, and how early [s]."""
    announced, leads = 0, []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        latency = float(rng.uniform(0.02, 0.2))
        speed = float(rng.uniform(0.05, 1.0)) * FURTHEST / latency
        times, truth = _approach(rng, speed)
        contact = float(times[np.argmax(np.linalg.norm(truth, axis=1) < RADIUS)])
        seen = watch(monitor, times, truth, rng, latency, contact + 0.5)
        if seen.alarmed and seen.alarmed[0] < contact:
            announced += 1
            leads.append(contact - seen.alarmed[0])
    return announced, leads


def _approach(rng: np.random.Generator, speed: float) -> tuple[Array, Array]:
    """A start from rest, a stroke at a speed [m/s], and a way that meets the ball, not always squarely."""
    way = rng.normal(size=3)
    way /= np.linalg.norm(way)
    aside = np.cross(way, rng.normal(size=3))
    aside *= rng.uniform(0.0, 0.7) * RADIUS / np.linalg.norm(aside)
    run = float(rng.uniform(0.01, 0.03))
    ramp = float(rng.uniform(0.15, 0.4))
    times = np.arange(0.0, ramp + (run + RADIUS) / speed + 1.0, 1.0 / RATE_HZ)
    # speed rises with the derivative of minimum jerk to its middle, then stays
    rise = np.array([minimum_jerk(min(time / ramp, 1.0)) for time in times])
    travelled = np.cumsum(rise) * speed / RATE_HZ
    start = -way * (np.sqrt(RADIUS**2 - float(aside @ aside)) + run)
    return times, start + aside + way * np.minimum(travelled, run + RADIUS)[:, None]


def safe_work(monitor: ClearanceMonitor, traces: int, seconds: float) -> tuple[int, float]:
    """Work near the ball that never comes nearer than `SAFE`; return false alarms and minutes."""
    alarms = 0
    for seed in range(traces):
        rng = np.random.default_rng(30_000 + seed)
        drawn = operator_trace(rng, seconds=seconds, noise=0.0)
        truth = drawn.truth + _shift(drawn.truth, SAFE)
        alarms += len(watch(monitor, drawn.times, truth, rng, 0.1, np.inf).alarmed)
    return alarms, traces * seconds / 60.0


@dataclass(frozen=True, eq=False)
class Told:
    """Probabilities of a breach and what came of them.

    Args:
        probabilities: As told, shape (n,).
        breached: Whether the tip was inside at that instant, shape (n,).
        traces: Number of the trace of each, shape (n,).
    """

    probabilities: Array
    breached: NDArray[np.bool_]
    traces: NDArray[np.int64]


def grazing_work(monitor: ClearanceMonitor, traces: int, seconds: float) -> Told:
    """Work at the surface of balls that lie anywhere, each with a bias of its own, as told 0.1 s before.

    A probability is that of a surface of which nothing is known but the estimate. So the balls must lie anywhere about
    the path, not where it turns back from them: their depths are even between `SHALLOWEST` and `DEEPEST`, and an
    instant counts only where that range reaches `CLEAR` beyond it on both sides, by the true path alone.
    """
    (ball,) = monitor.structures
    assert isinstance(ball.grid, DistanceGrid)
    found = []
    for seed in range(traces):
        rng = np.random.default_rng(40_000 + seed)
        drawn = operator_trace(rng, seconds=seconds, noise=0.0)
        depths = DEEPEST + (SHALLOWEST - DEEPEST) * (np.arange(SURFACES) + rng.random(SURFACES)) / SURFACES
        shifts = np.stack([_shift(drawn.truth, float(depth)) for depth in depths])
        away = shifts + rng.normal(0.0, BIAS, shifts.shape)
        balls = [
            Structure(f'{at}', replace(ball.grid, name=f'{at}', origin=ball.grid.origin - one))
            for at, one in enumerate(away)
        ]
        told, came = _told(ClearanceMonitor(GuidanceConfig(), balls), drawn.times, drawn.truth, shifts, rng, GRAZING_S)
        found.append(Told(told, came, np.full(len(told), seed)))
    return Told(
        *(np.concatenate([vars(one)[name] for one in found]) for name in ('probabilities', 'breached', 'traces'))
    )


def _told(
    monitor: ClearanceMonitor, times: Array, truth: Array, shifts: Array, rng: np.random.Generator, ahead: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Predict a path (n, 3) and look at all balls, as `Lookout` does; return what was told and what came."""
    predictor = PosePredictor(PredictionConfig())
    reference = _shift(truth, 0.0)
    told, came = [], []
    for time, position in zip(times, truth, strict=True):
        if time + ahead > times[-1]:
            break
        pose = make_transform(np.eye(3), position + rng.normal(0.0, NOISE / np.sqrt(3.0), 3))
        predictor.add(START_NS + round(time * NANOSECONDS), pose)
        future = np.array([np.interp(time + ahead, times, truth[:, axis]) for axis in range(3)])
        height = float(np.linalg.norm(future + reference)) - RADIUS
        if not CLEAR - SHALLOWEST <= height <= -DEEPEST - CLEAR:
            continue
        (there,) = predictor.predict(ahead)
        rows = monitor.survey(np.ascontiguousarray(there.pose), COVARIANCE, np.ascontiguousarray(there.covariance))
        told.append(rows[:, 9])
        came.append(np.linalg.norm(future + shifts, axis=1) < RADIUS)
    if not told:
        return np.empty(0), np.empty(0, bool)
    return np.concatenate(told), np.concatenate(came)


def _shift(truth: Array, least: float) -> Array:
    """How far a path must move along x so that its least distance to the ball is `least` [m], shape (3,)."""
    near, far = 0.0, 0.4
    for _ in range(40):
        middle = 0.5 * (near + far)
        distance = float(np.linalg.norm(truth + np.array([middle, 0.0, 0.0]), axis=1).min()) - RADIUS
        near, far = (middle, far) if distance < least else (near, middle)
    return np.array([far, 0.0, 0.0])


@dataclass(frozen=True)
class Reliability:
    """One bin of told probabilities.

    Args:
        told: Their mean.
        came: Share of them that came.
        low: Lower end of the 95 % interval of `came`, by traces drawn again.
        high: Upper end.
        count: Samples.
        weight: Share of all samples that matter.
    """

    told: float
    came: float
    low: float
    high: float
    count: int
    weight: float


def reliability(told: Told, bins: int = 10, draws: int = 500) -> list[Reliability]:
    """Return told and seen shares bin by bin, with intervals by drawing whole traces again (cluster bootstrap).

    Samples below 1 % that did not come are most of them and say little: they are left out.
    """
    matters = (told.probabilities > 0.01) | told.breached
    shares, came, traces = told.probabilities[matters], told.breached[matters], told.traces[matters]
    index = np.minimum((shares * bins).astype(int), bins - 1)
    size = int(told.traces.max()) + 1
    again = np.random.default_rng(1).multinomial(size, np.full(size, 1.0 / size), draws)
    rows = []
    for one in range(bins):
        here = index == one
        if not here.any():
            rows.append(Reliability(np.nan, np.nan, 0.0, 1.0, 0, 0.0))
            continue
        number = again @ np.bincount(traces[here], minlength=size)
        drawn = (again @ np.bincount(traces[here], came[here], minlength=size))[number > 0] / number[number > 0]
        low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
        rows.append(
            Reliability(
                float(shares[here].mean()), float(came[here].mean()), low, high, int(here.sum()), float(here.mean())
            )
        )
    return rows
