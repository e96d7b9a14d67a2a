"""The words and shapes of the page: units, signs beside colours, escaped text; geometry and framing."""

import numpy as np
import pytest

from twin_nodes.app.view import geometry
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.framing import FIELD_OF_VIEW, anatomy_corners, frame_scene
from twin_nodes.app.view.page import follow
from twin_nodes.app.view.panel import distance_text, duration, live_html, millimetres
from twin_nodes.app.view.records import Check, Clearance, Event, Level, Moment, StructureClearance, Surface
from twin_nodes.app.view.scene import closest_line
from twin_nodes.app.view.scene_anatomy import default_opacity, label_points
from twin_nodes.app.view.state import ViewState
from twin_nodes.app.view.style import LEVELS, ZONES, structure_colour
from twin_nodes.app.view.timeline import timeline_html
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, transform_points
from twin_nodes.core.guidance.zones import Zone

NOW = Moment(1_700_000_000_000_000_000, 7_000_000_000)


def row(index: int, distance: float, zone: Zone, *, at_shaft: bool = False) -> StructureClearance:
    return StructureClearance(index, np.array([0.01, 0.0, 0.0]), distance, 4e-4, 0.002, 1.5, zone, at_shaft)


def ball(index: int, name: str, centre, radius: float, opacity: float = 1.0) -> Surface:
    mesh = geometry.sphere(np.array(centre), radius)
    return Surface(index, name, mesh.vertices, mesh.faces, (0.9, 0.8, 0.7), opacity)


def picture_of(*rows: StructureClearance, fixed_T_anatomy=None, tip=(0.0, 0.0, 0.1)):
    state = ViewState(ViewConfig(tools=('drill',)))
    state.on_surfaces([ball(0, 'bone', (0, 0, 0), 0.05), ball(1, '<b>nerve</b>', (0.01, 0, 0), 0.002)])
    tip_pose = make_transform(np.eye(3), tip)
    poses = {
        'anatomy': np.eye(4) if fixed_T_anatomy is None else fixed_T_anatomy,
        'drill_tip': tip_pose,
        'patient': np.eye(4),
        'drill': tip_pose @ make_transform(np.eye(3), [0.0, 0.0, 0.15]),
    }
    state.on_poses({name: (pose, NOW.ros_ns) for name, pose in poses.items()}, 'world', '', NOW)
    state.on_clearance(Clearance(NOW.ros_ns, rows), NOW)
    state.on_checks([Check('guidance', 'chain', Level.ERROR, 'GUIDANCE_STALE', 'a < b & "c"')], NOW)
    state.on_event(Event(NOW.ros_ns - 2_000_000_000, Level.ERROR, 'STRUCTURE_BREACHED', '<script>alert(1)</script>'))
    return state.picture(NOW)


def test_a_distance_is_written_in_millimetres_with_its_sigma_and_zone_in_words():
    html = live_html(picture_of(row(0, 0.0031, Zone.CLEAR), row(1, -0.0004, Zone.INSIDE)))
    assert '3.1 mm ± 0.4' in html
    assert '−0.4 mm ± 0.4' in html
    assert '◆ INSIDE' in html and '● clear' in html
    assert 'breach 0.2 %' in html and 'contact in 1.5 s' in html


def test_words_from_messages_cannot_become_markup():
    picture = picture_of(row(0, 0.0031, Zone.CLEAR), row(1, 0.001, Zone.NEAR))
    for html in (live_html(picture), timeline_html(picture)):
        assert '<script>' not in html and '<b>nerve' not in html
    assert '&lt;b&gt;nerve&lt;/b&gt;' in live_html(picture)


def test_no_zone_or_level_is_told_by_colour_alone():
    for looks in (ZONES, LEVELS):
        assert len({look.sign for look in looks.values()}) == len(looks)
        assert len({look.word for look in looks.values()}) == len(looks)


@pytest.mark.parametrize(('metres', 'text'), [(0.0, '0.0'), (-1e-6, '0.0'), (-0.0012, '−1.2'), (0.31, '310.0')])
def test_millimetres(metres, text):
    assert millimetres(metres) == text


@pytest.mark.parametrize(('seconds', 'text'), [(0.012, '12 ms'), (0.9999, '1.0 s'), (3.44, '3.4 s'), (600, '10 min')])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_missing_distance_shows_its_reason():
    assert distance_text(picture_of().distances[0]) == 'not in the advice'


