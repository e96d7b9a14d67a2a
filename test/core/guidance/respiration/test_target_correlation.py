"""A hidden target is found from markers on the skin, and the gate knows when it is in place."""

import numpy as np
import pytest
from scipy.stats import chi2

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.guidance.respiration.config import BreathingConfig, GateConfig, RespirationConfig
from twin_nodes.core.guidance.respiration.correlation import External, TargetCorrelation
from twin_nodes.core.guidance.respiration.gate import Gate, probability_within
from twin_nodes.core.guidance.respiration.session import RespirationSession
from twin_nodes.core.simulate.breathing import breathing_trace
from twin_nodes.core.stamps import NANOSECONDS

CONFIG = RespirationConfig(breathing=BreathingConfig(horizons=(0.1, 0.3, 0.5), learning_time=10.0))


def model_of(rng, noise):
    """Fixes of a target that is exactly of the model's form, plus noise."""
    phases = rng.uniform(0.0, 2.0 * np.pi, 200)
    s, rate = np.sin(phases), np.cos(phases)
    way = np.array([[1e-3, 2e-3, 5e-3], [0.0, 3e-3, 1e-3]])
    externals = [External(a * way, b * way) for a, b in zip(s, rate, strict=True)]
    mixing = rng.normal(size=(3, 3)) * 5e-3
    targets = np.stack([s, s**2, rate], axis=1) @ mixing
    return externals, targets, targets + rng.normal(0.0, noise, targets.shape)


def test_recovers_its_own_form_with_hysteresis():
    rng = np.random.default_rng(3)
    externals, targets, _ = model_of(rng, 0.0)
    model = TargetCorrelation(CONFIG.correlation)
    for external, target in zip(externals[:60], targets[:60], strict=True):
        model.add_fix(external, target)
    errors = [model.estimate(e).position - t for e, t in zip(externals[60:], targets[60:], strict=True)]
    assert np.abs(errors).max() < 2e-4


def test_covariance_is_that_of_the_errors():
    distances = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        externals, _, noisy = model_of(rng, 7e-4)
        model = TargetCorrelation(CONFIG.correlation)
        for external, target in zip(externals[:100], noisy[:100], strict=True):
            model.add_fix(external, target)
        estimate = model.estimate(externals[150])
        error = noisy[150] - estimate.position
        distances.append(error @ np.linalg.solve(estimate.covariance, error))
    low, high = chi2.interval(0.999, 3 * 40)
    assert low < sum(distances) < high


def test_still_markers_carry_no_model():
    model = TargetCorrelation(CONFIG.correlation)
    still = External(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(DegenerateGeometryError, match='spread the fixes over the breath'):
        for _ in range(CONFIG.correlation.min_fixes):
            model.add_fix(still, np.zeros(3))
    assert not model.ready


def test_bad_fixes_are_refused():
    model = TargetCorrelation(CONFIG.correlation)
    good = External(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(InputError, match='three finite numbers'):
        model.add_fix(good, np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(InputError, match='not finite'):
        model.add_fix(External(np.full((1, 3), np.inf), np.zeros((1, 3))), np.zeros(3))
    model.add_fix(good, np.zeros(3))
    with pytest.raises(InputError, match='2 external markers, 1 before'):
        model.add_fix(External(np.zeros((2, 3)), np.zeros((2, 3))), np.zeros(3))
    with pytest.raises(InputError, match='the model needs'):
        model.estimate(good)


def test_probability_within_a_ball_is_that_of_the_chi_distribution():
    for radius in (0.5, 1.5, 2.8):
        assert probability_within(np.zeros(3), np.eye(3), radius) == pytest.approx(chi2.cdf(radius**2, 3), abs=0.01)
    assert probability_within(np.array([9.0, 0.0, 0.0]), np.eye(3), 1.0) == 0.0


def test_gate_has_hysteresis_and_tells_the_next_change():
    gate = Gate(GateConfig(tolerance=2e-3, probability=0.9, hysteresis=0.2), np.zeros(3))
    instants = np.array([0.0, 1.0])
    spread = np.array([1e-8 * np.eye(3)] * 2)
    away = gate.update(instants, np.array([[5e-3, 0.0, 0.0], [0.0, 0.0, 0.0]]), spread)
    assert not away.open
    assert away.change_in == pytest.approx(0.9, abs=0.01)
    inside = gate.update(instants, np.zeros((2, 3)), spread)
    assert inside.open
    assert inside.change_in is None
    wide = np.array([(1e-3) ** 2 * np.eye(3)] * 2)  # 74 % inside: below 0.9, above 0.7
    assert gate.update(instants, np.zeros((2, 3)), wide).open
    assert not Gate(gate._config, np.zeros(3)).update(instants, np.zeros((2, 3)), wide).open


def test_session_predicts_a_hidden_target_better_than_the_last_fix():
    rng = np.random.default_rng(11)
    trace = breathing_trace(rng, seconds=110.0)
    session = RespirationSession(CONFIG, ('chest', 'belly'), planned=trace.target.mean(axis=0))
    own, held, fix = [], [], trace.target[0]
    for index, time in enumerate(trace.times):
        for name, position in zip(('chest', 'belly'), trace.markers[index], strict=True):
            session.add_marker(name, round(time * NANOSECONDS), position)
        if index > 50 and index % 30 == 0:
            fix = trace.target[index] + rng.normal(0.0, 5e-4, 3)
            session.add_fix(round(time * NANOSECONDS), fix)
        forecast = session.forecast()
        if forecast is not None and index + 3 < len(trace.times):
            own.append(np.sum((trace.target[index + 3] - forecast.positions[2]) ** 2))
            held.append(np.sum((trace.target[index + 3] - fix) ** 2))
            assert forecast.gate is not None
    assert len(own) > 300
    assert np.mean(own) < 0.35**2 * np.mean(held)


def test_session_refuses_fixes_that_the_markers_do_not_reach():
    session = RespirationSession(CONFIG, ('chest',))
    session.add_marker('chest', NANOSECONDS, np.zeros(3))
    with pytest.raises(InputError, match="marker 'chest' was not seen"):
        session.add_fix(5 * NANOSECONDS, np.zeros(3))
    with pytest.raises(InputError, match="no external marker 'back'"):
        session.add_marker('back', NANOSECONDS, np.zeros(3))
    with pytest.raises(InputError, match='different names'):
        RespirationSession(CONFIG, ('chest', 'chest'))
