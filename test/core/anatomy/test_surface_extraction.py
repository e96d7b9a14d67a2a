import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.surface_extraction import extract_surface
from twin_nodes.core.errors import InputError


def place(*, spacing=(0.001, 0.001, 0.001), mirrored=False):
    affine = np.diag([*spacing, 1.0])
    if mirrored:
        affine[0, 0] *= -1.0
    affine[:3, 3] = (0.1, -0.2, 0.3)
    return affine


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ball(radius, shape, affine):
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T
    centre = (np.array(shape) - 1) / 2 @ affine[:3, :3].T
    labels = (np.linalg.norm(points - centre, axis=1) < radius).reshape(shape)
    return LabelVolume(labels.astype(np.uint8) * 3, affine), centre + affine[:3, 3]


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('spacing', [(0.001, 0.001, 0.001), (0.0008, 0.001, 0.0015)])
def test_ball_has_its_volume_its_place_and_points_outward(mirrored, spacing):
    affine = place(spacing=spacing, mirrored=mirrored)
    shape = tuple(int(0.032 / step) for step in spacing)
    volume, centre = ball(0.012, shape, affine)
    surface = extract_surface(volume, 3, 'ball')
    assert surface.is_watertight
    assert not surface.report.flipped
    assert surface.volume == pytest.approx(volume.counts()[3] * volume.voxel_volume, rel=1e-3)
    radii = np.linalg.norm(surface.vertices - centre, axis=1)
    assert np.abs(radii - 0.012).max() < 0.25 * max(spacing)
    assert np.abs(radii - 0.012).mean() < 0.06 * max(spacing)  # staircases are gone
    outward = unit(surface.vertices[surface.triangles].mean(axis=1) - centre)
    assert np.sum(surface.face_normals * outward, axis=1).mean() > np.cos(np.radians(5.0))


def test_torus_keeps_its_hole_and_volume():
    x, y, z = np.indices((50, 50, 20)) - np.array([24.5, 24.5, 9.5])[:, None, None, None]
    inside = np.hypot(np.hypot(x, y) - 16.0, z) < 6.0
    surface = extract_surface(LabelVolume(inside.astype(np.uint16), place()), 1, 'torus')
    assert surface.is_watertight
    assert surface.volume == pytest.approx(2 * np.pi**2 * 0.016 * 0.006**2, rel=0.03)
    edges = 3 * len(surface.triangles) // 2
    assert len(surface.vertices) - edges + len(surface.triangles) == 0  # Euler: genus 1


def test_what_touches_the_border_is_closed():
    surface = extract_surface(LabelVolume(np.ones((5, 6, 7), np.uint8), place()), 1, 'block')
    assert surface.is_watertight
    size = surface.bounds[1] - surface.bounds[0]
    np.testing.assert_allclose(size, (0.005, 0.006, 0.007), atol=1.001e-3)  # half a voxel on each side
    assert surface.volume == pytest.approx(210e-9, rel=1e-3)


def test_a_nerve_one_voxel_thin_does_not_vanish_or_break():
    labels = np.zeros((40, 9, 9), np.uint8)
    labels[4:36, 4, 4] = 2
    surface = extract_surface(LabelVolume(labels, place()), 2, 'nerve')
    assert surface.is_watertight
    edges = 3 * len(surface.triangles) // 2
    assert len(surface.vertices) - edges + len(surface.triangles) == 2  # one piece
    assert np.ptp(surface.vertices[:, 0]) == pytest.approx(0.032, abs=1e-3)
    assert np.ptp(surface.vertices[:, 1]) == pytest.approx(0.001, abs=0.3e-3)
    assert surface.volume == pytest.approx(32e-9, rel=0.01)


@pytest.mark.parametrize('size', [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2)])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_small_structures_keep_their_volume_beside_a_large_one_of_the_same_label(size, order):
    labels = np.zeros((30, 31, 32), np.uint8)
    labels[tuple(slice(2, 2 + n) for n in size)] = 1
    labels[10:25, 10:25, 10:25] = 1
    volume = LabelVolume(np.array(labels, order=order), place(spacing=(0.001, 0.002, 0.003)))
    surface = extract_surface(volume, 1, 'both')
    assert surface.is_watertight
    near = (surface.vertices[surface.triangles].mean(axis=1) - place()[:3, 3]) @ np.diag([1000, 500, 1000 / 3]) < 7
    small = make_surface('small', surface.vertices, surface.triangles[near.all(axis=1)])
    assert small.is_watertight
    assert small.volume == pytest.approx(np.prod(size) * 6e-9, rel=0.03)


@pytest.mark.parametrize('seed', range(6))
def test_noise_gives_a_closed_surface(seed):
    labels = (np.random.default_rng(seed).random((9, 10, 11)) < 0.2 + 0.1 * seed).astype(np.uint8)
    volume = LabelVolume(labels, place())
    for smoothing in (0, 10):
        surface = extract_surface(volume, 1, 'noise', smoothing=smoothing)
        assert surface.is_watertight
        assert surface.report.dropped_triangles == surface.report.merged_vertices == 0


def test_axes_in_any_order_in_memory_give_the_same_surface():
    field = gaussian_filter(np.random.default_rng(5).normal(size=(16, 17, 18)), 2.0)
    labels = np.pad((field > 0.0).astype(np.uint16), 1)
    first = extract_surface(LabelVolume(labels, place(mirrored=True)), 1, 'a', smoothing=0)
    for order in ((0, 2, 1), (2, 1, 0), (1, 2, 0)):
        other = np.ascontiguousarray(labels.transpose(order)).transpose(np.argsort(order))
        second = extract_surface(LabelVolume(other, place(mirrored=True)), 1, 'b', smoothing=0)
        assert second.volume == pytest.approx(first.volume, rel=1e-12)
        np.testing.assert_allclose(second.bounds, first.bounds, atol=1e-15)


def test_labels_of_32_bits_are_counted_and_cut_out():
    labels = np.zeros((6, 7, 8), np.uint32)
    labels[1:3, 2:5, 3:7], labels[4, 4, 4] = 4_000_000_000, 9
    volume = LabelVolume(labels, place())
    assert volume.counts() == {9: 1, 4_000_000_000: 24}
    assert volume.survey[4_000_000_000].box.tolist() == [[1, 2], [2, 4], [3, 6]]
    assert extract_surface(volume, 4_000_000_000, 'x').volume == pytest.approx(24e-9, rel=0.02)


def test_several_labels_make_one_structure():
    labels = np.zeros((12, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6], labels[6:10, 2:6, 2:6] = 1, 2
    volume = LabelVolume(labels, place())
    both = extract_surface(volume, (1, 2), 'both')
    assert both.volume > extract_surface(volume, 1, 'one').volume * 1.9
    assert both.is_watertight


def test_a_label_that_is_not_there_is_refused_with_those_that_are():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, :2] = 7
    with pytest.raises(InputError, match=r'no voxel has label \(3,\); there are: 7 \(2 voxels\)'):
        extract_surface(LabelVolume(labels, place()), 3, 'x')
    with pytest.raises(InputError, match='smoothing'):
        extract_surface(LabelVolume(labels, place()), 7, 'x', smoothing=900)
