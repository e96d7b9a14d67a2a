"""The live solver: keeps to the exact one, replays alike, says when it is not done, survives what is thrown at it."""

import threading

import numpy as np
import pytest
from elastic_bodies import LAWS, lobe, pull
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.elastic.faults import fault
from twin_nodes.core.anatomy.elastic.foresight import Foresight
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, make_springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.quasi_newton import History
from twin_nodes.core.anatomy.elastic.rigid_motions import refuse_unheld
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.simulate.tet_box import tet_box

FRAMES = 20


def drag(model, grasp, most=0.035):
    return [pull(model, grasp, most * (0.5 - 0.5 * np.cos(np.pi * (k + 1) / FRAMES))) for k in range(FRAMES)]


def error(found, exact):
    return np.linalg.norm(found.positions - exact.positions) / np.linalg.norm(exact.displacement)


@pytest.mark.parametrize('law', LAWS)
def test_a_drag_stays_within_a_thousandth_of_the_exact_answer(law):
    model, grasp = lobe(law)
    exact = None
    with LiveSolver(model) as live:
        for loads in drag(model, grasp):
            answer = live.update(loads)
            exact = model.solve(loads, exact.positions if exact else None)
            assert answer.status == 'converged'
            assert answer.residual <= live.config.tolerance
            assert error(answer, exact) < 1e-3
            assert answer.volume_change == pytest.approx(exact.volume_change, abs=1e-4)


