"""Ensembles without torch: each member is what the exact solver says, and the spread is that of the material."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic_torch import device
from twin_nodes.core.anatomy.material.ensembles import EnsembleSolution, sample_materials, solve_ensemble
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.simulate.tet_box import tet_box

MESH = tet_box((3, 1, 1), (0.06, 0.02, 0.02))
LABEL = int(MESH.labels[0])
LAWS = {LABEL: NeoHookean(3e3, 0.45)}
MODEL = ElasticModel(MESH, LAWS, np.flatnonzero(MESH.nodes[:, 0] < 1e-9))
SAG = Loads(gravity=np.array([0.0, 0.0, -9.81]))


def test_softer_members_sag_more_and_the_spread_is_linear_in_small_errors():
    # a sag u of a linear body is u₀ exp(-z): its σ is |u₀| σ_z for small σ_z, to its own 1 / √(2 n)
    sets = sample_materials(LAWS, np.array([[0.02**2]]), [LABEL], 200, seed=1)
    weak = Loads(gravity=np.array([0.0, 0.0, -0.5]))
    found = solve_ensemble(MODEL, sets, weak, device='numba')
    assert found.is_converged.all()
    mean, covariance = found.mean_and_covariance()
    tip = int(np.argmax(MESH.nodes.sum(axis=1)))
    sag = MODEL.solve(weak).displacement[tip, 2]
    assert mean[tip, 2] - MESH.nodes[tip, 2] == pytest.approx(sag, rel=0.01)
    assert np.sqrt(covariance[tip, 2, 2]) == pytest.approx(abs(sag) * 0.02, rel=0.15)


def test_each_member_is_its_own_exact_solution():
    sets = sample_materials(LAWS, np.array([[0.3]]), [LABEL], 3)
    found = solve_ensemble(MODEL, sets, SAG, device='numba')
    for materials, positions in zip(sets, found.positions, strict=True):
        assert np.abs(MODEL.with_materials(materials).solve(SAG).positions - positions).max() < 1e-9


def test_refuses_nothing_and_a_covariance_of_another_size():
    with pytest.raises(InputError, match='no member'):
        solve_ensemble(MODEL, [], SAG)
    with pytest.raises(ConfigError, match='expected 1 by 1'):
        sample_materials(LAWS, np.eye(2), [LABEL], 3)
    lonely = EnsembleSolution(np.zeros((2, 4, 3)), np.ones(2), np.array([True, False]), 1)
    with pytest.raises(DegenerateGeometryError, match='1 of 2'):
        lonely.mean_and_covariance()


def test_without_torch_the_cpu_stands_on_its_own(monkeypatch):
    monkeypatch.setattr(device, 'find_spec', lambda name: None)
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)
    assert not device.is_installed() and not device.has_gpu()
    assert solve_ensemble(MODEL, [LAWS], SAG).is_converged.all()
    with pytest.raises(ConfigError, match=r'pip install twin_nodes\[learn\]'):
        solve_ensemble(MODEL, [LAWS], SAG, device='cpu')


def test_a_gpu_that_fails_is_left_out_and_it_is_said(monkeypatch):
    from twin_nodes.core.anatomy.elastic_torch import ensemble
    from twin_nodes.core.anatomy.material import ensembles

    def out_of_memory(*_, **__):
        raise RuntimeError('CUDA out of memory. Tried to allocate 7 GiB\nmore')

    monkeypatch.setattr(ensembles, '_has_gpu', lambda: True)
    monkeypatch.setattr(ensemble, 'solve_on_torch', out_of_memory)
    found = solve_ensemble(MODEL, [LAWS], SAG)
    assert found.is_converged.all() and found.device == 'numba'
    assert found.fallback == 'CUDA out of memory. Tried to allocate 7 GiB'
    with pytest.raises(RuntimeError, match='CUDA'):
        solve_ensemble(MODEL, [LAWS], SAG, device='cuda')
    monkeypatch.setattr(ensembles, '_has_gpu', lambda: False)
    assert solve_ensemble(MODEL, [LAWS], SAG).fallback == ''
