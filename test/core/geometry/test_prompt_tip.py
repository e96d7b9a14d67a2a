"""The tip of a tool at once: what the chain says, by the newest patient that is young enough."""

import numpy as np
import pytest

from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.prompt_tip import PromptTip
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.core.geometry.ties import Tie

MS = 1_000_000
COVARIANCE = np.eye(6) * 1e-8
TRACKER_T_PATIENT = make_transform(rotation_exp([0.2, -0.4, 1.0]), [0.1, 0.2, -1.0])
PATIENT_T_ANATOMY = make_transform(rotation_exp([1.0, 0.1, -0.3]), [0.0, 0.05, 0.1])
TOOL_T_TIP = make_transform(rotation_exp([0.0, 0.3, 0.0]), [0.0, 0.0, 0.15])
ANATOMY_T_TIP = make_transform(rotation_exp([0.5, 0.5, 0.0]), [0.01, -0.02, 0.03])


def pose(stamp_ns, matrix):
    return StampedCovariance(stamp_ns, matrix, COVARIANCE)


def tool(stamp_ns, patient=TRACKER_T_PATIENT):
    return pose(stamp_ns, patient @ PATIENT_T_ANATOMY @ ANATOMY_T_TIP @ inverse(TOOL_T_TIP))


@pytest.fixture
def stream():
    found = PromptTip(0.05)
    found.tip.add(Tie(0, TOOL_T_TIP, COVARIANCE))
    found.registration.add(Tie(0, PATIENT_T_ANATOMY, COVARIANCE))
    return found


def test_it_is_what_the_chain_says(stream):
    stream.add_patient(pose(100 * MS, TRACKER_T_PATIENT))
    found = stream.at(tool(120 * MS))
    assert found.stamp_ns == 120 * MS
    np.testing.assert_allclose(found.anatomy_T_tip, ANATOMY_T_TIP, atol=1e-12)


def test_the_newest_patient_counts_and_an_older_one_changes_nothing(stream):
    moved = make_transform(np.eye(3), [0.0, 0.0, 0.01]) @ TRACKER_T_PATIENT
    stream.add_patient(pose(100 * MS, moved))
    stream.add_patient(pose(90 * MS, TRACKER_T_PATIENT))
    np.testing.assert_allclose(stream.at(tool(110 * MS, moved)).anatomy_T_tip, ANATOMY_T_TIP, atol=1e-12)


def test_without_a_young_patient_or_a_tie_there_is_none(stream):
    assert stream.at(tool(100 * MS)).code == 'NO_TRANSFORM'
    stream.add_patient(pose(100 * MS, TRACKER_T_PATIENT))
    assert stream.at(tool(150 * MS)).stamp_ns == 150 * MS
    assert stream.at(tool(151 * MS)).code == 'NO_TRANSFORM'
    stream.reset()
    assert stream.at(tool(100 * MS)).code == 'NO_TRANSFORM'
    bare = PromptTip(0.05)
    assert bare.at(tool(100 * MS)).code == 'NOT_CALIBRATED'
    bare.tip.add(Tie(0, TOOL_T_TIP, COVARIANCE))
    assert bare.at(tool(100 * MS)).code == 'NOT_REGISTERED'
    stream.registration.add(Tie(5, PATIENT_T_ANATOMY, COVARIANCE, withdrawn=True))
    stream.add_patient(pose(100 * MS, TRACKER_T_PATIENT))
    assert stream.at(tool(100 * MS)).code == 'NOT_REGISTERED'
