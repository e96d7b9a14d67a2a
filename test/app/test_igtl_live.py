"""`twin igtl live`: the running twin as an OpenIGTLink server, with pyigtl in place of 3D Slicer."""

import numpy as np
import pyigtl
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node

from twin_nodes.app.igtl_live import LiveFrames, LiveNode, LoopServer
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.ros.conversions import pose_stamped
from twin_nodes.ros.qos import MEASUREMENT

MS = 1_000_000
POSE = make_transform([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.1, 0.2, 0.3])


def message(stamp_ns, pose, frame):
    plain = pose_stamped(stamp_ns, frame, pose)
    found = PoseWithCovarianceStamped(header=plain.header)
    found.pose.pose = plain.pose
    found.pose.covariance = np.eye(6).ravel().tolist()
    return found


def test_a_client_sees_the_tool_in_the_tracker_and_the_tip_in_ras(ros_context, spin):
    speaker = Node('speaker', context=ros_context)
    tool = speaker.create_publisher(PoseWithCovarianceStamped, 'drill/filtered_cp', MEASUREMENT)
    tip = speaker.create_publisher(PoseWithCovarianceStamped, 'guidance/tip', MEASUREMENT)
    with LoopServer('127.0.0.1', 0, 1) as server:
        node = LiveNode(LiveFrames(server.send), (), context=ros_context)
        client = pyigtl.OpenIGTLinkClient('127.0.0.1', server.port)
        seen = {}

        def both():
            stamp_ns = speaker.get_clock().now().nanoseconds
            tool.publish(message(stamp_ns, POSE, 'tracker'))
            tip.publish(message(stamp_ns, POSE, 'anatomy'))
            for name in ('DrillToTracker', 'TipToRas'):
                if (found := client.wait_for_message(name, timeout=0.02)) is not None:
                    seen[name] = found.matrix
            return len(seen) == 2

        try:
            spin(both, node, speaker, what='both transforms')
        finally:
            client.stop()
            node.destroy_node()
            speaker.destroy_node()
    np.testing.assert_allclose(seen['DrillToTracker'][:3, 3], [100.0, 200.0, 300.0], rtol=1e-6)
    np.testing.assert_allclose(seen['DrillToTracker'][:3, :3], POSE[:3, :3], atol=1e-6)
    np.testing.assert_allclose(seen['TipToRas'][:3, 3], [-100.0, -200.0, 300.0], rtol=1e-6)
    np.testing.assert_allclose(seen['TipToRas'][:3, :3], np.diag([-1, -1, 1]) @ POSE[:3, :3], atol=1e-6)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def frames(sent):
    return LiveFrames(lambda stamp_ns, poses: sent.append((stamp_ns, dict(poses))))


def names(sent):
    return [(stamp_ns, sorted(poses)) for stamp_ns, poses in sent]


def test_poses_of_one_instant_go_out_together(frames, sent):
    frames.take('A', 1 * MS, POSE, 0)
    frames.take('B', 1 * MS, POSE, 0)  # A went alone: B was not known yet, and an older frame is not sent after it
    frames.take('A', 17 * MS, POSE, 16 * MS)
    frames.take('B', 17 * MS, POSE, 17 * MS)
    assert names(sent) == [(1 * MS, ['A']), (17 * MS, ['A', 'B'])]


def test_a_frame_does_not_wait_for_ever_and_silence_is_said_once(frames, sent):
    for name in 'AB':
        frames.take(name, 1 * MS, POSE, 0)
    for name in 'AB':
        frames.take(name, 10 * MS, POSE, 9 * MS)
    frames.take('A', 26 * MS, POSE, 25 * MS)
    frames.look(60 * MS)
    assert names(sent)[-1] == (10 * MS, ['A', 'B'])
    frames.look(80 * MS)
    assert names(sent)[-1] == (26 * MS, ['A'])
    frames.look(320 * MS)
    assert sent[-1] == (26 * MS, {'B': None})
    frames.look(340 * MS)
    assert sent[-1] == (26 * MS, {'A': None})
    before = len(sent)
    frames.look(2000 * MS)
    assert len(sent) == before


def test_a_frame_never_runs_back(frames, sent):
    frames.take('A', 10 * MS, POSE, 0)
    frames.take('A', 5 * MS, POSE, 1 * MS)
    frames.look(500 * MS)
    assert [stamp for stamp, poses in sent if poses['A'] is not None] == [10 * MS]


def test_a_clock_that_jumps_back_begins_anew(frames, sent):
    frames.take('A', 100_000 * MS, POSE, 0)
    frames.take('A', 10 * MS, POSE, 1 * MS)  # a bag that loops
    assert names(sent) == [(100_000 * MS, ['A']), (10 * MS, ['A'])]


def test_a_port_that_is_taken_is_said():
    with LoopServer('127.0.0.1', 0, 1) as server, pytest.raises(ConfigError, match='give another --port'):
        LoopServer('127.0.0.1', server.port, 1)
