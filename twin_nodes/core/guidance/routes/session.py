"""Keeps a plan current: plans again when the anatomy or its error changes, and follows the tool on the chosen route."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, skew
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.entry import EntryRegion, entry_on_surface
from twin_nodes.core.guidance.routes.follower import RouteFollower, RouteProgress, RouteState
from twin_nodes.core.guidance.routes.planner import RoutePlanner
from twin_nodes.core.guidance.routes.reach import RobotReach
from twin_nodes.core.guidance.routes.route import Route

_CHANGED = 0.2  # share by which the standard deviation must change for a new plan


@dataclass(frozen=True)
class RouteSessionConfig:
    """Where to and where from."""

    target: tuple[float, ...] = setting('Target in the anatomy frame.', unit='m', minimum=-2.0, maximum=2.0)
    entry_centre: tuple[float, ...] = setting(
        'Centre of the entry region in the anatomy frame.', unit='m', minimum=-2.0, maximum=2.0
    )
    entry_radius: float = setting('Radius of the entry region.', 0.03, unit='m', minimum=0.001, maximum=0.3)
    position_sigma: float = setting(
        'Standard deviation of the tool in the anatomy per axis, until the guidance says it.', 0.0005, unit='m',
        minimum=0.0, maximum=0.02,
    )  # fmt: skip
    route: RouteConfig = group(RouteConfig)

    def __post_init__(self) -> None:
        for name in ('target', 'entry_centre'):
            if len(getattr(self, name)) != 3:
                raise ConfigError(f'{name}={list(getattr(self, name))} must have 3 numbers')


@dataclass(frozen=True, eq=False)
class RouteEvent:
    """Something a person should know: a stable code, what is the matter, and whether it is bad."""

    code: str
    message: str
    bad: bool


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan.

    Args:
        routes: Best first; empty when there is none.
        chosen: Index of the route that is followed.
        reason: Why there is no route, or ''.
    """

    routes: tuple[Route, ...]
    chosen: int
    reason: str


