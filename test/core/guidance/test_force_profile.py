"""Measured forces: a stroke is rendered again within 5 %, costs energy, and too much force is said."""

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.guidance.force_profile import (
    ForceConfig,
    ForcePhase,
    ForceProfile,
    ForceWatch,
    identify_profile,
)


def tissue(depth, speed):
    """A stiffening tissue that holds back less on the way out."""
    inside = np.maximum(depth, 0.0)
    force = 300.0 * inside + 4e4 * inside**2 + 5.0 * np.abs(speed) * (inside > 0.0)
    return np.where(speed >= 0.0, force, 0.6 * force)


def strokes(rng=None):
    """Eight strokes at three speeds to 8 mm and back, sampled at 1 kHz."""
    depths = []
    for pace in (0.01, 0.02, 0.04) * 3:
        way = np.arange(-0.001, 0.008, pace * 1e-3)
        depths += [way, way[::-1]]
    depth = np.concatenate(depths)
    speed = np.gradient(depth, 1e-3)
    force = tissue(depth, speed)
    return depth, speed, force if rng is None else force + rng.normal(0.0, 0.02, len(force))


def test_a_profile_renders_its_own_strokes_within_five_percent():
    depth, speed, force = strokes(np.random.default_rng(0))
    profile = identify_profile(depth, speed, force)
    clean = tissue(depth, speed)
    own = np.array([profile.force(d, v) for d, v in zip(depth, speed, strict=True)])
    steady = np.abs(speed) > 0.008
    assert np.sqrt(np.mean((own - clean)[steady] ** 2)) < 0.05 * clean.max()
    assert np.abs(own - clean)[steady].max() < 0.1 * clean.max()


def test_strokes_cost_energy_and_a_reversal_has_no_edge():
    profile = identify_profile(*strokes())
    time = np.arange(0.0, 6.0, 1e-3)
    depth = 0.004 - 0.0045 * np.cos(2.0 * np.pi * 0.7 * time)
    speed = np.gradient(depth, 1e-3)
    force = np.array([profile.force(d, v) for d, v in zip(depth, speed, strict=True)])
    paid = np.cumsum(force[:-1] * np.diff(depth))
    assert paid[-1] > 0.0 and paid.min() > -1e-4  # what sampling at 1 kHz leaves, far below one stroke
    assert np.abs(np.diff(force)).max() < 0.2
    assert profile.force(-0.001, 0.01) == 0.0


def test_phases_and_the_alarm():
    watch = ForceWatch(ForceConfig())
    assert watch.update(-0.001, 0.01, 0.0) == (ForcePhase.APPROACH, False)
    assert watch.update(0.001, 0.01, 2.0) == (ForcePhase.INDENT, False)
    assert watch.update(0.002, 0.01, 9.0) == (ForcePhase.INDENT, True)
    assert watch.update(0.003, 0.01, 3.0) == (ForcePhase.CUT, False)
    assert watch.update(0.002, -0.01, 1.0) == (ForcePhase.RELEASE, False)
    with pytest.raises(InputError, match='NaN'):
        watch.update(np.nan, 0.0, 0.0)


def test_tables_that_would_give_energy_or_say_nothing_are_refused():
    depths, speeds = np.array([0.0, 0.01]), np.array([0.01])
    with pytest.raises(ConfigError, match='give energy'):
        ForceProfile(depths, speeds, np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))
    with pytest.raises(ConfigError, match='ascend'):
        ForceProfile(depths[::-1], speeds, np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ConfigError, match='shape'):
        ForceProfile(depths, speeds, np.zeros((3, 1)), np.zeros((2, 1)))
    with pytest.raises(DegenerateGeometryError, match='at least 20'):
        identify_profile(np.zeros(30), np.zeros(30), np.zeros(30))
