"""Follows a tool along its route, and says when it has left."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.route import Route

_ARRIVED = 0.001


class RouteState(StrEnum):
    """How a tool stands to its route."""

    APPROACHING = 'approaching'
    ON_ROUTE = 'on_route'
    LEFT = 'left'
    ARRIVED = 'arrived'


@dataclass(frozen=True, eq=False)
class RouteProgress:
    """Where a tool is on its route.

    Args:
        state: How it stands to the route.
        deviation: Distance of the tip from the route [m].
        depth: Length of the route that is behind the tip [m].
        left: Length that is ahead [m].
        nearest: Nearest point of the route [m], shape (3,).
        direction: Unit direction of the route there, towards the target, shape (3,).
        next_best: Index of the best other route, when the tool has left its own and there is one.
    """

    state: RouteState
    deviation: float
    depth: float
    left: float
    nearest: Array
    direction: Array
    next_best: int | None


class RouteFollower:
    """Keeps the chosen route of a plan.

    Args:
        config: Distances at which a route is left and found again.
        routes: The plan, best first.
        chosen: Index of the route that is followed.
    """

    def __init__(self, config: RouteConfig, routes: tuple[Route, ...], chosen: int = 0) -> None:
        if not 0 <= chosen < len(routes):
            raise InputError(f'route {chosen} of {len(routes)}: there is none')
        self._config = config
        self._routes = routes
        self.chosen = chosen
        self._state = RouteState.APPROACHING

    @property
    def state(self) -> RouteState:
        """How the tool stood at the last position."""
        return self._state

    @property
    def route(self) -> Route:
        """The route that is followed."""
        return self._routes[self.chosen]

    def update(self, tip: Array) -> RouteProgress:
        """Take in the position of the tip in the anatomy frame [m], shape (3,).

        Raises:
            InputError: for a position that is not finite.
        """
        tip = np.asarray(tip, dtype=float)
        if tip.shape != (3,) or not np.isfinite(tip).all():
            raise InputError(f'tip of shape {tip.shape} must be three finite numbers [m]', code='NOT_FINITE')
        nearest, direction, depth = _project(self.route.points, tip)
        deviation = float(np.linalg.norm(tip - nearest))
        ahead = self.route.length - depth
        before = depth == 0.0 and float((tip - self.route.entry) @ direction) < 0.0
        self._state = self._next(deviation, ahead, before)
        other = self._next_best() if self._state is RouteState.LEFT else None
        return RouteProgress(self._state, deviation, depth, ahead, nearest, direction, other)

    def _next(self, deviation: float, ahead: float, before: bool) -> RouteState:
        if before:
            return RouteState.APPROACHING  # outside the body the tool is free
        left = self._state is RouteState.LEFT
        if deviation > (self._config.return_distance if left else self._config.leave_distance):
            return RouteState.LEFT
        return RouteState.ARRIVED if ahead <= _ARRIVED else RouteState.ON_ROUTE

    def _next_best(self) -> int | None:
        others = [index for index in range(len(self._routes)) if index != self.chosen]
        return others[0] if others else None


def _project(points: Array, tip: Array) -> tuple[Array, Array, float]:
    """Nearest point of a polyline, direction there, and the length up to it [m]."""
    starts, ways = points[:-1], np.diff(points, axis=0)
    lengths = np.linalg.norm(ways, axis=1)
    shares = np.clip(np.einsum('ni,ni->n', tip - starts, ways) / lengths**2, 0.0, 1.0)
    nearest = starts + shares[:, None] * ways
    index = int(np.linalg.norm(nearest - tip, axis=1).argmin())
    depth = float(lengths[:index].sum() + shares[index] * lengths[index])
    return nearest[index], ways[index] / lengths[index], depth
