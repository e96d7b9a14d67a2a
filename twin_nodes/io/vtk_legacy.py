"""Legacy VTK files (.vtk): headers, sections and cells of versions 1.0 to 5.1, ascii and binary."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_cells import Grid
from twin_nodes.io.mesh_limits import check_bytes, check_count

LABEL_NAMES = (
    b'label',
    b'labels',
    b'mat_id',
    b'material',
    b'medit:ref',
    b'gmsh:physical',
    b'nastran:ref',
    b'region',
    b'ids',
)
_HEADER = re.compile(rb'# vtk DataFile[^\n]*\n[^\n]*\n\s*(ASCII|BINARY)\s*\r?\n\s*DATASET\s+(\w+)', re.IGNORECASE)
_TYPES = {
    'float': '>f4', 'double': '>f8', 'char': '>i1', 'unsigned_char': '>u1', 'short': '>i2', 'unsigned_short': '>u2',
    'int': '>i4', 'unsigned_int': '>u4', 'long': '>i8', 'unsigned_long': '>u8', 'vtkidtype': '>i4',
    'vtktypeint32': '>i4', 'vtktypeint64': '>i8', 'vtktypeuint64': '>u8', 'vtktypeuint32': '>u4',
}  # fmt: skip
SCALARS = re.compile(rb'SCALARS\s+(\S+)\s+(\S+)(?:\s+1)?[ \t]*\r?\n\s*LOOKUP_TABLE\s+\S+[ \t]*\r?\n')
_FIELD = re.compile(rb'^(\S+)[ \t]+1[ \t]+(\d+)[ \t]+([a-zA-Z_]\w*)[ \t]*\r?\n', re.MULTILINE)


@dataclass(frozen=True, eq=False)
class VtkFile:
    """A legacy VTK file: its bytes, its kind (such as POLYDATA), and whether its numbers are binary."""

    data: bytes
    kind: str
    binary: bool


def open_vtk(path: Path) -> VtkFile:
    """Read the file and its header.

    Raises:
        InputError: ANATOMY_REFUSED for another format, or counts that the file cannot hold.
    """
    data = path.read_bytes()
    header = _HEADER.match(data[: 1 << 12])
    if header is None:
        raise refusal('no legacy VTK header')
    for match in re.finditer(rb'^(?:POINTS|CELLS|POLYGONS|TRIANGLE_STRIPS|LINES|CELL_TYPES)\s+(\d+)', data, re.M):
        check_count(int(match[1]))
        check_bytes(2 * int(match[1]), len(data))
    return VtkFile(data, header[2].decode().upper(), header[1].upper() == b'BINARY')


def read_points(file: VtkFile) -> Array:
    """Return the points, shape (n, 3)."""
    match = re.search(rb'^POINTS\s+(\d+)\s+(\S+)[ \t]*\r?\n', file.data, re.MULTILINE)
    if match is None:
        raise refusal('no POINTS')
    numbers = vtk_numbers(file.data, match.end(), 3 * int(match[1]), match[2].decode(), file.binary)
    return numbers.astype(np.float64).reshape(-1, 3)


def read_cells(file: VtkFile, keyword: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets (cells + 1,) and corners; rows [size, corners…], or since version 5.1 as they are returned."""
    data = file.data
    match = re.search(rb'^' + keyword + rb'\s+(\d+)\s+(\d+)[ \t]*\r?\n', data, re.MULTILINE)
    if match is None:
        return np.zeros(1, np.int64), np.empty(0, np.int64)
    count, size = int(match[1]), int(match[2])
    check_bytes(2 * size, len(data))
    head = re.compile(rb'OFFSETS\s+(\S+)[ \t]*\r?\n').match(data, match.end())
    if head is None:
        flat = vtk_numbers(data, match.end(), size, 'int', file.binary).astype(np.int64)
        return _split_sizes(flat, count, keyword)
    offsets = vtk_numbers(data, head.end(), count, head[1].decode(), file.binary)
    after = head.end() + (offsets.nbytes if file.binary else 0)
    body = re.compile(rb'CONNECTIVITY\s+(\S+)[ \t]*\r?\n').search(data, after)
    if body is None or count == 0:
        raise refusal(f'{keyword.decode()} without CONNECTIVITY')
    corners = vtk_numbers(data, body.end(), size, body[1].decode(), file.binary)
    return offsets.astype(np.int64), corners.astype(np.int64)


def read_grid(file: VtkFile) -> Grid:
    """Return the cells of an unstructured grid, with their labels where a scalar has such a name."""
    points = read_points(file)
    offsets, corners = read_cells(file, b'CELLS')
    match = re.search(rb'^CELL_TYPES\s+(\d+)[ \t]*\r?\n', file.data, re.MULTILINE)
    if match is None:
        raise refusal('no CELL_TYPES')
    kinds = vtk_numbers(file.data, match.end(), int(match[1]), 'int', file.binary).astype(np.int64)
    return Grid(points, kinds, offsets, corners, _labels(file, len(kinds)))


def vtk_numbers(data: bytes, start: int, count: int, kind: str, binary: bool) -> NDArray[Any]:
    """Read numbers of a VTK type from a place in a legacy VTK file."""
    if kind.lower() not in _TYPES:
        raise refusal(f'numbers of type {kind!r} are not read')
    dtype = np.dtype(_TYPES[kind.lower()])
    if binary:
        check_bytes(start + count * dtype.itemsize, len(data))
        return np.frombuffer(data, dtype, count, start)
    check_bytes(start + 2 * count - 1, len(data))
    stop = re.compile(rb'[A-Z_]{4,}').search(data, start)
    words = data[start : stop.start() if stop else len(data)].split()
    if len(words) < count:
        raise refusal(f'{count} numbers are announced, {len(words)} are there')
    return np.array(words[:count], dtype='S').astype(dtype.newbyteorder('='))


def _split_sizes(flat: NDArray[np.int64], count: int, keyword: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take the sizes out of [size, corners…] rows."""
    if count and len(flat) % count == 0:  # cells that are all alike
        table = flat.reshape(count, -1)
        if table.shape[1] > 0 and (table[:, 0] == table.shape[1] - 1).all():
            return np.arange(count + 1) * (table.shape[1] - 1), table[:, 1:].ravel()
    places, position = np.empty(count, np.int64), 0
    rows = flat.tolist()
    for cell in range(count):
        if position >= len(rows) or rows[position] < 0:
            raise refusal(f'{count} cells do not fit the {len(flat)} numbers of {keyword.decode()}')
        places[cell] = position
        position += 1 + rows[position]
    kept = np.ones(len(flat), np.bool_)
    kept[places] = False
    return np.concatenate([[0], np.cumsum(flat[places])]), flat[kept]


def _labels(file: VtkFile, cells: int) -> NDArray[Any] | None:
    start = file.data.find(b'CELL_DATA')
    if start < 0:
        return None
    end = file.data.find(b'POINT_DATA', start)
    stop = end if end > 0 else len(file.data)
    for match in SCALARS.finditer(file.data, start, stop):
        if match[1].lower() in LABEL_NAMES:
            return vtk_numbers(file.data, match.end(), cells, match[2].decode(), file.binary)
    for match in _FIELD.finditer(file.data, start, stop):
        if match[1].lower() in LABEL_NAMES and int(match[2]) == cells:
            return vtk_numbers(file.data, match.end(), cells, match[3].decode(), file.binary)
    return None
