"""Formats of tetrahedral meshes: legacy VTK, gmsh 1 and 2; others through meshio, after a look at their counts.

Each reader returns nodes (n, 3), tetrahedra (m, 4) and labels (m,) or None, as written, in the unit of the file.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_formats import check_bytes, check_count, vtk_numbers

Raw = tuple[Array, NDArray[np.int64], NDArray[Any] | None]
_VTK_TET = 10
_VTK_TET10 = 24
_VTK_NAMES = {5: 'triangle', 9: 'quad', 11: 'voxel', 12: 'hexahedron', 13: 'wedge', 14: 'pyramid', 25: 'hexahedron20'}
_GMSH_TET = 4
_GMSH_NAMES = {1: 'line', 2: 'triangle', 3: 'quad', 5: 'hexahedron', 6: 'wedge', 7: 'pyramid', 15: 'vertex'}
_GMSH_TET10 = 11
_GMSH_NODES = {1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 15: 1}
_LABEL_NAMES = (b'label', b'labels', b'mat_id', b'material', b'medit:ref', b'gmsh:physical', b'region', b'ids')
_SCALARS = re.compile(rb'SCALARS\s+(\S+)\s+(\S+)(?:\s+1)?[ \t]*\r?\nLOOKUP_TABLE\s+\S+[ \t]*\r?\n')
_ANNOUNCED = re.compile(
    rb'^\s*(?:Vertices|Tetrahedra|\$Nodes|\$Elements|\$NOD|\$ELM|POINTS|CELLS)\s+(\d+)|NumberOf(?:Points|Cells)="(\d+)"',
    re.MULTILINE,
)


def read_vtk_tets(path: Path) -> Raw:
    """Read the tetrahedra of a legacy VTK unstructured grid, ascii or binary, up to version 5.1."""
    data = path.read_bytes()
    start = data[: 1 << 16].split(b'\n', 4)
    if not data.startswith(b'# vtk DataFile') or len(start) < 5:
        raise _refusal('no legacy VTK header')
    if start[3].upper().split()[-1] != b'UNSTRUCTURED_GRID':
        raise _refusal(
            f'{start[3].decode("ascii", "replace")[:60]!r} has no tetrahedra: an UNSTRUCTURED_GRID is needed'
        )
    binary = start[2].strip().upper() == b'BINARY'
    count, at, words = _vtk_section(data, rb'POINTS\s+(\d+)\s+(\S+)')
    check_count(count)
    nodes = vtk_numbers(data, at, 3 * count, words[1].decode(), binary).astype(np.float64).reshape(-1, 3)
    offsets, corners = _vtk_cells(data, binary)
    count, at, _ = _vtk_section(data, rb'CELL_TYPES\s+(\d+)')
    kinds = vtk_numbers(data, at, count, 'int', binary).astype(np.int64)
    if len(kinds) != len(offsets) - 1:
        raise _refusal(f'{len(kinds)} cell types for {len(offsets) - 1} cells')
    chosen = np.flatnonzero((kinds == _VTK_TET) | (kinds == _VTK_TET10))
    if (np.diff(offsets)[chosen] != np.where(kinds[chosen] == _VTK_TET, 4, 10)).any():
        raise _refusal('a tetrahedron without four corners, or a quadratic one without ten nodes')
    if len(chosen) == 0:
        raise _no_tetrahedra(Counter(_VTK_NAMES.get(int(kind), f'cell of type {kind}') for kind in kinds))
    tets = corners[offsets[chosen][:, None] + np.arange(4)]
    labels = _vtk_labels(data, binary, len(kinds))
    return *_without_middles(nodes, tets, bool((kinds == _VTK_TET10).any())), None if labels is None else labels[chosen]


def read_msh(path: Path) -> Raw:
    """Read gmsh 1 and 2 (ascii); binary and version 4 through meshio."""
    data = path.read_bytes()
    if data.lstrip().startswith(b'$NOD'):
        return _msh_1(data)
    match = re.match(rb'\s*\$MeshFormat\s+(\S+)\s+(\d)', data)
    if match is None:
        raise _refusal('no gmsh header ($MeshFormat, or $NOD in version 1)')
    if match[1].startswith(b'2') and match[2] == b'0':
        return _msh_2(data)
    return read_by_meshio(path)


def read_by_meshio(path: Path) -> Raw:
    """Read what meshio reads (Medit .mesh, .vtu, gmsh 4), after checking the counts that the file announces."""
    import meshio

    size = path.stat().st_size
    with path.open('rb') as stream:
        for match in _ANNOUNCED.finditer(stream.read()):
            count = int(match[1] or match[2])
            check_count(count)
            check_bytes(count, size)
    mesh = meshio.read(path)
    nodes = np.asarray(mesh.points, np.float64)
    tets, labels = [np.empty((0, 4), np.int64)], [np.empty(0, np.int64)]
    names = [name for name in mesh.cell_data if name.lower().encode() in _LABEL_NAMES]
    for number, block in enumerate(mesh.cells):
        if block.type in {'tetra', 'tetra10'}:
            tets.append(np.asarray(block.data, np.int64)[:, :4])
            labels.append(np.asarray(mesh.cell_data[names[0]][number]) if names else np.ones(len(block.data), np.int64))
    if len(tets) == 1:
        raise _no_tetrahedra(Counter({block.type: len(block.data) for block in mesh.cells}))
    quadratic = any(block.type == 'tetra10' for block in mesh.cells)
    corners = _without_middles(nodes, np.concatenate(tets), quadratic)
    return *corners, np.concatenate(labels) if names else None


def vtk_bytes(
    nodes: Array, tets: NDArray[np.int32], fields: dict[str, NDArray[np.int32]], cells: dict[str, Any]
) -> bytes:
    """Return a binary legacy VTK file (version 3.0) with int fields of the nodes and of the cells."""
    parts = [
        b'# vtk DataFile Version 3.0\ntetrahedra in metres, LPS\nBINARY\nDATASET UNSTRUCTURED_GRID\n',
        f'POINTS {len(nodes)} double\n'.encode(),
        np.ascontiguousarray(nodes, '>f8').tobytes(),
        f'\nCELLS {len(tets)} {5 * len(tets)}\n'.encode(),
        np.column_stack([np.full(len(tets), 4), tets]).astype('>i4').tobytes(),
        f'\nCELL_TYPES {len(tets)}\n'.encode(),
        np.full(len(tets), _VTK_TET, '>i4').tobytes(),
    ]
    for where, count, values in (('CELL_DATA', len(tets), cells), ('POINT_DATA', len(nodes), fields)):
        if values:
            parts.append(f'\n{where} {count}\n'.encode())
        for name, numbers in values.items():
            parts.append(f'SCALARS {name} int 1\nLOOKUP_TABLE default\n'.encode())
            parts += [np.ascontiguousarray(numbers, '>i4').tobytes(), b'\n']
    return b''.join(parts)


def read_vtk_node_fields(path: Path) -> dict[str, NDArray[Any]]:
    """Read the scalar fields of the nodes of a legacy VTK file by their names."""
    data = path.read_bytes()
    binary = data[: 1 << 16].split(b'\n', 4)[2].strip().upper() == b'BINARY'
    match = re.search(rb'^POINT_DATA\s+(\d+)[ \t]*\r?\n', data, re.MULTILINE)
    fields: dict[str, NDArray[Any]] = {}
    position = match.end() if match else len(data)
    while (head := _SCALARS.match(data, position)) is not None and match is not None:
        values = vtk_numbers(data, head.end(), int(match[1]), head[2].decode(), binary)
        fields[head[1].decode()] = values
        position = head.end() + values.nbytes + 1 if binary else data.find(b'SCALARS', head.end())
    return fields


def _vtk_section(data: bytes, pattern: bytes) -> tuple[int, int, tuple[bytes, ...]]:
    match = re.search(rb'^' + pattern + rb'[ \t]*\r?\n', data, re.MULTILINE)
    if match is None:
        raise _refusal(f'no {pattern.split(bytes([92]))[0].decode()}')
    check_count(int(match[1]))
    return int(match[1]), match.end(), match.groups()


def _vtk_cells(data: bytes, binary: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets (cells + 1,) and corners; before version 5 each cell begins with its size."""
    match = re.search(rb'^CELLS\s+(\d+)\s+(\d+)[ \t]*\r?\n', data, re.MULTILINE)
    if match is None:
        raise _refusal('no CELLS')
    count, size = int(match[1]), int(match[2])
    check_count(count)
    check_bytes(2 * size, len(data))
    head = re.compile(rb'OFFSETS\s+(\S+)[ \t]*\r?\n').match(data, match.end())
    if head is not None:
        offsets = vtk_numbers(data, head.end(), count, head[1].decode(), binary).astype(np.int64)
        body = re.compile(rb'CONNECTIVITY\s+(\S+)[ \t]*\r?\n').search(
            data, head.end() + (8 * count if binary else 0) // 2
        )
        if body is None or len(offsets) == 0:
            raise _refusal('CELLS without CONNECTIVITY')
        corners = vtk_numbers(data, body.end(), size, body[1].decode(), binary).astype(np.int64)
    else:
        flat = vtk_numbers(data, match.end(), size, 'int', binary).astype(np.int64)
        offsets, corners = _split_sizes(flat, count)
    if offsets[0] != 0 or offsets[-1] != len(corners) or (np.diff(offsets) < 0).any():
        raise _refusal(f'offsets do not fit the {len(corners)} corners')
    return offsets, corners


