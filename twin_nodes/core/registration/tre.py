"""The target registration error (TRE): how far off a point of the anatomy is expected to be, and where.

Three ways to the same number. From the covariance of a pose, for any registration. By the formula of Fitzpatrick, West
and Maurer (1998), for fiducials of equal isotropic error, before anything was touched. By sampling: fiducials are
disturbed and registered again many times, for any error. FRE says nothing about it: the two are uncorrelated
(Fitzpatrick 2009).
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, skew, transform_points
from twin_nodes.core.registration.batch import fit_rigid_batch
from twin_nodes.core.registration.paired_points import pair_noise

_CHUNK = 2000
_STEPS = 3


@dataclass(frozen=True, eq=False)
class TargetErrors:
    """Where named targets are expected in the patient, and how sure that is.

    Args:
        names: Of the targets.
        positions_patient: Where they are [m], shape (n, 3).
        covariances: Of those positions, in patient axes [m²], shape (n, 3, 3).
    """

    names: tuple[str, ...]
    positions_patient: Array
    covariances: Array

    @property
    def rms(self) -> dict[str, float]:
        """Expected TRE [m], root mean square of its length, by name."""
        return dict(zip(self.names, np.sqrt(np.trace(self.covariances, axis1=1, axis2=2)).tolist(), strict=True))


def target_errors(
    patient_T_anatomy: Array, covariance: Array, names: tuple[str, ...], targets_anatomy: Array
) -> TargetErrors:
    """Carry named targets and their errors through a registration.

    Args:
        patient_T_anatomy: The registration, shape (4, 4).
        covariance: Of that pose, shape (6, 6).
        names: Of the targets.
        targets_anatomy: The targets [m], shape (n, 3).

    Raises:
        InputError: Names that do not fit, another shape, or NaN.
    """
    targets = _points(targets_anatomy)
    if len(names) != len(targets):
        raise InputError(f'{len(names)} names for {len(targets)} targets')
    positions = transform_points(patient_T_anatomy, targets)
    return TargetErrors(names, positions, target_covariances(patient_T_anatomy, covariance, targets))


def target_covariances(patient_T_anatomy: Array, covariance: Array, targets_anatomy: Array) -> Array:
    """Return the covariances (n, 3, 3) [m²] in the patient frame of points (n, 3) [m] of the anatomy."""
    levers = np.asarray(targets_anatomy, float) @ patient_T_anatomy[:3, :3].T
    jacobians = np.concatenate([np.broadcast_to(np.eye(3), (len(levers), 3, 3)), -skew(levers)], axis=2)
    return np.asarray(jacobians @ covariance @ np.swapaxes(jacobians, 1, 2))


def tre_field(patient_T_anatomy: Array, covariance: Array, targets_anatomy: Array) -> Array:
    """Return the expected TRE [m] at points (n, 3) [m] of the anatomy, RMS of its length, shape (n,)."""
    covariances = target_covariances(patient_T_anatomy, covariance, targets_anatomy)
    return np.asarray(np.sqrt(np.trace(covariances, axis1=1, axis2=2)))


def fitzpatrick_tre(fle_rms: float, points_anatomy: Array, targets_anatomy: Array) -> Array:
    """Return the expected TRE [m] at targets (…, 3) after Fitzpatrick, West and Maurer (1998), equation 46.

    TRE² = FLE²/n (1 + ⅓ Σ_k d_k²/f_k²): d_k distance of the target to the principal axis k of the fiducials, f_k the
    RMS distance of the fiducials to it.

    Args:
        fle_rms: Fiducial localisation error, RMS of its length [m].
        points_anatomy: The fiducials [m], shape (n, 3).
        targets_anatomy: Where to predict [m], shape (…, 3).
    """
    centre = points_anatomy.mean(axis=0)
    axes = np.linalg.svd(points_anatomy - centre, full_matrices=True)[2]
    fiducials, targets = (points_anatomy - centre) @ axes.T, (np.asarray(targets_anatomy, float) - centre) @ axes.T
    f_squared = ((fiducials**2).sum(axis=1)[:, None] - fiducials**2).mean(axis=0)
    d_squared = (targets**2).sum(axis=-1, keepdims=True) - targets**2
    ratio = (d_squared / f_squared).sum(axis=-1) / 3.0
    return np.asarray(np.sqrt(fle_rms**2 / len(points_anatomy) * (1.0 + ratio)))


def sample_tre(
    points_anatomy: Array,
    targets_anatomy: Array,
    rng: np.random.Generator,
    *,
    covariances: Array | None = None,
    fle_rms: float | None = None,
    weighted: bool = True,
    trials: int = 10_000,
) -> Array:
    """Return the TRE [m] at targets (m, 3) found by registering disturbed fiducials again and again, RMS, shape (m,).

    Args:
        points_anatomy: The fiducials [m], shape (n, 3).
        targets_anatomy: Where to predict [m], shape (m, 3).
        rng: Source of the disturbances.
        covariances: Of each pair's error, in the axes of the anatomy [m²], shape (n, 3, 3).
        fle_rms: Or the localisation error of all, RMS of its length [m].
        weighted: Whether the registration weighs by the covariances, as the product does; else plain least squares.
        trials: How often; the result has a relative standard error of about 0.5/√trials.

    Raises:
        InputError: Neither or both errors given, shapes that do not fit, NaN, or trials below 1.
        DegenerateGeometryError: The fiducials lie on a line.
    """
    anatomy, targets = _points(points_anatomy), _points(targets_anatomy)
    if (covariances is None) == (fle_rms is None):
        raise InputError('give covariances or fle_rms, one of the two')
    if trials < 1:
        raise InputError(f'trials={trials} must be 1 or more')
    noise = pair_noise(covariances, fle_rms, len(anatomy))
    roots = np.array([square_root(matrix) for matrix in noise])
    squares = np.zeros(len(targets))
    for start in range(0, trials, _CHUNK):
        shape = (min(_CHUNK, trials - start), *anatomy.shape)
        touched = anatomy + np.einsum('nij,bnj->bni', roots, rng.normal(size=shape))
        poses = fit_rigid_batch(touched, anatomy)
        if weighted and covariances is not None:
            poses = _refine_batch(poses, touched, anatomy, noise)
        moved = np.einsum('bij,mj->bmi', poses[:, :3, :3], targets) + poses[:, None, :3, 3]
        squares += ((moved - targets) ** 2).sum(axis=(0, 2))
    return np.asarray(np.sqrt(squares / trials))


def _refine_batch(poses: Array, touched: Array, anatomy: Array, noise: Array) -> Array:
    """Gauss–Newton on Σ rᵀ Σ⁻¹ r for poses (b, 4, 4) that are off by little: three steps reach rounding."""
    weights = np.linalg.inv(noise)
    for _ in range(_STEPS):
        turned = np.einsum('bij,nj->bni', poses[:, :3, :3], anatomy)
        residuals = touched - turned - poses[:, None, :3, 3]
        jacobians = np.concatenate([np.broadcast_to(np.eye(3), (*turned.shape, 3)), -skew(turned)], axis=3)
        weighted = np.swapaxes(jacobians, 2, 3) @ weights
        information = (weighted @ jacobians).sum(axis=1)
        gradient = (weighted @ residuals[..., None]).sum(axis=1)
        step = np.linalg.solve(information, gradient)[..., 0]
        poses = make_transform(rotation_exp(step[:, 3:]) @ poses[:, :3, :3], poses[:, :3, 3] + step[:, :3])
    return poses


def _points(points: Array) -> Array:
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'points need shape (n, 3), got {points.shape}')
    if not np.isfinite(points).all():
        raise InputError('points have NaN or Inf', code='NOT_FINITE')
    return points
