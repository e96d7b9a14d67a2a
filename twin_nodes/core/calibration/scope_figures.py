"""How well a chain of ties explains what was seen: reprojection and reconstruction, picture by picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import rms, view_errors
from twin_nodes.core.calibration.camera_start import locate_board
from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.calibration.scope_chain import ChainTies, ScopeFrame
from twin_nodes.core.calibration.stereo_geometry import triangulate
from twin_nodes.core.calibration.stereo_pair import matched
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, angle_between, transform_points


@dataclass(frozen=True)
class FrameFigures:
    """How well one picture is explained.

    Args:
        name: Of the picture.
        chain_px: RMS reprojection of the whole chain in the left and the right image [px]; None where not seen, or
            where the chain brings the pattern out of sight.
        board_px: The same with the pose of the board free, which is what corners and lens allow [px].
        chain_m: RMS distance of the pattern's points by the chain from those by the left image alone [m].
        chain_rad: Angle between both poses [rad].
        reconstruction_m: RMS distance of triangulated points from those by the chain [m]; None with one camera.
    """

    name: str
    chain_px: tuple[float | None, ...]
    board_px: tuple[float | None, ...]
    chain_m: float | None
    chain_rad: float | None
    reconstruction_m: float | None


def frame_figures(frame: ScopeFrame, cameras: Sequence[CameraModel], ties: ChainTies) -> FrameFigures:
    """Measure one picture against a chain, with the poses that the tracker gave."""
    left_T_pattern = ties.left_T_pattern(frame.scope_T_marker)
    poses = (left_T_pattern, ties.right_T_left @ left_T_pattern)
    chain, board = [], []
    distance = angle = None
    for which, (camera, view) in enumerate(zip(cameras, frame.views, strict=True)):
        chain.append(None if view is None else _reprojection(camera, view, poses[which]))
        located = None if view is None else _located(camera, view)
        board.append(None if view is None or located is None else _reprojection(camera, view, located))
        if which == 0 and view is not None and located is not None:
            apart = transform_points(located, view.points_board) - transform_points(left_T_pattern, view.points_board)
            distance = float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
            angle = angle_between(located, left_T_pattern)
    return FrameFigures(
        frame.name, tuple(chain), tuple(board), distance, angle, _reconstruction(frame, cameras, ties, left_T_pattern)
    )


def mean_px(figures: Sequence[FrameFigures]) -> float:
    """Return the mean reprojection by the chain over all pictures and images [px]; inf when one is out of sight."""
    values = [
        np.inf if value is None else value
        for figure in figures
        for value, board in zip(figure.chain_px, figure.board_px, strict=True)
        if board is not None
    ]
    return float(np.mean(values)) if values else float('inf')


def _reprojection(camera: CameraModel, view: BoardView, pose: Array) -> float | None:
    try:
        return rms(view_errors(camera, view, pose))
    except InputError:  # behind the camera
        return None


def _located(camera: CameraModel, view: BoardView) -> Array | None:
    try:
        return locate_board(camera, view)
    except (InputError, DegenerateGeometryError):
        return None


def _reconstruction(
    frame: ScopeFrame, cameras: Sequence[CameraModel], ties: ChainTies, left_T_pattern: Array
) -> float | None:
    if len(cameras) < 2 or frame.views[0] is None or frame.views[1] is None:
        return None
    board, first, second = matched((frame.views[0], frame.views[1]))
    if len(board) < 4:
        return None
    try:
        points = triangulate(cameras[0], cameras[1], ties.right_T_left, (first, second))
    except (InputError, DegenerateGeometryError):
        return None
    apart = points - transform_points(left_T_pattern, board)
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
