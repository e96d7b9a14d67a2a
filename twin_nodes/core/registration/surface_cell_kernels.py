"""Compiled kernels: the distance near a surface as one plane per cell.

A cell of the grid near the surface keeps the plane that fits the distance there best: numbers that lie together, in
place of eight from four places. Reading memory is what a registration waits for, so that this is several times quicker;
a plane is also nearer to the truth than the trilinear value, whose mean over a cell is too high where the surface is
convex. Cells stand in bricks of 8 × 8 × 8, and only bricks near the surface exist.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle
from twin_nodes.core.registration.surface_exact_kernels import exact_residual

BRICK = 8
_GAUSS = 0.5 / math.sqrt(3.0)  # where eight samples give the mean over a cell
_MAX_MISFIT = 0.15  # of a cell; a ridge or a sharp edge, where a plane says nothing


@njit(cache=True)
def number_bricks(values: Any, band: float) -> tuple[Any, int]:
    """Number the bricks that hold a cell within `band` [m] of the surface.

    Args:
        values: Signed distances at the nodes [m], shape (nx, ny, nz).
        band: Largest distance [m].

    Returns:
        Number of each brick or -1, shape (bx, by, bz), and how many there are.
    """
    nx, ny, nz = values.shape
    index = np.full(((nx - 2) // BRICK + 1, (ny - 2) // BRICK + 1, (nz - 2) // BRICK + 1), -1, np.int32)
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                if abs(values[i, j, k]) <= band:
                    index[i // BRICK, j // BRICK, k // BRICK] = 0
    count = 0
    for a in range(index.shape[0]):
        for b in range(index.shape[1]):
            for c in range(index.shape[2]):
                if index[a, b, c] == 0:
                    index[a, b, c] = count
                    count += 1
    return index, count


@njit(cache=True)
def fill_cells(
    values: Any, nearest: Any, origin: Any, spacing: float, corners: Any, normals: Any, across: Any,
    heights: Any, band: float, index: Any, cells: Any, hints: Any,
) -> float:  # fmt: skip
    """Fit a plane to the distances in each cell: exact ones next to the surface, those at the nodes farther off.

    Args:
        values: Signed distances at the nodes [m], shape (nx, ny, nz).
        nearest: Nearest triangle of each node, -1 for none, the same shape.
        origin: Position of node (0, 0, 0) [m], shape (3,).
        spacing: Distance between nodes [m].
        corners: Triangles [m], shape (t, 3, 3).
        normals: Pseudo-normals of the triangles' features, shape (t, 7, 3).
        across: Triangle beyond each edge, shape (t, 3).
        heights: Of a smooth surface through the vertices above each triangle [m], shape (t,).
        band: Cells with a corner farther off than this [m] get no plane.
        index: As `number_bricks` gives it.
        cells: Gets of each cell the distance in its middle [m], the gradient, and the sum of both curvatures [1/m]; NaN
            for no plane; at 6 the height of its triangle; float32, shape (m, 512, 8).
        hints: The same memory as int32; gets a triangle next to the cell's middle at 5, -1 for none.

    Returns:
        Root mean square error of the planes in cells that the surface cuts [m].
    """
    nx, ny, nz = values.shape
    d = np.empty(8)
    squares, cut = 0.0, 0
    cells[:] = np.nan
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                brick = index[i // BRICK, j // BRICK, k // BRICK]
                if brick < 0:
                    continue
                cell = ((i % BRICK) * BRICK + j % BRICK) * BRICK + k % BRICK
                hints[brick, cell, 5] = -1
                far, low, high = 0.0, np.inf, -np.inf
                for node in range(8):
                    d[node] = values[i + (node >> 2), j + ((node >> 1) & 1), k + (node & 1)]
                    far = max(far, abs(d[node]))
                    low, high = min(low, d[node]), max(high, d[node])
                if far > band:
                    continue
                hint = _middle_triangle(nearest, origin, spacing, corners, i, j, k)
                hints[brick, cell, 5] = hint
                cells[brick, cell, 6] = heights[hint] if hint >= 0 else 0.0
                half, lift = 0.5, spacing**2 / 12.0 * _laplacian(values, spacing, i, j, k, 1)
                if hint >= 0 and low <= spacing and high >= -spacing:
                    half, lift = _GAUSS, 0.0
                    for node in range(8):
                        px = origin[0] + spacing * (i + 0.5 + _GAUSS * (1.0 if node & 4 else -1.0))
                        py = origin[1] + spacing * (j + 0.5 + _GAUSS * (1.0 if node & 2 else -1.0))
                        pz = origin[2] + spacing * (k + 0.5 + _GAUSS * (1.0 if node & 1 else -1.0))
                        d[node] = exact_residual(px, py, pz, hint, corners, normals, across)
                mean = 0.125 * (d[0] + d[1] + d[2] + d[3] + d[4] + d[5] + d[6] + d[7])
                gx = 0.125 * (d[4] + d[5] + d[6] + d[7] - d[0] - d[1] - d[2] - d[3]) / half
                gy = 0.125 * (d[2] + d[3] + d[6] + d[7] - d[0] - d[1] - d[4] - d[5]) / half
                gz = 0.125 * (d[1] + d[3] + d[5] + d[7] - d[0] - d[2] - d[4] - d[6]) / half
                misfit = 0.0
                for node in range(8):
                    u, v, w = half if node & 4 else -half, half if node & 2 else -half, half if node & 1 else -half
                    misfit += (d[node] - mean - gx * u - gy * v - gz * w) ** 2
                if low <= 0.0 <= high:
                    squares += misfit
                    cut += 8
                cells[brick, cell, 4] = _laplacian(values, spacing, i, j, k, 2)
                if misfit > 8.0 * (_MAX_MISFIT * spacing) ** 2:
                    continue
                # a quadratic is h²/8 of its Laplacian above its middle on average over the corners, h²/24 over the cell
                cells[brick, cell, 0] = mean - lift
                cells[brick, cell, 1] = gx / spacing
                cells[brick, cell, 2] = gy / spacing
                cells[brick, cell, 3] = gz / spacing
    return math.sqrt(squares / cut) if cut else 0.0


@njit(cache=True)
def _middle_triangle(nearest: Any, origin: Any, spacing: float, corners: Any, i: int, j: int, k: int) -> int:
    """Return the triangle nearest to the middle of a cell among those nearest to its corners, -1 for none."""
    px, py, pz = (
        origin[0] + (i + 0.5) * spacing,
        origin[1] + (j + 0.5) * spacing,
        origin[2] + (k + 0.5) * spacing,
    )
    least, chosen = np.inf, -1
    t1 = t2 = -1
    for node in range(8):
        t = nearest[i + (node >> 2), j + ((node >> 1) & 1), k + (node & 1)]
        if t < 0 or t in (t1, t2):
            continue
        t1, t2 = t, t1
        squared = closest_on_triangle(px, py, pz, corners[t])[0]
        if squared < least:
            least, chosen = squared, t
    return chosen


@njit(cache=True)
def _laplacian(values: Any, spacing: float, i: int, j: int, k: int, reach: int) -> float:
    """Return the Laplacian of the distance [1/m] over a cell, from nodes `reach` away; 0 next to the grid's border."""
    nx, ny, nz = values.shape
    if i < reach or j < reach or k < reach or i + 1 + reach >= nx or j + 1 + reach >= ny or k + 1 + reach >= nz:
        return 0.0
    total = 0.0
    for node in range(8):
        u, v, w = i + (node >> 2), j + ((node >> 1) & 1), k + (node & 1)
        total += float(values[u - reach, v, w]) + float(values[u + reach, v, w]) - 6.0 * float(values[u, v, w])
        total += float(values[u, v - reach, w]) + float(values[u, v + reach, w])
        total += float(values[u, v, w - reach]) + float(values[u, v, w + reach])
    return total / (8.0 * (reach * spacing) ** 2)
