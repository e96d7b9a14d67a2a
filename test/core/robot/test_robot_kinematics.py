"""Forward kinematics, Jacobian and inverse kinematics of the published arms, and of arms that hypothesis makes up."""

import numpy as np
import pinocchio as pin  # of the wheel pin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import inverse, log, random_transform
from twin_nodes.core.robot.chain import InverseConfig, LinkTree, SerialChain
from twin_nodes.core.robot.model import Joint, RobotModel
from twin_nodes.core.robot.published import MODELS, RCC, TOOL_CLASSIC, published_model
from twin_nodes.io.urdf_writing import write_robot

FINE = InverseConfig(position_tolerance=1e-10, rotation_tolerance=1e-9)


def oracle(model):
    built = pin.buildModelFromXML(write_robot(model))
    return built, built.createData()


def oracle_at(built, data, names, q, tip):
    whole = pin.neutral(built)
    columns = [built.joints[built.getJointId(name)].idx_q for name in names]
    whole[columns] = q
    pin.computeJointJacobians(built, data, whole)
    pin.updateFramePlacements(built, data)
    frame = built.getFrameId(tip)
    jacobian = pin.getFrameJacobian(built, data, frame, pin.LOCAL_WORLD_ALIGNED)
    return data.oMf[frame].homogeneous, jacobian[:, columns]


@pytest.mark.parametrize('name', MODELS)
def test_equals_pinocchio_on_1000_configurations(name):
    model = published_model(name)
    chain = SerialChain(model)
    built, data = oracle(model)
    positions = chain.sample(np.random.default_rng(1), 1000)
    poses, jacobians = chain.forward(positions), chain.jacobian(positions)
    for q, pose, jacobian in zip(positions, poses, jacobians, strict=True):
        expected, derivative = oracle_at(built, data, chain.names, q, chain.tip)
        assert np.abs(pose - expected).max() < 1e-9
        assert np.abs(jacobian - derivative).max() < 1e-9


@pytest.mark.parametrize('name', MODELS)
def test_inverse_reaches_what_can_be_reached(name):
    chain = SerialChain(published_model(name))
    found = [chain.inverse(pose) for pose in chain.forward(chain.sample(np.random.default_rng(2), 500))]
    assert all(result.converged for result in found)
    for result in found:
        assert (result.positions >= chain.lower).all() and (result.positions <= chain.upper).all()


@pytest.mark.parametrize('far', [1e6, np.inf])
def test_inverse_finds_an_arm_on_a_base_that_drives(far):
    arm = published_model('psm_si')
    joints = (
        Joint('drive', 'prismatic', 'floor', 'cart', np.eye(4), np.array([1.0, 0.0, 0.0]), -far, far),
        Joint('turn', 'revolute', 'cart', arm.root, np.eye(4), np.array([0.0, 0.0, 1.0]), -far, -3.0),
    )
    chain = SerialChain(RobotModel('mobile', joints + arm.joints))
    positions = chain.sample(np.random.default_rng(3), 200)
    assert (positions >= chain.lower).all() and (positions <= chain.upper).all()
    assert np.abs(positions[:, :2]).max() < 3.0 + np.pi
    assert all(chain.inverse(pose).converged for pose in chain.forward(positions))


def test_inverse_stays_near_its_start():
    chain = SerialChain(published_model('psm_classic'))
    rng = np.random.default_rng(3)
    for q in chain.sample(rng, 100):
        start = np.clip(q + rng.normal(0.0, 0.01, 6), chain.lower, chain.upper)
        result = chain.inverse(
            chain.forward(q), start, InverseConfig(position_tolerance=1e-10, rotation_tolerance=1e-9)
        )
        assert result.converged and result.restarts == 0
        assert np.abs(result.positions - q).max() < 1e-5


def test_inverse_says_what_it_cannot_reach():
    chain = SerialChain(published_model('psm_classic'))
    pose = chain.forward(chain.middle)
    pose[2, 3] -= 1.0
    result = chain.inverse(pose, config=InverseConfig(restarts=3))
    assert not result.converged and result.position_error > 0.5
    assert (result.positions >= chain.lower).all() and (result.positions <= chain.upper).all()
    pose[0, 3] = np.nan
    with pytest.raises(InputError, match='NaN'):
        chain.inverse(pose)


