"""Formats of solid meshes: VTK, gmsh 1 and 2; others through meshio, after a look at their counts.

Solids other than tetrahedra are cut into tetrahedra. Each reader returns nodes (n, 3), tetrahedra (m, 4) and labels
(m,) or None, as written, in the unit of the file.
"""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_cells import OF_GMSH, OF_MESHIO, Grid, join, tets_of
from twin_nodes.io.mesh_limits import check_bytes, check_count
from twin_nodes.io.vtk_legacy import LABEL_NAMES, SCALARS, open_vtk, read_grid, vtk_numbers
from twin_nodes.io.vtk_xml import read_vtu

Raw = tuple[Array, NDArray[np.int64], NDArray[Any] | None]
_VTK_TET = 10
_GMSH_NODES = {1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 15: 1}
_RESULTS = re.compile(rb'\$(NodeData|ElementData|ElementNodeData)\b.*?\$End\1\s*', re.DOTALL)
_ELEMENTS = re.compile(rb'(\btype\s*=\s*)C3D(4|5|6|8|10|15|20|27)[A-Z]*(?=\s*[,\r\n])', re.IGNORECASE)
_BULK = ('.bdf', '.nas', '.fem')
_KINDS = {
    **dict.fromkeys(_BULK, 'nastran'), '.meshb': 'medit', '.avs': 'avsucd', '.ele': 'tetgen', '.node': 'tetgen',
    '.vol': 'netgen', '.su2': 'su2', '.xdmf': 'xdmf', '.med': 'med',
}  # fmt: skip
_AVS = re.compile(rb'(?:\s*#[^\n]*\n)*\s*\d+ +\d+ +\d+ +\d+ +\d+ *[\r\n]')  # nodes, cells and data in the first line
_HEAVY = re.compile(r'>\s*([^<>:]+\.(?:h5|hdf5|xmf|bin))\s*:', re.IGNORECASE)
_ANNOUNCED = re.compile(
    rb'^\s*(?:Vertices|Tetrahedra|\$Nodes|\$Elements|\$NOD|\$ELM|POINTS|CELLS|points|volumeelements)\s+(\d+)'
    rb'|NumberOf(?:Points|Cells)="(\d+)"|^\s*(?:NPOIN|NELEM)\s*=\s*(\d+)',
    re.MULTILINE,
)
_FIRST = ('.avs', '.inp', '.ele', '.node')  # whose first line holds counts


def read_vtk_tets(path: Path) -> Raw:
    """Read the solids of a legacy VTK unstructured grid, ascii or binary, up to version 5.1."""
    file = open_vtk(path)
    if file.kind != 'UNSTRUCTURED_GRID':
        raise refusal(f'a VTK file of kind {file.kind} has no tetrahedra: an UNSTRUCTURED_GRID is needed')
    return tets_of(read_grid(file))


def read_vtu_tets(path: Path) -> Raw:
    """Read the solids of a VTK XML unstructured grid."""
    return tets_of(read_vtu(path))


def read_msh(path: Path) -> Raw:
    """Read gmsh 1 and 2 (ascii); binary and version 4 through meshio."""
    data = path.read_bytes()
    if data.lstrip().startswith(b'$NOD'):
        return _msh_1(data)
    match = re.match(rb'\s*\$MeshFormat\s+(\S+)\s+(\d)', data)
    if match is None:
        raise refusal('no gmsh header ($MeshFormat, or $NOD in version 1)')
    if match[1].startswith(b'2') and match[2] == b'0':
        return _msh_2(data)
    if match[1].startswith(b'4'):
        _check_msh_4(data, binary=match[2] == b'1')
    return read_by_meshio(path)


