"""The advice as markers for RViz: a line from the tool to each structure, and the distance beside it."""

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.clearance import Clearance
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.ros.conversions import ns_to_stamp

_COLOURS = {
    Zone.CLEAR: (0.20, 0.65, 0.35),
    Zone.NEAR: (0.95, 0.65, 0.10),
    Zone.INSIDE: (0.85, 0.15, 0.15),
    Zone.WITHDRAWN: (0.5, 0.5, 0.5),
}
_LINE_WIDTH = 0.0006
_TEXT_HEIGHT = 0.005


def guidance_markers(advice: Advice, frame: str) -> MarkerArray:
    """Make two markers for each structure: a line to its closest point and a text with distance, σ and zone."""
    stamp = ns_to_stamp(advice.stamp_ns)
    markers = MarkerArray()
    for index, clearance in enumerate(advice.clearances):
        zone = advice.zones[clearance.structure]
        markers.markers += [_line(stamp, frame, index, clearance, zone), _text(stamp, frame, index, clearance, zone)]
    return markers


def _marker(stamp: Time, frame: str, namespace: str, index: int, kind: int, zone: Zone) -> Marker:
    marker = Marker(ns=namespace, id=index, type=kind, action=Marker.ADD)
    marker.header.stamp, marker.header.frame_id = stamp, frame
    marker.pose.orientation.w = 1.0
    red, green, blue = _COLOURS[zone]
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.lifetime.nanosec = 300_000_000  # an advice that is not renewed disappears
    return marker


def _line(stamp: Time, frame: str, index: int, clearance: Clearance, zone: Zone) -> Marker:
    marker = _marker(stamp, frame, 'distance', index, Marker.LINE_LIST, zone)
    marker.scale.x = _LINE_WIDTH
    marker.points = [_point(clearance.tool_point), _point(clearance.closest_point)]
    return marker


def _text(stamp: Time, frame: str, index: int, clearance: Clearance, zone: Zone) -> Marker:
    marker = _marker(stamp, frame, 'distance_text', index, Marker.TEXT_VIEW_FACING, zone)
    marker.pose.position = _point(0.5 * (clearance.tool_point + clearance.closest_point))
    marker.scale.z = _TEXT_HEIGHT
    at_least = '≥ ' if clearance.outside else ''
    marker.text = (
        f'{clearance.structure}: {at_least}{clearance.distance * 1e3:.1f} ± {clearance.sigma * 1e3:.1f} mm, {zone}'
    )
    return marker


def _point(position: Array) -> Point:
    x, y, z = position.tolist()
    return Point(x=x, y=y, z=z)
