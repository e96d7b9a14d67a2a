"""The factor in 16 bits: what is kept of each value, its half solves, and where it must not serve."""

from dataclasses import replace

import numpy as np
import pytest
from elastic_bodies import lobe, pull

from twin_nodes.core.anatomy.elastic.factor import CholeskyFactor
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, make_springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.preconditioner import Preconditioner
from twin_nodes.core.anatomy.elastic.rounded import RoundedFactor
from twin_nodes.core.simulate.tet_box import tet_box


def to_bfloat16(values):
    """The nearest float32 whose lower 16 bits are zero; of two as near the one whose last bit is."""
    bits = values.view(np.uint32).astype(np.uint64)
    down, rest = bits & 0xFFFF0000, bits & 0xFFFF
    up = (rest > 0x8000) | ((rest == 0x8000) & ((bits >> 16) & 1 == 1))
    return (down + (up.astype(np.uint64) << 16)).astype(np.uint32).view(np.float32)


def assert_alike(found, wanted):
    """The same but for the rounding of float32 sums."""
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def both(cells=(6, 5, 5), change=None):
    model, _ = lobe(cells=cells)
    whole = CholeskyFactor(model.pattern, model.blocks(model.rest, project=0.0), np.float32)
    if change is not None:
        whole.values[:] = change(whole.values)
    return whole, RoundedFactor(whole)


@pytest.mark.parametrize('cells', [(2, 1, 1), (3, 1, 2), (24, 2, 2), (9, 8, 7)])
def test_it_solves_as_the_factor_of_rounded_values_does(cells):
    whole, rounded = both(cells)
    whole.values[:] = to_bfloat16(whole.values)
    right = np.random.default_rng(0).normal(size=(5, whole.layout.size))
    half = whole.forward(right[0]).copy()
    assert_alike(rounded.forward(right[0]), half)
    wanted = whole.backward(half.copy())
    assert_alike(rounded.backward(half), wanted)
    many = whole.forward(right)
    for count in (1, 2, 3, 5):  # by threes, and what is over one by one
        assert_alike(rounded.forward(right[:count]), many[:count])


def test_values_halfway_between_two_go_to_the_even_one():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF818000], np.uint32).view(np.float32)
    _, rounded = both(change=lambda values: np.resize(bits, len(values)))
    kept = {0x3F80, 0x3F82, 0x3F81, 0xBF82, 0}
    assert set(np.unique(rounded.values).tolist()) == kept


def test_zeros_pass_by_and_leave_nothing_behind():
    _, rounded = both()
    sparse = np.zeros((4, rounded.layout.size))
    sparse[[0, 1, 2], [4, 100, 200]] = 1.0
    first = rounded.forward(sparse)
    assert not first[3].any()
    rounded.forward(np.full(rounded.layout.size, 1e30))
    assert np.array_equal(rounded.forward(sparse), first)  # not even what the last right side left in its room
    assert np.array_equal(first[1], rounded.forward(sparse[1]))


def test_a_solve_is_near_to_that_of_the_factor_and_keeps_energy_positive():
    whole, rounded = both((9, 8, 7))
    a, b = np.random.default_rng(1).normal(size=(2, whole.layout.size))
    found, wanted = rounded.backward(rounded.forward(a)), whole.solve(a)
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)
    assert a @ found > 0.0
    assert b @ found == pytest.approx(a @ rounded.backward(rounded.forward(b)), rel=1e-4)  # symmetric


def test_what_is_let_go_is_taken_from_the_factor_itself():
    model, grasp = lobe()
    held = pull(model, grasp, 0.0)
    found = Preconditioner(Objective(model, held, model.rest), model.rest)
    assert isinstance(found.factor, RoundedFactor)
    assert found.match(Loads(), 300)
    assert isinstance(found.factor, CholeskyFactor)
    assert found.match(held, 300)
    assert isinstance(found.factor, RoundedFactor)


@pytest.mark.parametrize(('inside', 'spring', 'is_rounded'), [(1e3, 1e3, True), (1e4, 1.0, False), (1.0, 1e6, False)])
def test_soft_tissue_beside_what_is_stiff_comes_to_rest(inside, spring, is_rounded):
    mesh = tet_box((6, 5, 5), (0.12, 0.1, 0.06), jitter=0.2)
    middles = mesh.nodes[mesh.tets].mean(axis=1)
    labels = 1 + (np.linalg.norm(middles - [0.07, 0.05, 0.03], axis=1) < 0.018).astype(int)
    fixed = np.flatnonzero(mesh.nodes[:, 0] < 1e-9)
    model = ElasticModel(
        replace(mesh, labels=labels), {1: NeoHookean(5e3, 0.45), 2: NeoHookean(5e3 * inside, 0.45)}, fixed
    )
    assert 0 < (labels == 2).sum() < len(labels) / 4
    tets = model.tets[np.argsort(middles[:, 0])[-3:]]
    middle, up, weights = model.rest[tets].mean(axis=1), np.array([0.0, 0.0, 0.004]), np.full((3, 4), 0.25)
    loads = [make_springs(tets, middle + share * up, 50.0 * spring, weights=weights) for share in np.linspace(0, 1, 9)]
    with LiveSolver(model, LiveConfig(refactor_lag=3, max_iterations=30)) as live:
        answers = [live.update(Loads(springs=springs)) for springs in loads]
        assert isinstance(live.preconditioner.factor, RoundedFactor) == is_rounded
    assert all(answer.is_converged for answer in answers)


def test_frames_take_as_many_steps_as_with_the_factor_itself(monkeypatch):
    model, grasp = lobe(cells=(9, 8, 7))
    steps = []
    for rounding in (RoundedFactor, lambda whole: whole):
        monkeypatch.setattr('twin_nodes.core.anatomy.elastic.preconditioner.RoundedFactor', rounding)
        with LiveSolver(model, LiveConfig(refactor_lag=3)) as live:
            answers = [live.update(pull(model, grasp, amount)) for amount in np.linspace(0.0, 0.02, 31)]
        assert all(answer.is_converged for answer in answers)
        steps.append(sum(answer.iterations for answer in answers))
    assert steps[0] <= steps[1] + 3
