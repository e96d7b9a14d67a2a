"""The predictor continues breaths, its band holds, and nothing wrong gets in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.guidance.respiration.band import REGION
from twin_nodes.core.guidance.respiration.config import BreathingConfig
from twin_nodes.core.guidance.respiration.predictor import BreathingPredictor
from twin_nodes.core.simulate.breathing import breathing_trace
from twin_nodes.core.stamps import NANOSECONDS

QUICK = BreathingConfig(horizons=(0.2, 0.5, 1.0), learning_time=10.0)


def follow(config, times, positions, start_ns=0):
    predictor = BreathingPredictor(config)
    return [
        predictor.add(start_ns + round(time * NANOSECONDS), position)
        for time, position in zip(times, positions, strict=True)
    ]


def test_regular_breath_is_continued_to_a_tenth_of_its_change():
    times = np.arange(0.0, 80.0, 0.1)
    positions = np.outer(5e-3 * np.sin(2.0 * np.pi * times / 4.0), [0.0, 0.6, 0.8])
    positions += np.random.default_rng(0).normal(0.0, 2e-5, positions.shape)
    forecasts = follow(QUICK, times, positions)
    ahead = 5  # samples in 0.5 s
    late = range(400, len(times) - ahead)
    miss = [forecasts[k].positions[1] - positions[k + ahead] for k in late]
    change = [positions[k + ahead] - positions[k] for k in late]
    assert np.sqrt(np.mean(np.square(miss))) < 0.1 * np.sqrt(np.mean(np.square(change)))


def test_irregular_breath_beats_hold_last_and_the_band_holds():
    hits, own, hold = [], [], []
    for seed in range(3):
        trace = breathing_trace(np.random.default_rng(seed), seconds=90.0, markers=1)
        positions = trace.markers[:, 0]
        for k, forecast in enumerate(follow(QUICK, trace.times, positions)[:-5]):
            if forecast is None:
                continue
            miss = positions[k + 5] - forecast.positions[1]
            own.append(miss @ miss)
            hold.append(np.sum((positions[k + 5] - positions[k]) ** 2))
            hits.append(miss @ np.linalg.solve(forecast.covariances[1], miss) <= REGION)
    assert np.mean(own) < 0.6**2 * np.mean(hold)
    assert 0.93 <= np.mean(hits) <= 0.97


@settings(max_examples=4, deadline=None)
@given(shift=st.integers(0, 2**61), offset=st.floats(-2.0, 2.0))
def test_forecast_moves_with_the_clock_and_the_origin(shift, offset):
    trace = breathing_trace(np.random.default_rng(5), seconds=14.0, markers=1)
    here = follow(QUICK, trace.times, trace.markers[:, 0])[-1]
    there = follow(QUICK, trace.times, trace.markers[:, 0] + offset, start_ns=shift)[-1]
    assert there.stamp_ns == here.stamp_ns + shift
    assert np.allclose(there.positions - offset, here.positions, atol=1e-9)


def test_prediction_does_not_peek_into_the_future():
    trace = breathing_trace(np.random.default_rng(1), seconds=30.0, markers=1)
    positions = trace.markers[:, 0].copy()
    known = follow(QUICK, trace.times, positions)[200]
    positions[201:] += 0.1
    assert np.array_equal(follow(QUICK, trace.times, positions)[200].positions, known.positions)


def test_a_gap_empties_the_history_but_not_what_was_learned():
    trace = breathing_trace(np.random.default_rng(2), seconds=60.0, markers=1)
    times = trace.times.copy()
    times[300:] += 3.0
    predictor = BreathingPredictor(QUICK)
    for time, position in zip(times, trace.markers[:, 0], strict=True):
        forecast = predictor.add(round(time * NANOSECONDS), position)
        assert forecast is None or np.isfinite(forecast.positions).all()
    assert predictor.learning == 1.0
    assert predictor.position_at(round(31.0 * NANOSECONDS)) is None


def test_says_nothing_before_it_has_learned():
    times = np.arange(0.0, 9.9, 0.1)
    assert all(forecast is None for forecast in follow(QUICK, times, np.zeros((len(times), 3))))


def test_a_still_marker_is_predicted_where_it_is():
    times = np.arange(0.0, 30.0, 0.1)
    last = follow(QUICK, times, np.full((len(times), 3), 0.25))[-1]
    assert np.allclose(last.positions, 0.25, atol=1e-12)
    assert (last.bands > 0.0).all()


@pytest.mark.parametrize('position', [[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [0.0, 0.0]])
def test_bad_positions_are_refused(position):
    with pytest.raises(InputError, match='three finite numbers'):
        BreathingPredictor(QUICK).add(1, np.array(position))


@pytest.mark.parametrize('stamp_ns', [5, 4])
def test_stamps_must_follow(stamp_ns):
    predictor = BreathingPredictor(QUICK)
    predictor.add(5, np.zeros(3))
    with pytest.raises(InputError, match='must be in order'):
        predictor.add(stamp_ns, np.zeros(3))


def test_horizons_must_ascend():
    with pytest.raises(ConfigError, match='ascending'):
        BreathingConfig(horizons=(0.5, 0.1))


def test_recordings_of_real_breaths(shared_data):
    from twin_nodes.io.recordings.marker_csv import read_marker_csv

    ratios = {}
    for path in sorted((shared_data / 'resp_extmarker').glob('*-N-*.csv'))[:2]:
        trace = read_marker_csv(path)
        forecasts = follow(QUICK, trace.stamps_ns / NANOSECONDS, trace.positions)
        pairs = [(k, f) for k, f in enumerate(forecasts[:-5]) if f is not None]
        own = np.mean([np.sum((trace.positions[k + 5] - f.positions[1]) ** 2) for k, f in pairs])
        hold = np.mean([np.sum((trace.positions[k + 5] - trace.positions[k]) ** 2) for k, _ in pairs])
        ratios[path.name] = np.sqrt(own / hold)
    assert ratios
    assert max(ratios.values()) < 0.8, ratios