def _check_msh_4(data: bytes, *, binary: bool) -> None:
    """Refuse gmsh 4 that announces more nodes or elements than it can hold: blocks, number, least, greatest."""
    for name in (b'$Nodes', b'$Elements'):
        match = re.search(rb'^' + re.escape(name) + rb'[ \t]*\r?\n', data, re.MULTILINE)
        if match is None:
            continue
        head = data[match.end() : match.end() + 100]
        if binary and len(head) < 16:
            raise refusal(f'{name.decode()} is cut')
        count = int.from_bytes(head[8:16], 'little') if binary else int(head.split()[1])
        check_count(count)
        check_bytes((8 if binary else 2) * count, len(data))


def read_by_meshio(path: Path) -> Raw:
    """Read what meshio reads (Medit, Abaqus, Nastran, TetGen …), after checking the counts that the file announces."""
    import meshio

    ending = path.suffix.lower()
    pair = {'.ele': '.node', '.node': '.ele'}.get(ending)
    for file in (path, *([path.with_suffix(pair)] if pair else [])):
        data = file.read_bytes()
        counts = [int(match[1] or match[2] or match[3]) for match in _ANNOUNCED.finditer(data)]
        if ending in _FIRST:
            line = next((line for line in data.splitlines()[:50] if line.strip() and not line.startswith(b'#')), b'')
            counts += [int(word) for word in line.split()[:2] if word.isdigit() and len(word) < 20]
        for count in counts:
            check_count(count)
            check_bytes(count, len(data))
    mesh = _meshio_read(path, meshio)
    names = [name for name in mesh.cell_data if name.lower().encode() in LABEL_NAMES]
    blocks, labels = [], []
    for number, block in enumerate(mesh.cells):
        if block.type not in OF_MESHIO or len(block.data) == 0:
            continue
        blocks.append((OF_MESHIO[block.type], np.asarray(block.data, np.int64)))
        labels.append(np.asarray(mesh.cell_data[names[0]][number]) if names else np.ones(len(block.data), np.int64))
    kinds, offsets, corners = join(blocks)
    marks = np.concatenate(labels) if names and labels else None
    points = np.asarray(mesh.points, np.float64)
    points = np.pad(points, ((0, 0), (0, 3 - points.shape[1]))) if points.shape[1] < 3 else points
    return tets_of(Grid(points, kinds, offsets, corners, marks))


def read_xdmf(path: Path) -> Raw:
    """Read the XDMF of FEniCS and others; its heavy data lie in a file beside it.

    Raises:
        InputError: A DOCTYPE, or data elsewhere.
    """
    text = path.read_text(encoding='utf-8', errors='replace')
    if '<!DOCTYPE' in text.replace('<!DOCTYPE Xdmf SYSTEM "Xdmf.dtd" []>', '') or '<!ENTITY' in text:
        raise refusal('a DOCTYPE is refused, entities are not expanded')
    for name in _HEAVY.findall(text):
        if Path(name).name != name or not (path.parent / name).is_file():
            raise refusal(f'its data lie in {name!r}: put that file beside it, and its bare name into the XDMF')
    return read_by_meshio(path)


def _meshio_read(path: Path, meshio: Any) -> Any:
    """Read a file; results that gmsh appends for some cells only, which meshio cannot take, are left out."""
    said, kind = io.StringIO(), _KINDS.get(path.suffix.lower())
    try:
        with redirect_stderr(said), redirect_stdout(said):  # meshio prints
            data = path.read_bytes()
            if path.suffix.lower() == '.inp' and _AVS.match(data):
                kind = 'avsucd'
            plain = _plain(data, path.suffix.lower())
            if plain is data:
                return meshio.read(path, kind)
            with NamedTemporaryFile(suffix=path.suffix) as bare:
                bare.write(plain)
                bare.flush()
                return meshio.read(bare.name, kind)
    except SystemExit:
        reason = 'the file is empty' if path.stat().st_size == 0 else ' '.join(said.getvalue().split())[-200:]
        raise refusal(reason or 'it is cut or of another kind') from None


