"""Readers of mesh files: each returns points and triangles as written, in the unit of the file.

No count in a header is believed before the file was seen to be long enough for it.
"""

import base64
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

Raw = tuple[Array, NDArray[np.int64]]
MAX_TRIANGLES = 20_000_000
MAX_BYTES = 2 << 30
UNITS = {'m': 1.0, 'mm': 1e-3}
SPACES = {'LPS': (1.0, 1.0, 1.0), 'RAS': (-1.0, -1.0, 1.0)}
_HEADER = 1 << 16
_SOLID_FACES: dict[str, tuple[tuple[int, ...], ...]] = {
    'tetra': ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    'hexahedron': ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    'wedge': ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),
    'pyramid': ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}
_VTK_TYPES = {
    'float': '>f4',
    'double': '>f8',
    'int': '>i4',
    'long': '>i8',
    'vtktypeint32': '>i4',
    'vtktypeint64': '>i8',
    'unsigned_int': '>u4',
    'unsigned_long': '>u8',
    'vtktypeuint64': '>u8',
}
_XML_TYPES = {'Float32': 'f4', 'Float64': 'f8', 'Int32': 'i4', 'Int64': 'i8', 'UInt32': 'u4', 'UInt64': 'u8'}


def read_stl(path: Path) -> Raw:
    """Read STL, binary or ascii; each triangle has points of its own."""
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], 'little')
    if data[:5].lower() == b'solid' and len(data) != 84 + 50 * count and b'facet' in data[:1024]:
        words = re.findall(rb'vertex\s+(\S+)\s+(\S+)\s+(\S+)', data)
        facets = data.count(b'endfacet')
        if len(words) != 3 * facets:
            raise _refusal(f'{facets} facets but {len(words)} vertices in an ascii STL')
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
    """Read the vertices and faces of Wavefront OBJ; all else is left."""
    points: list[list[float]] = []
    faces: list[list[int]] = []
    with path.open('rb') as stream:
        for line in stream:
            words = line.split()
            if words[:1] == [b'v']:
                points.append([float(word) for word in words[1:4]])
            elif words[:1] == [b'f']:
                indices = [int(word.split(b'/')[0]) for word in words[1:]]
                faces.append([index - 1 if index > 0 else len(points) + index for index in indices])
    return np.array(points, float).reshape(-1, 3), fans(faces)


def read_vtk(path: Path) -> Raw:
    """Read legacy VTK: POLYDATA (polygons, strips), or the triangles or outer faces of an UNSTRUCTURED_GRID."""
    data = path.read_bytes()
    start = data[:_HEADER].split(b'\n', 4)
    if not data.startswith(b'# vtk DataFile') or len(start) < 5:
        raise _refusal('no legacy VTK header')
    for match in re.finditer(rb'^(POINTS|CELLS|POLYGONS|TRIANGLE_STRIPS)\s+(\d+)', data, re.MULTILINE):
        check_count(int(match[2]))
        check_bytes(2 * int(match[2]), len(data))
    if start[3].upper().split()[-1] == b'UNSTRUCTURED_GRID':
        from meshio.vtk import _main

        return _from_meshio(_main.read(path))
    if start[3].upper().split()[-1] != b'POLYDATA':
        raise _refusal(f'{start[3].decode("ascii", "replace")[:60]!r} is no surface')
    binary = start[2].strip().upper() == b'BINARY'
    match = re.search(rb'^POINTS\s+(\d+)\s+(\S+)[ \t]*\r?\n', data, re.MULTILINE)
    if match is None:
        raise _refusal('no POINTS')
    points = vtk_numbers(data, match.end(), 3 * int(match[1]), match[2].decode(), binary)
    faces = _vtk_cells(data, b'POLYGONS', binary)
    strips = _vtk_cells(data, b'TRIANGLE_STRIPS', binary)
    faces += [strip[n : n + 3][:: -1 if n % 2 else 1] for strip in strips for n in range(len(strip) - 2)]
    return points.astype(np.float64).reshape(-1, 3), fans(faces)


