"""Learning of a live session: which of its clouds are learned from, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.elastic.loads import Loads, Nodes, Pressure, Springs
from twin_nodes.core.anatomy.learning import LearnBody, StiffnessLearner
from twin_nodes.core.anatomy.learning_config import LearningConfig
from twin_nodes.core.anatomy.learning_sights import Held, Reference, SightKeeper
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints
from twin_nodes.core.anatomy.nonrigid.tracker import Deformation
from twin_nodes.core.anatomy.session_body import Body
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class LearningContext:
    """What else acts on the body when a cloud comes.

    Args:
        pascal: Pressure on the outside, less that of the scan [Pa].
        faces: On which it acts, shape (k, 3).
        gravity: Less that of the scan, shape (3,).
        pushed: Whether a tool pushes tissue that it does not hold.
    """

    pascal: float
    faces: Nodes
    gravity: Array
    pushed: bool


class SessionLearning:
    """Gathers what a session sees.

    Args:
        body: The body as assumed.
        session: Settings of the session.
        config: Settings of the learning.
    """

    def __init__(self, body: Body, session: AnatomySessionConfig, config: LearningConfig) -> None:
        model = body.model
        self.keeper = SightKeeper(
            body.compliance, session.fit, config, drift=session.observed.drift,
            amplitude=session.compliance.amplitude,
        )  # fmt: skip
        self._inflation = float(np.sqrt(session.fit.inflation))
        plain = LearnBody(
            model.mesh, body.laws, model.support, model.density, self.keeper.ways, config.prior_sigma
        )  # fmt: skip
        self.learner = StiffnessLearner(plain, config)
        self.skipped = ''

    def clear(self) -> None:
        """Forget what was seen; what was learned stays."""
        self.keeper.clear()
        self.learner.clear()

    def take(
        self,
        stamp_ns: int,
        seen: SurfacePoints,
        found: Deformation,
        held: Sequence[Held],
        marks: Springs,
        context: LearningContext,
    ) -> None:
        """Learn from a cloud that was believed; of one that shows the tissue free, take the shape.

        Args:
            stamp_ns: Of the cloud.
            seen: Its points, in the anatomy.
            found: What the session made of it.
            held: What tools hold.
            marks: Sensors in the tissue.
            context: What else acts.
        """
        change = context.pascal - self.keeper.reference.pascal
        loads = _loads(held, context, change, from_scan=not self.keeper.reference.stamp_ns)
        try:
            sights = self.keeper.sights(stamp_ns, seen, held, loads, marks, pushed=context.pushed)
            self.learner.add(stamp_ns, sights)
            self.skipped = ''
        except InputError as error:
            self.skipped = str(error)
        if not held and not context.pushed and found.posterior is not None:
            positions = np.ascontiguousarray(found.positions_patient)
            root = self._inflation * found.posterior.root
            self.keeper.see_free(Reference(stamp_ns, positions, root, context.pascal))


def _loads(held: Sequence[Held], context: LearningContext, change: float, *, from_scan: bool) -> Loads:
    faces = context.faces
    gravity = context.gravity if from_scan else np.zeros(3)  # a shape that was seen hangs already
    pressure = Pressure(faces, np.full(len(faces), change)) if change and len(faces) else None
    if not held:
        return Loads(gravity=gravity, pressure=pressure)
    return Loads(
        np.concatenate([one.nodes for one in held]), np.concatenate([one.places for one in held]),
        gravity=gravity, pressure=pressure,
    )  # fmt: skip
