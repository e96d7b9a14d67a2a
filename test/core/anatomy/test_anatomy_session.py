"""The anatomy as it deforms live, against states of rest that are known."""

from dataclasses import replace

import numpy as np
import pytest
from live_bodies import CONFIG, MS, TARGETS, back_of, front_of, organ_body, organ_mesh, scan, session_of, tip

from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, bulk_modulus
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.session_body import embed, make_body
from twin_nodes.core.anatomy.session_config import TissueConfig
from twin_nodes.core.anatomy.targets import attach
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.organ import organ, sample_organ


@pytest.fixture(scope='module')
def body():
    return organ_body()


@pytest.fixture
def session(body):
    found = session_of(body)
    yield found
    found.close()


@pytest.fixture(scope='module')
def truth():
    """Another mesh of the organ, of another law and stiffness, pushed by loads that nobody knows."""
    mesh = organ_mesh(5000, vertices=5000)
    shear = 1700.0
    law = MooneyRivlin(0.3 * shear, 0.2 * shear, bulk_modulus(shear, 0.42))
    model = ElasticModel(mesh, law, back_of(mesh))
    bump = np.exp(-0.5 * (np.linalg.norm(mesh.nodes - [0.05, -0.03, 0.0], axis=1) / 0.03) ** 2)
    forces = np.outer(bump / bump.sum(), [-1.2, 0.8, 1.5]) + np.outer(model.nodal_mass(), [0.0, 0.0, -0.8])
    solution = model.solve(Loads(forces=0.15 * forces))
    assert solution.is_converged
    return mesh, solution.positions, attach(mesh, TARGETS).at(solution.positions)


def drag(session, place, way, steps=20, tool='grasper', start_ns=0):
    """Close the jaws at a place and draw the tip along; return the last frame."""
    session.add_tip(tool, start_ns + MS, tip(place), 1e-8)
    session.set_grip(tool, closed=True)
    for step in range(1, steps + 1):
        session.add_tip(tool, start_ns + (1 + 33 * step) * MS, tip(place + way * step / steps), 1e-8)
        frame = session.step()
    for _ in range(30):
        if frame.solution.is_converged:
            break
        frame = session.step()
    return frame


def test_a_drag_ends_where_the_exact_solver_says(body, session):
    frame = drag(session, front_of(body), np.array([0.004, -0.02, 0.006]))
    nodes = session.held
    assert frame.solution.is_converged and frame.held == len(nodes) >= 4
    expected = body.model.solve(Loads(held=nodes, held_at=body.model.rest[nodes] + [0.004, -0.02, 0.006]))
    moved = np.linalg.norm(expected.displacement, axis=1).max()
    # the live solver stops at a residual of 1e-3 of the forces
    np.testing.assert_allclose(frame.solution.positions, expected.positions, atol=0.01 * moved)
    np.testing.assert_allclose(frame.targets, session.targets.at(expected.positions), atol=0.01 * moved)


def test_a_turn_of_the_jaws_turns_the_patch(body, session):
    place = front_of(body)
    session.add_tip('grasper', MS, tip(place), 1e-8)
    session.set_grip('grasper', closed=True)
    nodes, turned = session.held, tip(place)
    turned[:3, :3] = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    session.add_tip('grasper', 2 * MS, turned, 1e-8)
    arms = body.model.rest[nodes] - place
    np.testing.assert_allclose(session.step().solution.positions[nodes], place + arms @ turned[:3, :3].T, atol=1e-12)


def test_tissue_that_is_let_go_returns(body, session):
    drag(session, front_of(body), np.array([0.0, -0.02, 0.0]))
    session.set_grip('grasper', closed=False)
    for _ in range(60):
        frame = session.step()
    assert frame.held == 0 and np.abs(frame.solution.displacement).max() < 1e-5


@pytest.mark.parametrize('seed', range(3))
def test_hidden_targets_are_found_from_a_part_of_the_surface(body, session, truth, seed):
    mesh, x, targets = truth
    before = session.step()
    session.observe(MS, scan(mesh, x, np.random.default_rng(seed)), 0.001)
    frame = session.step()
    missed = frame.targets - targets
    error, start = np.linalg.norm(missed, axis=1), np.linalg.norm(before.targets - targets, axis=1)
    assert start.mean() > 0.003 and error.mean() < min(0.0025, 0.6 * start.mean())
    # chi² of three coordinates is above 16.3 in one of a thousand
    assert (np.einsum('ti,tij,tj->t', missed, np.linalg.inv(frame.covariances), missed) < 16.3).all()
    assert (np.trace(frame.covariances, axis1=1, axis2=2) < np.trace(before.covariances, axis1=1, axis2=2)).all()


