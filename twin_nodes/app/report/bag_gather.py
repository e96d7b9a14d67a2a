"""Walks through a bag once and keeps what a report tells."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import pose_topics, poses_of, stamp_of
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.part import BagMessage
from twin_nodes.io.bags.reader import BagReader

_STATES = ('calibration', 'registration', 'guidance: chain')
_CLEARANCE = ('distance', 'sigma', 'probability', 'structure')
_TARGETS = ('x', 'y', 'z', 'cxx', 'cyy', 'czz', 'id')
_CHANGING = {'carving': ('removed_',), 'deforming': ('displacement_', 'volume_change_')}  # what is drawn over time
_POINT_FIELDS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
_KEPT = 100_000


@dataclass(frozen=True)
class TieSigma:
    """A tie as it was used last.

    Args:
        position: σ of its position [m].
        rotation: σ of its rotation [rad].
        after: When it was known [s].
        from_file: Whether it was known beforehand (stamp 0).
        sha256: Of its pose and covariance, 43 numbers as little-endian doubles.
    """

    position: float
    rotation: float
    after: float
    from_file: bool
    sha256: str


@dataclass
class Fault:
    """A check that was not well: when first and last [s], how often, and what it said last."""

    first: float
    last: float
    count: int
    message: str


@dataclass
class Gathered:
    """What was seen; times in seconds since the start of the bag, lengths in millimetres where people read them."""

    start_ns: int
    measured: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ties: dict[str, TieSigma] = field(default_factory=dict)
    states: dict[str, dict[str, float]] = field(default_factory=dict)
    anatomy: dict[str, dict[str, float]] = field(default_factory=dict)
    tip_sigma: list[tuple[float, ...]] = field(default_factory=list)
    clearance: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    names: dict[int, str] = field(default_factory=dict)
    anatomy_series: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    target_names: dict[int, str] = field(default_factory=dict)
    targets: dict[int, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    link: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    events: list[tuple[float, str, str, str]] = field(default_factory=list)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)


def gather(reader: BagReader) -> Gathered:
    """Read all messages that a report tells of."""
    seen = Gathered(reader.start_ns)
    takers = {topic: taker for topic in reader.topics if (taker := _taker(topic, reader.topics[topic].type_name))}
    if not any(topic.endswith('/measured_cp') for topic in takers):  # a bag of others: whatever has poses
        takers |= {topic: _take_poses for topic in pose_topics(reader) if topic not in takers}
    markers = [topic for topic in takers if topic.endswith('anatomy/surface')]
    for chosen in (markers, [topic for topic in takers if topic not in markers]):
        for message in reader.messages(chosen) if chosen else ():
            takers[message.topic](seen, message, reader.decode(message))
    return seen


def _taker(topic: str, kind: str) -> Callable[[Gathered, BagMessage, Any], None] | None:
    if topic.endswith('/measured_cp'):
        return _take_measured
    if kind == 'diagnostic_msgs/msg/DiagnosticArray':
        return _take_event if topic.endswith('events') else _take_link if topic.endswith('link/state') else _take_health
    known = {
        'guidance/tip': _take_tip,
        'guidance/clearance': _take_clearance,
        'anatomy/surface': _take_surface,
        'anatomy/targets': _take_targets,
    }
    for ending, taker in known.items():
        if topic.endswith(ending):
            return taker
    is_tie = kind == 'geometry_msgs/msg/PoseWithCovarianceStamped'
    return _take_tie if is_tie and ('calibration/' in topic or topic.endswith('registration')) else None


def _after(seen: Gathered, message: BagMessage) -> float:
    return (message.log_time_ns - seen.start_ns) / NANOSECONDS


def _take_measured(seen: Gathered, message: BagMessage, record: Any) -> None:
    seen.measured[message.topic].append(stamp_of(record))


def _take_poses(seen: Gathered, message: BagMessage, record: Any) -> None:
    for pose in poses_of(message.topic, message.type_name, record):
        seen.measured[pose.stream].append(pose.stamp_ns)


def _take_tie(seen: Gathered, message: BagMessage, record: Any) -> None:
    covariance = np.asarray(record.pose.covariance, dtype=float).reshape(6, 6)
    if covariance[0, 0] < 0.0:  # withdrawn
        seen.ties.pop(message.topic, None)
        return
    position, rotation = (float(np.sqrt(np.trace(part))) for part in (covariance[:3, :3], covariance[3:, 3:]))
    pose = record.pose.pose
    numbers = [getattr(pose.position, axis) for axis in 'xyz'] + [getattr(pose.orientation, axis) for axis in 'xyzw']
    digest = hashlib.sha256(np.array([*numbers, *covariance.ravel()], '<f8').tobytes()).hexdigest()
    seen.ties[message.topic] = TieSigma(position, rotation, _after(seen, message), stamp_of(record) == 0, digest)


def _take_tip(seen: Gathered, message: BagMessage, record: Any) -> None:
    covariance = np.asarray(record.pose.covariance, dtype=float).reshape(6, 6)
    seen.tip_sigma.append((_after(seen, message), 1e3 * float(np.sqrt(np.trace(covariance[:3, :3])))))


def _take_surface(seen: Gathered, message: BagMessage, record: Any) -> None:
    seen.names |= {marker.id: marker.ns for marker in record.markers}


def _take_clearance(seen: Gathered, message: BagMessage, record: Any) -> None:
    for row in _points(record, _CLEARANCE):
        name = seen.names.get(int(row['structure']), f'structure {int(row["structure"])}')
        distance, sigma = 1e3 * float(row['distance']), 1e3 * float(row['sigma'])
        seen.clearance[name].append((_after(seen, message), distance, sigma, float(row['probability'])))


def _take_targets(seen: Gathered, message: BagMessage, record: Any) -> None:
    """Keep σ [mm] and place [mm] of each target over time."""
    after = _after(seen, message)
    for row in _points(record, _TARGETS):
        rows = seen.targets[int(row['id'])]
        variance = float(row['cxx']) + float(row['cyy']) + float(row['czz'])
        if len(rows) < _KEPT and variance >= 0.0:
            place = (1e3 * float(row[axis]) for axis in 'xyz')
            rows.append((after, 1e3 * float(np.sqrt(variance)), *place))


def _points(record: Any, names: tuple[str, ...]) -> np.ndarray:
    """Rows of a PointCloud2 as a structured array of the named fields; none when one is missing."""
    fields = {entry.name: entry for entry in record.fields}
    if any(name not in fields or fields[name].datatype not in _POINT_FIELDS for name in names):
        return np.empty(0)
    order = '>' if record.is_bigendian else '<'
    dtype = np.dtype({
        'names': list(names),
        'formats': [order + _POINT_FIELDS[fields[name].datatype] for name in names],
        'offsets': [fields[name].offset for name in names],
        'itemsize': record.point_step,
    })  # fmt: skip
    return np.frombuffer(bytes(record.data), dtype=dtype, count=record.width * record.height)


def _values(status: Any) -> tuple[str, dict[str, float]]:
    """Code of a status, and its values that are numbers."""
    code, numbers = '', {}
    for pair in status.values:
        if pair.key == 'code':
            code = pair.value
            continue
        try:
            number = float(pair.value)
        except ValueError:
            continue
        if np.isfinite(number):
            numbers[pair.key] = number
    return code, numbers


def _level(status: Any) -> str:
    level = status.level
    return str(level[0] if isinstance(level, (bytes, bytearray)) else int(level))


def _take_health(seen: Gathered, message: BagMessage, record: Any) -> None:
    after = _after(seen, message)
    for status in record.status:
        code, numbers = _values(status)
        if status.name.rpartition('/')[2].startswith(_STATES) and not status.name.endswith('counters'):
            seen.states[status.name] = numbers
        if status.name.rpartition('/')[2].startswith('anatomy') and not status.name.endswith('counters'):
            seen.anatomy[status.name] = numbers
            _take_anatomy(seen, after, status, numbers)
        if _level(status) == '0':
            continue
        fault = seen.faults.setdefault((status.name, code), Fault(after, after, 0, ''))
        fault.last, fault.count, fault.message = after, fault.count + 1, status.message


def _take_anatomy(seen: Gathered, after: float, status: Any, numbers: dict[str, float]) -> None:
    """Keep names of targets, and what changes while tissue is carved or deformed."""
    if status.name.endswith(': targets'):
        seen.target_names |= {int(pair.key): pair.value for pair in status.values if pair.key.isdigit()}
    drawn = _CHANGING.get(status.name.rpartition(': ')[2], ())
    for key, value in numbers.items() if drawn else ():
        if key.startswith(drawn) and len(seen.anatomy_series[key]) < _KEPT:
            seen.anatomy_series[key].append((after, value))


def _take_event(seen: Gathered, message: BagMessage, record: Any) -> None:
    for status in record.status:
        if len(seen.events) < _KEPT:
            seen.events.append((_after(seen, message), _level(status), _values(status)[0], status.message))


def _take_link(seen: Gathered, message: BagMessage, record: Any) -> None:
    after, site = _after(seen, message), message.topic.strip('/').removesuffix('link/state')
    for status in record.status:
        for key, number in _values(status)[1].items():
            rows = seen.link[f'{site}{status.name} {key}']
            if len(rows) < _KEPT:
                rows.append((after, number))
