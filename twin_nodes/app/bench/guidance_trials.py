"""Trials of bench `guidance`: scripted approaches, safe work and grazing work, at the core, with known truth.

A pose is measured at its stamp with noise and reaches the guidance `latency` later; the advice is for that instant. An
alarm counts as before the contact when it is given, at stamp + latency, before the true tip touches.
"""

from dataclasses import dataclass

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
from twin_nodes.core.simulate.motion import minimum_jerk
from twin_nodes.core.simulate.operator_motion import operator_trace
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.core.stamps import NANOSECONDS

RADIUS = 0.02  # m, of the ball that is guarded
NOISE = 1e-4  # m, RMS over three axes
BIAS = 2e-4  # m, sigma of registration and calibration on each axis
RATE_HZ = 60.0
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
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
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


def grazing_work(monitor: ClearanceMonitor, traces: int, seconds: float) -> tuple[Array, NDArray[np.bool_]]:
    """Work that goes through the surface; return told probabilities and what came, over all traces."""
    told, came = [], []
    for seed in range(traces):
        rng = np.random.default_rng(40_000 + seed)
        drawn = operator_trace(rng, seconds=seconds, noise=0.0)
        depth = float(rng.uniform(-0.012, 0.0))
        seen = watch(monitor, drawn.times, drawn.truth + _shift(drawn.truth, depth), rng, 0.1, np.inf)
        told.append(seen.probabilities)
        came.append(seen.breached)
    return np.concatenate(told), np.concatenate(came)


def _shift(truth: Array, least: float) -> Array:
    """How far a path must move along x so that its least distance to the ball is `least` [m], shape (3,)."""
    near, far = 0.0, 0.4
    for _ in range(40):
        middle = 0.5 * (near + far)
        distance = float(np.linalg.norm(truth + np.array([middle, 0.0, 0.0]), axis=1).min()) - RADIUS
        near, far = (middle, far) if distance < least else (near, middle)
    return np.array([far, 0.0, 0.0])


def calibration_error(told: Array, came: NDArray[np.bool_], bins: int = 10) -> tuple[float, float]:
    """Mean difference of told and seen shares, weighted by samples, and the largest of bins with 2 % of what matters.

    Samples below 1 % that did not come are most of them and say little: they are left out of the bins' weights.
    """
    matters = (told > 0.01) | came
    told, came = told[matters], came[matters]
    index = np.minimum((told * bins).astype(int), bins - 1)
    gaps, weights = [], []
    for one in range(bins):
        here = index == one
        if here.sum() >= max(0.02 * len(told), 30):
            gaps.append(abs(float(told[here].mean() - came[here].mean())))
            weights.append(float(here.sum()))
    return float(np.average(gaps, weights=weights)), max(gaps)