def test_a_pull_on_tissue_that_was_seen_adds_to_what_was_seen(body, session, truth):
    mesh, x, _ = truth
    rng = np.random.default_rng(5)
    session.observe(MS, scan(mesh, x, rng), 0.001)
    rest = session.step().targets
    place = session.positions[body.model.mesh.outer_nodes]
    frame = drag(session, place[np.argmin(place[:, 1])], np.array([0.0, -0.025, 0.0]), start_ns=10 * MS)
    pulled = frame.targets - rest
    assert (pulled[:, 1] < -1e-4).all() and frame.solution.is_converged
    # a cloud of the very state that the pull has made changes little, though the fit knows nothing of jaws
    session.observe(10_000 * MS, scan(body.model.mesh, frame.solution.positions, rng), 0.001)
    for _ in range(20):
        again = session.step()
    assert np.linalg.norm(again.targets - frame.targets, axis=1).max() < 0.0012
    session.set_grip('grasper', closed=False)
    for _ in range(60):
        free = session.step()
    assert np.linalg.norm(free.targets - rest, axis=1).max() < 0.0012


def test_a_sensor_takes_its_tissue_along(body):
    session = session_of(body, sensors={'coil': TARGETS[1]})
    session.step()
    for step in range(1, 11):
        session.add_sensor('coil', step * 33 * MS, TARGETS[1] + [0.0, 0.0, 0.0008 * step], np.eye(3) * 1e-8)
        frame = session.step()
    for _ in range(20):
        frame = session.step()
    assert frame.targets[1] - TARGETS[1] == pytest.approx([0.0, 0.0, 0.008], abs=0.0008)  # the spring gives a little
    sigma = np.sqrt(np.trace(frame.covariances, axis1=1, axis2=2))
    assert sigma[1] < 0.6 * sigma[2]
    session.lose('coil')
    for _ in range(60):
        frame = session.step()
    np.testing.assert_allclose(frame.targets, TARGETS, atol=2e-4)
    session.close()


def clouds(session, rng):
    good = scan(session.body.model.mesh, session.body.model.rest, rng)
    holes = good.copy()
    holes[7, 1] = np.nan
    other = sample_organ(1200, rng, view=np.array([0.0, -1.0, 0.0]), seed=8) + np.array([0.0, 0.0, 0.02])
    return {
        'millimetres': (good * 1e3, 'millimetres'),
        'nan': (holes, 'NaN'),
        'nothing': (good[:0], 'no point'),
        'few': (good[:12], '12 surface points'),
        'elsewhere': (good + 0.15, 'mm from the organ'),
        'mirrored': (good * [1.0, -1.0, 1.0], 'times as far as expected'),
        'larger': ((good - good.mean(axis=0)) * 1.6 + good.mean(axis=0), 'mm from the organ'),
        'other organ': (other, 'times as far as expected'),
    }


@pytest.mark.parametrize(
    'kind', ['millimetres', 'nan', 'nothing', 'few', 'elsewhere', 'mirrored', 'larger', 'other organ']
)
def test_a_wrong_cloud_is_refused_and_changes_nothing(body, session, kind):
    before = session.step()
    points, words = clouds(session, np.random.default_rng(1))[kind]
    with pytest.raises(InputError, match=words) as refused:
        session.observe(MS, points, 0.001)
    assert refused.value.code in ('OBSERVED_REFUSED', 'UNIT_SUSPECT', 'NOT_FINITE')
    after = session.step()
    np.testing.assert_array_equal(after.solution.positions, before.solution.positions)
    assert after.seen_ns == 0 and after.stamp_ns == before.stamp_ns
    session.observe(2 * MS, scan(body.model.mesh, body.model.rest, np.random.default_rng(2)), 0.001)


def test_the_older_of_two_clouds_is_not_used(body, session):
    points = scan(body.model.mesh, body.model.rest, np.random.default_rng(2))
    session.observe(5 * MS, points, 0.001)
    with pytest.raises(InputError) as refused:
        session.observe(5 * MS, points, 0.001)
    assert refused.value.code == 'OUT_OF_ORDER'


