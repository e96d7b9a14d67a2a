"""What is gone of a structure that deforms: the cavity as in the scan, and how the tissue around it has moved.

`anatomy/removed` tells which voxels are gone where they were in the scan, `anatomy/surface/moved` where the vertices of
the surface are now. The motion of the tissue in between comes from the vertices around the hole that are still there:
at the nodes of a coarse lattice by moving least squares (Schaefer, McPhail and Warren 2006; in space: Zhu and Gortler
2007), between them linearly. A point is brought back to the scan by it, and the wall of the cavity is looked up there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.carved import BAND, BAND_VOXELS, VOXEL_SIGMA, cavity_distance

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

LATTICE = 0.008  # m, between nodes of the motion
_NEIGHBOURS = 40  # vertices that a node goes by
_REACH = 0.01  # m, of their weights beside their distance
_MARGIN = 2  # voxels from a hole, within which a vertex is of what is gone
_STIFF = 0.02  # share by which the tissue turns as a whole where its vertices do not tell, such as into the depth
_ROOM = 8  # voxels that a box grows by at least


class Cavity(NamedTuple):
    """What the kernels need; all arrays of size 0 where nothing is gone.

    Args:
        values: Signed distance to the wall of the cavity, positive where tissue is gone [m], float32, -inf where it is
            not known, at the centres of the voxels of a box in the scan, shape (ni, nj, nk).
        index_T_anatomy: Brings a point of the scan to indices of the box, shape (3, 4).
        motion: How far the tissue has moved at the nodes of the lattice [m], shape (mi, mj, mk, 3).
        origin: Of the lattice in the scan [m], shape (3,).
        spacing: Of the lattice [m].
    """

    values: NDArray[np.float32]
    index_T_anatomy: Array
    motion: Array
    origin: Array
    spacing: float


def no_cavity() -> Cavity:
    """Return the cavity of a structure that is whole."""
    return Cavity(np.zeros((0, 0, 0), np.float32), np.zeros((3, 4)), np.zeros((0, 0, 0, 3)), np.zeros(3), LATTICE)


@dataclass(frozen=True, eq=False)
class _Fit:
    """How places go along with vertices around them: an affine motion, in what they do not tell a rigid one.

    Args:
        near: The vertices, shape (p, k).
        weights: Theirs, which add up to 1, shape (p, k).
        around: The vertices in the scan from their weighted mean [m], shape (p, k, 3).
        inverse: Of their weighted second moments, with the share of `_STIFF`, shape (p, 3, 3).
        stiff: That share [m²], shape (p,).
        arm: The places from the mean [m], shape (p, 3).
    """

    near: NDArray[np.int64]
    weights: Array
    around: Array
    inverse: Array
    stiff: Array
    arm: Array

    def places(self, now: Array) -> tuple[Array, Array]:
        """Return where the places are [m] (p, 3) and σ along an axis (p,), for vertices at (n, 3)."""
        there = now[self.near]
        mean = np.einsum('pk,pkc->pc', self.weights, there)
        there = there - mean[:, None]
        moment = np.swapaxes(there, 1, 2) @ (self.weights[..., None] * self.around)
        motion = (moment + self.stiff[:, None, None] * _turns(moment)) @ self.inverse
        off = there - self.around @ np.swapaxes(motion, 1, 2)
        spread = np.sqrt(np.einsum('pk,pkc->p', self.weights, off**2) / 3.0)
        wide = np.sqrt(np.einsum('pk,pkc->p', self.weights, self.around**2)) + 1e-9
        error = spread * (1.0 + np.linalg.norm(self.arm, axis=1) / wide)
        return mean + np.einsum('pij,pj->pi', motion, self.arm), error


class MovingCavity:
    """Follows what is gone of one structure, and how the tissue about it moves.

    Args:
        rest: Vertices of the structure in the scan [m], shape (n, 3).
        distances: Tells their distances to points of the scan [m], (k, 3), shape (k,).
    """

    def __init__(self, rest: Array, distances: Callable[[Array], Array]) -> None:
        self._rest, self._distances = rest, distances
        self.reset()

    def reset(self) -> None:
        """Everything is back."""
        self.cavity = no_cavity()
        self.gone: NDArray[np.int64] = np.empty(0, np.int64)
        self._low, self._high = np.zeros(3, np.int64), np.full(3, -1, np.int64)
        self._lattice: _Fit | None = None
        self._lid: _Fit | None = None
        self._outside = np.zeros((0, 0, 0), bool)
        self._voxel = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is gone."""
        return self.cavity.values.size == 0

    def update(self, voxels: NDArray[np.uint8], anatomy_T_index: Array, low: Array, high: Array) -> None:
        """Take newly removed voxels; `move` is due after it.

        Args:
            voxels: Not 0 where a voxel is gone, shape (ni, nj, nk).
            anatomy_T_index: Maps voxel indices to the scan, shape (4, 4).
            low: Least index of the voxels that went, shape (3,).
            high: Greatest index of them, shape (3,).
        """
        spacing = np.linalg.norm(anatomy_T_index[:3, :3], axis=0)
        self._voxel = float(spacing.max())
        band = min(BAND, BAND_VOXELS * self._voxel)
        halo = np.ceil(band / spacing).astype(np.int64) + 1
        grown = self._grow(low - 2 * halo, high + 2 * halo, anatomy_T_index)
        size = np.array(voxels.shape)
        inner_low, inner_high = np.maximum(low - halo, self._low), np.minimum(high + halo, self._high)
        first, last = np.maximum(inner_low - halo, 0), np.minimum(inner_high + halo, size - 1)
        gone = voxels[_box(first, last)] != 0
        outside = np.ones(gone.shape, bool)
        low_known, high_known = np.maximum(first, self._low), np.minimum(last, self._high)
        outside[_box(low_known - first, high_known - first)] = self._outside[
            _box(low_known - self._low, high_known - self._low)
        ]
        part = cavity_distance(gone, outside, spacing, band)
        first_known, last_known = np.maximum(inner_low, first), np.minimum(inner_high, last)
        known = part[_box(first_known - first, last_known - first)]
        self.cavity.values[_box(first_known - self._low, last_known - self._low)] = known
        vertices = self._vertices_gone(voxels, anatomy_T_index)
        if grown or self._lattice is None or not np.array_equal(vertices, self.gone):
            self.gone = vertices
            self._fit()

    def move(self, now: Array, sigma: Array) -> tuple[Array, Array]:
        """Take where the vertices are [m] (n, 3) with σ (n,); those that are gone go along with the others about them.

        Returns:
            The vertices and their σ, with those of what is gone made from the rest.
        """
        if self._lattice is None or self._lid is None:
            return now, sigma
        nodes, _ = self._lattice.places(now)
        self.cavity.motion[...] = (nodes - self._nodes()).reshape(self.cavity.motion.shape)
        if not len(self.gone):
            return now, sigma
        where, spread = np.array(now), np.array(sigma)
        where[self.gone], error = self._lid.places(now)
        near = sigma[self._lid.near].max(axis=1)
        spread[self.gone] = np.sqrt(near**2 + error**2 + (VOXEL_SIGMA * self._voxel) ** 2)
        return where, spread

    def _grow(self, low: Array, high: Array, anatomy_T_index: Array) -> bool:
        """Make the box hold these indices too; True when it had to grow."""
        if not self.is_whole and (low >= self._low).all() and (high <= self._high).all():
            return False
        old, at = self.cavity.values, self._low
        if self.is_whole:
            self._low, self._high = np.asarray(low - _ROOM), np.asarray(high + _ROOM)
        else:
            self._low = np.where(low < self._low, low - _ROOM, self._low)
            self._high = np.where(high > self._high, high + _ROOM, self._high)
        values = np.full(self._high - self._low + 1, -np.inf, np.float32)
        if old.size:
            values[_box(at - self._low, at - self._low + np.array(old.shape) - 1)] = old
        self._outside = self._was_outside(values.shape, anatomy_T_index)
        shifted = anatomy_T_index.copy()
        shifted[:3, 3] += anatomy_T_index[:3, :3] @ self._low
        corners = np.array(np.meshgrid(*zip(np.zeros(3), values.shape, strict=True))).reshape(3, -1).T
        around = corners @ shifted[:3, :3].T + shifted[:3, 3]
        origin = around.min(axis=0) - LATTICE
        nodes = np.ceil((around.max(axis=0) + LATTICE - origin) / LATTICE).astype(int) + 1
        self.cavity = Cavity(
            values, np.ascontiguousarray(np.linalg.inv(shifted)[:3]), np.zeros((*nodes, 3)), origin, LATTICE
        )
        return True

    def _was_outside(self, shape: tuple[int, ...], anatomy_T_index: Array) -> NDArray[np.bool_]:
        """Return which voxels of the box were outside of the structure, from every other of them along each axis."""
        from scipy.ndimage import map_coordinates

        some = [np.arange(0, size + 2, 2) for size in shape]
        index = np.stack(np.meshgrid(*some, indexing='ij'), axis=-1) + self._low
        where = index.reshape(-1, 3) @ anatomy_T_index[:3, :3].T + anatomy_T_index[:3, 3]
        coarse = self._distances(where).reshape(index.shape[:3]).astype(np.float32)
        at = np.stack(np.meshgrid(*(0.5 * np.arange(size) for size in shape), indexing='ij'))
        return np.asarray(map_coordinates(coarse, at, order=1, mode='nearest', output=np.float32) > 0.0)

    def _vertices_gone(self, voxels: NDArray[np.uint8], anatomy_T_index: Array) -> NDArray[np.int64]:
        """Return the vertices that lie in a hole or at its rim: about them, or next to that, a voxel is gone."""
        from scipy.ndimage import maximum_filter

        first, last = np.maximum(self._low, 0), np.minimum(self._high, np.array(voxels.shape) - 1)
        near = maximum_filter(voxels[_box(first, last)], size=2 * _MARGIN + 1)
        to_index = np.linalg.inv(anatomy_T_index)
        index = np.rint(self._rest @ to_index[:3, :3].T + to_index[:3, 3]).astype(np.int64) - first
        inside = np.flatnonzero(((index >= 0) & (index < near.shape)).all(axis=1))
        return np.asarray(inside[near[tuple(index[inside].T)] != 0], np.int64)

    def _nodes(self) -> Array:
        """Return the nodes of the lattice in the scan [m], shape (p, 3)."""
        cavity = self.cavity
        nodes = np.stack(np.meshgrid(*(np.arange(n) for n in cavity.motion.shape[:3]), indexing='ij'), axis=-1)
        return np.asarray(cavity.origin + LATTICE * nodes.reshape(-1, 3))

    def _fit(self) -> None:
        from scipy.spatial import cKDTree

        kept = np.ones(len(self._rest), bool)
        kept[self.gone] = False
        if kept.sum() < _NEIGHBOURS:
            kept[:] = True
        whole = np.flatnonzero(kept)
        tree = cKDTree(self._rest[whole])
        self._lattice, self._lid = (
            _fitted(tree, whole, self._rest, places) for places in (self._nodes(), self._rest[self.gone])
        )


