import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.pivot import PivotConfig, Verdict, solve_pivot
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import exp, make_transform, random_transform, rotation_exp

TIP = np.array([-0.015, 0.16, -0.007])
PIVOT = np.array([0.3, -0.2, -1.5])


def pivoting(rng, count=100, *, tilt_deg=30.0, roll_deg=30.0, axes=(0, 2)):
    """Poses of a tool whose shaft (y) tilts by ± tilt about the axes given and rolls about itself."""
    vectors = np.zeros((count, 3))
    for axis in axes:
        vectors[:, axis] = rng.uniform(-1.0, 1.0, count) * np.radians(tilt_deg)
    roll = np.zeros((count, 3))
    roll[:, 1] = rng.uniform(-1.0, 1.0, count) * np.radians(roll_deg)
    rotations = rotation_exp([0.3, 0.2, 0.9]) @ rotation_exp(vectors) @ rotation_exp(roll)
    return make_transform(rotations, PIVOT - rotations @ TIP)


def noisy(poses, rng, position=0.1e-3, rotation=1e-3):
    twists = np.hstack([rng.normal(0, position, (len(poses), 3)), rng.normal(0, rotation, (len(poses), 3))])
    moved = poses.copy()
    moved[:, :3, :3] = exp(np.hstack([np.zeros((len(poses), 3)), twists[:, 3:]]))[:, :3, :3] @ poses[:, :3, :3]
    moved[:, :3, 3] += twists[:, :3]
    return moved


def test_exact_without_noise():
    result = solve_pivot(pivoting(np.random.default_rng(0)))
    np.testing.assert_allclose(result.tip_tool, TIP, atol=1e-12)
    np.testing.assert_allclose(result.pivot_tracker, PIVOT, atol=1e-12)
    assert result.rms < 1e-12
    assert result.verdict is Verdict.ACCEPT


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_frame_of_the_tracker_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    poses = noisy(pivoting(rng, 40), rng)
    other_T_tracker = random_transform(rng, max_distance=2.0)
    one, other = solve_pivot(poses), solve_pivot(other_T_tracker @ poses)
    np.testing.assert_allclose(other.tip_tool, one.tip_tool, atol=1e-9)
    moved = other_T_tracker[:3, :3] @ one.pivot_tracker + other_T_tracker[:3, 3]
    np.testing.assert_allclose(other.pivot_tracker, moved, atol=1e-9)
    assert other.coverage.span == pytest.approx(one.coverage.span, abs=1e-6)


@pytest.mark.parametrize(('position', 'rotation'), [(0.2e-3, 1e-7), (0.05e-3, 2e-3)])
@pytest.mark.parametrize('robust', [False, True])
def test_covariance_is_consistent(position, rotation, robust):
    """Mean NEES of the tip over 200 runs of 150 poses; χ²(600)/200 has its 95 % bounds at 2.67 and 3.35.

    The covariance is itself estimated from 150 poses, which makes NEES about 1 + 5/150 times greater: 3.5 allows it.
    """
    nees = []
    for seed in range(200 if not robust else 40):
        rng = np.random.default_rng(seed)
        result = solve_pivot(noisy(pivoting(rng, 150), rng, position, rotation), robust=robust)
        error = result.tip_tool - TIP
        nees.append(error @ np.linalg.solve(result.tip_covariance, error))
    low, high = (2.67, 3.5) if not robust else (2.2, 4.0)
    assert low < np.mean(nees) < high


def test_robust_names_the_outliers():
    rng = np.random.default_rng(3)
    poses = noisy(pivoting(rng, 60), rng)
    bad = (4, 17, 18, 40, 59)
    for index in bad:
        poses[index, :3, 3] += rng.normal(0, 5e-3, 3) + 4e-3
    plain, robust = solve_pivot(poses), solve_pivot(poses, robust=True)
    assert set(bad) <= set(robust.outliers)
    assert len(robust.outliers) <= len(bad) + 2
    assert np.linalg.norm(robust.tip_tool - TIP) < 0.3 * np.linalg.norm(plain.tip_tool - TIP)
    assert robust.residuals[list(bad)].min() > robust.max_residual


