"""A registration while it happens: dwells become landmarks, what is missing is named, nothing degenerate is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.dwell import DwellConfig
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, random_transform, transform_points
from twin_nodes.core.registration.paired_points import Verdict
from twin_nodes.core.registration.session import LandmarkSession, LandmarkSessionConfig

NAMES = ('mastoid', 'zygoma', 'notch', 'vertex', 'canal')
LANDMARKS = np.array(
    [[0.03, 0.0, 0.0], [-0.02, 0.041, 0.005], [0.0, -0.035, 0.02], [0.012, 0.015, 0.052], [-0.04, -0.012, 0.031]]
)
CONFIG = LandmarkSessionConfig(dwell=DwellConfig(min_duration_s=0.6))
MS = 1_000_000
NOISE = 1e-4


class Hand:
    """Moves the tip between places at 50 Hz and collects the updates."""

    def __init__(self, session, seed=0):
        self.session, self.updates = session, []
        self._rng = np.random.default_rng(seed)
        self._stamp_ns, self._place = 1000 * MS, np.array([0.3, 0.3, 0.3])

    def say(self, position):
        self._stamp_ns += 20 * MS
        noisy = position + NOISE * self._rng.normal(size=3) / np.sqrt(3.0)
        update = self.session.add(self._stamp_ns, noisy)
        if update is not None:
            self.updates.append(update)

    def touch(self, position, *, rest_s=1.0):
        for fraction in np.linspace(0.0, 1.0, 20):
            self.say(self._place + fraction * (position - self._place))
        for _ in range(round(rest_s * 50)):
            self.say(position)
        self._place = np.array(position)

    def leave(self):
        self.touch(self._place + np.array([0.1, 0.0, 0.0]), rest_s=0.0)
        return self.updates[-1] if self.updates else None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_any_pose_is_found_from_any_order_of_touching(seed):
    rng = np.random.default_rng(seed)
    patient_T_anatomy = random_transform(rng)
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG), seed)
    for index in rng.permutation(len(NAMES)):
        hand.touch(transform_points(patient_T_anatomy, LANDMARKS[index][None])[0])
    last = hand.leave()
    assert last.complete and last.usable and not last.provisional
    assert set(last.found) == set(NAMES) and last.match.missing == ()
    error = pose_error(last.result.patient_T_anatomy, patient_T_anatomy)
    assert error @ np.linalg.solve(last.result.covariance, error) < 360.0  # 6 F(6, 9): one in a million
    assert last.result.fre_rms < 3 * NOISE


def test_the_missing_are_named_and_nothing_is_given_below_the_minimum():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for count, point in enumerate(LANDMARKS[:3], start=1):
        hand.touch(point)
        update = hand.leave()
        assert update.result is None and not update.usable and not update.complete
        assert len(hand.session.dwells) == count
    hand.touch(LANDMARKS[3])
    update = hand.leave()
    assert update.usable and not update.complete
    assert update.match.missing == ('canal',) and 'missing: canal' in update.message


def test_a_running_dwell_already_counts_and_is_called_provisional():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in LANDMARKS:
        hand.touch(point)
    assert hand.updates[-1].complete and hand.updates[-1].provisional
    assert not hand.leave().provisional


def test_a_stream_that_ends_in_a_dwell_is_finished():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in LANDMARKS:
        hand.touch(point)
    last = hand.session.finish(10_000_000 * MS)
    assert last.complete and not last.provisional
    assert hand.session.finish(10_000_001 * MS) is None


def test_a_touch_beside_every_landmark_does_not_spoil_the_others():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in (*LANDMARKS[:2], np.array([0.07, 0.07, 0.07]), *LANDMARKS[2:]):
        hand.touch(point)
    last = hand.leave()
    assert last.complete and len(hand.session.dwells) == 6
    np.testing.assert_allclose(last.result.patient_T_anatomy, np.eye(4), atol=0.01)


def test_mirrored_data_are_never_accepted():
    mirrored = LANDMARKS * [1.0, 1.0, -1.0]
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in mirrored:
        hand.touch(point)
    hand.leave()
    assert not any(update.complete for update in hand.updates)


def test_data_of_another_scale_are_never_accepted():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in 1.25 * LANDMARKS:
        hand.touch(point)
    hand.leave()
    assert not any(update.complete for update in hand.updates)


def test_landmarks_on_a_line_are_refused():
    line = np.outer([0.0, 0.02, 0.05, 0.09], [1.0, 0.5, 0.2])
    hand = Hand(LandmarkSession(NAMES[:4], line, CONFIG))
    for point in line:
        hand.touch(point)
    last = hand.leave()
    assert last.result is None or last.result.verdict is Verdict.REFUSE
    assert not any(update.usable for update in hand.updates)
    assert 'no 3 of them lie like 3' in last.message


def test_brushing_over_the_landmarks_is_no_touch():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in LANDMARKS:
        hand.touch(point, rest_s=0.3)
    assert hand.leave() is None and hand.session.dwells == ()


def test_reset_forgets_every_touch():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for point in LANDMARKS[:4]:
        hand.touch(point)
    hand.leave()
    hand.session.reset()
    assert hand.session.dwells == ()
    hand.updates.clear()
    hand.touch(LANDMARKS[4])
    assert hand.leave().result is None


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr('twin_nodes.core.registration.session.MAX_DWELLS', 12)
    hand = Hand(LandmarkSession(NAMES[:3], LANDMARKS[:3], LandmarkSessionConfig(minimum=3, dwell=DwellConfig(
        entry_s=0.02, exit_s=0.0, min_duration_s=0.05, min_samples=4))))  # fmt: skip
    for k in range(18):
        hand.touch(np.array([0.02 * (k % 9), 0.03 * (k % 7), 0.2]), rest_s=0.3)
    hand.leave()
    assert len(hand.session.dwells) == 12


@pytest.mark.parametrize('broken', [[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [0.0, 0.0]])
def test_a_position_that_is_none_is_refused(broken):
    session = LandmarkSession(NAMES, LANDMARKS, CONFIG)
    with pytest.raises(InputError, match='three finite numbers'):
        session.add(1, np.array(broken))


@pytest.mark.parametrize(
    ('names', 'points', 'config', 'match'),
    [
        (NAMES[:2], LANDMARKS[:2], CONFIG, 'at least 3'),
        (NAMES, LANDMARKS[:4], CONFIG, '5 names and 4 positions'),
        (NAMES[:3], LANDMARKS[:3], CONFIG, 'minimum=4 landmarks is above their number, 3'),
    ],
)
def test_a_session_that_cannot_succeed_is_refused(names, points, config, match):
    with pytest.raises(ConfigError, match=match):
        LandmarkSession(names, points, config)


def test_the_result_is_that_of_the_inverse_way_round():
    """Touching the transformed landmarks with the anatomy of the patient is the inverse registration."""
    patient_T_anatomy = random_transform(np.random.default_rng(4))
    there = transform_points(patient_T_anatomy, LANDMARKS)
    results = []
    for model, touched in ((LANDMARKS, there), (there, LANDMARKS)):
        hand = Hand(LandmarkSession(NAMES, model, CONFIG))
        for point in touched:
            hand.touch(point)
        results.append(hand.leave().result.patient_T_anatomy)
    np.testing.assert_allclose(results[0] @ results[1], np.eye(4), atol=20 * NOISE / 0.04)
    np.testing.assert_allclose(results[0], inverse(results[1]), atol=20 * NOISE / 0.04)


def test_a_landmark_that_was_touched_badly_is_left_out_until_it_is_touched_again():
    hand = Hand(LandmarkSession(NAMES, LANDMARKS, CONFIG))
    for name, point in zip(NAMES, LANDMARKS, strict=True):
        hand.touch(point + (name == 'vertex') * np.array([0.0, 0.0, 0.0025]))
    update = hand.leave()
    assert list(update.result.excluded) == ['vertex'] and update.result.verdict is Verdict.WARN
    assert 'vertex is' in update.message and update.final and not update.complete
    hand.touch(LANDMARKS[3])
    update = hand.leave()
    assert not update.result.excluded and update.result.verdict is Verdict.ACCEPT and update.complete
