"""The exact solver: patch test, analytic answers, convergence order, scikit-fem, loads, and what it refuses."""

import numpy as np
import pytest
import skfem
from elastic_bodies import LAWS, lobe, pull
from scipy.optimize import brentq
from skfem.helpers import det, inv, transpose

from twin_nodes.core.anatomy.elastic.exact import Tangent
from twin_nodes.core.anatomy.elastic.law_kernels import room, stress
from twin_nodes.core.anatomy.elastic.laws import NeoHookean, per_tetrahedron
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure, make_springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.simulate.tet_box import tet_box


@pytest.mark.parametrize('law', LAWS.values(), ids=LAWS)
def test_patch_test_is_exact(law):
    mesh = tet_box((4, 3, 3), (0.1, 0.08, 0.06), jitter=0.25)
    model = ElasticModel(mesh, law)
    affine = np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(3, 3))
    wanted = mesh.nodes @ affine.T + 0.01
    answer = model.solve(Loads(held=mesh.outer_nodes, held_at=wanted[mesh.outer_nodes]), tolerance=1e-11)
    assert answer.is_converged
    assert answer.positions == pytest.approx(wanted, abs=1e-12)
    assert answer.volume_change == pytest.approx(np.linalg.det(affine) - 1.0, abs=1e-10)


def lateral_stretch(law, axial):
    """The stretch across for which a bar stretched along x has no stress there."""
    number, parameters = law.row()
    out = np.zeros((3, 3))

    def across(lateral):
        stress(number, parameters, np.diag([axial, lateral, lateral]), out, room())
        return out[1, 1]

    lateral = brentq(across, 0.5, 2.0, xtol=1e-15)
    return lateral, out[0, 0]


@pytest.mark.parametrize('axial', [0.7, 1.3])
@pytest.mark.parametrize('law', LAWS.values(), ids=LAWS)
def test_uniaxial_load_gives_the_analytic_force(law, axial):
    mesh = tet_box((5, 3, 3), (0.1, 0.04, 0.04), jitter=0.2)
    model = ElasticModel(mesh, law)
    lateral, piola = lateral_stretch(law, axial)
    wanted = mesh.nodes * [axial, lateral, lateral]
    ends = np.flatnonzero((mesh.nodes[:, 0] < 1e-9) | (mesh.nodes[:, 0] > 0.1 - 1e-9))
    answer = model.solve(Loads(held=ends, held_at=wanted[ends]), tolerance=1e-10)
    assert answer.positions == pytest.approx(wanted, abs=1e-9)
    far = np.flatnonzero(mesh.nodes[:, 0] > 0.1 - 1e-9)
    force = -model.force(answer.positions)[far].sum(axis=0)
    assert force[0] == pytest.approx(piola * 0.04**2, rel=1e-7)
    assert force[1:] == pytest.approx(0.0, abs=1e-7 * abs(force[0]))


def bending_error(parts):
    """Error of pure bending, an exact solution of linear elasticity, when it is prescribed on the outside."""
    nu, bend = 0.3, 1e-4
    mesh = tet_box((2 * parts, parts, parts), (0.2, 0.1, 0.1), jitter=0.15)
    x, y, z = (mesh.nodes - [0.1, 0.05, 0.05]).T
    wanted = bend * np.stack([x * z, -nu * y * z, -0.5 * (x**2 + nu * (z**2 - y**2))], axis=1)
    model = ElasticModel(mesh, NeoHookean(5e3, nu))
    outer = mesh.outer_nodes
    answer = model.solve(Loads(held=outer, held_at=(mesh.nodes + wanted)[outer]), tolerance=1e-10)
    inner = np.setdiff1d(np.arange(model.count), outer)
    return np.sqrt(np.mean((answer.displacement - wanted)[inner] ** 2)) / bend


