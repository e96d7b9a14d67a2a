"""ROS messages to the records of the view; whatever cannot be used is refused with its reason."""

from typing import Any

import numpy as np

from twin_nodes.app.view.records import (
    Check,
    Clearance,
    Event,
    Level,
    ModelShape,
    Region,
    Regions,
    Route,
    StructureClearance,
    Target,
)
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.clouds import ZONES, array_from_cloud
from twin_nodes.ros.conversions import check_header, matrix_of, stamp_to_ns
from twin_nodes.ros.marker_reading import read_markers
from twin_nodes.ros.region_markers import STRUCTURE

ADD = 0
MAX_MODEL_SHAPES = 2000
_MODEL_KINDS = {1: 'box', 2: 'sphere', 3: 'cylinder'}  # numbers of visualization_msgs/Marker
_LINE_STRIP, _TEXT, _TRIANGLE_LIST = 4, 9, 11
MAX_REGIONS = 64
MAX_MARGIN = 0.1  # m
_PAIRS = ('xx', 'xy', 'xz', 'yy', 'yz', 'zz')
_COVARIANCES = (tuple(f'c{pair}' for pair in _PAIRS), tuple(f'cov_{pair}' for pair in _PAIRS))
_UPPER = np.triu_indices(3)
_FINITE = ('x', 'y', 'z', 'distance', 'sigma', 'probability', 'time_to_contact')
_NEEDED = (*_FINITE, 'zone', 'part', 'structure')


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
    namespace, _, node = node.strip('/').rpartition('/')
    return Check(
        node=node,
        check=check,
        level=Level(min(ord(status.level), max(Level))),
        code=values.pop('code', ''),
        message=status.message,
        values=values,
        stamp_ns=stamp_ns,
        namespace=namespace,
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


def pose_of(message: Any) -> tuple[str, Array, int]:
    """Read a PoseStamped: frame, pose (4, 4), stamp [ns].

    Raises:
        InputError: stamp 0, or a pose that is none.
    """
    stamp_ns = check_header(message.header, frame=None, name='prediction')
    pose = message.pose
    return message.header.frame_id, matrix_of(pose.position, pose.orientation, name='prediction'), stamp_ns


def force_of(message: Any) -> tuple[str, Array]:
    """Read a WrenchStamped: frame, force [N], shape (3,).

    Raises:
        InputError: NOT_FINITE.
    """
    force = message.wrench.force
    found = np.array([force.x, force.y, force.z])
    if not np.isfinite(found).all():
        raise InputError(f'fixture: the force {found.tolist()} has NaN or Inf', code='NOT_FINITE')
    return message.header.frame_id, found


def targets_of(message: Any, names: dict[int, str]) -> list[Target]:
    """Read `anatomy/targets` or `registration/targets`; names by id where they are known.

    Raises:
        InputError: fields are missing, or values not finite.
    """
    rows = array_from_cloud(message)
    fields = rows.dtype.names or ()
    upper = next((names for names in _COVARIANCES if set(names) <= set(fields)), None)
    if upper is None or not {'x', 'y', 'z', 'id'} <= set(fields):
        raise InputError(f'targets: fields {", ".join(fields)}; x, y, z, id and six of the covariance are needed')
    places = np.stack([rows[axis].astype(float) for axis in 'xyz'], axis=1)
    covariances = np.empty((len(rows), 3, 3))
    for name, row, column in zip(upper, *_UPPER, strict=True):
        covariances[:, row, column] = covariances[:, column, row] = rows[name]
    if not (np.isfinite(places).all() and np.isfinite(covariances).all()):
        raise InputError('targets: NaN or Inf', code='NOT_FINITE')
    frame = message.header.frame_id
    return [
        Target(names.get(int(index), f'target {int(index)}'), frame, place, covariance, int(index))
        for index, place, covariance in zip(rows['id'], places, covariances, strict=True)
    ]


def target_names(check: Check) -> dict[int, str]:
    """Names of targets by id, from the check that tells them; empty for any other check."""
    if check.check == 'targets':
        return {int(key): value for key, value in check.values.items() if key.isdigit()}
    told = [key[4:-3] for key in check.values if key.startswith('tre ') and key.endswith(' mm')]
    return dict(enumerate(told))


def routes_of(data: bytes) -> list[Route]:
    """Read `guidance/routes`: LINE_STRIP markers, each with a text of the same id.

    Raises:
        InputError: bytes that are no MarkerArray, or points that are not finite.
    """
    markers = [marker for marker in read_markers(data) if marker.action == ADD]
    words = {marker.index: marker.text for marker in markers if marker.kind == _TEXT}
    routes = []
    for marker in markers:
        if marker.kind != _LINE_STRIP or len(marker.points) < 2:
            continue
        if not np.isfinite(marker.points).all():
            raise InputError('guidance/routes: NaN or Inf', code='NOT_FINITE')
        text = words.get(marker.index, '')
        routes.append(Route(marker.frame, np.asarray(marker.points, float), text, '(chosen)' in text))
    return routes


def regions_of(data: bytes) -> Regions:
    """Read `guidance/regions`, whose layout is in `ros.region_markers`.

    Raises:
        InputError: bytes that are no MarkerArray, triangles that are not whole or not finite, a margin that is none,
            more than MAX_REGIONS.
    """
    shapes, margins = [], {}
    for marker in read_markers(data):
        if marker.action == ADD and marker.kind == _TRIANGLE_LIST:
            if not len(marker.points) or len(marker.points) % 3 or not np.isfinite(marker.points).all():
                raise InputError(f'guidance/regions: {marker.text!r} has no whole and finite triangles')
            shapes.append(Region(marker.text, marker.frame, np.asarray(marker.points, float)))
        elif marker.action == ADD and marker.name == STRUCTURE:
            margin = float(marker.scale[0])
            if not 0.0 <= margin <= MAX_MARGIN:
                raise InputError(f'guidance/regions: {marker.text!r} reaches {margin} m, expected 0 … {MAX_MARGIN} m')
            margins[marker.index] = margin
    if len(shapes) > MAX_REGIONS:
        raise InputError(f'guidance/regions: {len(shapes)} shapes are above the limit of {MAX_REGIONS}')
    return Regions(tuple(shapes), margins)


def link_text(checks: list[Check]) -> str:
    """One line about the link from its state: mode and delay."""
    for check in checks:
        if check.check == 'link':
            mode, delay = check.values.get('mode', ''), check.values.get('delay_ms', '')
            try:
                return f'link {mode}, delay {float(delay):.0f} ms'
            except ValueError:
                return f'link {mode}' if mode else ''
    return ''
