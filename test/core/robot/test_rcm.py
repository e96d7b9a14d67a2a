"""The remote centre: found from lines, watched, and refused where it cannot be known."""

import numpy as np
import pytest
from robot_motion import smooth_motion

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.robot.rcm import RcmConfig, RcmWatch, deviation, estimate_rcm

NOISE = 1e-4


def lines(rng, *, count=400, noise=NOISE, centre=(0.01, -0.02, 0.3)):
    directions = rng.normal([0.0, 0.0, -3.0], 1.0, (count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = np.array(centre) + rng.uniform(0.05, 0.2, (count, 1)) * directions
    return points + rng.normal(0.0, noise, points.shape), directions


def test_finds_the_centre_within_its_error():
    errors = []
    for seed in range(40):
        found = estimate_rcm(*lines(np.random.default_rng(seed)))
        errors.append(np.linalg.norm(found.centre - [0.01, -0.02, 0.3]) / found.sigma)
        assert found.rms == pytest.approx(np.sqrt(2.0) * NOISE, rel=0.15)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1.0, abs=0.25)


def test_moves_with_the_lines():
    points, directions = lines(np.random.default_rng(1))
    pose = random_transform(np.random.default_rng(2))
    here = estimate_rcm(points, directions).centre
    there = estimate_rcm(points @ pose[:3, :3].T + pose[:3, 3], directions @ pose[:3, :3].T).centre
    assert there == pytest.approx(pose[:3, :3] @ here + pose[:3, 3], abs=1e-12)


def test_needs_directions_that_differ():
    points, directions = lines(np.random.default_rng(3))
    directions[:] = directions[0]
    with pytest.raises(DegenerateGeometryError, match='pivot it further'):
        estimate_rcm(points, directions)
    with pytest.raises(InputError, match='NaN'):
        estimate_rcm(np.full((5, 3), np.nan), np.ones((5, 3)))


def test_watch_learns_and_then_notices_a_moved_trocar():
    watch = RcmWatch(RcmConfig())
    rng = np.random.default_rng(4)
    for point, direction in zip(*lines(rng, count=200), strict=True):
        assert watch.add(point, direction) is None
    assert watch.estimate is not None
    still = [watch.add(point, direction) for point, direction in zip(*lines(rng), strict=True)]
    assert max(still) < 0.001 and not watch.moved
    moved = [watch.add(*line) for line in zip(*lines(rng, count=40, centre=(0.01, -0.01, 0.3)), strict=True)]
    assert watch.moved and max(moved) > 0.005
    watch.reset()
    assert watch.estimate is None and not watch.moved


def test_watch_refuses_a_shaft_without_a_centre():
    rng = np.random.default_rng(5)
    watch = RcmWatch(RcmConfig())
    for point, direction in zip(*lines(rng, count=300, noise=0.02), strict=True):
        watch.add(point, direction)
    assert watch.estimate is None and 'no single point' in watch.missing


def test_kinematics_of_the_psm_keep_the_centre():
    shaft = SerialChain(published_model('psm_classic'), tip='roll')
    poses = shaft.forward(smooth_motion(shaft, np.random.default_rng(6), 60.0))
    found = estimate_rcm(poses[:, :3, 3], poses[:, :3, 2])
    assert np.linalg.norm(found.centre) < 1e-9 and found.worst < 1e-9
    assert max(deviation(found.centre, pose[:3, 3], pose[:3, 2]) for pose in poses) < 1e-9
