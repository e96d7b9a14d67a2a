"""The pose of a body under which its corners are the most likely, and its covariance.

Gauss-Newton on SE(3) with Levenberg's damping over the whitened reprojection error; the inverse of the Hessian is the
covariance (Hartley and Zisserman 2004, result 5.8). The pose error is (δp, δφ) in the axes of the camera, as in
`core.geometry.covariance`.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.pose_kernels import descend, errors


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

    def parts(self) -> tuple[Array, Array, Array, Array, Array]:
        """Return what the kernels take."""
        given = (self.points, self.pixels, self.whitening, self.focal, self.centre)
        points, pixels, whitening, focal, centre = (np.ascontiguousarray(part, float) for part in given)
        return points, pixels, whitening, focal, centre

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
    pose, misfits, information = np.array(start, float), np.empty(view.groups), np.empty((6, 6))
    reprojection = descend(view.parts(), pose, misfits, information)
    if not (reprojection >= 0.0 and np.isfinite(pose).all()):
        return None
    return FittedPose(pose, information, misfits, reprojection)


def reproject(view: CornerView, pose: Array) -> FittedPose | None:
    """Return the errors of a pose as it is; None where a corner lies behind the camera."""
    misfits, information = np.empty(view.groups), np.empty((6, 6))
    reprojection = errors(view.parts(), np.array(pose, float), misfits, information, np.empty(6))
    return FittedPose(pose, information, misfits, reprojection) if reprojection >= 0.0 else None


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
