"""Gauss–Newton for pose and deformation at once, from points whose correspondence is found anew at each step.

Unknowns are a shift and a turn of the organ (about its centre of mass, in the anatomy) and the amounts z of the modes.
What is made least is Σ w r²/σ² + |z|²/τ² + that of the pose; τ, the amplitude of this very deformation, is estimated
with them (MacKay 1992, equation 4.10, with a prior of its own), and so is the scale of the load at each place
(`load_scales`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrs

from twin_nodes.core.anatomy.nonrigid import nearest_kernels, row_kernels
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.linear import Linear
from twin_nodes.core.anatomy.nonrigid.load_scales import factor_of, inverse_of, precision_of, scales_given
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints, Tracked
from twin_nodes.core.anatomy.nonrigid.seen_part import motion_of_part, motions, outer_area
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, transform_points
from twin_nodes.core.geometry.se3_scalars import exp_of, log_of

_EVERY = 2  # steps the scales of the loads are estimated anew
_TURNED = -0.5  # cosine between steps


@dataclass(eq=False)
class State:
    """Where the organ is.

    Args:
        patient_T_anatomy: Pose of its rigid part, shape (4, 4).
        amounts: Of the modes, shape (r,).
        amplitude: Their estimated standard deviation τ.
        seeds: Triangle of each point, shape (n,); empty when not known.
        sigma: Spread of the residuals [m].
        step: Size of the last step [m].
        steps: Number of steps.
        information: Of pose and amounts with that of the prior, shape (6 + r, 6 + r).
        residuals: Of all points along the normal [m], shape (n,).
        weights: Of all points over what each deserves by its noise, 0 … 1, shape (n,).
        precision: Of the amounts at amplitude 1, by the scales of the loads, shape (r, r).
        expected: Scale of the load at each place by what is seen to be free of loads, shape (p,).
        scales: The estimated one, shape (p,); empty when not known.
        held: Information of pose and amounts by the rigid registration, shape (6 + r, 6 + r).
    """

    patient_T_anatomy: Array
    amounts: Array
    amplitude: float = 1.0
    seeds: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    sigma: float = np.inf
    step: float = np.inf
    steps: int = 0
    information: Array = field(default_factory=lambda: np.zeros((0, 0)))
    residuals: Array = field(default_factory=lambda: np.zeros(0))
    weights: Array = field(default_factory=lambda: np.zeros(0))
    precision: Array = field(default_factory=lambda: np.zeros((0, 0)))
    expected: Array = field(default_factory=lambda: np.zeros(0))
    scales: Array = field(default_factory=lambda: np.zeros(0))
    held: Array = field(default_factory=lambda: np.zeros((0, 0)))


class Fitter:
    """Fits frames of one organ; holds what does not change between them.

    Args:
        compliance: The organ.
        config: How.
    """

    def __init__(self, compliance: Compliance, config: NonrigidConfig) -> None:
        self.compliance, self.config = compliance, config
        self.rest = np.ascontiguousarray(compliance.model.rest[compliance.outer])
        modes = compliance.modes[compliance.outer]
        flat = modes.reshape(-1, compliance.count)
        self._gram = flat.T @ flat / len(self.rest)
        self.modes = np.ascontiguousarray(modes, np.float32)  # to 1e-9 m
        self._flat = self.modes.reshape(-1, compliance.count)
        self._face_of = nearest_kernels.face_of_vertex(compliance.faces, len(self.rest))
        self._normals = np.empty_like(self.rest)
        self._area = outer_area(compliance)

    def vertices(self, amounts: Array) -> Array:
        """Return where the outer nodes are in the anatomy [m], shape (b, 3)."""
        return np.asarray(self.rest + (self._flat @ amounts.astype(np.float32)).reshape(-1, 3))

    def fit(self, state: State, start: Array, seen: SurfacePoints, tracked: Tracked) -> State:
        """Bring the organ to what is seen.

        Args:
            state: Where to start from; changed.
            start: patient_T_anatomy of the rigid registration, where the prior of the pose lies, shape (4, 4).
            seen: Points on the surface.
            tracked: Points whose correspondence is known.
        """
        config = self.config
        self._look(state, seen, tracked)
        stride = max(1, len(seen) // config.coarse_points)
        if stride > 1 and not len(state.seeds):
            few = SurfacePoints(
                np.ascontiguousarray(seen.points_patient[::stride]), seen.sigma[::stride] / np.sqrt(stride),
                None if seen.normals_patient is None else np.ascontiguousarray(seen.normals_patient[::stride]),
            )  # fmt: skip
            self._descend(state, start, few, tracked, config.coarse_steps, 4.0 * config.tolerance)
            state.seeds = np.zeros(0, np.int32)
        steps = config.fine_steps if stride > 1 else config.coarse_steps + config.fine_steps
        linear = self._descend(state, start, seen, tracked, steps, config.tolerance)
        # what changes the distances is as it was where the last step was short
        self._see(state, seen, linear, anew=state.step > config.tolerance)
        state.information = self._normal(state, start, linear, tracked)[0]
        state.residuals, state.weights = linear.residuals, linear.weights * linear.variance
        return state

    def _descend(
        self, state: State, start: Array, seen: SurfacePoints, tracked: Tracked, steps: int, tolerance: float
    ) -> Linear:
        linear = Linear(self._variance(seen), seen.sigma, self.compliance.count)
        before, share = np.zeros(6 + self.compliance.count), 1.0
        for _ in range(steps):
            self._see(state, seen, linear, anew=True)
            information, right = self._normal(state, start, linear, tracked)
            factor = factor_of(information)
            step = dpotrs(factor, right, lower=1)[0]
            self._amplitude(state, step, factor)
            state.step = float(np.sqrt(self._product(step, step)))
            if self._product(step, before) < _TURNED * state.step * np.sqrt(self._product(before, before)):
                share *= 0.5  # it goes to and fro
            before = step
            self._move(state, share * step)
            state.steps += 1
            if state.step <= tolerance:
                break
        return linear

    def _see(self, state: State, seen: SurfacePoints, linear: Linear, *, anew: bool) -> None:
        """Find what each point misses and deserves at a state, and where that is asked, what changes it."""
        places = np.empty((len(seen), 3))
        self._rows(state, seen, linear.residuals, linear.jacobian[: len(seen) if anew else 0], places)
        state.sigma = linear.weigh(self._usable(state, seen, places), self.config.tuning)
        if anew:
            linear.inform()

    def _look(self, state: State, seen: SurfacePoints, tracked: Tracked) -> None:
        """Find which part of the outside is seen, and what that says beforehand of pose and amounts.

        What is seen bears little, as nothing stands between it and the eye; tools do, however: around tracked points
        loads are as expected. The rigid registration was made on what is seen and holds there.
        """
        config, compliance = self.config, self.compliance
        anatomy_T_patient = inverse(state.patient_T_anatomy)
        vertices = self.vertices(state.amounts)
        bare = nearest_kernels.covered(
            vertices, transform_points(anatomy_T_patient, seen.points_patient), config.bare_reach
        )
        touched = nearest_kernels.covered(
            vertices, transform_points(anatomy_T_patient, tracked.places_patient), config.touch_reach
        )
        expected = 1.0 - (1.0 - config.bare_load) * (compliance.places @ (bare & ~touched))
        state.scales = expected * (state.scales / state.expected if len(state.scales) else 1.0)
        state.expected = expected
        state.precision = precision_of(compliance, state.scales)
        state.held = self._held(motion_of_part(compliance, self._area, bare))

    def _held(self, part: Array) -> Array:
        """Return what the rigid registration says of pose and amounts (6 + r, 6 + r).

        Args:
            part: How what is seen moves as a whole, shape (6, 6 + r); of no rows where that says nothing.
        """
        config, compliance = self.config, self.compliance
        if len(part):
            shifts, turns = config.slip_sigma**-2, (config.slip_turn_sigma * compliance.radius) ** -2
            return np.asarray(part.T @ (np.repeat([shifts, turns], 3)[:, None] * part))
        held = np.zeros((6 + compliance.count, 6 + compliance.count))
        held[[0, 1, 2], [0, 1, 2]] = config.pose_sigma**-2
        held[[3, 4, 5], [3, 4, 5]] = (config.turn_sigma * compliance.radius) ** -2
        return held

    def _variance(self, seen: SurfacePoints) -> Array:
        """Return σ² of each point with its part of the error that its neighbours share, as if it were its own."""
        crowds = np.ones(len(seen))
        if self.config.discrepancy > 0.0 and len(seen):
            nearest_kernels.crowd(seen.points_patient, self.config.discrepancy_reach, crowds)
        return np.asarray(seen.sigma**2 + self.config.discrepancy**2 * crowds)

    def _rows(
        self, state: State, seen: SurfacePoints, residuals: Array, jacobian: NDArray[np.float32], places: Array
    ) -> None:
        compliance = self.compliance
        vertices = self.vertices(state.amounts)
        points = np.ascontiguousarray(transform_points(inverse(state.patient_T_anatomy), seen.points_patient))
        if len(state.seeds) != len(points):
            found = np.empty(len(points), np.int32)
            columns = np.ascontiguousarray(vertices.T, np.float32)
            nearest_kernels.nearest_vertices(points.astype(np.float32), columns, found)
            state.seeds = self._face_of[found]
        nearest_kernels.walk(points, vertices, compliance.faces, compliance.across, state.seeds, places)
        nearest_kernels.vertex_normals(vertices, compliance.faces, self._normals)
        row_kernels.rows(
            points, vertices, self._normals, compliance.faces, self.modes, state.seeds, places, compliance.centre,
            compliance.radius, residuals, jacobian,
        )  # fmt: skip

    def _usable(self, state: State, seen: SurfacePoints, places: Array) -> NDArray[np.bool_]:
        """Return which points may be matched: those whose measured normal looks the same way."""
        if seen.normals_patient is None:
            return np.ones(len(seen), bool)
        at = self._normals[self.compliance.faces[state.seeds]]
        normals = np.einsum('pk,pki->pi', places, at)
        seen_normals = seen.normals_patient @ state.patient_T_anatomy[:3, :3]
        return np.asarray(np.sum(normals * seen_normals, axis=1) > np.cos(self.config.normal_limit))

    def _normal(self, state: State, start: Array, linear: Linear, tracked: Tracked) -> tuple[Array, Array]:
        information, right = linear.information.copy(), linear.pull()
        if len(tracked):
            rows, misses = self._tracked_rows(state, tracked)
            information += rows.T @ rows
            right += rows.T @ misses
        prior, pull = self._prior(state, start)
        return information + prior, right + pull

    def _tracked_rows(self, state: State, tracked: Tracked) -> tuple[Array, Array]:
        """Return the whitened rows (3 p, 6 + r) of tracked points and what they miss (3 p,)."""
        compliance = self.compliance
        anatomy_T_patient = inverse(state.patient_T_anatomy)
        modes = tracked.points.at(compliance.modes)
        places = tracked.points.at(compliance.model.rest) + modes @ state.amounts
        rows = np.concatenate([rigid_rows(places, compliance), modes], axis=2)
        turn = anatomy_T_patient[:3, :3]
        roots = np.linalg.inv(np.linalg.cholesky(turn @ tracked.covariances @ turn.T))
        misses = transform_points(anatomy_T_patient, tracked.places_patient) - places
        whitened = np.einsum('pij,pjk->pik', roots, rows).reshape(-1, rows.shape[2])
        return whitened, np.einsum('pij,pj->pi', roots, misses).ravel()

    def _prior(self, state: State, start: Array) -> tuple[Array, Array]:
        """Return the information of the prior (6 + r, 6 + r) and its pull at the state."""
        compliance = self.compliance
        moved = inverse(start) @ state.patient_T_anatomy
        shift = transform_points(moved, compliance.centre[None])[0] - compliance.centre
        turn = log_of(moved[:3, :3]) * compliance.radius
        prior = state.held.copy()
        prior[6:, 6:] += state.precision / state.amplitude**2
        return prior, -prior @ np.concatenate([shift, turn, state.amounts])

    def _amplitude(self, state: State, step: Array, factor: Array) -> None:
        """Estimate the loads' scales, and the amplitude: τ² = (ν + |z|²)/(ν + γ), γ the modes that are determined."""
        config, count = self.config, self.compliance.count
        inverted = inverse_of(factor[6:, 6:])  # that of the whole, below the pose: the factor is lower
        determined = count - float(np.vdot(inverted, state.precision)) / state.amplitude**2
        amounts = state.amounts + step[6:]
        size = float(amounts @ state.precision @ amounts)
        squared = (config.prior_weight + size) / (config.prior_weight + max(determined, 0.0))
        if state.steps % _EVERY == 0:
            state.scales = scales_given(
                self.compliance, state.expected, state.scales, state.precision, amounts / state.amplitude,
                inverted / state.amplitude**2, config.load_freedom,
            )  # fmt: skip
            state.precision = precision_of(self.compliance, state.scales)
        state.amplitude = float(min(np.sqrt(squared), config.max_amplitude))

    def _move(self, state: State, step: Array) -> None:
        compliance = self.compliance
        turn = exp_of(step[3:6] / compliance.radius)
        moved = make_transform(turn, compliance.centre + step[:3] - turn @ compliance.centre)
        state.patient_T_anatomy = state.patient_T_anatomy @ moved
        state.amounts = state.amounts + step[6:]

    def _product(self, step: Array, other: Array) -> float:
        """Return the product of how two steps shift, turn and bend the outside, mean over it [m²]."""
        return float(step[:6] @ other[:6] + step[6:] @ self._gram @ other[6:])


def rigid_rows(places: Array, compliance: Compliance) -> Array:
    """Return by how much places (p, 3) move by shifts and scaled turns about the centre, shape (p, 3, 6)."""
    return motions((places - compliance.centre) / compliance.radius)