def test_replays_are_alike_bit_for_bit_when_the_lag_is_set():
    model, grasp = lobe()
    runs = []
    for _ in range(2):
        with LiveSolver(model, LiveConfig(refactor_lag=3)) as live:
            runs.append([live.update(loads).positions for loads in drag(model, grasp)])
            assert live.factors > 3
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_reset_makes_a_second_run_like_the_first():
    model, grasp = lobe()
    with LiveSolver(model, LiveConfig(refactor_lag=3)) as live:
        first = [live.update(loads).positions for loads in drag(model, grasp)]
        live.reset()
        second = [live.update(loads).positions for loads in drag(model, grasp)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_out_of_time_gives_the_best_so_far_and_says_so():
    model, grasp = lobe()
    with LiveSolver(model, LiveConfig(tolerance=1e-9, min_iterations=1, refactor=False, foresight=0)) as live:
        answers = [live.update(loads, lambda: True) for loads in drag(model, grasp)]
    assert {answer.status for answer in answers} == {'out_of_time'}
    assert all(answer.iterations == 1 for answer in answers)
    exact = model.solve(drag(model, grasp)[-1])
    assert error(answers[-1], exact) < 0.02
    with LiveSolver(model, LiveConfig(tolerance=1e-9, max_iterations=2)) as live:
        assert live.update(drag(model, grasp)[5]).status == 'not_converged'


@pytest.mark.parametrize('law', ['neo_hookean', 'ogden'])
def test_a_jump_of_the_contact_is_followed(law):
    model, grasp = lobe(law)
    with LiveSolver(model, LiveConfig(max_iterations=60)) as live:
        for amount in (0.02, -0.01, 0.025):
            answer = live.update(pull(model, grasp, amount))
            assert answer.status == 'converged', answer
            assert error(answer, model.solve(pull(model, grasp, amount))) < 2e-3


@given(st.lists(st.floats(-0.02, 0.03), min_size=3, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_no_path_of_the_contact_makes_it_diverge(path, seed):
    model, grasp = lobe('nearly_incompressible', (5, 4, 3))
    rng = np.random.default_rng(seed)
    with LiveSolver(model, LiveConfig(max_iterations=2, refactor_lag=2)) as live:
        for amount in path:
            loads = pull(model, grasp, amount)
            noisy = Loads(held=grasp, held_at=loads.held_at + 1e-3 * rng.normal(size=(len(grasp), 3)))
            answer = live.update(noisy)
            assert np.abs(answer.displacement).max() < 0.12
        final = [live.update(noisy) for _ in range(25)][-1]
    assert error(final, model.solve(noisy)) < 5e-3


def test_contacts_come_and_go():
    model, grasp = lobe()
    other = np.setdiff1d(np.flatnonzero(model.rest[:, 1] < 1e-9), model.fixed)[:6]
    rng = np.random.default_rng(0)
    tets = rng.choice(len(model.tets), 8, replace=False)
    weights = rng.dirichlet(np.ones(4), 8)
    lifted = np.array([0.0, 0.0, 0.004])
    targets = np.einsum('sa,sai->si', weights, model.rest[model.tets[tets]]) + lifted
    springs = make_springs(model.tets[tets], targets, 100.0, weights=weights)
    scenes = [
        Loads(),
        pull(model, grasp, 0.004),
        Loads(held=other, held_at=model.rest[other] - [0.0, 0.004, 0.0]),
        Loads(springs=springs),
        Loads(held=grasp, held_at=pull(model, grasp, 0.004).held_at, springs=springs, gravity=np.array([0, 0, -9.81])),
        Loads(),
    ]
    with LiveSolver(model, LiveConfig(max_iterations=60, tolerance=1e-5, refactor=False)) as live:
        for loads in scenes:
            answer, exact = live.update(loads), model.solve(loads)
            assert answer.status == 'converged'
            assert np.abs(answer.positions - exact.positions).max() < 2e-5
        assert live.factors == 1


def test_resection_goes_on_with_the_old_factor_until_a_new_one_is_there():
    model, grasp = lobe()
    loads = pull(model, grasp, 0.01)
    weight = np.where(model.rest[model.tets].mean(axis=1)[:, 1] > 0.075, 0.0, 1.0)
    cut = model.with_weight(weight)
    with LiveSolver(model, LiveConfig(max_iterations=80, refactor_lag=2)) as live:
        live.update(loads)
        before = live.factors
        live.change(cut)
        answer = live.update(loads)
        assert live.factors == before
        assert answer.frozen > 0
        exact = cut.solve(loads, model.solve(loads).positions)
        left = np.unique(model.tets[weight > 0.0])
        size = np.linalg.norm(exact.displacement[left])
        assert np.linalg.norm((answer.positions - exact.positions)[left]) < 0.01 * size
        for _ in range(4):
            answer = live.update(loads)
        assert live.factors > before
        assert answer.status == 'converged'
        assert np.linalg.norm((answer.positions - exact.positions)[left]) < 1e-3 * size


def test_softened_tetrahedra_give_way():
    model, grasp = lobe()
    forces = np.zeros_like(model.rest)
    forces[grasp, 2] = -0.005
    loads = Loads(forces=forces)
    soft = model.with_weight(np.full(len(model.tets), 0.7))
    with LiveSolver(model, LiveConfig(max_iterations=50, tolerance=1e-5)) as live:
        first = live.update(loads)
        live.change(soft)
        second = live.update(loads)
    assert second.displacement[:, 2].min() < 1.3 * first.displacement[:, 2].min() < -1e-4
    with pytest.raises(InputError, match='another mesh'):
        LiveSolver(model).change(lobe(cells=(3, 3, 3))[0])


def test_a_bad_load_is_refused_and_the_state_stays():
    model, grasp = lobe()
    with LiveSolver(model) as live:
        good = live.update(pull(model, grasp, 0.01))
        with pytest.raises(InputError, match='NaN or Inf'):
            live.update(Loads(held=grasp, held_at=np.full((len(grasp), 3), np.nan)))
        assert np.array_equal(live.x, good.positions)
        assert live.update(pull(model, grasp, 0.01)).status == 'converged'


def test_a_state_that_the_law_forbids_fails_and_keeps_the_last_good_one():
    model, _ = lobe('mooney_rivlin')
    corner = model.tets[-1]
    with LiveSolver(model) as live:
        good = live.update(Loads())
        mirrored = model.rest[corner] * [1.0, 1.0, -1.0]
        answer = live.update(Loads(held=corner.astype(np.int64), held_at=mirrored))
        assert answer.status == 'failed'
        assert np.array_equal(answer.positions, good.positions)
        assert live.update(Loads()).status == 'converged'


def test_tissue_that_would_be_turned_inside_out_fails_and_keeps_the_last_good_one():
    model, grasp = lobe()
    with LiveSolver(model, LiveConfig(refactor_lag=4)) as live:
        for amount in (0.005, 0.01):
            good = live.update(pull(model, grasp, amount))
        rest = model.rest[grasp]
        turned = Loads(held=grasp, held_at=2.0 * rest.mean(axis=0) - rest + [0.0, 0.0, -0.05])  # through itself
        for _ in range(25):
            answer = live.update(turned)
            assert answer.status == 'failed' and 'turned inside out' in answer.reason
            assert np.array_equal(answer.positions, good.positions) and np.array_equal(live.x, good.positions)
            assert answer.min_volume_ratio > 0.0
        for _ in range(5):
            answer = live.update(pull(model, grasp, 0.01))
        assert answer.is_converged and not answer.reason and error(answer, model.solve(pull(model, grasp, 0.01))) < 1e-3


def test_tissue_that_would_be_displaced_by_more_than_the_body_measures_fails():
    model, _ = lobe()
    far = Loads(springs=make_springs([len(model.rest) - 1], [[9.0, 0.0, 0.0]], 1e5))
    with LiveSolver(model, LiveConfig(refactor_lag=4)) as live:
        good = live.update(Loads())
        for _ in range(15):
            answer = live.update(far)
        assert answer.status == 'failed' and answer.reason
        np.testing.assert_array_equal(answer.positions, good.positions)
        for _ in range(5):
            answer = live.update(Loads())
        assert answer.is_converged


def test_an_answer_less_balanced_than_the_start_is_no_answer():
    model, grasp = lobe()
    loads = pull(model, grasp, 0.0052)
    with LiveSolver(model, LiveConfig(refactor_lag=4)) as live:
        live.update(pull(model, grasp, 0.005))
        start = live.x
        objective = Objective(model, loads, start)
        rest = model.solve(loads).positions
        noise = np.random.default_rng(3).normal(0.0, 1e-3, rest.shape)
        noise[grasp] = noise[model.fixed] = 0.0
        for x, is_good in ((rest + 0.001 * noise, True), (rest + noise, False)):
            energy, gradient = objective(x)
            found = objective.solution(x, 'not_converged', objective.residual(gradient), 12, energy, 0.0)
            said = fault(objective, found, start, 1e-3)
            assert ('out of balance' in said) is not is_good and bool(said) is not is_good


def test_forces_that_move_nothing_are_no_failure_though_there_were_less_before():
    model, _ = lobe()
    objective = Objective(model, Loads(), model.rest)
    x = model.rest + np.random.default_rng(4).normal(0.0, 1e-9, model.rest.shape)  # 1 nm
    x[model.fixed] = model.rest[model.fixed]
    energy, gradient = objective(x)
    found = objective.solution(x, 'not_converged', 1.0, 12, energy, 0.0)
    assert np.linalg.norm(gradient) > 0.0 and fault(objective, found, model.rest, 1e-3) == ''


def test_a_frame_that_is_not_at_rest_yet_is_told_and_one_that_failed_goes_on_when_it_can():
    model, grasp = lobe()
    with LiveSolver(model, LiveConfig(max_iterations=1, min_iterations=1, refactor_lag=2)) as live:
        seen = [live.update(pull(model, grasp, 0.03)) for _ in range(12)]
    assert seen[0].status in ('not_converged', 'failed') and seen[-1].is_converged
    for answer in seen:
        assert answer.min_volume_ratio > 0.0 and (answer.status == 'failed') is bool(answer.reason)


@pytest.mark.parametrize('count', [1, 2, 3], ids=['one node', 'two', 'three on a line'])
def test_a_body_that_can_still_turn_is_refused_whatever_its_size(count):
    for size in 0.1 + 1e-4 * np.random.default_rng(0).random(10):  # other rounding each time
        mesh = tet_box((2, 2, 2), (size, size, size))
        line = np.flatnonzero((mesh.nodes[:, 1:] == mesh.nodes[:, 1:].min(axis=0)).all(axis=1))
        model = ElasticModel(mesh, LAWS['neo_hookean'], line[:count])
        with LiveSolver(model) as live, pytest.raises(DegenerateGeometryError, match='not positive definite'):
            live.update(Loads(forces=np.full((27, 3), 0.01)))


def test_one_face_of_a_tetrahedron_holds_a_body_of_thousands_and_an_edge_does_not():
    mesh = tet_box((12, 12, 12), (0.1, 0.1, 0.1))
    face = mesh.outer_faces[0]
    held, hinged = (ElasticModel(mesh, LAWS['neo_hookean'], nodes) for nodes in (face, face[:2]))
    refuse_unheld(Objective(held, Loads(), held.rest), held.rest)
    with pytest.raises(DegenerateGeometryError):
        refuse_unheld(Objective(hinged, Loads(), hinged.rest), hinged.rest)


def test_what_a_grasp_holds_needs_no_fixed_nodes_and_parts_are_looked_at_each():
    mesh = tet_box((2, 2, 2), (0.1, 0.1, 0.1))
    two = make_tet_mesh(
        'two', np.vstack([mesh.nodes, mesh.nodes + 0.5]), np.vstack([mesh.tets, mesh.tets + 27]), allow_parts=True
    )
    first, second = np.flatnonzero(two.nodes[:, 0] < 1e-9), 27 + np.flatnonzero(mesh.nodes[:, 0] < 1e-9)
    model = ElasticModel(two, LAWS['neo_hookean'], first)
    for held, whole in ((second, True), (second[:1], False)):
        objective = Objective(model, Loads(held=held, held_at=model.rest[held]), model.rest)
        if whole:
            refuse_unheld(objective, model.rest)
        else:
            with pytest.raises(DegenerateGeometryError, match='with 27 free nodes'):
                refuse_unheld(objective, model.rest)


def test_close_ends_the_thread():
    model, grasp = lobe()
    live = LiveSolver(model)
    for loads in drag(model, grasp):
        live.update(loads)
    assert any(thread.name.startswith('refactor') for thread in threading.enumerate())
    live.close()
    assert not any(thread.name.startswith('refactor') for thread in threading.enumerate())
    assert live.update(loads).status == 'converged'
    live.close()


def test_foresight_is_exact_for_a_linear_answer_and_stands_still_with_the_contact():
    rng = np.random.default_rng(0)
    answer = rng.normal(size=(30, 3))
    foresight = Foresight(3)
    held = np.array([4])
    x = np.zeros((10, 3))
    places = [np.array([[0.0, 0.0, 0.0]]), np.array([[0.01, 0.0, 0.0]]), np.array([[0.01, 0.02, 0.0]])]
    for at in places:
        x = (answer @ at[0]).reshape(10, 3)
        foresight.keep(Loads(held=held, held_at=at), x)
    assert np.array_equal(foresight.start(Loads(held=held, held_at=places[-1]), x), x)
    turned = np.array([[0.004, 0.017, 0.0]])
    assert foresight.start(Loads(held=held, held_at=turned), x).ravel() == pytest.approx(answer @ turned[0], abs=1e-4)
    assert np.array_equal(foresight.start(Loads(), x), x)


def test_history_mends_the_inverse_along_its_pairs():
    rng = np.random.default_rng(1)
    stiffness = np.diag(np.linspace(1.0, 3.0, 6))
    history = History(6, 10)
    for step in rng.normal(size=(6, 6)):
        assert history.add(step, stiffness @ step)
    assert not history.add(np.ones(6), -np.ones(6))
    assert len(history) == 6
    last = step
    assert history.apply(lambda right: right, stiffness @ last) == pytest.approx(last)
    history.clear()
    assert history.apply(lambda right: 2.0 * right, np.ones(6)) == pytest.approx(2.0 * np.ones(6))
