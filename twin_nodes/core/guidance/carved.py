"""Distances to what is left of a structure, from the voxels that a receiver knows to be gone."""

import math

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.removed import RemovedMessage
from twin_nodes.core.geometry.se3 import Array

BAND = 0.005
BAND_VOXELS = 10
VOXEL_SIGMA = 0.3  # of a voxel: the wall lies anywhere between two centres, σ = 1/√12


class CarvedGrid:
    """A distance grid that follows a drill.

    A node's distance becomes the greater of what it was and the signed distance to what is left by voxels, known within
    `band` of what is gone. Inside what is left that is the distance to the nearer of the old surface and the cavity; in
    the cavity, and through its mouth, that to its walls.

    Args:
        grid: The structure as it was; it is not changed.
    """

    def __init__(self, grid: DistanceGrid) -> None:
        self._original = grid
        self.grid = grid

    def reset(self) -> DistanceGrid:
        """Return the grid as it was, and follow it anew."""
        self.grid = self._original
        return self.grid

    def update(self, voxels: NDArray[np.uint8], anatomy_T_index: Array, low: Array, high: Array) -> DistanceGrid:
        """Bring the nodes up to date that lie near newly removed voxels, and return the grid.

        Args:
            voxels: Not 0 where a voxel is gone, shape (ni, nj, nk).
            anatomy_T_index: Maps voxel indices to the anatomy frame, shape (4, 4).
            low: Least index of the voxels that went, shape (3,).
            high: Greatest index of them, shape (3,).
        """
        spacing = np.linalg.norm(anatomy_T_index[:3, :3], axis=0)
        band = min(BAND, BAND_VOXELS * float(spacing.max()))
        if self.grid is self._original:
            self.grid = _widened(self._original, float(spacing.max()))
        halo = np.ceil(band / spacing).astype(int) + 1
        size = np.array(voxels.shape)
        first, last = np.maximum(low - 2 * halo, 0), np.minimum(high + 2 * halo, size - 1)
        nodes = self._nodes(anatomy_T_index, low - halo, high + halo)
        if any(part.start >= part.stop for part in nodes):
            return self.grid
        part = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
        cavity_at = cavity_distance(voxels[part] != 0, self._outside(anatomy_T_index, part), spacing, band)
        points = np.stack(np.meshgrid(*(np.arange(p.start, p.stop) for p in nodes), indexing='ij'), axis=-1)
        where = points * self.grid.spacing + self.grid.origin
        index = (where - anatomy_T_index[:3, 3]) @ np.linalg.inv(anatomy_T_index[:3, :3]).T
        cavity = _look_up(cavity_at, index - first, index, size)
        self.grid.values[nodes] = np.maximum(self._original.values[nodes], cavity)
        return self.grid

    def _outside(self, anatomy_T_index: Array, part: tuple[slice, ...]) -> NDArray[np.bool_]:
        """Return which voxels of a part were outside before."""
        from scipy.ndimage import map_coordinates

        grid = self._original
        index = np.stack(np.meshgrid(*(np.arange(one.start, one.stop) for one in part), indexing='ij'))
        where = np.tensordot(anatomy_T_index[:3, :3], index, axes=1) + anatomy_T_index[:3, 3].reshape(3, 1, 1, 1)
        at = (where - grid.origin.reshape(3, 1, 1, 1)) / grid.spacing
        found = map_coordinates(grid.values, at, order=1, mode='nearest', output=np.float32)
        return np.asarray(found > 0.0)

    def _nodes(self, anatomy_T_index: Array, low: Array, high: Array) -> tuple[slice, slice, slice]:
        """Return the nodes around a box of voxels."""
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
        where = corners @ anatomy_T_index[:3, :3].T + anatomy_T_index[:3, 3]
        index = (where - self.grid.origin) / self.grid.spacing
        first = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
        last = np.minimum(np.ceil(index.max(axis=0)) + 1, self.grid.values.shape).astype(int)
        a, b, c = (slice(int(start), int(stop)) for start, stop in zip(first, last, strict=True))
        return a, b, c


class DirtyBox:
    """The box of voxels that went since it was last taken."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Make it empty."""
        self.low, self.high = np.full(3, 1 << 40), np.full(3, -1)

    def add(self, message: RemovedMessage) -> None:
        """Widen it by the runs of a message."""
        _, nj, nk = message.shape
        first = np.stack([message.starts // (nj * nk), message.starts // nk % nj, message.starts % nk])
        last = first.copy()
        last[2] += message.lengths - 1
        self.low = np.minimum(self.low, first.min(axis=1))
        self.high = np.maximum(self.high, last.max(axis=1))


def cavity_distance(gone: NDArray[np.bool_], outside: NDArray[np.bool_], spacing: Array, band: float) -> Array:
    """Return the signed distance [m] to what is left, by voxels, positive where nothing is, at the centres.

    It is known within `band` of what is gone, -inf elsewhere, and `band` where nothing is left that near. Through the
    mouth of a cavity it goes on into what was outside before; there it is told half a voxel short, as the surface
    itself tells better.

    Args:
        gone: Whether a voxel was taken, shape (ni, nj, nk).
        outside: Whether it was outside before.
        spacing: Of the voxels [m], shape (3,).
        band: Reach [m].
    """
    from scipy.ndimage import distance_transform_edt

    half = 0.5 * float(spacing.min())
    if not gone.any():
        return np.full(gone.shape, -np.inf)
    free = gone | outside
    known = np.asarray(distance_transform_edt(~gone, sampling=spacing)) < band
    to_left = distance_transform_edt(free, sampling=spacing) if not free.all() else np.full(gone.shape, np.inf)
    to_free = distance_transform_edt(~free, sampling=spacing)
    found = np.where(free, np.asarray(to_left) - half, half - np.asarray(to_free))
    found[outside & ~gone] -= half
    return np.where(known, np.minimum(found, band), -np.inf)


def _look_up(values: Array, local: Array, index: Array, size: Array) -> Array:
    """Interpolate linearly between voxel centres; far away outside the volume."""
    from scipy.ndimage import map_coordinates

    known = np.isfinite(values)
    at = np.moveaxis(local, -1, 0)
    found = map_coordinates(np.where(known, values, 0.0), at, order=1, mode='nearest')
    sure = map_coordinates(known.astype(np.float32), at, order=1, mode='nearest') > 0.999
    outside = ((index < -0.5) | (index > size - 0.5)).any(axis=-1)
    return np.where(outside | ~sure, -np.inf, found)


def _widened(grid: DistanceGrid, voxel: float) -> DistanceGrid:
    """Return a copy of a grid that may be changed, with the error of the voxels added."""
    sigma = VOXEL_SIGMA * voxel
    return DistanceGrid(
        grid.name, grid.origin, grid.spacing, grid.values.copy(), grid.near_error + voxel, grid.far_error + voxel,
        math.hypot(grid.near_sigma, sigma), math.hypot(grid.far_sigma, sigma), grid.signed,
    )  # fmt: skip
