"""Stacks of 4×4 matrices in one file: lines of 12 or 16 numbers, four lines each, numpy, Matlab and JSON arrays.

A line may begin with its stamp. Nothing here knows of units or of what is no pose: see `pose_matrices`.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, rotation_from_quat
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.pose_matrices import HUGE, LAST, PRINTED, shear_of
from twin_nodes.io.recordings.pose_rows import stamp_of

NPY, MAT, MAT73 = b'\x93NUMPY', b'MATLAB 5.0 MAT-file', b'MATLAB 7.3 MAT-file'
WIDTHS = (4, 12, 13, 16, 17)
_TIMES = ('t', 'time', 'times', 'timestamp', 'timestamps', 'stamp', 'stamps', 'stamp_ns', 'time_s')
_MATRICES = ('matrix', 'transform', 'pose', 'tracker_t_tool', 'transformation')
_PLACES = ('position', 'translation')
_TURNS = ('orientation', 'rotation', 'quaternion')
_LOOKED_AT = 50
_MAX_UNPACKED = 256 << 20
_MAX_DEPTH = 6


@dataclass(frozen=True, eq=False)
class Stack:
    """Matrices as written.

    Args:
        matrices: Shape (n, 4, 4).
        times: Stamp of each, in the unit of the file; None where there are none.
    """

    matrices: Array
    times: tuple[Decimal, ...] | None = None


def stack_of_lines(lines: Sequence[Sequence[str]]) -> Stack | None:
    """Return the matrices in the cells of lines without a header; None where these are something else."""
    widths = {len(cells) for cells in lines}
    if len(widths) != 1 or not lines:
        return None
    width = widths.pop()
    if width not in WIDTHS:
        return None
    try:
        numbers = np.array([[float(cell) for cell in cells] for cells in lines])
    except ValueError:
        return None
    times = tuple(stamp_of(cells[0]) for cells in lines) if width in (13, 17) else None
    body = numbers[:, 1:] if times else numbers
    if width == 4:
        if len(body) % 4 or len(body) < 8:
            return None
        body = body.reshape(-1, 16)
    return Stack(_padded(body), times) if _are_poses(_padded(body)) else None


def stack_of_bytes(data: bytes, where: str) -> Stack | None:
    """Return the matrices of a numpy, Matlab or JSON file; None where the bytes are none of these.

    Raises:
        InputError: One of these, but with no matrices in it, several stacks, or damaged.
    """
    if not data.startswith((NPY, b'PK', MAT, MAT73, b'[', b'{')):
        return None
    try:
        arrays = _arrays(data, where)
    except InputError:
        raise
    except Exception as error:  # damaged files raise many kinds, in numpy, scipy and json
        raise InputError(f'{where}: cannot be read ({type(error).__name__}: {error})') from None
    found = [(name, stack) for name, array in arrays.items() if (stack := _stack(array)) is not None]
    if len(found) != 1:
        names = ', '.join(f'{name} {np.shape(array)}' for name, array in list(arrays.items())[:8]) or 'nothing'
        raise InputError(
            f'{where}: {len(found) or "no"} stacks of 4×4 matrices in it, expected one, of shape (n, 4, 4) or '
            f'(4, 4, n); it holds {names}'
        )
    stack = found[0][1]
    if stack.times is None:
        for name, array in arrays.items():
            values = np.ravel(array)
            if name.lower() in _TIMES and values.dtype.kind in 'iufU' and len(values) == len(stack.matrices):
                return Stack(stack.matrices, tuple(stamp_of(str(value)) for value in values.tolist()))
    return stack


def _arrays(data: bytes, where: str) -> dict[str, Any]:
    if data.startswith(NPY):
        return {'array': np.load(io.BytesIO(data), allow_pickle=False)}
    if data.startswith(b'PK'):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_UNPACKED:
            raise InputError(f'{where}: {size} bytes unpacked, limit {_MAX_UNPACKED}')
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    if data.startswith(MAT73):
        raise InputError(f"{where}: Matlab 7.3 is not read; type save('file.mat', 'T', '-v7') in Matlab")
    if data.startswith(MAT):
        from scipy.io import loadmat

        return {
            name: value for name, value in loadmat(cast(Any, io.BytesIO(data))).items() if not name.startswith('__')
        }
    document = json.loads(data)
    poses = list(_json_poses(document))
    times = [time for time, _ in poses]
    found = {'poses': np.array([matrix for _, matrix in poses])} if poses else {}
    if poses and all(isinstance(time, int | float | Decimal) and not isinstance(time, bool) for time in times):
        found['times'] = np.array([str(time) for time in times])
    return found


def _json_poses(node: Any, time: Any = None, depth: int = 0) -> Iterator[tuple[Any, list[Any]]]:
    """Yield (stamp or None, 16 numbers) of each matrix in a document, in its order."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(node, dict):
        time = next((found for key in node if (found := _json_time(key, node[key])) is not None), time)
        matrix = _json_pose(node)
        if matrix is not None:
            yield time, matrix
            return
        keys = [key for key in node if key.lower() in _MATRICES] or list(node)
        for key in keys:
            yield from _json_poses(node[key], time, depth + 1)
    elif isinstance(node, list):
        flat = [value for row in node for value in (row if isinstance(row, list) else [row])]
        if len(flat) == 16 and all(isinstance(value, int | float) for value in flat):
            yield time, [float(value) for value in flat]
            return
        for child in node:
            yield from _json_poses(child, time, depth + 1)


