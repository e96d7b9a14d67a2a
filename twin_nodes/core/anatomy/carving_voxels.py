"""Closed surfaces as labelled voxels, to be carved."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import ConfigError, InputError

MOST_VOXELS = 1 << 29
_ASIDE = (3.7e-7, 7.3e-7)  # parts of a voxel by which the rays pass beside round numbers


def voxelise(surfaces: Sequence[Surface], voxel_size: float, *, margin: float = 0.002) -> LabelVolume:
    """Fill closed surfaces with labels 1, 2, … in their order; where two overlap the later one holds.

    A voxel belongs to a surface when a ray from its centre along z leaves it an odd number of times.

    Args:
        surfaces: Closed surfaces in the anatomy frame.
        voxel_size: Edge of a voxel [m].
        margin: Empty room around [m].

    Raises:
        ConfigError: more than 2²⁹ voxels, or a voxel size that is none.
        InputError: ANATOMY_REFUSED for a surface with holes.
    """
    for surface in surfaces:
        if not surface.is_watertight:
            raise InputError(
                f'surface {surface.name!r} is not closed: {surface.report.open_edges} edges are open; it cannot be '
                'carved. Repair it, or give a label volume',
                code='ANATOMY_REFUSED',
            )
    if not surfaces or not (math.isfinite(voxel_size) and voxel_size > 0.0):
        raise ConfigError(f'{len(surfaces)} surfaces at voxel_size={voxel_size} m cannot be made voxels')
    low = np.min([surface.bounds[0] for surface in surfaces], axis=0) - margin
    high = np.max([surface.bounds[1] for surface in surfaces], axis=0) + margin
    counts = np.ceil((high - low) / voxel_size) + 1.0
    if np.prod(counts) > MOST_VOXELS:
        raise ConfigError(
            f'voxel_size={voxel_size} m makes {np.prod(counts):.3g} voxels of the structures, limit {MOST_VOXELS:.3g}: '
            f'take {voxel_size * float(np.prod(counts) / MOST_VOXELS) ** (1 / 3):.2g} m or more'
        )
    labels = np.zeros([int(count) for count in counts], np.uint8)
    inside = np.zeros(labels.shape, np.uint8)
    for number, surface in enumerate(surfaces, 1):
        inside[:] = 0
        _fill(inside, (surface.vertices[surface.triangles] - low) / voxel_size, _ASIDE)
        labels[inside == 1] = number
    anatomy_T_index = np.diag([voxel_size] * 3 + [1.0])
    anatomy_T_index[:3, 3] = low
    return LabelVolume(labels, anatomy_T_index)


@njit(cache=True)
def _fill(inside: Any, corners: Any, aside: Any) -> None:
    """Write 1 into the voxels inside a closed surface.

    Args:
        inside: uint8, shape (ni, nj, nk), all 0; changed in place.
        corners: Triangles in voxels, shape (m, 3, 3).
        aside: Shift of the rays in x and y, in voxels.
    """
    ni, nj, nk = inside.shape
    for t in range(len(corners)):
        ax, ay, az = corners[t, 0, 0] - aside[0], corners[t, 0, 1] - aside[1], corners[t, 0, 2]
        bx, by, bz = corners[t, 1, 0] - aside[0], corners[t, 1, 1] - aside[1], corners[t, 1, 2]
        cx, cy, cz = corners[t, 2, 0] - aside[0], corners[t, 2, 1] - aside[1], corners[t, 2, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        for i in range(max(0, math.ceil(min(ax, bx, cx))), min(ni - 1, math.floor(max(ax, bx, cx))) + 1):
            for j in range(max(0, math.ceil(min(ay, by, cy))), min(nj - 1, math.floor(max(ay, by, cy))) + 1):
                u = _side(bx, by, cx, cy, i, j)
                v = _side(cx, cy, ax, ay, i, j)
                w = _side(ax, ay, bx, by, i, j)
                if not ((u > 0.0 and v > 0.0 and w > 0.0) or (u < 0.0 and v < 0.0 and w < 0.0)):
                    continue
                k = math.ceil((u * az + v * bz + w * cz) / (u + v + w))
                if 0 <= k < nk:
                    inside[i, j, k] ^= 1
                elif k < 0:
                    inside[i, j, 0] ^= 1
    for i in range(ni):
        for j in range(nj):
            state = 0
            for k in range(nk):
                state ^= inside[i, j, k]
                inside[i, j, k] = state


@njit(cache=True)
def _side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """Twice the signed area of (a, b, p), with the same rounding whichever end comes first: neighbours agree."""
    if ax > bx or (ax == bx and ay > by):
        return -((ax - bx) * (y - by) - (ay - by) * (x - bx))
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)