def _split_sizes(flat: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take the sizes out of [size, corners…] rows."""
    if len(flat) == 5 * count and (flat[::5] == 4).all():  # tetrahedra only
        return np.arange(count + 1) * 4, flat.reshape(-1, 5)[:, 1:].ravel()
    places, position = np.empty(count, np.int64), 0
    for cell in range(count):
        if position >= len(flat) or flat[position] < 0:
            raise _refusal(f'{count} cells do not fit the {len(flat)} numbers of CELLS')
        places[cell] = position
        position += 1 + int(flat[position])
    sizes = flat[places]
    kept = np.ones(len(flat), np.bool_)
    kept[places] = False
    return np.concatenate([[0], np.cumsum(sizes)]), flat[kept]


def _vtk_labels(data: bytes, binary: bool, cells: int) -> NDArray[Any] | None:
    start = data.find(b'CELL_DATA')
    if start < 0:
        return None
    end = data.find(b'POINT_DATA', start)
    for match in _SCALARS.finditer(data, start, end if end > 0 else len(data)):
        if match[1].lower() in _LABEL_NAMES:
            return vtk_numbers(data, match.end(), cells, match[2].decode(), binary)
    return None


def _msh_1(data: bytes) -> Raw:
    """$NOD: number, then id x y z; $ELM: number, then id kind physical elementary count corners."""
    numbers, nodes = _msh_nodes(_block(data, b'$NOD', b'$ENDNOD'))
    rows = [line.split() for line in _counted(_block(data, b'$ELM', b'$ENDELM'))]
    chosen = _gmsh_tets(rows)
    if any(len(row) != 5 + _GMSH_NODES[int(row[1])] for row in chosen):
        raise _refusal('a tetrahedron without four corners in $ELM')
    corners = _by_number(np.array([row[5:9] for row in chosen], np.int64), numbers)
    quadratic = any(int(row[1]) == _GMSH_TET10 for row in chosen)
    return *_without_middles(nodes, corners, quadratic), np.array([row[2] for row in chosen], np.int64)


def _msh_2(data: bytes) -> Raw:
    """$Nodes as in version 1; $Elements: number, then id kind tags tag… corners."""
    numbers, nodes = _msh_nodes(_block(data, b'$Nodes', b'$EndNodes'))
    rows = [line.split() for line in _counted(_block(data, b'$Elements', b'$EndElements'))]
    chosen = _gmsh_tets(rows)
    if any(len(row) != 3 + int(row[2]) + _GMSH_NODES[int(row[1])] for row in chosen):
        raise _refusal('a tetrahedron without four corners in $Elements')
    starts = [3 + int(row[2]) for row in chosen]
    corners = np.array([row[at : at + 4] for row, at in zip(chosen, starts, strict=True)], np.int64)
    labels = np.array([row[3] if int(row[2]) else 1 for row in chosen], np.int64)
    quadratic = any(int(row[1]) == _GMSH_TET10 for row in chosen)
    return *_without_middles(nodes, _by_number(corners, numbers), quadratic), labels


def _gmsh_tets(rows: list[list[bytes]]) -> list[list[bytes]]:
    chosen = [row for row in rows if int(row[1]) in {_GMSH_TET, _GMSH_TET10}]
    if not chosen:
        raise _no_tetrahedra(Counter(_GMSH_NAMES.get(int(row[1]), f'element of type {int(row[1])}') for row in rows))
    return chosen


def _without_middles(nodes: Array, tets: NDArray[np.int64], quadratic: bool) -> tuple[Array, NDArray[np.int64]]:
    """Of quadratic tetrahedra keep the corners, whose numbers come first in all these formats."""
    if not quadratic:
        return nodes, tets
    used, inverse = np.unique(tets, return_inverse=True)
    if used[0] < 0 or used[-1] >= len(nodes):
        raise _refusal(f'corners {used[0]} … {used[-1]} do not fit {len(nodes)} nodes')
    return nodes[used], inverse.reshape(tets.shape)


def _no_tetrahedra(kinds: Counter[str]) -> InputError:
    found = ', '.join(f'{count} × {kind}' for kind, count in kinds.most_common()) or 'no cells at all'
    return _refusal(
        f'no tetrahedra in the file, but {found}: split solid cells into tetrahedra, or build them from the surface '
        '(`twin build`)'
    )


def _block(data: bytes, start: bytes, end: bytes) -> bytes:
    first, last = data.find(start), data.find(end)
    if first < 0 or last < first:
        raise _refusal(f'no {start.decode()} … {end.decode()}: the file is cut or of another kind')
    return data[first + len(start) : last]


def _counted(block: bytes) -> list[bytes]:
    """Return the lines of a block that begins with their number."""
    lines = block.split(b'\n')
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise _refusal('an empty block')
    count = int(lines[0])
    check_count(count)
    if len(lines) - 1 != count:
        raise _refusal(f'{count} rows are announced, {len(lines) - 1} are there')
    return lines[1:]


def _msh_nodes(block: bytes) -> tuple[NDArray[np.int64], Array]:
    rows = [line.split() for line in _counted(block)]
    if any(len(row) != 4 for row in rows):
        raise _refusal('a node without number and three coordinates')
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:])


def _by_number(corners: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn numbers of nodes, which may have gaps, into indices."""
    order = np.argsort(numbers, kind='stable')
    place = np.searchsorted(numbers[order], corners)
    place = np.minimum(place, len(numbers) - 1)
    found = numbers[order][place] == corners
    if not found.all():
        raise _refusal(f'{int((~found).any(axis=1).sum())} tetrahedra use a node that is not there')
    return order[place]


def _refusal(reason: str) -> InputError:
    return InputError(reason, code='ANATOMY_REFUSED')
