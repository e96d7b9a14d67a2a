import numpy as np
import pytest
import shapes

from twin_nodes.core.anatomy.decimation import decimate, measure
from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.surface_extraction import extract_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.organ import organ


@pytest.fixture(scope='module')
def liver():
    return make_surface('liver', *organ(6000))


@pytest.mark.parametrize('tolerance', [5e-5, 2e-4, 1e-3])
def test_error_stays_within_the_tolerance_and_the_volume_stays(liver, tolerance):
    less, report = decimate(liver, tolerance)
    assert less.is_watertight
    assert report.triangles_after == len(less.triangles) < report.triangles_before == len(liver.triangles)
    assert report.rms < report.hausdorff <= tolerance
    assert less.volume == pytest.approx(liver.volume, rel=1e-6)
    assert report.volume_change == pytest.approx(less.volume / liver.volume - 1.0)
    edges = 3 * len(less.triangles) // 2
    assert len(less.vertices) - edges + len(less.triangles) == 2  # still one closed piece without a hole


def test_a_larger_tolerance_leaves_fewer_triangles(liver):
    counts = [len(decimate(liver, tolerance)[0].triangles) for tolerance in (5e-5, 2e-4, 1e-3)]
    assert counts[0] > counts[1] > counts[2]
    assert counts[2] < len(liver.triangles) / 4


def test_the_measured_distance_is_that_to_the_triangles(liver):
    less, report = decimate(liver, 5e-4)
    truth = np.abs(exact_distances(less, liver.vertices)).max()
    assert truth <= report.hausdorff + 1e-12
    shifted = make_surface('shifted', liver.vertices + np.array([0.003, 0.0, 0.0]), liver.triangles)
    hausdorff, rms = measure(liver, shifted)
    assert hausdorff == pytest.approx(0.003, rel=0.05)
    assert 0.001 < rms < 0.003


def test_flat_faces_of_a_box_become_few_triangles_and_stay_exact():
    labels = np.zeros((30, 22, 14), np.uint8)
    labels[2:-2, 2:-2, 2:-2] = 1
    affine = np.diag([0.001, 0.001, 0.001, 1.0])
    box = extract_surface(LabelVolume(labels, affine), 1, 'box', smoothing=0)
    less, report = decimate(box, 1e-5)
    assert report.hausdorff < 1e-8
    assert len(less.triangles) < len(box.triangles) / 8
    assert less.volume == pytest.approx(26 * 18 * 10 * 1e-9, rel=1e-9)


def test_a_small_piece_beside_a_large_one_keeps_its_volume_and_shape(liver):
    small = 0.02 * liver.vertices + (0.2, 0.0, 0.0)
    both = make_surface(
        'two', np.vstack([liver.vertices, small]), np.vstack([liver.triangles, liver.triangles + len(small)])
    )
    less, report = decimate(both, 2e-3)
    near = (less.vertices[less.triangles][:, :, 0] > 0.15).all(axis=1)
    piece = make_surface('small', less.vertices, less.triangles[near])
    assert piece.is_watertight and len(piece.triangles) >= 20
    assert piece.volume == pytest.approx(8e-6 * liver.volume, rel=0.01)
    assert report.hausdorff <= 2e-3


def test_gives_the_same_bits_each_time(liver):
    first, second = (decimate(liver, 2e-4)[0] for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.triangles.tobytes() == second.triangles.tobytes()


def test_a_torus_keeps_its_hole():
    less, _ = decimate(make_surface('ring', *shapes.torus(0.02, 0.006)), 2e-4)
    assert len(less.vertices) - 3 * len(less.triangles) // 2 + len(less.triangles) == 0


def test_refuses_what_it_cannot_do(liver):
    for tolerance in (-1e-3, float('nan')):
        with pytest.raises(ConfigError, match='tolerance'):
            decimate(liver, tolerance)
    with pytest.raises(InputError, match='not closed'):
        decimate(make_surface('open', liver.vertices, liver.triangles[1:]), 1e-3)
    assert decimate(liver, 0.0)[0] is liver
