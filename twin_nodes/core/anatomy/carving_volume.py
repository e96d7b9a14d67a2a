"""Voxels that a burr takes away, with the distance to the cavity and the surface of what is left kept current."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy import carving_field_kernels, carving_kernels, carving_rod_kernels
from twin_nodes.core.anatomy.carving_surface import BrickSurface
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, rotation_log

EDGE = (
    1e-9  # a voxel centre this far [m] outside the burr still counts, so that round numbers do not meet on the border
)
BAND_VOXELS = 5.0
LEVELS = 65_535
BRICK_SHIFT = 4
MOST_LABELS = 127
MOST_VOXELS = 1 << 29
_SHEAR = 1e-6
_ROD_STEP = 0.25  # voxels that a cylinder moves at most between two stamps of the field


@dataclass(frozen=True, eq=False)
class Removal:
    """What one sweep took away.

    Args:
        indices: Linear indices (C order) of the voxels that went, int64, shape (n,).
        counts: Number of voxels by label.
        doubtful: Voxels that rounding would decide; with 0 the same motion cut otherwise takes the very same voxels.
    """

    indices: NDArray[np.int64]
    counts: dict[int, int]
    doubtful: int


class CarvedVolume:
    """A label volume that is carved.

    Memory: one byte per voxel for the labels and two for the distance, 128 MiB and 256 MiB at 512³. All of it is
    claimed at the start: the first touch of a page while carving costs milliseconds on some machines.

    Args:
        volume: Labels 0 … 127; it is copied.

    Raises:
        InputError: ANATOMY_REFUSED for too many labels or voxels, or axes that are not square.
    """

    def __init__(self, volume: LabelVolume) -> None:
        labels, affine = volume.labels, np.asarray(volume.anatomy_T_index, float)
        self.spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if not (np.isfinite(affine).all() and (self.spacing > 0.0).all()):
            raise InputError('anatomy_T_index has NaN, Inf or an axis of length 0', code='ANATOMY_REFUSED')
        self._axes = np.ascontiguousarray(affine[:3, :3] / self.spacing)
        shear = float(np.abs(self._axes.T @ self._axes - np.eye(3)).max())
        if shear > _SHEAR:
            raise InputError(
                f'the axes of the voxels are sheared by {shear:.2g}, limit {_SHEAR:g}: resample the volume',
                code='ANATOMY_REFUSED',
            )
        if labels.ndim != 3 or labels.size == 0 or labels.size > MOST_VOXELS:
            raise InputError(
                f'{labels.shape} is no volume of 1 … {MOST_VOXELS} voxels: crop or resample it', code='ANATOMY_REFUSED'
            )
        if int(labels.max()) > MOST_LABELS or int(labels.min()) < 0:
            raise InputError(
                f'labels {int(labels.min())} … {int(labels.max())} exceed 0 … {MOST_LABELS}: number the structures '
                'that matter',
                code='ANATOMY_REFUSED',
            )
        self.anatomy_T_index = affine
        self.voxels = np.array(labels, np.uint8, order='C')
        self.band = BAND_VOXELS * float(self.spacing.max())
        self._skin = 1.01 * float(np.linalg.norm(self.spacing))  # a cell that the wall passes has its corners within
        self._levels = LEVELS / (2.0 * self.band)
        self._field = np.empty(labels.shape, np.uint16)
        self._field.fill(0)  # unlike np.zeros this claims the pages now
        self._found = np.empty(4096, np.int64)
        self.surface = BrickSurface(self.voxels, self._field, self.spacing, affine, LEVELS // 2, BRICK_SHIFT)
        self.counts = np.zeros(128, np.int64)
        self.hash = 0

    @property
    def removed(self) -> int:
        """Number of voxels removed."""
        return int(self.counts.sum())

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [m³]."""
        return float(np.prod(self.spacing))

    def removed_indices(self) -> NDArray[np.int64]:
        """Linear indices of all voxels removed, in rising order, shape (n,)."""
        return np.flatnonzero(self.voxels.ravel() >= carving_kernels.REMOVED)

    def local(self, points_anatomy: ArrayLike) -> Array:
        """Bring points [m] (…, 3) from the anatomy frame to index coordinates scaled to metres."""
        return np.asarray((np.asarray(points_anatomy, float) - self.anatomy_T_index[:3, 3]) @ self._axes)

    def ball(self, start_anatomy: ArrayLike, end_anatomy: ArrayLike, radius: float) -> Removal:
        """Take away what a ball covers that moves straight from start to end.

        Args:
            start_anatomy: Centre before, in the anatomy frame [m], shape (3,).
            end_anatomy: Centre after [m], shape (3,).
            radius: Radius [m].
        """
        start, end = self.local(start_anatomy), self.local(end_anatomy)
        tally = self._prepare(np.abs(end - start) + 2.0 * radius)
        counts = np.zeros(128, np.int64)
        carving_kernels.sweep_ball(self.voxels, self.spacing, start, end, radius + EDGE, self._found, counts, tally)
        carving_field_kernels.stamp_ball(
            self._field, self.spacing, start, end, radius, self.band, self._levels, self.surface.dirty, BRICK_SHIFT,
            self._skin,
        )  # fmt: skip
        reach = radius + self.band
        return self._settle(counts, tally, np.minimum(start, end) - reach, np.maximum(start, end) + reach)

    def rod(self, start: Array, end: Array, radius: float, length: float, axis: ArrayLike) -> Removal:
        """Take away what a cylinder covers that moves straight and turns evenly (as `se3.interpolate` does).

        The distance field takes it at rest every quarter of a voxel; it is at most an eighth of a voxel too large.

        Args:
            start: anatomy_T_tip before, shape (4, 4); the tip is the centre of the front face.
            end: anatomy_T_tip after, shape (4, 4).
            radius: Radius [m].
            length: Length [m].
            axis: Unit vector in the tip frame from the front face to the back, shape (3,).
        """
        base, other = self.local(start[:3, 3]), self.local(end[:3, 3])
        turn = rotation_log(end[:3, :3] @ start[:3, :3].T)
        angle = float(np.linalg.norm(turn))
        first = self._axes.T @ (start[:3, :3] @ np.asarray(axis, float))
        handed = float(np.sign(np.linalg.det(self._axes)))  # a mirror turns the other way round
        pivot = handed * (self._axes.T @ turn) / angle if angle > 0.0 else np.zeros(3)
        along = pivot * (pivot @ first)
        motion = np.stack([other - base, along, first - along, np.cross(pivot, first)])
        reach = np.abs(other - base) + 2.0 * math.hypot(radius, length)
        tally = self._prepare(2.0 * reach)
        counts = np.zeros(128, np.int64)
        carving_rod_kernels.sweep_rod(
            self.voxels, self.spacing, base, motion, angle, length, radius + EDGE, EDGE, self._found, counts, tally
        )
        path = float(np.linalg.norm(other - base)) + angle * math.hypot(length, radius)
        steps = math.ceil(path / (_ROD_STEP * float(self.spacing.min())))
        for step in range(steps + 1):
            s = step / steps if steps else 1.0
            now = motion[1] + math.cos(s * angle) * motion[2] + math.sin(s * angle) * motion[3]
            carving_field_kernels.stamp_rod(
                self._field, self.spacing, base + s * motion[0], now, length, radius, self.band, self._levels,
                self.surface.dirty, BRICK_SHIFT, self._skin,
            )  # fmt: skip
        around = math.hypot(radius, length) + self.band
        low, high = np.minimum(base, other) - around, np.maximum(base, other) + around
        return self._settle(counts, tally, low, high)

    def cavity_distance(self, points_anatomy: ArrayLike) -> Array:
        """Look up signed distances [m] (n,) to the cavity, negative inside, cut off at ± `band`.

        Linear between the eight voxel centres around each point [m], shape (n, 3); outside the volume: `band`.
        """
        from scipy.ndimage import map_coordinates

        index = (self.local(points_anatomy) / self.spacing).T
        size = np.array(self.voxels.shape)[:, None]
        outside = ((index < -0.5) | (index > size - 0.5)).any(axis=0)
        levels = map_coordinates(self._field, index, output=np.float64, order=1, mode='nearest')
        return np.where(outside, self.band, self.band - levels / self._levels)

    def reset(self) -> None:
        """Bring everything back as it was."""
        carving_kernels.restore(self.voxels)
        self._field[:] = 0
        self.surface.reset()
        self.counts[:] = 0
        self.hash = 0

    def _prepare(self, extent: Array) -> NDArray[np.int64]:
        """Make room for all voxels of a box of this extent [m] and return an empty tally."""
        room = min(float(np.prod(np.ceil(extent / self.spacing) + 3.0)), float(self.voxels.size))
        if len(self._found) < room:
            self._found = np.empty(int(room), np.int64)
        far = 1 << 62
        return np.array([0, 0, 0, far, far, far, -1, -1, -1], np.int64)

    def _settle(self, counts: NDArray[np.int64], tally: NDArray[np.int64], low: Array, high: Array) -> Removal:
        self.counts += counts
        self.hash = (self.hash + int(tally[1])) & 0xFFFF_FFFF_FFFF_FFFF
        labels = self.counts.nonzero()[0].tolist()
        self.surface.remesh(labels, low / self.spacing - 2.0, high / self.spacing + 2.0)
        removed = {label: number for label in labels if (number := int(counts[label]))}
        return Removal(self._found[: int(tally[0])].copy(), removed, int(tally[2]))
