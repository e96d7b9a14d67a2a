"""wan_bulk_node: a latched mesh from one site to the other, and a rate that gives way to the link."""

import socket

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.parameter import Parameter
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.link_key import make_key
from twin_nodes.nodes.wan_bulk_node import WanBulkNode
from twin_nodes.ros.qos import LATCHED

SURFACE = 'anatomy/surface visualization_msgs/msg/MarkerArray'


def node(context, namespace, **parameters):
    overrides = [Parameter(key, value=value) for key, value in parameters.items()]
    return WanBulkNode(context=context, parameter_overrides=overrides, namespace=namespace)


def test_a_latched_mesh_crosses_and_the_rate_gives_way(ros_context, probe, spin, tmp_path):
    make_key(tmp_path / 'k')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    both = {'key_file': str(tmp_path / 'k'), 'endpoint': f'tcp/127.0.0.1:{port}', 'latched': ['anatomy/surface']}
    follower = node(ros_context, '/robot', role='follower', send=[SURFACE], **both)
    leader = node(ros_context, '/console', role='leader', receive=[SURFACE], **both)
    heard = probe.listen_latched(MarkerArray, '/console/anatomy/surface')
    from visualization_msgs.msg import Marker

    mesh = MarkerArray(markers=[Marker(ns='bone', id=7)])
    probe.say('/robot/anatomy/surface', mesh, LATCHED)
    spin(lambda: bool(heard), probe, follower, leader, what='the mesh at the other site')
    assert heard[0].markers[0].ns == 'bone'

    status = DiagnosticStatus(name='wan_bridge: link')
    status.values = [KeyValue(key='mode', value='connected'), KeyValue(key='queue_sent_ms', value='80')]
    before = follower.link.rate_bps

    def crowded():
        probe.say('/robot/link/state', DiagnosticArray(status=[status]))
        return follower.link.rate_bps < 0.3 * before

    spin(crowded, probe, follower, what='the rate to fall')
    leader.destroy_node()
    follower.destroy_node()


def test_refuses_settings(ros_context, tmp_path):
    make_key(tmp_path / 'k')
    both = {'key_file': str(tmp_path / 'k'), 'role': 'leader', 'endpoint': 'tcp/127.0.0.1:1'}
    with pytest.raises(ConfigError, match='package/msg/Type'):
        node(ros_context, '/x', send=['anatomy/surface'], **both)
    with pytest.raises(ConfigError, match='latched names other'):
        node(ros_context, '/x', send=[SURFACE], latched=['other'], **both)
