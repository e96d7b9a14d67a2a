"""A calibrated camera: from points in its optical frame to pixels and back."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS, PLUMB_BOB, bend, is_unfolded, unbend
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_transform, make_transform

CODE = 'CAMERA_UNUSABLE'
ALIASES = {
    'fisheye': 'equidistant',
    'kannala_brandt4': 'equidistant',
    'radtan': PLUMB_BOB,
    'rational': 'rational_polynomial',
}
_LARGEST_IMAGE = 100_000


@dataclass(frozen=True, eq=False)
class CameraModel:
    """What `sensor_msgs/CameraInfo` says of a camera; optical axes: x right, y down, z forward.

    Args:
        width: Of the image [px].
        height: Of the image [px].
        matrix: Focal lengths and principal point K [px], shape (3, 3).
        distortion: Coefficients in the order of OpenCV and ROS, shape (5,), (8,) or (4,) by the model.
        model: 'plumb_bob', 'rational_polynomial' or 'equidistant'.
        rectification: rectified_R_camera, shape (3, 3); the identity for one camera alone.
        projection: P of the rectified image [px], shape (3, 4); P[0, 3] is −fx times the baseline [m]; K|0 by default.
        name: Of the camera.
    """

    width: int
    height: int
    matrix: Array
    distortion: Array
    model: str = PLUMB_BOB
    rectification: Array = field(default_factory=lambda: np.eye(3))
    projection: Array = field(default_factory=lambda: np.zeros((3, 4)))
    name: str = ''

    def __post_init__(self) -> None:
        self._check_size()
        matrix = _numbers('camera matrix', self.matrix, (3, 3))
        if not (matrix[0, 0] > 0.0 and matrix[1, 1] > 0.0):
            raise InputError(
                f'{self._label}: focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g} px: both must be above 0; '
                'a CameraInfo with zeros says that the camera is not calibrated',
                code=CODE,
            )
        if np.abs(matrix[[1, 2, 2], [0, 0, 1]]).max() > 0.0 or matrix[2, 2] != 1.0:
            raise InputError(f'{self._label}: the camera matrix must be upper triangular with 1 below', code=CODE)
        if abs(matrix[0, 1]) > 1e-6 * matrix[0, 0]:
            raise InputError(f'{self._label}: skew {matrix[0, 1]:g} px is not supported by CameraInfo', code=CODE)
        model = ALIASES.get(self.model, self.model)
        if model not in COEFFICIENTS:
            raise InputError(
                f'{self._label}: distortion model {self.model!r} is none of {", ".join(COEFFICIENTS)}'
                f'{nearest(self.model, COEFFICIENTS)}',
                code=CODE,
            )
        rotation = check_transform(
            make_transform(_numbers('rectification', self.rectification, (3, 3)), np.zeros(3)), name='rectification'
        )[:3, :3]
        projection = _numbers('projection', self.projection, (3, 4))
        if not projection.any():
            projection = np.hstack([matrix, np.zeros((3, 1))])
        values = {
            'matrix': matrix,
            'distortion': _coefficients(model, self.distortion),
            'model': model,
            'rectification': rotation,
            'projection': projection,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def _label(self) -> str:
        return f'camera {self.name}' if self.name else 'camera'

    def _check_size(self) -> None:
        for side in ('width', 'height'):
            value = getattr(self, side)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 < value < _LARGEST_IMAGE:
                raise InputError(f'{self._label}: image {side} {value!r} px, expected 1 … {_LARGEST_IMAGE}', code=CODE)

    @property
    def focal(self) -> Array:
        """Focal lengths [px], shape (2,)."""
        return np.asarray(self.matrix[[0, 1], [0, 1]])

    @property
    def centre(self) -> Array:
        """Principal point [px], shape (2,)."""
        return np.asarray(self.matrix[:2, 2])

    @property
    def baseline(self) -> float:
        """Distance of this camera from the first of a rectified pair [m], positive to the right; 0 for one alone."""
        return float(-self.projection[0, 3] / self.projection[0, 0])

    def project(self, points_camera: ArrayLike) -> Array:
        """Return the pixels (n, 2) of points [m] (n, 3) in the optical frame, whether inside the image or not.

        Raises:
            InputError: A point is not in front of the camera, or so far aside that the lens model folds.
        """
        return self.project_with_derivatives(points_camera)[0]

    def project_with_derivatives(self, points_camera: ArrayLike) -> tuple[Array, Array, Array]:
        """Return pixels (n, 2), their derivative by the points (n, 2, 3), and that by fx fy cx cy k… (n, 2, 4 + k).

        Raises:
            InputError: As in `project`.
        """
        points = _points(points_camera, 3)
        if not (points[:, 2] > 0.0).all():
            raise InputError(
                f'{self._label}: {int((points[:, 2] <= 0.0).sum())} of {len(points)} points lie behind it', code=CODE
            )
        rays = points[:, :2] / points[:, 2:]
        bent = bend(self.model, self.distortion, rays)
        folded = ~is_unfolded(self.model, self.distortion, rays)
        if folded.any():
            raise InputError(
                f'{self._label}: {int(folded.sum())} of {len(points)} points lie outside its lens', code=CODE
            )
        by_point = np.zeros((len(points), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = 1.0
        by_point[:, :, 2] = -rays
        by_point = self.focal[:, None] * (bent.by_ray @ by_point) / points[:, 2, None, None]
        by_parameter = np.zeros((len(points), 2, 4 + len(self.distortion)))
        by_parameter[:, 0, 0], by_parameter[:, 1, 1] = bent.rays[:, 0], bent.rays[:, 1]
        by_parameter[:, 0, 2] = by_parameter[:, 1, 3] = 1.0
        by_parameter[:, :, 4:] = self.focal[:, None] * bent.by_coefficient
        return bent.rays * self.focal + self.centre, by_point, by_parameter

    def is_visible(self, points_camera: ArrayLike) -> NDArray[np.bool_]:
        """Say which points [m] (n, 3) lie in front of the camera and within its image, shape (n,)."""
        points = _points(points_camera, 3)
        visible = points[:, 2] > 1e-9
        rays = points[:, :2] / np.where(visible, points[:, 2], 1.0)[:, None]
        visible &= is_unfolded(self.model, self.distortion, rays)
        pixels = (
            bend(self.model, self.distortion, np.where(visible[:, None], rays, 0.0)).rays * self.focal + self.centre
        )
        inside = (pixels >= -0.5) & (pixels < np.array([self.width, self.height]) - 0.5)
        return np.asarray(visible & inside.all(axis=1))

    def undistort(self, pixels: ArrayLike) -> Array:
        """Return the rays (x/z, y/z) (n, 2) of pixels (n, 2).

        Raises:
            InputError: NaN, or a pixel that no ray reaches through this lens.
        """
        bent = (_points(pixels, 2) - self.centre) / self.focal
        rays, exists = unbend(self.model, self.distortion, bent)
        if not exists.all():
            raise InputError(
                f'{self._label}: no ray reaches {int((~exists).sum())} of {len(rays)} pixels through its lens; '
                'is the calibration that of this image size?',
                code=CODE,
            )
        return rays

    def directions(self, pixels: ArrayLike) -> Array:
        """Return unit vectors (n, 3) towards pixels (n, 2) in the optical frame."""
        rays = self.undistort(pixels)
        vectors = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def rectify(self, pixels: ArrayLike) -> Array:
        """Return where pixels (n, 2) lie in the rectified image (n, 2)."""
        rays = self.undistort(pixels)
        turned = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) @ self.rectification.T
        return np.asarray(turned[:, :2] / turned[:, 2:] * self.projection[[0, 1], [0, 1]] + self.projection[:2, 2])


def _coefficients(model: str, distortion: Array) -> Array:
    """Check coefficients; missing ones at the end, and trailing zeros, mean the same."""
    values = np.asarray(distortion, float).ravel()
    wanted = len(COEFFICIENTS[model])
    if not np.isfinite(values).all():
        raise InputError('distortion coefficients have NaN or Inf', code='NOT_FINITE')
    if len(values) > wanted and not values[wanted:].any():
        values = values[:wanted]
    if len(values) == wanted:
        return values
    if model == PLUMB_BOB and len(values) in (0, 4):
        return np.concatenate([values, np.zeros(wanted - len(values))])
    raise InputError(f'{len(values)} distortion coefficients, but {model} has {wanted}', code=CODE)


def _numbers(what: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f'{what} has shape {array.shape}, expected {shape}', code=CODE)
    if not np.isfinite(array).all():
        raise InputError(f'{what} has NaN or Inf', code='NOT_FINITE')
    return array


def _points(values: ArrayLike, columns: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != columns:
        raise InputError(f'expected points of shape (n, {columns}), got {array.shape}', code=CODE)
    if not np.isfinite(array).all():
        raise InputError('points have NaN or Inf', code='NOT_FINITE')
    return array
