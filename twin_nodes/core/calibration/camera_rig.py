"""One camera, or two fixed to one another, that look at a board: the least-squares problem and its derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.camera_bundle import ViewBlock, moved_pose, point_by_pose
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.geometry.se3 import Array, transform_points

POSE = 6
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RigState:
    """The unknowns of a rig.

    Args:
        cameras: One or two.
        second_T_first: Pose of the first camera in the second one [m], shape (4, 4); unused with one.
        first_T_boards: Pose of the board in the first camera in each view [m], shape (n, 4, 4).
    """

    cameras: tuple[CameraModel, ...]
    second_T_first: Array
    first_T_boards: Array


@dataclass(frozen=True, eq=False)
class RigProblem:
    """What a rig saw.

    Args:
        views: For each picture, what each camera saw of the board, or None.
        free: Which of fx fy cx cy k… of each camera are sought, as indices.
        sigma: Standard deviation of a pixel coordinate.
    """

    views: Sequence[tuple[BoardView | None, ...]]
    free: tuple[Indices, ...]
    sigma: float = 1.0

    @property
    def columns(self) -> tuple[slice, ...]:
        """Where the parameters of each camera stand among the shared unknowns; the pose of the second is last."""
        ends = np.cumsum([0, *(len(free) for free in self.free)])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @property
    def shared(self) -> int:
        """How many unknowns all views share."""
        return sum(len(free) for free in self.free) + POSE * (len(self.free) - 1)

    def blocks(self, state: RigState) -> list[ViewBlock]:
        """Return residuals and derivatives of all pictures."""
        return [
            self._block(state, picture, pose) for picture, pose in zip(self.views, state.first_T_boards, strict=True)
        ]

    def _block(self, state: RigState, picture: tuple[BoardView | None, ...], pose: Array) -> ViewBlock:
        parts = [self._seen(state, which, view, pose) for which, view in enumerate(picture) if view is not None]
        residuals, shared, own = (np.concatenate(part) / self.sigma for part in zip(*parts, strict=True))
        return ViewBlock(residuals, shared, own)

    def _seen(self, state: RigState, which: int, view: BoardView, pose: Array) -> tuple[Array, Array, Array]:
        points = transform_points(pose, view.points_board)
        by_board = point_by_pose(pose[:3, :3], view.points_board)
        shared = np.zeros((len(view), 2, self.shared))
        turned = points
        if which == 1:
            turned = transform_points(state.second_T_first, points)
            by_board = state.second_T_first[:3, :3] @ by_board
        pixels, by_point, by_parameter = state.cameras[which].project_with_derivatives(turned)
        shared[:, :, self.columns[which]] = by_parameter[:, :, self.free[which]]
        if which == 1:
            shared[:, :, -POSE:] = by_point @ point_by_pose(state.second_T_first[:3, :3], points)
        return (
            (pixels - view.pixels).ravel(),
            shared.reshape(2 * len(view), self.shared),
            (by_point @ by_board).reshape(-1, POSE),
        )

    def moved(self, state: RigState, shared: Array, views: Array) -> RigState:
        """Return the state after a step."""
        cameras = tuple(
            with_parameters(camera, parameters_of(camera) + _spread(camera, free, shared[columns]))
            for camera, free, columns in zip(state.cameras, self.free, self.columns, strict=True)
        )
        second = moved_pose(state.second_T_first, shared[-POSE:]) if len(cameras) > 1 else state.second_T_first
        boards = np.array([moved_pose(pose, step) for pose, step in zip(state.first_T_boards, views, strict=True)])
        return RigState(cameras, second, boards)


def parameters_of(camera: CameraModel) -> Array:
    """Return fx fy cx cy k…, shape (4 + k,)."""
    return np.concatenate([camera.focal, camera.centre, camera.distortion])


def with_parameters(camera: CameraModel, parameters: Array) -> CameraModel:
    """Return the camera with fx fy cx cy k… (4 + k,); its rectification is that of one camera alone."""
    fx, fy, cx, cy = parameters[:4]
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return replace(
        camera, matrix=matrix, distortion=parameters[4:], rectification=np.eye(3), projection=np.zeros((3, 4))
    )


def view_errors(camera: CameraModel, view: BoardView, camera_T_board: Array) -> Array:
    """Return how far each corner lies from where it should (n, 2) [px]."""
    return camera.project(transform_points(camera_T_board, view.points_board)) - view.pixels


def rms(errors: Array) -> float:
    """Return the RMS length of errors (n, 2), as OpenCV's calibration returns it."""
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))


def _spread(camera: CameraModel, free: Indices, step: Array) -> Array:
    whole = np.zeros(4 + len(camera.distortion))
    whole[free] = step
    return whole
