import numpy as np
import pytest

from twin_nodes.core.calibration.pivot_collector import PivotCollector, PivotCollectorConfig
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp

TIP = np.array([0.0, 0.16, 0.0])
PERIOD_NS = 1_000_000_000 // 60


def swing(t, tilt=0.45):
    """Rotation of a tool that tilts in a rosette while it rolls."""
    tilt_vector = np.array([np.cos(0.7 * t), 0.0, np.sin(0.7 * t)]) * tilt * np.sin(2.3 * t)
    return rotation_exp(tilt_vector) @ rotation_exp([0.0, 0.4 * np.sin(0.9 * t), 0.0])


def feed(collector, seconds, rng, *, tilt=0.45, start_s=0.0, pivot_noise=0.0, moving=True):
    progress = None
    for step in range(int(seconds * 60)):
        t = start_s + step / 60.0
        rotation = swing(t if moving else start_s, tilt)
        pivot = np.array([0.1, 0.2, -1.0]) + rng.normal(0.0, pivot_noise, 3) + rng.normal(0.0, 1e-4, 3)
        progress = collector.add(round(t * 1e9), make_transform(rotation, pivot - rotation @ TIP))
    return progress


def test_ready_when_coverage_and_residual_are_good():
    collector = PivotCollector()
    progress = feed(collector, 15.0, np.random.default_rng(0))
    assert progress.ready
    # 60 and more poses at 0.1 mm over ± 26°: σ of the tip stays below 0.1 mm
    assert np.linalg.norm(progress.result.tip_tool - TIP) < 0.3e-3
    assert progress.message.startswith('tip known to')
    assert progress.poses <= collector.config.max_poses


def test_says_tilt_more():
    progress = feed(PivotCollector(), 15.0, np.random.default_rng(0), tilt=0.2)
    assert not progress.ready
    assert progress.result is None
    assert 'tilt more' in progress.message
    assert 'of 40°' in progress.message


def test_says_hold_the_tip_still():
    progress = feed(PivotCollector(), 15.0, np.random.default_rng(0), pivot_noise=3e-3)
    assert not progress.ready
    assert 'hold the tip still' in progress.message


def test_says_that_the_tool_does_not_move():
    collector = PivotCollector()
    progress = feed(collector, 5.0, np.random.default_rng(0), moving=False)
    assert not progress.ready
    assert progress.message.startswith('the tool does not move')
    assert progress.poses <= 3


def test_memory_is_bounded_and_old_poses_leave():
    config = PivotCollectorConfig(novelty=0.001, max_poses=80, ready_poses=60, window_s=2.0)
    collector = PivotCollector(config)
    feed(collector, 4.0, np.random.default_rng(0))
    stamps, poses = collector.poses()
    assert len(stamps) <= 80
    assert poses.shape == (len(stamps), 4, 4)
    assert stamps[-1] - stamps[0] <= 2.1e9


def test_time_running_back_starts_anew_and_a_repeated_stamp_is_ignored():
    collector = PivotCollector()
    rng = np.random.default_rng(0)
    feed(collector, 5.0, rng, start_s=100.0)
    before = collector.progress
    assert collector.add(round((100.0 + 299 / 60.0) * 1e9), np.eye(4)) is before
    collector.add(10**9, make_transform(swing(0.0), np.zeros(3)))
    assert collector.progress.poses == 1


def test_bad_input():
    with pytest.raises(InputError, match='NaN'):
        PivotCollector().add(1, np.full((4, 4), np.nan))
    with pytest.raises(ConfigError, match='ready_poses'):
        PivotCollectorConfig(ready_poses=500, max_poses=100)
