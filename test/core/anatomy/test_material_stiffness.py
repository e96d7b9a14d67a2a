"""Stiffness from what is seen: truth recovered, intervals that cover, and what cannot be known said."""

from dataclasses import replace

import numpy as np
import pytest

from twin_nodes.core.anatomy.elastic.laws import NeoHookean, Ogden
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure, Springs, make_springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.bodies import scaled
from twin_nodes.core.anatomy.material.stiffness import estimate_stiffness
from twin_nodes.core.anatomy.material.stiffness_states import SeenState, StiffnessConfig, StiffnessProblem
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.simulate.tet_box import tet_box

SIGMA, FORCE_SIGMA, PRIOR = 3e-4, 0.03, 0.5
BOX = tet_box((4, 1, 1), (0.08, 0.03, 0.03))
MESH = make_tet_mesh('bar', BOX.nodes, BOX.tets, np.where(BOX.nodes[BOX.tets].mean(axis=1)[:, 0] < 0.04, 1, 2))
LAWS = {1: NeoHookean(5e3, 0.45), 2: NeoHookean(5e3, 0.45)}
LEFT, RIGHT = np.flatnonzero(MESH.nodes[:, 0] < 1e-9), np.flatnonzero(MESH.nodes[:, 0] > 0.0799)
TOP = np.setdiff1d(np.flatnonzero(MESH.nodes[:, 2] > 0.0299), np.r_[LEFT, RIGHT])
SUPPORT = np.where(MESH.nodes[:, 2] < 1e-9, 3.0, 0.0)
PULL = Loads(held=RIGHT, held_at=MESH.nodes[RIGHT] + [0.008, 0.0, 0.012])


def body(logs, laws=None, support=SUPPORT):
    laws = laws or LAWS
    materials = {label: scaled(law, float(np.exp(log))) for (label, law), log in zip(laws.items(), logs, strict=False)}
    support = None if support is None else support * np.exp(logs[2] if len(logs) > 2 else 0.0)
    return ElasticModel(MESH, materials, LEFT, support=support)


def see(truth, loads=PULL, *, rng=None, gripped=True, sigma=SIGMA):
    solution = truth.solve(loads)
    assert solution.is_converged
    noise = np.zeros((len(TOP), 3)) if rng is None else rng.normal(0.0, sigma, (len(TOP), 3))
    state = SeenState(loads, make_springs(TOP, solution.positions[TOP] + noise, 1.0 / sigma**2))
    if not gripped:
        return state
    force = -truth.force(solution.positions)[RIGHT].sum(axis=0)
    force = force + (0.0 if rng is None else rng.normal(0.0, FORCE_SIGMA, 3))
    return replace(state, gripped=RIGHT, force=force, force_sigma=FORCE_SIGMA)


def test_recovers_labels_and_boundary_from_points_and_a_force():
    logs = np.array([0.4, -0.5, 0.6])
    # free of noise; the prior pulls by less than a hundredth of its error where much was seen
    found = estimate_stiffness(body([0, 0, 0]), LAWS, [see(body(logs), sigma=1e-5)], StiffnessConfig(prior_sigma=3.0))
    assert found.status == 'converged' and found.is_absolute and found.unlearned == ()
    assert found.names == ('1', '2', 'boundary')
    assert np.log(found.factor) == pytest.approx(logs, abs=0.02)
    assert found.materials[2].young == pytest.approx(5e3 * np.exp(-0.5), rel=0.02)
    assert found.support == pytest.approx(SUPPORT * found.factor[2])
    assert found.residual < 0.2


def test_other_laws_than_neo_hookean_are_scaled_too():
    laws = {1: Ogden((900.0, -100.0), (3.0, -2.0), 2e4), 2: NeoHookean(4e3, 0.45)}
    truth, logs = body([0.3, -0.3], laws, None), np.array([0.3, -0.3])
    found = estimate_stiffness(body([0, 0], laws, None), laws, [see(truth, sigma=1e-5)])
    assert np.log(found.factor) == pytest.approx(logs, abs=0.03)


def test_derivatives_are_those_of_the_residuals():
    state = see(body([0, 0, 0]))
    problem = StiffnessProblem(body([0, 0, 0]), LAWS, [state], StiffnessConfig())
    theta, step = np.array([0.2, -0.1, 0.3]), 1e-4
    _, places = problem.residuals(theta, [None])
    jacobian = problem.jacobian(theta, places)
    for k in range(3):
        ends = [problem.residuals(theta + sign * step * np.eye(3)[k], places)[0] for sign in (1.0, -1.0)]
        assert jacobian[:, k] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-3)


def test_intervals_cover_the_truth():
    # 120 runs of 3 unknowns drawn from the prior: 95 % within 2 σ of that many draws, were they independent
    rng, inside = np.random.default_rng(1), []
    for _ in range(120):
        logs = rng.normal(0.0, PRIOR, 3)
        found = estimate_stiffness(
            body([0, 0, 0]), LAWS, [see(body(logs), rng=rng)], StiffnessConfig(prior_sigma=PRIOR, tolerance=1e-2)
        )
        inside.append((np.log(found.low) <= logs) & (logs <= np.log(found.high)))
    assert 0.93 <= np.mean(inside) <= 0.975


