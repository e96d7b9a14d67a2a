import numpy as np
import pytest

from twin_nodes.core.anatomy.case_config import RegionConfig, StructureConfig
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.regions import nodes_of_region
from twin_nodes.core.anatomy.segmentation import segment
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_labels import label_by_surfaces, label_by_volume
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.organ import organ

MM = np.full(3, 0.001)


def values():
    """A block of 10 with a hole inside, a slit to the outside, and two specks, in HU."""
    image = np.full((24, 24, 24), -1000.0, np.float32)
    image[2:12, 2:12, 2:12] = 400.0
    image[5:7, 5:7, 5:7] = 0.0
    image[2:12, 8, 6:12] = 50.0
    image[20, 20, 20], image[18:20, 3:5, 3:5] = 500.0, 500.0
    return image


def of(**settings):
    return StructureConfig(name='bone', above=300.0, **settings)


def test_each_step_does_what_it_says():
    image = values()
    plain = segment(image, MM, of())
    np.testing.assert_array_equal(plain, image >= 300.0)
    assert segment(image, MM, of(keep=1)).sum() == plain.sum() - 9
    assert segment(image, MM, of(keep=2)).sum() == plain.sum() - 1
    assert segment(image, MM, of(smallest=5e-9)).sum() == plain.sum() - 1
    filled = segment(image, MM, of(fill=True))
    assert filled.sum() == plain.sum() + 8 and filled[5, 5, 5]
    closed = segment(image, MM, of(close=0.0015, keep=1))
    assert closed[2:12, 8, 6:11].all() and not closed[0].any()
    assert segment(image, MM, of(close=0.0015, fill=True, keep=1))[2:12, 2:12, 2:12].mean() > 0.98
    band = StructureConfig(name='x', above=0.0, below=100.0)
    assert segment(image, MM, band).sum() == 8 + 60


def test_what_touches_the_border_stays_and_does_not_grow_past_it():
    image = np.zeros((6, 6, 6), np.float32)
    image[:3] = 1.0
    mask = segment(image, MM, StructureConfig(name='x', above=0.5, close=0.002, fill=True, keep=1))
    np.testing.assert_array_equal(mask, image > 0.5)


def test_anisotropic_voxels_close_by_length_and_not_by_count():
    image = np.zeros((9, 9, 9), np.float32)
    image[:, :, :3], image[:, :, 5:] = 1.0, 1.0
    gap = StructureConfig(name='x', above=0.5, close=0.002)
    assert segment(image, np.array([0.001, 0.001, 0.001]), gap)[4, 4].all()
    assert not segment(image, np.array([0.001, 0.001, 0.005]), gap)[4, 4].all()


def test_nothing_left_is_refused_with_the_values():
    with pytest.raises(InputError, match=r'no voxel lies within 900 … .* the values are -1000 … 500'):
        segment(values(), MM, StructureConfig(name='metal', above=900.0))
    with pytest.raises(InputError, match=r'none of 3 pieces reaches smallest=1 m³; the largest has 9\.\d+e-07 m³'):
        segment(values(), MM, of(smallest=1.0))


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'name': 'x'}, 'one of the three'),
        ({'name': 'x', 'labels': (1,), 'above': 1.0}, 'one of the three'),
        ({'name': 'x', 'above': 2.0, 'below': 1.0}, 'higher than below'),
        ({'name': 'a/b', 'labels': (1,)}, 'letters, digits'),
    ],
)
def test_structures_come_from_one_source(settings, match):
    with pytest.raises(ConfigError, match=match):
        StructureConfig(**settings)


@pytest.fixture(scope='module')
def body():
    """An organ with a smaller one inside, as surfaces and as a mesh."""
    points, triangles = organ(1000)
    inner = make_surface('inner', 0.5 * points + 0.005, triangles)
    outer = make_surface('outer', points, triangles)
    return outer, inner, mesh_surface(outer, tets=6000)[0]


def test_labels_from_surfaces_and_from_voxels_agree_with_the_truth(body):
    outer, inner, mesh = body
    by_surfaces = label_by_surfaces(mesh, [(1, outer), (2, inner)])
    assert by_surfaces.volume_of(2) == pytest.approx(inner.volume, rel=0.05)
    low = outer.bounds[0] - 0.004
    shape = np.ceil((np.ptp(outer.bounds, axis=0) + 0.008) / 0.002).astype(int)
    centres = low + 0.002 * np.indices(shape).reshape(3, -1).T
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid

    grids = [DistanceGrid.from_surface(surface, 0.004, 0.0) for surface in (outer, inner)]
    inside = [grid.query(centres).distances < 0.0 for grid in grids]
    affine = np.diag([0.002, 0.002, 0.002, 1.0])
    affine[:3, 3] = low
    labels = (inside[0].astype(np.uint8) + inside[1]).reshape(shape)
    by_voxels = label_by_volume(mesh, LabelVolume(labels, affine))
    assert (by_voxels.labels > 0).all()
    assert by_voxels.volume_of(2) == pytest.approx(inner.volume, rel=0.05)
    assert np.mean(by_voxels.labels == by_surfaces.labels) > 0.93


def test_regions_take_the_nodes_that_they_say(body):
    _, inner, mesh = body
    surfaces = {'inner': inner}
    box = RegionConfig(name='b', kind='box', low=(-0.02, -1.0, -1.0), high=(0.02, 1.0, 1.0), outer=False)
    expected = np.flatnonzero(np.abs(mesh.nodes[:, 0]) <= 0.02)
    np.testing.assert_array_equal(nodes_of_region(mesh, box, surfaces), expected)
    plane = RegionConfig(name='p', kind='plane', point=(0.0, 0.0, 0.0), normal=(0.0, 0.0, 2.0))
    found = nodes_of_region(mesh, plane, surfaces)
    assert (mesh.nodes[found, 2] <= 0.0).all() and np.isin(found, mesh.outer_nodes).all()
    near = RegionConfig(name='n', kind='near', structure='inner', radius=0.003, outer=False)
    from twin_nodes.core.anatomy.distance_grid import exact_distances

    truth = np.flatnonzero(exact_distances(inner, mesh.nodes) <= 0.003)
    np.testing.assert_array_equal(nodes_of_region(mesh, near, surfaces), truth)
    with pytest.raises(ConfigError, match="no structure 'iner'; did you mean 'inner'"):
        nodes_of_region(mesh, RegionConfig(name='n', kind='near', structure='iner', radius=0.1), surfaces)
    with pytest.raises(ConfigError, match='needs a radius'):
        RegionConfig(name='n', kind='sphere', point=(0.0, 0.0, 0.0))
