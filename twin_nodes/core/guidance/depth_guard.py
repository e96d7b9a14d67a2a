"""How deep a burr may still go: to a planned surface, and what it has cut beyond it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.guidance.precise_grid import PreciseGrid


class DepthBand(StrEnum):
    """How much is left, as a colour on a screen."""

    FREE = 'green'
    CLOSE = 'yellow'
    LAST = 'orange'
    BEYOND = 'red'


@dataclass(frozen=True)
class DepthConfig:
    """Limits of the bands."""

    close: float = setting('Below this depth the band is yellow.', 0.003, unit='m', minimum=1e-4, maximum=0.1)
    last: float = setting('Below this depth the band is orange.', 0.001, unit='m', minimum=0.0, maximum=0.1)

    def __post_init__(self) -> None:
        if self.last > self.close:
            raise ConfigError(f'last={self.last} m must not be above close={self.close} m')


@dataclass(frozen=True)
class DepthAdvice:
    """What is left of the plan at one pose.

    Args:
        depth: From the burr to the planned surface [m]; negative beyond it.
        sigma: Its standard deviation [m].
        band: The band of the depth.
        time_to_surface: At the present speed [s], or None when the burr does not approach.
    """

    depth: float
    sigma: float
    band: DepthBand
    time_to_surface: float | None


class DepthGuard:
    """Watches a planned surface: what lies outside it is to be removed, what lies inside must stay.

    Args:
        config: Limits.
        planned: Signed distance to the planned surface, negative in what must stay.
    """

    def __init__(self, config: DepthConfig, planned: DistanceGrid | MovingSurface) -> None:
        self._config = config
        self.planned = planned

    def advise(self, centre: Array, radius: float, velocity: Array, covariance: Array) -> DepthAdvice:
        """Tell what is left at a pose, best the predicted one.

        Args:
            centre: Of the burr in the anatomy frame [m], shape (3,).
            radius: Of the burr [m].
            velocity: Of the burr [m/s], shape (3,).
            covariance: Of its position [m²], shape (3, 3).
        """
        samples = self.planned.query(np.asarray(centre, float)[None])
        gradient, depth = samples.gradients[0], float(samples.distances[0]) - radius
        sigma = float(np.sqrt(max(gradient @ covariance @ gradient, 0.0) + _grid_sigma(self.planned) ** 2))
        closing = -float(gradient @ velocity)
        time = depth / closing if closing > 1e-4 and depth > 0.0 else (0.0 if depth <= 0.0 else None)
        return DepthAdvice(depth, sigma, self._band(depth), time)

    def _band(self, depth: float) -> DepthBand:
        if depth < 0.0:
            return DepthBand.BEYOND
        if depth < self._config.last:
            return DepthBand.LAST
        return DepthBand.CLOSE if depth < self._config.close else DepthBand.FREE


def _grid_sigma(planned: DistanceGrid | MovingSurface) -> float:
    return 0.0 if isinstance(planned, MovingSurface | PreciseGrid) else planned.near_sigma


def overcut_volume(
    removed: NDArray[np.bool_], anatomy_T_index: ArrayLike, planned: DistanceGrid | MovingSurface
) -> float:
    """Volume that was removed beyond the planned surface [m³].

    A voxel that the surface passes through counts by the share of it that lies beyond: ½ − d / (its width along the
    gradient), as for a plane through a cube.

    Args:
        removed: Voxels that are gone, shape (ni, nj, nk).
        anatomy_T_index: Maps voxel indices to the anatomy frame, shape (4, 4).
        planned: Signed distance, negative in what must stay.

    Raises:
        InputError: not three axes.
    """
    if removed.ndim != 3:
        raise InputError(f'removed voxels: expected 3 axes, got {removed.ndim}')
    index = np.argwhere(removed)
    if not len(index):
        return 0.0
    affine = np.asarray(anatomy_T_index, float)
    samples = planned.query(index @ affine[:3, :3].T + affine[:3, 3])
    widths = np.abs(samples.gradients @ affine[:3, :3]).sum(axis=1)
    shares = np.clip(0.5 - samples.distances / np.where(widths > 0.0, widths, 1.0), 0.0, 1.0)
    return float(shares.sum() * abs(np.linalg.det(affine[:3, :3])))
