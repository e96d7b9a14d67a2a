"""Where the camera starts: so that patient and tool are in sight."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.app.view.records import Picture
from twin_nodes.core.geometry.se3 import Array, transform_points

VIEW_HALF_ANGLE = 0.42
MINIMUM_RADIUS = 0.05


@dataclass(frozen=True)
class Framing:
    """A camera position and target in the fixed frame [m].

    Args:
        position: Where the camera is, shape (3,).
        look_at: What it looks at, shape (3,).
        complete: Whether anatomy and tool were both known when it was chosen.
    """

    position: Array
    look_at: Array
    complete: bool


def frame_scene(picture: Picture, up: Array) -> Framing | None:
    """Choose a camera that sees the anatomy and the guided tool, None while neither is known.

    It looks from the side on which the tool is, from above, so that the tip is not hidden behind the anatomy.

    Args:
        picture: The picture.
        up: Unit vector that points up on the page, shape (3,).
    """
    anatomy = _anatomy_points(picture)
    tool = _tool_points(picture)
    points = [part for part in (anatomy, tool) if part is not None]
    if not points:
        return None
    cloud = np.vstack(points)
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    centre = 0.5 * (low + high)
    radius = max(0.5 * float(np.linalg.norm(high - low)), MINIMUM_RADIUS)
    direction = _direction(anatomy, tool, up)
    return Framing(centre + direction * radius / np.sin(VIEW_HALF_ANGLE), centre, len(points) == 2)


def _direction(anatomy: Array | None, tool: Array | None, up: Array) -> Array:
    side = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    if anatomy is not None and tool is not None:
        handle = tool.mean(axis=0) - anatomy.mean(axis=0)
        flat = handle - up * (handle @ up)
        if np.linalg.norm(flat) > 1e-3:
            side = np.cross(up, flat)  # across the tool, so that its shaft is seen from the side
    side = side / np.linalg.norm(side)
    direction = side + 0.55 * np.cross(side, up) + 0.55 * up
    return np.asarray(direction / np.linalg.norm(direction))


def _anatomy_points(picture: Picture) -> Array | None:
    if picture.fixed_T_anatomy is None or not picture.surfaces:
        return None
    corners = np.vstack([[s.vertices_anatomy.min(axis=0), s.vertices_anatomy.max(axis=0)] for s in picture.surfaces])
    low, high = corners.min(axis=0), corners.max(axis=0)
    grid = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return np.asarray(transform_points(picture.fixed_T_anatomy, low + grid * (high - low)))


def _tool_points(picture: Picture) -> Array | None:
    tool = picture.tools[0]
    poses = [pose for pose in (tool.fixed_T_tip, tool.fixed_T_tool) if pose is not None]
    return np.array([pose[:3, 3] for pose in poses]) if poses else None
