"""Targets, routes, fixtures, ghosts and cuts: where they are drawn, and that nothing old is."""

import numpy as np
import pytest
from geometry_msgs.msg import Point, PoseStamped, WrenchStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.app.view import geometry, messages
from twin_nodes.app.view.clip import ClipPlane, cut
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.overlays import OverlayState, ellipsoid
from twin_nodes.app.view.page import ViserView
from twin_nodes.app.view.records import Check, Level, Moment, Region, Regions, Route, Surface, Target
from twin_nodes.app.view.scene_overlays import REACH_95
from twin_nodes.app.view.state import ViewState
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, random_transform
from twin_nodes.ros.anatomy_clouds import targets_cloud
from twin_nodes.ros.conversions import ns_to_stamp

STAMP = 1_700_000_000 * 10**9
NOW = Moment(STAMP, 10**10)
COVARIANCE = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]]) * 1e-6


def later(seconds: float) -> Moment:
    return Moment(NOW.ros_ns + round(seconds * 1e9), NOW.steady_ns + round(seconds * 1e9))


def test_the_ellipsoid_holds_95_percent():
    rng = np.random.default_rng(3)
    rotation, axes = ellipsoid(COVARIANCE, REACH_95)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    points = rng.multivariate_normal(np.zeros(3), COVARIANCE, 20_000) @ rotation / axes
    inside = np.mean(np.linalg.norm(points, axis=1) < 1.0)
    assert inside == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 20_000))


def test_targets_are_read_with_their_names_and_turn_with_their_frame():
    message = targets_cloud(STAMP, 'anatomy', np.array([[0.01, 0.02, 0.03]]), COVARIANCE[None])
    names = messages.target_names(
        Check('anatomy', 'targets', Level.OK, 'OK', '', {'0': 'lesion', 'lesion_sigma_mm': '2'})
    )
    (target,) = messages.targets_of(message, names)
    assert target.name == 'lesion' and messages.targets_of(message, {})[0].name == 'target 0'
    np.testing.assert_allclose(target.covariance, COVARIANCE, rtol=1e-6)
    state = OverlayState(500_000_000)
    state.on_targets('anatomy', [target])
    fixed_T_anatomy = random_transform(np.random.default_rng(1))
    (shown,) = state.picture({'anatomy': fixed_T_anatomy}, {}, NOW).targets
    turned = fixed_T_anatomy[:3, :3]
    np.testing.assert_allclose(shown.covariance, turned @ target.covariance @ turned.T, atol=1e-15)
    assert shown.sigma == pytest.approx(np.sqrt(8e-6))
    assert state.picture({}, {}, NOW).targets == (), 'no frame, no place'


def test_targets_of_the_registration_are_read_by_their_other_names():
    check = Check(
        'registration', 'state', Level.OK, 'OK', '', {'tre lesion mm': '1', 'tre duct mm': '2', 'fre_mm': '0'}
    )
    assert messages.target_names(check) == {0: 'lesion', 1: 'duct'}


def test_names_that_are_told_later_are_taken():
    state = OverlayState(500_000_000)
    message = targets_cloud(STAMP, 'anatomy', np.zeros((2, 3)), np.stack([COVARIANCE, COVARIANCE]))
    state.on_targets('anatomy', messages.targets_of(message, {}))
    state.rename('anatomy', {1: 'cyst'})
    state.rename('registration', {0: 'nobody'})
    assert [target.name for target in state.picture({'anatomy': np.eye(4)}, {}, NOW).targets] == ['target 0', 'cyst']


def test_targets_without_covariance_or_with_nan_are_refused():
    message = targets_cloud(STAMP, 'anatomy', np.array([[0.01, np.nan, 0.03]]), COVARIANCE[None])
    with pytest.raises(InputError, match='NaN'):
        messages.targets_of(message, {})
    message.fields = [field for field in message.fields if field.name != 'cxz']
    with pytest.raises(InputError, match='covariance'):
        messages.targets_of(message, {})


def predicted(ahead: float) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = 'anatomy'
    message.header.stamp = ns_to_stamp(STAMP + round(ahead * 1e9))
    message.pose.orientation.w, message.pose.position.x = 1.0, 0.01
    return message