def read_vtp(path: Path) -> Raw:
    """Read VTK XML PolyData, inline or appended as base64, with or without zlib."""
    data = path.read_bytes()
    if b'<!DOCTYPE' in data or b'<!ENTITY' in data:
        raise _refusal('a VTP file needs no document type: refused')
    root = ElementTree.fromstring(data)  # noqa: S314 - no entity can be declared without a document type
    order = '>' if root.get('byte_order') == 'BigEndian' else '<'
    length = order + _XML_TYPES[root.get('header_type', 'UInt32')]
    appended = root.find('AppendedData')
    if appended is not None and appended.get('encoding') != 'base64':
        raise _refusal('appended data must be base64')
    blob = (appended.text or '').strip()[1:] if appended is not None else ''

    def array_of(piece: ElementTree.Element, where: str) -> NDArray[Any]:
        element = piece.find(where)
        if element is None:
            raise _refusal(f'no {where}')
        kind = np.dtype(order + _XML_TYPES[element.get('type', '')])
        if element.get('format') == 'ascii':
            return np.array((element.text or '').split(), dtype=kind)
        inline = element.get('format') == 'binary'
        text = (element.text or '').strip() if inline else blob[int(element.get('offset', '')) :]
        return np.frombuffer(_vtk_blocks(text, length, root.get('compressor', '')), kind)

    all_points, all_faces, first = [], [], 0
    for piece in root.iterfind('PolyData/Piece'):
        check_count(int(piece.get('NumberOfPolys', '0')))
        points = array_of(piece, 'Points/DataArray').astype(np.float64).reshape(-1, 3)
        ends = array_of(piece, "Polys/DataArray[@Name='offsets']").astype(np.int64)
        corners = array_of(piece, "Polys/DataArray[@Name='connectivity']").astype(np.int64)
        all_faces += [row + first for row in split_at(corners, np.concatenate([[0], ends]))]
        all_points.append(points)
        first += len(points)
    return np.concatenate(all_points) if all_points else np.empty((0, 3)), fans(all_faces)


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


