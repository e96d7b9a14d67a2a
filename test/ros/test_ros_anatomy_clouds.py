"""The deforming anatomy as clouds: there and back, split, and refused."""

import numpy as np
import pytest
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.simulate.organ import organ
from twin_nodes.ros.anatomy_clouds import MAX_BYTES, nodes_clouds, observed_points, targets_cloud, targets_from
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array, surface_marker
from twin_nodes.ros.deformed_surfaces import DEFORMED, DeformedSurfaces

XYZ = [(name, np.float32) for name in 'xyz']


def test_nodes_are_split_below_the_limit_and_keep_their_numbers():
    rng = np.random.default_rng(1)
    positions, displacement, sigma = rng.normal(size=(40_000, 3)), rng.normal(size=(40_000, 3)), rng.random(40_000)
    clouds = nodes_clouds(5, 'anatomy', positions, displacement, sigma)
    assert len(clouds) == 3 and all(len(cloud.data) <= MAX_BYTES for cloud in clouds)
    whole = np.concatenate([array_from_cloud(cloud) for cloud in clouds])
    np.testing.assert_array_equal(whole['node'], np.arange(40_000))
    np.testing.assert_array_equal(whole['dy'], displacement[:, 1].astype(np.float32))
    np.testing.assert_array_equal(whole['sigma'], sigma.astype(np.float32))


def test_targets_come_back():
    rng = np.random.default_rng(2)
    roots, places = rng.normal(size=(5, 3, 3)) * 1e-3, rng.normal(size=(5, 3)) * 0.1
    covariances = roots @ roots.transpose(0, 2, 1)
    message = targets_cloud(7, 'anatomy', places, covariances)
    assert [field.name for field in message.fields][-1] == 'id'
    ids, there, spread = targets_from(message)
    np.testing.assert_array_equal(ids, np.arange(5))
    np.testing.assert_allclose(there, places, rtol=1e-6)
    np.testing.assert_allclose(spread, covariances, rtol=1e-6)
    assert np.linalg.eigvalsh(spread).min() > 0.0


def test_targets_with_holes_are_refused():
    message = targets_cloud(7, 'anatomy', np.full((1, 3), np.nan), np.eye(3)[None])
    with pytest.raises(InputError, match='NaN'):
        targets_from(message)
    with pytest.raises(InputError, match='no field cxx'):
        targets_from(cloud_from_array(7, 'anatomy', np.zeros(2, XYZ)))


def test_points_that_were_not_seen_are_left_out_and_nan_in_a_dense_cloud_is_refused():
    points = np.zeros(4, XYZ)
    points['x'] = [1.0, np.nan, 3.0, 4.0]
    message = cloud_from_array(7, 'camera', points)
    with pytest.raises(InputError, match='1 of 4 points') as refused:
        observed_points(message, 0.001)
    assert refused.value.code == 'NOT_FINITE'
    message.is_dense = False
    places, sigma = observed_points(message, 0.001)
    np.testing.assert_array_equal(places[:, 0], [1.0, 3.0, 4.0])
    np.testing.assert_array_equal(sigma, [0.001] * 3)


def test_a_cloud_may_state_its_own_sigma_and_needs_x_y_z():
    points = np.zeros(2, [*XYZ, ('sigma', np.float32)])
    points['sigma'] = [0.002, 0.003]
    assert observed_points(cloud_from_array(7, 'camera', points), 0.001)[1] == pytest.approx([0.002, 0.003])
    with pytest.raises(InputError, match='expected x, y and z'):
        observed_points(cloud_from_array(7, 'camera', np.zeros(2, XYZ[:2])), 0.001)


def marker_of(surface, index) -> Marker:
    return surface_marker(0, 'anatomy', surface.name, index, surface.vertices, surface.triangles, (1.0, 1.0, 1.0, 1.0))


def test_surfaces_ride_along_and_those_of_other_bodies_stay():
    liver = make_surface('liver', *organ(1500))
    bone = make_surface('bone', liver.vertices * 0.1 + [0.3, 0.0, 0.0], liver.triangles)
    mesh, _ = mesh_surface(liver, tets=600)
    markers = [marker_of(liver, 0), marker_of(bone, 1)]
    surfaces = DeformedSurfaces(mesh, [liver, bone], markers, 800)
    assert surfaces.names == ['liver'] and 0.0 < surfaces.tolerance < 0.01
    moved = mesh.nodes + np.array([0.0, 0.01, 0.0])
    assert surfaces.moved(moved) == pytest.approx(0.01, rel=1e-9)
    surfaces.move(moved)
    (first, corners), (second, still) = surfaces.shown
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    triangles = index.reshape(-1, 3)
    assert first.text == DEFORMED and len(triangles) <= 800 and (second.ns, second.text) == ('bone', '')
    np.testing.assert_array_equal(still, bone.vertices[bone.triangles.ravel()])
    now = make_surface('liver', vertices, triangles)
    assert now.is_watertight and now.volume == pytest.approx(liver.volume, rel=0.03)
    np.testing.assert_allclose(now.vertices.mean(axis=0)[1] - liver.vertices.mean(axis=0)[1], 0.01, atol=0.003)
    assert surfaces.moved(moved) == 0.0


def test_what_is_cut_off_is_not_shown_and_the_cut_is_closed():
    liver = make_surface('liver', *organ(1500))
    mesh, _ = mesh_surface(liver, tets=600)
    surfaces = DeformedSurfaces(mesh, [liver], [marker_of(liver, 0)], 5000)
    left = Remaining(mesh).beyond(np.array([1.0, 0.0, 0.0]), 0.0, mesh.nodes)
    surfaces.leave(left)
    assert surfaces.moved(mesh.nodes) == np.inf  # it is sent though nothing moved
    surfaces.move(mesh.nodes)
    ((_, corners),) = surfaces.shown
    a, b, c = (corners[k::3] for k in range(3))
    volume = float(np.einsum('ti,ti->', a, np.cross(b, c))) / 6.0
    # closed but for the rim, where the surface ends by whole triangles and the tetrahedra by theirs
    assert volume == pytest.approx(mesh.volume - left.volume, rel=0.1)
    surfaces.leave(Remaining(mesh))
    surfaces.move(mesh.nodes)
    assert len(surfaces.shown[0][1]) == 3 * len(liver.triangles)
