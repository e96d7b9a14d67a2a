"""The simulated arm obeys CRTK, and the peg transfer ends with every ring on the other side."""

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import inverse, make_transform
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.simulate.arm_drive import OperatingState
from twin_nodes.core.simulate.peg_transfer import LEFT, RIGHT, Board, Operator
from twin_nodes.core.simulate.psm import SimulatedArm, SimulatedArmConfig

QUIET = {'angle_noise': 0.0, 'length_noise': 0.0, 'wrist_slack': 0.0}


def arm(**settings):
    return SimulatedArm(published_model('psm_classic'), SimulatedArmConfig(**settings), np.random.default_rng(0))


def settle(simulated, seconds=2.0):
    for _ in range(round(seconds / 0.005)):
        simulated.step(0.005)


def test_reaches_its_goal_and_says_so():
    simulated = arm(**QUIET)
    goal = np.array([0.2, -0.1, 0.15, 0.4, 0.3, -0.2])
    simulated.servo_jp(goal)
    simulated.step(0.005)
    assert simulated.is_busy
    settle(simulated)
    assert not simulated.is_busy
    assert simulated.measured_js() == pytest.approx(goal, abs=1e-6)
    assert simulated.true_tip() == pytest.approx(simulated.chain.forward(goal), abs=1e-6)


def test_follows_a_pose():
    simulated = arm(**QUIET)
    goal = simulated.chain.forward(np.array([0.1, 0.1, 0.12, 0.2, -0.1, 0.1]))
    simulated.servo_cp(goal)
    settle(simulated)
    assert simulated.true_tip() == pytest.approx(goal, abs=1e-5)


def test_never_moves_faster_than_it_can():
    simulated = arm(**QUIET, lag=0.0)
    simulated.servo_jp(np.array([1.5, 0.9, 0.24, 4.0, 1.0, 1.0]))
    for _ in range(100):
        before = simulated.setpoint
        simulated.step(0.005)
        moved = np.abs(simulated.setpoint - before)
        assert moved[[0, 1, 3, 4, 5]].max() <= 4.0 * 0.005 + 1e-12 and moved[2] <= 0.4 * 0.005 + 1e-12


def test_slack_is_not_seen_by_the_encoders():
    simulated = arm(angle_noise=0.0, length_noise=0.0, wrist_slack=0.04)
    for goal in (0.5, 0.3):
        simulated.servo_jp(np.array([0.0, 0.0, 0.12, 0.0, goal, 0.0]))
        settle(simulated)
    assert simulated.measured_js()[4] == pytest.approx(0.3, abs=1e-6)
    off = simulated.true_tip()[:3, 3] - simulated.chain.forward(simulated.measured_js())[:3, 3]
    assert np.linalg.norm(off) == pytest.approx(0.02 * 0.0193, rel=0.05)  # half the slack at the length of the tip


def test_faults_are_between_js_and_cp():
    simulated = arm(**QUIET, joint_offsets=(0.0, 0.0, 0.004, 0.0, 0.0, 0.0), reported_link='tool')
    said = simulated.measured_js()
    apart = simulated.measured_cp(said)[:3, 3] - simulated.chain.forward(said)[:3, 3]
    assert apart == pytest.approx([0.0, 0.0, -0.004 + 0.0102], abs=1e-9)


@pytest.mark.parametrize(
    ('command', 'reason'),
    [
        (lambda a: a.servo_jp(np.full(6, np.nan)), 'NaN'),
        (lambda a: a.servo_jp(np.zeros(5)), 'another number'),
        (lambda a: a.servo_jp(np.full(6, 9.0)), 'beyond the joint limits'),
        (lambda a: a.servo_cp(make_transform(np.eye(3), [1.0, 0.0, 0.0])), 'mm and'),
        (lambda a: a.servo_jaw(np.nan), 'NaN'),
        (lambda a: a.command('jump'), 'is none of'),
    ],
)
def test_refuses_commands_and_stays(command, reason):
    simulated = arm(**QUIET)
    before = simulated.measured_js()
    with pytest.raises(InputError, match=reason):
        command(simulated)
    settle(simulated, 0.1)
    assert simulated.measured_js().tolist() == before.tolist()


def test_states_of_crtk():
    simulated = arm()
    simulated.command('pause')
    with pytest.raises(InputError, match='PAUSED'):
        simulated.servo_jp(simulated.setpoint)
    simulated.command('disable')
    with pytest.raises(InputError, match='not possible in state DISABLED'):
        simulated.command('resume')
    simulated.command('enable')
    simulated.command('unhome')
    with pytest.raises(InputError, match='not homed'):
        simulated.servo_jaw(0.1)
    simulated.command('home')
    assert simulated.state is OperatingState.ENABLED and simulated.is_homed


def test_refuses_a_configuration_that_cannot_be():
    with pytest.raises(ConfigError, match='2 entries, expected 6'):
        arm(joint_offsets=(0.0, 0.1))
    with pytest.raises(ConfigError, match='reported_link'):
        arm(reported_link='nose')


def transfer(*, rings, offset=0.0):
    bases = {side: make_transform(np.eye(3), [x, -0.02, 0.15]) for side, x in ((LEFT, -0.09), (RIGHT, 0.09))}
    arms = {side: arm() for side in bases}
    down = arms[LEFT].true_tip()[:3, :3]
    operator, board = Operator(rings=rings), Board(rings=rings)
    for tick in range(int((operator.duration + 0.3) / 0.005)):
        for side, simulated in arms.items():
            position, jaw = operator.at(side, tick * 0.005)
            simulated.servo_cp(inverse(bases[side]) @ make_transform(down, position + np.array([offset, 0.0, 0.0])))
            simulated.servo_jaw(jaw)
            simulated.step(0.005)
        board.update(
            {side: bases[side] @ arms[side].true_tip() for side in arms}, {side: arms[side].jaw for side in arms}
        )
    return board


def test_every_ring_changes_its_side():
    board = transfer(rings=2)
    assert board.transferred() == 2 and board.dropped == 0


def test_a_blind_operator_misses():
    assert transfer(rings=1, offset=0.008).transferred() == 0