def test_generated_meshes_are_closed_and_of_their_size():
    rod = geometry.frustum(np.zeros(3), np.array([0.0, 0.03, 0.04]), 0.002, 0.002)
    assert volume(rod) == pytest.approx(np.pi * 0.002**2 * 0.05, rel=0.02)
    assert volume(geometry.sphere(np.ones(3), 0.01)) == pytest.approx(4 / 3 * np.pi * 1e-6, rel=0.04)
    assert volume(geometry.box(np.array([1.0, 2.0, 3.0]), np.ones(3))) == pytest.approx(6.0)
    shaft = geometry.tool_shaft(np.array([0.0, 0.0, 2.0]), 0.1, 0.0015, 0.002)
    assert shaft.vertices[:, 2].min() == pytest.approx(0.001) and shaft.vertices[:, 2].max() == pytest.approx(0.1)


def volume(mesh: geometry.Mesh) -> float:
    """Signed volume by the divergence theorem: right only for a closed mesh turned outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.einsum('ij,ij->', a, np.cross(b, c)) / 6.0)


@pytest.mark.parametrize('seed', range(8))
def test_the_first_camera_sees_all_of_the_anatomy_and_the_tip(seed):
    rng = np.random.default_rng(seed)
    up = np.eye(3)[seed % 3] * (-1.0 if seed % 2 else 1.0)
    picture = picture_of(fixed_T_anatomy=random_transform(rng), tip=rng.uniform(-0.3, 0.3, 3))
    framing = frame_scene(picture, up)
    assert framing is not None and framing.complete
    camera_T_fixed = inverse(geometry.look_at(framing.position, framing.look_at, up))
    seen = transform_points(camera_T_fixed, np.vstack([anatomy_corners(picture), picture.tools[0].fixed_T_tip[:3, 3]]))
    assert (seen[:, 2] > 0.0).all()
    assert (np.abs(seen[:, :2]).max(axis=1) <= seen[:, 2] * np.tan(FIELD_OF_VIEW / 2) * 1.001).all()
    assert (framing.position - framing.look_at) @ up > 0.0


def test_the_line_goes_from_the_tool_to_the_nearest_structure():
    shaft = np.array([0.0, 0.0, 0.1])
    fixed_T_anatomy = make_transform(np.eye(3), [0.0, 0.0, 0.2])
    rows = (row(0, 0.005, Zone.CLEAR), row(1, 0.002, Zone.NEAR))
    start, end, zone = closest_line(picture_of(*rows, fixed_T_anatomy=fixed_T_anatomy), shaft)
    np.testing.assert_allclose(start, [0.0, 0.0, 0.1])
    np.testing.assert_allclose(end, [0.01, 0.0, 0.2])
    assert zone is Zone.NEAR
    on_shaft = picture_of(
        row(0, 0.001, Zone.NEAR, at_shaft=True), fixed_T_anatomy=make_transform(np.eye(3), [0, 0, 0.15])
    )
    np.testing.assert_allclose(closest_line(on_shaft, shaft)[0], [0.0, 0.0, 0.15], atol=1e-12)
    assert closest_line(picture_of(), shaft) is None


def test_a_structure_around_another_starts_see_through():
    bone, nerve = ball(0, 'bone', (0, 0, 0), 0.05), ball(1, 'nerve', (0.01, 0, 0), 0.002)
    assert default_opacity(bone, (bone, nerve)) < 0.5
    assert default_opacity(nerve, (bone, nerve)) == 1.0
    assert default_opacity(ball(0, 'bone', (0, 0, 0), 0.05, 0.6), (bone, nerve)) == 0.6
    first, second = label_points((bone, nerve))
    assert np.linalg.norm(first - second) > 0.04


def test_zone_colours_are_the_same_for_every_structure_when_it_matters():
    for zone in (Zone.NEAR, Zone.INSIDE):
        assert structure_colour(zone, (1.0, 0.0, 0.0)) == structure_colour(zone, (0.0, 0.0, 1.0)) == ZONES[zone].colour
    assert structure_colour(Zone.CLEAR, (1.0, 0.0, 0.0)) != structure_colour(Zone.CLEAR, (0.0, 0.0, 1.0))


class FakeCamera:
    """As viser's: moving the position moves the target along."""

    def __init__(self) -> None:
        self.look_at = np.zeros(3)
        self._position = np.array([0.3, 0.0, 0.2])

    @property
    def position(self):
        return self._position

    @position.setter
    def position(self, value):
        self.look_at = self.look_at + value - self._position
        self._position = value


def test_a_following_camera_keeps_the_tip_in_the_middle_and_its_own_direction():
    camera = FakeCamera()
    for tip in np.random.default_rng(1).normal(0.0, 0.1, (20, 3)):
        follow(camera, tip)
        np.testing.assert_allclose(camera.look_at, tip, atol=1e-12)
        np.testing.assert_allclose(camera.position - camera.look_at, [0.3, 0.0, 0.2], atol=1e-12)
