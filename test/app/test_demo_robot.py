"""The figures of the robot demo: what they say of a good run, a bad one, and of no run at all."""

from types import SimpleNamespace

import numpy as np
import pytest

from twin_nodes.app.demo_robot import ARMS, RobotObserver, score_robot
from twin_nodes.app.scenes import PEG_BASES
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.peg_transfer import Operator
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import StampedPose

START_NS = 10**18


def observed(*, off=0.0, seconds=29.0, rate=100):
    node = SimpleNamespace(create_subscription=lambda *args: None)
    seen = RobotObserver(node)
    seen.start_ns = START_NS
    for index, arm in enumerate(ARMS):
        base = make_transform(np.eye(3), PEG_BASES[6 * index : 6 * index + 3])
        for tick in range(int(seconds * rate)):
            stamp_ns = START_NS + tick * NANOSECONDS // rate
            tip = make_transform(np.eye(3), [0.0, 0.0, -0.1])
            seen.truth[arm][stamp_ns] = tip
            pose = base @ tip
            pose[0, 3] += off
            seen.twin[arm].append(StampedPose(stamp_ns, 'world', pose, np.eye(6) * 1e-7))
            seen.delays.append(0.005)
    seen.deviations.append(1e-9)
    return seen


def latest(*, rings='6', dropped='0', code='OK'):
    task = SimpleNamespace(values={'rings_transferred': rings, 'rings_dropped': dropped})
    checks = {f'robot: self-check {arm}': SimpleNamespace(code=code) for arm in ARMS}
    return {'simulated_robot: task': task, **checks}


def broken(figures):
    return {figure.figure for figure in figures if not figure.ok}


def test_a_good_run_keeps_every_promise():
    figures = score_robot(observed(), latest())
    assert not broken(figures)
    assert {'tip_error_p95_mm', 'twin_rate_hz', 'self_check_ok', 'rings_transferred'} <= {f.figure for f in figures}


@pytest.mark.parametrize(
    ('seen', 'said', 'names'),
    [
        ({'off': 0.005}, {}, {'tip_error_p95_mm', 'tip_error_to_stated_sigma'}),
        ({'rate': 20}, {}, {'twin_rate_hz'}),
        ({}, {'rings': '5'}, {'rings_transferred'}),
        ({}, {'dropped': '1'}, {'rings_dropped'}),
        ({}, {'code': 'ROBOT_OFFSET'}, {'self_check_ok'}),
    ],
)
def test_a_bad_run_breaks_the_promise_that_it_breaks(seen, said, names):
    assert broken(score_robot(observed(**seen), latest(**said))) == names


def test_a_short_run_is_not_asked_for_what_it_had_no_time_for():
    figures = score_robot(observed(seconds=3.0), latest(rings='0', code='SELF_CHECK_WAITS'))
    assert not broken(figures)
    assert Operator(6).ends[0] > 3.0


def test_nothing_heard_is_a_broken_promise():
    seen = RobotObserver(SimpleNamespace(create_subscription=lambda *args: None))
    assert broken(score_robot(seen, {})) == {'poses_received'}
