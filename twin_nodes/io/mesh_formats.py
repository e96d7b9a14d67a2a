"""Readers of mesh files: each returns points and triangles as written, in the unit of the file.

No count in a header is believed before the file was seen to be long enough for it.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_cells import Grid, surface_of
from twin_nodes.io.mesh_limits import MAX_BYTES, MAX_TRIANGLES, check_bytes, check_count
from twin_nodes.io.vtk_legacy import open_vtk, read_cells, read_grid, read_points
from twin_nodes.io.vtk_xml import read_vtp

Raw = tuple[Array, NDArray[np.int64]]
Reader = TypeVar('Reader', bound=Callable[[Path], Any])
__all__ = ['MAX_BYTES', 'MAX_TRIANGLES', 'SPACES', 'UNITS', 'Raw', 'check_bytes', 'check_count', 'fans', 'read_obj',
           'read_off', 'read_stl', 'read_vtk', 'read_vtp', 'reader_of']  # fmt: skip
UNITS = {'m': 1.0, 'mm': 1e-3}
SPACES = {'LPS': (1.0, 1.0, 1.0), 'RAS': (-1.0, -1.0, 1.0)}
_OF_IMAGES = ('STRUCTURED_POINTS', 'STRUCTURED_GRID', 'RECTILINEAR_GRID')
_NAME = 1 << 16  # bytes; the name of an ascii STL ends before
_POLYGON, _STRIP = 7, 6  # the numbers that VTK gives them


def reader_of(path: Path, readers: Mapping[str, Reader], unit: str, space: str) -> Reader:
    """Return what reads a file by its ending, and check all else that can be known beforehand.

    Raises:
        ConfigError: another unit or space.
        InputError: ANATOMY_REFUSED for a file that is missing, too large or of another format.
    """
    if unit not in UNITS or space not in SPACES:
        raise ConfigError(f'{path}: unit={unit!r} must be m or mm, space={space!r} must be LPS or RAS')
    if path.suffix.lower() not in readers:
        raise refusal(path, f'format {path.suffix!r} is none of {", ".join(readers)}')
    if not path.is_file():
        raise refusal(path, 'no such file')
    if path.stat().st_size > MAX_BYTES:
        raise refusal(path, f'{path.stat().st_size} bytes, limit {MAX_BYTES}')
    return readers[path.suffix.lower()]


def read_stl(path: Path) -> Raw:
    """Read STL, binary or ascii; each triangle has points of its own."""
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], 'little')
    if data[:5].lower() == b'solid' and len(data) != 84 + 50 * count and b'facet' in data[:_NAME].lower():
        words = re.findall(rb'vertex\s+(\S+)\s+(\S+)\s+(\S+)', data, re.IGNORECASE)
        facets = len(re.findall(rb'endfacet', data, re.IGNORECASE))
        if len(words) != 3 * facets:
            raise refusal(f'{facets} facets but {len(words)} vertices in an ascii STL')
        check_count(facets)
        points = np.array(words, dtype='S').astype(np.float64).reshape(-1, 3)
    else:
        check_count(count)
        check_bytes(84 + 50 * count, len(data))
        rows = np.frombuffer(data, np.dtype([('normal', '<f4', 3), ('corners', '<f4', (3, 3)), ('extra', '<u2')]),
                             count, 84)  # fmt: skip
        points = rows['corners'].reshape(-1, 3).astype(np.float64)
    return points, np.arange(len(points)).reshape(-1, 3)


def read_obj(path: Path) -> Raw:
    """Read the vertices and faces of Wavefront OBJ; all else is left.

    A weight other than 1 is refused: some programs divide by it, others leave it out, and the sizes differ.
    """
    points: list[list[float]] = []
    faces: list[list[int]] = []
    with path.open('rb') as stream:
        held = b''
        for line in stream:
            line = held + line
            if line.rstrip(b'\r\n').endswith(b'\\'):  # goes on in the next line
                held = line.rstrip(b'\r\n')[:-1] + b' '
                continue
            held, words = b'', line.split()
            if words[:1] == [b'v']:
                points.append([float(word) for word in words[1:4]])
                if len(words) == 5 and float(words[4]) != 1.0:
                    raise refusal(
                        f'vertex {len(points)} has a weight (w) of {float(words[4]):g}: whether its place is to be '
                        'divided by it is not said; write the vertices as x y z'
                    )
            elif words[:1] == [b'f']:
                indices = [int(word.split(b'/')[0]) for word in words[1:]]
                faces.append([index - 1 if index > 0 else len(points) + index for index in indices])
    return np.array(points, float).reshape(-1, 3), fans(faces)


def read_off(path: Path) -> Raw:
    """Read OFF: counts, vertices with normals or colours after them, and faces as [size, corners…] with colours."""
    text = re.sub(rb'#[^\n]*', b'', path.read_bytes())
    head = re.match(rb'\s*((?:ST)?C?N?OFF)\s*(\d+)\s+(\d+)\s+(\d+)', text)
    if head is None:
        raise refusal('no OFF header')
    vertices, count = int(head[2]), int(head[3])
    check_count(max(vertices, count))
    check_bytes(6 * vertices + 8 * count, len(text) + 16)
    words = text[head.end() :].split()
    lines = [line.split() for line in text[head.end() :].split(b'\n') if line.strip()]
    whole = len(lines) == vertices + count
    if head[1] != b'OFF' and not whole:
        raise refusal(f'{head[1].decode()} with vertices and faces that are no lines of their own')
    numbers = [word for line in lines[:vertices] for word in line[:3]] if whole else words[: 3 * vertices]
    points = np.array(numbers, dtype='S').astype(np.float64).reshape(-1, 3)
    faces = [line[1 : 1 + int(line[0])] for line in lines[vertices:]] if whole else _off_faces(words[3 * vertices :])
    if len(points) != vertices or len(faces) != count:
        raise refusal(f'{vertices} vertices and {count} faces are announced, {len(faces)} faces are there')
    return points, fans([[int(word) for word in face] for face in faces])


def _off_faces(words: list[bytes]) -> list[list[bytes]]:
    """Return faces that are spread over several lines; such ones have no colours."""
    faces, position = [], 0
    while position < len(words):
        size = int(words[position])
        if size < 1 or position + size >= len(words):
            raise refusal(f'a face of {size} corners does not fit')
        faces.append(words[position + 1 : position + 1 + size])
        position += 1 + size
    return faces


def read_vtk(path: Path) -> Raw:
    """Read legacy VTK: POLYDATA (polygons, strips), or the faces or the outside of an UNSTRUCTURED_GRID."""
    file = open_vtk(path)
    if file.kind == 'UNSTRUCTURED_GRID':
        return surface_of(read_grid(file))
    if file.kind != 'POLYDATA':
        image = ': an image is read as NRRD, NIfTI or MetaImage' if file.kind in _OF_IMAGES else ''
        raise refusal(f'a VTK file of kind {file.kind} is no surface{image}')
    cells = [(_POLYGON, read_cells(file, b'POLYGONS')), (_STRIP, read_cells(file, b'TRIANGLE_STRIPS'))]
    kinds = np.concatenate([np.full(len(offsets) - 1, kind) for kind, (offsets, _) in cells])
    sizes = np.concatenate([np.diff(offsets) for _, (offsets, _) in cells])
    corners = np.concatenate([corners for _, (_, corners) in cells])
    return surface_of(Grid(read_points(file), kinds, np.concatenate([[0], np.cumsum(sizes)]), corners))


def fans(polygons: list[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Cut polygons (convex, as all writers of surfaces make them) into triangles, shape (m, 3)."""
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2 and polygons.shape[1] == 3:
        return polygons.astype(np.int64)
    by_size: dict[int, list[Any]] = {}
    for polygon in polygons:
        by_size.setdefault(len(polygon), []).append(polygon)
    pieces = [np.empty((0, 3), np.int64)]
    for size, group in sorted(by_size.items()):
        corners = np.array(group, np.int64).reshape(-1, size)
        pieces += [corners[:, [0, n, n + 1]] for n in range(1, size - 1)]
    return np.concatenate(pieces)
