"""The pose of a body under which its corners are the most likely, and its covariance.

Gauss-Newton on SE(3) with Levenberg's damping over the whitened reprojection error; the inverse of the Hessian is the
covariance (Hartley and Zisserman 2004, result 5.8). The pose error is (δp, δφ) in the axes of the camera, as in
`core.geometry.covariance`.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp

_NEAREST = 1e-3  # of a point to the plane of the camera [m]
_STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class CornerView:
    """Corners of a body in one image, in groups of equal size: the tags of a body, or single corners of a board.

    Args:
        points: In the frame of the body [m], shape (k, m, 3).
        pixels: Ideal pixels, without the distortion of the lens, shape (k, m, 2).
        whitening: Inverse root of the covariance of each group, (u0, v0, u1, …), shape (k, 2m, 2m).
        focal: Focal lengths [px], shape (2,).
        centre: Principal point [px], shape (2,).
    """

    points: Array
    pixels: Array
    whitening: Array
    focal: Array
    centre: Array

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.points)

    @property
    def freedom(self) -> int:
        """Measurements less the six of the pose."""
        return 2 * int(self.points.shape[0] * self.points.shape[1]) - 6

    def part(self, keep: Array) -> 'CornerView':
        """Return the view of some groups, a mask (k,)."""
        return CornerView(self.points[keep], self.pixels[keep], self.whitening[keep], self.focal, self.centre)

    def rays(self) -> Array:
        """Return the corners as rays x/z, y/z, shape (k m, 2)."""
        return np.asarray(((self.pixels - self.centre) / self.focal).reshape(-1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class FittedPose:
    """A pose at a minimum of the reprojection error.

    Args:
        pose: camera_T_body, shape (4, 4).
        information: Inverse covariance of the pose where the pixel noise is as stated, shape (6, 6).
        misfits: Sum of the squared whitened errors of each group, shape (k,).
        reprojection: RMS distance of the corners from where the pose puts them [px].
    """

    pose: Array
    information: Array
    misfits: Array
    reprojection: float

    @property
    def misfit(self) -> float:
        """Sum of the squared whitened errors, chi-square with the view's `freedom`."""
        return float(self.misfits.sum())


def whitening_of(covariances: Array) -> Array:
    """Return the inverse Cholesky roots (k, n, n) of covariances (k, n, n)."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariances)))


def fit_pose(view: CornerView, start: Array) -> FittedPose | None:
    """Refine a start camera_T_body (4, 4); None where it ends behind the camera or carries no pose."""
    pose = start
    state = _errors(view, pose)
    if state is None:
        return None
    damping = 1e-6
    for _ in range(_STEPS):
        errors, jacobian, _ = state
        flat, rows = errors.reshape(-1), jacobian.reshape(-1, 6)
        normal, gradient = rows.T @ rows, rows.T @ flat
        cost = float(flat @ flat)
        try:
            step = -np.linalg.solve(normal + damping * np.diag(np.diagonal(normal)), gradient)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all():
            return None
        moved = make_transform(rotation_exp(step[3:]) @ pose[:3, :3], pose[:3, 3] + step[:3])
        trial = _errors(view, moved)
        gain = cost - float(np.sum(trial[0] ** 2)) if trial is not None else -1.0
        if trial is not None and gain >= 0.0:
            pose, state = moved, trial
            damping = max(0.1 * damping, 1e-9)
            if gain < 1e-7 * (1.0 + cost):
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return _fitted(view, pose, state)


def reproject(view: CornerView, pose: Array) -> FittedPose | None:
    """Return the errors of a pose as it is; None where a corner lies behind the camera."""
    state = _errors(view, pose)
    return None if state is None else _fitted(view, pose, state)


def covariance_of(fitted: FittedPose, variance_factor: float) -> Array:
    """Return the covariance (6, 6) of a pose, the pixel variances being that many times those stated.

    Raises:
        DegenerateGeometryError: the corners do not carry all six degrees of freedom.
    """
    scale = np.sqrt(np.diagonal(fitted.information))
    if not (scale > 0.0).all():
        raise DegenerateGeometryError('the corners leave a direction of the pose free', code='MARKER_REPROJECTION')
    scaled = fitted.information / np.outer(scale, scale)
    values, axes = np.linalg.eigh(scaled)
    if values[0] < 1e-10 * values[-1]:
        raise DegenerateGeometryError('the corners leave a direction of the pose free', code='MARKER_REPROJECTION')
    inverse = (axes / values) @ axes.T
    covariance = variance_factor * inverse / np.outer(scale, scale)
    return np.asarray(0.5 * (covariance + covariance.T))


def _errors(view: CornerView, pose: Array) -> tuple[Array, Array, Array] | None:
    """Return whitened errors (k, 2m), their derivative (k, 2m, 6) and plain errors (k, m, 2) [px]."""
    turned = view.points @ pose[:3, :3].T
    seen = turned + pose[:3, 3]
    depth = seen[..., 2]
    if not (depth > _NEAREST).all():
        return None
    rays = seen[..., :2] / depth[..., None]
    plain = rays * view.focal + view.centre - view.pixels
    scale = view.focal / depth[..., None]  # (k, m, 2)
    derivative = np.zeros((*depth.shape, 2, 6))
    derivative[..., 0, 0], derivative[..., 1, 1] = scale[..., 0], scale[..., 1]
    derivative[..., :, 2] = -scale * rays
    # ∂(R p)/∂φ = −[R p]×
    x, y, z = turned[..., 0], turned[..., 1], turned[..., 2]
    derivative[..., 0, 3] = derivative[..., 0, 2] * y
    derivative[..., 0, 4] = scale[..., 0] * z - derivative[..., 0, 2] * x
    derivative[..., 0, 5] = -scale[..., 0] * y
    derivative[..., 1, 3] = -scale[..., 1] * z + derivative[..., 1, 2] * y
    derivative[..., 1, 4] = -derivative[..., 1, 2] * x
    derivative[..., 1, 5] = scale[..., 1] * x
    groups = view.groups
    white = np.einsum('kij,kj->ki', view.whitening, plain.reshape(groups, -1))
    return white, view.whitening @ derivative.reshape(groups, -1, 6), plain


def _fitted(view: CornerView, pose: Array, state: tuple[Array, Array, Array]) -> FittedPose:
    errors, jacobian, plain = state
    rows = jacobian.reshape(-1, 6)
    rms = float(np.sqrt(np.mean(np.sum(plain**2, axis=-1))))
    return FittedPose(pose, rows.T @ rows, np.sum(errors**2, axis=1), rms)
