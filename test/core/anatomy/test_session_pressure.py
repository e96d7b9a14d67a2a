"""Pressure on a body that is cut: it turns with the faces, reaches the cut, and leaves the rest where statics say."""

from dataclasses import replace

import numpy as np
import pytest
from live_bodies import CONFIG, MS, TARGETS, organ_body, session_of
from scipy.optimize import minimize_scalar

from twin_nodes.core.anatomy.elastic.exact import solve
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.pressure import FollowedPressure
from twin_nodes.core.anatomy.session_config import TissueConfig
from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import rotation_exp

PASCAL = 1600.0  # of a pneumoperitoneum
SOFT = replace(CONFIG, tissue=TissueConfig())  # held by its surroundings alone


@pytest.fixture(scope='module')
def body():
    return organ_body(1500)


@pytest.fixture(scope='module')
def floating():
    return organ_body(1500, config=SOFT)


def settled(session, frames=40):
    for _ in range(frames):
        frame = session.step()
        if frame.solution.is_converged:
            break
    return frame


@pytest.mark.parametrize('is_open', [False, True])
def test_the_gradient_of_the_energy_is_the_force(body, is_open):
    rng, mesh = np.random.default_rng(1), body.model.mesh
    x = mesh.nodes + rng.normal(0.0, 0.002, mesh.nodes.shape)
    faces = mesh.outer_faces.astype(np.int64)
    faces = faces[mesh.nodes[faces].mean(axis=1)[:, 0] < 0.0] if is_open else faces
    pressure = Pressure(faces, np.full(len(faces), PASCAL))
    followed, gradient = FollowedPressure(pressure, x), np.zeros_like(x)
    followed.energy_gradient(x, gradient)
    assert bool(len(followed.rim)) is is_open
    np.testing.assert_allclose(gradient, -pressure.forces(x), atol=1e-12 * PASCAL)
    way, above, below = rng.normal(size=x.shape), np.zeros_like(x), np.zeros_like(x)
    change = followed.energy_gradient(x + 1e-6 * way, above) - followed.energy_gradient(x - 1e-6 * way, below)
    assert change == pytest.approx(2e-6 * np.vdot(gradient, way), rel=1e-6)
    # the stiffness that Newton's method is given is how that gradient changes
    blocks = np.zeros((len(body.model.pattern.indices), 3, 3))
    body.model.add_couplings(*followed.couplings(x), blocks)
    rows = np.repeat(np.arange(len(body.model.pattern.points)), np.diff(body.model.pattern.indptr))
    times = np.einsum('bij,bj->bi', blocks, way[body.model.free][body.model.pattern.indices])
    found = np.zeros((len(body.model.pattern.points), 3))
    np.add.at(found, rows, times)
    expected = (above - below)[body.model.free] / 2e-6
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_a_closed_surface_may_turn_and_move_for_nothing(body):
    mesh = body.model.mesh
    faces = mesh.outer_faces.astype(np.int64)
    followed = FollowedPressure(Pressure(faces, np.full(len(faces), PASCAL)), mesh.nodes)
    energy = followed.energy_gradient(mesh.nodes, np.zeros_like(mesh.nodes))
    assert energy == pytest.approx(PASCAL * mesh.volume)
    elsewhere = mesh.nodes @ rotation_exp(np.array([0.7, -1.1, 2.0])).T + [0.3, 0.1, -0.2]
    assert followed.energy_gradient(elsewhere, np.zeros_like(elsewhere)) == pytest.approx(energy)


def test_pressure_that_differs_from_face_to_face_has_a_rim_between_them(body):
    mesh = body.model.mesh
    faces = mesh.outer_faces.astype(np.int64)
    pascal = np.where(mesh.nodes[faces].mean(axis=1)[:, 0] < 0.0, PASCAL, 400.0)
    pressure, gradient = Pressure(faces, pascal), np.zeros_like(mesh.nodes)
    followed = FollowedPressure(pressure, mesh.nodes)
    followed.energy_gradient(mesh.nodes, gradient)
    assert 0 < len(followed.rim) < len(faces)
    np.testing.assert_allclose(gradient, -pressure.forces(mesh.nodes), atol=1e-12 * PASCAL)


