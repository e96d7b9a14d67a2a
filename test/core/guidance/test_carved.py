"""Grids that follow a drill: distances to what is left, exact within the voxels, and back as they were."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.carving_voxels import voxelise
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.removed import RemovedSender
from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.guidance.carved import CarvedGrid, DirtyBox
from twin_nodes.core.simulate.shapes import superellipsoid

VOXEL, RADIUS, BURR = 0.0005, 0.015, 0.002


@pytest.fixture(scope='module')
def ball():
    surface = make_surface('bone', *superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0, rings=48))
    return DistanceGrid.from_surface(surface, 0.0005, 0.004), CarvedVolume(voxelise([surface], VOXEL))


def carved(ball, way):
    """Drill along a way and follow it; returns the follower and the grid that it ends with."""
    grid, volume = ball
    volume.reset()
    sender, box = RemovedSender(volume, 1), DirtyBox()
    receiver = RemovedReceiver(lambda message, _: box.add(message))
    follower = CarvedGrid(grid)
    receiver.take(sender.snapshot()[0])
    for number, (start, end) in enumerate(pairwise(way)):
        delta = sender.delta(number + 1, volume.ball(start, end, BURR))
        if delta is not None:
            receiver.take(delta)
            follower.update(receiver.voxels, volume.anatomy_T_index, box.low, box.high)
            box.clear()
    return follower, receiver, volume


def directions(rng, count):
    found = rng.normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1)[:, None]


def gap(points, way):
    """Distance to the cavity that the burr has left [m], negative in it."""
    least = np.full(len(points), np.inf)
    for start, end in pairwise(way):
        along = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0.0, 1.0)
        least = np.minimum(least, np.linalg.norm(points - start - along[:, None] * (end - start), axis=1) - BURR)
    return least


def test_distances_are_those_to_what_is_left(ball):
    way = np.array([[0.0, 0.0, 0.02], [0.0, 0.0, 0.012], [0.003, 0.001, 0.008], [0.003, 0.001, 0.004]])
    follower, _, _ = carved(ball, way)
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.012, -0.012, -0.008), (0.012, 0.012, 0.019), (4000, 3))
    sphere, wall = directions(rng, 150_000) * RADIUS, []
    for start, end in pairwise(way):
        wall.append(start + rng.random((40_000, 1)) * (end - start) + BURR * directions(rng, 40_000))
    wall = np.concatenate(wall)
    left = [sphere[gap(sphere, way) > 0.0], wall[(gap(wall, way) > -2e-5) & (np.linalg.norm(wall, axis=1) < RADIUS)]]
    away = cKDTree(np.concatenate(left)).query(points)[0]
    cavity = gap(points, way)
    exact = np.where((np.linalg.norm(points, axis=1) < RADIUS) & (cavity > 0.0), -away, away)
    near = (cavity < 0.0045) & (np.abs(exact) < 0.0035)
    assert near.sum() > 200
    samples = follower.grid.query(points[near])
    error = samples.distances - exact[near]
    assert np.sqrt(np.mean(error**2)) < 3.0 * follower.grid.near_sigma and np.abs(error).max() < 2.0 * VOXEL
    mouth = np.array([[0.0, 0.0, 0.0147], [0.0, 0.0, 0.0155]])
    assert (follower.grid.query(mouth).distances > 0.0012).all()  # its rim is 2 mm away
    before = ball[0].query(points[near]).distances
    assert np.abs(before - exact[near]).max() > 0.003  # without the drill it would be wrong


def test_what_was_followed_is_what_a_full_recompute_gives(ball):
    rng = np.random.default_rng(1)
    way = [*np.cumsum(rng.normal(0.0, 0.0007, (25, 3)), axis=0), 0.0, 0.0, 0.013]
    follower, receiver, volume = carved(ball, way)
    whole = CarvedGrid(ball[0])
    size = np.array(volume.voxels.shape)
    whole.update(receiver.voxels, volume.anatomy_T_index, np.zeros(3, int), size - 1)
    np.testing.assert_allclose(follower.grid.values, whole.grid.values, atol=1e-7)


def test_the_first_grid_is_left_alone_and_comes_back(ball):
    before = ball[0].values.copy()
    follower, _, _ = carved(ball, np.array([[0.0, 0.0, 0.013], [0.0, 0.0, 0.010]]))
    assert follower.grid is not ball[0] and (follower.grid.values != before).any()
    assert follower.grid.near_sigma > ball[0].near_sigma
    np.testing.assert_array_equal(ball[0].values, before)
    assert follower.reset() is ball[0]
