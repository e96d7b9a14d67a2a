"""room_node: a room that waits for its listeners, says when it started, and says when its port is taken."""

import socket

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from std_msgs.msg import Header

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.nodes.room_node import RoomNode
from twin_nodes.nodes.tracker_node import TrackerNode
from twin_nodes.ros.conversions import pose_from, stamp_to_ns


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def track(start, port):
    return start(
        TrackerNode, source='openigtlink', openigtlink__port=port, openigtlink__reconnect_max_s=0.1,
        tracking__tools=['patient', 'drill'], tracking__device_names=['ReferenceToTracker', 'DrillToTracker'],
    )  # fmt: skip


def test_room_and_tracker_together_give_the_truth(start, probe, port):
    started = probe.listen_latched(Header, 'room/start')
    filtered = probe.listen(PoseWithCovarianceStamped, 'drill/filtered_cp')
    probe.listen(PoseWithCovarianceStamped, 'patient/filtered_cp')
    room = start(RoomNode, port=port, listeners=1, room__rate_hz=100.0)
    probe.until_code('room: server', 'OK', room)
    tracker = track(start, port)
    probe.until(lambda: len(filtered) >= 60, room, tracker, what='60 poses')
    start_ns = stamp_to_ns(started[0].stamp)
    truth = Room(RoomConfig(rate_hz=100.0))
    errors = []
    for message in filtered[10:]:
        record = pose_from(message, frame='tracker')
        time_s = (record.stamp_ns - start_ns) * 1e-9
        expected = truth.truth(time_s).tracker_T_drill
        errors.append(np.linalg.norm(record.pose[:3, 3] - expected[:3, 3]))
    # the clock is not settled in the first second; the drill swings its marker at up to 0.4 m/s
    assert np.median(errors) < 0.003


def test_it_starts_without_listeners_after_its_patience(start, probe, port):
    started = probe.listen_latched(Header, 'room/start')
    measured = probe.listen(PoseStamped, 'drill/measured_cp')
    room = start(RoomNode, port=port, listeners=5, patience=0.2)
    tracker = track(start, port)
    probe.until(lambda: started and measured, room, tracker, what='the start')


def test_it_does_not_start_before_a_client_is_there(start, probe, port):
    room = start(RoomNode, port=port)
    probe.until_code('room: server', 'OK', room)
    assert not room._tracker._stopped.is_set() and room._give_up_at is None


def test_a_port_that_is_taken_is_said(start, probe):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        number = taken.getsockname()[1]
        room = start(RoomNode, port=number)
        probe.until_code('room: server', 'SOURCE_DISCONNECTED', room)
    assert str(number) in probe.status('room: server').message
    assert 'cannot be listened on: Address already in use' in probe.status('room: server').message


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({}, 'port has no default'),
        ({'port': 0}, 'below its minimum'),
        ({'port': 1234, 'room.rate_hz': 0.0}, 'below its minimum 1'),
        ({'port': 1234, 'drill_device': 'Same', 'patient_device': 'Same'}, "'Same'"),
    ],
    ids=str,
)
def test_a_wrong_configuration_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(RoomNode, **settings)