def test_error_falls_with_the_square_of_the_edge():
    errors = np.array([bending_error(parts) for parts in (2, 4, 8)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert (orders > 1.6).all(), (errors, orders)


def cantilever(parts, law):
    """Ratio of the tip's deflection to that of Timoshenko's beam, for a small load."""
    length, side, load = 0.7, 0.1, 1e-4
    mesh = tet_box((7 * parts, parts, parts), (length, side, side))
    model = ElasticModel(mesh, law, np.flatnonzero(mesh.nodes[:, 0] < 1e-9))
    tip = np.flatnonzero(mesh.nodes[:, 0] > length - 1e-9)
    forces = np.zeros_like(mesh.nodes)
    forces[tip, 2] = load / len(tip)
    answer = model.solve(Loads(forces=forces))
    inertia, area = side**4 / 12.0, side**2
    beam = load * length**3 / (3.0 * law.young * inertia) + load * length / (5.0 / 6.0 * law.shear * area)
    return answer.displacement[tip, 2].mean() / beam


def test_cantilever_comes_to_the_beam_from_the_stiff_side():
    ratios = [cantilever(parts, NeoHookean(1e5, 0.3)) for parts in (1, 2, 4, 6)]
    assert np.all(np.diff(ratios) > 0.0)
    assert 0.85 < ratios[-1] < 1.0
    assert (1.0 - ratios[1]) / (1.0 - ratios[2]) > 2.2  # towards the order of 2


def skfem_force(mesh, displacement, law):
    """Internal forces by scikit-fem of the same law, from its own formula."""
    _, (mu, lam, *_) = law.row()
    basis = skfem.Basis(
        skfem.MeshTet(mesh.nodes.T, mesh.tets.T.astype(np.int64)), skfem.ElementVector(skfem.ElementTetP1())
    )

    @skfem.LinearForm
    def inner(v, w):
        f = w['u'].grad + np.eye(3)[:, :, None, None]
        j = det(f)
        piola = mu * f + lam * (j - 1.0 - mu / lam) * j * transpose(inv(f))
        return np.einsum('ij...,ij...', piola, v.grad)

    return inner.assemble(basis, u=basis.interpolate(displacement.ravel())).reshape(-1, 3)


def test_forces_and_rest_agree_with_scikit_fem():
    model, grasp = lobe()
    answer = model.solve(pull(model, grasp, 0.02))
    other = skfem_force(model.mesh, answer.displacement, LAWS['neo_hookean'])
    assert other == pytest.approx(-model.force(answer.positions), abs=1e-9 * np.abs(other).max())
    loose = np.setdiff1d(np.arange(model.count), np.concatenate([model.fixed, grasp]))
    assert np.abs(other[loose]).max() < 1e-6 * np.abs(other).max()


@pytest.mark.parametrize('law', LAWS)
def test_large_pull_converges_from_rest(law):
    model, grasp = lobe(law)
    answer = model.solve(pull(model, grasp, 0.035))
    assert answer.status == 'converged'
    assert answer.residual <= 1e-8
    assert answer.iterations < 25
    assert answer.min_volume_ratio > 0.0
    assert answer.positions[grasp] == pytest.approx(pull(model, grasp, 0.035).held_at, abs=1e-15)
    assert answer.positions[model.fixed] == pytest.approx(model.rest[model.fixed], abs=0.0)


def test_a_body_turned_inside_out_finds_back():
    model, _ = lobe()
    rng = np.random.default_rng(5)
    start = model.rest + 0.03 * rng.normal(size=model.rest.shape)
    assert model.volume_ratios(start).min() < -1.0
    answer = model.solve(Loads(), start, max_iterations=200)
    assert answer.is_converged
    assert answer.positions == pytest.approx(model.rest, abs=1e-7)


def test_gravity_is_carried_by_what_is_fixed():
    model, _ = lobe()
    answer = model.solve(Loads(gravity=np.array([0.0, 0.0, -9.81])))
    weight = model.density * model.volume.sum() * 9.81
    carried = weight - model.nodal_mass()[~model.free].sum() * 9.81
    pulled = model.force(answer.positions)[model.fixed].sum(axis=0)
    assert pulled == pytest.approx([0.0, 0.0, -carried], abs=1e-6 * weight)
    assert answer.displacement[:, 2].min() < -1e-3


def test_pressure_shrinks_a_free_body_by_its_bulk_modulus():
    law = NeoHookean(5e3, 0.3)
    mesh = tet_box((4, 4, 4), (0.1, 0.1, 0.1), jitter=0.2)
    corner = [int(np.argmin(np.linalg.norm(mesh.nodes - at, axis=1))) for at in ([0, 0, 0], [0.1, 0, 0], [0, 0.1, 0])]
    model = ElasticModel(mesh, law)
    holding = np.zeros((3, 3, 3))
    holding[0] = np.eye(3)
    holding[1, 1, 1] = holding[1, 2, 2] = holding[2, 2, 2] = 1.0
    springs = make_springs(np.array(corner), mesh.nodes[corner], 1e3 * holding)
    pressed = Pressure(mesh.outer_faces.astype(np.int64), np.full(len(mesh.outer_faces), 10.0))
    answer = model.solve(Loads(springs=springs, pressure=pressed), tolerance=1e-9)
    bulk = law.young / (3.0 * (1.0 - 2.0 * law.poisson))
    assert answer.is_converged
    assert answer.volume_change == pytest.approx(-10.0 / bulk, rel=0.02)


def test_springs_draw_points_of_tetrahedra():
    model, _ = lobe()
    weights = np.array([[0.1, 0.2, 0.3, 0.4]])
    tet = model.tets[[100]]
    target = weights @ model.rest[tet[0]] + [[0.0, 0.004, 0.003]]
    soft, stiff = (model.solve(Loads(springs=make_springs(tet, target, k, weights=weights))) for k in (1.0, 1e5))
    at = make_springs(tet, target, 1.0, weights=weights)
    assert np.linalg.norm(at.points(stiff.positions) - target) < 1e-5
    assert np.linalg.norm(at.points(soft.positions) - target) > 1e-3


def test_support_holds_a_body_that_nothing_else_does():
    mesh = tet_box((3, 3, 3), (0.1, 0.1, 0.1))
    free = ElasticModel(mesh, LAWS['neo_hookean'])
    assert free.solve(Loads(gravity=np.array([0.0, 0.0, -9.81]))).frozen == free.count
    model = free.with_support(np.full(len(mesh.nodes), 10.0))
    answer = model.solve(Loads(gravity=np.array([0.0, 0.0, -9.81])))
    assert answer.frozen == 0
    sunk = -(answer.displacement[:, 2] * 10.0).sum()
    assert sunk == pytest.approx(model.density * 1e-3 * 9.81, rel=1e-6)


def test_tangent_is_the_change_of_the_state_of_rest():
    model, grasp = lobe()
    loads = pull(model, grasp, 0.01)
    answer = model.solve(loads, tolerance=1e-11)
    force = np.zeros_like(model.rest)
    force[-40] = [1e-4, 2e-4, -1e-4]
    pushed = model.solve(Loads(held=loads.held, held_at=loads.held_at, forces=force), answer.positions, tolerance=1e-11)
    told = model.tangent_solve(np.stack([force, 2.0 * force]), answer.positions, loads)
    assert told[0] == pytest.approx(pushed.positions - answer.positions, abs=2e-3 * np.abs(told[0]).max())
    assert told[1] == pytest.approx(2.0 * told[0])
    assert np.abs(told[:, grasp]).max() == 0.0
    one = Tangent(model, answer.positions, loads).solve(force)
    assert one == pytest.approx(told[0])


def test_what_is_cut_off_stays_where_it_was():
    model, _ = lobe()
    weight = np.ones(len(model.tets))
    centre = model.rest[model.tets].mean(axis=1)
    weight[np.abs(centre[:, 0] - 0.07) < 0.011] = 0.0
    cut = model.with_weight(weight)
    answer = cut.solve(Loads(gravity=np.array([0.0, 0.0, -9.81])))
    beyond = np.unique(model.tets[(weight > 0.0) & (centre[:, 0] > 0.081)])
    assert answer.is_converged
    assert answer.frozen >= len(beyond)
    assert answer.displacement[beyond] == pytest.approx(0.0, abs=0.0)
    alone = model.with_weight(np.where(centre[:, 0] < 0.06, weight, 0.0)).solve(Loads(gravity=np.array([0, 0, -9.81])))
    held = np.unique(model.tets[(weight > 0.0) & (centre[:, 0] < 0.059)])
    assert answer.positions[held] == pytest.approx(alone.positions[held], abs=1e-9)


def test_other_materials_and_weights_share_the_mesh():
    model, grasp = lobe()
    stiff = model.with_materials(NeoHookean(10e3, 0.45))
    assert stiff.pattern is model.pattern
    x = model.solve(pull(model, grasp, 0.01)).positions
    assert stiff.energy(x) == pytest.approx(2.0 * model.energy(x))
    assert model.with_weight(np.full(len(model.tets), 0.5)).energy(x) == pytest.approx(0.5 * model.energy(x))


def test_labels_have_their_own_materials():
    mesh = tet_box((4, 3, 3), (0.1, 0.1, 0.1))
    labels = np.where(mesh.nodes[mesh.tets].mean(axis=1)[:, 0] < 0.05, 1, 2).astype(np.int32)
    both = ElasticModel(
        make_tet_mesh('two', mesh.nodes, mesh.tets, labels), {1: LAWS['neo_hookean'], 2: LAWS['mooney_rivlin']}, [0]
    )
    x = mesh.nodes * [1.1, 0.95, 1.0]
    parts = [ElasticModel(mesh, LAWS[name], [0]) for name in ('neo_hookean', 'mooney_rivlin')]
    apart = sum(part.with_weight((labels == k).astype(float)).energy(x) for k, part in zip((1, 2), parts, strict=True))
    assert both.energy(x) == pytest.approx(apart)
    assert per_tetrahedron({1: LAWS['ogden'], 2: LAWS['ogden']}, labels)[0].tolist() == [2] * len(labels)


@pytest.mark.parametrize(
    ('loads', 'said'),
    [
        (Loads(held=np.array([10**6]), held_at=np.zeros((1, 3))), 'held: a node outside'),
        (Loads(held=np.array([5, 5]), held_at=np.zeros((2, 3))), 'held twice'),
        (Loads(held=np.array([0]), held_at=np.zeros((1, 3))), '1 held nodes are fixed'),
        (Loads(held=np.array([5]), held_at=np.zeros((2, 3))), 'held_at has shape'),
        (Loads(held=np.array([5]), held_at=np.full((1, 3), np.nan)), 'NaN'),
        (Loads(gravity=np.array([0.0, np.inf, 0.0])), 'NaN or Inf'),
        (Loads(forces=np.zeros((3, 3))), 'forces have shape'),
        (Loads(pressure=Pressure(np.array([[0, 1, -2]]), np.ones(1))), 'pressure: a node outside'),
        (Loads(pressure=Pressure(np.array([[0, 1, 2]]), np.ones(2))), 'values of shape'),
        (Loads(springs=make_springs([[0, 1, 2, 200]], [[0, 0, 0]], 1.0, weights=[[0.25] * 4])), 'not of one tetra'),
    ],
)
def test_loads_that_do_not_fit_are_refused(loads, said):
    model, _ = lobe()
    with pytest.raises(InputError, match=said) as caught:
        model.solve(loads)
    assert caught.value.code == 'LOADS_REFUSED'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (([0, 1], [[0, 0, 0]], 1.0, None), 'do not agree'),
        (([0], [[0, 0, np.nan]], 1.0, None), 'NaN or Inf'),
        (([[0, 1]], [[0, 0, 0]], 1.0, [[0.5, 0.6]]), 'sum to 1'),
        (([0], [[0, 0, 0]], -1.0, None), 'positive semi-definite'),
        (([0], [[0, 0, 0]], [np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0.0]])], None), 'not symmetric'),
        (([0], [[0, 0, 0]], np.ones((2, 3, 3)), None), 'none of'),
    ],
)
def test_springs_that_make_no_sense_are_refused(arguments, said):
    nodes, targets, stiffness, weights = arguments
    with pytest.raises(InputError, match=said):
        make_springs(nodes, targets, stiffness, weights=weights)


def test_bodies_that_make_no_sense_are_refused():
    mesh = tet_box((2, 2, 2), (0.1, 0.1, 0.1))
    with pytest.raises(InputError, match='fixed: a node outside'):
        ElasticModel(mesh, LAWS['ogden'], [99])
    with pytest.raises(ConfigError, match='all nodes are fixed'):
        ElasticModel(mesh, LAWS['ogden'], np.arange(27))
    with pytest.raises(InputError, match='support'):
        ElasticModel(mesh, LAWS['ogden'], support=np.full(27, -1.0))
    model = ElasticModel(mesh, LAWS['ogden'], [0])
    with pytest.raises(InputError, match='weight'):
        model.with_weight(np.full(48, 1.5))
    with pytest.raises(InputError, match='inverted, which their law forbids'):
        model.hessian(-model.rest)
    with pytest.raises(DegenerateGeometryError, match='not positive definite'):
        model.solve(Loads(forces=np.ones((27, 3))))  # hangs on one node and may spin
