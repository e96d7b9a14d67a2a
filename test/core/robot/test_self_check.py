"""The self-check names what is off, and says nothing when nothing is."""

import re

import numpy as np
import pytest
from robot_motion import reported, slack, smooth_motion

from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.robot.self_check import SelfCheck, SelfCheckConfig
from twin_nodes.core.robot.self_check_story import OffsetNames

BLOCK = 20
STRAIGHT = make_transform(np.eye(3), [0.0, 0.0, -0.0102])


def checked(*, offsets=(), tip=None, base=None, seed=0, seconds=60.0, cable=0.0, name='psm_classic', still=False):
    model = published_model(name)
    chain = SerialChain(model)
    rng = np.random.default_rng(seed)
    positions = smooth_motion(chain, rng, seconds)
    if still:
        positions[:] = positions[0]
    truth = positions.copy()
    for joint, value in offsets:
        truth[:, joint] += value
    poses = reported(chain, slack(truth, cable), rng)
    poses = poses if tip is None else poses @ tip
    poses = poses if base is None else base @ poses
    check, names = SelfCheck(chain, SelfCheckConfig()), OffsetNames(model, chain)
    blocks = range(0, len(positions) - BLOCK + 1, BLOCK)
    states = [check.add_block(positions[at : at + BLOCK], poses[at : at + BLOCK]) for at in blocks]
    return states, names.state(states[-1])


@pytest.mark.parametrize('cable', [0.0, np.radians(1.4)])
@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    ('fault', 'text'),
    [
        (
            {'tip': STRAIGHT},
            "exactly the 10.2 mm control-point offset: the robot reports 'tool', set tips: \\['tool'\\]",
        ),
        ({'offsets': [(2, 0.004)]}, r'joint 3 \(insertion\) looks off by 4.0 mm'),
        ({'offsets': [(4, np.radians(2.0))]}, r'joint 5 \(wrist_pitch\) looks off by (1.9|2.0|2.1)°'),
        ({'offsets': [(5, np.radians(-2.0))]}, r'joint 6 \(wrist_yaw\) looks off by (1.9|2.0|2.1)° \(reads too much\)'),
        ({'offsets': [(2, 0.0508)]}, 'between the shafts of a Classic and an S/Si instrument'),
    ],
)
def test_names_the_offset(fault, text, seed, cable):
    states, said = checked(**fault, seed=seed, cable=cable)
    first = next(index for index, state in enumerate(states) if state.causes)
    assert first < 10  # 20 s
    assert len(states[-1].causes) == 1

    assert re.search(text, said), said


def test_names_two_offsets_at_once():
    _, said = checked(offsets=[(2, 0.004), (5, np.radians(3.0))])
    assert 'joint 3 (insertion) looks off by 4.0 mm' in said
    assert 'joint 6 (wrist_yaw) looks off by 3.0°' in said


@pytest.mark.parametrize('seed', range(8))
def test_keeps_to_the_two_joints_that_are_off(seed):
    states, _ = checked(offsets=[(1, np.radians(1.5)), (4, np.radians(-2.5))], name='psm_si', seed=seed, cable=0.017)
    found = {cause.joint: float(cause.values[0]) for cause in states[-1].causes}
    assert found == pytest.approx({1: np.radians(1.5), 4: np.radians(-2.5)}, abs=np.radians(0.2))
    assert all(state.causes or state.unexplained for state in states if state.enough)


def test_does_not_say_all_is_well_where_no_cause_explains_the_offset():
    chain = SerialChain(model := published_model('raven_left'))
    rng = np.random.default_rng(2)
    mine, others = smooth_motion(chain, rng, 60.0), smooth_motion(chain, rng, 60.0)  # joints of the other arm
    check = SelfCheck(chain, SelfCheckConfig())
    for at in range(0, len(mine) - BLOCK + 1, BLOCK):
        state = check.add_block(others[at : at + BLOCK], reported(chain, mine[at : at + BLOCK], rng))
        said = OffsetNames(model, chain).state(state)
        assert not state.enough or state.unexplained
        assert not state.enough or 'left unexplained' in said or 'no cause found' in said


def test_names_a_moved_base_and_turned_axes():
    moved = make_transform(rotation_exp([0.0, 0.05, 0.0]), [0.005, 0.0, 0.0])
    assert 'the base looks moved by 5.0 mm and turned by 2.9°' in checked(base=moved)[1]
    turned = make_transform(rotation_exp([0.0, 0.0, np.pi / 2]), np.zeros(3))
    assert 'turned by 90.0° against its axes' in checked(tip=turned)[1]


@pytest.mark.parametrize('cable', [0.0, np.radians(1.4)])
def test_says_nothing_for_half_an_hour_without_an_offset(cable):
    states, said = checked(seconds=1800.0, cable=cable, seed=9)
    assert not any(state.causes for state in states)
    assert 'is where measured_js puts it' in said


def test_an_arm_at_rest_is_not_taken_for_a_sure_cause():
    states, said = checked(offsets=[(2, 0.004)], still=True)
    assert states[-1].causes and states[-1].rivals
    assert 'move more joints to tell' in said


def test_begins_anew_when_time_runs_back():
    chain = SerialChain(published_model('psm_classic'))
    check = SelfCheck(chain, SelfCheckConfig())
    q = chain.middle
    for tick in range(60):
        check.add(10**9 + tick * 10**8, q, chain.forward(q))
    assert check.state.blocks == 2
    assert not check.add(6 * 10**9, q, chain.forward(q))  # late
    assert check.state.blocks == 2
    check.add(5 * 10**8, q, chain.forward(q))
    assert check.state.blocks == 0


def test_one_sample_is_taken_per_period():
    chain = SerialChain(published_model('ecm_si'))
    check = SelfCheck(chain, SelfCheckConfig())
    q = chain.middle
    new = sum(check.add(10**9 + tick * 10**6, q, chain.forward(q)) for tick in range(4200))
    assert new == 2 and check.state.blocks == 2