def test_a_body_that_floats_is_pressed_to_the_size_that_its_law_says_and_does_not_turn_over(floating):
    session = session_of(floating, config=SOFT, replay=True)
    session.set_pressure(MS, PASCAL)
    frame = settled(session)
    model = floating.model
    middle, bare = model.rest.mean(axis=0), model.with_support(np.zeros(model.count))
    size = minimize_scalar(
        lambda s: bare.energy(middle + s * (model.rest - middle)) + PASCAL * model.mesh.volume * s**3,
        bounds=(0.5, 1.0), method='bounded', options={'xatol': 1e-9},
    ).x  # fmt: skip
    assert frame.solution.is_converged
    assert frame.solution.volume_change == pytest.approx(size**3 - 1.0, abs=2e-3)
    assert frame.solution.min_volume_ratio > size**3 - 0.02  # the same everywhere, but for the support
    session.close()


@pytest.mark.parametrize('held', [True, False])
@pytest.mark.parametrize('plane', [((1.0, 0.0, 0.0), -0.02), ((0.0, -1.0, 0.0), 0.01), ((1.0, 0.3, 0.2), 0.02)])
def test_what_is_left_under_pressure_lies_where_a_solution_from_scratch_says(body, floating, plane, held):
    chosen, config = (body, CONFIG) if held else (floating, SOFT)
    session = session_of(chosen, config=config, replay=True)
    session.set_pressure(MS, PASCAL)
    settled(session)
    assert session.resect(np.array(plane[0]), plane[1]) > 0.0
    frame = settled(session)
    session.close()
    left = session.left
    # from scratch: the same law, support and loads on a mesh of what is left alone
    faces = left.faces.astype(np.int64)
    used, tets = np.unique(chosen.model.tets[left.alive], return_inverse=True)
    number = np.full(chosen.model.count, -1)
    number[used] = np.arange(len(used))
    mesh = make_tet_mesh('rest', chosen.model.rest[used], tets.reshape(-1, 4), chosen.model.mesh.labels[left.alive])
    alone = ElasticModel(mesh, NeoHookean(3000.0, 0.45), support=chosen.model.support[used])
    scratch = solve(alone, Loads(pressure=Pressure(number[faces], np.full(len(faces), PASCAL))))
    assert scratch.is_converged and frame.solution.is_converged
    assert np.abs(scratch.positions - frame.solution.positions[used]).max() < 2e-4
    assert frame.solution.min_volume_ratio > 0.7 and np.abs(scratch.displacement).max() < 0.015


def test_pressure_after_the_cut_is_as_pressure_before_it(floating):
    where = []
    for early in (True, False):
        session = session_of(floating, config=SOFT, replay=True)
        session._resected = session.left.beyond(np.array([1.0, 0.0, 0.0]), -0.02, floating.model.rest).share
        for step in ('press', 'cut') if early else ('cut', 'press'):
            if step == 'press':
                session.set_pressure(MS, PASCAL)
            else:
                session._leave()
            settled(session)
        where.append(session.positions[np.unique(floating.model.tets[session.left.alive])])
        session.close()
    assert np.abs(where[0] - where[1]).max() < 5e-4  # two ways to the same rest


def test_a_drill_under_pressure_leaves_no_force_over(floating):
    session = session_of(floating, targets=TARGETS[1:], config=SOFT, replay=True)
    session.set_pressure(MS, PASCAL)
    rest = settled(session).solution.positions
    model = floating.model
    outer = model.mesh.outer_faces[0]
    hole = np.linalg.norm(model.rest[model.tets].mean(axis=1) - model.rest[outer].mean(axis=0), axis=1) < 0.02
    session.carve(np.where(hole, 0.0, 1.0))
    frame = settled(session)
    assert frame.solution.is_converged and (session.left.share == 0.0).sum() >= hole.sum() > 0
    assert np.linalg.norm(session._pressing().forces(session.positions).sum(axis=0)) < 1e-9
    near = np.unique(model.tets[session.left.alive])
    assert np.abs(frame.solution.positions - rest)[near].max() < 0.004
    session.close()


