"""`twin export BAG`: what a bag holds in the forms that other tools read.

`tum` and `csv` write one table of poses per topic (evo reads both: `evo_traj tum FILE`, and TUM is the order
t x y z qx qy qz qw in seconds and metres). `csv` takes plain numbers as well. `vtk` writes the last surface of each
structure, legacy VTK in metres, for PyVista, ParaView and 3D Slicer.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader

Row = tuple[str, ...]

_POSES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    'geometry_msgs/msg/PoseStamped': lambda message: (message.pose.position, message.pose.orientation),
    'geometry_msgs/msg/PoseWithCovarianceStamped': lambda message: (
        message.pose.pose.position,
        message.pose.pose.orientation,
    ),
    'geometry_msgs/msg/TransformStamped': lambda message: (message.transform.translation, message.transform.rotation),
}
_NUMBERS = ('std_msgs/msg/Float64', 'std_msgs/msg/Float32', 'std_msgs/msg/Int32', 'std_msgs/msg/Bool')
_WRENCH = 'geometry_msgs/msg/WrenchStamped'
FORMS = ('tum', 'csv', 'vtk')  # and lerobot, in export_lerobot


def export(bag: Path, form: str, *, topics: tuple[str, ...] = (), output: Path | None = None) -> int:
    """Write what a bag holds as files of another form.

    Args:
        bag: The bag.
        form: One of `FORMS`.
        topics: Topics to write; all that the form can hold when empty.
        output: Folder; `<form>` beside the bag when not given.

    Raises:
        ConfigError: for a form that is not known.
        InputError: when the bag has nothing that the form can hold.
    """
    if form not in FORMS:
        raise ConfigError(f'form {form!r} is none of {", ".join(FORMS)}, lerobot')
    reader = BagReader(bag)
    folder = output or bag.resolve().parent / form
    written = _surfaces(reader, folder) if form == 'vtk' else _tables(reader, folder, form, topics)
    for path, count in written.items():
        print(f'{count:8d} {path}')
    return 0


def _wanted(reader: BagReader, form: str, topics: tuple[str, ...]) -> dict[str, str]:
    """Type of each topic to write."""
    known = {*_POSES} if form == 'tum' else {*_POSES, *_NUMBERS, _WRENCH}
    kinds = {name: topic.type_name for name, topic in reader.topics.items() if topic.type_name in known}
    missing = [topic for topic in topics if topic not in kinds]
    if missing or not kinds:
        what = f'no poses or numbers on {missing[0]}' if missing else f'nothing that {form} can hold'
        raise InputError(f'{reader.path.name}: {what}; it has {", ".join(sorted(kinds)) or "none"}')
    return {name: kind for name, kind in kinds.items() if not topics or name in topics}


def _tables(reader: BagReader, folder: Path, form: str, topics: tuple[str, ...]) -> dict[Path, int]:
    kinds = _wanted(reader, form, topics)
    rows: dict[str, list[Row]] = {topic: [] for topic in kinds}
    for message in reader.messages(kinds):
        row = _row(reader.decode(message), message.type_name, message.log_time_ns)
        if row is not None:
            rows[message.topic].append(row)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for topic, found in rows.items():
        path = folder / f'{topic.strip("/").replace("/", "_")}.{form}'
        _write(path, found, form, kinds[topic])
        written[path] = len(found)
    return written


def _row(record: Any, kind: str, log_time_ns: int) -> Row | None:
    """One line of a table, the stamp first; None for a pose that was never measured (stamp 0) or is not finite."""
    if kind in _POSES:
        position, orientation = _POSES[kind](record)
        values = [position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w]
    elif kind == _WRENCH:
        force, torque = record.wrench.force, record.wrench.torque
        values = [force.x, force.y, force.z, torque.x, torque.y, torque.z]
    else:
        return _seconds(log_time_ns), repr(float(record.data))
    stamp_ns = record.header.stamp.sec * NANOSECONDS + record.header.stamp.nanosec
    if stamp_ns == 0 or not np.isfinite(values).all():
        return None
    return (_seconds(stamp_ns), *(repr(float(value)) for value in values))


def _seconds(stamp_ns: int) -> str:
    """All nanoseconds, which a float would lose."""
    return f'{stamp_ns // NANOSECONDS}.{stamp_ns % NANOSECONDS:09d}'


def _write(path: Path, rows: list[Row], form: str, kind: str) -> None:
    with path.open('w', encoding='utf-8', newline='') as stream:
        if form == 'tum':
            stream.write('# t x y z qx qy qz qw\n')
            stream.writelines(' '.join(row) + '\n' for row in rows)
            return
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(_headings(kind))
        writer.writerows(rows)


def _headings(kind: str) -> Row:
    if kind in _POSES:
        return ('t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
    if kind == _WRENCH:
        return ('t', 'fx', 'fy', 'fz', 'tx', 'ty', 'tz')
    return ('t', 'value')


def _surfaces(reader: BagReader, folder: Path) -> dict[Path, int]:
    """The last surface of each structure; returns the number of triangles of each file."""
    topics = [name for name in reader.topics if name.endswith('anatomy/surface')]
    if not topics:
        raise InputError(f'{reader.path.name}: no anatomy/surface; it has {", ".join(sorted(reader.topics))}')
    last: dict[str, Any] = {}
    for message in reader.messages(topics):
        last |= {marker.ns: marker for marker in reader.decode(message).markers if len(marker.points)}
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, marker in last.items():
        path = folder / f'{"".join(letter if letter.isalnum() else "_" for letter in name)}.vtk'
        corners = np.array([(point.x, point.y, point.z) for point in marker.points])
        vertices, indices = np.unique(corners, axis=0, return_inverse=True)
        triangles = indices.reshape(-1, 3)
        path.write_text('\n'.join(_vtk_lines(name, vertices, triangles)), encoding='ascii', errors='replace')
        written[path] = len(triangles)
    return written


def _vtk_lines(name: str, vertices: np.ndarray, triangles: np.ndarray) -> Iterator[str]:
    yield from ('# vtk DataFile Version 3.0', f'{name} [m], LPS', 'ASCII', 'DATASET POLYDATA')
    yield f'POINTS {len(vertices)} double'
    yield from (f'{x!r} {y!r} {z!r}' for x, y, z in vertices.tolist())
    yield f'POLYGONS {len(triangles)} {4 * len(triangles)}'
    yield from (f'3 {a} {b} {c}' for a, b, c in triangles.tolist())
    yield ''
