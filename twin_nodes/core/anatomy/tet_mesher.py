"""Fills a closed surface with tetrahedra: isosurface stuffing (Labelle and Shewchuk 2007), the same bits each time."""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy import distance_kernels, stuffing_kernels, tet_kernels
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.tet_mesh import TetMesh, largest_part
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array

MAX_TETS = 5_000_000
MIN_TETS = 50
CELLS_PER_EDGE = 4.0  # nodes of the distance grid along an edge of the lattice
_MAX_GRID = 30e6
_COUNT_TOLERANCE = 0.01
_COUNT_STEPS = 8


@dataclass(frozen=True)
class MeshingReport:
    """How well a mesh fills its surface.

    Args:
        edge: Length of the long edges of the lattice [m].
        volume_error: Volume of the mesh over that of the surface, less 1.
        surface_error: Largest distance [m] of the centres and corners of the outer faces to the surface.
        surface_rms: Root mean square of the same distances [m].
        dropped_parts: Parts that did not hang together with the largest one and were left out.
        dropped_volume: Volume of these parts over that of the surface.
    """

    edge: float
    volume_error: float
    surface_error: float
    surface_rms: float
    dropped_parts: int
    dropped_volume: float


def mesh_surface(surface: Surface, *, tets: int = 0, edge: float = 0.0) -> tuple[TetMesh, MeshingReport]:
    """Fill a surface with about so many tetrahedra, or with a lattice of a given edge.

    Args:
        surface: A watertight surface in the anatomy frame.
        tets: Number of elements wanted; met within a few percent.
        edge: Length of the long edges of the lattice [m], in place of `tets`.

    Returns:
        The mesh with label 1, and how well it fills the surface.

    Raises:
        ConfigError: neither or both of `tets` and `edge`, or a number out of range.
        InputError: ANATOMY_REFUSED when the surface is not closed, or the lattice too coarse for it.
    """
    _check_request(tets, edge)
    if not surface.is_watertight:
        raise InputError(
            f'surface {surface.name!r} is not closed: {surface.report.open_edges} edges are open and '
            f'{surface.report.bad_edges} inconsistent: it has no inside to fill',
            code='ANATOMY_REFUSED',
        )
    first = edge or (12.0 * surface.volume / tets) ** (1.0 / 3.0)
    extent = np.ptp(surface.bounds, axis=0)
    _cubes(extent, first)  # refuses a lattice that would never end before the grid is made
    least = float(np.prod(extent + first) / _MAX_GRID) ** (1.0 / 3.0)
    grid = DistanceGrid.from_surface(surface, max(first / CELLS_PER_EDGE, least), 0.0)
    mesh, size = stuff_grid(grid, edge=first) if edge else _stuff_count(grid, tets, first)
    return _report(surface, grid, mesh, size)


def stuff_grid(grid: DistanceGrid, *, edge: float) -> tuple[TetMesh, float]:
    """Fill where a signed distance grid is negative with a lattice of a given edge [m]; parts are all kept.

    Raises:
        InputError: ANATOMY_REFUSED where the grid has no sign, or no node of the lattice lies inside.
    """
    if not grid.signed:
        raise InputError(f'the distances of {grid.name!r} have no sign: nothing to fill', code='ANATOMY_REFUSED')
    low, counts = _lattice(grid, edge)
    positions = stuffing_kernels.lattice_nodes(low, edge, *counts)
    field = (grid.values, grid.origin, grid.spacing)
    depth = stuffing_kernels.depths(positions, *field)
    stuffing_kernels.warp(positions, depth, edge, *counts, *field)
    codes = stuffing_kernels.stuff(positions, depth, *counts, *field)
    if len(codes) == 0:
        raise InputError(
            f'{grid.name!r}: no node of a lattice of {edge * 1e3:.3g} mm lies inside: ask for more tetrahedra',
            code='ANATOMY_REFUSED',
        )
    used, compact = np.unique(codes, return_inverse=True)
    nodes = stuffing_kernels.points_of(used, positions, depth, *field)
    tets = np.ascontiguousarray(compact.reshape(-1, 4), np.int32)
    return TetMesh(nodes, tets, np.ones(len(tets), np.int32)), edge


def _check_request(tets: int, edge: float) -> None:
    if (tets > 0) == (edge > 0.0) or tets < 0 or not 0.0 <= edge < math.inf:
        raise ConfigError(f'tets={tets}, edge={edge} m: give one of them')
    if tets and not MIN_TETS <= tets <= MAX_TETS:
        raise ConfigError(f'tets={tets} must lie within {MIN_TETS} … {MAX_TETS}')


def _lattice(grid: DistanceGrid, edge: float) -> tuple[Array, tuple[int, int, int]]:
    """Return the low corner and the cubes of a lattice whose middle is the middle of what is inside the grid."""
    low, high = grid.bounds
    centre = 0.5 * (low + high)
    counts = _cubes(high - low, edge)
    return np.ascontiguousarray(centre - 0.5 * edge * np.array(counts)), counts


def _cubes(extent: Array, edge: float) -> tuple[int, int, int]:
    """Return how many cubes of the lattice lie along each axis of an extent [m]."""
    nx, ny, nz = (math.ceil(length / edge) + 2 for length in extent.tolist())
    if 12.0 * nx * ny * nz > 40 * MAX_TETS:
        raise ConfigError(f'edge={edge} m gives {nx * ny * nz:.3g} cubes of the lattice: take a longer one')
    return nx, ny, nz


def _stuff_count(grid: DistanceGrid, wanted: int, edge: float) -> tuple[TetMesh, float]:
    """Search the edge that gives the wanted number: n grows with edge^-3."""
    best, best_edge = stuff_grid(grid, edge=edge)
    count = len(largest_part(best).tets)
    for _ in range(_COUNT_STEPS):
        if abs(count - wanted) <= _COUNT_TOLERANCE * wanted:
            break
        edge *= (count / wanted) ** (1.0 / 3.0) if edge == best_edge else 1.003
        mesh, _ = stuff_grid(grid, edge=edge)
        found = len(largest_part(mesh).tets)
        if abs(found - wanted) < abs(count - wanted):
            best, best_edge, count = mesh, edge, found
    return best, best_edge


def _report(surface: Surface, grid: DistanceGrid, mesh: TetMesh, edge: float) -> tuple[TetMesh, MeshingReport]:
    kept = largest_part(mesh)
    parts = int(tet_kernels.parts_of(mesh.tets, len(mesh.nodes)).max()) + 1
    corners = kept.nodes[kept.outer_faces]
    points = np.vstack([corners.mean(axis=1), kept.nodes[kept.outer_nodes]])
    gaps = distance_kernels.look_up_many(grid.values, grid.origin, grid.spacing, points)[0]
    report = MeshingReport(
        edge=edge,
        volume_error=kept.volume / surface.volume - 1.0,
        surface_error=float(np.abs(gaps).max()),
        surface_rms=math.sqrt(float(np.mean(gaps**2))),
        dropped_parts=parts - 1,
        dropped_volume=(mesh.volume - kept.volume) / surface.volume,
    )
    return kept, report
