"""The equation A X = Z B of poses: its residuals, their Jacobians and its maximum-likelihood solution.

A = base_T_hand and B = target_T_eye are measured; X = hand_T_eye and Z = base_T_target are sought, and so is, for two
streams, the offset of the second clock. The residual is the pose E = (A X)⁻¹ Z B in the axes of the eye. Each equation
holds twelve noisy numbers and says six things, so integrating over the true poses leaves, to first order, weighted
least squares on E whose weight is the covariance of both noises carried to the eye (as in Strobl and Hirzinger 2006,
"Optimal hand-eye calibration", IROS). That covariance is estimated together with the unknowns, all of it: a lever
between hand and eye, or a camera that looks at a far target, couples positions and rotations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.temporal_stream import Mask
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation, rotation_exp, rotation_log
from twin_nodes.core.geometry.se3 import skew as cross_matrix

REFUSED = 'CALIBRATION_REFUSED'
X, Z, OFFSET = slice(0, 6), slice(6, 12), 12
PARAMETERS = 13


@dataclass(frozen=True, eq=False)
class Ties:
    """The unknowns.

    Args:
        hand_T_eye: X [m], shape (4, 4).
        base_T_target: Z [m], shape (4, 4).
        shift: What is still to be added to the second clock [s].
    """

    hand_T_eye: Array
    base_T_target: Array
    shift: float = 0.0

    def moved(self, step: Array) -> 'Ties':
        """Apply a step (13,) = (δp, δφ of X, δp, δφ of Z, δ of the shift), each in the axes of the parent."""
        return Ties(_moved(self.hand_T_eye, step[X]), _moved(self.base_T_target, step[Z]), self.shift + step[OFFSET])


def _moved(pose: Array, step: Array) -> Array:
    rotation = nearest_rotation(rotation_exp(step[3:]) @ pose[:3, :3])
    return make_transform(rotation, pose[:3, 3] + step[:3])


def residuals(ties: Ties, base_T_hand: Array, target_T_eye: Array) -> Array:
    """Return the residuals (n, 6) = (position [m], rotation [rad]) of E, in the axes of the predicted eye."""
    error = inverse(base_T_hand @ ties.hand_T_eye) @ (ties.base_T_target @ target_T_eye)
    return np.asarray(np.concatenate([error[:, :3, 3], rotation_log(error[:, :3, :3])], axis=1))


def jacobian(ties: Ties, base_T_hand: Array, errors: Array, twists: Array | None) -> Array:
    """Return the derivative (n, 6, 13) of the residuals by the step of `Ties.moved`.

    Args:
        ties: Where.
        base_T_hand: A, shape (n, 4, 4).
        errors: The residuals there, shape (n, 6).
        twists: Velocity of the eye in its own axes, shape (n, 6); None when the clocks are known to agree.
    """
    count = len(errors)
    base_T_eye = base_T_hand @ ties.hand_T_eye
    eye_R_base = np.swapaxes(base_T_eye[:, :3, :3], 1, 2)
    # Every step moves E from the left, E ← exp(η) E; `left` is dη.
    left = np.zeros((count, 6, PARAMETERS))
    eye_R_hand = ties.hand_T_eye[:3, :3].T
    left[:, :3, 0:3] = -eye_R_hand
    left[:, 3:, 3:6] = -eye_R_hand
    lever = ties.base_T_target[:3, 3] - base_T_eye[:, :3, 3]
    left[:, :3, 6:9] = eye_R_base
    left[:, :3, 9:12] = eye_R_base @ cross_matrix(lever)
    left[:, 3:, 9:12] = eye_R_base
    if twists is not None:
        left[:, :, OFFSET] = -twists
    outer = np.zeros((count, 6, 6))
    outer[:, :3, :3] = np.eye(3)
    outer[:, :3, 3:] = -cross_matrix(errors[:, :3])
    outer[:, 3:, 3:] = _inverse_left_jacobian(errors[:, 3:])
    return np.asarray(outer @ left)


def _inverse_left_jacobian(rotation_vectors: Array) -> Array:
    """Inverse left Jacobian of SO(3) (n, 3, 3); Barfoot 2017, eq. 7.77."""
    angle = np.linalg.norm(rotation_vectors, axis=-1)[:, None, None]
    half = 0.5 * np.where(angle < 1e-4, 1.0, angle)
    factor = np.where(angle < 1e-4, 1.0 / 12.0, (1.0 - half / np.tan(half)) / (4.0 * half * half))
    hat = cross_matrix(rotation_vectors)
    return np.asarray(np.eye(3) - 0.5 * hat + factor * (hat @ hat))


@dataclass(frozen=True, eq=False)
class Selection:
    """Which residuals are used and which unknowns are sought.

    Args:
        rows: Of the six residuals.
        columns: Of the thirteen unknowns.
        tied: Whether Z is X, as for the relative motions of A X = X B.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    tied: bool = False


