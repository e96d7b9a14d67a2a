"""Images of printed tags as a known camera would take them: perspective, lens, blur and noise, with the true poses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.dictionaries import tag_cells
from twin_nodes.core.tracking.visual.markers import MarkerBody

WHITE, BLACK, TABLE = 215.0, 35.0, 120.0
# a Fibonacci lattice over the pixel: on an edge along the pixels each ray has a place of its own
_RAYS = 34
_PLACES = np.stack([(np.arange(_RAYS) + 0.5) / _RAYS, (21 * np.arange(_RAYS) + 0.5) % _RAYS / _RAYS], axis=1) - 0.5


@dataclass(frozen=True)
class Optics:
    """What the camera does to the light.

    Args:
        blur_px: Standard deviation of the blur [px].
        noise: Standard deviation of a pixel's noise, of 255.
        quiet_zone: White around a tag, in cells.
    """

    blur_px: float = 0.7
    noise: float = 2.0
    quiet_zone: float = 1.0


class MarkerScene:
    """Renders bodies in front of one camera.

    Args:
        camera: The camera.
        optics: Blur and noise.
    """

    def __init__(self, camera: CameraModel, optics: Optics | None = None) -> None:
        self.camera = camera
        self.optics = optics or Optics()

    def render(
        self, bodies: Sequence[tuple[MarkerBody, Array]], rng: np.random.Generator, *, family: str = ''
    ) -> NDArray[np.uint8]:
        """Render bodies at their poses camera_T_body (4, 4); returns a grey image (h, w).

        Nearer tags hide farther ones. A board is drawn with its chessboard.
        """
        import cv2

        camera, optics = self.camera, self.optics
        image = np.full((camera.height, camera.width), TABLE)
        patches: list[tuple[float, Array, NDArray[np.bool_], float]] = []
        for body, pose in bodies:
            for corners, cells, zone in _patches(body, family, optics.quiet_zone):
                seen = corners @ pose[:3, :3].T + pose[:3, 3]
                patches.append((float(seen[:, 2].mean()), seen, cells, zone))
        for _, seen, cells, zone in sorted(patches, key=lambda patch: -patch[0]):
            self._draw(image, seen, cells, zone)
        if optics.blur_px > 0.0:
            image = cv2.GaussianBlur(image, (0, 0), optics.blur_px)
        noisy = image + optics.noise * rng.standard_normal(image.shape)
        return np.clip(np.round(noisy), 0.0, 255.0).astype(np.uint8)

    def _draw(self, image: Array, corners: Array, cells: NDArray[np.bool_], zone: float) -> None:
        """Draw a patch of cells whose outer corners (4, 3) lie in front of the camera."""
        count = cells.shape[0]
        across, down = (corners[1] - corners[0]) / count, (corners[3] - corners[0]) / cells.shape[1]
        if (corners[:, 2] <= 0.0).any():
            return
        origin = corners[0]
        rim = [origin + across * u + down * v for u in (-zone, count + zone) for v in (-zone, count + zone)]
        pixels = self.camera.project(np.array(rim))
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 3, 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 4, [self.camera.width, self.camera.height])
        if (high <= low).any():
            return
        rays = self._cast(low[0], low[1], high[0], high[1])
        # u, v and depth of the ray: origin + u across + v down = depth ray
        solve = np.linalg.inv(np.column_stack([across, down, origin]))
        weights = rays @ solve.T
        with np.errstate(divide='ignore', invalid='ignore'):
            u, v = weights[..., 0] / weights[..., 2], weights[..., 1] / weights[..., 2]
        on = (u > -zone) & (v > -zone) & (u < count + zone) & (v < cells.shape[1] + zone) & (weights[..., 2] > 0.0)
        i = np.clip(np.floor(np.nan_to_num(v)).astype(int), 0, cells.shape[0] - 1)
        j = np.clip(np.floor(np.nan_to_num(u)).astype(int), 0, cells.shape[1] - 1)
        inside = (u >= 0.0) & (v >= 0.0) & (u < count) & (v < cells.shape[1])
        white = np.where(inside, cells[i, j], True)
        share = on.mean(axis=2)
        light = np.where(on, np.where(white, WHITE, BLACK), 0.0).mean(axis=2)
        window = image[low[1] : high[1], low[0] : high[0]]
        window[:] = light + (1.0 - share) * window

    def _cast(self, x0: int, y0: int, x1: int, y1: int) -> Array:
        """Return rays (h, w, n, 3) through n places of each pixel; within a pixel the lens is linear."""
        rays = self._centres[y0 : y1 + 1, x0 : x1 + 1]
        first = rays[:-1, :-1]
        across, down = rays[:-1, 1:] - first, rays[1:, :-1] - first
        flat = first[:, :, None] + across[:, :, None] * _PLACES[:, :1] + down[:, :, None] * _PLACES[:, 1:]
        return np.concatenate([flat, np.ones((*flat.shape[:3], 1))], axis=3)

    @cached_property
    def _centres(self) -> Array:
        """Rays (h + 1, w + 1, 2) through the centres of the pixels."""
        camera = self.camera
        x, y = np.meshgrid(np.arange(camera.width + 1.0), np.arange(camera.height + 1.0))
        grid = np.stack([x.ravel(), y.ravel()], axis=1)
        if camera.distortion.any() or camera.model == 'equidistant':
            rays = camera.undistort(grid)
        else:
            rays = (grid - camera.centre) / camera.focal
        return rays.reshape(*x.shape, 2)


def _patches(body: MarkerBody, family: str, quiet_zone: float) -> list[tuple[Array, NDArray[np.bool_], float]]:
    """Return the corners (4, 3), cells and quiet zone of what is printed on a body."""
    family = body.dictionary or family
    if body.board is None:
        return [(corners, tag_cells(family, tag), quiet_zone) for tag, corners in body.tags.items()]
    return _board_patches(body, family)


def _board_patches(body: MarkerBody, family: str) -> list[tuple[Array, NDArray[np.bool_], float]]:
    board = body.board
    assert board is not None
    patches = []
    tag = 0
    for row in range(board.rows):
        for column in range(board.columns):
            black = (row + column) % 2 == 0
            low = np.array([column, row, 0.0]) * board.square
            square = low + board.square * np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
            patches.append((square, np.array([[not black]]), 0.0))
            if not black:
                margin = 0.5 * (board.square - board.marker) / board.square
                inner = square.mean(axis=0) + (1.0 - 2.0 * margin) * (square - square.mean(axis=0))
                inner = inner - np.array([0.0, 0.0, 1e-6])  # in front of its square
                patches.append((inner, tag_cells(family, tag), 0.0))
                tag += 1
    return patches
