"""Both sites side by side: the twin's robot and the one that was seen, with the time and the way between."""

import dataclasses

import numpy as np
import pytest

from twin_nodes.app.view import geometry
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.framing import FIELD_OF_VIEW, frame_scene, site_offsets, up_axis
from twin_nodes.app.view.page import ViserView
from twin_nodes.app.view.panel import live_html
from twin_nodes.app.view.records import Check, Level, Moment, Region, Regions, Surface
from twin_nodes.app.view.scene_sites import seen_text
from twin_nodes.app.view.sites import MEASURED, PREDICTED
from twin_nodes.app.view.state import ViewState
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, transform_points

CONFIG = ViewConfig(
    tools=('PSM1',), port=0, tracker_frame='world', tracking=False, sites=('leader', 'follower'), site_gap=0.3
)
START = 1_700_000_000 * 10**9
DELAY_NS = 350_000_000


def at(seconds: float) -> Moment:
    return Moment(START + round(seconds * 1e9), 10**10 + round(seconds * 1e9))


def tip(x: float) -> np.ndarray:
    return make_transform(np.eye(3), [x, 0.02, 0.1])


def played(seconds: float = 1.0, *, until: float = 1.0) -> ViewState:
    """The arm moves at 20 mm/s; the surgeon sees it DELAY_NS late, his twin has it without delay."""
    state = ViewState(CONFIG)
    state.on_poses({'anatomy': (np.eye(4), START)}, 'world', '', at(0.0))
    ball = geometry.sphere(np.zeros(3), 0.02)
    for name in CONFIG.sites:
        state.on_site_surfaces(name, (Surface(0, 'tissue', ball.vertices, ball.faces, (0.6, 0.3, 0.3), 1.0),))
        state.sites[name].on_anatomy('world', tip(0.0), at(0.0).ros_ns, at(0.0))
    for tick in range(round(min(seconds, until) * 50) + 1):
        t, now = tick / 50, at(tick / 50)
        state.sites['follower'].on_pose('PSM1', MEASURED, 'world', tip(0.02 * t), now.ros_ns, now)
        state.sites['leader'].on_pose('PSM1', PREDICTED, 'world', tip(0.02 * t), now.ros_ns, now)
        if t * 1e9 >= DELAY_NS:
            seen = tip(0.02 * (t - DELAY_NS * 1e-9))
            state.sites['leader'].on_pose('PSM1', MEASURED, 'world', seen, now.ros_ns - DELAY_NS, now)
    return state


def test_the_delay_and_the_way_behind_are_those_of_the_motion():
    leader, follower = played().picture(at(1.0)).sites
    (arm,) = leader.tools
    assert arm.is_twin and arm.live and arm.seen_live
    assert arm.delay_s == pytest.approx(0.35) and arm.gap == pytest.approx(0.02 * 0.35)
    assert seen_text(arm) == '◌ seen 350 ms ago, 7.0 mm behind'
    (arm,) = follower.tools
    assert not arm.is_twin and arm.fixed_T_seen is None and arm.gap is None and arm.delay_s == pytest.approx(0.0)


def test_the_rooms_stand_beside_each_other_the_first_on_the_left_and_both_in_sight():
    picture = played().picture(at(1.0))
    leader, follower = picture.sites
    np.testing.assert_allclose(np.linalg.norm(leader.fixed_T_site[:3, 3] - follower.fixed_T_site[:3, 3]), 0.3)
    framing = frame_scene(picture, up_axis(CONFIG.up))
    camera = geometry.look_at(framing.position, framing.look_at, up_axis(CONFIG.up))
    tips = np.array([site.tools[0].fixed_T_tip[:3, 3] for site in picture.sites])
    seen = transform_points(inverse(camera), tips)
    assert seen[0, 0] < seen[1, 0], 'x points right in the picture'
    assert (np.abs(seen[:, :2]) < seen[:, 2:] * np.tan(0.5 * FIELD_OF_VIEW)).all()
    assert [len(site_offsets(count, 0.2, up_axis('-y'))) for count in (0, 1, 2)] == [0, 1, 2]


def test_a_cut_link_turns_what_is_seen_grey_while_the_twin_goes_on():
    state = played()
    for tick in range(51, 151):
        now = at(tick / 50)
        state.sites['leader'].on_pose('PSM1', PREDICTED, 'world', tip(0.02 * tick / 50), now.ros_ns, now)
    arm = state.picture(at(3.0)).sites[0].tools[0]
    assert arm.live and not arm.seen_live and arm.delay_s == pytest.approx(2.35)
    assert seen_text(arm).startswith('✕ seen 2.4 s ago') or seen_text(arm).startswith('✕ seen 2.3 s ago')
    html = live_html(state.picture(at(3.0)))
    assert 'Site leader' in html and '✕ twin' in html
    assert 'Distance to structures' not in html


def test_the_page_draws_both_sites_and_a_mode_cannot_become_markup():
    state = played()
    state.sites['leader'].on_mode('PSM1', '<b>live</b>')
    state.sites['leader'].on_link('link connected, delay 175 ms')
    view = ViserView(CONFIG)
    try:
        picture = state.picture(at(1.0))
        view.render(picture)
        nodes = view._scene.sites._sites['leader']._tools['PSM1']
        assert nodes['seen'].handle.visible and nodes['solid'].handle.visible
        assert '7.0 mm behind' in nodes['seen_label'].handle.text
        assert not view._scene.sites._sites['follower']._tools['PSM1']['seen'].handle.visible
        assert '&lt;b&gt;live' in view._live.content
    finally:
        view.stop()


def test_what_is_forbidden_is_drawn_at_the_site_where_it_is_told():
    state, view = played(), ViserView(CONFIG)
    plane = Region('plane 0', 'anatomy', np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.0, 0.01, 0.0]]))
    try:
        view.render(state.picture(at(1.0)))
        assert view._regions._shown is None, 'no switch where nothing is forbidden'
        state.sites['follower'].on_regions('compensation', Regions((), {0: 0.003}))
        state.sites['follower'].on_regions('guidance', Regions((plane,), {0: 0.002}))
        picture = state.picture(at(2.0))
        view.render(picture)
        leader, follower = (view._scene.sites._sites[name].regions for name in CONFIG.sites)
        assert not leader._hulls and not leader._shapes
        hull, ((_, shape),) = follower._hulls[0].handle, follower._shapes
        assert np.linalg.norm(hull.vertices, axis=1) == pytest.approx(0.023, abs=2e-4), 'the wider of the two'
        there = picture.sites[1].fixed_T_anatomy[:3, 3]
        for handle in (hull, shape.handle):
            assert handle.visible and handle.position == pytest.approx(there)
        view._regions._shown.value = False
        view.render(state.picture(at(3.0)))
        assert not hull.visible and not shape.handle.visible
    finally:
        view.stop()


def test_checks_of_the_two_sites_are_kept_apart():
    state = ViewState(CONFIG)
    for namespace, level, code in (('leader', Level.OK, 'OK'), ('follower', Level.ERROR, 'LINK_OUTAGE')):
        state.on_checks([Check('wan_bridge', 'link', level, code, 'told', namespace=namespace)], at(0.0))
    state.on_checks([Check('wan_bridge', 'link', Level.OK, 'OK', 'told', namespace='leader')], at(0.1))
    (line,) = [line for line in state.picture(at(0.2)).subsystems if line.name == 'link']
    assert line.code == 'LINK_OUTAGE' and 'follower' in line.text


def test_a_site_twice_is_refused():
    with pytest.raises(ConfigError, match='sites'):
        dataclasses.replace(CONFIG, sites=('a', 'a'))
