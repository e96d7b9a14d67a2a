"""The surfaces that a drill has carved are not decoded again and again; all others are."""

import numpy as np
from rclpy.serialization import serialize_message
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.ros.clouds import CUT, surface_marker
from twin_nodes.ros.surface_feed import SurfaceFeed


class Listener:
    """In place of a node: keeps the callback of its one subscription."""

    def create_subscription(self, kind, topic, callback, qos, *, raw):
        assert topic == 'anatomy/surface' and raw
        self.say = callback


def surfaces(*, name='bone', cut=False):
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.02), rings=4)
    marker = surface_marker(1, 'anatomy', name, 0, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
    marker.text = CUT if cut else ''
    return serialize_message(MarkerArray(markers=[marker]))


def taken(*messages):
    node, found = Listener(), []
    SurfaceFeed(node, found.append)
    for message in messages:
        node.say(message)
    return [message.markers[0].text for message in found]


def test_a_carved_surface_is_handed_on_only_to_one_who_comes_late():
    assert taken(surfaces(cut=True), surfaces(cut=True)) == [CUT]
    assert taken(surfaces(), surfaces(cut=True), surfaces(cut=True)) == ['']


def test_a_new_anatomy_is_handed_on():
    assert taken(surfaces(), surfaces(cut=True), surfaces()) == ['', '']


def test_a_structure_of_that_name_is_not_taken_for_a_carved_one():
    assert taken(surfaces(name=CUT), surfaces(name=CUT)) == ['', '']
