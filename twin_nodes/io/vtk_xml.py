"""VTK XML files (.vtp, .vtu): arrays in ascii, base64 or raw, inline or appended, packed or not."""

import base64
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_cells import Grid, surface_of
from twin_nodes.io.mesh_limits import check_bytes, check_count
from twin_nodes.io.vtk_legacy import LABEL_NAMES

_TYPES = {'Float32': 'f4', 'Float64': 'f8', 'Int8': 'i1', 'UInt8': 'u1', 'Int16': 'i2', 'UInt16': 'u2', 'Int32': 'i4',
          'UInt32': 'u4', 'Int64': 'i8', 'UInt64': 'u8'}  # fmt: skip
_APPENDED = re.compile(rb'<AppendedData[^>]*>')
_COMPRESSORS = ('', 'vtkZLibDataCompressor', 'vtkLZ4DataCompressor', 'vtkLZMADataCompressor')
_LZ4_RATIO = 255  # no LZ4 block unpacks to more
_MOST_CORNERS = 64  # of a cell, on average


def read_vtp(path: Path) -> tuple[Array, NDArray[np.int64]]:
    """Read the polygons and strips of VTK XML PolyData as points and triangles."""
    file = _VtkXml.open(path)
    grids = []
    for piece in file.pieces('PolyData'):
        cells = [(7, file.cells(piece, 'Polys')), (6, file.cells(piece, 'Strips'))]
        kinds = np.concatenate([np.full(len(offsets) - 1, kind) for kind, (offsets, _) in cells])
        sizes = np.concatenate([np.diff(offsets) for _, (offsets, _) in cells])
        corners = np.concatenate([corners for _, (_, corners) in cells])
        grids.append(Grid(file.points(piece), kinds, np.concatenate([[0], np.cumsum(sizes)]), corners))
    return surface_of(_joined(grids))


def read_vtu(path: Path) -> Grid:
    """Read the cells of a VTK XML UnstructuredGrid."""
    file = _VtkXml.open(path)
    grids = []
    for piece in file.pieces('UnstructuredGrid'):
        offsets, corners = file.cells(piece, 'Cells')
        count = len(offsets) - 1
        kinds = file.array(piece.find("Cells/DataArray[@Name='types']"), count) if count else np.empty(0, np.int64)
        data = piece.findall('CellData/DataArray')
        named = [item for item in data if item.get('Name', '').lower().encode() in LABEL_NAMES]
        labels = file.array(named[0], count) if named and count else None
        grids.append(Grid(file.points(piece), kinds.astype(np.int64), offsets, corners, labels))
    return _joined(grids)


def _joined(grids: list[Grid]) -> Grid:
    first, points = 0, [np.empty((0, 3))]
    corners, sizes, kinds = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for grid in grids:
        points.append(grid.points)
        kinds.append(grid.kinds)
        sizes.append(np.diff(grid.offsets))
        corners.append(grid.corners + first)
        first += len(grid.points)
    marks = [grid.labels for grid in grids if grid.labels is not None]
    labels = np.concatenate(marks) if marks and len(marks) == len(grids) else None
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    return Grid(np.concatenate(points), np.concatenate(kinds), offsets, np.concatenate(corners), labels)


