"""Joint states of an arm, whole or in parts, and those of others on the same topic."""

import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.joint_states import _KEPT, JointStates
from twin_nodes.core.robot.published import published_model

MS = 1_000_000


@pytest.fixture
def chain():
    return SerialChain(published_model('psm_classic'))


@pytest.fixture
def joints(chain):
    return JointStates(JointReader(chain, JointsConfig(), arm='PSM1'))


def test_a_message_with_all_joints_is_one_sample_in_the_order_of_the_chain(joints, chain):
    names, values = chain.names[::-1], chain.middle[::-1].tolist()
    (sample,) = joints.take(5 * MS, names, values, values, values, frame='PSM1_base')
    assert sample.positions.tolist() == chain.middle.tolist() == sample.velocities.tolist()
    assert sample.efforts is not None and sample.stamp_ns == 5 * MS


def test_parts_are_put_together_and_what_is_missing_is_told(joints, chain):
    names, values = chain.names, chain.middle.tolist()
    with pytest.raises(InputError, match='is missing') as caught:
        joints.take(MS, names[:4], values[:4])
    assert caught.value.code == 'JOINTS_WRONG' and names[4].split('_')[-1] in joints.waits_for()
    (sample,) = joints.take(MS, names[4:], values[4:])
    assert sample.stamp_ns == MS and sample.positions.tolist() == values


def test_a_gripper_beside_is_left_out_once_the_arm_has_spoken(joints, chain):
    for _ in range(2):  # after a reset as at the beginning
        with pytest.raises(InputError, match='is missing'):
            joints.take(MS, ['gripper'], [0.1])
        assert len(joints.take(2 * MS, chain.names, chain.middle.tolist())) == 1
        assert joints.take(3 * MS, ['gripper'], [0.1]) == []
        with pytest.raises(InputError, match='no joint names'):
            joints.take(4 * MS, [], [])
        joints.reset()


def test_stamps_frames_and_numbers_are_checked_in_parts_too(joints, chain):
    names, values = chain.names, chain.middle.tolist()
    for stamp, frame, code in ((0, '', 'STAMP_ZERO'), (MS, 'PSM2_base', 'WRONG_ARM')):
        for part in (names[:3], names):
            with pytest.raises(InputError) as caught:
                joints.take(stamp, part, values[: len(part)], frame=frame)
            assert caught.value.code == code


def test_names_that_change_all_the_time_fill_no_memory(joints, chain):
    joints.take(MS, chain.names, chain.middle.tolist())
    for number in range(5 * _KEPT):
        assert joints.take((2 + number) * MS, [f'stranger_{number}'], [0.1]) == []
    assert len(joints._named) <= _KEPT
    (sample,) = joints.take((2 + 5 * _KEPT) * MS, chain.names, chain.middle.tolist())
    assert sample.positions.tolist() == chain.middle.tolist()
