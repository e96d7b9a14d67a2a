"""Noticing that a registration no longer holds, from landmarks that are touched again and from new swabs.

Two stories are told of the same touches. In the one nothing moved: the pose has an error of known covariance, constant
over all touches, and so has the tip, so that one landmark touched ten times is not ten witnesses. In the other the
patient moved against its reference body before touch j, by some millimetres. Kalman filters foretell each touch under
either story; the logarithm of the likelihood ratio, the greatest over j, is the evidence for a drift (a generalised
likelihood ratio, Lorden 1971, with the move integrated out). Densities are those of Student's t, so that a slip of the
hand is no proof: a drift takes two observations that speak for it. Nothing is ever corrected here.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, transform_points
from twin_nodes.core.registration.drift_story import Story, covariance_about
from twin_nodes.core.registration.paired_points import point_jacobians

if TYPE_CHECKING:  # the surface brings compiled kernels, which landmarks alone do not need
    from twin_nodes.core.registration.surface_target import SurfaceTarget

MAX_MOVES = 16
_FORGOTTEN = -5.0


class DriftState(StrEnum):
    """How far a registration can still be believed; the values of `CODES` that belong to them are in `code`."""

    OK = 'ok'
    SUSPECT = 'suspect'
    DRIFTED = 'drifted'

    @property
    def code(self) -> str:
        """The stable code."""
        return {'ok': 'OK', 'suspect': 'REGISTRATION_SUSPECT', 'drifted': 'REGISTRATION_DRIFTED'}[self.value]


@dataclass(frozen=True)
class DriftConfig:
    """When a registration is called suspect or drifted."""

    reach: float = setting(
        'A dwell farther than this from where every landmark is expected touches none.', 0.01, unit='m', minimum=1e-4,
        maximum=0.05,
    )  # fmt: skip
    touch_sigma: float = setting(
        'Least error of a touch, RMS of its length; that of the registration counts where it is greater.',
        0.0003, unit='m', minimum=1e-6, maximum=0.01,
    )  # fmt: skip
    surface_sigma: float = setting(
        'Error that a swab shares with the surface model, along its worst motion.', 0.0003, unit='m', minimum=0.0,
        maximum=0.01,
    )  # fmt: skip
    shift: float = setting(
        'How far the patient moves against its reference body when it moves, sigma of each axis.', 0.002, unit='m',
        minimum=1e-4, maximum=0.05,
    )  # fmt: skip
    turn: float = setting('How far it turns then, sigma of each axis.', 0.015, unit='rad', minimum=0.0, maximum=0.5)
    suspect: float = setting('Evidence (ln of the likelihood ratio) above which it is suspect.', 2.5, minimum=0.1)
    drifted: float = setting('Evidence above which it has drifted.', 6.0, minimum=0.2)
    second: float = setting('Evidence that must remain without the strongest observation.', 1.5, minimum=0.0)
    tails: int = setting('Degrees of freedom of a touch, at most: few for hands that slip.', 8, minimum=3)

    def __post_init__(self) -> None:
        if not self.suspect < self.drifted:
            raise ConfigError(f'suspect={self.suspect} must be below drifted={self.drifted}')


@dataclass(frozen=True)
class Watched:
    """The registration that is watched.

    Args:
        patient_T_anatomy: Pose [m], shape (4, 4).
        covariance: Of the pose, shape (6, 6).
        fle_rms: Error of its touches, RMS of the length [m]; 0 where it is not known.
        freedom: Degrees of freedom from which that was estimated; 0 for known.
        shared: How one sigma of each part of the tip's error moved the pose, shape (6, k).
    """

    patient_T_anatomy: Array
    covariance: Array
    fle_rms: float = 0.0
    freedom: int = 0
    shared: Array = field(default_factory=lambda: np.zeros((6, 3)))


@dataclass(frozen=True)
class DriftFinding:
    """What one observation says.

    Args:
        stamp_ns: Its time.
        what: Name of the landmark, or 'swab'.
        distance: How far it is from where the registration puts it [m].
        expected: σ of that distance when nothing moved, RMS of its length [m].
        chance: To see one as long when nothing moved, 0 … 1.
        evidence: Logarithm of how much likelier a drift is by now, 0 or more.
        state: The state by now.
        message: For a person.
    """

    stamp_ns: int
    what: str
    distance: float
    expected: float
    chance: float
    evidence: float
    state: DriftState
    message: str


class DriftMonitor:
    """Watches one registration; drifted is kept until another one is watched.

    Args:
        names: Of the landmarks.
        landmarks_anatomy: Their positions [m], shape (n, 3).
        config: Limits.
    """

    def __init__(self, names: tuple[str, ...], landmarks_anatomy: Array, config: DriftConfig | None = None) -> None:
        self.config = config or DriftConfig()
        self.names = names
        self._landmarks = np.asarray(landmarks_anatomy, float).reshape(-1, 3)
        self._watched: Watched | None = None
        self._centre = self._landmarks.mean(axis=0) if len(self._landmarks) else np.zeros(3)
        self.state = DriftState.OK

    def about(self, centre_anatomy: Array) -> None:
        """Let the patient turn about another point of the anatomy [m] than the middle of the landmarks."""
        self._centre = np.asarray(centre_anatomy, float)

    def watch(self, watched: Watched) -> None:
        """Watch another registration from now on."""
        self._watched = watched
        width = watched.shared.shape[1]
        freedom = watched.freedom
        own = watched.covariance - watched.shared @ watched.shared.T
        values, axes = np.linalg.eigh(0.5 * (own + own.T))
        spread = np.eye(6 + width)  # of the pose's own error and of the tip's, the latter in sigmas
        undoubted = (freedom - 2.0) / freedom if freedom > 2 else 1.0  # the tails of t hold that doubt here
        spread[:6, :6] = axes * np.maximum(values, 0.0) * undoubted @ axes.T
        self._tails = float(min(freedom, self.config.tails) if freedom else self.config.tails)
        self._still = Story(np.zeros(6 + width), spread)
        self._moved: list[Story] = []
        self._move = np.zeros_like(spread)
        motion = np.diag([self.config.shift**2] * 3 + [self.config.turn**2] * 3)
        self._move[:6, :6] = covariance_about(self._centre, watched.patient_T_anatomy, motion)
        self._surprises: list[str] = []
        self.state = DriftState.OK

    @property
    def watching(self) -> bool:
        """Whether there is a registration to watch."""
        return self._watched is not None

    def stop(self) -> None:
        """Watch nothing."""
        self._watched = None

    def nearest(self, position_patient: Array) -> int | None:
        """Return the landmark that a touched point (3,) [m] means, or None when it is on none, or on two."""
        if self._watched is None or len(self._landmarks) == 0:
            return None
        expected = transform_points(self._watched.patient_T_anatomy, self._landmarks)
        distances = np.linalg.norm(expected - position_patient, axis=1)
        order = np.argsort(distances)
        if distances[order[0]] > self.config.reach:
            return None
        if len(order) > 1 and distances[order[1]] < 2.0 * distances[order[0]]:
            return None
        return int(order[0])

    def touch(
        self, stamp_ns: int, landmark: int, position_patient: Array, tip_error: Array | None = None
    ) -> DriftFinding:
        """Take a landmark that was touched again.

        Args:
            stamp_ns: When.
            landmark: Its index.
            position_patient: Where the tip was [m], shape (3,).
            tip_error: Columns are one sigma of each part of the tip's error in patient axes [m], shape (3, k).

        Raises:
            InputError: NaN, or no registration is watched.
        """
        watched = self._needed()
        position = np.asarray(position_patient, float)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise InputError('a touched landmark must be three finite numbers [m]', code='NOT_FINITE')
        point = self._landmarks[landmark][None]
        gap = position - transform_points(watched.patient_T_anatomy, point)[0]
        jacobian = point_jacobians(watched.patient_T_anatomy, point)[0]
        noise = np.eye(3) * max(watched.fle_rms, self.config.touch_sigma) ** 2 / 3.0
        return self._take(stamp_ns, self.names[landmark], gap, jacobian, noise, tip_error, watched)

    def swab(
        self, stamp_ns: int, points_patient: Array, target: 'SurfaceTarget', tip_errors: Array | None = None
    ) -> DriftFinding:
        """Take a new swab of the surface.

        Raises:
            InputError: NaN, or no registration is watched.
            DegenerateGeometryError: Too few of the points lie near the surface to tell.
        """
        from twin_nodes.core.registration.drift_swab import observe_swab

        watched = self._needed()
        seen = observe_swab(
            points_patient, target, watched.patient_T_anatomy, tip_errors, reach=self.config.reach,
            surface_sigma=self.config.surface_sigma,
        )  # fmt: skip
        return self._take(stamp_ns, 'swab', seen.gap, seen.jacobian, seen.noise, seen.tip, watched)

    def _needed(self) -> Watched:
        if self._watched is None:
            raise InputError('no registration is watched', code='NOT_REGISTERED')
        return self._watched

    def _take(
        self, stamp_ns: int, what: str, gap: Array, jacobian: Array, noise: Array, tip: Array | None, watched: Watched
    ) -> DriftFinding:
        """Foretell under either story, compare, and learn the constant errors."""
        width = watched.shared.shape[1]
        moved = np.zeros((len(gap), width))
        if tip is not None:
            moved[:, : tip.shape[1]] = tip
        design = np.hstack([jacobian, moved - jacobian @ watched.shared])
        self._moved = [*self._moved, Story(self._still.mean, self._still.spread + self._move)][-MAX_MOVES:]
        still = self._still.foretold(gap, design, noise)
        chance = self._chance(*still)
        likelihood = self._log_density(*still)
        for story in self._moved:
            gained = self._log_density(*story.foretold(gap, design, noise)) - likelihood
            story.evidence += gained
            story.strongest = max(story.strongest, gained)
            story.learn(gap, design, noise, self._tails)
        self._still.learn(gap, design, noise, self._tails)
        self._moved = [story for story in self._moved if story.evidence > _FORGOTTEN]
        distance, expected = float(np.linalg.norm(gap)), float(np.sqrt(np.trace(still[1])))
        return self._say(stamp_ns, what, distance, expected, chance)

    def _say(self, stamp_ns: int, what: str, distance: float, expected: float, chance: float) -> DriftFinding:
        limits = self.config
        evidence = max((story.evidence for story in self._moved), default=0.0)
        proven = any(
            story.evidence > limits.drifted and story.evidence - story.strongest > limits.second
            for story in self._moved
        )
        said = f'{what} {1e3 * distance:.2f} mm from where the registration puts it (σ {1e3 * expected:.2f} mm)'
        self._surprises = [*self._surprises, f'{what} {1e3 * distance:.2f} mm'][-4:]
        if proven or self.state is DriftState.DRIFTED:
            self.state = DriftState.DRIFTED
            said += f'; the registration has drifted ({", ".join(self._surprises)}): register anew'
        elif evidence > limits.suspect:
            self.state = DriftState.SUSPECT
            said += f', chance {chance:.1g}: touch another landmark to tell a slip from a drift'
        else:
            self.state = DriftState.OK
        return DriftFinding(stamp_ns, what, distance, expected, chance, max(evidence, 0.0), self.state, said)

    def _log_density(self, innovation: Array, covariance: Array) -> float:
        """Return the logarithm of the density of Student's t, without what all stories have in common."""
        square = float(innovation @ np.linalg.solve(covariance, innovation))
        grown = 0.5 * (self._tails + len(innovation)) * np.log1p(square / self._tails)
        return float(-0.5 * np.linalg.slogdet(covariance)[1] - grown)

    def _chance(self, innovation: Array, covariance: Array) -> float:
        """Return the chance of an innovation as long, by F."""
        from scipy.special import fdtrc

        square, size = float(innovation @ np.linalg.solve(covariance, innovation)), len(innovation)
        return float(fdtrc(size, self._tails, square / size))
