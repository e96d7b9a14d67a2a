"""A bag on the page: from any place the same picture as when it was played up to there; alarms; speed, pause, ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage
from view_bag import TOOL, distance, write_bag

from twin_nodes.app.view.bag_feed import BagFeed
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.playback import Playback
from twin_nodes.app.view.records import Event, Level
from twin_nodes.app.view.replay_panel import next_speed
from twin_nodes.app.view.run import BagPage, config_of, guess_tools, view_bag
from twin_nodes.app.view.timeline import Extent, clock_text, strip
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter

SECOND = 10**9


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('view') / 'bag', seconds=8.0)


@pytest.fixture
def reader(bag):
    with BagReader(bag) as reader:
        yield reader


@pytest.fixture
def config(reader, bag):
    return config_of(reader, bag, None, port=0)


def told(picture):
    tool = picture.tools[0]
    return (
        tool.live, tool.reason, None if tool.fixed_T_tip is None else tool.fixed_T_tip.tolist(),
        [(row.name, row.zone, None if row.row is None else row.row.distance) for row in picture.distances],
        [(line.name, line.level, line.text, line.code) for line in picture.subsystems],
        [(surface.name, surface.vertices_anatomy.sum()) for surface in picture.surfaces],
        [(event.code, event.stamp_ns) for event in picture.events if event.code.startswith('STRUCTURE')],
    )  # fmt: skip


@pytest.mark.parametrize('seconds', [0.5, 3.3, 5.05, 6.9, 8.0])
def test_a_seek_shows_what_playing_up_to_there_shows(reader, config, seconds):
    position_ns = reader.start_ns + round(seconds * SECOND)
    played, sought = BagFeed(reader, config), BagFeed(reader, config)
    for step in range(1, 41):
        played.advance(reader.start_ns + round(seconds * step / 40 * SECOND), budget_s=60.0)
        picture = played.picture()
    sought.seek(reader.end_ns)
    sought.seek(position_ns)
    assert told(sought.picture()) == told(picture)


def test_a_tool_that_was_lost_there_is_grey_there_and_alive_before_and_after(reader, config):
    feed = BagFeed(reader, config)
    live = []
    for seconds in (4.0, 5.8, 7.8):
        feed.seek(reader.start_ns + round(seconds * SECOND))
        live.append(feed.picture().tools[0].live)
    assert live == [True, False, True]


def test_seeking_gives_the_trail_a_past(reader, config):
    feed = BagFeed(reader, config)
    feed.seek(reader.start_ns + 4 * SECOND)
    assert len(feed.picture().trail) > 10


def test_all_alarms_are_known_from_the_start_and_only_past_ones_are_in_the_picture(reader, config):
    feed = BagFeed(reader, config)
    assert [event.code for event in feed.all_events() if event.code == 'STRUCTURE_NEAR'] == ['STRUCTURE_NEAR']
    assert 'TOOL_LOST' in {event.code for event in feed.all_events()}
    feed.seek(reader.start_ns + 2 * SECOND)
    assert 'STRUCTURE_NEAR' not in {event.code for event in feed.picture().events}


def test_a_budget_holds_the_page_back_and_loses_nothing(reader, config):
    feed, quick = BagFeed(reader, config), BagFeed(reader, config)
    end_ns = reader.start_ns + 4 * SECOND
    reached = [feed.advance(end_ns, budget_s=0.0)]
    assert reached[0] < end_ns
    while reached[-1] < end_ns:
        reached.append(feed.advance(end_ns, budget_s=0.02))
    quick.advance(end_ns, budget_s=60.0)
    assert reached == sorted(reached)
    assert told(feed.picture())[3:] == told(quick.picture())[3:]


def test_log_times_of_another_clock_do_not_make_everything_old(tmp_path):
    path = write_bag(tmp_path / 'bag', seconds=2.0, log_ahead_ns=10**17)
    with BagReader(path) as reader:
        feed = BagFeed(reader, config_of(reader, path, None, port=0))
        feed.seek(reader.end_ns)
        tool = feed.picture().tools[0]
        assert tool.live and abs(tool.age_s) < 0.2


def test_the_page_of_a_bag_pauses_seeks_and_ends(reader, config):
    page = BagPage(reader, config)
    try:
        page.step(0, 2 * SECOND)
        while page.playback.seconds < 2.0:
            page.step(0, SECOND)
        page._panel._asked.append(('toggle', 0.0))
        before = page.playback.seconds
        page.step(SECOND, SECOND)
        assert page.playback.seconds == before and not page.playback.playing
        page._panel._asked += [('seek', 7.5), ('toggle', 0.0), ('speed', 4.0)]
        page.step(2 * SECOND, 0)
        assert page.playback.seconds == 7.5
        for tick in range(200):
            page.step((3 + tick) * SECOND, SECOND)
        assert page.playback.position_ns == reader.end_ns and not page.playback.playing
    finally:
        page.stop()


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just('advance'), st.integers(-SECOND, 5 * SECOND)),
            st.tuples(st.just('seek'), st.floats(-5.0, 20.0)),
            st.tuples(st.just('rate'), st.floats(0.05, 20.0)),
            st.tuples(st.just('hold'), st.integers(-SECOND, 12 * SECOND)),
            st.tuples(st.just('toggle'), st.none()),
        ),
        max_size=30,
    )
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_asked_the_place_is_in_the_recording_and_stands_when_paused(steps):
    playback = Playback(0, 10 * SECOND)
    for what, value in steps:
        before, playing = playback.position_ns, playback.playing
        if what == 'advance':
            playback.advance(value)
            assert playback.position_ns >= before
            assert playing or playback.position_ns == before
        elif what == 'seek':
            playback.seek(value)
        elif what == 'rate':
            playback.set_rate(value)
        elif what == 'hold':
            playback.hold(value)
            assert playback.position_ns <= before
        else:
            playback.toggle()
            assert playback.playing is not playing
        assert 0 <= playback.position_ns <= 10 * SECOND


def test_speeds_have_ends_and_wrong_ones_are_refused():
    assert next_speed(1.0, faster=True) == 2.0 and next_speed(0.3, faster=False) == 0.25
    assert next_speed(8.0, faster=True) == 8.0 and next_speed(0.1, faster=False) == 0.1
    with pytest.raises(ConfigError, match='rate=100'):
        Playback(0, 1, rate=100.0)


def test_the_strip_has_a_sign_for_each_event_at_its_place_and_words_cannot_become_markup():
    events = tuple(
        Event(second * SECOND, level, 'CODE', f'<b>{second}</b>') for second, level in ((0, Level.OK), (5, Level.ERROR))
    )
    svg = strip(events, Extent(0, 10 * SECOND, 5 * SECOND, recorded=True), (116, 64))
    assert 'x="8.0"' in svg and 'x="58.0"' in svg and '✕' in svg and '✓' in svg
    assert '<b>' not in svg and '0:10.0' in svg
    assert strip(events, Extent(6 * SECOND, 9 * SECOND, 9 * SECOND)).count('<title>') == 0


def test_clock_text():
    assert [clock_text(value) for value in (0.0, 62.34, 3907.0)] == ['0:00.0', '1:02.3', '1:05:07.0']


def test_tools_are_guessed_those_with_a_tip_first():
    topics = ['/a/filtered_cp', '/patient/filtered_cp', '/or/drill/filtered_cp', '/or/calibration/drill', '/tf']
    assert guess_tools(topics) == ['drill', 'a']


def test_a_bag_with_nothing_to_show_is_refused_with_what_it_holds(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        handle = writer.add_topic('/odd', 'tf2_msgs/msg/TFMessage')
        writer.write(handle, SECOND, serialize_message(TFMessage()))
    with pytest.raises(ConfigError, match=r'holds no <tool>/filtered_cp.*--config'):
        view_bag(tmp_path / 'bag', port=0)
    with BagReader(tmp_path / 'bag') as reader, pytest.raises(InputError, match='/odd'):
        BagPage(reader, ViewConfig(tools=(TOOL,), port=0))


def test_the_config_beside_a_bag_is_taken(tmp_path):
    path = write_bag(tmp_path / 'bag', seconds=0.2)
    (tmp_path / 'config').mkdir()
    (tmp_path / 'config' / 'view.yaml').write_text("view:\n  ros__parameters:\n    tools: ['drill']\n    up: '-y'\n")
    with BagReader(path) as reader:
        assert config_of(reader, path, None, port=0).up == '-y'
        other = tmp_path / 'other.yaml'
        other.write_text("view:\n  ros__parameters:\n    tols: ['drill']\n")
        with pytest.raises(ConfigError, match='tols'):
            config_of(reader, path, other, port=0)


def test_poses_are_those_of_the_bag_at_that_time(reader, config):
    feed = BagFeed(reader, config)
    feed.seek(reader.start_ns + 3 * SECOND)
    picture = feed.picture()
    assert picture.fixed_frame == 'world' and picture.fixed_T_anatomy is not None
    tip = picture.tools[0].fixed_T_tip[:3, 3]
    np.testing.assert_allclose(tip, [0.02 + 0.03, 0.0, 1.0 + distance(3.0)], atol=1e-9)
