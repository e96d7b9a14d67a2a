"""Reader of PLY files with any properties, ascii or binary."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.io.mesh_formats import Raw, fans
from twin_nodes.io.mesh_limits import check_bytes, check_count

_HEADER = 1 << 16
_OLD_TYPES = {'char': 'i1', 'uchar': 'u1', 'short': 'i2', 'ushort': 'u2', 'int': 'i4', 'uint': 'u4'}
_NEW_TYPES = {'int8': 'i1', 'uint8': 'u1', 'int16': 'i2', 'uint16': 'u2', 'int32': 'i4', 'uint32': 'u4'}
_FLOATS = {'float': 'f4', 'double': 'f8', 'float32': 'f4', 'float64': 'f8'}
_TYPES = _OLD_TYPES | _NEW_TYPES | _FLOATS | {'int64': 'i8', 'uint64': 'u8'}


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    count_kind: str = ''  # '' for a scalar


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]

    def least_bytes(self, *, text: bool) -> int:
        """Bytes that even the shortest rows need."""
        widths = [2 if text else np.dtype(item.count_kind or item.kind).itemsize for item in self.properties]
        return self.count * sum(widths)


def read_ply(path: Path) -> Raw:
    """Read the vertices and faces (polygons as fans) of a PLY file; points in the unit of the file.

    Raises:
        InputError: ANATOMY_REFUSED when the header has no meaning or announces more than the file holds.
    """
    data = path.read_bytes()
    end = data.find(b'end_header', 0, _HEADER)
    body = data.find(b'\n', end) + 1
    if not data.startswith(b'ply') or end < 0 or body == 0:
        raise refusal('no PLY header')
    order, elements = _parse_header(data[:end].decode('ascii', 'replace'))
    check_bytes(sum(item.least_bytes(text=not order) for item in elements), len(data) - body + 1)
    tokens = data[body:].split() if not order else []
    points, polygons = np.empty((0, 3)), [np.empty((0, 3), np.int64)]
    position = 0 if not order else body
    for element in elements:
        if order:
            columns, position = _read_binary(data, position, element, order)
        else:
            columns, position = _read_text(tokens, position, element)
        if element.name == 'vertex':
            points = np.stack([np.asarray(columns[axis], np.float64) for axis in 'xyz'], axis=1)
        elif element.name == 'face':
            polygons.append(fans(columns.get('vertex_indices', columns.get('vertex_index', []))))
    return points, np.concatenate(polygons)


def _parse_header(text: str) -> tuple[str, list[_Element]]:
    order, elements = None, []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ['format']:
            order = {'ascii': '', 'binary_little_endian': '<', 'binary_big_endian': '>'}[words[1]]
        elif words[:1] == ['element']:
            elements.append(_Element(words[1], int(words[2]), []))
            if int(words[2]) < 0:
                raise refusal(f'{words[2]} rows of {words[1]}')
            check_count(int(words[2]))
        elif words[:2] == ['property', 'list']:
            elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
        elif words[:1] == ['property']:
            elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
    if order is None:
        raise refusal('no format line')
    return order, elements


def _read_binary(data: bytes, start: int, element: _Element, order: str) -> tuple[dict[str, Any], int]:
    """Read all rows at once when their lists are equally long, else one by one."""
    lengths, position = {}, start
    for item in element.properties if element.count else []:
        kind = np.dtype(order + (item.count_kind or item.kind))
        first = np.frombuffer(data, kind, 1, position)[0]
        position += kind.itemsize
        if item.count_kind:
            if int(first) < 0 or int(first) > len(data):
                raise refusal(f'a list of {int(first)} does not fit into the file')
            lengths[item.name] = int(first)
            position += int(first) * np.dtype(item.kind).itemsize
    row = _row_type(element, lengths, order)
    if start + element.count * row.itemsize <= len(data):
        rows = np.frombuffer(data, row, element.count, start)
        if all((rows[f'{name} count'] == length).all() for name, length in lengths.items()):
            return {item.name: rows[item.name] for item in element.properties}, start + element.count * row.itemsize
    columns: dict[str, Any] = {item.name: [] for item in element.properties}
    position = start
    for _ in range(element.count):
        for item in element.properties:
            length = 1
            if item.count_kind:
                length = int(np.frombuffer(data, order + item.count_kind, 1, position)[0])
                position += np.dtype(item.count_kind).itemsize
            values = _numbers(data, order + item.kind, length, position)
            position += values.nbytes
            columns[item.name].append(values if item.count_kind else values[0])
    return columns, position


def _row_type(element: _Element, lengths: dict[str, int], order: str) -> np.dtype[Any]:
    fields: list[Any] = []
    for item in element.properties:
        if item.count_kind:
            fields.append((f'{item.name} count', order + item.count_kind))
            fields.append((item.name, order + item.kind, (lengths.get(item.name, 0),)))
        else:
            fields.append((item.name, order + item.kind))
    return np.dtype(fields)


def _numbers(data: bytes, kind: str, count: int, position: int) -> NDArray[Any]:
    if count < 0 or position + count * np.dtype(kind).itemsize > len(data):
        raise refusal(f'a list of {count} does not fit into the file')
    return np.frombuffer(data, kind, count, position)


def _read_text(tokens: list[bytes], position: int, element: _Element) -> tuple[dict[str, Any], int]:
    columns: dict[str, Any] = {item.name: [] for item in element.properties}
    for _ in range(element.count):
        for item in element.properties:
            if item.count_kind:
                length = int(tokens[position])
                if not 0 <= length < len(tokens) - position:
                    raise refusal(f'a list of {length} does not fit into the file')
                numbers = tokens[position + 1 : position + 1 + length]
                whole = np.dtype(item.kind).kind != 'f'
                columns[item.name].append([int(word) if whole else float(word) for word in numbers])
                position += 1 + length
            else:
                columns[item.name].append(float(tokens[position]))
                position += 1
    return columns, position