def test_a_ghost_says_how_far_ahead_it_is_and_goes_when_it_is_old():
    state = OverlayState(500_000_000)
    state.on_prediction('drill', *messages.pose_of(predicted(0.12)), NOW)
    poses, tips = {'anatomy': make_transform(np.eye(3), [0.0, 0.1, 0.0])}, {'drill': (np.eye(4), 0.02)}
    (ghost,) = state.picture(poses, tips, NOW).ghosts
    np.testing.assert_allclose(ghost.fixed_T_tip[:3, 3], [0.01, 0.1, 0.0])
    assert ghost.ahead_s == pytest.approx(0.14), 'from the pose that is shown, which is 20 ms old'
    assert state.picture(poses, tips, later(0.6)).ghosts == ()
    assert state.picture(poses, {'drill': (None, 0.02)}, NOW).ghosts == (), 'a lost tool has no future'


def test_a_force_is_drawn_at_the_tip_in_the_axes_of_the_page_and_goes_when_it_is_old():
    message = WrenchStamped()
    message.header.frame_id, message.wrench.force.x = 'anatomy', 1.5
    state = OverlayState(500_000_000)
    state.on_fixture(*messages.force_of(message), NOW)
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    poses, tip = {'anatomy': make_transform(turn, np.zeros(3))}, make_transform(np.eye(3), [0.0, 0.0, 0.2])
    fixture = state.picture(poses, {'drill': (tip, 0.0)}, NOW).fixture
    np.testing.assert_allclose(fixture.force, [0.0, 1.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(fixture.point, [0.0, 0.0, 0.2])
    assert state.picture(poses, {'drill': (None, None)}, NOW).fixture is None, 'a lost tool feels nothing here'
    assert state.picture(poses, {'drill': (tip, 0.0)}, later(0.6)).fixture is None
    message.wrench.force.y = float('inf')
    with pytest.raises(InputError, match='Inf'):
        messages.force_of(message)


def test_routes_are_read_with_the_chosen_one():
    def marker(index, kind, text='', count=0):
        result = Marker(ns='route', id=index, type=kind, text=text)
        result.header.frame_id = 'anatomy'
        result.points = [Point(x=0.001 * step) for step in range(count)]
        return result

    data = [Marker(action=Marker.DELETEALL), marker(0, 4, count=5), marker(0, 9, 'route 1: 4 mm')]
    data += [marker(1, 4, count=3), marker(1, 9, 'route 2 (chosen): 5 mm')]
    first, second = messages.routes_of(serialize_message(MarkerArray(markers=data)))
    assert (first.chosen, second.chosen) == (False, True)
    assert len(first.points) == 5 and first.frame == 'anatomy'


def test_the_page_draws_what_comes_and_removes_what_goes():
    config = ViewConfig(tools=('drill',), port=0)
    view, state = ViserView(config), ViewState(config)
    try:
        poses = {name: (np.eye(4), STAMP) for name in ('anatomy', 'patient', 'drill', 'drill_tip')}
        state.overlays.on_targets('anatomy', [Target('lesion', 'anatomy', np.zeros(3), COVARIANCE)])
        state.overlays.on_routes([Route('anatomy', np.eye(3), 'route 1 (chosen)', True)])
        state.overlays.on_prediction('drill', 'anatomy', np.eye(4), STAMP + 10**8, NOW)
        state.overlays.on_fixture('anatomy', np.array([0.0, 0.0, 2.0]), NOW)
        state.on_poses(poses, 'world', '', NOW)
        view.render(state.picture(NOW))
        nodes = view._scene._overlays._nodes
        assert set(nodes) == {'/targets/0', '/routes/0', '/ghosts/drill', '/fixture/force'}
        assert nodes['/targets/0']['label'].handle.text == '◎ lesion ± 2.8 mm'
        assert nodes['/ghosts/drill']['label'].handle.text == '◌ drill in 100 ms'
        assert view._scene._tools['drill']._label.handle.text == 'drill · fixture 2.0 N'
        assert 'lesion' in view._errors.content
        state.overlays.on_targets('anatomy', [])
        state.overlays.on_routes([])
        view.render(state.picture(later(1.0)))
        assert set(nodes) == set()
    finally:
        view.stop()


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum('ij,ij->i', a, np.cross(b, c)).sum() / 6.0)


@given(axis=st.integers(0, 2), share=st.floats(-0.95, 0.95), sign=st.sampled_from([-1, 1]))
@settings(max_examples=60, deadline=None)
def test_both_sides_of_a_cut_make_the_whole(axis, share, sign):
    ball = geometry.sphere(np.array([0.01, -0.02, 0.03]), 0.02)
    plane = ClipPlane(axis, [0.01, -0.02, 0.03][axis] + 0.02 * share + 1e-7, sign)
    other = ClipPlane(axis, plane.offset, -sign)
    pieces = [cut(ball.vertices, ball.faces, one) for one in (plane, other)]
    for (vertices, faces, rim), one in zip(pieces, (plane, other), strict=True):
        assert (one.depth(vertices[np.unique(faces)]) < 1e-12).all()
        np.testing.assert_allclose(rim[..., axis], one.offset, atol=1e-12)
    corners = [vertices[faces] for vertices, faces, _ in pieces]
    areas = [np.linalg.norm(np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]), axis=1).sum() / 2 for c in corners]
    whole = ball.vertices[ball.faces]
    area = np.linalg.norm(np.cross(whole[:, 1] - whole[:, 0], whole[:, 2] - whole[:, 0]), axis=1).sum() / 2
    assert sum(areas) == pytest.approx(area, rel=1e-9)
    turned = [volume(vertices, faces) for vertices, faces, _ in pieces]
    assert sum(turned) == pytest.approx(volume(ball.vertices, ball.faces), rel=1e-9), 'faces keep their sides'