def select(*, position: bool, rotation: bool, offset: bool) -> Selection:
    """Choose what is used: poses, or rotations alone, or positions alone (X is then the identity and not sought)."""
    rows = [*range(3)] * position + [*range(3, 6)] * rotation
    columns = [*range(12)] if position and rotation else [3, 4, 5, 9, 10, 11] if rotation else [*range(6, 12)]
    return Selection(np.array(rows), np.array(columns + [OFFSET] * offset))


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """The weighted problem around a point: information (p, p), and its score (p,) by sample (n, p)."""

    information: Array
    scores: Array


def normal_equations(errors: Array, derivative: Array, weights: Array, keep: Mask) -> NormalEquations:
    """Build the normal equations of the samples kept; errors (n, r), derivative (n, r, p), weights (n, r, r)."""
    weighted = np.einsum('nrp,nrs->nps', derivative[keep], weights[keep])
    information = np.einsum('nps,nsq->pq', weighted, derivative[keep])
    scores = -np.einsum('nps,ns->np', weighted, errors[keep])
    return NormalEquations(information, scores)


def solve_normal(equations: NormalEquations, *, rcond: float) -> tuple[Array, Array]:
    """Return the step (p,) and the covariance (p, p); directions that the data leave open do not move.

    Raises:
        DegenerateGeometryError: Nothing is determined.
    """
    scale = np.sqrt(np.maximum(np.diag(equations.information), 1e-300))
    values, vectors = np.linalg.eigh(equations.information / np.outer(scale, scale))
    if not np.isfinite(values).all() or values[-1] <= 0.0:
        raise DegenerateGeometryError('the motion carries no information about the ties', code=REFUSED)
    open_ = values < rcond * values[-1]
    inverted = np.where(open_, 0.0, 1.0 / np.where(open_, 1.0, values))
    covariance = (vectors * inverted) @ vectors.T / np.outer(scale, scale)
    return covariance @ equations.scores.sum(axis=0), covariance


def inflated_by_memory(equations: NormalEquations, covariance: Array, columns: NDArray[np.intp]) -> Array:
    """Return the covariance (p, p) of the unknowns with the errors that neighbouring samples share taken into account.

    Interpolated samples share their neighbours, trackers smooth, and systematic errors last as long as a pose does. For
    each group of unknowns (position and rotation of X and of Z, the offset) the variance grows by the sum of the
    autocorrelations of its influence, as long as pairs of them are above chance (after the initial positive sequence of
    Geyer 1992, "Practical Markov chain Monte Carlo"). It never shrinks.

    Args:
        equations: At the solution, in the order of time.
        covariance: Inverse information, shape (p, p).
        columns: Which unknowns these are.
    """
    influence = equations.scores @ covariance / np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    spectrum = np.abs(np.fft.rfft(influence, 2 * len(influence), axis=0)) ** 2
    products = np.fft.irfft(spectrum, axis=0)[: max(len(influence) // 4, 2)]
    growth = np.ones(len(columns))
    for name in np.unique(columns // 3):
        group = columns // 3 == name
        correlations = products[:, group].sum(axis=1)
        correlations = correlations[1:] / max(float(correlations[0]), 1e-300)
        pairs = correlations[: len(correlations) // 2 * 2].reshape(-1, 2).sum(axis=1)
        chance = np.sqrt(2.0 / (group.sum() * len(influence)))  # standard deviation of a pair without memory
        ends = np.nonzero(pairs <= chance)[0]
        end = int(ends[0]) if len(ends) else len(pairs)
        growth[group] = np.sqrt(1.0 + 2.0 * float(pairs[:end].sum()))
    return np.asarray(covariance * np.outer(growth, growth))


def is_settled(step: Array, covariance: Array, share: float) -> bool:
    """Whether a step is below a share of the uncertainty."""
    sigma = np.sqrt(np.maximum(np.diag(covariance), 1e-30))
    return bool((np.abs(step) < share * sigma + 1e-11).all())
