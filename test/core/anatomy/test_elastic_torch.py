"""The torch path beside the compiled one: the same residuals, the same states of rest. Run by `make test-all`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, NeoHookean, Ogden
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure, make_springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic_torch import bodies, device
from twin_nodes.core.anatomy.elastic_torch.agreement import disagreement
from twin_nodes.core.anatomy.elastic_torch.bodies import TorchBodies
from twin_nodes.core.anatomy.material import ensembles
from twin_nodes.core.anatomy.material.ensembles import sample_materials, solve_ensemble
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.simulate.tet_box import tet_box

pytestmark = pytest.mark.learn

BOX = tet_box((4, 2, 2), (0.08, 0.04, 0.04), jitter=0.2)
MESH = make_tet_mesh('bar', BOX.nodes, BOX.tets, np.arange(len(BOX.tets)) % 3)
LAWS = {0: NeoHookean(5e3, 0.45), 1: MooneyRivlin(800.0, 300.0, 3e4), 2: Ogden((900.0, -50.0), (3.0, -4.0), 3e4)}
LEFT = np.flatnonzero(MESH.nodes[:, 0] < 1e-9)
MODEL = ElasticModel(MESH, LAWS, LEFT, support=np.linspace(0.0, 3.0, len(MESH.nodes)))


def compiled(model, positions):
    energies, gradients = [], []
    for x in positions:
        gradient = np.zeros_like(x)
        energies.append(model.energy_gradient(np.ascontiguousarray(x), gradient))
        gradients.append(gradient)
    return np.array(energies), np.array(gradients)


def moved(count, size=1e-3, seed=0):
    return MODEL.rest + np.random.default_rng(seed).normal(0.0, size, (count, *MODEL.rest.shape))


@pytest.mark.parametrize(('double', 'tolerance'), [(True, 1e-9), (False, 1e-4)])
def test_residuals_equal_the_compiled_ones(double, tolerance):
    bodies = TorchBodies(MODEL, 'cpu', double=double)
    energy, gradient = compiled(MODEL, moved(8))
    e, g = bodies.energy_gradient(bodies.tensor(moved(8)))
    assert np.abs(g.numpy() - gradient).max() < tolerance * np.abs(gradient).max()
    assert e.numpy() == pytest.approx(energy, rel=tolerance)
    _, forces = bodies.energies_and_forces(moved(8))
    assert np.abs(forces + gradient).max() < tolerance * np.abs(gradient).max()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.2, 4.0), min_size=3, max_size=3), st.integers(0, 1000))
def test_large_and_equal_stretches_agree_too(stretches, seed):
    # equal stretches are where principal axes are not unique, and a closed form loses half its digits
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn = turn * np.sign(np.linalg.det(turn))
    x = (MODEL.rest @ (turn @ np.diag(stretches) @ turn.T))[None]
    bodies = TorchBodies(MODEL, 'cpu')
    energy, gradient = compiled(MODEL, x)
    e, g = bodies.energy_gradient(bodies.tensor(x))
    assert e.numpy() == pytest.approx(energy, rel=1e-9, abs=1e-12)
    assert np.abs(g.numpy() - gradient).max() <= 1e-9 * max(np.abs(gradient).max(), 1e-3)


def test_each_member_has_its_own_materials_and_removed_tetrahedra_add_nothing():
    sets = sample_materials(LAWS, 0.2 * np.eye(3), [0, 1, 2], 4)
    model = MODEL.with_weight(np.where(np.arange(len(MESH.tets)) % 5 == 0, 0.0, 0.7))
    bodies = TorchBodies(model, 'cpu')
    _, g = bodies.energy_gradient(bodies.tensor(moved(4)), bodies.parameters_of(sets))
    for k, materials in enumerate(sets):
        _, gradient = compiled(model.with_materials(materials), moved(4)[k : k + 1])
        assert np.abs(g[k].numpy() - gradient[0]).max() < 1e-9 * np.abs(gradient).max()


def test_a_state_that_the_law_forbids_has_infinite_energy_and_no_nan():
    bodies = TorchBodies(MODEL, 'cpu')
    x = np.stack([MODEL.rest, MODEL.rest * [1.0, 1.0, -1.0]])
    energy, gradient = bodies.energy_gradient(bodies.tensor(x))
    assert np.isfinite(energy[0].item()) and energy[1].item() == np.inf
    assert np.isfinite(gradient.numpy()).all()


def test_states_of_rest_equal_those_of_the_exact_solver():
    right = np.flatnonzero(MESH.nodes[:, 0] > 0.0799)
    inner = np.array([int(np.argmin(np.linalg.norm(MESH.nodes - [0.04, 0.02, 0.04], axis=1)))])
    loads = Loads(
        held=right,
        held_at=MESH.nodes[right] + [0.006, 0.0, 0.01],
        gravity=np.array([0.0, 0.0, -9.81]),
        springs=make_springs(inner, MESH.nodes[inner] + 0.004, 15.0),
    )
    sets = sample_materials(LAWS, 0.1 * np.eye(3), [0, 1, 2], 6, seed=3)
    found = solve_ensemble(MODEL, sets, loads, device='cpu')
    assert found.is_converged.all()
    for materials, positions in zip(sets, found.positions, strict=True):
        exact = MODEL.with_materials(materials).solve(loads)
        assert np.abs(exact.positions - positions).max() < 1e-8


def test_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match='device'):
        TorchBodies(MODEL, 'nowhere')
    bodies = TorchBodies(MODEL, 'cpu')
    with pytest.raises(InputError, match='x has shape'):
        bodies.energy_gradient(bodies.rest)
    with pytest.raises(InputError, match='parameters have shape'):
        bodies.energy_gradient(bodies.rest[None], bodies.parameters[:, :3])
    with pytest.raises(ConfigError, match='other kinds'):
        bodies.parameters_of([NeoHookean(1e3, 0.4)])
    press = Loads(pressure=Pressure(np.array([[0, 1, 2]]), np.array([10.0])))
    with pytest.raises(InputError, match='one by one'):
        solve_ensemble(MODEL, [LAWS], press, device='cpu')


def test_a_device_that_computes_something_else_is_refused_and_left_out(monkeypatch):
    assert disagreement(TorchBodies(MODEL, 'cpu')) < 1e-12
    assert 1e-12 < disagreement(TorchBodies(MODEL, 'cpu', double=False)) < 1e-4
    right = bodies.stress

    def wrong(law, p, f):
        density, piola, fine = right(law, p, f)
        return density, piola * (1.0 + 1e-6), fine

    monkeypatch.setattr(bodies, 'stress', wrong)
    with pytest.raises(DegenerateGeometryError, match='differ from the compiled ones by') as caught:
        solve_ensemble(MODEL, [LAWS], Loads(gravity=np.array([0.0, 0.0, -1.0])), device='cpu')
    assert caught.value.code == 'ENSEMBLE_REFUSED'
    monkeypatch.setattr(ensembles, '_has_gpu', lambda: True)  # torch then takes its own choice, here the CPU
    found = solve_ensemble(MODEL, [LAWS], Loads(gravity=np.array([0.0, 0.0, -1.0])))
    assert found.device == 'numba' and 'differ from' in found.fallback and found.is_converged.all()


def test_the_gpu_is_chosen_when_there_is_one(monkeypatch):
    torch = device.import_torch()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert device.choose_device().type == 'cuda' and device.has_gpu()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert device.choose_device().type == 'cpu' and not device.has_gpu()
    found = solve_ensemble(MODEL, [LAWS], Loads(gravity=np.array([0.0, 0.0, -1.0])), device='cpu')
    assert found.device == 'cpu' and found.fallback == ''
