"""How much of what a camera can see the views have shown: image area, tilt, distance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.geometry.se3 import Array

GRID = (8, 6)


@dataclass(frozen=True, eq=False)
class CameraCoverage:
    """The coverage meter.

    Args:
        area: Share of the image, in cells of 8 × 6, in which a corner was seen.
        reach: How far out corners were seen, as a share of the way from the centre to the corner of the image.
        tilt: Largest angle of the board to the image plane [rad].
        tilt_directions: How many of the directions left, right, up, down the board was tilted to by 10° or more.
        nearest: Least distance of the board [m].
        farthest: Greatest distance of the board [m].
        corners: How many corners were seen.
    """

    area: float
    reach: float
    tilt: float
    tilt_directions: int
    nearest: float
    farthest: float
    corners: int

    def missing(self) -> tuple[str, ...]:
        """Say what to move where, one sentence each."""
        wants = []
        if self.area < 0.6:
            wants.append(f'hold the board to the edges and corners too: {self.area:.0%} of the image was covered')
        if self.tilt < np.radians(25.0):
            wants.append(f'tilt the board by 30° to 45°: {np.degrees(self.tilt):.0f}° was the most')
        elif self.tilt_directions < 3:
            wants.append(f'tilt it left, right, up and down: {self.tilt_directions} of these were seen')
        if self.farthest < 1.2 * self.nearest:
            wants.append('show it at several distances')
        return tuple(wants)


def measure_coverage(views: Sequence[BoardView], size: tuple[int, int], camera_T_boards: Array) -> CameraCoverage:
    """Measure the coverage of views.

    Args:
        views: Those that were used.
        size: Of the image [px].
        camera_T_boards: Pose of the board in each [m], shape (n, 4, 4).
    """
    pixels = np.concatenate([view.pixels for view in views])
    extent = np.array(size, float)
    cells = np.clip((pixels / extent * GRID).astype(int), 0, np.array(GRID) - 1)
    reach = np.linalg.norm(pixels - 0.5 * extent, axis=1) / np.linalg.norm(0.5 * extent)
    centres = np.array(
        [
            pose[:3, :3] @ view.points_board.mean(axis=0) + pose[:3, 3]
            for view, pose in zip(views, camera_T_boards, strict=True)
        ]
    )
    distances = np.linalg.norm(centres, axis=1)
    tilt, directions = board_tilts(camera_T_boards)
    return CameraCoverage(
        area=len(np.unique(cells[:, 0] * GRID[1] + cells[:, 1])) / (GRID[0] * GRID[1]),
        reach=float(np.quantile(reach, 0.99)),
        tilt=float(tilt.max()),
        tilt_directions=directions,
        nearest=float(distances.min()),
        farthest=float(distances.max()),
        corners=len(pixels),
    )


def board_tilts(camera_T_boards: Array) -> tuple[Array, int]:
    """Return the angle [rad] of each board to the image plane (n,), and how many of four directions they lean to."""
    normals = camera_T_boards[:, :3, 2]
    normals = normals * np.sign(normals[:, 2:])  # either face of the board
    tilts = np.arccos(np.clip(normals[:, 2], -1.0, 1.0))
    leaning = normals[tilts > np.radians(10.0), :2]
    quarters = np.where(
        np.abs(leaning[:, 0]) > np.abs(leaning[:, 1]), np.sign(leaning[:, 0]), 2 * np.sign(leaning[:, 1])
    )
    return np.asarray(tilts), len(np.unique(quarters))
