"""Distances between the tool and named structures, each with its σ and the probability of a breach."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.distance_grid import NEAR_CELLS, DistanceGrid
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform, make_transform
from twin_nodes.core.guidance import clearance_kernels, moving_clearance_kernels
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.guidance.precise_grid import NEAR, PreciseGrid

Field = DistanceGrid | MovingSurface  # what tells distances: of a structure that keeps its shape, or that deforms


_MEASURED = np.zeros((6, 6))


class ToolPart(StrEnum):
    """Which part of the tool is nearest."""

    TIP = 'tip'
    SHAFT = 'shaft'


@dataclass(frozen=True)
class Structure:
    """A structure that must not be touched.

    Args:
        name: Its name, unique.
        grid: Its signed distance.
        near_distance: Limit of its zone `near` [m]; NaN takes the one of the settings.
    """

    name: str
    grid: Field
    near_distance: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Clearance:
    """The distance between the tool and one structure at one instant.

    Args:
        structure: Name of the structure.
        stamp_ns: Time of the pose.
        distance: Between the surfaces of tool and structure [m]; negative inside. A lower bound when `outside`.
        sigma: Standard deviation of `distance` from pose, grid, and where a deforming surface is [m].
        breach_probability: Largest probability, of the points of the tool that were looked at, to be inside.
        part: The part of the tool that is nearest.
        along_shaft: Where on the shaft, from the tip [m].
        tool_point: Nearest point of the tool's axis in the anatomy frame [m], shape (3,).
        closest_point: Nearest point of the structure in the anatomy frame [m], shape (3,), estimated as p - d·g.
        gradient: Unit vector in the anatomy frame in which the distance grows, shape (3,); zero where none exists.
        outside: Whether the nearest point lies beyond the grid, so that `distance` is a lower bound.
    """

    structure: str
    stamp_ns: int
    distance: float
    sigma: float
    breach_probability: float
    part: ToolPart
    along_shaft: float
    tool_point: Array
    closest_point: Array
    gradient: Array
    outside: bool


class ClearanceMonitor:
    """Evaluates the distances of one tool to all structures.

    Args:
        config: Shape of the tool.
        structures: At least one, with unique names.

    Raises:
        ConfigError: no structure, a name twice, or a negative near_distance.
    """

    def __init__(self, config: GuidanceConfig, structures: list[Structure]) -> None:
        names = [structure.name for structure in structures]
        if not names:
            raise ConfigError('the guidance has no structure to watch: name at least one')
        if len(set(names)) < len(names):
            raise ConfigError(f'structure names must differ, got {names}')
        for structure in structures:
            if structure.near_distance < 0.0:
                raise ConfigError(f'{structure.name}: near_distance={structure.near_distance} m must not be negative')
        tool = config.tool
        self.structures: tuple[Structure, ...] = tuple(structures)
        self._samples = tool.shaft_samples
        self._shape = np.array([tool.tip_radius, tool.shaft_length, tool.shaft_radius])
        direction = np.array(tool.shaft_direction, float)
        self._direction = direction / np.linalg.norm(direction) if tool.shaft_length > 0.0 else direction
        self._errors = [_grid_errors(structure.grid) for structure in structures]
        self._load_kernels()
        self.reset()

    def _load_kernels(self) -> None:
        """Load them now and not at a first pose: that of grids, and that of triangles, which a near tool asks for."""
        surfaces = [_triangles(structure.grid) for structure in self.structures]
        places = [surface.tree.vertices[0] for surface in surfaces if surface is not None]
        for place in (np.zeros(3), *places[:1]):
            self.survey(make_transform(np.eye(3), place), np.eye(6))

    def reset(self) -> None:
        """Forget where the tool was: searches begin there, and what they find may hang on that by its rounding."""
        for structure in self.structures:
            surface = _triangles(structure.grid)
            if surface is not None:
                surface.seeds[:] = 0

    def set_grid(self, name: str, grid: Field) -> None:
        """Give a structure another grid: it was carved or deforms. Names that are not watched are left alone."""
        self.structures = tuple(
            replace(structure, grid=grid) if structure.name == name else structure for structure in self.structures
        )
        self._errors = [_grid_errors(structure.grid) for structure in self.structures]

    def evaluate(self, stamp_ns: int, anatomy_T_tip: ArrayLike, covariance: ArrayLike) -> tuple[Clearance, ...]:
        """Return the clearance of each structure, in the order given.

        Args:
            stamp_ns: Time of the pose.
            anatomy_T_tip: Pose of the tip in the anatomy frame, shape (4, 4).
            covariance: Of (δp, δφ) in anatomy axes, shape (6, 6), as `tip_in_anatomy` gives it.

        Raises:
            InputError: NOT_FINITE or NOT_A_ROTATION for the pose, NOT_FINITE for the covariance.
        """
        pose = check_transform(anatomy_T_tip, name='anatomy_T_tip')
        rows = self.survey(pose, _checked_covariance(covariance))
        return self.describe(stamp_ns, pose, rows)

    def describe(self, stamp_ns: int, anatomy_T_tip: Array, rows: Array) -> tuple[Clearance, ...]:
        """Put into words what `survey` found for a pose."""
        return tuple(
            self._clearance(stamp_ns, structure, anatomy_T_tip, row)
            for structure, row in zip(self.structures, rows, strict=True)
        )

    def survey(self, anatomy_T_tip: Array, covariance: Array, ahead: Array = _MEASURED) -> Array:
        """Return bare numbers for poses that were checked: a row of the kernel's `result` for each structure.

        The first three of a row are distance [m], σ [m] and probability at the nearest point, the last is the largest
        probability of all points.

        Args:
            anatomy_T_tip: Shape (4, 4), float64 and contiguous.
            covariance: Of (δp, δφ) in anatomy axes, shape (6, 6), likewise.
            ahead: Of the prediction alone where the pose is a predicted one, likewise; independent of the other.

        Returns:
            Shape (structures, 10).
        """
        rows = np.empty((len(self.structures), 10))
        for structure, errors, row in zip(self.structures, self._errors, rows, strict=True):
            grid, surface = structure.grid, _triangles(structure.grid)
            if isinstance(grid, DistanceGrid):
                clearance_kernels.least_clearance(
                    grid.values, grid.origin, grid.spacing, errors, anatomy_T_tip, covariance, ahead, self._direction,
                    self._shape, self._samples, row,
                )  # fmt: skip
            if surface is not None and (surface is grid or abs(row[0]) < NEAR):
                moving_clearance_kernels.least_clearance_moving(
                    surface.tree, surface.seeds, anatomy_T_tip, covariance, ahead, self._direction, self._shape, row
                )
        return rows

    def _clearance(self, stamp_ns: int, structure: Structure, pose: Array, row: Array) -> Clearance:
        grid = structure.grid
        distance, sigma, _, gx, gy, gz, along, outside, axis, probability = row.tolist()
        gradient = np.array((gx, gy, gz))
        tool_point = pose[:3, 3] + along * (pose[:3, :3] @ self._direction)
        part = ToolPart.SHAFT if along > 0.0 else ToolPart.TIP
        return Clearance(
            structure.name,
            stamp_ns,
            distance,
            sigma,
            probability,
            part,
            along,
            tool_point,
            _closest(grid, tool_point, axis * gradient, outside > 0.0),
            gradient,
            outside > 0.0,
        )


def _triangles(grid: Field) -> MovingSurface | None:
    if isinstance(grid, MovingSurface):
        return grid
    return grid.triangles if isinstance(grid, PreciseGrid) else None


def _closest(grid: Field, tool_point: Array, way: Array, outside: bool) -> Array:
    if not outside or isinstance(grid, MovingSurface):
        return tool_point - way
    border = np.clip(tool_point, grid.bounds[0], grid.bounds[1])
    return np.asarray(grid.closest_points(border[None])[0])


def _grid_errors(grid: Field) -> Array:
    """Standard deviations of the grid's own error near the surface and elsewhere, and the limit between them [m]."""
    if isinstance(grid, MovingSurface):
        return np.zeros(3)  # exact
    return np.array([grid.near_sigma, grid.far_sigma, NEAR_CELLS * grid.spacing])


def _checked_covariance(covariance: ArrayLike) -> Array:
    spread = np.ascontiguousarray(covariance, dtype=np.float64)
    if spread.shape != (6, 6):
        raise InputError(f'covariance: expected shape (6, 6), got {spread.shape}')
    if not np.isfinite(spread).all():
        raise InputError('covariance has NaN or Inf', code='NOT_FINITE')
    if min(spread.diagonal().tolist()) < 0.0:
        raise InputError(f'covariance has a negative variance: diagonal {spread.diagonal().tolist()}')
    return spread
