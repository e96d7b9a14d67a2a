import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import random_transform, transform_points
from twin_nodes.core.registration.landmark_matching import match_landmarks

# An irregular block of eight dimples, some of them in mirrored or repeated distances, as real phantoms have.
BLOCK = np.array(
    [
        [104.3, 5.0, 20.0],
        [104.3, 45.0, 20.0],
        [104.3, 45.0, 0.0],
        [104.3, -5.0, 0.0],
        [-34.3, 45.0, 15.0],
        [-34.3, -5.0, 20.0],
        [-34.3, -5.0, 0.0],
        [-34.3, 45.0, 0.0],
    ]
)  # mm
BLOCK = BLOCK * 1e-3
RECTANGLE = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.06, 0.0], [0.0, 0.06, 0.0]])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_order_with_false_dwells_and_missing_landmarks(seed):
    """Found in any order; false dwells are at least 15 mm from every landmark, noise is 0.3 mm."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(8, size=rng.integers(6, 9), replace=False))
    order = rng.permutation(kept)
    false = rng.uniform(-0.15, 0.15, (20, 3))
    away = np.linalg.norm(false[:, None] - BLOCK[None], axis=-1).min(axis=1) > 0.015
    false = false[away][:2]
    anatomy = np.vstack([BLOCK[order] + rng.normal(0.0, 3e-4, (len(order), 3)), false])
    shuffle = rng.permutation(len(anatomy))
    match = match_landmarks(transform_points(random_transform(rng), anatomy[shuffle]), BLOCK, ordered=False)
    expected = {(int(np.nonzero(shuffle == i)[0][0]), int(landmark)) for i, landmark in enumerate(order)}
    if match.ambiguous:  # six of the eight may look alike; then it must say so
        assert 'fit alike' in match.message
    else:
        assert set(match.pairs) == expected
        assert len(match.missing) == 8 - len(kept)


def test_all_eight_touched_in_order_with_two_false_dwells():
    rng = np.random.default_rng(0)
    dwells = np.vstack([[[0.3, 0.0, 0.1]], BLOCK, [[-0.2, 0.1, 0.1]]]) + rng.normal(0.0, 2e-4, (10, 3))
    match = match_landmarks(transform_points(random_transform(rng), dwells), BLOCK)
    assert match.pairs == tuple((i + 1, i) for i in range(8))
    assert match.unused == (0, 9)
    assert match.decided
    assert match.message == '8 of 8 landmarks found'


def test_grows_with_every_dwell():
    found = [len(match_landmarks(BLOCK[:count], BLOCK).pairs) for count in range(9)]
    assert found == [0, 0, 0, 3, 4, 5, 6, 7, 8]


def test_a_landmark_touched_twice_counts_once():
    dwells = np.vstack([BLOCK, BLOCK[3] + [0.001, 0.0, 0.0]])
    match = match_landmarks(dwells, BLOCK)
    assert (3, 3) in match.pairs
    assert match.unused == (8,)


def test_a_symmetric_layout_is_ambiguous_unless_the_order_decides():
    moved = transform_points(random_transform(np.random.default_rng(0)), RECTANGLE)
    unordered = match_landmarks(moved, RECTANGLE, ordered=False)
    assert unordered.ambiguous
    assert not unordered.decided
    assert 'fit alike: touch another landmark' in unordered.message
    ordered = match_landmarks(moved, RECTANGLE)
    assert ordered.pairs == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert ordered.decided
    assert 'the order of touching decided' in ordered.message


def test_a_mirrored_touch_does_not_match():
    match = match_landmarks(BLOCK * [-1.0, 1.0, 1.0], BLOCK)
    assert len(match.pairs) < 8


def test_nothing_fits():
    match = match_landmarks(np.random.default_rng(0).uniform(-1.0, 1.0, (6, 3)), BLOCK)
    assert match.pairs == ()
    assert not match.decided
    assert 'no 3 of them lie like 3 of the landmarks' in match.message
    assert match_landmarks(np.empty((0, 3)), BLOCK).message == '0 of 8 places touched, at least 3 are needed'


def test_three_places_do_not_decide_among_eight_landmarks():
    assert not match_landmarks(BLOCK[:3], BLOCK).decided
    assert match_landmarks(BLOCK[[0, 1, 5]], BLOCK[[0, 1, 5]]).decided


def test_bad_input():
    with pytest.raises(InputError, match='NaN'):
        match_landmarks(np.full((3, 3), np.nan), BLOCK)
    with pytest.raises(InputError, match='tolerance'):
        match_landmarks(BLOCK, BLOCK, tolerance=0.0)
    with pytest.raises(InputError, match='2 names for 8'):
        match_landmarks(BLOCK, BLOCK, ('a', 'b'))
    with pytest.raises(InputError, match='shape'):
        match_landmarks(np.zeros((3, 2)), BLOCK)
