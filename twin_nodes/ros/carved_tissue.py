"""Carving and deforming in one: a drill's poses go back to the scan, what it takes weakens and reshapes the body."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.carving_surface import BrickMesh
from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.session_carved import CarvedBody
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.clouds import CUT
from twin_nodes.ros.deformed_surfaces import DeformedSurfaces, Patch

Key = tuple[int, tuple[int, int, int]]


class CarvedTissue:
    """What a drill and a body that deforms have to do with one another.

    Args:
        mesh: Tetrahedra at rest.
        volume: The voxels that are carved.
        surfaces: The structures.
        shown: Shows them.
        now: Returns where the nodes are [m] (n, 3), and σ of each [m] (n,).
        carve: Hears what is left of each tetrahedron, 0 … 1, shape (m,).
        in_turn: Calls a function when all others have come to a stamp [ns].
    """

    def __init__(
        self,
        mesh: TetMesh,
        volume: CarvedVolume,
        surfaces: list[Surface],
        shown: DeformedSurfaces,
        now: Callable[[], tuple[Array, Array]],
        carve: Callable[[Array], None],
        in_turn: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self.in_turn = in_turn
        self._body, self._volume, self._surfaces = CarvedBody(mesh), volume, surfaces
        self._shown, self._now, self._carve = shown, now, carve
        self._patches: dict[Key, tuple[BrickMesh, Patch]] = {}
        self._taken: list[NDArray[np.int64]] = []

    def reset(self) -> None:
        """All is back as it was in the scan."""
        self._body.reset()
        self._patches.clear()
        self._taken.clear()
        self._shown.restore()
        for index, surface in enumerate(self._surfaces):
            if not self._shown.rides(index):
                self._shown.show_still(index, surface.vertices[surface.triangles.ravel()], text='')
        self._carve(self._body.share)

    def at_rest(self, anatomy_T_tip: Array) -> tuple[Array, float]:
        """Return the pose of a drill as it would be in the scan, and σ of the tissue there [m]: root of the trace."""
        positions, sigma = self._now()
        pose, spread = self._body.at_rest(anatomy_T_tip, positions, sigma)
        return pose, float(np.sqrt(3.0)) * spread

    def certain_at_rest(self, anatomy_T_tip: Array, max_sigma: float) -> tuple[Array, float]:
        """Return the same where the place of the tissue is known well enough to be cut.

        Args:
            anatomy_T_tip: Where the drill is, shape (4, 4).
            max_sigma: Greatest σ of the tissue [m].

        Raises:
            InputError: CARVE_UNSURE.
        """
        pose, sigma = self.at_rest(anatomy_T_tip)
        if sigma > max_sigma:
            raise InputError(
                f'σ of the tissue at the tip is {1e3 * sigma:.2f} mm, above carving.tissue_sigma='
                f'{1e3 * max_sigma:g} mm: nothing is carved; show its surface (anatomy/observed), or raise the limit '
                'to cut where it is predicted',
                code='CARVE_UNSURE',
            )
        return pose, sigma

    def take(self, indices: NDArray[np.int64]) -> None:
        """Hear which voxels went, as linear indices (n,)."""
        self._taken.append(indices)

    def settle(self) -> None:
        """Weaken the body by what went since the last call."""
        if not self._taken:
            return
        indices = np.concatenate(self._taken)
        self._taken.clear()
        affine = self._volume.anatomy_T_index
        centres = np.column_stack(np.unravel_index(indices, self._volume.voxels.shape)) @ affine[:3, :3].T
        self._body.take(centres + affine[:3, 3], self._volume.voxel_volume)
        self._carve(self._body.share)

    def show(self, index: int, kept: NDArray[np.int64], keys: list[Key]) -> None:
        """Show a structure as the drill has left it.

        Args:
            index: Number of the structure.
            kept: Its triangles that the drill has not met, (k,).
            keys: The bricks that stand for the others.
        """
        if not keys:
            return
        if self._shown.rides(index):
            self._shown.carve(index, kept, [self._patch(key) for key in keys])
            return
        whole = self._surfaces[index]
        corners = whole.vertices[whole.triangles[kept].ravel()]
        bricks = self._volume.surface.corners(keys).reshape(-1, 3)
        self._shown.show_still(index, np.concatenate([corners, bricks]), text=CUT)

    def _patch(self, key: Key) -> Patch:
        """Tie a brick's triangles to the body; once for each mesh, as that costs most."""
        mesh = self._volume.surface.meshes[key]
        known = self._patches.get(key)
        if known is None or known[0] is not mesh:
            corners = self._volume.surface.corners([key]).reshape(-1, 3)
            vertices, triangles = np.unique(corners, axis=0, return_inverse=True)
            known = self._patches[key] = (mesh, self._shown.patch(vertices, triangles.reshape(-1, 3)))
        return known[1]
