"""Laws: energy, stress and stiffness agree, do not mind a rotation, and are those of linear elasticity at rest."""

from dataclasses import replace

import numpy as np
import pytest
from elastic_bodies import LAWS, lobe
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.elastic.law_kernels import by_stretch, principal_moduli, room, stress, svd
from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, NeoHookean, Ogden, bulk_modulus, per_tetrahedron
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.simulate.tet_box import tet_box


def density(law, f):
    number, parameters = law.row()
    out = np.zeros((3, 3))
    return stress(number, parameters, np.ascontiguousarray(f), out, room()), out


@pytest.mark.parametrize('law', LAWS.values(), ids=LAWS)
def test_stress_is_the_derivative_of_the_energy(law):
    rng = np.random.default_rng(0)
    for _ in range(20):
        f = np.eye(3) + 0.15 * rng.normal(size=(3, 3))
        toward = rng.normal(size=(3, 3))
        h = 1e-6
        slope = (density(law, f + h * toward)[0] - density(law, f - h * toward)[0]) / (2 * h)
        piola = density(law, f)[1]
        assert slope == pytest.approx(np.vdot(piola, toward), abs=1e-6 * np.abs(piola).max() + 1e-4)


@pytest.mark.parametrize('law', LAWS.values(), ids=LAWS)
def test_rest_has_no_stress_and_the_moduli_of_linear_elasticity(law):
    energy, piola = density(law, np.eye(3))
    assert energy == pytest.approx(0.0, abs=1e-9)
    assert np.abs(piola).max() < 1e-9
    h = 1e-6
    shear = np.zeros((3, 3))
    shear[0, 1] = h
    assert density(law, np.eye(3) + shear)[1][0, 1] / h == pytest.approx(law.shear, rel=1e-4)
    volumetric = density(law, (1 + h) * np.eye(3))[1][0, 0] / (3 * h)
    if isinstance(law, NeoHookean):
        assert volumetric == pytest.approx(bulk_modulus(law.shear, law.poisson), rel=1e-4)
    else:
        assert volumetric == pytest.approx(law.bulk, rel=1e-4)


@pytest.mark.parametrize('law', LAWS.values(), ids=LAWS)
def test_energy_does_not_mind_rotations_before_or_after(law):
    rng = np.random.default_rng(1)
    for _ in range(10):
        f = np.eye(3) + 0.2 * rng.normal(size=(3, 3))
        r, q = random_transform(rng)[:3, :3], random_transform(rng)[:3, :3]
        energy, piola = density(law, f)
        turned, turned_piola = density(law, r @ f @ q)
        assert turned == pytest.approx(energy, rel=1e-9)
        assert turned_piola == pytest.approx(r @ piola @ q, rel=1e-7, abs=1e-6)


def test_mooney_rivlin_is_ogden_with_two_terms():
    f = np.eye(3) + 0.2 * np.random.default_rng(2).normal(size=(3, 3))
    mooney, ogden = MooneyRivlin(300.0, 120.0, 1e4), Ogden((600.0, -240.0), (2.0, -2.0), 1e4)
    assert density(ogden, f)[0] == pytest.approx(density(mooney, f)[0], rel=1e-12)
    assert density(ogden, f)[1] == pytest.approx(density(mooney, f)[1], rel=1e-9, abs=1e-8)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.floats(-8, 3))
@settings(max_examples=200, deadline=None)
def test_svd_makes_rotations_and_puts_a_mirror_into_the_least_stretch(seed, lost, exponent):
    rng = np.random.default_rng(seed)
    f = 10.0**exponent * rng.normal(size=(3, 3))
    if lost:
        f[:, :lost] = f[:, [2]] * rng.normal(size=lost)  # flat, a line, a point
    if lost == 3:
        f[:] = 0.0
    u, s, v = np.empty((3, 3)), np.empty(3), np.empty((3, 3))
    svd(f, u, s, v)
    scale = np.abs(f).max() + 1e-300
    assert u @ np.diag(s) @ v.T == pytest.approx(f, abs=1e-9 * scale)
    for turn in (u, v):
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-7)
        assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-7)
    assert np.sort(np.abs(s)) == pytest.approx(np.linalg.svd(f, compute_uv=False)[::-1], abs=1e-9 * scale)


def one_by_one(model, x):
    """Energy and gradient of a body, tetrahedron by tetrahedron."""
    energy, gradient = 0.0, np.zeros_like(x)
    for t, nodes in enumerate(model.tets):
        here = np.linalg.inv((model.rest[nodes[1:]] - model.rest[nodes[0]]).T)
        out = np.zeros((3, 3))
        f = np.ascontiguousarray((x[nodes[1:]] - x[nodes[0]]).T @ here)
        share = model.weight[t] * model.volume[t]
        energy += share * stress(model.laws[t], model.parameters[t], f, out, room())
        forces = share * out @ here.T
        gradient[nodes[1:]] += forces.T
        gradient[nodes[0]] -= forces.sum(axis=1)
    return energy, gradient


