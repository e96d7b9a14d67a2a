"""Which clouds tell of stiffness: tissue held still by tools, against the shape last seen without them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.elastic.loads import Loads, Nodes, Springs
from twin_nodes.core.anatomy.learning_config import LearningConfig
from twin_nodes.core.anatomy.material.stiffness_points import SurfaceSight
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import rigid_rows
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_LEAST_FORCES = 3
_BESIDE = 0.004  # points so near to a held node may lie on the jaws [m]


@dataclass(frozen=True, eq=False)
class Held:
    """Tissue in the jaws of a tool: its nodes (h,), and where they are [m], shape (h, 3)."""

    tool: str
    nodes: Nodes
    places: Array


@dataclass(frozen=True, eq=False)
class Reference:
    """A shape from which tools move the tissue.

    Args:
        stamp_ns: When it was seen; 0 for that of the scan.
        rest: The nodes [m], shape (n, 3).
        root: Of the covariance of the amounts of the ways to deform, shape (k, k).
        pascal: Pressure on the outside then [Pa].
    """

    stamp_ns: int
    rest: Array
    root: Array
    pascal: float


class SightKeeper:
    """Keeps tips and forces, and makes a sight of a cloud.

    Args:
        compliance: The ways to deform, which stand for what moved unseen.
        fit: Their errors beforehand.
        config: Settings.
        drift: Unseen motion in a second, which grows with the root of time [m/√s].
        amplitude: Displacement by the ways at one standard deviation, RMS [m].
    """

    def __init__(
        self, compliance: Compliance, fit: NonrigidConfig, config: LearningConfig, *, drift: float, amplitude: float
    ) -> None:
        self.config, self._drift, self._amplitude = config, drift, amplitude
        turn = fit.turn_sigma * compliance.radius
        self._prior = np.concatenate([np.full(3, fit.pose_sigma), np.full(3, turn), np.ones(compliance.count)])
        self._rest = compliance.model.rest
        rigid = rigid_rows(self._rest, compliance)
        self.ways = np.ascontiguousarray(np.concatenate([rigid, compliance.modes], axis=2))
        self.clear()

    def clear(self) -> None:
        """Begin anew from the scan."""
        self.reference = Reference(0, self._rest, np.diag(self._prior), 0.0)
        self._tips: dict[str, deque[tuple[int, Array]]] = {}
        self._forces: dict[str, deque[tuple[int, Array]]] = {}

    def see_free(self, reference: Reference) -> None:
        """Take a shape that was seen while no tool held or pushed the tissue."""
        self.reference = reference

    def tip(self, tool: str, stamp_ns: int, place: Array) -> None:
        """Hear where the tip of a tool is [m], shape (3,)."""
        self._keep(self._tips, tool, stamp_ns, place)

    def feel(self, tool: str, stamp_ns: int, force: Array) -> None:
        """Hear the force of a tool on the tissue [N], in the anatomy, shape (3,)."""
        self._keep(self._forces, tool, stamp_ns, force)

    def _keep(self, store: dict[str, deque[tuple[int, Array]]], tool: str, stamp_ns: int, value: Array) -> None:
        kept = store.setdefault(tool, deque())
        kept.append((stamp_ns, np.array(value, float)))
        while kept[0][0] < stamp_ns - 4 * self._window_ns:
            kept.popleft()

    @property
    def _window_ns(self) -> int:
        return round(self.config.window * NANOSECONDS)

    def sights(
        self,
        stamp_ns: int,
        seen: SurfacePoints,
        held: Sequence[Held],
        loads: Loads,
        marks: Springs,
        *,
        pushed: bool,
    ) -> list[SurfaceSight]:
        """Make what is learned from a cloud: one sight, and one more for each further tool whose force was measured.

        Args:
            stamp_ns: Of the cloud.
            seen: Its points.
            held: What tools hold.
            loads: All held nodes with their places, pressure since the reference, and gravity.
            marks: Sensors in the tissue, with inverse covariances.
            pushed: Whether a tool pushes tissue that it does not hold.

        Raises:
            InputError: LEARNING_SKIPPED with the reason.
        """
        self._check(stamp_ns, held, loads, pushed=pushed)
        motion = max((self._moved(one) for one in held), default=0.0)
        sigma, points = self._points(seen, held)
        since = max(stamp_ns - self.reference.stamp_ns, 0) / NANOSECONDS if self.reference.stamp_ns else 0.0
        unseen = np.hypot(self._drift * np.sqrt(since), self.config.model_error * motion) / self._amplitude
        own = min(unseen, 1.0) * self._prior
        forces = {one.tool: self._force(one.tool, stamp_ns) for one in held}
        nodes = {one.tool: one.nodes for one in held}
        felt = [(nodes[tool], *force) for tool, force in forces.items() if force is not None]
        none = (np.zeros(0, np.int64), np.zeros(3), 1.0)
        reference = self.reference
        found = []
        for number, (gripped, force, spread) in enumerate(felt or [none]):
            there = (points, sigma, marks) if not number else (np.zeros((0, 3)), sigma, Springs())
            found.append(
                SurfaceSight(
                    loads, there[0], there[1], gripped, force, spread, there[2], reference.rest, reference.root, own,
                    reference.stamp_ns,
                )
            )  # fmt: skip
        return found

    def _check(self, stamp_ns: int, held: Sequence[Held], loads: Loads, *, pushed: bool) -> None:
        reason = ''
        if pushed:
            reason = 'a tool pushes the tissue, at a force that is not known'
        elif not held and loads.pressure is None:
            reason = 'nothing holds or presses the tissue'
        elif held and max(self._moved(one) for one in held) < self.config.least_motion and loads.pressure is None:
            reason = (
                f'the tissue in the jaws was moved by less than {1e3 * self.config.least_motion:g} mm since it was '
                'last seen free'
            )
        else:
            restless = [one.tool for one in held if not self._is_still(one.tool, stamp_ns)]
            if restless:
                reason = f'{", ".join(restless)} was not still for {self.config.window:g} s before the cloud'
        if reason:
            raise InputError(reason, code='LEARNING_SKIPPED')

    def _moved(self, held: Held) -> float:
        return float(np.linalg.norm(held.places - self.reference.rest[held.nodes], axis=1).max())

    def _is_still(self, tool: str, stamp_ns: int) -> bool:
        places = self._within(self._tips, tool, stamp_ns)
        return len(places) > 1 and float(np.linalg.norm(np.ptp(places, axis=0))) <= self.config.still

    def _force(self, tool: str, stamp_ns: int) -> tuple[Array, float] | None:
        """Return the mean force and its error, which counts that of the model too; None where too few were measured."""
        forces = self._within(self._forces, tool, stamp_ns)
        if len(forces) < _LEAST_FORCES:
            return None
        mean, spread = forces.mean(axis=0), float(forces.std(axis=0).max())
        share = self.config.model_error * float(np.linalg.norm(mean))
        return mean, float(np.sqrt(self.config.force_sigma**2 + spread**2 + share**2))

    def _within(self, store: Mapping[str, deque[tuple[int, Array]]], tool: str, stamp_ns: int) -> Array:
        first = stamp_ns - self._window_ns
        return np.array([value for at, value in store.get(tool, ()) if first <= at <= stamp_ns]).reshape(-1, 3)

    def _points(self, seen: SurfacePoints, held: Sequence[Held]) -> tuple[float, Array]:
        """Return σ and points, thinned, without those that may lie on the jaws."""
        points, sigma = seen.points_patient, seen.sigma
        if held:
            away = cKDTree(np.concatenate([one.places for one in held])).query(points)[0]
            points, sigma = points[away > _BESIDE], sigma[away > _BESIDE]
        if len(points) > self.config.max_points:
            kept = np.linspace(0, len(points) - 1, self.config.max_points).round().astype(np.int64)
            points, sigma = points[kept], sigma[kept]
        spread = float(np.sqrt(np.mean(sigma**2))) if len(sigma) else 1.0
        return spread, np.ascontiguousarray(points)
