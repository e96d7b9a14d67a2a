"""Plans routes from an entry region to a target and ranks them by clearance with its uncertainty.

Every entry point of the region is judged or ruled out: a way to a point within r of another's entry has at most r more
clearance, so whole groups of entries fall to a bound from one of them (branch and bound; the clearance of a way is a
least of distances, which change by at most the movement). What is offered is the best of all entries, not of a sample.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes import route_kernels
from twin_nodes.core.guidance.routes.bends import bent_ways
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.entry import EntryRegion
from twin_nodes.core.guidance.routes.route import Route, RouteClearance
from twin_nodes.core.guidance.routes.search import RouteSearch

_SLACK = 1.3  # the bound of a group in units of its radius: the slope of a trilinear distance, and of its σ
_POLYLINE = 33
_SOME = 5  # of the centres are looked at first
_FIRST_GROUPS, _MOST_GROUPS = 4, 64  # looked at together: the first ones tell what the next have to beat

Reach = Callable[[Array, Array, NDArray[np.int64]], NDArray[np.bool_]]


class RoutePlanner:
    """Plans routes for one tool among guarded structures and costly tissues.

    Args:
        config: Tool and ranking.
        guarded: Distances of the structures that must not be touched.
        tissues: Distances of the tissues that should be spared, negative inside.
        reach: Which of n ways a robot can go, from entries (n, 3), unit directions inwards (n, 3) and the index of the
            entry that stands for each (n,), such as `RobotReach`; all when None.
    """

    def __init__(
        self,
        config: RouteConfig,
        guarded: tuple[DistanceGrid, ...],
        tissues: tuple[DistanceGrid, ...] = (),
        reach: Reach | None = None,
    ) -> None:
        if not guarded:
            raise InputError('no structure to keep away from: name at least one')
        self._config = config
        self._guarded = guarded
        self._tissues = tissues
        self._reach = reach
        self._ended = np.zeros(len(guarded))

    def plan(
        self, region: EntryRegion, target: Array, *, covariance: Array | None = None, approach: Array | None = None
    ) -> tuple[Route, ...]:
        """Find the best routes.

        Args:
            region: Where the tool may go in.
            target: Where its tip must end, in the anatomy frame [m], shape (3,).
            covariance: Of the error (δp, δφ) of the tool in the anatomy about its origin, shape (6, 6); none when None.
            approach: Unit axis of approach, pointing inwards, shape (3,); from the middle of the region when None.

        Returns:
            At most `routes` routes, best first, their entries `separation` apart.

        Raises:
            InputError: for values that are not finite.
            DegenerateGeometryError: when no route reaches the target, or each is likely to breach a structure.
        """
        target, spread = _checked(target, covariance)
        ways, owners = self._ways(region, target, approach)
        margins, lengths = self._margins(ways, owners, region, spread)
        return self._rank(ways, margins, self._config.length_cost * lengths - margins, region.points[owners], spread)

    def _ways(self, region: EntryRegion, target: Array, approach: Array | None) -> tuple[Array, NDArray[np.int64]]:
        """All ways that the tool can go, shape (m, 10), and the entry point of each, shape (m,)."""
        config = self._config
        chords = target - region.points
        lengths = np.linalg.norm(chords, axis=1)
        directions = chords / np.maximum(lengths, 1e-12)[:, None]
        axis = directions.mean(axis=0) if approach is None else np.asarray(approach, dtype=float)
        axis = axis / np.linalg.norm(axis)
        usable = (lengths > 1e-6) & (lengths <= config.max_length)
        usable &= directions @ axis >= np.cos(config.max_tilt)
        if config.bend_radius > 0.0:
            usable &= lengths < 2.0 * config.bend_radius * 0.99
        owners = np.flatnonzero(usable)
        if self._reach is not None and len(owners):
            owners = np.flatnonzero(usable & self._reach(region.points, directions, region.nearby))
            if not len(owners):
                raise DegenerateGeometryError(
                    f'the arm reaches none of {np.count_nonzero(usable)} ways within its joint limits: move its base '
                    'or the entry region'
                )
        if not len(owners):
            raise DegenerateGeometryError(
                f'none of {len(region.points)} entry points reaches the target: the distances are '
                f'{1e3 * lengths.min():.0f} to {1e3 * lengths.max():.0f} mm with max_length='
                f'{1e3 * config.max_length:.0f} mm, tilt at most {np.degrees(config.max_tilt):.0f}°'
            )
        straight = np.zeros((len(owners), 10))
        straight[:, :3] = region.points[owners]
        straight[:, 3:6] = target
        if config.bend_radius == 0.0:
            return straight, owners
        return bent_ways(straight, directions[owners], axis, config), np.repeat(owners, config.bend_turns)

    def _margins(
        self, ways: Array, owners: NDArray[np.int64], region: EntryRegion, spread: Array
    ) -> tuple[Array, Array]:
        """Margin and length of each way [m], both of shape (m,); the margin is −inf where it was ruled out."""
        lengths = np.asarray(route_kernels.lengths_of(ways))
        search = RouteSearch(region, owners, len(ways), self._slack(ways))
        charge = self._config.length_cost * lengths
        allowed = self._config.tissue_cost * float(lengths.max()) if self._tissues else 0.0
        best, wanted = self._judge_centres(ways, search, spread, charge, allowed)
        bounds = np.minimum(search.group_bounds(), self._at_target(ways[0], spread))
        shortest = np.full(len(bounds), np.inf)
        np.minimum.at(shortest, search.groups, charge)
        costs = shortest - bounds
        order = np.argsort(costs, kind='stable')
        at, size = 0, _FIRST_GROUPS
        while at < len(order) and costs[order[at]] <= wanted + allowed:
            chunk = order[at : at + size]
            members = search.members_of(chunk[costs[chunk] <= wanted + allowed])
            for stage in (members[search.stands[members]], members[~search.stands[members]]):
                floors = charge[stage] - wanted - allowed
                search.bound(stage)
                left = stage[search.upper[stage] >= floors]
                self._judge(ways, search, left, spread, floors[search.upper[stage] >= floors])
                better = left[charge[left] - search.margins[left] < wanted]
                if len(better):
                    best = np.concatenate([best, better])
                    own = charge[best] - search.margins[best]
                    wanted = self._last_wanted(own, search.entries[best])
                    best = best[own <= wanted]
            at, size = at + size, min(2 * size, _MOST_GROUPS)
        return search.margins, lengths

    def _slack(self, ways: Array) -> float:
        """Change of the margin by the movement of the entry; a way bent to near half a circle swings out further."""
        chord = float(np.linalg.norm(ways[:, 3:6] - ways[:, :3], axis=1).max())
        bend = 0.5 * chord * float(ways[0, 9])
        return _SLACK * max(1.0, 0.4 + 0.6 * bend / float(np.sqrt(1.0 - bend**2)))

    def _judge_centres(
        self, ways: Array, search: RouteSearch, spread: Array, charge: Array, allowed: float
    ) -> tuple[NDArray[np.int64], float]:
        """Judge the centres, some first: they say what a group must reach. Returns the best, and the last wanted."""
        centres = np.flatnonzero(search.is_centre)
        some = centres[::_SOME]
        self._judge(ways, search, some, spread, np.full(len(some), -np.inf))
        wanted = self._last_wanted(charge[some] - search.margins[some], search.entries[some])
        others = np.setdiff1d(centres, some, assume_unique=True)
        floors = charge[others] - wanted - allowed - search.slack * search.radii[search.groups[others]]
        self._judge(ways, search, others, spread, floors)
        return centres, self._last_wanted(charge[centres] - search.margins[centres], search.entries[centres])

    def _at_target(self, way: Array, spread: Array) -> float:
        """Margin at the target [m], which no way exceeds."""
        end = way.copy()
        end[:3] = end[3:6]
        return float(self._lowered(end[None], spread, np.array([-np.inf]))[0])

    def _last_wanted(self, costs: Array, entries: Array) -> float:
        """Cost of the last of the offered routes, taken from what was judged so far; inf when there are fewer."""
        free = costs < np.inf
        for _ in range(self._config.routes):
            if not free.any():
                return np.inf
            index = int(np.where(free, costs, np.inf).argmin())
            free &= np.linalg.norm(entries - entries[index], axis=1) >= self._config.separation
        return float(costs[index])

    def _judge(self, ways: Array, search: RouteSearch, chosen: NDArray[np.int64], spread: Array, floors: Array) -> None:
        """Find the margins of some ways; one below its floor (one for each of them) is only bounded from above."""
        if len(chosen):
            search.margins[chosen] = self._lowered(np.ascontiguousarray(ways[chosen]), spread, floors)
            search.upper[chosen] = search.margins[chosen]

    def _lowered(self, ways: Array, spread: Array, floors: Array) -> Array:
        margins = np.full(len(ways), np.inf)
        alive = np.arange(len(ways))
        for index in np.argsort(-self._ended, kind='stable'):  # those that rule out most come first
            grid = self._guarded[index]
            lowered = margins[alive]
            route_kernels.lower_margins(
                grid.values, grid.origin, grid.spacing, ways[alive], self._config.tool_radius, spread,
                grid.near_sigma**2, self._config.sigmas, floors[alive], lowered,
            )  # fmt: skip
            margins[alive] = lowered
            kept = lowered >= floors[alive]
            self._ended[index] += np.count_nonzero(~kept)
            alive = alive[kept]
        return margins

    def _rank(self, ways: Array, margins: Array, bound: Array, entries: Array, spread: Array) -> tuple[Route, ...]:
        """The routes with the least cost whose entries lie apart; `bound` is the cost without tissues."""
        order = np.argsort(bound, kind='stable')
        free = np.isfinite(bound)
        candidates: list[Route] = []
        for index in order:
            if not free[index]:
                continue
            if len(candidates) >= self._config.routes and bound[index] > candidates[-1].cost:
                break
            route = self._route(ways[index], float(margins[index]), spread)
            free &= np.linalg.norm(entries - entries[index], axis=1) >= self._config.separation
            candidates.append(route)
            candidates.sort(key=lambda candidate: candidate.cost)
            if len(candidates) >= 4 * self._config.routes:
                break
        routes = [route for route in candidates if _breach(route) <= self._config.max_breach]
        if not routes:
            best = candidates[0]
            worst = max(best.clearances, key=lambda clearance: clearance.breach_probability)
            raise DegenerateGeometryError(
                f'no route keeps clear: the best passes {worst.structure!r} at {1e3 * worst.clearance:.1f} ± '
                f'{1e3 * worst.sigma:.1f} mm, a breach with {100.0 * worst.breach_probability:.0f} %, allowed '
                f'{100.0 * self._config.max_breach:.0f} %: widen the entry region or take a thinner or bent tool'
            )
        return tuple(routes[: self._config.routes])

    def _route(self, way: Array, margin: float, spread: Array) -> Route:
        length = float(route_kernels.length_of(way))
        clearances = []
        for grid in self._guarded:
            least, sigma, breach, _, share = self._survey(grid, way, spread)
            clearances.append(RouteClearance(grid.name, least, sigma, breach, share * length))
        tissues = {grid.name: self._survey(grid, way, spread)[3] for grid in self._tissues}
        shares = np.linspace(0.0, 1.0, 2 if way[9] == 0.0 else _POLYLINE)
        points = np.array([route_kernels.point_on(way, share) for share in shares])
        cost = self._config.length_cost * length + self._config.tissue_cost * sum(tissues.values()) - margin
        ordered = tuple(sorted(clearances, key=lambda clearance: clearance.clearance))
        return Route(way[:3].copy(), way[3:6].copy(), points, length, ordered, tissues, margin, cost)

    def _survey(self, grid: DistanceGrid, way: Array, spread: Array) -> tuple[float, float, float, float, float]:
        found: tuple[float, float, float, float, float] = route_kernels.survey(
            grid.values, grid.origin, grid.spacing, way, self._config.tool_radius, spread, grid.near_sigma**2
        )
        return found


def _breach(route: Route) -> float:
    return max(clearance.breach_probability for clearance in route.clearances)


def _checked(target: Array, covariance: Array | None) -> tuple[Array, Array]:
    target = np.asarray(target, dtype=float)
    if target.shape != (3,) or not np.isfinite(target).all():
        raise InputError(f'target of shape {target.shape} must be three finite numbers [m]', code='NOT_FINITE')
    spread = np.zeros((6, 6)) if covariance is None else np.ascontiguousarray(covariance, dtype=float)
    if spread.shape != (6, 6) or not np.isfinite(spread).all():
        raise InputError(f'covariance of shape {spread.shape} must be (6, 6) and finite', code='NOT_FINITE')
    return target, spread
