"""`twin export BAG`: what a bag holds in the forms that other tools read.

`tum` and `csv` write one table of poses per topic (evo reads both: `evo_traj tum FILE`, and TUM is the order
t x y z qx qy qz qw in seconds and metres), and per child frame of tf where no topic has poses or tf is named. `csv`
takes plain numbers, forces and joint states as well. `vtk` writes the last surface of each
structure, legacy VTK in metres, for PyVista, ParaView and 3D Slicer.
"""

import csv
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import POSES, TREE, pose_topics, poses_of, stamp_of
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.part import BagMessage
from twin_nodes.io.bags.reader import BagReader

Row = tuple[str, ...]

_NUMBERS = ('std_msgs/msg/Float64', 'std_msgs/msg/Float32', 'std_msgs/msg/Int32', 'std_msgs/msg/Bool')
_WRENCH = 'geometry_msgs/msg/WrenchStamped'
_JOINTS = 'sensor_msgs/msg/JointState'
FORMS = ('tum', 'csv', 'vtk')  # and lerobot, in export_lerobot


def export(
    bag: Path, form: str, *, topics: tuple[str, ...] = (), output: Path | None = None, receive_times: bool = False
) -> int:
    """Write what a bag holds as files of another form.

    Args:
        bag: The bag.
        form: One of `FORMS`.
        topics: Topics to write; all that the form can hold when empty, and tf where nothing else has poses.
        output: Folder; `<form>` beside the bag when not given.
        receive_times: Whether the times of recording stand for the stamps, where these say nothing.

    Raises:
        ConfigError: for a form that is not known.
        InputError: when the bag has nothing that the form can hold.
    """
    if form not in FORMS:
        raise ConfigError(f'form {form!r} is none of {", ".join(FORMS)}, lerobot')
    reader = BagReader(bag)
    folder = output or bag.resolve().parent / form
    written = (
        _surfaces(reader, folder)
        if form == 'vtk'
        else _tables(reader, folder, form, topics, receive_times=receive_times)
    )
    for path, count in written.items():
        print(f'{count:8d} {path}')
    return 0


def _wanted(reader: BagReader, form: str, topics: tuple[str, ...]) -> dict[str, str]:
    """Type of each topic to write."""
    kinds = {name: topic.type_name for name, topic in reader.topics.items()}
    known = {*POSES, TREE} if form == 'tum' else {*POSES, TREE, *_NUMBERS, _WRENCH, _JOINTS}
    held = {name: kind for name, kind in kinds.items() if kind in known}
    missing = [topic for topic in topics if topic not in held]
    if missing or not held:
        what = f'no poses or numbers on {missing[0]}' if missing else f'nothing that {form} can hold'
        raise InputError(f'{reader.path.name}: {what}; it has {", ".join(sorted(held)) or "none"}')
    if topics:
        return {name: held[name] for name in topics}
    poses = pose_topics(reader)
    return {name: kind for name, kind in held.items() if reader.counts[name] and (kind != TREE or name in poses)}


@dataclass
class _Table:
    """One table as it grows."""

    kind: str
    names: tuple[str, ...] = ()  # of joints
    rows: list[Row] = field(default_factory=list)
    invalid: int = 0


def _tables(
    reader: BagReader, folder: Path, form: str, topics: tuple[str, ...], *, receive_times: bool
) -> dict[Path, int]:
    kinds = _wanted(reader, form, topics)
    tables = {topic: _Table(kind) for topic, kind in kinds.items() if kind not in (TREE, _JOINTS)}
    for message in reader.messages(kinds):
        log_ns = message.log_time_ns if receive_times else None
        for stream, names, row in _rows(message, reader.decode(message), log_ns):
            table = tables.setdefault(stream, _Table(message.type_name, names))
            if row is None:
                table.invalid += 1
            else:
                table.rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for stream, table in tables.items():
        path = _file(folder, stream, form, written)
        _write(path, table, form)
        written[path] = len(table.rows)
        if table.invalid:
            print(
                f'{stream}: {table.invalid} of {table.invalid + len(table.rows)} messages have stamp 0 or no finite '
                'values, and are left out; --receive-times takes the times of recording',
                file=sys.stderr,
            )
    return written


def _file(folder: Path, stream: str, form: str, taken: Collection[Path]) -> Path:
    """Return the file of a stream: its name, of joints that of their topic; with a number where it is taken."""
    topic, _, child = stream.partition('#')
    word = re.sub(r'[^A-Za-z0-9_.-]+', '_', topic if ',' in child else stream).strip('_')
    paths = (folder / f'{word}{number}.{form}' for number in ('', *(f'_{k}' for k in range(2, 10_000))))
    return next(path for path in paths if path not in taken)


def _rows(message: BagMessage, record: Any, log_ns: int | None) -> Iterator[tuple[str, tuple[str, ...], Row | None]]:
    """Yield stream, names of joints and line of each value of a message, the stamp first; None for what is invalid.

    Invalid is what has stamp 0, CRTK's word for it, or is not finite.
    """
    topic, kind = message.topic, message.type_name
    if kind == TREE or kind in POSES:
        for pose in poses_of(topic, kind, record):
            (p, q) = (pose.position, pose.orientation)
            yield pose.stream, (), _line(log_ns or pose.stamp_ns, [p.x, p.y, p.z, q.x, q.y, q.z, q.w])
    elif kind == _WRENCH:
        force, torque = record.wrench.force, record.wrench.torque
        values = [force.x, force.y, force.z, torque.x, torque.y, torque.z]
        yield topic, (), _line(log_ns or stamp_of(record), values)
    elif kind == _JOINTS:
        names = tuple(sorted(record.name))  # the order may change from message to message
        at = dict(zip(record.name, record.position, strict=False))
        if names and len(at) == len(names) == len(record.position):
            yield f'{topic}#{",".join(names)}', names, _line(log_ns or stamp_of(record), [at[name] for name in names])
    else:
        yield topic, (), (_seconds(message.log_time_ns), repr(float(record.data)))


def _line(stamp_ns: int, values: list[float]) -> Row | None:
    if stamp_ns == 0 or not np.isfinite(values).all():
        return None
    return (_seconds(stamp_ns), *(repr(float(value)) for value in values))


def _seconds(stamp_ns: int) -> str:
    """All nanoseconds, which a float would lose."""
    return f'{stamp_ns // NANOSECONDS}.{stamp_ns % NANOSECONDS:09d}'


def _write(path: Path, table: _Table, form: str) -> None:
    with path.open('w', encoding='utf-8', newline='') as stream:
        if form == 'tum':
            stream.write('# t x y z qx qy qz qw\n')
            stream.writelines(' '.join(row) + '\n' for row in table.rows)
            return
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(('t', *_headings(table)))
        writer.writerows(table.rows)


def _headings(table: _Table) -> Row:
    if table.kind == TREE or table.kind in POSES:
        return ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
    if table.kind == _WRENCH:
        return ('fx', 'fy', 'fz', 'tx', 'ty', 'tz')
    return table.names or ('value',)


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