@pytest.mark.parametrize('cells', [(1, 1, 1), (2, 2, 1), (4, 3, 3)])  # less than a block, and blocks that are not full
@pytest.mark.parametrize('names', [('neo_hookean',), ('ogden',), ('neo_hookean', 'mooney_rivlin'), tuple(LAWS)])
def test_a_body_is_the_sum_of_its_tetrahedra(cells, names):
    mesh = tet_box(cells, (0.1, 0.1, 0.06), jitter=0.2)
    rng = np.random.default_rng(3)
    labels = 1 + rng.integers(len(names), size=len(mesh.tets))
    laws = {1 + index: LAWS[name] for index, name in enumerate(names)}
    model = ElasticModel(replace(mesh, labels=labels), laws, [0])
    x = model.rest + 2e-3 * rng.normal(size=model.rest.shape)
    cut = model.with_weight(rng.choice([0.0, 0.4, 1.0], len(mesh.tets)))
    others = cut.with_materials(dict.fromkeys(laws, NeoHookean(9e3, 0.4))), cut.shaped(1.1 * model.rest)
    for body in (model, cut, *others, model):  # what was worked out for one is not taken for another
        gradient = np.zeros_like(x)
        energy = body.energy_gradient(x, gradient)
        wanted, slope = one_by_one(body, x)
        assert energy == pytest.approx(wanted, rel=1e-9)
        assert np.abs(gradient - slope).max() <= 1e-12 * np.abs(slope).max()


@pytest.mark.parametrize('law', LAWS)
def test_hessian_is_the_derivative_of_the_force(law):
    model, _ = lobe(law, (3, 3, 2))
    rng = np.random.default_rng(3)
    x = model.rest + 1e-3 * rng.normal(size=model.rest.shape)
    toward = rng.normal(size=model.rest.shape) * model.free[:, None]
    h = 1e-7
    change = (model.force(x - h * toward) - model.force(x + h * toward)) / (2 * h)
    matrix = model.hessian(x)
    answer = matrix @ toward[model.free].ravel()
    assert answer == pytest.approx(change[model.free].ravel(), abs=1e-6 * np.abs(answer).max())
    assert abs(matrix - matrix.T).max() < 1e-9 * abs(matrix).max()


@pytest.mark.parametrize('law', LAWS)
def test_projection_takes_away_negative_eigenvalues_alone(law):
    model, _ = lobe(law, (3, 2, 2))
    x = model.rest * [1.0, 1.0, 0.6] + 3e-4 * np.random.default_rng(4).normal(size=model.rest.shape)
    plain = np.linalg.eigvalsh(model.hessian(x).toarray())
    projected = np.linalg.eigvalsh(model.hessian(x, project=True).toarray())
    assert plain.min() < 0.0
    assert projected.min() > -1e-9 * projected.max()
    part = model.hessian(x, project=0.25) - 0.25 * model.hessian(x, project=1.0)
    assert abs(part - 0.75 * model.hessian(x)).max() < 1e-9 * projected.max()
    at_rest = model.hessian(model.rest, project=True)
    assert abs(at_rest - model.hessian(model.rest)).max() < 1e-7 * abs(at_rest).max()


def test_only_the_stable_law_has_a_value_beyond_inversion():
    mirror = np.diag([1.0, 1.0, -0.5])
    assert np.isfinite(density(LAWS['neo_hookean'], mirror)[0])
    assert np.isfinite(density(LAWS['neo_hookean'], np.zeros((3, 3)))[0])
    for name in ('mooney_rivlin', 'ogden'):
        assert density(LAWS[name], mirror)[0] == np.inf
        number, parameters = LAWS[name].row()
        s = np.array([1.0, 1.0, -0.5])
        assert by_stretch(number, parameters, s, np.empty(3), np.empty((3, 3))) == np.inf
        work = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3, 3)), np.empty((3, 3, 3))
        assert not principal_moduli(number, parameters, s, True, np.empty(3), *work[1:])


@pytest.mark.parametrize(
    ('law', 'said'),
    [
        (NeoHookean(-1.0, 0.4), 'young'),
        (NeoHookean(float('nan'), 0.4), 'young'),
        (NeoHookean(1e3, 0.5), 'poisson'),
        (NeoHookean(1e3, -0.1), 'poisson'),
        (MooneyRivlin(100.0, -200.0, 1e4), 'c10'),
        (MooneyRivlin(100.0, 20.0, 0.0), 'bulk'),
        (Ogden((), (), 1e4), '0 mu'),
        (Ogden((1.0,), (0.0,), 1e4), 'alpha of 0'),
        (Ogden((1.0,), (-2.0,), 1e4), 'sum of mu alpha'),
    ],
)
def test_laws_that_are_not_stable_are_refused(law, said):
    with pytest.raises(ConfigError, match=said):
        law.row()


def test_each_label_needs_a_material():
    labels = np.array([1, 2, 2, 5])
    with pytest.raises(ConfigError, match=r'labels \[5\] have no material') as caught:
        per_tetrahedron({1: LAWS['ogden'], 2: LAWS['neo_hookean']}, labels)
    assert caught.value.code == 'MATERIAL_MISSING'
    numbers, parameters, shear = per_tetrahedron({1: LAWS['ogden'], 2: LAWS['neo_hookean'], 5: LAWS['ogden']}, labels)
    assert numbers.tolist() == [2, 0, 0, 2]
    assert parameters.shape == (4, 7)
    assert shear[1] == pytest.approx(5e3 / 2.9)
