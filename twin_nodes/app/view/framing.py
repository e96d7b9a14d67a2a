"""Where the camera starts: so that patient and tool are in sight."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.app.view.geometry import BODY_SPHERES, look_at
from twin_nodes.app.view.picture import Picture
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points

FIELD_OF_VIEW = 0.6
MARGIN = 1.12
SHAFT_SHARE = 0.55
MINIMUM_DISTANCE = 0.08


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


def frame_scene(picture: Picture, up: Array, *, covered: float = 0.0) -> Framing | None:
    """Choose a camera that sees the anatomy and the guided tool, None while neither is known.

    It looks across the tool and from above, so that shaft and tip are seen from the side; it stands as near as the
    field of view allows.

    Args:
        picture: The picture.
        up: Unit vector that points up on the page, shape (3,).
        covered: Share of the height, at the bottom, that is hidden behind a window.
    """
    anatomy = anatomy_corners(picture)
    tool = _tool_points(picture)
    points = [part for part in (anatomy, tool, _site_points(picture)) if part is not None]
    if not points:
        return None
    cloud = np.vstack([*points, *_reference_points(picture), *_model_points(picture)])
    direction = _direction(anatomy, tool, up)
    target = 0.5 * (cloud.min(axis=0) + cloud.max(axis=0))
    fixed_T_camera = look_at(target + direction, target, up)
    seen = transform_points(inverse(fixed_T_camera), cloud)
    lower, upper = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    middle = 0.5 * (lower + upper)
    target = target + fixed_T_camera[:3, :2] @ middle
    reach = MARGIN * np.abs(seen[:, :2] - middle).max(axis=1) / np.tan(0.5 * FIELD_OF_VIEW)
    reach = reach / (1.0 - covered)
    distance = max(float((reach - (seen[:, 2] - 1.0)).max()), MINIMUM_DISTANCE)
    target = target + fixed_T_camera[:3, 1] * covered * distance * np.tan(0.5 * FIELD_OF_VIEW)  # y points down
    return Framing(target + direction * distance, target, len(points) >= 2 or bool(picture.models))


def up_axis(name: str) -> Array:
    """Return the unit vector that a setting such as +z names, shape (3,)."""
    axis = np.zeros(3)
    axis['xyz'.index(name[1])] = -1.0 if name[0] == '-' else 1.0
    return axis


def site_offsets(count: int, gap: float, up: Array) -> list[Array]:
    """Return where so many rooms stand beside each other [m], from left to right as the first camera sees them."""
    left = np.cross(_first_side(up), up)
    return [(count - 1 - index) * gap * left for index in range(count)]


def _first_side(up: Array) -> Array:
    """The horizontal direction to the camera while no tool says a better one."""
    return np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])


def _site_points(picture: Picture) -> Array | None:
    """Return the tips and the anatomies of all sites, None where there are none."""
    points = [tool.fixed_T_tip[:3, 3] for site in picture.sites for tool in site.tools if tool.fixed_T_tip is not None]
    for site in picture.sites:
        if site.fixed_T_anatomy is not None:
            points += [transform_points(site.fixed_T_anatomy, surface.vertices_anatomy.mean(axis=0))
                       for surface in site.surfaces]  # fmt: skip
    return np.array(points) if points else None


def _direction(anatomy: Array | None, tool: Array | None, up: Array) -> Array:
    side = _first_side(up)
    if anatomy is not None and tool is not None:
        handle = tool[-1] - anatomy.mean(axis=0)
        flat = handle - up * (handle @ up)
        if np.linalg.norm(flat) > 1e-3:
            side = np.cross(up, flat)
    side = side / np.linalg.norm(side)
    direction = side + 0.25 * np.cross(side, up) + 0.45 * up
    return np.asarray(direction / np.linalg.norm(direction))


def anatomy_corners(picture: Picture) -> Array | None:
    """Return the corners of the box around all structures in the fixed frame, shape (8, 3)."""
    if picture.fixed_T_anatomy is None or not picture.surfaces:
        return None
    low = np.min([surface.vertices_anatomy.min(axis=0) for surface in picture.surfaces], axis=0)
    high = np.max([surface.vertices_anatomy.max(axis=0) for surface in picture.surfaces], axis=0)
    grid = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return np.asarray(transform_points(picture.fixed_T_anatomy, low + grid * (high - low)))


def _reference_points(picture: Picture) -> list[Array]:
    if picture.fixed_T_patient is None:
        return []
    return [transform_points(picture.fixed_T_patient, BODY_SPHERES)]


def _model_points(picture: Picture) -> list[Array]:
    """Return the centres of what hangs on frames, one array; large parts such as shafts may leave the picture."""
    shown = [model.fixed_T_shape[:3, 3] for model in picture.models if model.fixed_T_shape is not None]
    return [np.array(shown)] if shown else []


def _tool_points(picture: Picture) -> Array | None:
    tool = picture.tools[0]
    if tool.fixed_T_tip is None and tool.fixed_T_tool is None:
        return None
    if tool.fixed_T_tip is None or tool.fixed_T_tool is None:
        pose = tool.fixed_T_tip if tool.fixed_T_tip is not None else tool.fixed_T_tool
        assert pose is not None
        return np.array([pose[:3, 3]])
    tip, body = tool.fixed_T_tip[:3, 3], tool.fixed_T_tool[:3, 3]
    return np.array([tip, tip + SHAFT_SHARE * (body - tip)])
