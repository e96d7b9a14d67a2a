"""The reach of an arm: what it can go and what it cannot, checked by its own forward kinematics."""

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.core.guidance.routes.reach import TOLERANCES, ReachConfig, RobotReach
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model

CHAIN = SerialChain(published_model('psm_classic'))
HOME = CHAIN.forward(CHAIN.middle[None])[0]


def reach(target, **settings):
    return RobotReach(ReachConfig(arm='PSM1', **settings), CHAIN, target)


def scene(spread=0.01, length=0.03, count=12):
    """A target at the middle of the arm's reach, entries behind it along the tool, the base turned in the anatomy."""
    anatomy_T_base = make_transform(rotation_exp(np.array([0.3, -0.5, 1.0])), [0.4, -0.1, 0.2])
    tip = anatomy_T_base @ HOME
    rng = np.random.default_rng(1)
    aside = rng.uniform(-spread, spread, (count, 2))
    target = tip[:3, 3]
    entries = target - length * tip[:3, 2] + aside @ tip[:3, :2].T
    directions = (target - entries) / np.linalg.norm(target - entries, axis=1, keepdims=True)
    return anatomy_T_base, target, entries, directions


def test_what_is_near_the_middle_of_the_joints_is_reached():
    base, target, entries, directions = scene()
    found = reach(target)
    assert found.place(base)
    every = np.arange(len(entries))
    assert found(entries, directions, every).all()
    q = found._goes(entries[0], directions[0], None)
    tip = base @ CHAIN.forward(q[None])[0]
    assert np.linalg.norm(tip[:3, 3] - target) < TOLERANCES[0] + 1e-9
    assert np.arccos(np.clip(tip[:3, 2] @ directions[0], -1.0, 1.0)) < 2e-3
    assert (q >= CHAIN.lower).all() and (q <= CHAIN.upper).all()


def test_what_is_too_far_or_behind_is_not():
    base, target, entries, directions = scene(count=3)
    every = np.arange(3)
    away = reach(target)
    away.place(make_transform(np.eye(3), [0.5, 0.0, 0.0]) @ base)
    assert not away(entries, directions, every).any()
    long = scene(length=0.4, count=3)
    reached = reach(long[1])
    reached.place(long[0])
    assert not reached(long[2], long[3], every).any()


def test_neighbours_share_the_answer_and_it_is_kept_until_the_base_moves():
    base, target, entries, directions = scene(count=4)
    found = reach(target)
    found.place(base)
    calls = []
    goes = found._goes
    found._goes = lambda *given: calls.append(1) or goes(*given)
    nearby = np.array([0, 0, 2, 2])
    assert found(entries, directions, nearby).all() and len(calls) == 2
    found(entries, directions, nearby)
    assert len(calls) == 2
    assert not found.place(make_transform(np.eye(3), [0.0005, 0.0, 0.0]) @ base)
    assert found.place(make_transform(np.eye(3), [0.005, 0.0, 0.0]) @ base)
    found(entries, directions, nearby)
    assert len(calls) == 4


def test_a_turn_of_the_base_counts_by_what_it_does_to_the_target():
    base, target, *_ = scene()
    found = reach(target)
    found.place(base)
    about = make_transform(np.eye(3), target)
    turn = make_transform(rotation_exp(np.array([0.0, 0.05, 0.0])), [0.0, 0.0, 0.0])
    assert found.place(about @ turn @ inverse(about) @ base)


def test_an_axis_must_be_a_unit_vector():
    with pytest.raises(ConfigError, match='unit vector'):
        ReachConfig(axis=(0.0, 0.0, 2.0))
