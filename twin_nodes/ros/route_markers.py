"""Routes as messages: lines and words to look at, and the chosen one as poses to follow."""

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.guidance.routes.route import Route
from twin_nodes.core.guidance.routes.session import Plan, describe

_CHOSEN = ColorRGBA(r=0.1, g=0.8, b=0.3, a=1.0)
_OTHER = ColorRGBA(r=0.6, g=0.6, b=0.7, a=0.6)
_WIDTHS = {True: 0.002, False: 0.001}


def route_markers(plan: Plan, frame: str) -> MarkerArray:
    """Lines and words of all routes; the chosen one is wider and says so."""
    markers = [Marker(action=Marker.DELETEALL)]
    markers[0].header.frame_id = frame
    for index, route in enumerate(plan.routes):
        chosen = index == plan.chosen
        line = _marker(frame, 'route', index, Marker.LINE_STRIP, chosen)
        line.scale.x = _WIDTHS[chosen]
        line.points = [_point(point) for point in route.points]
        text = _marker(frame, 'route text', index, Marker.TEXT_VIEW_FACING, chosen)
        text.scale.z = 0.004
        text.pose.position = _point(route.entry)
        text.text = f'route {index + 1}{" (chosen)" if chosen else ""}: {describe(route)}'
        markers += [line, text]
    return MarkerArray(markers=markers)


def route_poses(plan: Plan, frame: str) -> PoseArray:
    """The chosen route from entry to target, the z axis of each pose along the way; empty without a plan."""
    message = PoseArray()
    message.header.frame_id = frame
    if plan.routes:
        message.poses = _poses(plan.routes[plan.chosen])
    return message


def _poses(route: Route) -> list[Pose]:
    directions = np.gradient(route.points, axis=0)
    poses = []
    for point, direction in zip(route.points, directions, strict=True):
        pose = Pose(position=_point(point))
        quat = quat_of(_along(direction))
        pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = quat
        poses.append(pose)
    return poses


def _along(direction: Array) -> Array:
    """A pose whose z axis has this direction, shape (4, 4)."""
    z = direction / np.linalg.norm(direction)
    x = np.cross(np.eye(3)[int(np.abs(z).argmin())], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([x, np.cross(z, x), z])
    return pose


def _marker(frame: str, namespace: str, index: int, kind: int, chosen: bool) -> Marker:
    marker = Marker(ns=namespace, id=index, type=kind, action=Marker.ADD, color=_CHOSEN if chosen else _OTHER)
    marker.header.frame_id = frame
    marker.pose.orientation.w = 1.0
    return marker


def _point(position: Array) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))
