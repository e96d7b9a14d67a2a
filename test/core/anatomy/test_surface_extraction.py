import numpy as np
import pytest

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface_extraction import extract_surface
from twin_nodes.core.errors import InputError


def place(*, spacing=(0.001, 0.001, 0.001), mirrored=False):
    affine = np.diag([*spacing, 1.0])
    if mirrored:
        affine[0, 0] *= -1.0
    affine[:3, 3] = (0.1, -0.2, 0.3)
    return affine


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
    # Corners of the staircase are rounded off: a few per cent at 12 voxels of radius.
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 0.012**3, rel=0.03)
    radii = np.linalg.norm(surface.vertices - centre, axis=1)
    assert np.abs(radii - 0.012).max() < 0.8 * max(spacing)
    assert np.abs(radii - 0.012).mean() < 0.25 * max(spacing)


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
    np.testing.assert_allclose(surface.bounds[1] - surface.bounds[0], (0.005, 0.006, 0.007), atol=0.3e-3)


def test_a_nerve_one_voxel_thin_does_not_vanish_or_break():
    labels = np.zeros((40, 9, 9), np.uint8)
    labels[4:36, 4, 4] = 2
    surface = extract_surface(LabelVolume(labels, place()), 2, 'nerve')
    assert surface.is_watertight
    edges = 3 * len(surface.triangles) // 2
    assert len(surface.vertices) - edges + len(surface.triangles) == 2  # one piece
    assert np.ptp(surface.vertices[:, 0]) == pytest.approx(0.032, abs=0.5e-3)
    assert np.ptp(surface.vertices[:, 1]) == pytest.approx(0.001, abs=0.3e-3)


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
        extract_surface(LabelVolume(labels, place()), 7, 'x', smoothing=9.0)
