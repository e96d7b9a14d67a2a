"""The checks before the filter, fault by fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twin_nodes.core.codes import CODES
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.tracking.gate import GateConfig, PoseGate
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus


def reading(position=(0.1, 0.2, -1.0), turn=(0.1, 0.2, 0.3), pose=None):
    pose = make_transform(rotation_exp(turn), position) if pose is None else pose
    return ToolReading('Stylus', ToolStatus.TRACKED, pose)


def code_of(item):
    with pytest.raises(InputError) as error:
        PoseGate(GateConfig()).check(item)
    assert error.value.code in CODES
    return error.value.code, str(error.value)


def test_good_pose_passes_unchanged():
    pose, warning = PoseGate(GateConfig()).check(reading())
    np.testing.assert_allclose(pose, reading().tracker_T_tool, atol=1e-15)
    assert warning is None


def test_lost_tool_keeps_the_words_of_the_source():
    assert code_of(ToolReading('Stylus', ToolStatus.LOST, None, 'MISSING')) == ('TOOL_LOST', 'MISSING')
    assert code_of(ToolReading('Stylus', ToolStatus.LOST, np.eye(4)))[0] == 'TOOL_LOST'


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    assert code_of(reading(position=(0.0, bad, 0.0)))[0] == 'NOT_FINITE'


@pytest.mark.parametrize('matrix', [np.diag([1.0, 1.0, -1.0, 1.0]), np.zeros((4, 4)), np.diag([2.0, 2.0, 2.0, 1.0])])
def test_not_a_rotation(matrix):
    assert code_of(reading(pose=matrix))[0] == 'NOT_A_ROTATION'


def test_millimetres_sent_as_metres_asks_for_the_unit():
    code, message = code_of(reading(position=(100.0, 200.0, -1000.0)))
    assert code == 'UNIT_SUSPECT' and 'wrong unit?' in message and 'max_distance=5.0 m' in message


def test_absurd_distance_is_out_of_the_workspace():
    assert code_of(reading(position=(1e300, 0.0, 0.0)))[0] == 'OUT_OF_WORKSPACE'


def test_metres_sent_as_millimetres_is_said_and_not_dropped():
    gate = PoseGate(GateConfig(unit_samples=10))
    said = [gate.check(reading(position=(1e-4 + 1e-6 * k, 2e-4, 1e-3)))[1] for k in range(12)]
    assert said[8] is None and said[9].code == 'UNIT_SUSPECT' and 'metres sent as millimetres?' in said[9].message


def test_stuck_tracker_is_said_within_five_repeats_and_not_dropped():
    gate = PoseGate(GateConfig(stuck_samples=5))
    said = [gate.check(reading())[1] for _ in range(7)]
    assert said[4] is None and said[5].code == 'STUCK' and gate.stuck
    assert gate.check(reading(position=(0.1, 0.2, -1.1)))[1] is None
    gate.reset()
    assert not gate.stuck


def test_identity_is_a_pose():
    pose, warning = PoseGate(GateConfig()).check(reading(pose=np.eye(4)))
    np.testing.assert_array_equal(pose, np.eye(4))
    assert warning is None


@pytest.mark.parametrize(
    ('stamp', 'arrival', 'code'),
    [
        (0, 10, 'STAMP_ZERO'),
        (-5, 10, 'STAMP_ZERO'),
        (10_000_000_000, 1, 'STAMP_FUTURE'),
        (5_000_002, 1, 'STAMP_FUTURE'),
    ],
)
def test_impossible_stamps(stamp, arrival, code):
    with pytest.raises(InputError) as error:
        PoseGate(GateConfig()).check_stamp(stamp, arrival)
    assert error.value.code == code


def test_stamp_at_the_limit_passes():
    PoseGate(GateConfig()).check_stamp(5_000_001, 1)


@given(arrays(np.float64, (4, 4), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_nothing_bad_gets_through(matrix):
    gate = PoseGate(GateConfig())
    try:
        pose, _ = gate.check(reading(pose=matrix))
    except InputError as error:
        assert error.code in CODES
    else:
        assert np.isfinite(pose).all() and np.linalg.norm(pose[:3, 3]) <= 5.0
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


def test_limits_that_cross_are_refused():
    with pytest.raises(ConfigError, match='must be below max_distance'):
        GateConfig(min_distance=0.5, max_distance=0.1)
