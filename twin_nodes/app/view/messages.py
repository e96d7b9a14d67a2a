"""ROS messages to the records of the view; whatever cannot be used is refused with its reason."""

from typing import Any

import numpy as np

from twin_nodes.app.view.records import Check, Clearance, Event, Level, ModelShape, StructureClearance, Surface
from twin_nodes.core.errors import InputError
from twin_nodes.ros.clouds import ZONES, array_from_cloud, surface_from_marker
from twin_nodes.ros.conversions import check_header, matrix_of, stamp_to_ns

ADD = 0
MAX_MODEL_SHAPES = 2000
_MODEL_KINDS = {1: 'box', 2: 'sphere', 3: 'cylinder'}  # numbers of visualization_msgs/Marker
_FINITE = ('x', 'y', 'z', 'distance', 'sigma', 'probability', 'time_to_contact')
_NEEDED = (*_FINITE, 'zone', 'part', 'structure')


def surfaces_of(message: Any, *, anatomy_frame: str) -> list[Surface]:
    """Read a MarkerArray of TRIANGLE_LIST markers, one per structure, points in metres.

    Raises:
        InputError: for another frame, another type of marker, or points that are not finite triples.
    """
    return [_surface(marker, anatomy_frame) for marker in message.markers if marker.action == ADD]


def _surface(marker: Any, anatomy_frame: str) -> Surface:
    if marker.header.frame_id != anatomy_frame:
        raise InputError(
            f'surface {marker.ns!r} is in frame {marker.header.frame_id!r}, expected {anatomy_frame!r}',
            code='FRAME_MISMATCH',
        )
    vertices, faces = surface_from_marker(marker)
    if not np.isfinite(vertices).all():
        raise InputError(f'surface {marker.ns!r} has NaN or Inf', code='NOT_FINITE')
    colour = marker.color
    return Surface(marker.id, marker.ns, vertices, faces, (colour.r, colour.g, colour.b), colour.a)


def clearance_of(message: Any, *, anatomy_frame: str) -> Clearance:
    """Read `guidance/clearance` by its named fields, in whatever order they lie.

    Raises:
        InputError: for another frame, a missing field, a cut payload, or values that are not finite.
    """
    stamp_ns = check_header(message.header, frame=anatomy_frame, name='clearance')
    rows = array_from_cloud(message)
    missing = [name for name in _NEEDED if name not in (rows.dtype.names or ())]
    if missing:
        raise InputError(f'clearance lacks the fields {", ".join(missing)}')
    if any(not np.isfinite(rows[name]).all() for name in _FINITE):
        raise InputError('clearance has NaN or Inf', code='NOT_FINITE')
    if (rows['zone'] >= len(ZONES)).any():
        raise InputError(f'clearance: zone {int(rows["zone"].max())} is none of 0 … {len(ZONES) - 1}')
    return Clearance(stamp_ns, tuple(_row(row) for row in rows))


def _row(row: Any) -> StructureClearance:
    return StructureClearance(
        structure=int(row['structure']),
        closest_anatomy=np.array([row['x'], row['y'], row['z']], float),
        distance=float(row['distance']),
        sigma=float(row['sigma']),
        probability=float(row['probability']),
        time_to_contact=float(row['time_to_contact']),
        zone=ZONES[row['zone']],
        at_shaft=bool(row['part'] == 1),
    )


def checks_of(message: Any) -> list[Check]:
    """Read a DiagnosticArray."""
    stamp_ns = stamp_to_ns(message.header.stamp)
    return [_check(status, stamp_ns) for status in message.status]


def _check(status: Any, stamp_ns: int) -> Check:
    node, _, check = status.name.partition(': ')
    values = {pair.key: pair.value for pair in status.values}
    return Check(
        node=node.rsplit('/', 1)[-1],
        check=check,
        level=Level(min(ord(status.level), max(Level))),
        code=values.pop('code', ''),
        message=status.message,
        values=values,
        stamp_ns=stamp_ns,
    )


def events_of(message: Any) -> list[Event]:
    """Read `guidance/events`: each status is an entry of the time line."""
    return [
        Event(check.stamp_ns, check.level, check.code, check.message or check.check) for check in checks_of(message)
    ]


def model_of(message: Any, *, topic: str) -> tuple[ModelShape, ...]:
    """Read a model: cylinders, spheres and cubes that hang on the frames which their headers name.

    Raises:
        InputError: ANATOMY_REFUSED for more than MAX_MODEL_SHAPES, or a size that is none.
    """
    if len(message.markers) > MAX_MODEL_SHAPES:
        raise InputError(
            f'{topic}: {len(message.markers)} shapes are above the limit of {MAX_MODEL_SHAPES}', code='ANATOMY_REFUSED'
        )
    found = []
    for marker in message.markers:
        kind = _MODEL_KINDS.get(marker.type)
        if kind is None or marker.action != ADD:
            continue
        x, y, z = marker.scale.x, marker.scale.y, marker.scale.z
        if not (np.isfinite((x, y, z)).all() and min(x, y, z) > 0.0):
            raise InputError(f'{topic}: a {kind} of size {x}, {y}, {z}', code='ANATOMY_REFUSED')
        size = {'cylinder': (0.5 * x, z), 'sphere': (0.5 * x,), 'box': (x, y, z)}[kind]
        pose = matrix_of(marker.pose.position, marker.pose.orientation, name=topic)
        colour = (marker.color.r, marker.color.g, marker.color.b)
        key = f'{topic}/{marker.ns}_{marker.id}'
        found.append(ModelShape(key, marker.header.frame_id, kind, size, pose, colour))
    return tuple(found)
