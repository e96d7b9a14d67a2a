"""Two cameras fixed to one another: epipolar distance, triangulation and rectification."""

from dataclasses import replace

import numpy as np

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, inverse, rotation_exp, rotation_log, skew, transform_points

REFUSED = 'CALIBRATION_REFUSED'
_ROUNDS = 10


def epipolar_distances(left: CameraModel, right: CameraModel, right_T_left: Array, seen: tuple[Array, Array]) -> Array:
    """Return how far pixels lie from the epipolar line of the other image (n, 2) [px], first left, then right.

    Distances are those of undistorted images of the same focal length; Hartley and Zisserman 2004, section 11.4.

    Args:
        left: The first camera.
        right: The second one.
        right_T_left: Pose of the first in the second [m], shape (4, 4).
        seen: Pixels of the same points in both, each of shape (n, 2).
    """
    rays = [np.column_stack([c.undistort(p), np.ones(len(p))]) for c, p in zip((left, right), seen, strict=True)]
    essential = skew(right_T_left[:3, 3]) @ right_T_left[:3, :3]
    essential = essential / np.linalg.norm(essential)
    lines = rays[1] @ essential, rays[0] @ essential.T
    product = np.abs(np.einsum('ni,ni->n', rays[1], lines[1]))
    lengths = [np.maximum(np.linalg.norm(line[:, :2], axis=1), 1e-12) for line in lines]
    return np.stack(
        [product / length * camera.focal.mean() for length, camera in zip(lengths, (left, right), strict=True)], axis=1
    )


def triangulate(left: CameraModel, right: CameraModel, right_T_left: Array, seen: tuple[Array, Array]) -> Array:
    """Return the points in the left camera (n, 3) [m] that both images see, least squares in pixels.

    The midpoint of both rays to start, then Gauss and Newton on the reprojection error (Hartley and Sturm 1997).

    Args:
        left: The first camera.
        right: The second one.
        right_T_left: Pose of the first in the second [m], shape (4, 4).
        seen: Pixels of the same points in both, each of shape (n, 2).

    Raises:
        DegenerateGeometryError: Both rays are parallel, or meet behind a camera.
    """
    points = _midpoints(left.directions(seen[0]), right.directions(seen[1]), right_T_left)
    try:
        for _ in range(_ROUNDS):
            step = _newton_step(left, right, right_T_left, seen, points)
            points = points + step
            if np.abs(step).max(initial=0.0) < 1e-10:
                break
    except InputError as error:
        raise DegenerateGeometryError(f'rays meet behind a camera: is left right? ({error})', code=REFUSED) from None
    return points


def rectified(left: CameraModel, right: CameraModel, right_T_left: Array) -> tuple[CameraModel, CameraModel]:
    """Return both cameras with the R and P that bring the same point to the same row in both images.

    Each camera is turned by half of what is between them, then both so that the baseline is x (Bouguet, as in OpenCV's
    `stereoRectify`). The focal length is the smaller vertical one; the centres are those that keep both images centred.

    Raises:
        DegenerateGeometryError: No baseline, a vertical one, or left and right are swapped.
    """
    baseline = inverse(right_T_left)[:3, 3]
    length = float(np.linalg.norm(baseline))
    if length < 1e-6:
        raise DegenerateGeometryError('both cameras stand at one place: there is no baseline', code=REFUSED)
    half = rotation_exp(-0.5 * rotation_log(right_T_left[:3, :3]))
    axis = half @ right_T_left[:3, 3]  # towards the left camera, in axes half way
    if np.abs(axis[0]) < np.abs(axis[1]):
        raise DegenerateGeometryError(
            'the cameras stand above one another; rectification is for left and right', code=REFUSED
        )
    if axis[0] > 0.0:
        raise DegenerateGeometryError('left and right are swapped: the right camera stands to the left', code=REFUSED)
    align = _turn_to(-axis / length, np.array([1.0, 0.0, 0.0]))
    turns = align @ half.T, align @ half
    focal = float(min(left.focal[1], right.focal[1]))
    centres = [_centre(camera, turn, focal) for camera, turn in zip((left, right), turns, strict=True)]
    centre = 0.5 * (centres[0] + centres[1])
    cameras = []
    for camera, turn, shift in zip((left, right), turns, (0.0, -focal * length), strict=True):
        projection = np.array([[focal, 0.0, centre[0], shift], [0.0, focal, centre[1], 0.0], [0.0, 0.0, 1.0, 0.0]])
        cameras.append(replace(camera, rectification=turn, projection=projection))
    return cameras[0], cameras[1]


def _centre(camera: CameraModel, turn: Array, focal: float) -> Array:
    """Principal point that keeps the rays through the edges of the image centred [px], shape (2,)."""
    w, h = camera.width - 1.0, camera.height - 1.0
    edge = np.array([[0.5 * w, 0.0], [0.0, 0.5 * h], [w, 0.5 * h], [0.5 * w, h]])
    try:
        vectors = camera.directions(edge) @ turn.T
    except InputError:  # the lens model folds before the edge
        vectors = camera.directions(camera.centre[None]) @ turn.T
    middle = (vectors[:, :2] / vectors[:, 2:] * focal).mean(axis=0)
    return np.asarray(np.array([0.5 * w, 0.5 * h]) - middle)


def _turn_to(start: Array, end: Array) -> Array:
    """Smallest rotation (3, 3) that brings one unit vector (3,) to another."""
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-15:
        return np.eye(3)
    return rotation_exp(axis / sine * np.arctan2(sine, float(start @ end)))


def _midpoints(left: Array, right: Array, right_T_left: Array) -> Array:
    left_T_right = inverse(right_T_left)
    turned, origin = right @ left_T_right[:3, :3].T, left_T_right[:3, 3]
    cosine = np.einsum('ni,ni->n', left, turned)
    below = 1.0 - cosine**2
    if (below < 1e-14).any():
        raise DegenerateGeometryError(f'{int((below < 1e-14).sum())} pairs of rays are parallel', code=REFUSED)
    along_left = (left @ origin - cosine * (turned @ origin)) / below
    along_right = (cosine * (left @ origin) - turned @ origin) / below
    return np.asarray(0.5 * (along_left[:, None] * left + origin + along_right[:, None] * turned))


def _newton_step(
    left: CameraModel, right: CameraModel, right_T_left: Array, seen: tuple[Array, Array], points: Array
) -> Array:
    first, by_first, _ = left.project_with_derivatives(points)
    second, by_second, _ = right.project_with_derivatives(transform_points(right_T_left, points))
    error = np.concatenate([first - seen[0], second - seen[1]], axis=1)
    derivative = np.concatenate([by_first, by_second @ right_T_left[:3, :3]], axis=1)
    normal = np.einsum('nri,nrj->nij', derivative, derivative)
    return np.asarray(-np.linalg.solve(normal, np.einsum('nri,nr->ni', derivative, error)[..., None])[..., 0])
