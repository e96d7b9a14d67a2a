"""What is wrong with landmarks that do not lie like the places touched, whose order is not known."""

import re

import numpy as np
import pytest

from twin_nodes.core.geometry.se3 import random_transform, transform_points
from twin_nodes.core.registration.landmark_faults import explain_mismatch

LANDMARKS = 1e-3 * np.array([[104, 5, 20], [104, 45, 20], [90, 45, 0], [100, -5, 0], [-34, 45, 15], [-30, -5, 25]])
NAMES = tuple('abcdef')


def told(stretch, *, found=0, landmarks=LANDMARKS):
    rng = np.random.default_rng(3)
    touched = transform_points(random_transform(rng), landmarks)
    touched = (touched + rng.normal(0.0, 2e-4, touched.shape))[rng.permutation(len(touched))]
    extra = rng.uniform(-0.3, 0.3, (2, 3))
    return explain_mismatch(
        np.vstack([touched, extra]), landmarks * stretch, NAMES[: len(landmarks)], tolerance=0.003, found=found
    )


@pytest.mark.parametrize(
    ('stretch', 'match'),
    [
        ([1.25, 1.0, 1.0], 'axis x of the anatomy looks 2. % too (long|short)'),
        ([0.8, 1.0, 1.0], 'axis x of the anatomy looks 2. % too (short|long)'),
        ([1.1, 1.1, 1.1], '9.. % smaller'),
        ([1e-3, 1e-3, 1e-3], 'metres'),
        ([-1.0, 1.0, 1.0], 'mirrored'),
    ],
)
def test_what_was_done_to_the_landmarks_is_told(stretch, match):
    story = told(np.array(stretch))
    assert re.search(match, story), story


def test_nothing_is_told_of_good_landmarks_or_of_too_few():
    assert told(np.ones(3), found=6) == ''
    assert told(np.array([1.25, 1.0, 1.0]), landmarks=LANDMARKS[:4]) == ''
