"""The simulated liver: its truth, what is seen of it, and what is wrong on purpose."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import cKDTree

from twin_nodes.core.geometry.se3 import inverse, transform_points
from twin_nodes.core.simulate.liver_scene import (
    GRASPER,
    LESIONS,
    PROBE,
    TIP_T_TOOL,
    LiverScene,
    LiverSceneConfig,
    tool_T_tip,
)

REST = np.array(list(LESIONS.values()))


@pytest.fixture(scope='module')
def played():
    """Play the scene at 10 Hz; return it with all states."""
    scene = LiverScene(LiverSceneConfig(tets=1500))
    states = [scene.step(step / 10.0) for step in range(225)]
    yield scene, states
    scene.close()


def moved(state):
    return np.linalg.norm(state.targets - REST, axis=1)


def test_the_truth_goes_through_all_that_happens(played):
    scene, states = played
    assert moved(states[5]).max() < 1e-9
    unseen = moved(states[55])
    assert 0.003 < unseen.max() < 0.012  # as much as the published cases: 3.8 … 7.7 mm in the mean
    held = states[100]
    assert held.closed and not states[130].closed
    pulled = np.linalg.norm(held.positions - states[55].positions, axis=1)
    assert 0.012 < pulled.max() < 0.018
    pushed = states[185]
    assert moved(pushed).max() > unseen.max() + 0.002
    assert scene.model.volume_ratios(pushed.positions).min() > 0.3
    np.testing.assert_allclose(states[-1].targets, states[55].targets, atol=2e-4)  # all let go: as before


def test_the_camera_sees_a_part_of_the_surface_where_it_truly_is(played):
    scene, states = played
    assert 0.25 < scene.coverage < 0.44
    anatomy_T_tracker = inverse(scene.tracker_T_patient @ scene.patient_T_anatomy)
    points = transform_points(anatomy_T_tracker, scene.cloud(states[-1]))
    shares = np.array([(i, j, 10 - i - j) for i in range(11) for j in range(11 - i)]) / 10.0
    surface = np.einsum('sk,fki->fsi', shares, states[-1].positions[scene.mesh.outer_faces]).reshape(-1, 3)
    away = cKDTree(surface).query(points)[0]
    assert np.median(away) < 0.0015 and 0.005 < np.quantile(away, 0.995) < 0.03  # 1 mm of noise, 2 % astray
    millimetres = scene.cloud(states[-1], 'millimetres')
    assert np.linalg.norm(millimetres.mean(axis=0)) > 100.0
    mirrored = transform_points(anatomy_T_tracker, scene.cloud(states[-1], 'mirrored'))
    assert mirrored[:, 0].mean() == pytest.approx(-points[:, 0].mean(), abs=0.003)


def test_tools_are_measured_at_their_marker(played):
    scene, states = played
    for tool in (GRASPER, PROBE):
        tip = inverse(scene.patient_T_anatomy) @ inverse(scene.tracker_T_patient) @ scene.tool_pose(states[90], tool)
        np.testing.assert_allclose((tip @ tool_T_tip())[:3, 3], states[90].tips[tool][:3, 3], atol=6e-4)
    np.testing.assert_allclose(TIP_T_TOOL @ tool_T_tip(), np.eye(4), atol=1e-12)


def test_clouds_come_each_second_and_wrong_ones_when_they_should(played):
    scene, _ = played
    times = np.arange(0.0, 28.0, 0.1)
    due = [until for since, until in pairwise(times) if scene.is_due(since, until)]
    wrong = [scene.wrong(since, until) for since, until in pairwise(times)]
    assert len(due) == 20 and [name for name in wrong if name] == ['mirrored', 'millimetres', 'another organ']


def test_the_same_seed_gives_the_same_scene():
    ends = []
    for _ in range(2):
        scene = LiverScene(LiverSceneConfig(tets=600, seed=4))
        state = [scene.step(step / 10.0) for step in range(25)][-1]
        ends.append((state.positions, scene.cloud(state), scene.registration))
        scene.close()
    for first, second in zip(*ends, strict=True):
        np.testing.assert_array_equal(first, second)
