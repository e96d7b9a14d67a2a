"""Grids that follow a drill: distances to what is left, exact within the voxels, and back as they were."""

from itertools import pairwise

import numpy as np
import pytest

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


def test_distances_are_those_to_what_is_left(ball):
    way = np.array([[0.0, 0.0, 0.02], [0.0, 0.0, 0.012], [0.003, 0.001, 0.008], [0.003, 0.001, 0.004]])
    follower, _, _ = carved(ball, way)
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.012, -0.012, -0.008), (0.012, 0.012, 0.016), (4000, 3))
    cavity = np.full(len(points), np.inf)
    for start, end in pairwise(way):
        along = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0.0, 1.0)
        gap = np.linalg.norm(points - start - along[:, None] * (end - start), axis=1)
        cavity = np.minimum(cavity, gap - BURR)
    exact = np.maximum(np.linalg.norm(points, axis=1) - RADIUS, -cavity)
    near = (np.abs(cavity) < 0.0045) & (cavity > -BURR + VOXEL)
    assert near.sum() > 200
    samples = follower.grid.query(points[near])
    error = np.abs(samples.distances - exact[near])
    assert np.sqrt(np.mean(error**2)) < 3.0 * follower.grid.near_sigma and error.max() < 1.5 * VOXEL
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
