"""A drill in tissue that deforms: back to the scan, and what is left of each tetrahedron."""

import numpy as np
import pytest
from live_bodies import organ_mesh

from twin_nodes.core.anatomy.session_carved import CarvedBody
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_exp, transform_points


@pytest.fixture(scope='module')
def mesh():
    return organ_mesh(800)


def test_a_body_that_only_moved_takes_the_drill_along(mesh):
    rng, body = np.random.default_rng(1), CarvedBody(mesh)
    motion = random_transform(rng, max_distance=0.05)
    moved, sigma = transform_points(motion, mesh.nodes), np.full(len(mesh.nodes), 0.003)
    for place in ([0.0, 0.0, 0.0], [0.03, -0.01, 0.02], mesh.nodes[mesh.outer_nodes[5]]):
        scan = make_transform(rotation_exp(rng.normal(size=3)), place)
        pose, spread = body.at_rest(motion @ scan, moved, sigma)
        np.testing.assert_allclose(pose, scan, atol=1e-9)
        assert spread == pytest.approx(0.003 / np.sqrt(3.0))


def test_in_stretched_tissue_the_place_goes_back_by_the_stretch(mesh):
    body = CarvedBody(mesh)
    stretched = mesh.nodes * [1.2, 1.0, 1.0]
    pose, _ = body.at_rest(make_transform(np.eye(3), [0.036, 0.0, 0.0]), stretched, np.zeros(len(mesh.nodes)))
    np.testing.assert_allclose(pose[:3, 3], [0.03, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-9)  # a stretch is no turn


def test_far_from_the_tissue_the_drill_stays_where_it_is_and_there_is_no_jump(mesh):
    body, sigma = CarvedBody(mesh), np.full(len(mesh.nodes), 0.003)
    moved = mesh.nodes + np.array([0.004, 0.0, 0.0])
    top = moved[mesh.outer_nodes[np.argmin(moved[mesh.outer_nodes, 1])]]
    shifts = []
    for off in np.linspace(0.0, 0.008, 81):
        place = top - [0.0, off, 0.0]
        pose, spread = body.at_rest(make_transform(np.eye(3), place), moved, sigma)
        shifts.append(float(place[0] - pose[0, 3]))
    assert shifts[0] == pytest.approx(0.004, abs=1e-6) and shifts[-1] == 0.0 and spread == 0.0
    assert np.abs(np.diff(shifts)).max() < 2e-4


def test_the_voxels_that_went_are_missing_where_they_were(mesh):
    body, rng = CarvedBody(mesh), np.random.default_rng(2)
    tet = 17
    shares = rng.dirichlet(np.ones(4), 500)
    volume = 0.5 * mesh.volumes[tet] / 500
    body.take(shares @ mesh.nodes[mesh.tets[tet]], volume)
    assert body.share[tet] == pytest.approx(0.5, abs=0.01)
    assert np.delete(body.share, tet).min() > 0.99
    body.take(np.array([[1.0, 1.0, 1.0]]), 1.0)  # no voxel of this body
    assert body.share.sum() == pytest.approx(len(mesh.tets) - 0.5, abs=0.02)
    body.reset()
    assert (body.share == 1.0).all()
