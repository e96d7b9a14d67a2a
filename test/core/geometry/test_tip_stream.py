"""The tip in the anatomy: an error that is in the tip and in the registration counts once, live and in a replay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.geometry.pairing import PairingConfig, StampedCovariance
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp
from twin_nodes.core.geometry.ties import Tie, TipShare
from twin_nodes.core.geometry.tip_stream import NoTip, TipPose, TipStream

MS = 1_000_000
TOOL_T_TIP = make_transform(np.eye(3), [-0.018, 0.011, -0.152])
PATIENT_T_ANATOMY = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
TRACKER_T_PATIENT = make_transform(rotation_exp([1.2, 0.4, -0.3]), [0.08, -0.12, -1.45])
PATIENT_R_TOOL = random_transform(np.random.default_rng(3))[:3, :3]  # at the landmarks
TIP_VARIANCE, OWN_VARIANCE = 9e-8, 1e-8  # of a coordinate: of the tip; of the registration without the tip's part
EXACT = np.eye(6) * 1e-18


def isotropic(variance):
    return np.diag([variance] * 3 + [0.0] * 3)


def tip(stamp_ns, off=0.0):
    pose = TOOL_T_TIP.copy()
    pose[0, 3] += off
    return Tie(stamp_ns, pose, isotropic(TIP_VARIANCE))


def registration(stamp_ns):
    """All landmarks were touched with the tool held alike: the tip's error is in it whole, as a shift."""
    return Tie(stamp_ns, PATIENT_T_ANATOMY, isotropic(OWN_VARIANCE + TIP_VARIANCE))


def share(stamp_ns):
    return TipShare(stamp_ns, TOOL_T_TIP[:3, 3], np.vstack([PATIENT_R_TOOL, np.zeros((3, 3))]))


def poses(stamp_ns, turn=(0.0, 0.0, 0.0)):
    """The patient, and the tool held as at the landmarks and then turned about its own axes."""
    patient_T_tool = make_transform(PATIENT_R_TOOL @ rotation_exp(turn), [0.03, 0.02, 0.01])
    tool = TRACKER_T_PATIENT @ patient_T_tool
    return StampedCovariance(stamp_ns, TRACKER_T_PATIENT, EXACT), StampedCovariance(stamp_ns, tool, EXACT)


def feed(stream, stamp_ns, turn=(0.0, 0.0, 0.0)):
    patient, tool = poses(stamp_ns, turn)
    return [*stream.add_patient(patient), *stream.add_tool(tool)]


def variance(found):
    return float(np.trace(found.tip.covariance[:3, :3]))


@pytest.mark.parametrize(
    ('turn', 'of_tip'),
    [((0.0, 0.0, 0.0), 0.0), ((0.0, 0.0, np.pi), 8.0), ((0.0, 0.0, np.pi / 2), 4.0)],
    ids=['as then', 'turned round', 'a quarter'],
)  # (R − I) ε has variance 2 · (2 − 2 cos) σ²
def test_one_error_in_tip_and_registration_counts_once_however_the_tool_is_held(turn, of_tip):
    stream = TipStream(PairingConfig(), ordered=False)
    stream.tip.add(tip(0))
    stream.registration.add(registration(5))
    (alone,) = feed(stream, 10 * MS, turn)
    assert variance(alone) == pytest.approx(3 * OWN_VARIANCE + 6 * TIP_VARIANCE, rel=1e-6)
    stream.shares.add(share(5))
    (shared,) = feed(stream, 20 * MS, turn)
    assert variance(shared) == pytest.approx(3 * OWN_VARIANCE + of_tip * TIP_VARIANCE, rel=1e-6)
    np.testing.assert_array_equal(shared.tip.start_T_end, alone.tip.start_T_end)
    error = PATIENT_R_TOOL @ rotation_exp(turn) @ [1.0, 0, 0] - PATIENT_R_TOOL @ [1.0, 0, 0]  # of a tip 1 m off in x
    along = inverse(PATIENT_T_ANATOMY)[:3, :3] @ error
    if np.linalg.norm(along):
        told = along @ shared.tip.covariance[:3, :3] @ along / (along @ along)
        assert told > 1.9 * TIP_VARIANCE


