import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.spin import SpinConfig, solve_spin
from twin_nodes.core.calibration.spin_session import SpinSession, SpinSessionConfig
from twin_nodes.core.calibration.tip_frame import tip_frame, tip_tie
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_exp

TIP = np.array([-0.018, 0.011, -0.152])
AXIS = np.array([0.1, -0.05, 1.0]) / np.linalg.norm([0.1, -0.05, 1.0])


def spinning(rng, count=150, *, turn_deg=300.0, wander_deg=0.0, axis=AXIS, noise=0.0):
    """Poses of a tool that turns to and fro about its axis with the tip in a dimple; the shaft wanders slowly."""
    time = np.linspace(0.0, 1.0, count)
    turn = np.radians(turn_deg) / 2.0 * np.sin(2.0 * np.pi * 1.5 * time)
    wander = np.zeros((count, 2))  # a hand: it forgets within 15 poses
    for index in range(1, count):
        wander[index] = np.exp(-1.0 / 15.0) * wander[index - 1] + np.sqrt(1.0 - np.exp(-2.0 / 15.0)) * rng.normal(
            size=2
        )
    start = random_transform(rng)[:3, :3]
    swing = rotation_exp(wander * np.radians(wander_deg) @ _square_to(start @ axis))
    rotations = swing @ start @ rotation_exp(turn[:, None] * axis)
    rotations = rotation_exp(rng.normal(0.0, noise, (count, 3))) @ rotations
    return make_transform(rotations, np.array([0.2, -0.1, 1.0]) - rotations @ TIP)


def _square_to(direction):
    return np.linalg.svd(direction[None])[2][1:]


def angle(a, b):
    return 2.0 * np.arcsin(np.linalg.norm(a - b) / 2.0)


def test_exact_without_noise_and_oriented_by_the_tip():
    result = solve_spin(spinning(np.random.default_rng(0)), tip_tool=TIP)
    assert angle(result.axis_tool, AXIS) < 1e-9
    assert np.degrees(result.spin) == pytest.approx(300.0, abs=1.0)
    assert result.wander < 1e-7 and result.verdict is Verdict.ACCEPT and result.outliers == ()
    beside = TIP - (TIP @ AXIS) * AXIS  # the axis goes through the tip
    assert result.lever == pytest.approx(np.linalg.norm(beside), abs=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_neither_frame_nor_order_matters(seed):
    rng = np.random.default_rng(seed)
    poses = spinning(rng, noise=1e-3)
    one = solve_spin(poses, tip_tool=TIP, robust=False)
    other_T_tracker, tool_T_other = random_transform(rng), random_transform(rng)
    moved = solve_spin(other_T_tracker @ poses, tip_tool=TIP, robust=False)
    np.testing.assert_allclose(moved.axis_tool, one.axis_tool, atol=1e-9)
    np.testing.assert_allclose(moved.axis_tracker, other_T_tracker[:3, :3] @ one.axis_tracker, atol=1e-9)
    shuffled = solve_spin(poses[rng.permutation(len(poses))], tip_tool=TIP, robust=False)
    np.testing.assert_allclose(shuffled.axis_tool, one.axis_tool, atol=1e-9)
    tip = tool_T_other[:3, :3].T @ (TIP - tool_T_other[:3, 3])
    in_other = solve_spin(poses @ tool_T_other, SpinConfig(refuse_off_tip=1.57), tip_tool=tip, robust=False)
    np.testing.assert_allclose(np.abs(tool_T_other[:3, :3] @ in_other.axis_tool @ one.axis_tool), 1.0, atol=1e-9)


@pytest.mark.parametrize(('wander_deg', 'turn_deg', 'bound'), [(0.0, 300.0, 2.4), (0.0, 120.0, 2.4), (1.0, 300.0, 3.0)])
def test_covariance_is_consistent(wander_deg, turn_deg, bound):
    """Mean NEES of the axis over 200 runs; χ²(400)/200 has its 95 % bounds at 1.73 and 2.29.

    The covariance is estimated from the residuals, and the memory of a hand from 40 spans of it: up to 1.3 times more
    is let pass there.
    """
    errors = []
    for seed in range(200):
        poses = spinning(np.random.default_rng(seed), 600, turn_deg=turn_deg, wander_deg=wander_deg, noise=2e-3)
        result = solve_spin(poses, tip_tool=TIP, robust=False)
        error = result.axis_tool - AXIS
        errors.append(error @ np.linalg.pinv(result.covariance, rcond=1e-6, hermitian=True) @ error)
    assert 1.6 < np.mean(errors) < bound


def test_outliers_are_named():
    rng = np.random.default_rng(4)
    poses = spinning(rng, noise=1e-3)
    bad = rng.choice(len(poses), 30, replace=False)
    poses[bad, :3, :3] = rotation_exp(rng.normal(0.0, 0.5, (30, 3))) @ poses[bad, :3, :3]
    result = solve_spin(poses, tip_tool=TIP)
    moved = {i for i in bad if angle(poses[i, :3, :3] @ AXIS, result.axis_tracker) > 0.02}
    assert moved <= set(result.outliers) and len(set(result.outliers) - set(bad)) < 8
    assert angle(result.axis_tool, AXIS) < 5e-4


def test_the_wander_of_a_hand_gets_its_words():
    result = solve_spin(spinning(np.random.default_rng(1), wander_deg=3.0), tip_tool=TIP)
    assert result.verdict is Verdict.WARN and any('wandered' in reason for reason in result.reasons)


def swung():
    """A tool that swings about a hinge square to its shaft."""
    return spinning(
        np.random.default_rng(2), axis=np.cross(AXIS, [0.0, 1.0, 0.0]) / np.linalg.norm(np.cross(AXIS, [0, 1, 0]))
    )


def tilted_to_all_sides():
    rng = np.random.default_rng(3)
    rotations = rotation_exp(rng.uniform(-0.6, 0.6, (150, 3)))
    return make_transform(rotations, -rotations @ TIP)


@pytest.mark.parametrize(
    ('poses', 'words'),
    [
        (spinning(np.random.default_rng(0), turn_deg=15.0), r'further about its shaft: 15° of 120°'),
        (np.repeat(np.eye(4)[None], 50, axis=0), 'does not move'),
        (np.eye(4)[None], '1 of 12 poses'),
        (swung(), 'swung, not spun'),
        (tilted_to_all_sides(), 'swung, not spun|do not turn about one axis'),
    ],
)
def test_what_is_no_spin_is_refused(poses, words):
    with pytest.raises(DegenerateGeometryError, match=words) as caught:
        solve_spin(poses, tip_tool=TIP)
    assert caught.value.code == 'CALIBRATION_REFUSED'


def test_a_swing_without_a_tip_gets_a_warning():
    result = solve_spin(swung())
    assert result.verdict is Verdict.WARN and 'Give the tip' in result.reasons[0]


@pytest.mark.parametrize(
    ('poses', 'tip', 'words'),
    [
        (np.full((20, 4, 4), np.nan), TIP, 'NaN'),
        (np.zeros((20, 4, 4)), TIP, 'no rotations'),
        (np.eye(4), TIP, 'shape'),
        (spinning(np.random.default_rng(0)), [np.nan, 0.0, 0.0], 'finite'),
    ],
)
def test_what_is_no_pose_is_refused(poses, tip, words):
    with pytest.raises(InputError, match=words):
        solve_spin(poses, tip_tool=np.array(tip))


def test_a_limit_below_another_is_refused():
    with pytest.raises(ConfigError, match='good_spin'):
        SpinConfig(good_spin=0.2)


@pytest.mark.parametrize('axis', [AXIS, np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0])])
def test_the_tip_frame_has_its_z_along_the_axis(axis):
    rotation = tip_frame(axis)
    np.testing.assert_allclose(rotation[:, 2], axis, atol=1e-12)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0.0