@dataclass(frozen=True, eq=False)
class _VtkXml:
    root: ElementTree.Element
    appended: bytes
    raw: bool

    @classmethod
    def open(cls, path: Path) -> '_VtkXml':
        """Read the elements of a file; what is appended stays bytes."""
        data = path.read_bytes()
        start = _APPENDED.search(data)
        head = data if start is None else data[: start.end()] + b'</AppendedData></VTKFile>'
        if b'<!DOCTYPE' in head or b'<!ENTITY' in head:
            raise refusal('a VTK file needs no document type: refused')
        root = ElementTree.fromstring(head)  # noqa: S314 - no entity can be declared without a document type
        if root.tag != 'VTKFile' or root.get('compressor', '') not in _COMPRESSORS:
            raise refusal(f'<{root.tag}> with compressor {root.get("compressor", "")!r} is not read')
        if start is None:
            return cls(root, b'', raw=False)
        element = root.find('AppendedData')
        raw = element is not None and element.get('encoding', 'raw') == 'raw'
        end = data.rfind(b'</AppendedData>')
        return cls(root, data[data.find(b'_', start.end()) + 1 : end if end > 0 else len(data)], raw)

    def pieces(self, kind: str) -> Iterator[ElementTree.Element]:
        """Yield the pieces of the data set; it must be of the kind."""
        if self.root.get('type') != kind:
            raise refusal(f'a VTK file of type {self.root.get("type")!r}, expected {kind!r}')
        for piece in self.root.iterfind(f'{kind}/Piece'):
            for key in ('NumberOfPoints', 'NumberOfCells', 'NumberOfPolys', 'NumberOfStrips'):
                check_count(int(piece.get(key, '0')))
            yield piece

    def points(self, piece: ElementTree.Element) -> Array:
        """Return the points of a piece, shape (n, 3)."""
        count = int(piece.get('NumberOfPoints', '0'))
        if count == 0:
            return np.empty((0, 3))
        return self.array(piece.find('Points/DataArray'), 3 * count).astype(np.float64).reshape(-1, 3)

    def cells(self, piece: ElementTree.Element, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets (cells + 1,) and corners of polygons, strips or cells; none where there are none."""
        ends = piece.find(f"{where}/DataArray[@Name='offsets']")
        count = int(piece.get(f'NumberOf{where}', '0'))
        if ends is None or count == 0:
            return np.zeros(1, np.int64), np.empty(0, np.int64)
        offsets = np.concatenate([[0], self.array(ends, count).astype(np.int64)])
        total = int(offsets[-1])
        check_count(total // _MOST_CORNERS)
        if total < 0 or (np.diff(offsets) < 0).any():
            raise refusal(f'offsets of {where} do not grow')
        return offsets, self.array(piece.find(f"{where}/DataArray[@Name='connectivity']"), total).astype(np.int64)

    def array(self, element: ElementTree.Element | None, count: int) -> NDArray[Any]:
        """Return the numbers of a DataArray, which must be as many as announced; no more than these are unpacked."""
        if element is None:
            raise refusal('an array is not there')
        order = '>' if self.root.get('byte_order') == 'BigEndian' else '<'
        kind = np.dtype(order + _TYPES[element.get('type', '')])
        if element.get('format', 'ascii') == 'ascii':
            words = (element.text or '').split()
            _check_length(len(words), count)
            return np.array(words, dtype=kind)
        length = np.dtype(order + _TYPES[self.root.get('header_type', 'UInt32')])
        compressor = self.root.get('compressor', '')
        if element.get('format') == 'appended':
            source, raw = self.appended[int(element.get('offset', '')) :], self.raw
        else:
            source, raw = (element.text or '').strip().encode(), False
        unpacked = _blocks(_Reader(source, raw=raw), length, compressor, count * kind.itemsize)
        _check_length(len(unpacked), count * kind.itemsize)
        return np.frombuffer(unpacked, kind)


class _Reader:
    """Takes bytes from raw or base64 data; in base64 the head of packed data is encoded on its own."""

    def __init__(self, source: bytes, *, raw: bool) -> None:
        self._source, self._raw = source, raw

    def peek(self, count: int) -> bytes:
        data = self._source[:count] if self._raw else base64.b64decode(self._source[: 4 * -(-count // 3)])
        if len(data) < count:
            raise refusal(f'{count} bytes are announced, {len(data)} are there')
        return data[:count]

    def after(self, count: int) -> '_Reader':
        return _Reader(self._source[count if self._raw else 4 * -(-count // 3) :], raw=self._raw)

    def __len__(self) -> int:
        return len(self._source)


def _check_length(held: int, announced: int) -> None:
    if held != announced:
        raise refusal(f'{announced} numbers or bytes are announced, {held} are there: offsets do not fit, or a cut')


def _blocks(reader: _Reader, length: np.dtype[Any], compressor: str, most: int) -> bytes:
    """Decode one array: [bytes] data, or [blocks, size, last size, packed sizes…] and packed blocks."""
    width = length.itemsize
    if not compressor:
        size = int(np.frombuffer(reader.peek(width), length)[0])
        _check_length(size, most)
        check_bytes(size, len(reader))
        return reader.peek(width + size)[width:]
    blocks = int(np.frombuffer(reader.peek(width), length)[0])
    check_bytes(blocks * width, len(reader))
    head = [int(number) for number in np.frombuffer(reader.peek(width * (3 + blocks)), length)]
    sizes = head[3:]
    packed, out, position = reader.after(width * (3 + blocks)).peek(sum(sizes)), bytearray(), 0
    for number, size in enumerate(sizes):
        whole = head[2] if head[2] and number == blocks - 1 else head[1]
        if len(out) + whole > most:
            raise refusal(f'{len(out) + whole} bytes are packed where {most} are announced')
        out += _unpacked(packed[position : position + size], whole, compressor)
        position += size
    return bytes(out)


def _unpacked(piece: bytes, whole: int, compressor: str) -> bytes:
    if compressor == 'vtkZLibDataCompressor':
        return zlib.decompressobj().decompress(piece, whole + 1)
    if compressor == 'vtkLZMADataCompressor':
        return lzma.LZMADecompressor().decompress(piece, whole + 1)
    import lz4.block

    check_bytes(whole // _LZ4_RATIO, len(piece))
    data: bytes = lz4.block.decompress(piece, uncompressed_size=whole)
    return data