def test_a_cut_beside_the_body_keeps_all_or_nothing():
    ball = geometry.sphere(np.zeros(3), 0.02)
    vertices, faces, rim = cut(ball.vertices, ball.faces, ClipPlane(0, 0.5))
    assert len(faces) == len(ball.faces) and not len(rim) and len(vertices) == len(ball.vertices)
    assert len(cut(ball.vertices, ball.faces, ClipPlane(0, 0.5, -1))[1]) == 0


def test_a_cut_on_the_page_follows_the_tip_and_is_taken_back():
    config = ViewConfig(tools=('drill',), port=0)
    view, state = ViserView(config), ViewState(config)
    ball = geometry.sphere(np.zeros(3), 0.02)
    state.on_surfaces([Surface(0, 'nerve', ball.vertices, ball.faces, (1.0, 1.0, 0.0), 1.0)])

    def draw(step: int, x: float) -> None:
        now = later(step)
        tip = make_transform(np.eye(3), [x, 0.0, 0.0])
        poses = {'anatomy': np.eye(4), 'patient': np.eye(4), 'drill': tip, 'drill_tip': tip}
        state.on_poses({name: (pose, now.ros_ns) for name, pose in poses.items()}, 'world', '', now)
        view.render(state.picture(now))

    try:
        draw(0, 0.0)
        handle = view._scene.anatomy._meshes[0].handle
        axis, at, _flip, through_tip = view._structures._cut.controls
        axis.value = 'left – right'
        draw(1, 0.0)
        assert at.value == pytest.approx(0.0, abs=0.11)
        assert handle.vertices[handle.faces][..., 0].max() < 1.1e-4
        through_tip.value = True
        draw(2, 0.008)
        assert handle.vertices[handle.faces][..., 0].max() == pytest.approx(0.008, abs=1e-6)
        axis.value = 'off'
        draw(3, 0.008)
        assert len(handle.faces) == len(ball.faces) and len(handle.vertices) == len(ball.vertices)
        assert not view._scene.anatomy._rims[0].handle.visible
    finally:
        view.stop()


