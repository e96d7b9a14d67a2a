"""The meshes of sfepy: uniaxial load and bending against analytic values, and scikit-fem on the same mesh and law."""

import meshio
import numpy as np
import pytest
from test_elastic_exact import lateral_stretch, skfem_force

from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, NeoHookean, bulk_modulus
from twin_nodes.core.anatomy.elastic.live import LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh


@pytest.fixture(scope='module')
def cylinder(shared_data):
    raw = meshio.read(shared_data / 'fem_meshes_sfepy' / 'cylinder.mesh')
    return make_tet_mesh('cylinder', raw.points, raw.cells_dict['tetra'])


def ends(mesh):
    x = mesh.nodes[:, 0]
    return np.flatnonzero(x < x.min() + 1e-6), np.flatnonzero(x > x.max() - 1e-6)


@pytest.mark.parametrize('law', [NeoHookean(5e3, 0.49), MooneyRivlin(400.0, 100.0, bulk_modulus(1000.0, 0.45))])
def test_uniaxial_compression_of_the_cylinder(cylinder, law):
    near, far = ends(cylinder)
    both = np.concatenate([near, far])
    lateral, piola = lateral_stretch(law, 0.8)
    wanted = cylinder.nodes * [0.8, lateral, lateral]
    model = ElasticModel(cylinder, law)
    answer = model.solve(Loads(held=both, held_at=wanted[both]), tolerance=1e-10)
    # the facets of the side are a little tilted against the axis and so carry a little of its stress
    assert answer.positions == pytest.approx(wanted, abs=3e-5)
    triangles = cylinder.outer_faces[np.isin(cylinder.outer_faces, far).all(axis=1)]
    a, b, c = (cylinder.nodes[triangles[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert -model.force(answer.positions)[far, 0].sum() == pytest.approx(piola * area, rel=0.02)


def test_bent_cylinder_agrees_with_scikit_fem(cylinder):
    law = NeoHookean(5e3, 0.45)
    near, far = ends(cylinder)
    model = ElasticModel(cylinder, law, near)
    loads = Loads(held=far, held_at=cylinder.nodes[far] + np.array([-0.01, 0.02, 0.01]))
    answer = model.solve(loads)
    other = skfem_force(cylinder, answer.displacement, law)
    loose = np.setdiff1d(np.arange(model.count), np.concatenate([near, far]))
    assert answer.is_converged
    assert other == pytest.approx(-model.force(answer.positions), abs=1e-9 * np.abs(other).max())
    assert np.abs(other[loose]).max() < 1e-6 * np.abs(other).max()
    with LiveSolver(model) as live:
        followed = live.update(loads)
    assert np.linalg.norm(followed.positions - answer.positions) < 2e-3 * np.linalg.norm(answer.displacement)


def test_the_cylinder_as_a_cantilever(cylinder):
    law, load = NeoHookean(1e5, 0.3), 1e-4
    near, far = ends(cylinder)
    forces = np.zeros_like(cylinder.nodes)
    forces[far, 2] = load / len(far)
    answer = ElasticModel(cylinder, law, near).solve(Loads(forces=forces))
    radius, length = np.linalg.norm(cylinder.nodes[:, 1:], axis=1).max(), np.ptp(cylinder.nodes[:, 0])
    inertia, area = np.pi * radius**4 / 4.0, np.pi * radius**2
    beam = load * length**3 / (3.0 * law.young * inertia) + load * length / (0.9 * law.shear * area)
    assert 0.75 < answer.displacement[far, 2].mean() / beam < 1.0  # linear tetrahedra on 354 nodes: from the stiff side


@pytest.mark.parametrize('name', ['unit_ball.mesh', 'cube_medium_tetra.mesh', 'elbow.mesh'])
def test_other_meshes_come_to_rest_under_a_drag(shared_data, name):
    raw = meshio.read(shared_data / 'fem_meshes_sfepy' / name)
    mesh = make_tet_mesh(name, raw.points, raw.cells_dict['tetra'])
    size = np.ptp(mesh.nodes, axis=0).max()
    low = np.flatnonzero(mesh.nodes[:, 0] < mesh.nodes[:, 0].min() + 0.1 * size)
    high = np.flatnonzero(mesh.nodes[:, 0] > mesh.nodes[:, 0].max() - 0.1 * size)
    model = ElasticModel(mesh, NeoHookean(5e3, 0.45), low)
    exact = model.solve(Loads(held=high, held_at=mesh.nodes[high] + 0.1 * size))
    assert exact.is_converged
    with LiveSolver(model) as live:
        for share in (0.25, 0.5, 0.75, 1.0):
            loads = Loads(held=high, held_at=mesh.nodes[high] + 0.1 * size * share)
            answer = live.update(loads)
        for _ in range(5):  # jumps of millimetres: the last steps are taken while the contact rests
            answer = live.update(loads)
    assert answer.is_converged
    assert np.linalg.norm(answer.positions - exact.positions) < 1e-3 * np.linalg.norm(exact.displacement)
