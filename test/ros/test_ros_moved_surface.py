"""`anatomy/surface/moved`: what is written is read, in the numbering that both sides make by themselves."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.simulate.organ import organ
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array, surface_from_marker, surface_marker
from twin_nodes.ros.moved_surface import MAX_ROWS, moved_clouds, moved_from, numbering
from twin_nodes.ros.moved_vertices import MovedVertices


def test_both_sides_number_the_vertices_alike():
    vertices, triangles = organ(1500)
    shuffled = np.random.default_rng(0).permutation(len(vertices))
    surface = make_surface('liver', vertices[shuffled], np.argsort(shuffled)[triangles])
    marker = surface_marker(0, 'anatomy', 'liver', 3, surface.vertices, surface.triangles, (1.0, 1.0, 1.0, 1.0))
    heard = make_surface('liver', *surface_from_marker(marker))
    np.testing.assert_array_equal(heard.vertices, surface.vertices[numbering(surface)])


def test_what_is_written_is_read_however_many_messages_it_takes():
    rng = np.random.default_rng(1)
    said = {
        4: (rng.normal(size=(MAX_ROWS + 7, 3)), rng.random(MAX_ROWS + 7)),
        9: (rng.normal(size=(5, 3)), np.zeros(5)),
    }
    clouds = moved_clouds(12, 'anatomy', [(number, *both) for number, both in said.items()])
    assert len(clouds) == 2 and all(len(cloud.data) < 500_000 for cloud in clouds)
    heard = {number: np.full((len(places), 4), np.nan) for number, (places, _) in said.items()}
    for cloud in clouds:
        for part in moved_from(cloud, frame='anatomy'):
            assert part.stamp_ns == 12 and part.count == len(heard[part.structure])
            heard[part.structure][part.vertices] = np.column_stack([part.places, part.sigma])
    for number, (places, sigma) in said.items():
        np.testing.assert_allclose(heard[number], np.column_stack([places, sigma]), atol=1e-6)


def broken(change):
    (cloud,) = moved_clouds(1, 'anatomy', [(0, np.zeros((4, 3)), np.zeros(4))])
    table = array_from_cloud(cloud).copy()
    change(table)
    return cloud_from_array(1, 'anatomy', table)


@pytest.mark.parametrize(
    ('name', 'value', 'match'),
    [
        ('x', np.nan, 'NaN'),
        ('vertex', 4, 'do not agree'),
        ('count', 9, 'do not agree'),
        ('sigma', -1.0, 'do not agree'),
    ],
)
def test_a_broken_message_is_refused(name, value, match):
    def change(table):
        table[name][1] = value

    with pytest.raises(InputError, match=match):
        list(moved_from(broken(change), frame='anatomy'))


def test_another_frame_and_fields_that_are_missing_are_refused():
    (cloud,) = moved_clouds(1, 'camera', [(0, np.zeros((4, 3)), np.zeros(4))])
    with pytest.raises(InputError, match='camera'):
        list(moved_from(cloud, frame='anatomy'))
    bare = cloud_from_array(1, 'anatomy', np.zeros(3, [(name, np.float32) for name in 'xyz']))
    with pytest.raises(InputError, match='no field count, sigma, structure, vertex'):
        list(moved_from(bare, frame='anatomy'))


def test_the_vertices_of_what_rides_on_a_body_go_with_it_and_guidance_reads_them():
    liver = make_surface('liver', *organ(1200))
    bone = make_surface('bone', liver.vertices * 0.1 + [0.3, 0.0, 0.0], liver.triangles)
    mesh, _ = mesh_surface(liver, tets=500)
    markers = [surface_marker(0, 'anatomy', one.name, at, one.vertices, one.triangles, (1.0, 1.0, 1.0, 1.0))
               for at, one in enumerate((bone, liver))]  # fmt: skip
    riding = MovedVertices(mesh, [bone, liver], markers)
    heard = MovingSurface(make_surface('liver', *surface_from_marker(markers[1])))
    rest = heard.tree.vertices.copy()
    shift = np.array([0.0, 0.004, -0.002])
    for by in (0.0, shift):
        clouds = riding.clouds(7, 'anatomy', mesh.nodes + by, np.full(len(mesh.nodes), 3e-3))
        assert len(clouds) == riding.messages
        parts = [part for cloud in clouds for part in moved_from(cloud, frame='anatomy')]
        assert {part.structure for part in parts} == {1}  # the bone is no part of the body
        places, sigma = np.full((parts[0].count, 3), np.nan), np.empty(parts[0].count)
        for part in parts:
            places[part.vertices], sigma[part.vertices] = part.places, part.sigma
        np.testing.assert_allclose(places, rest + by, atol=1e-6)
        np.testing.assert_allclose(sigma, 3e-3 / np.sqrt(3.0), rtol=1e-5)
        heard.move(places, sigma)
    assert riding.moved(mesh.nodes + shift) == 0.0 and riding.moved(mesh.nodes) > 0.004


def gathered(clouds):
    """Places, sigma and what lay beyond a cut, of the one structure that the clouds tell of."""
    (table,) = [np.concatenate([array_from_cloud(cloud) for cloud in clouds])]
    parts = [part for cloud in clouds for part in moved_from(cloud, frame='anatomy')]
    places, sigma, beyond = np.empty((len(table), 3)), np.empty(len(table)), np.empty(len(table))
    for part in parts:
        places[part.vertices], sigma[part.vertices] = part.places, part.sigma
        beyond[part.vertices] = np.nan if part.beyond is None else part.beyond
    return places, sigma, None if np.isnan(beyond).all() else beyond


def test_what_a_plane_took_is_said_and_measured_to_no_more_wherever_the_rest_goes():
    liver = make_surface('liver', *organ(1200))
    mesh, _ = mesh_surface(liver, tets=1500)
    marker = surface_marker(0, 'anatomy', 'liver', 1, liver.vertices, liver.triangles, (1.0, 1.0, 1.0, 1.0))
    riding, heard = MovedVertices(mesh, [liver], [marker]), MovingSurface(liver)
    order = np.argsort(numbering(liver))
    calm = np.zeros(len(mesh.nodes))
    shift = np.array([0.0, 0.02, 0.0])
    middle = float(np.median(liver.vertices[:, 0])) + 0.02
    left = Remaining(mesh).beyond(np.array([2.0, 0.0, 0.0]), -2.0 * middle, mesh.nodes)  # of any length
    riding.cut(left, np.array([2.0, 0.0, 0.0]), -2.0 * middle, mesh.nodes)
    assert riding.moved(mesh.nodes) > 1.0  # to be said at once
    dead = ~np.isin(np.arange(len(mesh.nodes)), mesh.tets[left.alive])
    now = np.where(dead[:, None], mesh.nodes, mesh.nodes + shift)  # what is gone stays where it was
    places, sigma, beyond = gathered(riding.clouds(9, 'anatomy', now, calm))
    heard.move(places[order], sigma[order], beyond=beyond[order])
    inner = liver.vertices.mean(axis=0) * [0.0, 1.0, 1.0]
    asked = np.array([[middle + away, *(inner[1:] + shift[1:])] for away in (0.005, 0.002, -0.002)])
    np.testing.assert_allclose(heard.query(asked).distances, [0.005, 0.002, -0.002], atol=3e-4)
    rest = make_surface('rest', liver.vertices + shift, liver.triangles)
    deep = exact_distances(rest, asked[:1])[0]
    assert deep < -0.01  # where the whole liver would be
    second = left.beyond(np.array([-1.0, 0.0, 0.0]), middle - 0.03, now)
    riding.cut(second, np.array([-1.0, 0.0, 0.0]), middle - 0.03, now)
    places, sigma, beyond = gathered(riding.clouds(10, 'anatomy', now, calm))
    heard.move(places[order], sigma[order], beyond=beyond[order])
    slab = np.array([[middle - 0.03 - 0.004, *asked[0, 1:]], [middle + 0.004, *asked[0, 1:]]])
    np.testing.assert_allclose(heard.query(slab).distances, 0.004, atol=5e-4)
    riding.restore()
    places, sigma, beyond = gathered(riding.clouds(0, 'anatomy', mesh.nodes, calm))
    assert beyond is None
    heard.move(places[order], sigma[order])
    np.testing.assert_allclose(heard.query(asked).distances, exact_distances(liver, asked), atol=1e-6)