def _json_time(key: str, value: Any) -> Any:
    """Return the stamp under a key of a document, also that of a header of ROS; None for another key."""
    if isinstance(value, dict):
        value = value.get('stamp', value)
        seconds, rest = (next((value[name] for name in names if name in value), None)
                         for names in (('sec', 'secs'), ('nanosec', 'nsecs')))  # fmt: skip
        return None if seconds is None or rest is None else Decimal(seconds) + Decimal(rest) / NANOSECONDS
    return value if key.lower() in _TIMES and not isinstance(value, list) else None


def _json_pose(node: dict[str, Any]) -> list[float] | None:
    """Return the 16 numbers of a pose that is written as named x, y, z and x, y, z, w; None for anything else."""
    place, turn = (next((node[key] for key in node if key.lower() in names), None) for names in (_PLACES, _TURNS))
    if not (isinstance(place, dict) and isinstance(turn, dict)):
        return None
    try:
        position = [float(place[axis]) for axis in 'xyz']
        quaternion = check_quaternion(np.array([float(turn[axis]) for axis in 'xyzw']))
    except (KeyError, TypeError, ValueError):
        return None
    except InputError:
        return [0.0] * 16  # a tool that was not seen
    return [float(value) for value in make_transform(rotation_from_quat(quaternion), np.array(position)).ravel()]


def _stack(array: Any) -> Stack | None:
    """Return the matrices of an array of any of the shapes in use."""
    array = np.asarray(array)
    if array.dtype == object:  # a cell array of Matlab
        cells = [np.asarray(cell) for cell in array.ravel()]
        if not cells or any(cell.shape != (4, 4) or cell.dtype.kind not in 'iuf' for cell in cells):
            return None
        array = np.array(cells)
    if array.dtype.kind not in 'iuf':
        return None
    array = array.astype(float)
    if array.ndim == 2 and array.shape[1] in (13, 17):
        times, array = tuple(stamp_of(repr(value)) for value in array[:, 0].tolist()), array[:, 1:]
    else:
        times = None
    if array.ndim == 3 and array.shape[1:] not in ((4, 4), (3, 4)) and array.shape[:2] in ((4, 4), (3, 4)):
        array = np.moveaxis(array, 2, 0)
    if array.ndim not in (2, 3) or array[0:1].size not in (12, 16) or not len(array):
        return None
    padded = _padded(array.reshape(len(array), -1))
    return Stack(padded, times) if _are_poses(padded) else None


def _padded(rows: Array) -> Array:
    """Return 16 or 12 numbers a row (n, m) as matrices (n, 4, 4)."""
    if rows.shape[1] == 12:
        rows = np.concatenate([rows, np.broadcast_to(LAST, (len(rows), 4))], axis=1)
    return np.asarray(rows.reshape(-1, 4, 4))


def _are_poses(matrices: Array) -> bool:
    """Whether most of the first matrices are rigid, by row or by column; zeros and NaN count neither way."""
    held = matrices[: 20 * _LOOKED_AT]
    held = held[(np.abs(held) < HUGE).all(axis=(1, 2)) & held[:, :3, :3].any(axis=(1, 2))][:_LOOKED_AT]
    if not len(held):
        return False
    last = (np.abs(held[:, 3] - LAST) < PRINTED).all(axis=1) | (np.abs(held[:, :, 3] - LAST) < PRINTED).all(axis=1)
    return bool((last & (shear_of(held) < PRINTED)).mean() > 0.5)