def split_at(corners: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a connectivity list at its offsets, which must grow from 0 to its length."""
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(corners) or (np.diff(offsets) < 0).any():
        raise _refusal(f'offsets do not fit the {len(corners)} corners')
    return np.split(corners, offsets[1:-1]) if len(offsets) > 1 else []


def check_count(count: int) -> None:
    """Refuse an announced number of elements above the limit."""
    if count > MAX_TRIANGLES:
        raise _refusal(f'{count} elements are announced, limit {MAX_TRIANGLES}')


def check_bytes(needed: int, held: int) -> None:
    """Refuse a file that is too short for what it announces."""
    if needed > held:
        raise _refusal(f'what is announced needs at least {needed} bytes, the file has {held}')


def _from_meshio(mesh: Any) -> Raw:
    points = np.asarray(mesh.points, np.float64)
    faces, solids = [], []
    for block in mesh.cells:
        corners = np.asarray(block.data, np.int64) if block.type != 'polygon' else block.data
        if block.type in ('triangle', 'quad') or block.type.startswith('polygon'):
            faces.append(fans(corners))
        elif block.type in _SOLID_FACES:
            solids += [fans(_from_least(corners[:, face])) for face in _SOLID_FACES[block.type]]
        elif block.type not in ('vertex', 'line'):
            raise _refusal(f'cells of type {block.type} are not read')
    if solids and not faces:
        faces = [_outer(np.concatenate(solids))]
    return points, np.concatenate(faces) if faces else np.empty((0, 3), np.int64)


def _from_least(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn each face until its least corner is first, so that two neighbours cut a quad along one diagonal."""
    turn = (np.argmin(faces, axis=1)[:, None] + np.arange(faces.shape[1])) % faces.shape[1]
    return np.take_along_axis(faces, turn, axis=1)


def _outer(triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    _, inverse, uses = np.unique(np.sort(triangles, axis=1), axis=0, return_inverse=True, return_counts=True)
    return triangles[uses[inverse.ravel()] == 1]


def vtk_numbers(data: bytes, start: int, count: int, kind: str, binary: bool) -> NDArray[Any]:
    """Read numbers of a VTK type from a place in a legacy VTK file."""
    dtype = np.dtype(_VTK_TYPES[kind.lower()])
    if binary:
        check_bytes(start + count * dtype.itemsize, len(data))
        return np.frombuffer(data, dtype, count, start)
    check_bytes(start + 2 * count - 1, len(data))
    stop = re.compile(rb'[A-Z_]{4,}').search(data, start)
    words = data[start : stop.start() if stop else len(data)].split()
    if len(words) < count:
        raise _refusal(f'{count} numbers are announced, {len(words)} are there')
    return np.array(words[:count], dtype='S').astype(dtype.newbyteorder('='))


def _vtk_cells(data: bytes, keyword: bytes, binary: bool) -> list[NDArray[np.int64]]:
    """Read cells as [size, corners…] rows, or since version 5.1 as offsets and connectivity."""
    match = re.search(rb'^' + keyword + rb'\s+(\d+)\s+(\d+)[ \t]*\r?\n', data, re.MULTILINE)
    if match is None:
        return []
    count, size = int(match[1]), int(match[2])
    head = re.compile(rb'OFFSETS\s+(\S+)[ \t]*\r?\n').match(data, match.end())
    if head is not None:
        offsets = vtk_numbers(data, head.end(), count, head[1].decode(), binary)
        after = head.end() + (offsets.nbytes if binary else 0)
        body = re.compile(rb'CONNECTIVITY\s+(\S+)[ \t]*\r?\n').search(data, after)
        if body is None:
            raise _refusal(f'{keyword.decode()} without CONNECTIVITY')
        corners = vtk_numbers(data, body.end(), size, body[1].decode(), binary)
        return split_at(corners.astype(np.int64), offsets.astype(np.int64))
    flat = vtk_numbers(data, match.end(), size, 'int', binary).astype(np.int64)
    rows, position = [], 0
    while position < len(flat):
        length = int(flat[position])
        if length < 0 or position + 1 + length > len(flat):
            raise _refusal(f'{keyword.decode()}: a cell of {length} corners does not fit')
        rows.append(flat[position + 1 : position + 1 + length])
        position += 1 + length
    return rows


def _vtk_blocks(text: str, length: str, compressor: str) -> bytes:
    """Decode one base64 array: [bytes] data, or [blocks, size, last size, packed sizes…] and zlib blocks."""
    width = np.dtype(length).itemsize
    if not compressor:
        size = int(np.frombuffer(_base64(text, width), length)[0])
        check_bytes(size, len(text))
        return _base64(text, width + size)[width:]
    if compressor != 'vtkZLibDataCompressor':
        raise _refusal(f'compressor {compressor} is not read')
    blocks = int(np.frombuffer(_base64(text, width), length)[0])
    check_bytes(blocks * width, len(text))
    head = np.frombuffer(_base64(text, width * (3 + blocks)), length)
    text = text[4 * -(-width * (3 + blocks) // 3) :]
    sizes = [int(size) for size in head[3:]]
    packed, out, position = _base64(text, sum(sizes)), bytearray(), 0
    for size in sizes:
        piece = zlib.decompressobj()
        out += piece.decompress(packed[position : position + size], int(head[1]) + 1)
        position += size
    return bytes(out)


def _base64(text: str, count: int) -> bytes:
    data = base64.b64decode(text[: 4 * -(-count // 3)])
    if len(data) < count:
        raise _refusal(f'{count} bytes are announced, {len(data)} are there')
    return data[:count]


def _refusal(reason: str) -> InputError:
    return InputError(reason, code='ANATOMY_REFUSED')
