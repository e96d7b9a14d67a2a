import numpy as np
import pytest
import shapes
from scipy.ndimage import gaussian_filter

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface, stuff_grid
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.organ import organ

LEAST_ANGLE = 10.78  # degrees; Labelle and Shewchuk 2007, theorem 1


@pytest.fixture(scope='module')
def liver():
    return make_surface('liver', *organ(2000))


@pytest.mark.parametrize('wanted', [300, 1000, 5000, 20000])
def test_meets_the_count_fills_the_surface_and_keeps_its_angles(liver, wanted):
    mesh, report = mesh_surface(liver, tets=wanted)
    assert len(mesh.tets) == pytest.approx(wanted, rel=0.05)
    quality = mesh.quality
    assert np.degrees(quality.min_dihedral) > LEAST_ANGLE and np.degrees(quality.max_dihedral) < 164.8
    assert quality.parts == 1 and report.dropped_parts == 0
    outside = mesh.surface('outside')
    assert outside.is_watertight
    assert outside.volume == pytest.approx(mesh.volume, rel=1e-12)  # nothing overlaps
    assert report.volume_error == pytest.approx(mesh.volume / liver.volume - 1.0)
    assert abs(report.volume_error) < 1.2 * report.surface_rms * liver.area / liver.volume
    assert report.surface_error < 0.25 * report.edge


def test_error_falls_with_the_square_of_the_edge(liver):
    coarse, fine = (mesh_surface(liver, edge=edge)[1] for edge in (0.02, 0.01))
    assert fine.surface_rms < coarse.surface_rms / 2.8
    assert abs(fine.volume_error) < abs(coarse.volume_error) / 2.8


def test_gives_the_same_bits_each_time(liver):
    first, second = (mesh_surface(liver, tets=3000)[0] for _ in range(2))
    assert first.nodes.tobytes() == second.nodes.tobytes()
    assert first.tets.tobytes() == second.tets.tobytes()


def random_grid(seed: int) -> DistanceGrid:
    rng = np.random.default_rng(seed)
    values = gaussian_filter(rng.normal(size=(30, 30, 30)), rng.uniform(1.5, 5.0))
    values /= 1000.0 * values.std()
    for side in (0, -1):
        values[side] = values[:, side] = values[:, :, side] = 0.003
    return DistanceGrid('noise', np.zeros(3), 0.001, values.astype(np.float32), 0.0, 0.0, 0.0, 0.0, True)


@pytest.mark.parametrize('seed', range(12))
def test_angles_hold_on_any_field(seed):
    mesh, _ = stuff_grid(random_grid(seed), edge=0.0015 + 0.0003 * seed)
    assert (mesh.volumes > 0.0).all()
    assert np.degrees(mesh.quality.min_dihedral) > LEAST_ANGLE
    assert mesh.surface('noise').report.open_edges == 0
    assert mesh.surface('noise').volume == pytest.approx(mesh.volume, rel=1e-9)


def test_keeps_the_part_that_hangs_together_and_says_what_it_left():
    points, triangles = organ(500)
    both = make_surface(
        'two', np.vstack([points, 0.4 * points + 0.25]), np.vstack([triangles, triangles + len(points)])
    )
    mesh, report = mesh_surface(both, tets=4000)
    assert mesh.quality.parts == 1
    assert report.dropped_parts == 1
    assert report.dropped_volume == pytest.approx(0.064 / 1.064, rel=0.15)


def test_refuses_a_surface_with_a_hole(liver):
    with pytest.raises(InputError, match='3 edges are open'):
        mesh_surface(make_surface('open', liver.vertices, liver.triangles[1:]), tets=1000)


@pytest.mark.parametrize(
    ('request_', 'match'),
    [
        ({}, 'give one'),
        ({'tets': 1000, 'edge': 0.01}, 'give one'),
        ({'tets': 3}, 'within'),
        ({'edge': float('nan')}, 'give one'),
        ({'edge': 1e-6}, 'take a longer one'),
        ({'tets': 10**9}, 'within'),
    ],
)
def test_refuses_requests_without_sense(liver, request_, match):
    with pytest.raises(ConfigError, match=match):
        mesh_surface(liver, **request_)


def test_refuses_a_lattice_that_no_node_of_lies_inside():
    corners, faces = shapes.box(np.array([0.025, 0.025, 0.00015]))
    with pytest.raises(InputError, match='no node of a lattice of 20 mm'):
        mesh_surface(make_surface('sheet', corners, faces), edge=0.02)
