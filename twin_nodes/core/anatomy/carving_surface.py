"""The surface of what is left, meshed brick by brick where the burr has been."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import carving_surface_kernels
from twin_nodes.core.geometry.se3 import Array

Brick = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class BrickMesh:
    """The surface of one label within one brick.

    Args:
        vertices_local: Index coordinates scaled to metres, float32, shape (n, 3).
        triangles: Outward in index coordinates, int32, shape (m, 3).
    """

    vertices_local: NDArray[np.float32]
    triangles: NDArray[np.int32]


class BrickSurface:
    """Meshes of the bricks that were touched; the others are as the anatomy began.

    Args:
        voxels: Labels, uint8; shared with the owner, as is the field.
        field: Levels of the cavity's distance, uint16.
        spacing: Voxel size [m], shape (3,).
        anatomy_T_index: Maps voxel indices to the anatomy frame, shape (4, 4).
        level: Value of the field at the cavity's wall.
        shift: A brick has 2**shift voxels along each axis.
    """

    def __init__(
        self,
        voxels: NDArray[np.uint8],
        field: NDArray[np.uint16],
        spacing: Array,
        anatomy_T_index: Array,
        level: int,
        shift: int,
    ) -> None:
        self._voxels, self._field, self._spacing = voxels, field, spacing
        self._anatomy_T_index, self._level, self._shift = anatomy_T_index, level, shift
        size = 1 << shift
        self.dirty = np.zeros([-(-n // size) for n in voxels.shape], np.uint8)
        self.meshes: dict[tuple[int, Brick], BrickMesh] = {}
        self._changed: set[tuple[int, Brick]] = set()
        wide = size + 4
        self._state = np.empty((wide,) * 3, np.uint8)
        self._known = np.empty((wide,) * 3, np.int32)
        self._found = np.empty(wide**3, np.int32)
        self._vertices = np.empty((wide**3, 3), np.float32)
        self._triangles = np.empty((6 * wide**3, 3), np.int32)

    def remesh(self, labels: list[int], low: Array, high: Array) -> None:
        """Mesh the dirty bricks anew.

        Args:
            labels: The labels that were ever cut.
            low: Least corner of a box around all dirty bricks, in voxels, shape (3,).
            high: Its greatest corner.
        """
        shift, shape = self._shift, self.dirty.shape
        first = [max(0, int(value) >> shift) for value in low.tolist()]
        last = [min(size, (int(value) >> shift) + 1) for value, size in zip(high.tolist(), shape, strict=True)]
        box = self.dirty[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
        bricks = np.transpose(box.nonzero())
        box[...] = 0
        for i, j, k in bricks.tolist():
            brick = (i + first[0], j + first[1], k + first[2])
            for label in labels:
                mesh = self.mesh(label, brick)
                key = (label, brick)
                if len(mesh.triangles) or key in self.meshes:
                    self.meshes[key] = mesh
                    self._changed.add(key)

    def mesh(self, label: int, brick: Brick) -> BrickMesh:
        """Mesh one brick as it is now."""
        n, m = carving_surface_kernels.mesh_brick(
            self._voxels, self._field, label, brick, self._shift, self._level, self._spacing, self._state, self._known,
            self._found, self._vertices, self._triangles,
        )  # fmt: skip
        return BrickMesh(self._vertices[:n].copy(), self._triangles[:m].copy())

    def take_changes(self) -> list[tuple[int, Brick]]:
        """Return label and brick of the meshes that changed since the last call, in order."""
        changed = sorted(self._changed)
        self._changed.clear()
        return changed

    def corners(self, keys: list[tuple[int, Brick]]) -> Array:
        """Return the triangles [m] of some bricks in the anatomy frame, outward, shape (m, 3, 3)."""
        parts = [self.meshes[key] for key in keys]
        local = [mesh.vertices_local[mesh.triangles] for mesh in parts if len(mesh.triangles)]
        if not local:
            return np.empty((0, 3, 3))
        index = np.concatenate(local).astype(float) / self._spacing
        affine = self._anatomy_T_index
        corners = index @ affine[:3, :3].T + affine[:3, 3]
        return corners[:, ::-1] if np.linalg.det(affine[:3, :3]) < 0.0 else corners

    def bricks_of(self, points_anatomy: Array) -> NDArray[np.int64]:
        """Return the brick that each point lies in, shape (n, 3); outside the volume: beyond the range."""
        affine = self._anatomy_T_index
        index = (points_anatomy - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        return np.floor(index + 0.5).astype(np.int64) >> self._shift

    def reset(self) -> None:
        """Forget all meshes."""
        self.dirty[:] = 0
        self.meshes.clear()
        self._changed.clear()
