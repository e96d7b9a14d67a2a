"""Simulated views of a calibration board, and of a tracked camera, with everything known."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.calibration.scope_chain import ChainTies, ScopeFrame
from twin_nodes.core.geometry.se3 import Array, exp, inverse, make_transform, rotation_exp, transform_points

ENDOSCOPE = CameraModel(
    1920,
    1080,
    np.array([[1400.0, 0.0, 970.0], [0.0, 1405.0, 530.0], [0.0, 0.0, 1.0]]),
    np.array([-0.25, 0.08, 0.0008, -0.0005, 0.02]),
    name='left',
)
RIGHT_T_LEFT = make_transform(rotation_exp([0.01, 0.03, -0.005]), [-0.0048, 0.0002, 0.0003])


@dataclass(frozen=True)
class ScopeNoise:
    """Noise of a simulated tracked camera: pixels [px], markers [m] and [rad]."""

    pixel: float = 0.2
    position: float = 1e-4
    rotation: float = 5e-4


def board_grid(columns: int = 14, rows: int = 10, square: float = 0.003) -> Array:
    """Return the inner corners of a chessboard [m], shape (n, 3), row by row."""
    grid = np.mgrid[0:columns, 0:rows].T.reshape(-1, 2) * square
    return np.column_stack([grid, np.zeros(len(grid))])


def board_pose(rng: np.random.Generator, board: Array, *, tilt: float = 0.6, distance: float = 0.1) -> Array:
    """Draw a pose of a board before a camera [m], shape (4, 4), tilted by up to an angle [rad]."""
    lean = rng.uniform(0.0, 2.0 * np.pi)
    turn = rotation_exp(tilt * np.sqrt(rng.uniform()) * np.array([np.cos(lean), np.sin(lean), 0.0]))
    turn = rotation_exp([0.0, 0.0, rng.uniform(-0.4, 0.4)]) @ turn
    away = distance * rng.uniform(0.7, 1.4)
    centre = np.array([away * rng.uniform(-0.25, 0.25), away * rng.uniform(-0.12, 0.12), away])
    return make_transform(turn, centre - turn @ board.mean(axis=0))


def see_board(
    rng: np.random.Generator, camera: CameraModel, camera_T_board: Array, board: Array, *, noise: float, name: str
) -> BoardView:
    """Look at a board: the corners within the image, with noise [px]."""
    points = transform_points(camera_T_board, board)
    seen = np.nonzero(camera.is_visible(points))[0]
    pixels = camera.project(points[seen])
    pixels = np.clip(pixels + rng.normal(0.0, noise, pixels.shape), 0.0, [camera.width - 1.0, camera.height - 1.0])
    return BoardView(name, seen.astype(np.int64), board[seen], pixels, (camera.width, camera.height))


def simulate_views(
    rng: np.random.Generator,
    camera: CameraModel = ENDOSCOPE,
    *,
    count: int = 15,
    noise: float = 0.2,
    tilt: float = 0.6,
    board: Array | None = None,
    distance: float = 0.1,
) -> list[BoardView]:
    """Draw views of a board by one camera; those with fewer than half of the corners are drawn again."""
    board = board_grid() if board is None else board
    views: list[BoardView] = []
    while len(views) < count:
        pose = board_pose(rng, board, tilt=tilt, distance=distance)
        view = see_board(rng, camera, pose, board, noise=noise, name=str(len(views)))
        if len(view) >= 0.5 * len(board):
            views.append(view)
    return views


def simulate_pairs(
    rng: np.random.Generator,
    cameras: tuple[CameraModel, CameraModel],
    right_T_left: Array = RIGHT_T_LEFT,
    *,
    count: int = 15,
    noise: float = 0.2,
    tilt: float = 0.6,
) -> list[tuple[BoardView, BoardView]]:
    """Draw pairs of views by two cameras."""
    board = board_grid()
    pairs: list[tuple[BoardView, BoardView]] = []
    while len(pairs) < count:
        pose = board_pose(rng, board, tilt=tilt)
        name = str(len(pairs))
        left = see_board(rng, cameras[0], pose, board, noise=noise, name=name)
        right = see_board(rng, cameras[1], right_T_left @ pose, board, noise=noise, name=name)
        if min(len(left), len(right)) >= 0.5 * len(board):
            pairs.append((left, right))
    return pairs


def simulate_scope(
    rng: np.random.Generator,
    cameras: tuple[CameraModel, ...],
    *,
    count: int = 12,
    noise: ScopeNoise | None = None,
    tilt: float = 0.6,
) -> tuple[list[ScopeFrame], ChainTies]:
    """Draw pictures of a tracked camera before a tracked pattern, and the true ties.

    The marker of the camera sits 0.35 m behind it, that of the pattern 30 mm beside it; the tracker is 1.6 m away.
    """
    noise = noise or ScopeNoise()
    board = board_grid()
    scope_T_left = exp(np.array([0.02, -0.03, 0.35, *rng.normal(0.0, 0.3, 3)]))
    marker_T_pattern = exp(np.array([0.03, 0.01, -0.02, *rng.normal(0.0, 1.0, 3)]))
    ties = ChainTies(scope_T_left, marker_T_pattern, RIGHT_T_LEFT if len(cameras) > 1 else np.eye(4))
    frames: list[ScopeFrame] = []
    while len(frames) < count:
        left_T_pattern = board_pose(rng, board, tilt=tilt)
        poses = (left_T_pattern, ties.right_T_left @ left_T_pattern)
        views = [
            see_board(rng, camera, pose, board, noise=noise.pixel, name=str(len(frames)))
            for camera, pose in zip(cameras, poses, strict=False)
        ]
        if min(len(view) for view in views) < 0.5 * len(board):
            continue
        tracker_T_scope = exp(np.array([*rng.normal(0.0, 0.05, 2), 1.6, *rng.normal(0.0, 0.3, 3)]))
        tracker_T_marker = tracker_T_scope @ scope_T_left @ left_T_pattern @ inverse(marker_T_pattern)
        frames.append(
            ScopeFrame(
                str(len(frames)), _jittered(rng, tracker_T_scope, noise), _jittered(rng, tracker_T_marker, noise),
                tuple(views),
            )
        )  # fmt: skip
    return frames, ties


def _jittered(rng: np.random.Generator, pose: Array, noise: ScopeNoise) -> Array:
    turn = rotation_exp(rng.normal(0.0, noise.rotation, 3))
    return make_transform(turn @ pose[:3, :3], pose[:3, 3] + rng.normal(0.0, noise.position, 3))
