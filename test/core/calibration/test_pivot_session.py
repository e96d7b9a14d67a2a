"""A live pivot calibration: it says what is missing, gets better, and ends by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.session import PivotSession, PivotSessionConfig
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp

MS = 1_000_000
NOISE = 1e-4


def poses(tool_T_tip, pivot, *, count=400, tilt=0.6, seed=0, noise=NOISE):
    """Poses of a tool whose tip rests at `pivot` while the shaft swirls; 20 ms apart."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        angle = 0.05 * k
        rotation = rotation_exp([tilt * np.cos(angle), tilt * np.sin(angle), 0.4 * np.sin(0.02 * k)])
        pose = make_transform(rotation, pivot) @ inverse(tool_T_tip)
        pose[:3, 3] += noise * rng.normal(size=3)
        yield (1 + k) * 20 * MS, pose


def run(session, stream):
    """Feed until done; returns all updates."""
    updates = []
    for stamp_ns, pose in stream:
        updates.append(session.add(stamp_ns, pose))
        if updates[-1].done:
            break
    return updates


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_any_tip_is_found_within_its_own_covariance(seed):
    rng = np.random.default_rng(seed)
    tool_T_tip = make_transform(np.eye(3), rng.uniform(-0.2, 0.2, 3) + np.array([0.0, 0.0, 0.3]))
    pivot = random_transform(rng)[:3, 3]
    session = PivotSession(PivotSessionConfig())
    last = run(session, poses(tool_T_tip, pivot, seed=seed))[-1]
    assert last.done and last.result is not None
    error = last.result.tip_tool - tool_T_tip[:3, 3]
    assert error @ np.linalg.solve(last.result.tip_covariance, error) < 36.0
    assert np.linalg.norm(error) < 10 * NOISE
    np.testing.assert_allclose(last.result.pivot_tracker, pivot, atol=10 * NOISE)


TIP = make_transform(np.eye(3), [-0.018, 0.011, -0.152])
PIVOT = np.array([0.1, -0.2, -1.4])


def test_nothing_is_given_before_it_may_be_used():
    updates = run(PivotSession(PivotSessionConfig()), poses(TIP, PIVOT))
    first = next(index for index, update in enumerate(updates) if update.result is not None)
    assert first >= 59  # ready_poses
    assert all(update.result is None and not update.done for update in updates[:first])
    tilts = [update.tilt for update in updates]
    assert tilts[0] == 0.0 and tilts[-1] >= 0.7


def test_it_goes_on_while_it_gets_better_and_then_stops():
    updates = run(PivotSession(PivotSessionConfig(improve=1.0)), poses(TIP, PIVOT, count=1000))
    first = next(update for update in updates if update.result is not None)
    last = updates[-1]
    assert last.done
    assert 1000 * MS < last.stamp_ns - first.stamp_ns <= 1020 * MS
    assert last.result.tip_sigma < first.result.tip_sigma


def test_it_stops_at_once_when_the_tip_leaves_and_keeps_that_out():
    session = PivotSession(PivotSessionConfig(improve=60.0))
    for stamp_ns, pose in poses(TIP, PIVOT):
        update = session.add(stamp_ns, pose)
        if update.result is not None:
            break
    known = update.result
    away = pose.copy()
    away[:3, 3] += [0.0, 0.0, 0.05]
    left = session.add(stamp_ns + 20 * MS, away)
    assert left.done and session.done and left.result is known
    again = session.add(stamp_ns + 40 * MS, pose)
    assert again.done and again.result is known and again.poses == left.poses


@pytest.mark.parametrize('tilt', [0.0, 0.05])
def test_too_little_tilt_never_gives_a_result(tilt):
    updates = run(PivotSession(PivotSessionConfig()), poses(TIP, PIVOT, tilt=tilt, count=300))
    assert all(update.result is None for update in updates)
    assert 'tilt' in updates[-1].message


def test_a_tip_that_slides_never_gives_a_result():
    """The dimple is none: the tip wanders 2 cm."""
    stream = ((s, p @ make_transform(np.eye(3), [0.01 * np.sin(s / 3e8), 0.0, 0.0])) for s, p in poses(TIP, PIVOT))
    updates = run(PivotSession(PivotSessionConfig()), stream)
    assert all(update.result is None for update in updates)
    assert 'residual' in updates[-1].message or 'outlier' in updates[-1].message


def test_reset_starts_again():
    session = PivotSession(PivotSessionConfig(improve=0.0))
    assert run(session, poses(TIP, PIVOT))[-1].done
    session.reset()
    update = session.add(20 * MS, next(poses(TIP, PIVOT))[1])
    assert not update.done and update.result is None and update.poses == 1
    assert run(session, poses(TIP, PIVOT, seed=4))[-1].done


def test_repeated_stamps_add_nothing():
    session = PivotSession(PivotSessionConfig())
    for _, pose in poses(TIP, PIVOT):
        update = session.add(20 * MS, pose)
    assert update.poses == 1 and update.result is None


@pytest.mark.parametrize('broken', [np.full((4, 4), np.nan), np.diag([1.0, 1.0, -1.0, 1.0]), np.zeros((4, 4))])
def test_a_pose_that_is_none_is_refused_and_leaves_no_trace(broken):
    session = PivotSession(PivotSessionConfig())
    session.add(10 * MS, next(poses(TIP, PIVOT))[1])
    with pytest.raises(InputError):
        session.add(15 * MS, broken)
    last = run(session, poses(TIP, PIVOT))[-1]
    assert last.done and np.linalg.norm(last.result.tip_tool - TIP[:3, 3]) < 10 * NOISE
