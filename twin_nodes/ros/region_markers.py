"""`guidance/regions`, `compensation/regions` (MarkerArray, latched): where the middle of the tip may not go.

For RViz and the page. The one is told by guidance_node, the other by the walls of compensation_node.
A plane, a cone or a depth stop is a TRIANGLE_LIST marker whose `ns` says which, and whose `text` is its name: a disc
with a spike to the side where the tip may be, the side of the cone, a disc with a spike back to its entry. Planes and
cones have no end; they are drawn as far as the lengths below. A guarded structure is a TEXT_VIEW_FACING marker in its
middle: `ns` is `structure`, `id` its number in `guidance/clearance`, `scale.x` how far its region reaches beyond its
surface [m], wherever that is by now.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.clearance import Field, Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.ros.clouds import surface_marker

STRUCTURE = 'structure'
PLANE_RADIUS, STOP_RADIUS, CONE_LENGTH = 0.03, 0.006, 0.06
_SPIKE, _SPIKE_RADIUS = 0.008, 0.0008
_SIDES = 48
_COLOUR = (0.94, 0.35, 0.30, 0.3)
_TEXT_HEIGHT = 0.004


def region_markers(
    frame: str,
    planned: Mapping[str, Array],
    structures: Sequence[Structure],
    numbers: Mapping[str, int],
    config: FixtureConfig,
    margin: float,
) -> MarkerArray:
    """Make the markers of all regions, in place of those before.

    Args:
        frame: Frame of the anatomy.
        planned: By kind (planes, cones, stops) a point [m] and a direction each, shape (n, 6), as in `planned_shapes`.
        structures: Those that push back.
        numbers: Of the structures, by name.
        config: Angle of the cones, depth of the stops.
        margin: How far from a structure's surface the middle of the tip must stay [m].
    """
    markers = [Marker(action=Marker.DELETEALL)]
    markers[0].header.frame_id = frame
    for kind, lines in planned.items():
        for number, line in enumerate(lines):
            axis = line[3:] / np.linalg.norm(line[3:])
            corners = _corners(kind, line[:3], axis, config)
            triangles = np.arange(len(corners)).reshape(-1, 3)
            marker = surface_marker(0, frame, kind[:-1], number, corners, triangles, _COLOUR)
            marker.text = f'{kind[:-1]} {number}'
            markers.append(marker)
    markers += [margin_marker(frame, one.name, numbers[one.name], _middle(one.grid), margin) for one in structures]
    return MarkerArray(markers=markers)


def margin_marker(frame: str, name: str, number: int, middle: Array, margin: float) -> Marker:
    """Make the marker of a structure around a middle [m], (3,), from which the tip must stay away by a margin [m]."""
    marker = Marker(ns=STRUCTURE, id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    marker.header.frame_id = frame
    marker.pose.position = Point(**dict(zip('xyz', middle.tolist(), strict=True)))
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=margin, y=0.0, z=_TEXT_HEIGHT)
    red, green, blue, _ = _COLOUR
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.text = f'{name} + {1e3 * margin:.1f} mm'
    return marker


def _corners(kind: str, point: Array, axis: Array, config: FixtureConfig) -> Array:
    """Return the triangles of a fixture, shape (3n, 3)."""
    if kind == 'planes':
        return np.concatenate([_fan(point, point, axis, PLANE_RADIUS), _spike(point, point + _SPIKE * axis)])
    if kind == 'cones':
        return _fan(point, point + CONE_LENGTH * axis, axis, CONE_LENGTH * math.tan(config.cone_half_angle))
    stop = point + config.stop_depth * axis
    return np.concatenate([_fan(stop, stop, axis, STOP_RADIUS), _spike(stop, point)])


def _spike(start: Array, end: Array) -> Array:
    length = float(np.linalg.norm(end - start))
    return _fan(end, start, (end - start) / length, _SPIKE_RADIUS) if length > 0.0 else np.zeros((0, 3))


def _fan(apex: Array, centre: Array, axis: Array, radius: float) -> Array:
    """Return the triangles from an apex to a ring around an axis: a disc or the side of a cone, shape (3n, 3)."""
    x = np.cross(np.eye(3)[int(np.abs(axis).argmin())], axis)
    x /= np.linalg.norm(x)
    angle = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)[:, None]
    ring = centre + radius * (np.cos(angle) * x + np.sin(angle) * np.cross(axis, x))
    return np.stack([np.broadcast_to(apex, ring.shape), ring, np.roll(ring, -1, axis=0)], axis=1).reshape(-1, 3)


def _middle(field: Field) -> Array:
    if isinstance(field, MovingSurface):
        return np.asarray(field.tree.vertices.mean(axis=0))
    return np.asarray(field.origin + 0.5 * field.spacing * (np.array(field.values.shape) - 1))
