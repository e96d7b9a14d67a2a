"""Follows the deformation of an organ frame by frame: where each node is, with its σ, and the hidden targets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import Solution
from twin_nodes.core.anatomy.nonrigid import faults
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import Fitter, State
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints, Tracked
from twin_nodes.core.anatomy.nonrigid.posterior import Posterior, make_posterior
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.targets import MaterialPoints, attach
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.geometry.se3 import Array, check_transform, inverse, transform_points
from twin_nodes.core.registration.surface_target import SurfaceTarget


@dataclass(frozen=True, eq=False)
class Deformation:
    """Where an organ is at one instant, and how sure that is.

    Args:
        patient_T_anatomy: Pose of its rigid part, shape (4, 4).
        positions_patient: Of each node [m], shape (n, 3).
        displacement: Of each node in the anatomy from where the rigid registration at the start puts it [m], (n, 3).
        sigma: Root of the trace of the covariance of each node [m], shape (n,).
        targets_patient: Hidden targets [m], shape (t, 3).
        target_covariances: Of these in the patient frame [m²], shape (t, 3, 3).
        volume_change: As a share of the volume.
        inlier_share: Share of the points that lie on the organ.
        rms: Root mean square residual of these [m].
        amplitude: Estimated size of this deformation over what is expected beforehand.
        iterations: Steps made.
        is_converged: Whether the last step was short, and the inside in balance where it is solved.
        interior: The hyperelastic solution with the outside held, where it is solved.
        verdict: ACCEPT, WARN or REFUSE; of the last, nothing may be used.
        reasons: Why it is not ACCEPT, one sentence each.
        posterior: For the covariance of further points.
    """

    patient_T_anatomy: Array
    positions_patient: Array
    displacement: Array
    sigma: Array
    targets_patient: Array
    target_covariances: Array
    volume_change: float
    inlier_share: float
    rms: float
    amplitude: float
    iterations: int
    is_converged: bool
    interior: Solution | None
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    posterior: Posterior | None = field(default=None, repr=False)


class DeformationTracker:
    """Finds the deformation of each frame, starting from the last good one.

    Args:
        compliance: The organ, prepared.
        targets_anatomy: Hidden targets at rest [m], shape (t, 3).
        config: How.
        surface: The organ's surface, for the reason of a refusal; that of the mesh when not given.
    """

    def __init__(
        self,
        compliance: Compliance,
        targets_anatomy: ArrayLike = (),
        config: NonrigidConfig | None = None,
        *,
        surface: Surface | None = None,
    ) -> None:
        self.config = config if config is not None else NonrigidConfig()
        self.compliance = compliance
        points = np.asarray(targets_anatomy, np.float64).reshape(-1, 3)
        self.targets: MaterialPoints = attach(compliance.model.mesh, points)
        self._fitter = Fitter(compliance, self.config)
        self._surface = surface
        self._prepared: SurfaceTarget | None = None
        self._last: State | None = None
        self._live: LiveSolver | None = None

    def close(self) -> None:
        """End the background thread of the inside's solver."""
        if self._live is not None:
            self._live.close()
        self._live = None

    def __enter__(self) -> DeformationTracker:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the background thread."""
        self.close()

    def reset(self) -> None:
        """Forget the last frame, as when time jumps back or the organ was registered anew."""
        self._last = None
        self.close()

    def update(
        self, patient_T_anatomy: Array, seen: SurfacePoints, tracked: Tracked | None = None, *, explain: bool = False
    ) -> Deformation:
        """Find the deformation of a frame.

        Args:
            patient_T_anatomy: The rigid registration, shape (4, 4), off by some 10 mm and 5°.
            seen: Points on the surface.
            tracked: Points of the tissue whose places are measured.
            explain: Whether a refusal is looked into (mirrored, another scale); takes seconds the first time.

        Returns:
            The deformation; with verdict REFUSE the last good state stays the start of the next frame.

        Raises:
            InputError: no pose, NaN, or a cloud of another unit.
            DegenerateGeometryError: DEFORMATION_REFUSED for too few points.
        """
        start = check_transform(patient_T_anatomy, name='patient_T_anatomy')
        held = tracked if tracked is not None else Tracked()
        faults.check_observations(seen, held, self.compliance, self.config)
        state = self._fitter.fit(self._start(start, len(seen)), start, seen, held)
        result = self._result(state, start, seen)
        if result.verdict is Verdict.REFUSE:
            if self._last is not None:  # it may be the last frame that leads astray
                state = self._fitter.fit(State(start.copy(), np.zeros(self.compliance.count)), start, seen, held)
                result = self._result(state, start, seen)
            if result.verdict is Verdict.REFUSE:
                return self._explained(result, start, seen) if explain else result
        self._last = state
        return result

    def _start(self, start: Array, count: int) -> State:
        last = self._last
        if last is None:
            return State(start.copy(), np.zeros(self.compliance.count))
        seeds = last.seeds if len(last.seeds) == count else last.seeds[:0]
        return State(
            last.patient_T_anatomy, last.amounts, last.amplitude, seeds.copy(), expected=last.expected,
            scales=last.scales,
        )  # fmt: skip

    def _result(self, state: State, start: Array, seen: SurfacePoints) -> Deformation:
        compliance, config = self.compliance, self.config
        posterior = make_posterior(compliance, config, state)
        moved = posterior.deformed
        fit = faults.fitness(state, seen)
        volume = _volume_change(compliance, moved)
        verdict, reasons = faults.judge(fit, state, moved, volume, compliance, config)
        converged, interior = state.step <= 4.0 * config.tolerance, None
        if config.interior and verdict is not Verdict.REFUSE:
            interior = self._solve_interior(moved)
            moved = interior.displacement
            converged = converged and interior.is_converged
            volume = interior.volume_change
        if not converged and verdict is not Verdict.REFUSE:
            verdict = Verdict.WARN
            reasons = [*reasons, f'no convergence: the last of {state.steps} steps was {1e3 * state.step:.3g} mm']
        places = compliance.model.rest + moved
        positions = transform_points(state.patient_T_anatomy, places)
        return Deformation(
            state.patient_T_anatomy, positions, transform_points(inverse(start), positions) - compliance.model.rest,
            posterior.node_sigma(), self.targets.at(positions), posterior.covariances(self.targets), volume,
            fit.inlier_share, fit.rms, state.amplitude, state.steps, converged, interior, verdict, tuple(reasons),
            posterior,
        )  # fmt: skip

    def _solve_interior(self, moved: Array) -> Solution:
        """Hold the outside where it was found and let the hyperelastic inside come to rest."""
        compliance = self.compliance
        if self._live is None:
            self._live = LiveSolver(compliance.model, LiveConfig(refactor=False, tolerance=3e-3, foresight=0))
        outer = compliance.outer
        return self._live.update(Loads(held=outer, held_at=compliance.model.rest[outer] + moved[outer]))

    def _explained(self, result: Deformation, start: Array, seen: SurfacePoints) -> Deformation:
        if self._prepared is None:
            surface = self._surface or self.compliance.model.mesh.surface('organ')
            self._prepared = SurfaceTarget.from_surface(surface, spacing=max(0.002, surface.diagonal / 100.0))
        cause = faults.explain(seen, start, self._prepared)
        if not cause:
            return result
        return replace(result, reasons=(*result.reasons, cause))


def _volume_change(compliance: Compliance, moved: Array) -> float:
    model = compliance.model
    ratios = model.volume_ratios(np.ascontiguousarray(model.rest + moved))
    return float(ratios @ model.volume / model.volume.sum() - 1.0)
