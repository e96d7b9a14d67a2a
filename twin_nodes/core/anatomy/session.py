"""The anatomy as it deforms live: what is held, tracked and seen goes in; where every node and target is comes out.

The body is at rest at each frame under what acts on it (`elastic.live`). What acts unseen, such as packs, breath and
position, is found from clouds of surface points: what tools and sensors do to the tissue is taken off the points, the
fit (`nonrigid.tracker`) says what shape is left, and from that shape tools move the tissue until the next cloud. The
stress in it is left out: the forces of a fit, which were never measured, have no state of rest that is stable. Time is
told by the stamps alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.live import LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, Pressure
from twin_nodes.core.anatomy.elastic.model import Solution
from twin_nodes.core.anatomy.learning_config import LearningConfig
from twin_nodes.core.anatomy.nonrigid.observations import Tracked, make_tracked
from twin_nodes.core.anatomy.nonrigid.tracker import Deformation, DeformationTracker
from twin_nodes.core.anatomy.session_body import Body, edge_of
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig
from twin_nodes.core.anatomy.session_contact import LEAST_RADIUS, Contacts
from twin_nodes.core.anatomy.session_frame import Frame
from twin_nodes.core.anatomy.session_learning import LearningContext, SessionLearning
from twin_nodes.core.anatomy.session_observed import check_fit, check_sides, prepare, without_tools
from twin_nodes.core.anatomy.session_pull import pulls
from twin_nodes.core.anatomy.session_remaining import Loose, Remaining
from twin_nodes.core.anatomy.session_rest import at_rest
from twin_nodes.core.anatomy.session_sensors import Sensors
from twin_nodes.core.anatomy.session_tools import Tools
from twin_nodes.core.anatomy.session_uncertainty import ErrorModel, Uncertainty
from twin_nodes.core.anatomy.targets import MaterialPoints, at_nodes, attach
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_TIE = 100.0  # stiffness by which tissue follows a sensor in it, over that of the tissue about it
_MOST_HELD = 60  # nodes of held regions that a fit is told of; more say the same again
_REPLAY_LAG = 8  # frames after which a replay takes a new factor, so that it is the same in each
MOST_PRESSURE = 20_000.0  # [Pa]; a pneumoperitoneum has 1600 … 2700


class AnatomySession:
    """Follows one body.

    Args:
        body: The body.
        targets_anatomy: Hidden targets at rest [m], shape (t, 3).
        sensors: Tracked implants and sensors in the tissue, and where they are at rest [m].
        config: Settings.
        replay: Whether the same inputs must give the same bits, whatever the time they take.
        pushers: Names of the tools that push tissue which they do not hold.
        learning: How stiffness is learned; None where it is not.

    Attributes:
        left: What is left of the body.
        crumbs: Loose pieces that went with the last cut.

    Raises:
        InputError: ANATOMY_REFUSED for a target or sensor outside the body.
    """

    def __init__(
        self,
        body: Body,
        targets_anatomy: Array,
        sensors: Mapping[str, Array],
        config: AnatomySessionConfig,
        *,
        replay: bool,
        pushers: Collection[str] = (),
        learning: LearningConfig | None = None,
    ) -> None:
        self.body, self.config, self._pushers = body, config, frozenset(pushers)
        model = body.model
        self.targets: MaterialPoints = attach(model.mesh, np.asarray(targets_anatomy, float).reshape(-1, 3))
        self._sensors = Sensors(model.mesh, sensors, _TIE * float(model.shear.mean()) * edge_of(model))
        self._solver = LiveSolver(model, replace(config.solver, refactor_lag=_REPLAY_LAG) if replay else config.solver)
        self._tracker = DeformationTracker(body.compliance, targets_anatomy, config.fit)
        self._errors = ErrorModel(body.compliance, config.fit, self.targets)
        gravity = config.tissue.gravity
        self._gravity = np.array(gravity, float) if gravity else np.zeros(3)
        self._carved = np.ones(len(model.tets))
        self._contacts = Contacts(
            model.mesh.outer_faces, self.config.contact.stiffness * float(model.shear.mean()) * edge_of(model)
        )
        self._resected = np.ones(len(model.tets))
        self.crumbs = Loose()
        self.learning = None if learning is None else SessionLearning(body, config, learning)
        self._clear(keep_cuts=False)

    def _clear(self, *, keep_cuts: bool) -> None:
        config, model = self.config, self.body.model
        blunt = replace(config.contact, radius=max(config.contact.radius, LEAST_RADIUS * edge_of(model)))
        self._tools = Tools(model, self.body.held, config.grasp, blunt, self._pushers)
        if not keep_cuts:
            self._resected = np.ones(len(model.tets))
        self._pressure = self._pressure_seen = 0.0
        self._sensors.clear()
        self._shape = self.body.model  # as last seen, without what tools do to it
        if self.learning is not None:
            self.learning.clear()
        self._uncertainty: Uncertainty | None = None
        self._known_by: tuple[object, ...] | None = None
        self.stamp_ns = self.seen_ns = 0
        self.sigma = np.zeros(model.count)
        self._leave()

    def close(self) -> None:
        """End the threads."""
        self._solver.close()
        self._tracker.close()

    def reset(self, *, keep_cuts: bool = False) -> None:
        """Begin anew from rest, as when time jumps back or the organ was registered anew.

        Args:
            keep_cuts: Whether what planes took away stays gone; what a drill took does in any case, see `carve`.
        """
        self._solver.reset()
        self._tracker.reset()
        self._clear(keep_cuts=keep_cuts)

    @property
    def positions(self) -> Array:
        """The last good positions of the nodes [m], shape (n, 3)."""
        return self._solver.x

    @property
    def is_on_its_way(self) -> bool:
        """Whether the solver is between the last good state and one that may come to rest."""
        return self._solver.at is not self._solver.x

    @property
    def held(self) -> NDArray[np.int64]:
        """Nodes that tools hold, shape (h,)."""
        return self._tools.held

    def add_tip(self, tool: str, stamp_ns: int, anatomy_T_tip: Array, variance: float) -> None:
        """Take the pose of the tip of a tool.

        Args:
            tool: Its name.
            stamp_ns: Of the pose.
            anatomy_T_tip: Shape (4, 4).
            variance: Of a coordinate of the tip [m²].

        Raises:
            InputError: NOT_FINITE, OUT_OF_ORDER; GRASP_MISSED or GRASP_LOST, once for each closing.
        """
        _check_finite(tool, anatomy_T_tip, variance)
        self._tools.add_tip(tool, stamp_ns, anatomy_T_tip, variance, self.positions)
        if self.learning is not None:
            self.learning.keeper.tip(tool, stamp_ns, anatomy_T_tip[:3, 3])
        self.stamp_ns = max(self.stamp_ns, stamp_ns)

    def feel(self, tool: str, stamp_ns: int, force: Array, *, in_tip: bool) -> None:
        """Take the measured force of a tool on the tissue [N] (3,), in the axes of its tip or of the anatomy."""
        turn = self._tools.rotation(tool) if in_tip else np.eye(3)
        if self.learning is not None and turn is not None:
            self.learning.keeper.feel(tool, stamp_ns, turn @ force)

    def use_stiffness(self, laws: Mapping[int, Material], support: Array | None) -> None:
        """Go on with other laws by label, and other surroundings [N/m] (n,)."""
        model, shape = self.body.model.with_materials(laws), self._shape.with_materials(laws)
        if support is not None:
            model, shape = model.with_support(support), shape.with_support(support)
        self.body, self._shape = replace(self.body, model=model), shape
        self._solver.change(shape)

    def set_grip(self, tool: str, closed: bool) -> None:
        """Hear that the jaws of a tool close or open.

        Raises:
            InputError: GRASP_MISSED where there is no tissue between them.
        """
        self._tools.set_grip(tool, self.positions, closed=closed)

    def lose(self, name: str) -> None:
        """Hear that a tool or sensor is not seen any more: what the tool held is nobody knows where, so it lets go."""
        self._sensors.lose(name)
        self._tools.lose(name)

    def add_sensor(self, name: str, stamp_ns: int, place: Array, covariance: Array) -> None:
        """Take the place of a tracked implant or sensor in the tissue: [m] (3,) and [m²] (3, 3).

        Raises:
            InputError: NOT_FINITE.
        """
        _check_finite(name, place, covariance)
        self._sensors.see(name, place, covariance)
        self.stamp_ns = max(self.stamp_ns, stamp_ns)

    @property
    def may_push(self) -> bool:
        """Whether a tool is there that may push."""
        return self._tools.may_push

    def set_pressure(self, stamp_ns: int, pascal: float) -> None:
        """Hear the pressure on the outside, less that of the scan [Pa].

        Raises:
            InputError: LOADS_REFUSED for a value beyond `MOST_PRESSURE`, or none.
        """
        if not (np.isfinite(pascal) and abs(pascal) <= MOST_PRESSURE):
            raise InputError(
                f'a pressure of {pascal:g} Pa, expected within ±{MOST_PRESSURE:g} Pa: is it in mmHg or in mbar, or '
                'absolute? Give it in pascals, less that of the scan',
                code='LOADS_REFUSED',
            )
        self._pressure = float(pascal)
        self.stamp_ns = max(self.stamp_ns, stamp_ns)

    def resect(self, normal: Array, offset: float) -> float:
        """Take away the tissue that is now beyond a plane n · x + d > 0; return the volume that went [m³], at rest.

        Args:
            normal: n in the anatomy, towards what goes, shape (3,).
            offset: d, for a normal of length 1 in metres.

        Raises:
            InputError: RESECTION_REFUSED.
        """
        before = self.left
        after = before.beyond(np.asarray(normal, float), offset, self.positions)
        self._resected = np.where(before.alive & ~after.alive, 0.0, self._resected)
        self.crumbs = after.crumbs
        self._leave()
        return after.volume - before.volume

    def carve(self, share: Array) -> None:
        """Hear what a drill has left of each tetrahedron, 0 … 1, shape (m,); what a plane took stays gone."""
        self._carved = np.asarray(share, float)
        self._leave()

    def _leave(self) -> None:
        """Go on with what plane and drill have left."""
        body = self.body
        if self.learning is not None:
            self.learning.clear()  # what was seen of the whole tells nothing of what is left
        self.left = left = Remaining(
            body.model.mesh, np.minimum(self._resected, self._carved), held=body.held, crumb=self.config.tissue.crumb
        )
        self._wetted = left.wetted(body.pressed)
        self._shape = self._shape.with_weight(left.share)
        self._solver.change(self._shape)
        self._contacts.change(left.faces)
        self._tools.leave(np.unique(left.faces))

    def observe(
        self, stamp_ns: int, points_anatomy: Array, sigma: Array | float, *, explain: bool = False
    ) -> Deformation:
        """Take a cloud of surface points.

        Args:
            stamp_ns: Of the cloud.
            points_anatomy: By the rigid registration [m], shape (n, 3).
            sigma: Standard deviation of a coordinate [m], for all or each (n,).
            explain: Whether it is looked into why a cloud does not fit; takes seconds the first time.

        Raises:
            InputError: OUT_OF_ORDER, UNIT_SUSPECT, NOT_FINITE, or OBSERVED_REFUSED with the reason; nothing is changed.
        """
        if stamp_ns <= self.seen_ns:
            raise InputError(f'cloud: stamp {stamp_ns} is not after {self.seen_ns}', code='OUT_OF_ORDER')
        model = self.body.model
        raw = prepare(points_anatomy, sigma, self.positions[model.mesh.outer_nodes], self.config.observed)
        try:
            outer = self.body.model.mesh.outer_nodes
            seen = without_tools(raw, outer, self.positions, self.positions - self._shape.rest, self.held)
            found = self._tracker.update(np.eye(4), seen, self._tracked(by_tools=False), explain=explain)
        except DegenerateGeometryError as error:
            raise InputError(str(error), code='OBSERVED_REFUSED') from None
        positions = np.ascontiguousarray(found.positions_patient)
        try:
            check_fit(found, self.body.compliance, self.config.observed)
            if not self.seen_ns:
                check_sides(seen, found, self.body.compliance, self.config)
        except InputError:
            self._tracker.reset()  # the next fit does not start from this one
            raise
        if self.learning is not None:
            self.learning.take(stamp_ns, raw, found, self._tools.held_by(), self._sensors.observed(), self._context())
        self.seen_ns, self.stamp_ns = stamp_ns, max(self.stamp_ns, stamp_ns)
        self._go_on_from(positions, found)
        return found

    def _context(self) -> LearningContext:
        pushed = any(state.places for state in self._contacts.states.values())
        return LearningContext(self._pressure, self._wetted, self._gravity, pushed)

    def step(self, out_of_time: Callable[[], bool] | None = None) -> Frame:
        """Bring the body to what acts on it now.

        Args:
            out_of_time: Asked after each step of the solver; the best answer so far is returned once it says so.
        """
        held, places = self._tools.places()
        gravity = np.zeros(3) if self.seen_ns else self._gravity  # a shape that was seen hangs already
        loads = Loads(held, places, self._sensors.pulling(), gravity, self._pressing())
        solution = at_rest(self._solver, self._contacts, self._tools.advance(), loads, out_of_time)
        solution = self._since_scan(solution)
        known = self._known()
        x, since = solution.positions, (self.stamp_ns - self.seen_ns) / NANOSECONDS if self.seen_ns else 0.0
        most = self.config.compliance.amplitude / np.sqrt(3.0)  # no more than is expected where nothing was ever seen
        unseen = float(min(self.config.observed.drift * np.sqrt(max(since, 0.0)), most))
        self.sigma = known.nodes(x, unseen)
        return Frame(
            self.stamp_ns, solution, self.sigma, self.targets.at(x),
            known.targets(self.targets, x, unseen), len(held), self.seen_ns, self._contacts.states,
            self.left.holds(self.targets), self.left.loose, pulls(self._shape, loads, x, self._tools.grasps()),
        )  # fmt: skip

    def _pressing(self) -> Pressure | None:
        """Return the pressure that has come since the shape was seen; see `Remaining.wetted`."""
        pascal, faces = self._pressure - self._pressure_seen, self._wetted
        return Pressure(faces, np.full(len(faces), pascal)) if pascal and len(faces) else None

    def _since_scan(self, solution: Solution) -> Solution:
        """Return the solution with displacement and volumes told from the scan, not from the shape last seen."""
        model, x, alive = self.body.model, solution.positions, self.left.alive
        ratios, volume = model.volume_ratios(x)[alive], model.volume[alive]
        change = float(ratios @ volume / volume.sum() - 1.0) if len(volume) else 0.0
        return replace(
            solution,
            displacement=x - model.rest,
            volume_change=change,
            min_volume_ratio=float(ratios.min()) if len(ratios) else 1.0,
        )

    def _tracked(self, *, by_tools: bool) -> Tracked:
        """Return what is known by correspondence: held regions at rest, sensors, and patches in jaws.

        Args:
            by_tools: Whether jaws count, and sensors where they are; else sensors where they were without the tools.
        """
        config, rest = self.config, self.body.model.rest
        fixed = self.body.held[:: max(1, -(-len(self.body.held) // _MOST_HELD))]
        sensors = self._sensors.points
        moved = np.zeros_like(rest) if by_tools else self.positions - self._shape.rest
        at = [place[None] - points.at(moved) for place, points in zip(self._sensors.places, sensors, strict=True)]
        patches = self._tools.patches() if by_tools else []
        parts = [at_nodes(fixed), *(at_nodes(nodes) for nodes, _ in patches), *sensors]
        spread = np.full(len(fixed), config.tissue.fixed_sigma**2)
        spread = np.concatenate([spread, *(np.full(len(nodes), variance) for nodes, variance in patches)])
        return make_tracked(
            MaterialPoints(
                np.concatenate([part.nodes for part in parts]), np.concatenate([part.weights for part in parts])
            ),
            np.concatenate([rest[fixed], *(self.positions[nodes] for nodes, _ in patches), *at]),
            np.concatenate(
                [spread[:, None, None] * np.eye(3), *(covariance[None] for covariance in self._sensors.covariances)]
            ),
        )

    def _go_on_from(self, positions: Array, found: Deformation) -> None:
        """Take the shape that was seen as the one from which tools move the tissue."""
        by_tools = self.positions - self._shape.rest
        self._shape = self.body.model.shaped(positions)
        self._shape = self._shape.with_weight(self.left.share)
        self._pressure_seen = self._pressure
        self._solver.change(self._shape)
        self._solver.x = positions + by_tools
        self._uncertainty = self._errors.fitted(found.sigma, found.target_covariances, positions)

    def _known(self) -> Uncertainty:
        """Before the first cloud, what held and tracked places say of all others; learned anew when they change."""
        by = (tuple(self._sensors.seen), tuple(self.held.tolist()))
        if self._uncertainty is None or (not self.seen_ns and by != self._known_by):
            self._uncertainty, self._known_by = self._errors.known_by(self._tracked(by_tools=True), self.positions), by
        return self._uncertainty


def _check_finite(name: str, *values: Array | float) -> None:
    if not all(np.isfinite(value).all() for value in values):
        raise InputError(f'{name}: NaN or Inf in where it is', code='NOT_FINITE')