class RouteSession:
    """Plans and follows routes to one target.

    Args:
        config: Target, entry and tool.
        reach: The arm that holds the tool; None where every way can be gone.
    """

    def __init__(self, config: RouteSessionConfig, reach: RobotReach | None = None) -> None:
        self._config, self._reach = config, reach
        self._grids: dict[str, DistanceGrid] = {}
        self._tissues: dict[str, DistanceGrid] = {}
        self._region: EntryRegion | None = None
        self._covariance = np.diag([config.position_sigma**2] * 3 + [0.0] * 3)
        self._follower: RouteFollower | None = None
        self._stale = False
        self.plan = Plan((), 0, 'waiting for the structures and the skin')

    @property
    def is_stale(self) -> bool:
        """Whether something has changed since the plan was made."""
        placed = self._reach is None or self._reach.is_placed
        return self._stale and bool(self._grids) and self._region is not None and placed

    def place_arm(self, anatomy_T_base: Array) -> None:
        """Take where the base of the arm stands in the anatomy, shape (4, 4)."""
        if self._reach is not None and self._reach.place(anatomy_T_base):
            self._stale = True

    @property
    def needs_arm(self) -> bool:
        """Whether it is not yet known where the arm stands."""
        return self._reach is not None and not self._reach.is_placed

    def set_skin(self, skin: Surface) -> None:
        """Take the surface through which the tool goes in.

        Raises:
            InputError: when no part of it lies in the entry region.
        """
        config = self._config
        self._region = entry_on_surface(
            skin, np.array(config.entry_centre), config.entry_radius, fine=config.route.fine, coarse=config.route.coarse
        )
        self._stale = True

    def set_guarded(self, grids: dict[str, DistanceGrid]) -> None:
        """Take the distances of structures that must not be touched, by name; others stay."""
        self._grids |= grids
        self._stale = True

    def grid_of(self, name: str) -> DistanceGrid:
        """Distances of a guarded structure."""
        return self._grids[name]

    def set_tissues(self, grids: dict[str, DistanceGrid]) -> None:
        """Take the distances of tissues that should be spared, by name; others stay."""
        self._tissues |= grids
        self._stale = True

    def set_error(self, tip: Array, covariance: Array) -> None:
        """Take the error of the tool in the anatomy, as the guidance says it at the tip.

        Args:
            tip: Position of the tip [m], shape (3,).
            covariance: Of (δp, δφ) at the tip, shape (6, 6).
        """
        lever = np.eye(6)
        lever[:3, 3:] = skew(tip)  # δp at the origin = δp − δφ × tip
        moved = lever @ covariance @ lever.T
        before, now = np.trace(self._covariance[:3, :3]), np.trace(moved[:3, :3])
        if not (1.0 - _CHANGED) ** 2 * before <= now <= (1.0 + _CHANGED) ** 2 * before:
            self._covariance = moved
            self._stale = True

    def replan(self) -> list[RouteEvent]:
        """Plan again, keep the chosen route when it is still offered, and say what has changed."""
        if not self.is_stale:
            return []
        self._stale = False
        before = self.plan
        assert self._region is not None
        guarded, tissues = tuple(self._grids.values()), tuple(self._tissues.values())
        planner = RoutePlanner(self._config.route, guarded, tissues, self._reach)
        try:
            routes = planner.plan(self._region, np.array(self._config.target), covariance=self._covariance)
        except (DegenerateGeometryError, InputError) as error:
            self.plan, self._follower = Plan((), 0, str(error)), None
            return [RouteEvent('NO_ROUTE', str(error), True)]
        chosen = _same(before, routes, self._config.route.separation)
        self.plan = Plan(routes, chosen or 0, '')
        self._follower = RouteFollower(self._config.route, routes, self.plan.chosen)
        if before.routes and chosen is None:
            return [RouteEvent('ROUTE_CHANGED', f'planned again: now {describe(routes[0])}', True)]
        return [] if before.routes else [RouteEvent('OK', f'{len(routes)} routes; best: {describe(routes[0])}', False)]

    def choose(self, index: int) -> None:
        """Follow another route of the plan.

        Raises:
            InputError: when there is no such route.
        """
        self._follower = RouteFollower(self._config.route, self.plan.routes, index)
        self.plan = Plan(self.plan.routes, index, '')

    def follow(self, tip: Array) -> tuple[RouteProgress, list[RouteEvent]] | None:
        """Say where the tip [m], shape (3,), is on the chosen route; None without a plan.

        Raises:
            InputError: for a position that is not finite.
        """
        if self._follower is None:
            return None
        before = self._follower.state
        progress = self._follower.update(tip)
        if progress.state is before:
            return progress, []
        return progress, self._tell(progress, before)

    def _tell(self, progress: RouteProgress, before: RouteState) -> list[RouteEvent]:
        number = self.plan.chosen + 1
        if progress.state is RouteState.LEFT:
            other = progress.next_best
            text = '' if other is None else f'; next best is route {other + 1}: {describe(self.plan.routes[other])}'
            return [RouteEvent('ROUTE_LEFT', f'{1e3 * progress.deviation:.1f} mm off route {number}{text}', True)]
        if before is RouteState.LEFT:
            return [RouteEvent('OK', f'back on route {number}', False)]
        if progress.state is RouteState.ARRIVED:
            return [RouteEvent('OK', f'at the target of route {number}', False)]
        return []


def describe(route: Route) -> str:
    """One route in words, for people."""
    nearest = route.clearances[0]
    return (
        f'{1e3 * route.length:.0f} mm long, keeps {1e3 * nearest.clearance:.1f} ± {1e3 * nearest.sigma:.1f} mm from '
        f'{nearest.structure} ({100.0 * nearest.breach_probability:.2g} % breach)'
    )


def _same(before: Plan, routes: tuple[Route, ...], separation: float) -> int | None:
    """Index of the route that goes in where the chosen one did, or None."""
    if not before.routes:
        return None
    entry = before.routes[before.chosen].entry
    distances = [float(np.linalg.norm(route.entry - entry)) for route in routes]
    nearest = int(np.argmin(distances))
    return nearest if distances[nearest] < max(separation, 1e-3) else None
