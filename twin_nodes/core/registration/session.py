"""A registration while it happens: the tip is followed, dwells are assigned to landmarks, the pose gets better."""

from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.calibration.dwell import Dwell, DwellConfig, DwellDetector
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.fiducial_exclusion import ExclusionConfig, register_excluding
from twin_nodes.core.registration.landmark_matching import LandmarkMatch, match_landmarks
from twin_nodes.core.registration.paired_points import (
    PairedPointConfig,
    PairedPointResult,
    Verdict,
)
from twin_nodes.core.registration.tip_share import tip_in_points

MAX_DWELLS = 64


@dataclass(frozen=True)
class LandmarkSessionConfig:
    """Settings of a registration by touched landmarks."""

    dwell: DwellConfig = group(DwellConfig)
    quality: PairedPointConfig = group(PairedPointConfig)
    exclusion: ExclusionConfig = group(ExclusionConfig)
    tolerance: float = setting(
        'A dwell farther than this from its landmark is on none.', 0.003, unit='m', minimum=1e-5, maximum=0.05
    )
    ordered: bool = setting('Whether the order of touching may tell look-alike layouts apart.', True)
    minimum: int = setting('Landmarks needed before a registration is given.', 4, minimum=3)
    growth: float = setting(
        'A running dwell is looked at again when it has grown by this factor.', 1.5, minimum=1.05, maximum=10.0
    )


@dataclass(frozen=True, eq=False)
class SessionUpdate:
    """How the registration stands.

    Args:
        stamp_ns: Stamp of the sample that brought it here.
        match: Which dwell was on which landmark.
        found: Names of the landmarks touched.
        result: The registration; None while there are too few landmarks or none can be given.
        message: What was found and what to do next, for a person.
        provisional: Whether a dwell that is still running takes part.
        shared: How one sigma of each part of the tip's error moves the registration, shape (6, k).
    """

    stamp_ns: int
    match: LandmarkMatch
    found: tuple[str, ...]
    result: PairedPointResult | None
    message: str
    provisional: bool = False
    shared: Array = field(default_factory=lambda: np.zeros((6, 3)))

    @property
    def complete(self) -> bool:
        """Whether all landmarks were touched, none had to be left out, and the registration may be used."""
        return self.final and self.result is not None and not self.result.excluded

    @property
    def final(self) -> bool:
        """Whether all landmarks were touched and the registration may be used; one left out may be touched again."""
        return self.usable and not self.match.missing

    @property
    def usable(self) -> bool:
        """Whether there is a registration that may be used."""
        return self.result is not None and self.result.verdict is not Verdict.REFUSE


class LandmarkSession:
    """Takes tip positions, gives an update whenever a dwell adds something.

    Args:
        names: Of the landmarks, in the order in which they are to be touched.
        landmarks_anatomy: Their positions in the anatomy [m], shape (n, 3).
        config: Limits.

    Raises:
        ConfigError: Fewer than three landmarks, names that do not fit, or a minimum above their number.
    """

    def __init__(self, names: tuple[str, ...], landmarks_anatomy: Array, config: LandmarkSessionConfig) -> None:
        self.names = names
        self._landmarks = np.asarray(landmarks_anatomy, float).reshape(-1, 3)
        if len(names) != len(self._landmarks) or len(names) < 3:
            raise ConfigError(f'{len(names)} names and {len(self._landmarks)} positions: give at least 3 landmarks')
        if config.minimum > len(names):
            raise ConfigError(f'minimum={config.minimum} landmarks is above their number, {len(names)}')
        self.config = self._config = config
        self._detector = DwellDetector(config.dwell)
        self.reset()

    def reset(self) -> None:
        """Start again with no landmark touched."""
        self._detector.reset()
        self._dwells: list[Dwell] = []
        self._tip_errors: list[Array] = []  # one per dwell
        self._tip_error = np.zeros((3, 3))
        self._looked_samples = 0

    @property
    def landmarks(self) -> Array:
        """Positions of the landmarks in the anatomy [m], shape (n, 3)."""
        return self._landmarks

    @property
    def dwells(self) -> tuple[Dwell, ...]:
        """The dwells that have ended so far."""
        return tuple(self._dwells)

    def add(self, stamp_ns: int, tip_patient: Array, tip_error: Array | None = None) -> SessionUpdate | None:
        """Take one tip position and return how things stand when that changed.

        Args:
            stamp_ns: Time of measurement.
            tip_patient: Tip in the patient frame [m], shape (3,).
            tip_error: Error of the tip's calibration in patient axes, a square root of its covariance [m], shape
                (3, 3): it is common to all dwells, so no residual shows it. None for a tip that is exact.

        Raises:
            InputError: The position is not three finite numbers.
        """
        dwell = self._detector.add(stamp_ns, tip_patient)
        if dwell is not None:
            self._looked_samples = 0
            self._dwells = [*self._dwells, dwell][-MAX_DWELLS:]
            self._tip_errors = [*self._tip_errors, self._tip_error][-MAX_DWELLS:]
            return self._evaluate(stamp_ns, self._dwells)
        samples = self._detector.samples
        if samples and tip_error is not None:
            self._tip_error = tip_error
        if not samples or samples < self._config.growth * self._looked_samples:
            return None
        running = self._detector.current
        if running is None:
            return None
        self._looked_samples = samples
        return self._evaluate(stamp_ns, [*self._dwells, running])

    def finish(self, stamp_ns: int) -> SessionUpdate | None:
        """End the stream: a dwell that is still running counts if it is long enough."""
        dwell = self._detector.finish()
        if dwell is None:
            return None
        self._dwells.append(dwell)
        self._tip_errors.append(self._tip_error)
        return self._evaluate(stamp_ns, self._dwells)

    def _evaluate(self, stamp_ns: int, dwells: list[Dwell]) -> SessionUpdate:
        positions = np.array([dwell.position_patient for dwell in dwells]).reshape(-1, 3)
        match = match_landmarks(
            positions, self._landmarks, self.names, tolerance=self._config.tolerance, ordered=self._config.ordered
        )
        found = tuple(self.names[landmark] for _, landmark in match.pairs)
        provisional = any(dwell >= len(self._dwells) for dwell, _ in match.pairs)
        if not match.decided or len(match.pairs) < self._config.minimum:
            return SessionUpdate(stamp_ns, match, found, None, match.message, provisional)
        dwell_rows = [dwell for dwell, _ in match.pairs]
        landmark_rows = [landmark for _, landmark in match.pairs]
        shared = np.array([*self._tip_errors, self._tip_error])[dwell_rows]
        try:
            result = register_excluding(
                positions[dwell_rows],
                self._landmarks[landmark_rows],
                names=found,
                common=shared,
                config=self._config.quality,
                exclusion=self._config.exclusion,
            )
        except DegenerateGeometryError as error:
            return SessionUpdate(stamp_ns, match, found, None, str(error), provisional)
        said = f'{len(found)} of {len(self.names)} landmarks, FRE {result.fre_rms * 1e3:.2f} mm'
        said = '; '.join([said, *result.reasons])
        if match.missing:
            said += f'; missing: {", ".join(match.missing)}'
        kept = [found.index(name) for name in result.names]
        moved = tip_in_points(result.patient_T_anatomy, result.points_anatomy, shared[kept])
        return SessionUpdate(stamp_ns, match, found, result, said, provisional, moved)