def test_unseen_motion_widens_the_errors(body, session):
    session.observe(MS, scan(body.model.mesh, body.model.rest, np.random.default_rng(3)), 0.001)
    first = session.step()
    session.add_tip('grasper', 4_000 * MS + MS, tip([1.0, 0.0, 0.0]), 1e-8)
    later = session.step()
    grown = later.covariances - first.covariances
    np.testing.assert_allclose(
        grown, np.broadcast_to(4.0 * CONFIG.observed.drift**2 * np.eye(3), grown.shape), rtol=1e-2
    )
    assert (later.sigma > first.sigma).all()
    session.add_tip('grasper', 4_000_000 * MS, tip([1.0, 0.0, 0.0]), 1e-8)
    grown = np.trace(session.step().covariances - first.covariances, axis1=1, axis2=2)
    np.testing.assert_allclose(grown, CONFIG.compliance.amplitude**2, rtol=1e-6)


def test_jaws_in_the_air_hold_nothing_until_they_open(body, session):
    place = front_of(body) - [0.0, 0.02, 0.0]
    session.add_tip('grasper', MS, tip(place), 1e-8)
    with pytest.raises(InputError, match='mm away') as missed:
        session.set_grip('grasper', closed=True)
    assert missed.value.code == 'GRASP_MISSED'
    session.add_tip('grasper', 2 * MS, tip(front_of(body)), 1e-8)  # closed jaws that come to the tissue push at most
    assert not len(session.held)
    session.set_grip('grasper', closed=False)
    session.set_grip('grasper', closed=True)
    assert len(session.held)


def test_a_tip_that_jumps_or_pulls_too_far_lets_go(body, session):
    place = front_of(body)
    session.add_tip('grasper', MS, tip(place), 1e-8)
    session.set_grip('grasper', closed=True)
    with pytest.raises(InputError, match='jumped 30 mm') as lost:
        session.add_tip('grasper', 2 * MS, tip(place - [0.0, 0.03, 0.0]), 1e-8)
    assert lost.value.code == 'GRASP_LOST' and not len(session.held)
    session.set_grip('grasper', closed=False)
    session.add_tip('grasper', 3 * MS, tip(place), 1e-8)
    session.set_grip('grasper', closed=True)
    with pytest.raises(InputError, match='max_pull'):
        for step in range(1, 12):
            session.add_tip('grasper', (3 + step) * MS, tip(place - [0.0, 0.011 * step, 0.0]), 1e-8)
    assert not len(session.held) and step == 8  # 88 mm
    with pytest.raises(InputError) as old:
        session.add_tip('grasper', 5 * MS, tip(place), 1e-8)
    assert old.value.code == 'OUT_OF_ORDER'


def test_two_tools_hold_different_nodes_and_none_that_are_held_in_place(body, session):
    outer = body.model.rest[body.model.mesh.outer_nodes]
    beside = outer[np.argsort(np.linalg.norm(outer - front_of(body), axis=1))[15]]
    for tool, place in (('left', front_of(body)), ('right', beside)):
        session.add_tip(tool, MS, tip(place), 1e-8)
        session.set_grip(tool, closed=True)
    assert len(np.unique(session.held)) == len(session.held) >= 8
    assert not np.intersect1d(session.held, body.held).size
    session.lose('left')
    assert len(session.held) == 4


def test_time_that_is_up_gives_the_best_answer_so_far_and_says_so(body, session):
    session.step()
    session.add_tip('grasper', MS, tip(front_of(body)), 1e-8)
    session.set_grip('grasper', closed=True)
    session.add_tip('grasper', 2 * MS, tip(front_of(body) - [0.0, 0.015, 0.0]), 1e-8)
    frame = session.step(lambda: True)
    assert frame.solution.status == 'out_of_time' and frame.solution.residual > CONFIG.solver.tolerance
    assert frame.solution.iterations <= CONFIG.solver.min_iterations + 1
    for _ in range(40):
        frame = session.step(lambda: True)
    assert frame.solution.is_converged


def test_where_the_solver_fails_the_last_good_mesh_stands(body, session, monkeypatch):
    good = drag(session, front_of(body), np.array([0.0, -0.01, 0.0]))
    monkeypatch.setattr(session._solver, '_step', lambda *_: None)
    session.add_tip('grasper', 5_000 * MS, tip(front_of(body) - [0.0, 0.02, 0.0]), 1e-8)
    frame = session.step()
    assert frame.solution.status == 'failed'
    np.testing.assert_array_equal(frame.solution.positions, good.solution.positions)
    monkeypatch.undo()
    assert session.step().solution.status != 'failed'


