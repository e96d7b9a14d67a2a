"""The pairs of the quasi-Newton method, one after the other and written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.elastic.quasi_newton import History

SIZE = 12


def definite(rng):
    root = rng.normal(size=(SIZE, SIZE))
    return root @ root.T + SIZE * np.eye(SIZE)


def follow(rng, count, depth):
    """A history whose half-solved changes came from where the solver passed, and what made it."""
    old, true = definite(rng), definite(rng)
    lower = np.linalg.cholesky(old)
    rows = np.linalg.solve(lower, rng.normal(size=(SIZE, 3))).T.astype(np.float32)  # of three places that push
    history, places = History(SIZE, depth), (lower @ rows.T.astype(float)).T
    forces, pushed, steps = rng.normal(size=SIZE), np.zeros(3), []
    for _ in range(count):
        history.pass_by(np.linalg.solve(lower, forces).astype(np.float32), pushed, rows)
        step, after = rng.normal(size=SIZE), rng.uniform(0.0, 1.0, 3)
        assert history.add(step, true @ step)
        forces = forces - true @ step + (after - pushed) @ places
        pushed, steps = after, [*steps, step]
    history.pass_by(np.linalg.solve(lower, forces).astype(np.float32), pushed, rows)
    return history, old, true, lower, steps


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 7), depth=st.integers(1, 5))
def test_the_inverse_written_out_is_the_same_one(seed, count, depth):
    rng = np.random.default_rng(seed)
    history, old, true, lower, steps = follow(rng, count, depth)
    chosen = history.halved()
    assert len(chosen) == len(history) == min(count, depth)
    kept, halves = (rows[chosen] for rows in history.pairs())
    np.testing.assert_array_equal(kept, steps[-len(chosen) :])
    changes = lower @ halves.T
    np.testing.assert_allclose(changes, true @ kept.T, rtol=1e-4, atol=1e-3)
    middle = history.middle(chosen, halves @ halves.T.astype(float))
    both = np.concatenate([kept.T, np.linalg.solve(old, true @ kept.T)], axis=1)
    mended = np.linalg.inv(old) + both @ middle @ both.T
    right = rng.normal(size=SIZE)
    by_turns = history.apply(lambda q: np.linalg.solve(old, q), right.copy())
    np.testing.assert_allclose(mended @ right, by_turns, rtol=2e-4, atol=2e-4 * np.abs(by_turns).max())
    np.testing.assert_allclose(mended @ true @ kept[-1], kept[-1], rtol=1e-3, atol=1e-3)  # the last secant holds


def test_where_the_solver_did_not_pass_a_pair_is_left_out_of_what_is_written():
    history = History(2, 3)
    assert history.add(np.array([1.0, 0.0]), np.array([2.0, 0.0]))  # nothing was passed before it
    history.pass_by(np.zeros(2, np.float32), np.zeros(1), np.zeros((1, 2), np.float32))
    assert len(history) == 1 and len(history.halved()) == 0
    assert history.add(np.array([0.0, 1.0]), np.array([0.0, 3.0]))
    history.pause()  # the next frame begins elsewhere
    history.pass_by(np.ones(2, np.float32), np.zeros(1), np.zeros((1, 2), np.float32))
    assert len(history.halved()) == 0
    assert not history.add(np.array([1.0, 0.0]), np.array([-1.0, 0.0]))  # the energy curves downward
    history.pass_by(np.ones(2, np.float32), np.zeros(1), np.zeros((1, 2), np.float32))
    assert len(history) == 2 and len(history.halved()) == 0
    history.clear()
    assert len(history) == 0


@pytest.mark.parametrize('count', [1, 4])
def test_a_pair_that_is_written_over_is_forgotten(count):
    rng = np.random.default_rng(count)
    history, *_, steps = follow(rng, count + 3, 3)
    np.testing.assert_array_equal(history.pairs()[0][history.halved()], steps[-3:])
