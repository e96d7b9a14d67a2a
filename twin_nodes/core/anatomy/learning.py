"""Learns stiffness while the anatomy is followed: gathers sights, hands out the work, says what may be believed.

The work takes seconds and is done elsewhere (`learn` in another process). Its result counts from a stamp on, so that
a replay is the same each time, whatever the work took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.learning_config import LearningConfig
from twin_nodes.core.anatomy.material.bodies import scaled
from twin_nodes.core.anatomy.material.stiffness import StiffnessEstimate
from twin_nodes.core.anatomy.material.stiffness_points import SurfaceSight, estimate_from_surface
from twin_nodes.core.anatomy.material.stiffness_states import BOUNDARY, StiffnessConfig
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import TwinError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_WORST_RESIDUAL = 2.0  # of those expected: beyond, the model does not explain what was seen


@dataclass(frozen=True, eq=False)
class LearnBody:
    """The body as assumed; plain data, to be sent to another process.

    Args:
        mesh: Its tetrahedra.
        materials: Laws by label.
        support: Stiffness of the surroundings [N/m], shape (n,).
        density: [kg/m³].
        ways: How nodes are displaced by what moved unseen, shape (n, 3, k).
        prior_sigma: Error of each stiffness beforehand, of its logarithm.
    """

    mesh: TetMesh
    materials: Mapping[int, Material]
    support: Array | None
    density: float
    ways: Array
    prior_sigma: float


@dataclass(frozen=True, eq=False)
class LearnJob:
    """Sights to learn from, what is left of each tetrahedron (m,), and the stamp of the newest cloud."""

    number: int
    stamp_ns: int
    sights: tuple[SurfaceSight, ...]
    weight: Array


@dataclass(frozen=True, eq=False)
class LearnResult:
    """What came of a job: an estimate, or why there is none."""

    number: int
    estimate: StiffnessEstimate | None
    code: str = ''
    reason: str = ''


class LearnWork:
    """Does jobs for one body, in a process of its own."""

    def __init__(self, body: LearnBody) -> None:
        self._body = body
        self._model = ElasticModel(body.mesh, body.materials, support=body.support, density=body.density)

    def learn(self, job: LearnJob) -> LearnResult:
        """Estimate the stiffness; a refusal is a result too."""
        body = self._body
        try:
            found = estimate_from_surface(
                self._model.with_weight(job.weight), body.materials, job.sights,
                StiffnessConfig(prior_sigma=body.prior_sigma, tolerance=3e-3), ways=body.ways,
            )  # fmt: skip
        except TwinError as error:
            return LearnResult(job.number, None, error.code or 'STIFFNESS_REFUSED', str(error))
        return LearnResult(job.number, found)


@dataclass(frozen=True)
class Learned:
    """What is known of one stiffness.

    Args:
        name: Label as text, or 'boundary'.
        factor: On what was assumed; low and high are the ends of its 95 % interval.
        code: OK; STIFFNESS_RATIO: no force was seen, only ratios are known; STIFFNESS_UNSEEN: what was seen tells
            nothing of it; STIFFNESS_DOUBTFUL: the model does not explain what was seen.
        used: Whether the running model has it.
    """

    name: str
    factor: float
    low: float
    high: float
    code: str
    used: bool


@dataclass(frozen=True, eq=False)
class StiffnessNews:
    """An estimate that counts from a stamp on.

    Args:
        stamp_ns: From when on.
        seen_ns: The newest cloud behind it.
        rows: What is known of each.
        estimate: The whole of it.
        states: Number of sights behind it.
    """

    stamp_ns: int
    seen_ns: int
    rows: tuple[Learned, ...]
    estimate: StiffnessEstimate
    states: int


class StiffnessLearner:
    """Keeps the sights and what was learned from them.

    Args:
        body: The body as assumed.
        config: Settings.
    """

    def __init__(self, body: LearnBody, config: LearningConfig) -> None:
        self.body, self.config = body, config
        self.news: StiffnessNews | None = None
        self._number = 0
        self.clear()

    def clear(self) -> None:
        """Forget the sights, as when the organ was registered anew; what was learned stays."""
        self._sights: list[tuple[int, tuple[SurfaceSight, ...]]] = []
        self._job: LearnJob | None = None
        self._is_new = False

    def reset(self) -> None:
        """Forget all, as when time jumps back."""
        self.clear()
        self.news = None

    def add(self, stamp_ns: int, sights: list[SurfaceSight]) -> None:
        """Take what a cloud tells."""
        self._sights = [*self._sights, (stamp_ns, tuple(sights))][-self.config.max_states :]
        self._is_new = True

    @property
    def number(self) -> int:
        """Number of the newest work."""
        return self._number

    @property
    def states(self) -> int:
        """Number of clouds that are learned from."""
        return len(self._sights)

    def next_job(self, weight: Array) -> LearnJob | None:
        """Return the next work, when there is news and none is under way.

        Args:
            weight: What is left of each tetrahedron, shape (m,).
        """
        if self._job is not None or not self._is_new:
            return None
        self._number += 1
        self._is_new = False
        sights = tuple(sight for _, several in self._sights for sight in several)
        self._job = LearnJob(self._number, self._sights[-1][0], sights, np.array(weight, float))
        return self._job

    @property
    def due_ns(self) -> int | None:
        """Stamp from which the result of the work under way counts, or None."""
        return None if self._job is None else self._job.stamp_ns + round(self.config.lag * NANOSECONDS)

    def finish(self, stamp_ns: int, result: LearnResult) -> StiffnessNews | None:
        """Take a result; return what is known now, or None where it is of another time or refused."""
        job = self._job
        if job is None or result.number != job.number:
            return None
        self._job = None
        if result.estimate is None:
            return None
        rows = judge_estimate(result.estimate, self.config)
        self.news = StiffnessNews(stamp_ns, job.stamp_ns, rows, result.estimate, len(job.sights))
        return self.news

    def materials(self) -> tuple[dict[int, Material], Array | None]:
        """Return laws and support for the running model: what was learned and may be used, else what was assumed."""
        body = self.body
        factors = {row.name: row.factor for row in self.news.rows if row.used} if self.news is not None else {}
        laws = {label: scaled(law, factors.get(str(label), 1.0)) for label, law in body.materials.items()}
        support = None if body.support is None else body.support * factors.get(BOUNDARY, 1.0)
        return laws, support


def judge_estimate(estimate: StiffnessEstimate, config: LearningConfig) -> tuple[Learned, ...]:
    """Say of each stiffness what is known, and whether it may be used.

    Displacements alone tell ratios only: the level is then held at what was assumed, and one stiffness alone is not
    known at all.
    """
    wide = np.sqrt(np.diag(estimate.log_covariance))
    doubtful = estimate.status != 'converged' or estimate.residual > _WORST_RESIDUAL
    count = len(estimate.names)
    common = np.full(count, 1.0 / np.sqrt(count))
    if not estimate.is_absolute and count > 1:  # what is known is the way from the mean of all
        centred = np.eye(count) - np.outer(common, common)
        wide = np.sqrt(np.maximum(np.diag(centred @ estimate.log_covariance @ centred), 0.0) / (1.0 - 1.0 / count))
    rows = []
    for name, sigma, factor, low, high in zip(
        estimate.names, wide, estimate.factor, estimate.low, estimate.high, strict=True
    ):
        seen = sigma < config.narrower * config.prior_sigma and (estimate.is_absolute or count > 1)
        code = 'OK' if estimate.is_absolute else 'STIFFNESS_RATIO'
        code = 'STIFFNESS_UNSEEN' if not seen else code
        code = 'STIFFNESS_DOUBTFUL' if seen and doubtful else code
        rows.append(
            Learned(
                name, float(factor), float(low), float(high), code, code in ('OK', 'STIFFNESS_RATIO') and config.use
            )
        )
    if not estimate.is_absolute and sum(row.code == 'STIFFNESS_RATIO' for row in rows) < 2:
        rows = [
            replace(row, code='STIFFNESS_UNSEEN', used=False) if row.code == 'STIFFNESS_RATIO' else row for row in rows
        ]
    return tuple(rows)
