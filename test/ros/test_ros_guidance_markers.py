"""The advice as RViz markers: a line to the closest point and a text with distance, σ and zone, that disappear."""

import numpy as np
from visualization_msgs.msg import Marker

from twin_nodes.core.geometry.chain import Chain
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.clearance import Clearance, ToolPart
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.guidance_markers import guidance_markers

STAMP_NS = 1_700_000_000_000_000_001


def clearance(name, distance, *, outside=False):
    return Clearance(name, STAMP_NS, distance, 0.0004, 0.0, ToolPart.TIP, 0.0, np.array([0.0, 0.0, distance]),
                     np.zeros(3), np.array([0.0, 0.0, 1.0]), outside)  # fmt: skip


def markers_of(*clearances, zones):
    tip = Chain(np.eye(4), np.eye(6) * 1e-8, ())
    advice = Advice(
        STAMP_NS, tip, 0.0, np.eye(4), np.eye(6) * 1e-8, np.zeros(6), clearances,
        {one.structure: one.distance for one in clearances}, {}, zones, (), (),
    )  # fmt: skip
    return guidance_markers(advice, 'anatomy').markers


def test_each_structure_has_a_line_and_a_text():
    markers = markers_of(clearance('nerve', 0.0031), clearance('artery', 0.02, outside=True),
                         zones={'nerve': Zone.NEAR, 'artery': Zone.CLEAR})  # fmt: skip
    assert [(m.ns, m.id, m.type) for m in markers] == [
        ('distance', 0, Marker.LINE_LIST), ('distance_text', 0, Marker.TEXT_VIEW_FACING),
        ('distance', 1, Marker.LINE_LIST), ('distance_text', 1, Marker.TEXT_VIEW_FACING),
    ]  # fmt: skip
    line, text = markers[0], markers[1]
    assert [(p.x, p.y, p.z) for p in line.points] == [(0.0, 0.0, 0.0031), (0.0, 0.0, 0.0)]
    assert text.text == 'nerve: 3.1 ± 0.4 mm, near'
    assert markers[3].text == 'artery: ≥ 20.0 ± 0.4 mm, clear'
    assert text.pose.position.z == 0.0031 / 2


def test_every_marker_can_be_drawn_and_disappears_by_itself():
    for zone in Zone:
        for marker in markers_of(clearance('nerve', -0.001), zones={'nerve': zone}):
            assert marker.header.frame_id == 'anatomy' and stamp_to_ns(marker.header.stamp) == STAMP_NS
            assert marker.pose.orientation.w == 1.0 and marker.color.a == 1.0
            assert max(marker.scale.x, marker.scale.z) > 0.0
            assert 0 < marker.lifetime.nanosec < 500_000_000


def test_zones_differ_in_colour_and_in_words():
    looks = set()
    for zone in Zone:
        line, text = markers_of(clearance('nerve', 0.001), zones={'nerve': zone})
        looks.add((line.color.r, line.color.g, line.color.b))
        assert str(zone) in text.text
    assert len(looks) == len(Zone)


def test_no_structure_no_marker():
    assert markers_of(zones={}) == []
