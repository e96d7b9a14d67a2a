"""The scene of bench `deform` and the peers that every test install has."""

import numpy as np
import pytest

from twin_nodes.app.bench.deform_peers import skfem_newton
from twin_nodes.app.bench.deform_push import run_push
from twin_nodes.app.bench.deform_scene import FRAMES, exact, follow, make_scene
from twin_nodes.core.anatomy.elastic.live import LiveConfig


@pytest.fixture(scope='module')
def scene():
    return make_scene(400)


def test_the_live_solver_follows_the_whole_path(scene):
    found = follow(scene, LiveConfig(), every=10, repeats=1, rate_hz=0.0)
    assert len(found.times) == found.converged == FRAMES
    assert len(found.errors) == 6
    assert max(found.errors) < 0.1


def test_the_path_starts_and_ends_gently_and_goes_20_mm(scene):
    steps = np.linalg.norm(np.diff(np.vstack([np.zeros(3), scene.path]), axis=0), axis=1)
    assert np.linalg.norm(scene.path[-1]) == pytest.approx(0.02)
    assert steps[0] < 2e-5 > steps[-1] / 2.0
    assert len(scene.grasp) >= 4
    assert not np.isin(scene.grasp, scene.model.fixed).any()


def test_one_newton_step_of_a_peer_comes_to_the_same_state(scene):
    follow_peer = skfem_newton(scene)
    for frame in range(3):
        x = follow_peer(frame)
    assert scene.error_percent(x, exact(scene, 2, x)) < 0.1


def test_a_push_comes_to_rest_where_the_exact_solver_says():
    found = run_push(800, every=10, rate_hz=0.0)
    assert len(found.times) == len(found.cpu) and found.converged > 0.9 * len(found.times)
    assert len(found.errors) >= 5 and max(found.errors) < 0.5


def test_a_push_with_a_budget_ends_late_frames_and_says_what_remains():
    found = run_push(800, every=10, rate_hz=0.0, budget_ms=1e-3)  # time is up at once
    assert found.converged < 0.9 * len(found.times)
    assert len(found.errors) >= 5
    assert np.isfinite(found.residuals).all() and max(found.residuals) > 1e-3