def _plain(data: bytes, ending: str) -> bytes:
    """Return a file as meshio takes it: no results of some cells, Abaqus elements by their shape, bulk data named."""
    if ending == '.msh' and _RESULTS.search(data):
        return _RESULTS.sub(b'', data)
    if ending == '.inp' and _ELEMENTS.search(data):
        return _ELEMENTS.sub(lambda match: match[1].lower().replace(b'type', b'TYPE') + b'C3D' + match[2], data)
    if ending in _BULK and b'BEGIN BULK' not in data and b'GRID' in data:
        end = b'' if b'ENDDATA' in data else b'\nENDDATA\n'
        return b'BEGIN BULK\n' + data + end
    return data


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
    while (head := SCALARS.match(data, position)) is not None and match is not None:
        values = vtk_numbers(data, head.end(), int(match[1]), head[2].decode(), binary)
        fields[head[1].decode()] = values
        position = head.end() + values.nbytes + 1 if binary else data.find(b'SCALARS', head.end())
    return fields


def _msh_1(data: bytes) -> Raw:
    """$NOD: number, then id x y z; $ELM: number, then id kind physical elementary count corners."""
    rows = [line.split() for line in _counted(_block(data, b'$ELM', b'$ENDELM'))]
    return _of_gmsh(data, b'NOD', b'ENDNOD', rows, [5] * len(rows), [row[2] for row in rows])


def _msh_2(data: bytes) -> Raw:
    """$Nodes as in version 1; $Elements: number, then id kind tags tag… corners."""
    rows = [line.split() for line in _counted(_block(data, b'$Elements', b'$EndElements'))]
    starts = [3 + int(row[2]) for row in rows]
    return _of_gmsh(data, b'Nodes', b'EndNodes', rows, starts, [row[3] if int(row[2]) else 1 for row in rows])


def _of_gmsh(
    data: bytes, begin: bytes, end: bytes, rows: list[list[bytes]], starts: list[int], marks: list[Any]
) -> Raw:
    numbers, nodes = _msh_nodes(_block(data, b'$' + begin, b'$' + end))
    kinds = [int(row[1]) for row in rows]
    short = sum(len(row) - at < _GMSH_NODES.get(kind, 0) for row, at, kind in zip(rows, starts, kinds, strict=True))
    if short:
        raise refusal(f'{short} elements have fewer corners than their type needs')
    sizes = [len(row) - at for row, at in zip(rows, starts, strict=True)]
    corners = np.array([word for row, at in zip(rows, starts, strict=True) for word in row[at:]], np.int64)
    grid = Grid(
        nodes,
        np.array([OF_GMSH.get(kind, 1000 + kind) for kind in kinds], np.int64),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        _by_number(corners, numbers),
        np.array(marks, np.int64),
    )
    return tets_of(grid)


def _block(data: bytes, start: bytes, end: bytes) -> bytes:
    first, last = data.find(start), data.find(end)
    if first < 0 or last < first:
        raise refusal(f'no {start.decode()} … {end.decode()}: the file is cut or of another kind')
    return data[first + len(start) : last]


def _counted(block: bytes) -> list[bytes]:
    """Return the lines of a block that begins with their number."""
    lines = block.split(b'\n')
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise refusal('an empty block')
    count = int(lines[0])
    check_count(count)
    if len(lines) - 1 != count:
        raise refusal(f'{count} rows are announced, {len(lines) - 1} are there')
    return lines[1:]


def _msh_nodes(block: bytes) -> tuple[NDArray[np.int64], Array]:
    rows = [line.split() for line in _counted(block)]
    if any(len(row) != 4 for row in rows):
        raise refusal('a node without number and three coordinates')
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:])


def _by_number(corners: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn numbers of nodes, which may have gaps, into indices."""
    order = np.argsort(numbers, kind='stable')
    place = np.searchsorted(numbers[order], corners)
    place = np.minimum(place, len(numbers) - 1)
    found = numbers[order][place] == corners
    if not found.all():
        raise refusal(f'{int((~found).sum())} corners use a node that is not there')
    return order[place]
