"""What is held, where it belongs, and which step that is: a ring carried over a board."""

import math

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.guidance.task_state import TaskState
from twin_nodes.core.telesurgery.task_scene import TaskScene, TaskSceneConfig

S = 1_000_000_000
RINGS = np.array([[-0.02, 0.0, 0.004], [-0.042, 0.0, 0.004]])
PEGS = np.array([[0.02, 0.0, 0.004], [0.042, 0.0, 0.004]])
GRIP = np.array([0.006, 0.0, 0.0])  # the tip holds a ring by its rim


def carry(scene, way, *, jaw=0.0, follows=True, rings=RINGS, pegs=PEGS):
    """Grip the first ring and go along `way`, 20 ms a step; return the last scene."""
    rings, found = rings.copy(), None
    tip = rings[0] + GRIP
    for step, shift in enumerate(np.linspace(0.0, 1.0, 80)):
        now = tip + shift * np.asarray(way)
        if follows:
            rings[0] = now - GRIP
        found = scene.look(S + step * 20_000_000, now, jaw, rings, pegs)
    return found


def test_a_ring_that_moves_with_the_closed_jaw_is_held_and_belongs_on_the_nearest_free_peg():
    found = carry(TaskScene(TaskSceneConfig()), [0.01, 0.0, 0.03])
    assert found.held
    assert found.task.weight(TaskState.TRANSPORT, TaskState.PLACE) > 0.9
    assert found.goal.position == pytest.approx(PEGS[0] + GRIP, abs=1e-9)
    assert found.goal.release


def test_a_peg_with_a_ring_is_taken():
    rings = np.vstack([RINGS[:1], PEGS[:1]])
    found = carry(TaskScene(TaskSceneConfig()), [0.01, 0.0, 0.03], rings=rings)
    assert found.goal.position == pytest.approx(PEGS[1] + GRIP, abs=1e-9)


@pytest.mark.parametrize(
    ('way', 'more'),
    [
        ([0.01, 0.0, 0.03], {'jaw': 0.6}),  # open
        ([0.01, 0.0, 0.03], {'follows': False}),  # left behind
        ([0.0, 0.0, 0.0], {}),  # closed on it, not moved: nobody knows whether it would come along
    ],
)
def test_what_does_not_come_along_is_not_held(way, more):
    found = carry(TaskScene(TaskSceneConfig()), way, **more)
    assert not found.held
    assert found.goal is None


def test_without_a_free_peg_or_any_ring_there_is_no_goal():
    assert carry(TaskScene(TaskSceneConfig()), [0.01, 0.0, 0.03], pegs=np.empty((0, 3))).goal is None
    found = TaskScene(TaskSceneConfig()).look(S, np.zeros(3), 0.0, np.empty((0, 3)), PEGS)
    assert not found.held
    assert found.task.state is TaskState.REACH


@pytest.mark.parametrize('up', [(0.0, 0.0, 2.0), (0.0, 1.0), (math.nan, 0.0, 1.0)])
def test_up_is_a_unit_vector(up):
    with pytest.raises(ConfigError, match='unit vector'):
        TaskSceneConfig(up=up)
