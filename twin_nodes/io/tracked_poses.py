"""Poses of the markers on a camera and on a pattern, one matrix in each file, beside the corners of its picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twin_nodes.core.calibration.camera_views import LeftOut
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.corners_text import read_table
from twin_nodes.io.recordings.pose_matrices import BY_COLUMN, LAST, METRES, are_metres, is_by_column, poses_of
from twin_nodes.io.recordings.recording import MM


def read_tracked_poses(
    parts: Sequence[dict[int, Path]], unit: float
) -> tuple[list[dict[int, Array]], list[LeftOut], float, tuple[str, ...]]:
    """Read the poses of markers, one matrix in each file.

    Args:
        parts: Files by the number of their picture, for each marker.
        unit: Metres in a unit of length; millimetres give way to metres where no position is 10 away.

    Returns:
        Poses [m] by number for each marker, those that hold none, metres in a unit as found, and what was assumed.

    Raises:
        InputError: naming the file: another shape, or none of a marker's files holds a pose.
    """
    read: list[list[tuple[int, Path, Array]]] = [
        [(number, path, _matrix(path)) for number, path in part.items()] for part in parts
    ]
    stacks = [np.array([matrix for *_, matrix in part]).reshape(-1, 4, 4) for part in read]
    every = np.concatenate(stacks)
    by_column = is_by_column(every)
    if unit == MM and are_metres(np.swapaxes(every, 1, 2) if by_column else every):
        unit = 1.0
    notes = (*([BY_COLUMN] if by_column else []), *([METRES] if unit == 1.0 and len(every) else []))
    poses, left = [], list[LeftOut]()
    for part, stack in zip(read, stacks, strict=True):
        found = poses_of(stack, metres=unit, by_column=by_column)
        if part and all(found.reasons):
            raise InputError(f'{part[0][1]}: {found.reasons[0]}', code='NOT_A_ROTATION')
        poses.append({part[at][0]: found.poses[at] for at, reason in enumerate(found.reasons) if not reason})
        left += [LeftOut(str(number), f'{path.name} holds no pose: {reason}')
                 for (number, path, _), reason in zip(part, found.reasons, strict=True) if reason]  # fmt: skip
    return poses, left, unit, notes


def read_pose(path: Path, unit: float) -> Array:
    """Read a 4×4 matrix whose positions are in a unit, and return it in metres.

    Raises:
        InputError: naming the file: another shape, or no rotation.
    """
    matrix = _matrix(path)
    if unit == 1.0 and not are_metres(matrix[None]) and matrix[:3, 3].any():
        unit = MM  # metres were found in the poses of the tracker, and are no metres here
    found = poses_of(matrix[None], metres=unit, said=True)
    if found.reasons[0]:
        raise InputError(f'{path}: {found.reasons[0]}', code='NOT_A_ROTATION')
    return np.asarray(found.poses[0])


def _matrix(path: Path) -> Array:
    """Return the numbers of a file as a matrix (4, 4), NaN where they are."""
    table = read_table(path, finite=False)
    if table.shape not in ((4, 4), (3, 4)):
        raise InputError(f'{path}: {table.shape[0]}x{table.shape[1]} numbers, expected a 4×4 pose')
    return np.concatenate([table, [LAST]]) if len(table) == 3 else table
