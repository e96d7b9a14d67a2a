"""Ties as messages: what is said is what is heard, and a withdrawal is no pose to anybody."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.ros.conversions import pose_from, pose_with_covariance
from twin_nodes.ros.ties import tie_from, withdrawal

STAMP_NS = 7_000_000_003


def test_a_tie_is_heard_as_it_was_said():
    pose = random_transform(np.random.default_rng(1))
    tie = tie_from(pose_with_covariance(STAMP_NS, 'patient', pose, np.eye(6) * 1e-8), frame='patient')
    assert tie.stamp_ns == STAMP_NS and not tie.withdrawn
    np.testing.assert_allclose(tie.pose, pose, atol=1e-12)


def test_a_withdrawal_is_heard_and_is_a_pose_to_nobody():
    message = withdrawal(STAMP_NS, 'patient')
    tie = tie_from(message, frame='patient')
    assert tie.withdrawn and tie.stamp_ns == STAMP_NS
    with pytest.raises(InputError, match='negative variance'):
        pose_from(message, frame='patient')


@pytest.mark.parametrize(
    ('message', 'match'),
    [
        (withdrawal(STAMP_NS, 'tracker'), "frame is 'tracker', expected 'patient'"),
        (withdrawal(0, 'patient'), 'stamp is 0'),
        (pose_with_covariance(STAMP_NS, 'patient', np.eye(4), -np.eye(6)), 'negative variance'),
    ],
)
def test_refuses_what_is_neither(message, match):
    with pytest.raises(InputError, match=match):
        tie_from(message, frame='patient')
