"""A patch in jaws, reduced: as good as the full model where it was drawn, flagged beyond, refused for another body."""

from dataclasses import replace

import numpy as np
import pytest
from live_bodies import front_of, organ_body, tip

from twin_nodes.core.anatomy.elastic import reduced_patch
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.live import LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.reduced import ReducedModel
from twin_nodes.core.anatomy.elastic.reduced_basis import basis_from
from twin_nodes.core.anatomy.elastic.reduced_patch import PatchConfig, body_hash, learn_patch, moved_patch, patch_forces
from twin_nodes.core.anatomy.session_config import GraspConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.errors import InputError
from twin_nodes.io.reduced_models import patch_names, read_patch, write_patch

STILL = np.zeros(3)
CONFIG = PatchConfig(reach=0.01, turn=0.1, drags=40, steps=4, modes=24)


@pytest.fixture(scope='module')
def organ():
    return organ_body(900)


@pytest.fixture(scope='module')
def nodes(organ):
    rest = organ.model.rest
    return take(rest, organ.model.mesh.outer_nodes, tip(front_of(organ)), organ.held, GraspConfig()).nodes


@pytest.fixture(scope='module')
def learned(organ, nodes):
    return learn_patch(organ.model, nodes, STILL, CONFIG)


def drawn(model, nodes, shift, turn=(0.0, 0.0, 0.0)):
    return moved_patch(model.rest[nodes], np.asarray(shift), np.asarray(turn))


def test_positions_and_force_are_those_of_the_full_model(organ, nodes, learned):
    assert learned.error < 3e-3 and learned.force_error < 5e-3 and learned.in_span >= 0.9 * learned.checks
    model, reduced = organ.model, ReducedModel.restored(learned.basis)
    for shift, turn in (([0.0, -0.008, 0.0], [0.0] * 3), ([0.004, 0.004, -0.004], [0.03, -0.02, 0.04])):
        held = drawn(model, nodes, shift, turn)
        loads = Loads(nodes, held)
        exact, state = model.solve(loads), reduced.update(held)
        assert state.in_span
        assert np.linalg.norm(state.positions - exact.positions) < 3e-3 * np.linalg.norm(exact.displacement)
        forces, about = patch_forces(model, loads, exact.positions), np.array([0.01, -0.1, 0.02])
        force, torque = reduced.wrench(state, held, about)
        assert np.linalg.norm(force - forces.sum(axis=0)) < 5e-3 * np.linalg.norm(forces.sum(axis=0))
        moment = np.cross(held - about, forces).sum(axis=0)
        assert np.linalg.norm(torque - moment) < 1e-2 * np.linalg.norm(moment)


def test_beyond_what_it_was_drawn_it_says_so(organ, nodes, learned):
    reduced = ReducedModel.restored(learned.basis)
    for shift, turn in (([0.0, -0.016, 0.0], [0.0] * 3), ([0.009, 0.009, 0.009], [0.0] * 3), ([0.0] * 3, [0.6, 0, 0])):
        assert not reduced.update(drawn(organ.model, nodes, shift, turn)).in_span
    assert reduced.update(drawn(organ.model, nodes, [0.0, -0.005, 0.0])).in_span


def test_fewer_nodes_shown_lie_where_they_lay(organ, nodes, learned):
    reduced, some = ReducedModel.restored(learned.basis), np.array([5, nodes[0], 17])
    held = drawn(organ.model, nodes, [0.0, -0.005, 0.0])
    whole = reduced.update(held).positions[some]
    reduced.reset()
    reduced.show(some)
    np.testing.assert_allclose(reduced.update(held).positions, whole, atol=1e-9)


def test_the_force_must_have_been_learned(learned):
    reduced = ReducedModel.restored(basis_from(learned.basis.arrays() | {'reaction': np.array(False)}))
    places = learned.basis.rest[learned.basis.held]
    with pytest.raises(InputError, match='without the force'):
        reduced.wrench(reduced.update(places), places, STILL)


def test_a_patch_that_the_full_model_cannot_follow_is_refused(organ, nodes, monkeypatch):
    class Lost(LiveSolver):
        def update(self, loads, out_of_time=None):
            return replace(super().update(loads), status='failed')

    monkeypatch.setattr(reduced_patch, 'LiveSolver', Lost)
    with pytest.raises(InputError, match='8 of 8 states did not converge') as caught:
        learn_patch(organ.model, nodes, STILL, PatchConfig(drags=8, steps=1))
    assert caught.value.code == 'TRAINING_REFUSED'


def test_a_file_gives_back_what_was_learned_and_nothing_for_another_body(organ, learned, tmp_path):
    path = write_patch(tmp_path, 'grasp', learned)
    assert patch_names(tmp_path) == ('grasp',) and path.parent.name == 'reduced'
    found = read_patch(tmp_path, 'grasp', learned.body).patch
    for name, array in learned.basis.arrays().items():
        np.testing.assert_array_equal(found.basis.arrays()[name], array)
    assert (found.error, found.in_span) == (learned.error, learned.in_span)
    model = organ.model
    assert body_hash(model, STILL) == learned.body
    for other in (
        body_hash(model.with_materials(NeoHookean(3100.0, 0.45)), STILL),
        body_hash(model.with_support(1.01 * model.support), STILL),
        body_hash(model, np.array([0.0, 0.0, -9.81])),
    ):
        with pytest.raises(InputError, match='another body') as caught:
            read_patch(tmp_path, 'grasp', other)
        assert caught.value.code == 'REDUCED_REFUSED'


def test_damaged_files_and_strange_names_are_refused(learned, tmp_path):
    path = write_patch(tmp_path, 'grasp', learned)
    whole = path.read_bytes()
    for damaged in (b'', whole[: len(whole) // 2], b'not a zip file'):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match='not readable'):
            read_patch(tmp_path, 'grasp', learned.body)
    with pytest.raises(InputError, match='has: grasp'):
        read_patch(tmp_path, 'push', learned.body)
    for name in ('', '../x', 'a b'):
        with pytest.raises(InputError, match='no name'):
            write_patch(tmp_path, name, learned)
    arrays = learned.basis.arrays()
    for key, value, said in (
        ('modes', arrays['modes'][:-3], 'modes has shape'),
        ('base', np.full_like(arrays['base'], np.nan), 'NaN'),
        ('held', arrays['held'] + 10_000, 'held names a node'),
    ):
        with pytest.raises(InputError, match=said):
            basis_from(arrays | {key: value})
    with pytest.raises(InputError, match='no lift'):
        basis_from({name: array for name, array in arrays.items() if name != 'lift'})
