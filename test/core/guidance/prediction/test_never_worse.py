"""Whatever a tracker makes of a motion, a prediction is no worse than the last pose, and its covariance holds."""

import numpy as np
import pytest

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.predictor import PosePredictor
from twin_nodes.core.guidance.prediction.spread import REGION
from twin_nodes.core.simulate.operator_motion import operator_trace

AHEAD = (0.05, 0.1, 0.3, 0.5)
START = 10**12
SEEN = 1200  # samples of each case


def seen(rate_hz=60.0, noise=1e-4, *, seed=30_003):
    seconds = max(SEEN / rate_hz, 4.0)
    trace = operator_trace(np.random.default_rng(seed), seconds=seconds, rate_hz=rate_hz, noise=noise)
    return np.random.default_rng(seed), trace.times, trace.measured, trace.truth


def trembling():
    _, times, measured, truth = seen()
    tremor = 5e-4 * np.sin(2.0 * np.pi * 9.0 * times)[:, None]
    return times, measured + tremor, truth + tremor


def with_gaps():
    rng, times, measured, truth = seen()
    kept = (rng.random(len(times)) > 0.3) & (times % 2.1 > 0.15)
    return times[kept], measured[kept], truth[kept]


def with_outliers():
    rng, times, measured, truth = seen()
    off = rng.random(len(times)) < 0.02
    return times, measured + off[:, None] * rng.normal(0.0, 0.012, measured.shape), truth


def with_jumps(rate_hz):
    rng, times, measured, truth = seen(rate_hz)
    steps = np.zeros_like(truth)
    steps[SEEN // 8 :: SEEN // 8] = rng.normal(0.0, 0.03, (7, 3))
    jumps = np.cumsum(steps, axis=0)
    return times, measured + jumps, truth + jumps


def at_rest(noise):
    rng, times, _, truth = seen()
    return times, rng.normal(0.0, noise, truth.shape), np.zeros_like(truth)


def rounded():
    _, times, measured, truth = seen()
    return times, np.round(measured / 1e-3) * 1e-3, truth


CASES = {
    **{f'{rate:g} Hz, {1e3 * noise:g} mm': lambda rate=rate, noise=noise: seen(rate, noise)[1:]
       for rate, noise in ((20.0, 1e-3), (20.0, 3e-3), (60.0, 0.0), (60.0, 3e-4), (60.0, 1e-3), (60.0, 3e-3),
                           (200.0, 1e-3), (1000.0, 1e-3))},
    'tremor': trembling, 'gaps': with_gaps, 'outliers': with_outliers, 'jumps at 60 Hz': lambda: with_jumps(60.0),
    'jumps at 200 Hz': lambda: with_jumps(200.0), 'rest, 1 µm': lambda: at_rest(1e-6),
    'rest, 1 mm': lambda: at_rest(1e-3), 'rounded to 1 mm': rounded,
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_never_worse_than_holding_still_and_the_covariance_holds(case):
    times, measured, truth = CASES[case]()
    predictor = PosePredictor(PredictionConfig())
    own, held, inside = np.zeros(len(AHEAD)), np.zeros(len(AHEAD)), []
    for time, position in zip(times, measured, strict=True):
        predictor.add(START + round(time * 1e9), make_transform(np.eye(3), position))
        if time < 0.5 or time + AHEAD[-1] > times[-1]:
            continue
        for at, found in enumerate(predictor.predict(*AHEAD)):
            then = np.array([np.interp(time + AHEAD[at], times, truth[:, axis]) for axis in range(3)])
            error = then - found.pose[:3, 3]
            own[at] += error @ error
            held[at] += (then - position) @ (then - position)
            inside.append(error @ np.linalg.solve(found.covariance[:3, :3], error) <= REGION)
    assert (own <= held).all()
    if 'jumps' not in case:  # nobody foretells these
        assert np.mean(inside) > 0.92


def test_a_hand_that_stops_at_once_has_not_jumped():
    predictor = PosePredictor(PredictionConfig())
    for index in range(400):
        position = [0.3 * min(index, 300) / 200.0, 0.0, 0.0]
        predictor.add(START + index * 5_000_000, make_transform(np.eye(3), position))
    (found,) = predictor.predict(0.1)
    assert found.pose[0, 3] == pytest.approx(0.45, abs=2e-3)


def test_a_jump_of_the_rotation_leaves_the_turning_as_it_was():
    from twin_nodes.core.geometry.se3 import angle_between, rotation_exp

    predictor = PosePredictor(PredictionConfig())
    turn, jump = np.array([0.0, 0.0, 0.5]), rotation_exp([0.4, 0.0, 0.0])
    for index in range(600):
        rotation = rotation_exp(0.01 * index * turn)
        predictor.add(
            START + index * 10_000_000, make_transform(jump @ rotation if index >= 580 else rotation, np.zeros(3))
        )
    (found,) = predictor.predict(0.1)
    assert angle_between(found.pose, make_transform(jump @ rotation_exp(6.09 * turn), np.zeros(3))) < 0.02
