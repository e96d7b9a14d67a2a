"""Velocities and forces move the set point as they should, last as long as they should, and stop where they must."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.simulate.arm_drive import ArmDrive, ArmDriveConfig

DT = 0.005
BENT = np.array([0.3, -0.2, 0.12, 0.7, 0.4, -0.3])


def bent(**settings):
    drive = ArmDrive(SerialChain(published_model('psm_classic')), ArmDriveConfig(**settings))
    drive.setpoint = BENT.copy()
    drive.hold()
    return drive


def run(drive, seconds):
    for _ in range(round(seconds / DT)):
        drive.advance(DT)


def test_joint_velocities_last_until_no_more_come():
    drive, rates = bent(), np.array([0.1, -0.2, 0.01, 0.0, 0.3, 0.0])
    drive.servo_jv(rates)
    run(drive, 0.05)
    assert drive.setpoint_velocity == pytest.approx(rates)
    run(drive, 1.0)
    assert drive.setpoint == pytest.approx(BENT + 0.1 * rates)  # rate_hold
    assert drive.setpoint_velocity == pytest.approx(np.zeros(6)) and not drive.is_busy


@pytest.mark.parametrize('along_tip', [False, True])
def test_a_velocity_of_the_tip_is_a_straight_line_without_turning(along_tip):
    drive, wanted = bent(rate_hold=0.5), np.array([0.01, -0.02, 0.005, 0.0, 0.0, 0.0])
    before = drive.chain.forward(drive.setpoint)
    drive.servo_cv(wanted, along_tip=along_tip)
    run(drive, 2.0)
    after = drive.chain.forward(drive.setpoint)
    path = 0.5 * (before[:3, :3] @ wanted[:3] if along_tip else wanted[:3])
    assert after[:3, 3] - before[:3, 3] == pytest.approx(path, abs=3e-5)  # steps of 5 ms along the tangent
    assert after[:3, :3] == pytest.approx(before[:3, :3], abs=3e-3)


def test_a_turn_along_the_tip_turns_about_its_own_axis():
    drive = bent(rate_hold=0.5)
    before = drive.chain.forward(drive.setpoint)
    drive.servo_cv(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.4]), along_tip=True)
    run(drive, 2.0)
    after = drive.chain.forward(drive.setpoint)
    assert after[:3, 2] == pytest.approx(before[:3, 2], abs=2e-3)
    assert np.arccos(before[:3, 0] @ after[:3, 0]) == pytest.approx(0.2, abs=2e-3)


def test_efforts_move_against_the_damping():
    drive, efforts = bent(angle_damping=0.5, slide_damping=100.0), np.array([0.1, 0.0, 2.0, 0.0, 0.0, 0.0])
    drive.servo_jf(efforts)
    drive.advance(DT)
    assert drive.setpoint_velocity == pytest.approx([0.2, 0.0, 0.02, 0.0, 0.0, 0.0])
    assert drive.efforts_at(drive.setpoint_velocity) == pytest.approx(efforts)


@pytest.mark.parametrize('along_tip', [False, True])
def test_a_wrench_works_on_the_tip(along_tip):
    drive, force = bent(), np.array([0.5, -1.0, 2.0, 0.0, 0.0, 0.0])
    before = drive.chain.forward(drive.setpoint)
    drive.servo_cf(force, along_tip=along_tip)
    drive.advance(DT)
    moved = drive.chain.forward(drive.setpoint)[:3, 3] - before[:3, 3]
    work = (before[:3, :3] @ force[:3] if along_tip else force[:3]) @ moved
    rates = drive.setpoint_velocity
    assert work == pytest.approx(drive.efforts_at(rates) @ rates * DT, rel=1e-2)  # all of it goes into the damping


def test_stops_of_the_joints_end_it():
    drive = bent()
    drive.setpoint[2] = drive.chain.upper[2] - 0.0005
    drive.hold()
    drive.servo_jv(np.array([0.1, 0.0, 0.1, 0.0, 0.0, 0.0]))
    run(drive, 1.0)
    assert drive.setpoint[2] == drive.chain.upper[2] and drive.setpoint[0] == pytest.approx(BENT[0] + 0.1 * DT)
    with pytest.raises(InputError, match="'insertion' is at its limit"):
        drive.servo_jv(np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]))
    drive.servo_jf(np.array([0.1, 0.0, 5.0, 0.0, 0.0, 0.0]))  # a force may lean on a stop
    drive.advance(DT)
    assert drive.setpoint[2] == drive.chain.upper[2] and drive.setpoint_velocity[0] > 0.0


@pytest.mark.parametrize(
    ('command', 'code'),
    [
        (lambda d: d.servo_jv(np.full(6, 50.0)), 'COMMAND_SPEED'),
        (lambda d: d.servo_jv(np.full(6, np.nan)), 'JOINTS_WRONG'),
        (lambda d: d.servo_cv(np.zeros(5)), 'JOINTS_WRONG'),
        (lambda d: d.servo_cv(np.array([9.0, 0.0, 0.0, 0.0, 0.0, 0.0])), 'COMMAND_SPEED'),
        (lambda d: d.servo_jf(np.zeros(3)), 'JOINTS_WRONG'),
        (lambda d: d.servo_cf(np.full(6, np.inf)), 'JOINTS_WRONG'),
        (lambda d: d.set_ratio(0.0), 'COMMAND_SPEED'),
    ],
)
def test_refuses_and_goes_on_as_before(command, code):
    drive = bent()
    drive.servo_jv(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(InputError) as refused:
        command(drive)
    assert refused.value.code == code
    run(drive, 1.0)
    assert drive.setpoint[0] == pytest.approx(BENT[0] + 0.01)


def test_hold_and_disable_end_a_velocity():
    for end in (lambda d: d.hold(), lambda d: d.command('disable')):
        drive = bent()
        drive.servo_jv(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]))
        drive.advance(DT)
        end(drive)
        run(drive, 0.5)
        assert drive.setpoint[0] == pytest.approx(BENT[0] + 0.1 * DT)
    with pytest.raises(InputError, match='DISABLED'):
        drive.servo_cf(np.zeros(6))


def test_moves_keep_the_ratio_and_streams_do_not():
    drive = bent()
    drive.set_ratio(0.25)
    goal = BENT + np.array([0.8, 0.0, 0.0, 0.0, 0.0, 0.0])
    drive.servo_jp(goal, far=True)
    drive.advance(DT)
    assert drive.setpoint[0] - BENT[0] == pytest.approx(4.0 * 0.25 * DT)
    drive.servo_jp(goal)
    drive.advance(DT)
    assert drive.setpoint[0] - BENT[0] == pytest.approx(4.0 * 1.25 * DT)


def test_a_move_to_where_it_is_was_busy_for_once():
    drive = bent()
    drive.servo_jp(BENT, far=True)
    drive.advance(DT)
    assert drive.is_busy
    drive.advance(DT)
    assert not drive.is_busy
