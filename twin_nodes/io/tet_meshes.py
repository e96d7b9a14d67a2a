"""Tetrahedral meshes from files (VTK, MSH, VTU, INP and more), brought to the anatomy frame: LPS axes in metres."""

from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.anatomy.tet_mesh import TetMesh, make_tet_mesh
from twin_nodes.core.errors import InputError
from twin_nodes.io.mesh_formats import SPACES, UNITS, reader_of
from twin_nodes.io.tet_formats import read_by_meshio, read_msh, read_vtk_tets, read_vtu_tets, read_xdmf, vtk_bytes
from twin_nodes.io.whole_files import write_bytes_whole

READERS = {
    '.vtk': read_vtk_tets, '.msh': read_msh, '.mesh': read_by_meshio, '.vtu': read_vtu_tets, '.inp': read_by_meshio,
    '.bdf': read_by_meshio, '.nas': read_by_meshio, '.fem': read_by_meshio, '.meshb': read_by_meshio,
    '.avs': read_by_meshio, '.ele': read_by_meshio, '.node': read_by_meshio, '.vol': read_by_meshio,
    '.su2': read_by_meshio, '.xdmf': read_xdmf, '.med': read_by_meshio,
}  # fmt: skip


def read_tets(path: Path | str, *, unit: str, space: str = 'LPS', allow_parts: bool = False) -> TetMesh:
    """Read a tetrahedral mesh and check it.

    Args:
        path: A .vtk (legacy), .msh (gmsh 1, 2, 4), .mesh or .meshb (Medit), .vtu, .inp (Abaqus or AVS), .avs, .bdf,
            .nas or .fem (Nastran), .ele with .node (TetGen), .vol (Netgen), .su2, .xdmf (FEniCS) or .med (Salome)
            file; hexahedra, wedges and pyramids are cut into tetrahedra.
        unit: The unit of the file, m or mm; the formats do not carry it.
        space: The axes of the file, LPS or RAS.
        allow_parts: Whether the mesh may consist of parts that do not hang together.

    Raises:
        ConfigError: another unit or space.
        InputError: ANATOMY_REFUSED when the file is missing, of another format, cut, announces more than it holds, or
            when `make_tet_mesh` refuses the mesh; with the counts.
    """
    path = Path(path)
    reader = reader_of(path, READERS, unit, space)
    try:
        nodes, tets, labels = reader(path)
        _check_doubles(tets)
        marks = labels if labels is not None and np.min(labels) >= 0 else None
        return make_tet_mesh(path.stem, nodes * UNITS[unit] * SPACES[space], tets, marks, allow_parts=allow_parts)
    except InputError as error:
        raise refusal(path, str(error)) from None
    except ModuleNotFoundError as error:
        raise refusal(path, f'this format needs {error.name}: type `pip install {error.name}`') from None
    except KeyError as error:
        raise refusal(path, f'it refers to {error}, which is not there or not known') from None
    except (Exception, SystemExit) as error:  # a broken file raises many kinds; meshio ends the process for some
        raise refusal(path, f'not readable as {path.suffix[1:].upper()} ({type(error).__name__}: {error})') from None


def _check_doubles(tets: np.ndarray) -> None:
    """Refuse elements that are there twice: their volume and stiffness would count twice."""
    rows = np.sort(tets, axis=1)
    order = np.lexsort(rows.T)
    twice = int((np.diff(rows[order], axis=0) == 0).all(axis=1).sum())
    if twice:
        raise InputError(
            f'{twice} of {len(tets)} tetrahedra are there twice: remove the doubles', code='ANATOMY_REFUSED'
        )


def write_tets(path: Path | str, mesh: TetMesh, *, regions: dict[str, np.ndarray] | None = None) -> None:
    """Write a mesh as binary legacy VTK in metres, LPS: labels of the cells, and 1 at the nodes of each region."""
    marks = {}
    for name, nodes in (regions or {}).items():
        marks[name] = np.zeros(len(mesh.nodes), np.int32)
        marks[name][nodes] = 1
    write_bytes_whole(Path(path), vtk_bytes(mesh.nodes, mesh.tets, marks, {'label': mesh.labels}))