def test_grasps_that_contradict_each_other_leave_the_last_good_mesh_with_a_reason(body, session):
    rest = body.model.rest[body.model.mesh.outer_nodes]
    left, right = (
        rest[np.argmin(np.linalg.norm(rest - front_of(body) - [side * 0.012, 0.0, 0.0], axis=1))] for side in (-1, 1)
    )
    for tool, place in (('left', left), ('right', right)):
        session.add_tip(tool, MS, tip(place), 1e-8)
        session.set_grip(tool, closed=True)
    assert len(session.held) >= 8
    good, failed = session.step(), []
    for step in range(1, 31):  # each goes to beyond where the other began, through the tissue
        way = np.array([0.002 * step, 0.0, 0.0])
        session.add_tip('left', (1 + 33 * step) * MS, tip(left + way), 1e-8)
        session.add_tip('right', (1 + 33 * step) * MS, tip(right - way), 1e-8)
        frame = session.step()
        assert frame.solution.min_volume_ratio > 0.0 and np.isfinite(frame.solution.positions).all()
        if frame.solution.status == 'failed':
            failed.append(frame.solution.reason)
            np.testing.assert_array_equal(frame.solution.positions, good.solution.positions)
        else:
            assert not frame.solution.reason
            good = frame
    assert any('inside out' in reason for reason in failed)
    for tool in ('left', 'right'):
        session.set_grip(tool, closed=False)
    for _ in range(30):
        frame = session.step()
    assert frame.solution.is_converged and np.abs(frame.solution.displacement).max() < 1e-4


@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_what_is_not_finite_is_refused_and_changes_nothing(body, session, wrong):
    before = drag(session, front_of(body), np.array([0.0, -0.01, 0.0]))
    bad = tip(front_of(body))
    bad[1, 3] = wrong
    held = len(session.held)
    for refused in (
        lambda: session.add_tip('grasper', 5_000 * MS, bad, 1e-8),
        lambda: session.add_tip('grasper', 5_000 * MS, tip(front_of(body)), wrong),
        lambda: session.add_sensor('coil', 5_000 * MS, bad[:3, 3], np.eye(3)),
        lambda: session.observe(5_000 * MS, np.full((50, 3), wrong), 0.001),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        assert caught.value.code == 'NOT_FINITE'
    after = session.step()
    assert len(session.held) == held and after.solution.is_converged
    assert np.abs(after.solution.positions - before.solution.positions).max() < 1e-4


def test_what_begins_anew_is_as_at_the_start(body, session):
    first = session.step()
    drag(session, front_of(body), np.array([0.0, -0.02, 0.0]))
    session.reset()
    again = session.step()
    np.testing.assert_array_equal(again.solution.positions, first.solution.positions)
    np.testing.assert_array_equal(again.covariances, first.covariances)
    assert again.stamp_ns == 0 and again.held == 0


def test_what_is_held_tells_of_its_neighbours(body, session):
    before = session.step().sigma
    session.add_tip('grasper', MS, tip(front_of(body)), 1e-8)
    session.set_grip('grasper', closed=True)
    after = session.step().sigma
    assert after[session.held].max() < 0.6 * before[session.held].min() and (after <= before + 1e-9).all()


def test_a_surface_rides_on_the_tetrahedra(body):
    vertices, _ = organ(1500)
    points = embed(body.model.mesh, 0.9 * vertices)
    field = body.model.rest @ np.array([[1.1, 0.1, 0.0], [0.0, 0.9, 0.2], [0.1, 0.0, 1.0]]) + [0.01, 0.0, 0.02]
    moved = (0.9 * vertices) @ np.array([[1.1, 0.1, 0.0], [0.0, 0.9, 0.2], [0.1, 0.0, 1.0]]) + [0.01, 0.0, 0.02]
    np.testing.assert_allclose(points.at(field), moved, atol=1e-12)  # inside, linear fields are met
    assert embed(body.model.mesh, vertices + 0.5) is None
    outside = embed(body.model.mesh, vertices).at(body.model.rest)
    assert np.linalg.norm(outside - vertices, axis=1).max() < 0.005  # no farther than the mesh cuts corners


@pytest.mark.parametrize(
    ('tissue', 'match'),
    [
        (TissueConfig(fixed=('bakc',)), "no region 'bakc'.*did you mean 'back'"),
        (TissueConfig(support=0.0), 'nothing holds the body'),
    ],
    ids=['region', 'support'],
)
def test_a_body_that_cannot_be_is_refused(tissue, match):
    mesh = organ_mesh(400)
    with pytest.raises(ConfigError, match=match):
        make_body(mesh, {}, {'back': back_of(mesh)}, replace(CONFIG, tissue=tissue))


def test_a_target_outside_is_refused(body):
    with pytest.raises(InputError, match='outside the mesh'):
        session_of(body, targets=np.array([[0.5, 0.0, 0.0]]))