def _box(first: NDArray[Any], last: NDArray[Any]) -> tuple[slice, slice, slice]:
    a, b, c = (slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True))
    return a, b, c


def _fitted(tree: 'cKDTree', whole: NDArray[np.int64], rest: Array, places: Array) -> _Fit:
    """Prepare the fits of places (p, 3), weighted by the distance of vertices that are whole."""
    count = min(_NEIGHBOURS, len(whole))
    away, found = tree.query(places, k=count)
    near = whole[np.asarray(found).reshape(len(places), count)]
    away = np.asarray(away).reshape(len(places), count)
    weights = np.exp(-0.5 * (away**2 - away[:, :1] ** 2) / _REACH**2)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = np.einsum('pk,pkc->pc', weights, rest[near])
    around = rest[near] - mean[:, None]
    moment = np.swapaxes(around, 1, 2) @ (weights[..., None] * around)
    stiff = _STIFF * np.trace(moment, axis1=1, axis2=2) + 1e-12
    inverse = np.linalg.inv(moment + stiff[:, None, None] * np.eye(3))
    return _Fit(near, weights, around, inverse, stiff, places - mean)


def _turns(moments: Array) -> Array:
    """Return the rotations nearest to matrices, shape (p, 3, 3) (Kabsch 1976)."""
    left, _, right = np.linalg.svd(moments)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(left @ right)
