"""Streams of poses from files, as `twin calibrate` takes them, and other ways in which they may be meant."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_recordings import choose_device
from twin_nodes.core.calibration.temporal_stream import PoseStream, pose_stream
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, quat_from_rotation, rotation_from_quat
from twin_nodes.io.recordings.opening import is_pose_table, open_recording
from twin_nodes.io.recordings.pose_csv import read_pose_csv
from twin_nodes.io.recordings.pose_rows import ORDER_GUESSED
from twin_nodes.io.recordings.recording import Recording
from twin_nodes.io.recordings.table_archive import member_names


@dataclass(frozen=True, eq=False)
class NamedStream:
    """A stream and where it came from.

    Args:
        name: For people.
        stream: The poses.
        sha256: Of the data.
        notes: What was left out or assumed, one line each.
        inverted: Whether the poses were inverted when they were read.
    """

    name: str
    stream: PoseStream
    sha256: str
    notes: tuple[str, ...] = ()
    inverted: bool = False

    @property
    def is_order_guessed(self) -> bool:
        """Whether nothing told the order of its quaternions."""
        return any(note.endswith(ORDER_GUESSED) for note in self.notes)


def open_stream(path: Path | str, *, member: str = '', device: str = '', invert: bool = False) -> NamedStream:
    """Read a stream of poses from a table, a zip archive of tables, or one device of a tracker recording.

    Args:
        path: The file.
        member: Table within an archive.
        device: Tool in a recording; may be left out for tables of poses and where there is only one.
        invert: Whether the file holds the fixed frame in the moving one.

    Raises:
        InputError: No such file, member or device, or no poses in it.
    """
    if device:
        found = _of_recording(open_recording(path), device)
    elif not member and _is_other_recording(Path(path)):
        recording = open_recording(path)
        found = _of_recording(recording, choose_device(recording, '', ''))
    else:
        table = read_pose_csv(path, member=member)
        found = NamedStream(table.name, table.stream, table.sha256, table.notes)
    return turned(found) if invert else found


def _is_other_recording(path: Path) -> bool:
    """Whether a path is a recording that is no table of poses; one in an archive is where it holds no such table."""
    if path.is_dir():
        return True
    if not path.is_file():
        return False
    if path.suffix.lower() == '.zip':
        return not member_names(path)
    try:
        return not is_pose_table(path)
    except InputError:
        return False


def _of_recording(recording: Recording, device: str) -> NamedStream:
    stamps, poses = recording.tracked(device)
    if not stamps:
        raise InputError(f'{recording.path.name}: {device} was never seen', code='TOOL_LOST')
    return NamedStream(device, pose_stream(np.array(stamps), poses), recording.sha256, recording.notes)


def turned(named: NamedStream) -> NamedStream:
    """Return a stream with each pose inverted."""
    return replace(_posed(named, inverse(named.stream.poses)), inverted=not named.inverted)


def reordered(named: NamedStream) -> NamedStream:
    """Return a stream whose quaternions were taken as x y z w as if they were w x y z."""
    quaternions = np.array([quat_from_rotation(pose[:3, :3]) for pose in named.stream.poses])
    return _posed(named, make_transform(rotation_from_quat(quaternions[:, [1, 2, 3, 0]]), named.stream.poses[:, :3, 3]))


def scaled(named: NamedStream, factor: float) -> NamedStream:
    """Return a stream with its positions multiplied."""
    poses = named.stream.poses
    return _posed(named, make_transform(poses[:, :3, :3], factor * poses[:, :3, 3]))


def _posed(named: NamedStream, poses: Array) -> NamedStream:
    return replace(named, stream=replace(named.stream, poses=poses))