def test_psm_stands_as_published():
    chain = SerialChain(published_model('psm_classic'), tip='tool')
    straight = chain.forward(np.array([0.0, 0.0, 0.12, 0.0, 0.0, 0.0]))
    assert straight[:3, 3] == pytest.approx([0.0, 0.0, -(0.12 + TOOL_CLASSIC - RCC + 0.0091)])
    tip = SerialChain(published_model('psm_classic'))
    turned = tip.forward(np.array([0.3, -0.2, 0.12, 1.0, 0.4, -0.5]))
    tool = chain.forward(np.array([0.3, -0.2, 0.12, 1.0, 0.4, -0.5]))
    assert (inverse(tool) @ turned)[:3, 3] == pytest.approx([0.0, 0.0, 0.0102])


@pytest.mark.parametrize('name', ['psm_classic', 'psm_si', 'ecm_classic', 'ecm_si', 'raven_left', 'raven_right'])
def test_shaft_always_passes_the_remote_centre(name):
    model = published_model(name)
    shaft = SerialChain(model, tip='tool_roll' if 'raven' in name else 'roll')
    poses = shaft.forward(shaft.sample(np.random.default_rng(4), 200))
    axis, origin = poses[:, :3, 2], poses[:, :3, 3]
    assert np.linalg.norm(np.cross(origin, axis), axis=1).max() < 1e-12  # the base stands in the centre


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_laws_of_any_chain(seed, count):
    rng = np.random.default_rng(seed)
    joints = []
    for index in range(count):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        kind = ('revolute', 'prismatic', 'fixed')[rng.integers(3) if index else 0]
        joints.append(Joint(f'j{index}', kind, f'l{index}', f'l{index + 1}', random_transform(rng), axis, -3.0, 3.0))
    model = RobotModel('any', tuple(joints))
    chain = SerialChain(model, tip=f'l{count}')
    q = chain.sample(rng, 1)[0]
    pose, step = chain.forward(q), 1e-6
    numeric = np.empty((6, len(chain)))
    for index in range(len(chain)):
        ahead, behind = q.copy(), q.copy()
        ahead[index] += step
        behind[index] -= step
        numeric[:, index] = (_twist(chain.forward(ahead), pose) - _twist(chain.forward(behind), pose)) / (2.0 * step)
    assert chain.jacobian(q) == pytest.approx(numeric, abs=1e-6)
    edges = LinkTree(model).poses(q)
    whole = np.eye(4)
    for edge in edges:
        whole = whole @ edge
    assert whole == pytest.approx(pose, abs=1e-12)
    frames = chain.frames(q)
    moved = [index for index, joint in enumerate(joints) if joint.kind != 'fixed']
    assert frames.shape == (len(moved) + 1, 4, 4) and frames[-1] == pytest.approx(pose, abs=1e-12)
    for number, index in enumerate(moved):
        part = SerialChain(model, tip=f'l{index + 1}')
        assert frames[number] == pytest.approx(part.forward(q[: number + 1]), abs=1e-12)


def _twist(moved, pose):
    change = moved @ inverse(pose)
    return np.concatenate([moved[:3, 3] - pose[:3, 3], log(change)[3:]])


def test_mimic_joints_share_a_position():
    z = np.array([0.0, 0.0, 1.0])
    offset = np.eye(4)
    offset[0, 3] = 0.1
    leader = Joint('lead', 'revolute', 'a', 'b', np.eye(4), z, -1.0, 1.0)
    follower = Joint('follow', 'revolute', 'b', 'c', offset, z, -1.0, 1.0, 'lead', -2.0, 0.5)
    chain = SerialChain(RobotModel('mimic', (leader, follower)))
    assert chain.names == ('lead',)
    turn = np.arctan2(*chain.forward(np.array([0.3]))[[1, 0], 0])
    assert turn == pytest.approx(0.3 - 2.0 * 0.3 + 0.5)
    assert chain.jacobian(np.array([0.3]))[5, 0] == pytest.approx(-1.0)


def test_refuses_another_number_of_joints():
    chain = SerialChain(published_model('ecm_si'))
    with pytest.raises(InputError, match='the chain has 4'):
        chain.forward(np.zeros(6))


def test_names_the_nearest_model():
    with pytest.raises(ConfigError, match="did you mean 'psm_classic'"):
        published_model('psm_clasic')