def test_a_tip_calibrated_anew_and_another_registration_are_independent():
    stream = TipStream(PairingConfig(), ordered=False)
    stream.shares.add(share(5))
    stream.registration.add(registration(5))
    stream.tip.add(tip(7, off=1e-4))
    independent = pytest.approx(3 * OWN_VARIANCE + 6 * TIP_VARIANCE, rel=1e-6)
    assert variance(feed(stream, 10 * MS)[0]) == independent
    stream.tip.add(tip(8))
    assert variance(feed(stream, 20 * MS)[0]) == pytest.approx(3 * OWN_VARIANCE, rel=1e-6)
    stream.registration.add(registration(6))
    assert variance(feed(stream, 30 * MS)[0]) == independent


def said_in_replay(stream):
    """What the makers say of a registration at 50 ms, and of the end; each thing on a topic of its own."""
    at, end = 50 * MS, 200 * MS
    return {
        'share': lambda: stream.shares.add(share(at)),
        'registration': lambda: stream.registration.add(registration(at)),
        'share has come': lambda: stream.shares.progress(end, at),
        'registration has come': lambda: stream.registration.progress(end, at),
        'streams': lambda: None,
    }


@settings(deadline=None)
@given(st.permutations(list(said_in_replay(None))))
def test_a_replay_waits_for_the_share_whatever_the_order_of_arrival(order):
    stream = TipStream(PairingConfig(), ordered=True)
    stream.tip.add(tip(0))
    stream.registration.progress(0, 0)
    stream.shares.progress(0, 0)
    found, said = [], said_in_replay(stream)
    for name in order:
        if name == 'streams':
            found += [item for stamp in range(10, 100, 10) for item in feed(stream, stamp * MS)]
        said[name]()
        found += stream.drain()
    assert [item.stamp_ns // MS for item in found] == list(range(10, 100, 10))
    assert all(isinstance(item, NoTip) and item.code == 'NOT_REGISTERED' for item in found[:4])
    assert [variance(item) for item in found[4:]] == pytest.approx([3 * OWN_VARIANCE] * 5, rel=1e-6)


def test_a_jump_of_a_replay_forgets_what_was_measured_and_keeps_what_is_from_a_file():
    stream = TipStream(PairingConfig(), ordered=True)
    for made in (tip(0), registration(0)):
        (stream.tip if made.covariance[0, 0] == TIP_VARIANCE else stream.registration).add(made)
    stream.shares.add(share(0))
    stream.shares.add(TipShare(7, np.zeros(3), np.zeros((6, 3))))
    stream.shares.progress(100 * MS, 7)
    assert variance(feed(stream, 10 * MS)[0]) == pytest.approx(3 * OWN_VARIANCE, rel=1e-6)
    stream.reset()
    assert feed(stream, 10 * MS) == [], 'its maker begins again'
    stream.shares.progress(100 * MS, 0)
    assert variance(stream.drain()[0]) == pytest.approx(3 * OWN_VARIANCE, rel=1e-6)


def test_a_pose_of_a_replay_waits_for_a_tie_of_the_recording_that_comes_late_but_not_for_ever():
    stream = TipStream(PairingConfig(), ordered=True)
    stream.registration.add(registration(0))
    assert feed(stream, 10 * MS) == [], 'the calibration of the recording may still be on its way'
    stream.tip.add(tip(0))
    assert [type(item) for item in stream.drain()] == [TipPose]
    without = TipStream(PairingConfig(), ordered=True)
    assert feed(without, 10 * MS) == [] == without.drain()
    assert [item.code for item in without.finish()] == ['NOT_CALIBRATED']
    assert feed(without, 20 * MS) == [], 'the streams go on, and with them what they may wait for'
