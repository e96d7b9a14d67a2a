"""Set points of a robot in the prediction: the lag found, errors smaller, and no harm where they mislead."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp, rotation_log
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.spread import REGION
from twin_nodes.core.guidance.prediction.steered import SteeredPredictor
from twin_nodes.core.simulate.operator_motion import operator_trace

START = 10**12
AHEAD = (0.1, 0.3)
LAG = 0.085


def followed(lag, *, seed=3, seconds=30.0, steer=True, obeys=True, until=np.inf, turn=0.0):
    """Skill over hold-last per horizon, share inside the 95 % region, and the predictor, of a tool that follows."""
    rng = np.random.default_rng(seed)
    trace = operator_trace(rng, seconds=seconds, noise=0.0)
    other = operator_trace(np.random.default_rng(seed + 100), seconds=seconds, noise=0.0).truth
    late = np.stack([np.interp(trace.times - lag, trace.times, trace.truth[:, axis]) for axis in range(3)], axis=1)
    measured = late + rng.normal(0.0, 3e-5, late.shape)
    predictor = SteeredPredictor(PredictionConfig())
    errors, held, inside = [], [], []
    for time, position, told in zip(trace.times, measured, trace.truth if obeys else other, strict=True):
        stamp_ns = START + round(time * 1e9)
        if steer and time < until:
            wanted = make_transform(rotation_exp(turn * told), told + np.array([0.5, 0.0, -0.2]))  # an offset is no lag
            predictor.steer(stamp_ns, wanted)
        here = np.array([np.interp(time - lag, trace.times, trace.truth[:, axis]) for axis in range(3)])
        predictor.add(stamp_ns, make_transform(rotation_exp(turn * here), position))
        if time < 8.0 or time + AHEAD[-1] > trace.times[-1]:
            continue
        found = predictor.predict(*AHEAD)
        future = [np.array([np.interp(time + h, trace.times, late[:, axis]) for axis in range(3)]) for h in AHEAD]
        misses = [then - one.pose[:3, 3] for then, one in zip(future, found, strict=True)]
        errors.append([miss @ miss for miss in misses])
        held.append([np.sum((then - position) ** 2) for then in future])
        inside.append(misses[0] @ np.linalg.solve(found[0].covariance[:3, :3], misses[0]) <= REGION)
    return 1.0 - np.sqrt(np.mean(errors, axis=0) / np.mean(held, axis=0)), np.mean(inside), predictor


@pytest.fixture(scope='module')
def alone():
    return followed(LAG, steer=False)[0]


def test_set_points_make_the_error_smaller_by_what_they_are_ahead(alone):
    steered, inside, predictor = followed(LAG)
    assert predictor.lag == pytest.approx(LAG, abs=0.004)
    assert (1.0 - steered < (1.0 - alone) * np.array([0.6, 0.9])).all()
    assert 0.88 < inside <= 1.0


def test_set_points_that_nobody_obeys_are_left_alone(alone):
    misled, _, predictor = followed(LAG, obeys=False)
    assert predictor.lag is None or (1.0 - misled < 1.1 * (1.0 - alone)).all()


def test_set_points_that_end_are_missed_and_no_more(alone):
    ended, _, predictor = followed(LAG, until=12.0)
    assert predictor._moves(predictor.stamp_ns) is None
    assert (1.0 - ended < 1.05 * (1.0 - alone)).all()


def test_turns_are_foretold_as_well():
    _, _, predictor = followed(LAG, turn=20.0, seconds=15.0)
    rng = np.random.default_rng(3)
    trace = operator_trace(rng, seconds=15.0, noise=0.0)
    last = trace.times[-1]
    at = [
        np.array([np.interp(t, trace.times, trace.truth[:, axis]) for axis in range(3)]) for t in (last - 0.085, last)
    ]
    (found,) = predictor.predict(0.085)
    start, end = (rotation_exp(20.0 * position) for position in at)
    left = np.linalg.norm(rotation_log(end @ found.pose[:3, :3].T))
    assert left <= 0.7 * np.linalg.norm(rotation_log(end @ start.T)) + 2e-3


def test_refuses_what_cannot_be_and_goes_on():
    predictor = SteeredPredictor(PredictionConfig())
    predictor.steer(START, np.eye(4))
    with pytest.raises(InputError, match='does not follow'):
        predictor.steer(START, np.eye(4))
    with pytest.raises(InputError, match='NaN'):
        predictor.steer(START + 1, np.full((4, 4), np.nan))
    predictor.add(START, np.eye(4))
    assert predictor.predict(0.1)[0].pose == pytest.approx(np.eye(4)) and predictor.lag is None
    predictor.reset()
    assert predictor.stamp_ns is None
    predictor.steer(START, np.eye(4))  # after a jump of the clock the old stamps count no more
