"""Twists and wrenches of the spaces of CRTK against finite differences and the power that all of them share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.robot.statics import SPACES, rates_for, tip_from_space, wrench_behind

CHAIN = SerialChain(published_model('psm_classic'))
TURN = Rotation.from_euler('xyz', [0.3, -0.5, 0.9]).as_matrix()
Q = np.array([0.3, -0.2, 0.12, 0.7, 0.4, -0.3])


def differences(q, rates, dt=1e-6):
    """Twist of the tip along the axes of the base, and of the body, by differences of poses."""
    before, after = CHAIN.forward(q - rates * dt), CHAIN.forward(q + rates * dt)
    linear = (after[:3, 3] - before[:3, 3]) / (2 * dt)
    angular = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec() / (2 * dt)
    return np.concatenate([linear, angular])


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_spaces_tell_the_same_motion(seed):
    rng = np.random.default_rng(seed)
    q, rates = CHAIN.sample(rng, 1)[0], rng.normal(0.0, 0.3, 6)
    pose, twist = CHAIN.forward(q), differences(q, rates)
    told = {space: np.linalg.solve(tip_from_space(space, pose, TURN), twist) for space in SPACES}
    linear, angular = twist[:3], twist[3:]
    assert told['local/'] == pytest.approx(twist)
    assert told[''] == pytest.approx(np.concatenate([TURN @ linear, TURN @ angular]))
    assert told['body/'] == pytest.approx(np.concatenate([pose[:3, :3].T @ linear, pose[:3, :3].T @ angular]))
    # what a point of the body that is now at the origin of the base would do
    assert told['spatial/'][:3] == pytest.approx(linear - np.cross(angular, pose[:3, 3]))
    assert CHAIN.jacobian(q) @ rates == pytest.approx(twist, abs=1e-5)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_power_is_the_same_in_every_space(seed):
    rng = np.random.default_rng(seed)
    pose = CHAIN.forward(CHAIN.sample(rng, 1)[0])
    twist, wrench = rng.normal(size=6), rng.normal(size=6)
    for space in SPACES:
        matrix = tip_from_space(space, pose, TURN)
        assert (matrix.T @ wrench) @ np.linalg.solve(matrix, twist) == pytest.approx(wrench @ twist)


def test_rates_and_wrench_invert_the_jacobian():
    jacobian = CHAIN.jacobian(Q)
    rates, wrench = np.array([0.1, -0.2, 0.01, 0.3, 0.2, -0.1]), np.array([1.0, -2.0, 0.5, 0.01, 0.02, -0.01])
    assert rates_for(jacobian, jacobian @ rates) == pytest.approx(rates)
    assert wrench_behind(jacobian, jacobian.T @ wrench) == pytest.approx(wrench)


def test_a_twist_that_no_joints_can_give_is_refused():
    straight = CHAIN.jacobian(np.array([0.0, 0.0, 0.1, 0.0, np.pi / 2, 0.0]))  # the wrist yaw stands along the roll
    with pytest.raises(InputError, match='of it is left, limit 1 %'):
        rates_for(straight[:, :3], np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    assert rates_for(straight, np.zeros(6)) == pytest.approx(np.zeros(6))