def test_a_fluid_on_a_region_reaches_a_cut_through_it_and_no_other(body):
    mesh = body.model.mesh
    middles = mesh.nodes[mesh.outer_faces].mean(axis=1)
    front = mesh.outer_faces[middles[:, 1] < -0.02].astype(np.int64)
    whole = Remaining(mesh)
    np.testing.assert_array_equal(np.sort(whole.wetted(front), axis=0), np.sort(front, axis=0))
    through = whole.beyond(np.array([0.0, -1.0, 0.0]), -0.03, mesh.nodes)  # the foremost part goes
    assert len(through.wetted(front)) > np.isin(front, np.unique(through.faces)).all(axis=1).sum()
    behind = whole.beyond(np.array([0.0, 1.0, 0.0]), -0.05, mesh.nodes)  # far from the region
    old = {tuple(sorted(face)) for face in mesh.outer_faces.tolist()}
    assert all(tuple(sorted(face)) in old for face in behind.wetted(front).tolist())
    centres = mesh.nodes[mesh.tets].mean(axis=1)
    inside = np.ones(len(mesh.tets))
    inside[np.argmin(np.linalg.norm(centres - mesh.nodes.mean(axis=0), axis=1))] = 0.0
    hollow = Remaining(mesh, inside)  # nothing but tissue about it: no fluid comes in
    assert len(hollow.faces) == len(mesh.outer_faces) + 4
    assert len(hollow.wetted(mesh.outer_faces)) == len(mesh.outer_faces)


def test_a_patch_under_pressure_converges_to_the_solution_from_scratch(body):
    model = body.model
    front = body.pressed[model.rest[body.pressed].mean(axis=1)[:, 1] < -0.03]
    loads = Loads(pressure=Pressure(front, np.full(len(front), 150.0)))
    with LiveSolver(model, LiveConfig(refactor_lag=4)) as live:
        for _ in range(10):
            found = live.update(loads)
    scratch = solve(model, loads)
    assert scratch.is_converged and found.is_converged
    assert np.abs(scratch.displacement).max() > 0.005 and np.abs(scratch.positions - found.positions).max() < 1e-4


def cubes(*places):
    """Return cubes of 1 cm as six tetrahedra each; corners that meet are one node."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    paths = [[0, 4, 6, 7], [0, 6, 2, 7], [0, 2, 3, 7], [0, 3, 1, 7], [0, 1, 5, 7], [0, 5, 4, 7]]
    points = np.concatenate([corners + place for place in places])
    nodes, which = np.unique(points, axis=0, return_inverse=True)
    tets = np.concatenate([which.ravel()[8 * cube + np.array(paths)] for cube in range(len(places))])
    return make_tet_mesh('cubes', 0.01 * nodes, tets)


def test_what_hangs_by_an_edge_goes_when_small_and_is_told_when_not():
    mesh = cubes([0, 0, 0], [1, 0, 0], [1, 1, 0])
    share = np.ones(18)
    share[6:12] = 0.0  # the cube between: the other two meet along an edge
    gone = Remaining(mesh, share, crumb=0.4)
    assert gone.crumbs.parts == 1 and gone.crumbs.volume == pytest.approx(1e-6) and not gone.loose.parts
    assert gone.alive.sum() == 6 and gone.volume == pytest.approx(2e-6)
    kept = Remaining(mesh, share, crumb=0.3)
    assert kept.loose.parts == 1 and kept.loose.volume == pytest.approx(1e-6) and kept.alive.sum() == 12
    corner = np.flatnonzero((mesh.nodes == [0.02, 0.02, 0.01]).all(axis=1))
    for held, left in ((corner, range(12, 18)), (np.flatnonzero(mesh.nodes[:, 0] == 0.0), range(6))):
        found = Remaining(mesh, share, held=held, crumb=0.4)  # what is held in place stays, the other is the crumb
        assert found.crumbs.parts == 1
        np.testing.assert_array_equal(np.flatnonzero(found.alive), left)


def test_the_outside_of_what_is_left_is_closed(body):
    left = Remaining(body.model.mesh).beyond(np.array([1.0, 0.4, -0.2]), 0.005, body.model.rest)
    edges = np.concatenate([left.faces[:, [0, 1]], left.faces[:, [1, 2]], left.faces[:, [2, 0]]]).tolist()
    turned = sorted((b, a) for a, b in edges)
    assert sorted((a, b) for a, b in edges) == turned
    a, b, c = (body.model.rest[left.faces[:, k]] for k in range(3))
    assert np.einsum('fi,fi->', a, np.cross(b, c)) / 6.0 == pytest.approx(body.model.volume[left.alive].sum())


def test_pressure_on_what_is_no_face_is_refused(body):
    far = np.array([[0, body.model.count // 2, body.model.count - 1]])
    with pytest.raises(InputError, match='no face of a tetrahedron') as caught:
        solve(body.model, Loads(pressure=Pressure(far, np.ones(1))))
    assert caught.value.code == 'LOADS_REFUSED'
