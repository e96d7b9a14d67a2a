"""The errors in the tree of frames: which pose with covariance belongs to which edge, and what a point makes of them.

An edge is known by its pose: the message that has the parent, the stamp and the pose of an edge states the error of
that edge, whatever its topic is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.chain import Chain, Link, compose_chain, inverted
from twin_nodes.core.geometry.se3 import Array

_SAME = 1e-6
_KEPT = 600


@dataclass
class Edge:
    """The last poses of one edge, and the error that was stated for it."""

    parent: str
    child: str
    poses: dict[int, Array] = field(default_factory=dict)
    covariance: Array | None = None

    @property
    def pose(self) -> Array:
        """The newest pose heard."""
        return next(reversed(self.poses.values()))


class Errors:
    """Edges with their errors, and the clocks of the tools."""

    def __init__(self) -> None:
        self.edges: dict[str, Edge] = {}
        self._waiting: list[tuple[str, int, Array, Array]] = []
        self._told: dict[str, float] = {}  # sigma at the point that was asked for [m], by child
        self.clocks: dict[str, dict[str, str]] = {}  # by node
        self._node_of: dict[str, str] = {}  # by tool

    def add_edge(self, parent: str, child: str, stamp_ns: int, pose: Array) -> None:
        """Take in one transform of tf."""
        edge = self.edges.get(child)
        if edge is None or edge.parent != parent:
            edge = self.edges[child] = Edge(parent, child)
        edge.poses.pop(stamp_ns, None)
        edge.poses[stamp_ns] = pose
        while len(edge.poses) > _KEPT:
            del edge.poses[next(iter(edge.poses))]

    def add_pose(self, parent: str, stamp_ns: int, pose: Array, covariance: Array) -> None:
        """Take in one pose with covariance; its edge may come later."""
        if not (np.isfinite(covariance).all() and covariance[0, 0] >= 0.0):
            return  # withdrawn, or no covariance
        if not self._settle(parent, stamp_ns, pose, covariance):
            self._waiting.append((parent, stamp_ns, pose, covariance))
            del self._waiting[:-_KEPT]

    def add_status(self, name: str, values: Mapping[str, str]) -> None:
        """Take in one diagnostic: clocks of trackers, and which tool is whose."""
        node, _, check = name.partition(': ')
        if check == 'clock':
            self.clocks[node] = dict(values)
        elif check.startswith('tool '):
            self._node_of[check.removeprefix('tool ')] = node

    def settle(self) -> None:
        """Match what came before its edge."""
        self._waiting = [waiting for waiting in self._waiting if not self._settle(*waiting)]

    def _settle(self, parent: str, stamp_ns: int, pose: Array, covariance: Array) -> bool:
        for edge in self.edges.values():
            if edge.parent != parent:
                continue
            same = edge.poses.get(stamp_ns)
            if same is not None and np.abs(same - pose).max() < _SAME:
                edge.covariance = covariance
                return True
        return False

    def offset(self, child: str) -> str:
        """Say the offset of the clock that an edge is measured with, '' where none is known."""
        clock = self.clocks.get(self._node_of.get(child, ''), {})
        if 'offset_s' not in clock:
            return ''
        if clock.get('mode') != 'synchronise':
            return f'clock {clock.get("mode", "?")}'
        return f'offset {float(clock["offset_s"]) * 1e3:.1f} ± {float(clock.get("sigma_ms", 0.0)):.2f} ms'

    def path(self, start: str, end: str) -> list[tuple[Edge, bool]]:
        """Return the edges from a frame to another, and whether each is walked upwards.

        Raises:
            InputError: A frame is not there, or there is no way.
        """
        known = set(self.edges) | {edge.parent for edge in self.edges.values()}
        for frame in (start, end):
            if frame not in known:
                raise InputError(f'no frame {frame!r}; there are {", ".join(sorted(known)) or "none"}')
        up, down = self._to_root(start), self._to_root(end)
        while up and down and up[-1] is down[-1]:
            up.pop()
            down.pop()
        top = up[-1].parent if up else start
        if (down[-1].parent if down else end) != top:
            raise InputError(f'{start!r} and {end!r} hang on different trees')
        return [(edge, True) for edge in up] + [(edge, False) for edge in reversed(down)]

    def _to_root(self, frame: str) -> list[Edge]:
        edges: list[Edge] = []
        while frame in self.edges and self.edges[frame] not in edges:
            edges.append(self.edges[frame])
            frame = edges[-1].parent
        return edges

    def chain(self, start: str, end: str, point_end: Array) -> tuple[Chain, list[str]]:
        """Return the chain from a frame to a point [m] (3,) in another, and the links without a stated error.

        Raises:
            InputError: No way between the frames.
        """
        links, unknown = [], []
        for edge, upwards in self.path(start, end):
            name = f'{edge.parent} → {edge.child}'
            covariance = edge.covariance
            if covariance is None:
                unknown.append(name)
                covariance = np.zeros((6, 6))
            link = Link(name, edge.pose, covariance)
            links.append(inverted(link) if upwards else link)
        if not links:
            raise InputError(f'{start!r} and {end!r} are the same frame')
        return compose_chain(tuple(links), point_end=point_end), unknown

    def tell(self, start: str, end: str, point_end: Array) -> None:
        """Choose the point (3,) [m] at which the edges on its way are told by `sigma_at`.

        Raises:
            InputError: No way between the frames.
        """
        chain, _ = self.chain(start, end, point_end)
        on_the_way = [edge.child for edge, _ in self.path(start, end)]
        self._told = {child: cost.sigma for child, cost in zip(on_the_way, chain.costs, strict=True)}

    def sigma_at(self, child: str, at: str, point: Array) -> tuple[float, float] | None:
        """Return the sigma [m], [rad] that one edge gives a point (3,) of a frame; None where no error is stated.

        Where the point neither hangs on the edge nor lies at the end of the way that was told, it is the sigma at the
        origin of the edge's own frame.
        """
        edge = self.edges.get(child)
        if edge is None or edge.covariance is None:
            return None
        pose, below = np.eye(4), self._to_root(at)
        place = point if edge in below else np.zeros(3)
        for other in below[: below.index(edge)] if edge in below else []:
            pose = other.pose @ pose
        reached = (pose @ np.append(place, 1.0))[:3]
        cost = compose_chain((Link(child, edge.pose, edge.covariance),), point_end=reached)
        return self._told.get(child, cost.sigma), cost.rotation_sigma


def chain_lines(errors: Errors, start: str, end: str, point_end: Array) -> list[str]:
    """Say how sure a point is in a frame, link by link, and which costs most.

    Raises:
        InputError: No way between the frames.
    """
    chain, unknown = errors.chain(start, end, point_end)
    where = end if not np.any(point_end) else f'{end} at {", ".join(f"{v * 1e3:g}" for v in point_end)} mm'
    lines = [f'{where} in {start}: σ {chain.sigma * 1e3:.3f} mm, {np.degrees(chain.rotation_sigma):.3f}°']
    known = [cost for cost in chain.costs if cost.name not in unknown]
    lines += [f'  {cost.name:<28} {cost.sigma * 1e3:.3f} mm, {cost.share * 100.0:.0f} %' for cost in known]
    lines += [f'  {name:<28} fixed or without a stated error' for name in unknown]
    if known and chain.sigma > 0.0:
        lines.append(f'{chain.worst.name} costs most')
    return lines


def default_point(frames: Iterable[str]) -> tuple[str, str]:
    """Return in which frame which frame is told when none is named: a tip in the anatomy, ('', '') without a tip."""
    known = sorted(frames)
    tips = [frame for frame in known if frame.endswith('_tip')] or [f for f in known if f.endswith('_optical')]
    start = next((frame for frame in ('anatomy', 'patient', 'tracker', 'world') if frame in known), '')
    return (start, tips[0]) if tips and start else ('', '')


def chain_record(errors: Errors, start: str, end: str, point_end: Array) -> dict[str, Any]:
    """Return the chain for machines [m, rad]."""
    chain, unknown = errors.chain(start, end, point_end)
    return {
        'point_of': end,
        'in': start,
        'sigma_m': chain.sigma,
        'sigma_rad': chain.rotation_sigma,
        'links': [{'link': cost.name, 'sigma_m': cost.sigma, 'share': cost.share} for cost in chain.costs],
        'without_error': unknown,
        'costs_most': chain.worst.name if chain.sigma > 0.0 else '',
    }