def test_the_covariance_of_the_tip_frame_is_that_of_drawn_axes():
    """4,000 axes drawn from the covariance: a standard deviation is then known to 1.1 %, its square to 2.3 %."""
    result = solve_spin(spinning(np.random.default_rng(7), noise=5e-3), tip_tool=TIP)
    rng = np.random.default_rng(8)
    root = np.linalg.cholesky(result.covariance + 1e-16 * np.eye(3))
    drawn = result.axis_tool + rng.normal(size=(4000, 3)) @ root.T
    centre = make_transform(tip_frame(result.axis_tool), np.zeros(3))
    errors = [pose_error(centre, make_transform(tip_frame(axis), np.zeros(3)))[3:] for axis in drawn]
    tool_T_tip, covariance = tip_tie(TIP, 1e-8 * np.eye(3), result)
    stated = covariance[3:, 3:]
    np.testing.assert_allclose(covariance[:3, :3], 1e-8 * np.eye(3))
    np.testing.assert_allclose(tool_T_tip, make_transform(tip_frame(result.axis_tool), TIP))
    np.testing.assert_allclose(np.cov(np.array(errors).T, bias=True), stated, atol=0.1 * np.abs(stated).max())


def feed(session, poses, start_ns=1_000_000_000):
    """Say poses at 30 Hz until the session is done; returns all it said."""
    said = []
    for index, pose in enumerate(poses):
        said.append(session.add(start_ns + index * 33_333_333, pose))
        if said[-1].done:
            break
    return said


def test_a_live_spin_finishes_by_itself_after_the_tilting_before_it():
    rng = np.random.default_rng(5)
    session = SpinSession(SpinSessionConfig(), TIP)
    poses = np.concatenate([tilted_to_all_sides(), spinning(rng, 700, noise=1e-3, wander_deg=0.3)])
    said = feed(session, poses)
    assert said[-1].done and said[-1].result is not None
    assert angle(said[-1].result.axis_tool, AXIS) < 3e-3
    assert all(update.result is None for update in said[:150])
    assert len(said) < 33 * 30


def test_a_live_spin_says_what_is_missing():
    session = SpinSession(SpinSessionConfig(), TIP)
    said = feed(session, spinning(np.random.default_rng(6), 400, turn_deg=60.0, noise=1e-3))
    assert '° of 120°' in said[-1].message and said[-1].result is None
    assert 50.0 < np.degrees(said[-1].spin) < 65.0


def test_a_stamp_that_runs_back_starts_anew_and_one_that_repeats_is_ignored():
    session = SpinSession(SpinSessionConfig(), TIP)
    poses = spinning(np.random.default_rng(6), 40)
    feed(session, poses)
    kept = len(session.poses())
    session.add(1_000_000_000 + 39 * 33_333_333, poses[0])
    assert len(session.poses()) == kept
    session.add(1, poses[0])
    assert len(session.poses()) == 1
