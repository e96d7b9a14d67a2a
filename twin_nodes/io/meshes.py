"""Surfaces from mesh files (PLY, STL, OBJ, OFF, VTK, VTP), brought to the anatomy frame: LPS axes in metres."""

from pathlib import Path
from typing import Literal

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.io.mesh_formats import (
    SPACES,
    UNITS,
    check_count,
    read_obj,
    read_off,
    read_stl,
    read_vtk,
    read_vtp,
    reader_of,
)
from twin_nodes.io.ply import read_ply

READERS = {'.ply': read_ply, '.stl': read_stl, '.obj': read_obj, '.vtk': read_vtk, '.vtp': read_vtp, '.off': read_off}


def read_surface(
    path: Path | str, *, unit: Literal['m', 'mm'], space: Literal['LPS', 'RAS'] = 'LPS', name: str = ''
) -> Surface:
    """Read a surface and check it.

    Equal vertices are merged (STL writes each one about six times), those that differ by rounding too where that closes
    the surface, triangles of no area are dropped, and pieces that are inside out turned; `report` counts. A surface
    with holes is returned as it is: `is_watertight` says so, and the distance grid refuses it.

    Args:
        path: A .ply, .stl, .obj, .off, .vtk (legacy) or .vtp file.
        unit: The unit of the file; the formats do not carry it.
        space: The axes of the file; 3D Slicer wrote RAS before version 5 and LPS since.
        name: Name of the structure; '' takes the file's.

    Raises:
        ConfigError: another unit or space.
        InputError: ANATOMY_REFUSED when the file is missing, of another format, cut, lies about its counts, is too
            large, has NaN, indices out of range, no area, a size that no anatomy has ("millimetres?"), or says itself
            that its axes are others.
    """
    from twin_nodes.core.anatomy.surface_pieces import orient_pieces, weld  # with scipy, which the ending needs not

    path = Path(path)
    reader = reader_of(path, READERS, unit, space)
    _check_space(path, space)
    try:
        points, triangles = reader(path)
        check_count(len(triangles))
        if len(points) and not len(triangles):
            raise refusal(path, f'{len(points)} points and no triangle: a cloud is no surface, mesh it first')
        surface = make_surface(name or path.stem, points * UNITS[unit] * SPACES[space], triangles)
        return orient_pieces(weld(surface))
    except InputError as error:
        raise error if str(error).startswith(str(path)) else refusal(path, str(error)) from None
    except Exception as error:  # a broken file raises many kinds, in our readers and in meshio
        raise refusal(path, f'not readable as {path.suffix[1:].upper()} ({type(error).__name__}: {error})') from None


def write_surface(path: Path | str, surface: Surface) -> None:
    """Write a surface as binary PLY in metres, with float64 vertices, so that reading gives the same bits."""
    header = (
        'ply\nformat binary_little_endian 1.0\ncomment SPACE=LPS unit=m\n'
        f'element vertex {len(surface.vertices)}\nproperty double x\nproperty double y\nproperty double z\n'
        f'element face {len(surface.triangles)}\nproperty list uchar int vertex_indices\nend_header\n'
    )
    faces = np.empty(len(surface.triangles), np.dtype([('count', 'u1'), ('corners', '<i4', 3)]))
    faces['count'], faces['corners'] = 3, surface.triangles
    Path(path).write_bytes(header.encode() + surface.vertices.astype('<f8').tobytes() + faces.tobytes())


def _check_space(path: Path, space: str) -> None:
    """3D Slicer writes SPACE=… into the comment of its files."""
    with path.open('rb') as stream:
        start = stream.read(1024).upper()
    for other in SPACES:
        if other != space and f'SPACE={other}'.encode() in start:
            raise refusal(path, f'the file says SPACE={other}, but space={space} was given: set space to {other}')
