"""The model of hands that move freely: alike in all directions, nothing for a still hand, and better than the floor."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.mixing_kernels import COLUMNS, EXPERTS, FREE, LEARNERS, column, learner
from twin_nodes.core.guidance.prediction.motion_kernels import DAMPING, KINDS, free_hand
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS, LAGS, SCALE, free_hand_layers
from twin_nodes.core.guidance.prediction.predictor import PosePredictor
from twin_nodes.core.guidance.prediction.smoothing import LEVELS
from twin_nodes.core.simulate.free_hand import free_hand_trace

START = 10**12


def foretold(past):
    found = np.empty((len(HORIZONS), 3))
    free_hand(past, free_hand_layers(), SCALE, LAGS, found)
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), turn=st.tuples(*[st.floats(-3.0, 3.0)] * 3))
def test_it_turns_with_the_motion(seed, turn):
    past = np.cumsum(np.random.default_rng(seed).normal(0.0, 1e-3, (len(LAGS), 3)), axis=0)
    rotation = rotation_exp(np.array(turn))
    assert np.allclose(foretold(past @ rotation.T), foretold(past) @ rotation.T, atol=1e-9)


def test_a_still_hand_stays_still():
    assert np.array_equal(foretold(np.zeros((len(LAGS), 3))), np.zeros((len(HORIZONS), 3)))


def test_each_model_has_a_column_of_its_own():
    columns = [column(level, kind) for level in range(LEVELS) for kind in range(KINDS)]
    assert sorted([*columns, FREE]) == list(range(EXPERTS))
    learners = [learner(n) for n in range(LEARNERS)]
    assert len(set(learners)) == LEARNERS
    assert max(learners) < EXPERTS < COLUMNS


def test_hands_that_were_not_trained_on_are_foretold_better_than_by_damped_velocity():
    ahead = HORIZONS[[1, 3]]
    fade = DAMPING * (1.0 - np.exp(-ahead / DAMPING))
    own, damped = np.zeros(2), np.zeros(2)
    for seed in (5_000, 5_001, 5_002):
        trace = free_hand_trace(np.random.default_rng(seed), seconds=20.0)
        predictor = PosePredictor(PredictionConfig())
        for index, position in enumerate(trace.measured[:-30]):
            predictor.add(START + round(trace.times[index] * 1e9), make_transform(np.eye(3), position))
            if index < 120 or index % 2:
                continue
            changes = trace.truth[index + np.round(60.0 * ahead).astype(int)] - position
            found = np.array([one.pose[:3, 3] for one in predictor.predict(*ahead)]) - position
            velocity = (position - trace.measured[index - 3]) * 60.0 / 3.0
            own += np.sum((changes - found) ** 2, axis=1)
            damped += np.sum((changes - np.outer(fade, velocity)) ** 2, axis=1)
    assert (own < (0.9, 1.0) * damped).all()
