import numpy as np
import pytest

from twin_nodes.core.calibration.dwell import DwellConfig, DwellDetector
from twin_nodes.core.errors import ConfigError, InputError

PLACES = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.04, 0.0], [-0.03, 0.04, 0.02]])


def touch(places, rng, *, rate_hz=15.0, dwell_s=4.0, travel_s=1.0, noise=1e-4):
    """Stamps [ns] and tips (n, 3) of a tip that dwells at places and moves evenly between them."""
    tips, per_dwell, per_travel = [], int(dwell_s * rate_hz), int(travel_s * rate_hz)
    for index, place in enumerate(places):
        tips += [place] * per_dwell
        if index + 1 < len(places):
            tips += [place + (places[index + 1] - place) * k / per_travel for k in range(1, per_travel)]
    tips = np.array(tips) + rng.normal(0.0, noise, (len(tips), 3))
    return [round(k / rate_hz * 1e9) for k in range(len(tips))], tips


def run(detector, stamps, tips):
    found = [detector.add(stamp, tip) for stamp, tip in zip(stamps, tips, strict=True)]
    found.append(detector.finish())
    return [dwell for dwell in found if dwell is not None]


@pytest.mark.parametrize('rate_hz', [15.0, 60.0, 400.0])
def test_each_dwell_is_found_once(rate_hz):
    stamps, tips = touch(PLACES, np.random.default_rng(0), rate_hz=rate_hz)
    dwells = run(DwellDetector(), stamps, tips)
    assert len(dwells) == len(PLACES)
    for dwell, place in zip(dwells, PLACES, strict=True):
        # 60 samples of 0.1 mm and the first sample or two of arrival within the radius of 3 mm: below 0.2 mm
        assert np.linalg.norm(dwell.position_patient - place) < 0.2e-3
        assert dwell.duration_s == pytest.approx(4.0, abs=0.5)


def test_an_unevenly_travelled_arc_gives_its_middle():
    """The tip goes round a circle of 1 mm once, but rests on it on the way."""
    angle = np.concatenate([np.linspace(0.0, np.pi, 40), np.full(30, np.pi), np.linspace(np.pi, 2 * np.pi, 40)])
    tips = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1) * 1e-3
    (dwell,) = run(DwellDetector(), [k * 66_666_667 for k in range(len(tips))], tips)
    assert np.linalg.norm(tips.mean(axis=0)) > 0.2e-3
    assert np.linalg.norm(dwell.position_patient) < 0.05e-3


def test_covariance_of_the_mean_is_consistent():
    """NEES of the mean over 200 dwells: χ²(600)/200 within 2.67 … 3.35; even path weights cost up to a fifth more."""
    nees = []
    for seed in range(200):
        stamps, tips = touch(PLACES[:1], np.random.default_rng(seed), dwell_s=6.0, noise=2e-4)
        (dwell,) = run(DwellDetector(), stamps, tips)
        nees.append(dwell.position_patient @ np.linalg.solve(dwell.mean_covariance, dwell.position_patient))
    assert 2.4 < np.mean(nees) < 4.0


def test_a_short_stop_is_no_dwell():
    stamps, tips = touch(PLACES, np.random.default_rng(0), dwell_s=1.0)
    assert run(DwellDetector(), stamps, tips) == []


def test_a_running_dwell_shows_before_it_is_final():
    detector = DwellDetector()
    stamps, tips = touch(PLACES[:1], np.random.default_rng(0))
    assert all(detector.add(stamp, tip) is None for stamp, tip in zip(stamps, tips, strict=True))
    assert detector.current is not None
    assert detector.finish() is not None
    assert detector.finish() is None


def test_one_wild_sample_does_not_end_a_dwell():
    detector = DwellDetector()
    stamps, tips = touch(PLACES[:1], np.random.default_rng(0))
    tips[30] += 0.05
    (dwell,) = run(detector, stamps, tips)
    assert np.linalg.norm(dwell.position_patient) < 0.2e-3


def test_a_gap_ends_the_dwell():
    stamps, tips = touch(PLACES[:1], np.random.default_rng(0), dwell_s=8.0)
    stamps = [stamp + (10**9 if k >= 60 else 0) for k, stamp in enumerate(stamps)]
    assert len(run(DwellDetector(), stamps, tips)) == 2


def test_time_running_back_forgets_and_repeated_stamps_are_ignored():
    detector = DwellDetector()
    stamps, tips = touch(PLACES[:1], np.random.default_rng(0))
    for stamp, tip in zip(stamps, tips, strict=True):
        detector.add(stamp + 10**9, tip)
        detector.add(stamp + 10**9, tip + 1.0)
    assert detector.current is not None
    assert detector.add(0, tips[0]) is None
    assert detector.current is None


def test_bad_input():
    with pytest.raises(InputError, match='finite'):
        DwellDetector().add(1, np.array([0.0, np.nan, 0.0]))
    with pytest.raises(ConfigError, match='exit_radius'):
        DwellConfig(radius=0.01, exit_radius=0.005)
