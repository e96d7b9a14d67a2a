"""The synchroniser of a user's own node: poses of several topics at one instant; what has stopped is given up."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from twin_nodes.core.geometry.pairing import PairingConfig
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.ros.conversions import pose_with_covariance
from twin_nodes.ros.health import Health
from twin_nodes.ros.synchroniser import StreamClock, Synchroniser

MS = 1_000_000


class Mine(Node):
    """A user's own node."""

    def __init__(self, context, **options):
        super().__init__('mine', context=context)
        self.health, self.together, self.lost = Health(self), [], []
        self.streams = Synchroniser(
            self, 'tool/filtered_cp', ('patient/filtered_cp', 'probe/filtered_cp'), self.together.append,
            health=self.health, on_unpaired=self.lost.append, **options,
        )  # fmt: skip


@pytest.fixture
def mine(ros_context):
    nodes = []

    def make(**options):
        nodes.append(Mine(ros_context, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def said(start_ns, ms, frame='tracker'):
    pose = make_transform(np.eye(3), [0.1e-3 * ms, 0.0, 0.0])
    return pose_with_covariance(start_ns + round(ms * MS), frame, pose, np.eye(6) * 1e-8)


def test_topics_come_together_at_the_instant_of_the_sample(mine):
    node, start = mine(), time.time_ns() - 10**10
    streams = node.streams
    for ms in range(0, 60, 16):
        streams.add_reference('patient/filtered_cp', said(start, ms))
        streams.add_reference('probe/filtered_cp', said(start, ms + 5.0))
    streams.add_sample(said(start, 40.0))
    streams.add_sample(said(start, 41.0, frame='world'))
    (together,) = node.together
    for reference in together.references.values():
        np.testing.assert_allclose(reference.pose[0, 3], 0.1e-3 * 40.0, atol=1e-9)
    assert node.health.counters == {'FRAME_MISMATCH': 1}


def test_a_sample_is_given_up_by_the_monotonic_clock_when_a_stream_stops(mine, spin):
    node, start = mine(config=PairingConfig(max_wait=0.02)), time.time_ns() - 10**10
    node.streams.add_reference('patient/filtered_cp', said(start, 0))
    node.streams.add_sample(said(start, 5.0))
    assert node.lost == []
    spin(lambda: node.lost, node, what='the sample given up')
    assert 'it has stopped' in node.lost[0].reason
    assert node.health.counters == {'NO_TRANSFORM': 1}


def test_the_error_of_a_clock_is_taken_from_the_tracker(mine):
    node = mine(
        clocks={'probe/filtered_cp': StreamClock(follows='tracker: clock')}, config=PairingConfig(acceleration=0.0)
    )
    start = time.time_ns() - 10**10
    clock = DiagnosticStatus(name='tracker: clock', values=[KeyValue(key='sigma_ms', value='5')])
    node.streams._on_diagnostics(DiagnosticArray(status=[clock]))
    for ms in range(0, 60, 20):
        node.streams.add_reference('patient/filtered_cp', said(start, ms))
        node.streams.add_reference('probe/filtered_cp', said(start, ms))
    node.streams.add_sample(said(start, 20.0))
    (together,) = node.together
    # 0.1 m/s for 5 ms is 0.5 mm
    assert together.references['probe/filtered_cp'].covariance[0, 0] == pytest.approx(1e-8 + 0.0005**2, rel=1e-3)
    assert together.references['patient/filtered_cp'].covariance[0, 0] == pytest.approx(1e-8)
