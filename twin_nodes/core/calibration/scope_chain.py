"""The chain of a tracked camera: camera ← scope marker ← tracker → pattern marker → pattern.

    left_T_pattern = inverse(scope_T_left) · inverse(tracker_T_scope) · tracker_T_marker · marker_T_pattern

`scope_T_left` (hand-eye), `marker_T_pattern` and, with two cameras, `right_T_left` are sought. What each picture shows
is known to a fraction of a pixel; the tracker's poses are known to its noise, which a lever of half a metre makes the
larger part. Both are in one maximum-likelihood problem: the pose of the pattern marker in the scope marker may move in
each picture as far as the tracker's noise allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.calibration.camera_bundle import ViewBlock, moved_pose, point_by_pose
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.geometry.covariance import compose_covariance, inverse_covariance
from twin_nodes.core.geometry.se3 import Array, inverse, rotation_log, skew, transform_points

POSE = 6


@dataclass(frozen=True, eq=False)
class ScopeFrame:
    """One picture with what the tracker said at its instant.

    Args:
        name: For people.
        tracker_T_scope: Pose of the marker on the camera [m], shape (4, 4); the identity when the camera does not move.
        tracker_T_marker: Pose of the marker on the pattern [m], shape (4, 4); the identity when that does not move.
        views: What each camera saw, left first; None for a camera that saw nothing.
    """

    name: str
    tracker_T_scope: Array
    tracker_T_marker: Array
    views: tuple[BoardView | None, ...]

    @property
    def scope_T_marker(self) -> Array:
        """Pose of the pattern marker in the scope marker [m], shape (4, 4)."""
        return inverse(self.tracker_T_scope) @ self.tracker_T_marker


@dataclass(frozen=True, eq=False)
class ChainTies:
    """The ties that are sought.

    Args:
        scope_T_left: Hand-eye [m], shape (4, 4).
        marker_T_pattern: [m], shape (4, 4).
        right_T_left: [m], shape (4, 4); the identity with one camera.
    """

    scope_T_left: Array
    marker_T_pattern: Array
    right_T_left: Array

    def left_T_pattern(self, scope_T_marker: Array) -> Array:
        """Pose of the pattern in the left camera [m], by the whole chain, shape (4, 4)."""
        return inverse(self.scope_T_left) @ scope_T_marker @ self.marker_T_pattern


@dataclass(frozen=True, eq=False)
class ChainState:
    """Ties, and where the pattern marker truly stood in the scope marker in each picture, shape (n, 4, 4)."""

    ties: ChainTies
    scope_T_markers: Array


@dataclass(frozen=True, eq=False)
class TiePrior:
    """What is known of a tie beforehand.

    Args:
        pose: [m], shape (4, 4).
        position_sigma: Standard deviation of each coordinate [m].
        rotation_sigma: Standard deviation about each axis [rad].
    """

    pose: Array
    position_sigma: float
    rotation_sigma: float


@dataclass(frozen=True, eq=False)
class ChainProblem:
    """What was seen, and how well.

    Args:
        frames: The pictures.
        cameras: Left, or left and right; their intrinsics are held.
        pixel_sigma: Standard deviation of a pixel coordinate.
        position_sigma: Standard deviation of each coordinate of a tracked marker [m].
        rotation_sigma: Standard deviation of its turn about each axis [rad].
        pattern: What is known of marker_T_pattern, or None.
    """

    frames: Sequence[ScopeFrame]
    cameras: tuple[CameraModel, ...]
    pixel_sigma: float
    position_sigma: float
    rotation_sigma: float
    pattern: TiePrior | None = None

    @property
    def shared(self) -> int:
        """How many unknowns all pictures share."""
        return POSE * (2 if len(self.cameras) == 1 else 3)

    def blocks(self, state: ChainState) -> list[ViewBlock]:
        """Return residuals and derivatives of all pictures."""
        return [self._block(state, frame, pose) for frame, pose in zip(self.frames, state.scope_T_markers, strict=True)]

    def prior(self, state: ChainState) -> ViewBlock:
        """Return what is known beforehand as residuals; none without a prior."""
        if self.pattern is None:
            return ViewBlock(np.zeros(0), np.zeros((0, self.shared)), np.zeros((0, POSE)))
        weights = 1.0 / np.repeat([self.pattern.position_sigma, self.pattern.rotation_sigma], 3)
        by_shared = np.zeros((POSE, self.shared))
        by_shared[:, POSE : 2 * POSE] = np.diag(weights)
        return ViewBlock(
            step_between(self.pattern.pose, state.ties.marker_T_pattern) * weights, by_shared, np.zeros((6, 6))
        )

    def moved(self, state: ChainState, shared: Array, views: Array) -> ChainState:
        """Return the state after a step."""
        ties = ChainTies(
            moved_pose(state.ties.scope_T_left, shared[:POSE]),
            moved_pose(state.ties.marker_T_pattern, shared[POSE : 2 * POSE]),
            moved_pose(state.ties.right_T_left, shared[2 * POSE :]) if len(self.cameras) > 1 else np.eye(4),
        )
        return ChainState(ties, np.array([moved_pose(p, s) for p, s in zip(state.scope_T_markers, views, strict=True)]))

    def tracker_distances(self, state: ChainState) -> Array:
        """Squared Mahalanobis distance of each picture's markers from what the tracker said, shape (n,), 6 degrees."""
        steps = [
            self._weights(frame) @ step_between(frame.scope_T_marker, pose)
            for frame, pose in zip(self.frames, state.scope_T_markers, strict=True)
        ]
        return np.asarray(np.sum(np.square(steps), axis=1))

    def scaled(self, factor: float) -> 'ChainProblem':
        """Return the problem with the tracker's standard deviations times a factor."""
        return replace(self, position_sigma=self.position_sigma * factor, rotation_sigma=self.rotation_sigma * factor)

    def _weights(self, frame: ScopeFrame) -> Array:
        """Root of the inverse covariance (6, 6) of scope_T_marker."""
        marker = np.diag(np.repeat([self.position_sigma**2, self.rotation_sigma**2], 3))
        tracked = inverse(frame.tracker_T_scope)
        covariance = compose_covariance(
            tracked, inverse_covariance(frame.tracker_T_scope, marker), frame.tracker_T_marker, marker
        )
        return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))

    def _block(self, state: ChainState, frame: ScopeFrame, pose: Array) -> ViewBlock:
        weights = self._weights(frame)
        residuals = [weights @ step_between(frame.scope_T_marker, pose)]
        shared, own = [np.zeros((POSE, self.shared))], [weights]
        for which, view in enumerate(frame.views):
            if view is not None:
                seen = self._seen(state.ties, which, view, pose)
                for part, value in zip((residuals, shared, own), seen, strict=True):
                    part.append(value / self.pixel_sigma)
        return ViewBlock(np.concatenate(residuals), np.concatenate(shared), np.concatenate(own))

    def _seen(self, ties: ChainTies, which: int, view: BoardView, pose: Array) -> tuple[Array, Array, Array]:
        left_R_scope = ties.scope_T_left[:3, :3].T
        points_marker = transform_points(ties.marker_T_pattern, view.points_board)
        points_scope = transform_points(pose, points_marker)
        points = (points_scope - ties.scope_T_left[:3, 3]) @ left_R_scope.T
        by_tie = np.zeros((len(view), 3, self.shared))
        by_tie[:, :, :3] = -left_R_scope
        by_tie[:, :, 3:POSE] = left_R_scope @ skew(points_scope - ties.scope_T_left[:3, 3])
        by_tie[:, :, POSE : 2 * POSE] = (
            left_R_scope @ pose[:3, :3] @ point_by_pose(ties.marker_T_pattern[:3, :3], view.points_board)
        )
        by_view = left_R_scope @ point_by_pose(pose[:3, :3], points_marker)
        if which == 1:
            right_R_left = ties.right_T_left[:3, :3]
            by_tie = right_R_left @ by_tie
            by_tie[:, :, 2 * POSE :] = point_by_pose(right_R_left, points)
            by_view = right_R_left @ by_view
            points = transform_points(ties.right_T_left, points)
        pixels, by_point, _ = self.cameras[which].project_with_derivatives(points)
        return (
            (pixels - view.pixels).ravel(),
            (by_point @ by_tie).reshape(-1, self.shared),
            (by_point @ by_view).reshape(-1, POSE),
        )


def step_between(start: Array, end: Array) -> Array:
    """Return the step (δp, δφ) (6,) that `moved_pose` takes from one pose to another."""
    return np.concatenate([end[:3, 3] - start[:3, 3], rotation_log(end[:3, :3] @ start[:3, :3].T)])
