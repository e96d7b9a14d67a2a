"""A whole registration as it happens: landmarks, then a swab of the surface, then the watch for drift.

Landmarks are touched in any order and give a registration. A swab that is begun and ended by hand refines it, or gives
one by itself. From then on nothing changes by itself: landmarks touched again and further swabs are held against the
registration, and what they say is told.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.calibration.dwell import DwellDetector
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.drift import DriftConfig, DriftFinding, DriftMonitor, Watched
from twin_nodes.core.registration.session import LandmarkSession, SessionUpdate
from twin_nodes.core.registration.swab import SwabCloud
from twin_nodes.core.registration.swab_config import SwabSessionConfig
from twin_nodes.core.registration.tip_share import TouchedPoints

if TYPE_CHECKING:  # compiled kernels, which landmarks alone do not need
    from twin_nodes.core.registration.combined import SwabResult
    from twin_nodes.core.registration.surface_target import SurfaceTarget


@dataclass(frozen=True, eq=False)
class SwabUpdate:
    """How the registration stands after a swab, or while it runs.

    Args:
        stamp_ns: Of the newest point.
        points: Points of the swab.
        result: The registration, or None while none can be given.
        message: For a person.
        provisional: Whether the swab is still running.
    """

    stamp_ns: int
    points: int
    result: 'SwabResult | None'
    message: str
    provisional: bool

    @property
    def usable(self) -> bool:
        """Whether there is a registration that may be used."""
        return self.result is not None and self.result.verdict is not Verdict.REFUSE


Update = SessionUpdate | SwabUpdate | DriftFinding


class Procedure:
    """Connects a landmark session, swabs and the watch for drift; it is told the tip, sample by sample.

    Args:
        session: The landmarks, or None where only the surface is used.
        swab: How swabs are collected and judged.
        drift: When a registration is called drifted.
    """

    def __init__(
        self, session: LandmarkSession | None, swab: SwabSessionConfig | None = None, drift: DriftConfig | None = None
    ) -> None:
        self.session = session
        self.swab = swab or SwabSessionConfig()
        self.cloud = SwabCloud(self.swab.collect)
        names, landmarks = (session.names, session.landmarks) if session is not None else ((), np.empty((0, 3)))
        self.monitor = DriftMonitor(names, landmarks, drift)
        self._dwells = DwellDetector(session.config.dwell) if session is not None else None
        self.target: SurfaceTarget | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew; the surface stays."""
        if self.session is not None:
            self.session.reset()
        if self._dwells is not None:
            self._dwells.reset()
        self.cloud.reset()
        self.monitor.stop()
        self.swabbing = False
        self.swabbed = False
        self._newest_ns = 0
        self._looked = 0
        self._tip_error: Array | None = None
        self._landmarks: SessionUpdate | None = None

    def set_target(self, target: 'SurfaceTarget') -> None:
        """Take the surface that is swabbed."""
        self.target = target
        if self.session is None:
            self.monitor.about(target.surface.vertices.mean(axis=0))

    def watch(self, watched: Watched, *, swabbed: bool) -> None:
        """Watch a registration that is known beforehand; a further swab is a check of it when it was swabbed itself."""
        self.swabbed = swabbed
        self.monitor.watch(watched)

    @property
    def watching(self) -> bool:
        """Whether a registration stands and is watched for drift."""
        return self.monitor.watching

    def add(
        self, stamp_ns: int, tip_patient: Array, tip_error: Array | None = None, sigma: float = 0.0
    ) -> Update | None:
        """Take one tip position, and return how things stand when that changed.

        Args:
            stamp_ns: Time of measurement.
            tip_patient: Tip in the patient frame [m], shape (3,).
            tip_error: One sigma of each part of the tip's calibration error in patient axes [m], shape (3, 3).
            sigma: What the tracker says of this position, root of the trace [m].

        Raises:
            InputError: The position is not three finite numbers.
        """
        self._newest_ns = stamp_ns
        if self.swabbing:
            self.cloud.add(stamp_ns, tip_patient, tip_error, sigma)
            return self._running(stamp_ns)
        if self.watching:
            return self._touched_again(stamp_ns, tip_patient, tip_error)
        if self.session is None:
            return None
        update = self.session.add(stamp_ns, tip_patient, tip_error)
        if update is not None:
            self._landmarks = update
            if update.complete and not update.provisional:
                self._watch_landmarks(update)
        return update

    def add_cloud(self, stamp_ns: int, points_patient: Array) -> SwabUpdate | None:
        """Take surface points of another sensor (n, 3) [m] while a swab is open; None when none is."""
        if not self.swabbing:
            return None
        self._newest_ns = stamp_ns
        self.cloud.add_cloud(points_patient)
        return self._running(stamp_ns)

    def begin_swab(self) -> None:
        """Open a swab: from now on the tip is on the surface.

        Raises:
            InputError: There is no surface yet.
        """
        if self.target is None:
            raise InputError('no surface to swab: none has been received yet', code='ANATOMY_REFUSED')
        self.cloud.reset()
        self.swabbing, self._looked = True, 0

    def end_swab(self) -> SwabUpdate | DriftFinding:
        """Close the swab: it is a registration, or a check where the surface is in the registration already.

        Raises:
            InputError: No swab is open.
            DegenerateGeometryError: The check has too few points on the surface.
        """
        if not self.swabbing or self.target is None:
            raise InputError('no swab is open: begin one first', code='NOT_REGISTERED')
        self.swabbing = False
        stamp_ns = self._newest_ns
        if not len(self.cloud):
            why = self._left_out() or 'no pose of the tip came'
            raise InputError(f'nothing was swabbed ({why})', code='REGISTRATION_REFUSED')
        if self.watching and self.swabbed:
            return self.monitor.swab(stamp_ns, self.cloud.points, self.target, self.cloud.tip_errors)
        update = self._evaluate(stamp_ns, provisional=False)
        if update.usable and update.result is not None:
            self.swabbed = True
            found = update.result
            touched = self._touched()
            fle, freedom = _noise(touched.result.fle_rms, len(touched.result.names)) if touched else (0.0, 0)
            self.monitor.watch(Watched(found.patient_T_anatomy, found.covariance, fle, freedom, found.shared))
        return update

    def _running(self, stamp_ns: int) -> SwabUpdate | None:
        """Look at a running swab when it has grown, where a start makes that quick."""
        count = len(self.cloud)
        if count < max(self.swab.first_look, self.swab.growth * self._looked):
            return None
        self._looked = count
        if self.watching and self.swabbed:
            return SwabUpdate(stamp_ns, count, None, f'{count} points swabbed for a check', True)
        if self._touched() is None:
            return SwabUpdate(stamp_ns, count, None, f'{count} points swabbed', True)
        return self._evaluate(stamp_ns, provisional=True)

    def _evaluate(self, stamp_ns: int, *, provisional: bool) -> SwabUpdate:
        from twin_nodes.core.registration.combined import register_swab

        assert self.target is not None
        count = len(self.cloud)
        try:
            result = register_swab(
                self.cloud.points, self.target, touched=self._touched(), tip_errors=self.cloud.tip_errors,
                config=self.swab.register,
            )  # fmt: skip
        except (DegenerateGeometryError, InputError) as error:
            left_out = self._left_out()
            said = f'{error} (samples left out: {left_out})' if left_out else str(error)
            return SwabUpdate(stamp_ns, count, None, said, provisional)
        rms = f'{count} points on {self.target.surface.name}, RMS {1e3 * result.surface.rms:.2f} mm'
        said = '; '.join([rms, f'{result.verdict}', *result.reasons, *result.notes])
        return SwabUpdate(stamp_ns, count, result, said, provisional)

    def _left_out(self) -> str:
        return ', '.join(f'{count} {reason}' for reason, count in self.cloud.left_out.items())

    def _touched(self) -> TouchedPoints | None:
        update = self._landmarks
        return None if update is None or update.result is None else TouchedPoints(update.result, update.shared)

    def _watch_landmarks(self, update: SessionUpdate) -> None:
        result = update.result
        assert result is not None
        fle, freedom = _noise(result.fle_rms, len(result.names))
        self.monitor.watch(Watched(result.patient_T_anatomy, result.covariance, fle, freedom, update.shared))

    def _touched_again(self, stamp_ns: int, tip_patient: Array, tip_error: Array | None) -> DriftFinding | None:
        """Notice a dwell on a landmark after the registration; the place counts once the tip has left it."""
        if self._dwells is None:
            return None
        dwell = self._dwells.add(stamp_ns, tip_patient)
        if dwell is None:
            if self._dwells.samples and tip_error is not None:
                self._tip_error = tip_error
            return None
        landmark = self.monitor.nearest(dwell.position_patient)
        if landmark is None:
            return None
        return self.monitor.touch(stamp_ns, landmark, dwell.position_patient, self._tip_error)


def _noise(fle_rms: float, fiducials: int) -> tuple[float, int]:
    """Return the error of a touch [m] and the degrees of freedom that it was estimated from."""
    return fle_rms, max(3 * fiducials - 6, 1)