def draw_regions(view, state, step: float, *surfaces: Surface) -> None:
    now = later(step)
    poses = {'anatomy': make_transform(np.eye(3), [0.0, 0.1, 0.0]), 'patient': np.eye(4), 'drill': np.eye(4)}
    if surfaces:
        state.on_surfaces(surfaces)
    state.on_poses({name: (pose, now.ros_ns) for name, pose in poses.items()}, 'world', '', now)
    view.render(state.picture(now))


def test_forbidden_regions_are_drawn_switched_and_follow_what_deforms():
    config = ViewConfig(tools=('drill',), port=0)
    view, state = ViserView(config), ViewState(config)
    ball = geometry.sphere(np.zeros(3), 0.02)
    nerve = Surface(3, 'nerve', ball.vertices, ball.faces, (1.0, 1.0, 0.0), 1.0)
    other = Surface(4, 'bone', ball.vertices, ball.faces, (1.0, 1.0, 0.0), 1.0)
    plane = Region('plane 0', 'anatomy', np.array([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0]]))
    try:
        draw_regions(view, state, 0.0, nerve, other)
        scene = view._scene.regions
        assert view._regions._shown is None, 'no switch where nothing is forbidden'
        state.overlays.on_regions(Regions((plane,), {3: 0.0035}))
        draw_regions(view, state, 1.0)
        (node,) = [node for _, node in scene._shapes]
        assert node.handle.visible
        np.testing.assert_allclose(node.handle.position, [0.0, 0.1, 0.0])
        assert list(scene._hulls) == [3] and scene._hulls[3].handle.visible
        assert np.linalg.norm(scene._hulls[3].handle.vertices, axis=1) == pytest.approx(0.0235, abs=2e-4)
        moved = Surface(3, 'nerve', ball.vertices + np.array([0.01, 0.0, 0.0]), ball.faces, (1.0, 1.0, 0.0), 1.0)
        draw_regions(view, state, 1.2, moved, other)
        assert scene._hulls[3].handle.vertices.mean(axis=0)[0] == pytest.approx(0.0, abs=1e-6), 'twice a second at most'
        draw_regions(view, state, 1.6)
        assert scene._hulls[3].handle.vertices.mean(axis=0)[0] == pytest.approx(0.01, abs=1e-6)
        view._regions._shown.value = False
        draw_regions(view, state, 2.2)
        assert not node.handle.visible and not scene._hulls[3].handle.visible
        view._regions._shown.value = True
        draw_regions(view, state, 2.8)
        assert node.handle.visible and scene._hulls[3].handle.visible
        state.overlays.on_regions(Regions())
        draw_regions(view, state, 3.4)
        assert not scene._shapes and not scene._hulls
    finally:
        view.stop()


@pytest.mark.parametrize('inside_out', [False, True])
def test_a_structure_is_drawn_at_least_as_far_out_as_its_region_reaches(inside_out):
    for mesh in (geometry.sphere(np.zeros(3), 0.02), geometry.box(np.full(3, 0.02), np.zeros(3))):
        faces = mesh.faces[:, ::-1] if inside_out else mesh.faces
        hull = geometry.inflated(geometry.Mesh(mesh.vertices, faces), 0.003)
        triangles, before = hull.vertices[mesh.faces], mesh.vertices[mesh.faces]
        normals = np.cross(before[:, 1] - before[:, 0], before[:, 2] - before[:, 0])
        kept = np.linalg.norm(normals, axis=1) > 1e-12
        normals = normals[kept] / np.linalg.norm(normals[kept], axis=1, keepdims=True)
        outwards = normals * np.sign(np.einsum('ij,ij->i', normals, before[kept].mean(axis=1)))[:, None]
        out = np.einsum('ij,ij->i', outwards, (triangles - before)[kept].mean(axis=1))
        assert out.min() > 0.003 - 1e-9 and out.max() < 0.0062


def test_the_outline_of_a_cone_is_its_rim():
    angle = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle), np.ones(12)], axis=1)
    side = np.stack([np.zeros((12, 3)), rim, np.roll(rim, -1, axis=0)], axis=1).reshape(-1, 3)
    edges = geometry.outline(side)
    assert len(edges) == 12 and (edges[..., 2] == 1.0).all()
