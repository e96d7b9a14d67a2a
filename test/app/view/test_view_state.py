"""The state behind the view: what is shown as live, what as lost, and that nothing old passes for new."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.records import Check, Clearance, Event, Level, Link, Moment, StructureClearance, Surface
from twin_nodes.app.view.state import ViewState
from twin_nodes.app.view.subsystems import SUBSYSTEMS
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.covariance import point_covariance
from twin_nodes.core.geometry.se3 import exp, inverse, make_transform
from twin_nodes.core.guidance.zones import Zone

START_NS = 1_700_000_000_000_000_000
CONFIG = ViewConfig(tools=('drill', 'probe'), trail_points=50, alarm_count=5)
TRIANGLE = (np.eye(3) * 0.01, np.array([[0, 1, 2]], np.uint32))


def at(seconds: float) -> Moment:
    return Moment(START_NS + round(seconds * 1e9), 5_000_000_000 + round(seconds * 1e9))


def pose(x: float = 0.0) -> np.ndarray:
    return make_transform(np.eye(3), [x, 0.0, 0.0])


def move(state: ViewState, seconds: float, x: float = 0.0, **others) -> None:
    stamp = at(seconds).ros_ns
    frames = {'drill': pose(x), 'drill_tip': pose(x + 0.1), 'patient': pose(), **others}
    state.on_poses({name: (matrix, stamp) for name, matrix in frames.items()}, 'world', '', at(seconds))


def clearance(seconds: float, distance: float = 0.0031, zone: Zone = Zone.CLEAR) -> Clearance:
    row = StructureClearance(0, np.zeros(3), distance, 0.0004, 0.002, -1.0, zone, False)
    return Clearance(at(seconds).ros_ns, (row,))


def lost(code: str = 'TOOL_LOST', level: Level = Level.ERROR) -> Check:
    return Check('tracker', 'tool drill', level, code, 'marker 2 is hidden', stamp_ns=START_NS)


@pytest.fixture
def state() -> ViewState:
    state = ViewState(CONFIG)
    state.on_surfaces([Surface(0, 'nerve', *TRIANGLE, (1.0, 1.0, 0.0), 1.0)])
    return state


def test_shows_a_moving_tool_as_live_with_rate_age_and_sigma(state):
    covariance = np.diag([1e-8, 4e-8, 4e-8, 1e-6, 1e-6, 1e-6])
    for i in range(60):
        move(state, i / 60.0, i * 1e-3)
        state.on_tool_sample('drill', 'tracker', pose(), covariance, at(i / 60.0).ros_ns)
    drill, probe = state.picture(at(59 / 60.0 + 0.02)).tools
    assert drill.live and drill.reason == ''
    assert drill.rate_hz == pytest.approx(60.0, rel=1e-6)
    assert drill.age_s == pytest.approx(0.02)
    assert drill.sigma == pytest.approx(3e-4)
    assert not probe.live and probe.reason == 'not seen yet' and probe.fixed_T_tool is None


@pytest.mark.parametrize('code', ['TOOL_LOST', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'SOURCE_FINISHED'])
def test_a_lost_tool_is_grey_at_once_with_its_reason_and_takes_the_distances_with_it(state, code):
    move(state, 0.0)
    state.on_clearance(clearance(0.0), at(0.0))
    assert state.picture(at(0.01)).distances[0].row is not None
    state.on_checks([lost(code, Level.WARN)], at(0.02))
    picture = state.picture(at(0.02))
    assert not picture.tools[0].live
    assert picture.tools[0].reason == f'marker 2 is hidden ({code})'
    assert picture.distances[0].zone is Zone.WITHDRAWN and picture.distances[0].row is None
    assert picture.distances[0].reason == 'drill is lost'
    assert any(event.code == code for event in picture.events)


def test_a_tool_that_is_seen_again_lives_again(state):
    move(state, 0.0)
    state.on_checks([lost()], at(0.0))
    state.on_checks([Check('tracker', 'tool drill', Level.OK, 'OK', 'tracked', stamp_ns=START_NS)], at(0.1))
    move(state, 0.1)
    assert state.picture(at(0.1)).tools[0].live


def test_a_warning_that_is_no_loss_is_shown_but_keeps_the_tool_live(state):
    move(state, 0.0)
    state.on_checks([lost('CLOCK_UNSETTLED', Level.WARN)], at(0.0))
    tool = state.picture(at(0.0)).tools[0]
    assert tool.live and tool.reason == 'marker 2 is hidden'


def test_a_tool_that_falls_silent_turns_grey_after_half_a_second(state):
    move(state, 0.0)
    assert state.picture(at(0.49)).tools[0].live
    tool = state.picture(at(0.8)).tools[0]
    assert not tool.live and tool.reason == 'no new pose for 0.8 s'


def test_the_same_stamp_again_is_no_sign_of_life(state):
    stamp = at(0.0).ros_ns
    for i in range(40):
        state.on_poses({'drill': (pose(), stamp)}, 'world', '', Moment(stamp, at(i / 30.0).steady_ns))
    assert not state.picture(Moment(stamp, at(39 / 30.0).steady_ns)).tools[0].live


def test_a_stamp_from_the_future_is_not_live_and_does_not_extend_the_time_out(state):
    state.on_poses({'drill': (pose(), at(60.0).ros_ns)}, 'world', '', at(0.0))
    assert 'ahead of the clock' in state.picture(at(0.0)).tools[0].reason


def test_distances_fall_silent_with_the_guidance(state):
    state.on_clearance(clearance(0.0), at(0.0))
    move(state, 0.9)
    row = state.picture(at(0.9)).distances[0]
    assert row.zone is Zone.WITHDRAWN and row.reason == 'no advice for 0.9 s'


def test_an_older_clearance_does_not_replace_a_newer_one(state):
    move(state, 0.1)
    state.on_clearance(clearance(0.1, 0.001, Zone.NEAR), at(0.1))
    state.on_clearance(clearance(0.0, 0.009), at(0.1))
    assert state.picture(at(0.1)).distances[0].zone is Zone.NEAR


def test_a_withdrawn_zone_shows_no_number(state):
    move(state, 0.0)
    state.on_clearance(clearance(0.0, 0.001, Zone.WITHDRAWN), at(0.0))
    assert state.picture(at(0.0)).distances[0].row is None


def test_memory_is_bounded_over_a_long_run(state):
    for i in range(3000):
        move(state, i / 30.0, i * 1e-3)
        state.on_event(Event(at(i).ros_ns, Level.WARN, 'STRUCTURE_NEAR', f'event {i}'))
        state.on_tool_sample('drill', 'tracker', pose(), np.eye(6) * 1e-8, at(i / 30.0).ros_ns)
        state.on_checks([Check('tracker', f'check {i}', Level.OK, 'OK', '')], at(i / 30.0))
    picture = state.picture(at(100.0))
    assert len(picture.trail) == CONFIG.trail_points
    assert len(picture.events) == CONFIG.alarm_count
    assert picture.events[0].text == 'event 2999'
    assert len(picture.links) == 1


def test_the_trail_stays_on_the_patient_when_the_patient_moves(state):
    for i in range(20):
        breath = make_transform(np.eye(3), [0.0, 0.01 * np.sin(i), 0.0])
        tip = breath @ pose(0.1 + 1e-3 * i)
        state.on_poses(
            {name: (matrix, at(i / 30.0).ros_ns) for name, matrix in
             {'patient': breath, 'drill': breath, 'drill_tip': tip}.items()},
            'world', '', at(i / 30.0),
        )  # fmt: skip
    picture = state.picture(at(0.7))
    assert picture.trail_frame == 'patient'
    np.testing.assert_allclose(picture.trail[:, 0], 0.1 + 1e-3 * np.arange(20), atol=1e-12)
    np.testing.assert_allclose(picture.trail[:, 1:], 0.0, atol=1e-12)


def test_an_event_delivered_twice_is_listed_once(state):
    event = Event(START_NS, Level.ERROR, 'STRUCTURE_BREACHED', 'nerve')
    state.on_event(event)
    state.on_event(event)
    assert len(state.picture(at(1.0)).events) == 1


def test_a_jump_back_of_the_clock_clears_motion_and_says_so(state):
    move(state, 10.0, 0.0)
    move(state, 10.1, 0.1)
    state.on_clearance(clearance(10.1), at(10.1))
    back = Moment(at(1.0).ros_ns, at(10.2).steady_ns)
    state.on_poses({}, 'world', '', back)
    picture = state.picture(back)
    assert len(picture.trail) == 0
    assert picture.distances[0].reason == 'no advice yet'
    assert picture.events[0].code == 'CLOCK_JUMP'
    assert picture.tools[0].reason == 'not seen yet'


def test_each_subsystem_has_a_line_from_the_start(state):
    lines = state.picture(at(0.0)).subsystems
    assert [line.name for line in lines] == list(SUBSYSTEMS)
    assert all(line.level is Level.STALE and 'nothing heard' in line.text for line in lines)


def test_a_subsystem_shows_its_worst_check_and_turns_silent(state):
    checks = [
        Check('registration', 'state', Level.OK, 'OK', 'registered'),
        Check('registration', 'residuals', Level.WARN, 'REGISTRATION_POOR', 'FRE 2.1 mm, above 1.0 mm'),
    ]
    state.on_checks(checks, at(0.0))
    line = state.picture(at(1.0)).subsystems[2]
    assert (line.level, line.code) == (Level.WARN, 'REGISTRATION_POOR')
    assert 'FRE 2.1 mm' in line.text
    assert state.picture(at(5.0)).subsystems[2].text == 'its node is silent for 5 s'


def test_a_link_says_what_its_error_does_to_the_tip(state):
    rng = np.random.default_rng(4)
    world_T_tracker, tracker_T_drill, drill_T_tip = (exp(rng.normal(0.0, 0.3, 6)) for _ in range(3))
    world_T_drill = world_T_tracker @ tracker_T_drill
    move(state, 0.0, tracker=world_T_tracker, drill=world_T_drill, drill_tip=world_T_drill @ drill_T_tip)
    covariance = np.diag([1e-8] * 3 + [4e-6] * 3)
    state.on_link(Link('tracker', 'drill', covariance, START_NS), tracker_T_drill)
    link = state.picture(at(0.0)).links[0]
    expected = point_covariance(tracker_T_drill, covariance, drill_T_tip[:3, 3])
    assert link.sigma_position == pytest.approx(np.sqrt(np.trace(expected)), rel=1e-9)
    draws = rng.multivariate_normal(np.zeros(6), covariance, 4000)
    tips = np.array(
        [(exp([0, 0, 0, *d[3:]])[:3, :3] @ tracker_T_drill[:3, :3] @ drill_T_tip[:3, 3]) + d[:3] for d in draws]
    )
    spread = np.sqrt(tips.var(axis=0).sum())
    assert link.sigma_position == pytest.approx(spread, rel=0.05)  # 4000 draws: 1 σ of the spread is 1.1 %


def test_the_fixed_frame_itself_stands_at_the_origin_only_when_poses_are_known():
    state = ViewState(ViewConfig(tools=('drill',), fixed_frame='tracker'))
    state.on_poses({}, 'tracker', '', at(0.0))
    assert state.picture(at(0.0)).fixed_T_tracker is None
    state.on_poses({'drill': (inverse(pose(0.1)), START_NS)}, 'tracker', '', at(0.0))
    np.testing.assert_array_equal(state.picture(at(0.0)).fixed_T_tracker, np.eye(4))


@given(
    st.lists(st.tuples(st.sampled_from(['move', 'lose', 'find', 'wait', 'back']), st.floats(0.01, 2.0)), max_size=25)
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_a_live_tool_has_a_fresh_pose(steps):
    state, ros, steady, last, last_lost = ViewState(CONFIG), 100.0, 0.0, None, False
    for action, seconds in steps:
        ros += -seconds if action == 'back' else seconds
        steady += seconds
        moment = Moment(START_NS + round(ros * 1e9), round(steady * 1e9))
        if action == 'move':
            state.on_poses({'drill': (pose(ros), moment.ros_ns)}, 'world', '', moment)
            last = (ros, steady)
        elif action in ('lose', 'find'):
            last_lost = action == 'lose'
            state.on_checks([lost() if last_lost else Check('tracker', 'tool drill', Level.OK, 'OK', '')], moment)
        tool = state.picture(moment).tools[0]
        if tool.live:
            assert not last_lost and last is not None and steady - last[1] <= 0.5 and abs(ros - last[0]) <= 0.5 + 1e-6
        else:
            assert tool.reason


@pytest.mark.parametrize(
    ('values', 'match'),
    [
        ({}, 'tools.* has no default'),
        ({'tools': ['a', 'a']}, 'names a tool twice'),
        ({'tools': []}, 'at least one tool'),
        ({'tools': ['a'], 'shaft_axis': [0.0, 0.0, 0.0]}, 'shaft_axis'),
        ({'tools': ['a'], 'update_rate_hz': 60.0}, 'above its maximum 30.0 Hz'),
        ({'tools': ['a'], 'prot': 1}, "did you mean 'port'"),
    ],
)
def test_a_wrong_config_is_refused_with_its_reason(values, match):
    with pytest.raises(ConfigError, match=match):
        build_config(ViewConfig, values, source='view.yaml')


def test_a_tie_from_a_file_has_no_age(state):
    state.on_link(Link('drill', 'drill_tip', np.eye(6) * 1e-8, 0), np.eye(4))
    assert state.picture(at(1.0)).links[0].age_s is None
