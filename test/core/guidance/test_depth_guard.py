"""Depth to a planned surface, and the volume that was cut beyond it."""

import math

import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.guidance.depth_guard import DepthBand, DepthConfig, DepthGuard, overcut_volume

HALF = 0.02


@pytest.fixture(scope='module')
def plan():
    """A block whose upper face is the planned surface, z = 20 mm; what lies below must stay."""
    corners = np.array([[x, y, z] for x in (-HALF, HALF) for y in (-HALF, HALF) for z in (-HALF, HALF)])
    triangles = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6],
                          [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip
    return DistanceGrid.from_surface(make_surface('plan', corners, triangles), 0.001, 0.015)


def test_depth_band_and_time_of_a_burr(plan):
    guard = DepthGuard(DepthConfig(close=0.003, last=0.001), plan)
    spread = np.diag([1e-8, 1e-8, 4e-8])
    for height, band in ((0.008, DepthBand.FREE), (0.0045, DepthBand.CLOSE), (0.0025, DepthBand.LAST)):
        found = guard.advise(np.array([0.0, 0.0, HALF + height]), 0.002, np.array([0.0, 0.0, -0.01]), spread)
        assert found.depth == pytest.approx(height - 0.002, abs=5e-5)
        assert found.band is band
        assert found.time_to_surface == pytest.approx((height - 0.002) / 0.01, abs=0.01)
        assert found.sigma == pytest.approx(2e-4, rel=0.1)
    beyond = guard.advise(np.array([0.0, 0.0, HALF]), 0.002, np.zeros(3), spread)
    assert beyond.band is DepthBand.BEYOND and beyond.time_to_surface == 0.0
    assert guard.advise(np.array([0.0, 0.0, HALF + 0.008]), 0.002, np.zeros(3), spread).time_to_surface is None
    with pytest.raises(ConfigError, match='must not be above'):
        DepthConfig(close=0.001, last=0.002)


@pytest.mark.parametrize('cap', [0.001, 0.002, 0.003])
def test_the_overcut_is_the_cap_of_the_sphere(plan, cap):
    radius, voxel = 0.004, 0.0002
    index = np.indices((60, 60, 60)).transpose(1, 2, 3, 0)
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = [-0.006, -0.006, HALF - cap + radius - 0.006]
    centre = np.array([0.0, 0.0, HALF - cap + radius])
    where = index @ affine[:3, :3] + affine[:3, 3]
    removed = np.linalg.norm(where - centre, axis=-1) < radius
    truth = math.pi * cap**2 * (radius - cap / 3.0)
    assert overcut_volume(removed, affine, plan) == pytest.approx(truth, rel=0.05)
    assert overcut_volume(np.zeros_like(removed), affine, plan) == 0.0