def test_without_force_only_ratios_are_known():
    logs = np.array([0.8, 0.1, 0.5])
    state = see(body(logs), gripped=False, sigma=2e-5)
    found = estimate_stiffness(body([0, 0, 0]), LAWS, [state])
    assert not found.is_absolute and 'only ratios' in found.text()
    ratio, low, high = found.ratio('2', '1')
    assert ratio == pytest.approx(np.exp(-0.7), rel=0.05) and low < np.exp(-0.7) < high
    # the level stays the assumed one, and its interval is that of the prior
    common = np.full(3, 1 / np.sqrt(3))
    assert common @ found.log_covariance @ common == pytest.approx(1.0, rel=0.01)
    assert np.mean(np.log(found.factor)) == pytest.approx(0.0, abs=0.02)


def test_one_label_without_force_is_not_learned_at_all():
    mesh = make_tet_mesh('bar', BOX.nodes, BOX.tets)
    law = {int(label): NeoHookean(5e3, 0.45) for label in np.unique(mesh.labels)}
    model = ElasticModel(mesh, law, LEFT)
    solution = model.solve(PULL)
    state = SeenState(PULL, make_springs(TOP, solution.positions[TOP], 1e9))
    found = estimate_stiffness(model, law, [state])
    assert not found.is_absolute and found.unlearned == found.names


@pytest.mark.parametrize('what', ['gravity', 'forces', 'pressure', 'springs'])
def test_known_loads_make_it_absolute(what):
    forces = np.zeros((MESH.nodes.shape[0], 3))
    forces[RIGHT, 2] = -0.05
    face = np.array([[RIGHT[0], RIGHT[1], RIGHT[3]]])
    loads = {
        'gravity': Loads(gravity=np.array([0.0, 0.0, -9.81])),
        'forces': Loads(forces=forces),
        'pressure': Loads(pressure=Pressure(face, np.array([800.0]))),
        'springs': Loads(springs=make_springs(RIGHT, MESH.nodes[RIGHT] + [0, 0, 0.02], 5.0)),
    }[what]
    logs = np.array([0.3, -0.2, 0.0])
    state = see(body(logs), loads, gripped=False, sigma=1e-5)
    found = estimate_stiffness(body([0, 0, 0]), LAWS, [state], StiffnessConfig(boundary=False))
    assert found.is_absolute and found.names == ('1', '2')
    assert np.log(found.factor) == pytest.approx(logs[:2], abs=0.1)


def test_an_outlier_does_little():
    logs = np.array([0.4, -0.4, 0.0])
    state = see(body(logs), rng=np.random.default_rng(0))
    bad = state.seen.targets.copy()
    bad[0] += 0.05
    config = StiffnessConfig(prior_sigma=PRIOR)
    clean = estimate_stiffness(body([0, 0, 0]), LAWS, [state], config)
    spoilt = replace(state, seen=Springs(state.seen.nodes, state.seen.weights, bad, state.seen.stiffness))
    found = estimate_stiffness(body([0, 0, 0]), LAWS, [spoilt], config)
    sigma = np.sqrt(np.diag(clean.log_covariance))
    assert (np.abs(np.log(found.factor / clean.factor)) < 2.0 * sigma).all()


def test_two_states_tell_more_than_one():
    rng = np.random.default_rng(2)
    other = Loads(held=RIGHT, held_at=MESH.nodes[RIGHT] + [0.0, 0.015, 0.0])
    states = [see(body([0, 0, 0]), rng=rng), see(body([0, 0, 0]), other, rng=rng)]
    one, two = (estimate_stiffness(body([0, 0, 0]), LAWS, states[:k]) for k in (1, 2))
    assert (np.diag(two.log_covariance) < np.diag(one.log_covariance)).all()


def test_refuses_what_tells_nothing():
    model, state = body([0, 0, 0]), see(body([0, 0, 0]))
    nothing = SeenState(PULL, Springs())
    for states, laws, reason in (
        ([], LAWS, 'nothing was seen'),
        ([nothing], LAWS, 'nothing was seen'),
        ([state], {1: LAWS[1]}, r'labels \[2\]'),
        ([replace(state, gripped=np.array([999]))], LAWS, 'outside'),
        ([replace(state, force=np.full(3, np.nan))], LAWS, 'NaN'),
        ([replace(state, force_sigma=0.0)], LAWS, 'above 0'),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            estimate_stiffness(model, laws, states)
        assert caught.value.code == 'STIFFNESS_REFUSED'
    crushed = {1: Ogden((900.0,), (3.0,), 2e4), 2: Ogden((900.0,), (3.0,), 2e4)}
    through = Loads(held=RIGHT, held_at=MESH.nodes[RIGHT] - [0.2, 0.0, 0.0])
    with pytest.raises(DegenerateGeometryError, match='no rest'):
        estimate_stiffness(body([0, 0], crushed), crushed, [replace(state, loads=through)])