def test_robust_survives_a_third_of_the_poses_off_the_dimple():
    rng = np.random.default_rng(8)
    poses = noisy(pivoting(rng, 90), rng)
    poses[:30, :3, 3] += np.linspace(0.02, 0.1, 30)[:, None]
    result = solve_pivot(poses, robust=True)
    assert result.outliers[:30] == tuple(range(30))
    assert np.linalg.norm(result.tip_tool - TIP) < 1e-3


@pytest.mark.parametrize('share', [0.45, 0.75, 1.0])
def test_more_outliers_than_can_be_told_apart_are_never_accepted(share):
    rng = np.random.default_rng(8)
    poses = pivoting(rng, 60)
    count = int(60 * share)
    poses[:count, :3, 3] += rng.uniform(-0.1, 0.1, (count, 3))
    try:
        assert solve_pivot(poses, robust=True).verdict is Verdict.REFUSE
    except DegenerateGeometryError as error:
        assert 'do not turn about one point' in str(error)


def test_a_still_tool_is_refused():
    poses = np.repeat(pivoting(np.random.default_rng(0), 1), 50, axis=0)
    for robust in (False, True):
        with pytest.raises(DegenerateGeometryError, match='does not move'):
            solve_pivot(noisy(poses, np.random.default_rng(1)), robust=robust)


@pytest.mark.parametrize('axes', [(0,), (), (2,)])
def test_rotation_about_a_single_axis_is_refused(axes):
    poses = pivoting(np.random.default_rng(0), axes=axes, roll_deg=0.0 if axes else 90.0)
    with pytest.raises(DegenerateGeometryError, match='one axis only'):
        solve_pivot(noisy(poses, np.random.default_rng(1)))


def test_small_tilt_is_refused_and_middling_tilt_warned_of():
    rng = np.random.default_rng(0)
    with pytest.raises(DegenerateGeometryError, match=r'tilt more: \d+° of 15°') as caught:
        solve_pivot(pivoting(rng, tilt_deg=5.0))
    assert caught.value.code == 'CALIBRATION_REFUSED'
    result = solve_pivot(pivoting(rng, tilt_deg=11.0))
    assert result.verdict is Verdict.WARN
    assert any('of 40°' in reason for reason in result.reasons)


def test_a_wandering_tip_is_refused_by_its_residual():
    rng = np.random.default_rng(0)
    result = solve_pivot(noisy(pivoting(rng), rng, position=6e-3))
    assert result.verdict is Verdict.REFUSE
    assert 'hold the tip still' in result.reasons[0]


def test_bad_input():
    poses = pivoting(np.random.default_rng(0))
    with pytest.raises(DegenerateGeometryError, match='5 of 12 poses'):
        solve_pivot(poses[:5])
    with pytest.raises(InputError, match='shape'):
        solve_pivot(poses[:, :3])
    poses[3, 0, 3] = np.nan
    with pytest.raises(InputError, match='NaN'):
        solve_pivot(poses)
    with pytest.raises(ConfigError, match='good_tilt'):
        PivotConfig(good_tilt=0.1, min_tilt=0.2)


def test_real_pointer(shared_data):
    from twin_nodes.io.recordings import open_recording

    _, poses = open_recording(shared_data / 'pivot_optical').tracked('tool')
    plain = solve_pivot(poses)
    np.testing.assert_allclose(plain.tip_tool * 1e3, [-14.473, 394.634, -7.407], atol=0.001)
    np.testing.assert_allclose(plain.pivot_tracker * 1e3, [-804.742, -85.474, -2112.131], atol=0.001)
    assert plain.component_rms * 1e3 == pytest.approx(1.761, abs=0.001)
    robust = solve_pivot(poses, robust=True)
    # Published after dropping 8 by hand; the tip's own σ is 1.2 mm, so which of the doubtful poses go matters little.
    np.testing.assert_allclose(robust.tip_tool * 1e3, [-14.70, 393.11, -7.12], atol=0.2)
    assert robust.outliers == (20, 24, 25, 35, 47)
    assert robust.component_rms < 1.25e-3


def test_as_few_poses_as_the_config_allows():
    poses = pivoting(np.random.default_rng(1), 4)
    result = solve_pivot(poses, PivotConfig(min_poses=4, min_tilt=0.1), robust=True)
    np.testing.assert_allclose(result.tip_tool, TIP, atol=1e-9)
