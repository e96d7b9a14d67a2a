"""Where the calibration of a tracked camera starts: closed form, and pictures that do not belong left out."""

from collections.abc import Sequence

import numpy as np

from twin_nodes.core.calibration.camera_bundle import adjust
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import RigProblem, RigState
from twin_nodes.core.calibration.camera_start import locate_board
from twin_nodes.core.calibration.camera_views import LeftOut, Mask
from twin_nodes.core.calibration.hand_eye_closed import consensus_start, shah
from twin_nodes.core.calibration.scope_chain import ChainState, ChainTies, ScopeFrame, TiePrior
from twin_nodes.core.calibration.stereo_pair import mean_pose
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, inverse, rotation_log

REFUSED = 'CALIBRATION_REFUSED'
LEAST_FOR_OUTLIERS = 6
# times the median, and m and rad above it
_STRAY_RATIO, _STRAY_POSITION, _STRAY_ROTATION = 10.0, 5e-4, 5e-3


def start_chain(
    frames: Sequence[ScopeFrame], cameras: Sequence[CameraModel], pattern: TiePrior | None, min_pixel_sigma: float
) -> tuple[ChainState, float, Array]:
    """Return where to start, the noise of a pixel coordinate [px], and the patterns in the left camera (n, 4, 4)."""
    right_T_left = _rig(frames, cameras)
    boards = np.array([_board(frame, cameras, right_T_left) for frame in frames])
    rig = RigProblem([frame.views for frame in frames], (np.arange(0),) * len(cameras))
    state, fit = adjust(RigState(tuple(cameras), right_T_left, boards), rig.blocks, rig.moved)
    count = 2 * sum(len(view) for frame in frames for view in frame.views if view is not None)
    variance = fit.cost / max(count - rig.shared - 6 * len(frames), 1)
    pixel_sigma = max(float(np.sqrt(variance)), min_pixel_sigma)
    tracked = np.array([frame.scope_T_marker for frame in frames])
    if pattern is not None:
        scope_T_left = mean_pose(tracked @ pattern.pose @ inverse(state.first_T_boards))
        marker_T_pattern = pattern.pose
    else:
        boards = state.first_T_boards
        if len(frames) < LEAST_FOR_OUTLIERS:
            marker_T_pattern, scope_T_left = shah(tracked, boards)
        else:
            found = consensus_start(tracked, boards, shah)
            marker_T_pattern, scope_T_left = found.hand_T_eye, found.base_T_target
    ties = ChainTies(scope_T_left, marker_T_pattern, state.second_T_first)
    return ChainState(ties, tracked), pixel_sigma, state.first_T_boards


def strays(frames: Sequence[ScopeFrame], state: ChainState, boards: Array) -> tuple[Mask, list[LeftOut]]:
    """Find pictures whose tracked poses are far from the start that most agree on; they would spoil the noise."""
    keep = np.ones(len(frames), dtype=bool)
    if len(frames) < LEAST_FOR_OUTLIERS:
        return keep, []
    chain = np.array([state.ties.left_T_pattern(pose) for pose in state.scope_T_markers])
    centre = np.append(
        np.mean([v.points_board.mean(axis=0) for f in frames for v in f.views if v is not None], axis=0), 1
    )
    position = np.linalg.norm(((chain - boards) @ centre)[:, :3], axis=1)
    rotation = np.linalg.norm(rotation_log(np.swapaxes(chain[:, :3, :3], 1, 2) @ boards[:, :3, :3]), axis=1)
    for lengths, floor in ((position, _STRAY_POSITION), (rotation, _STRAY_ROTATION)):
        keep &= lengths < _STRAY_RATIO * np.median(lengths) + floor
    reason = 'the tracked poses do not belong to this picture: {:.1f} mm, {:.2f}° off'
    return keep, [
        LeftOut(frames[i].name, reason.format(position[i] * 1e3, np.degrees(rotation[i])))
        for i in range(len(frames))
        if not keep[i]
    ]


def _rig(frames: Sequence[ScopeFrame], cameras: Sequence[CameraModel]) -> Array:
    if len(cameras) < 2:
        return np.eye(4)
    both = [frame.views for frame in frames if all(view is not None for view in frame.views)]
    if not both:
        raise DegenerateGeometryError('no picture in which both cameras see the pattern', code=REFUSED)
    poses = [
        [locate_board(camera, view) for camera, view in zip(cameras, views, strict=True) if view is not None]
        for views in both
    ]
    return mean_pose(np.array([right @ inverse(left) for left, right in poses]))


def _board(frame: ScopeFrame, cameras: Sequence[CameraModel], right_T_left: Array) -> Array:
    if frame.views[0] is not None:
        return locate_board(cameras[0], frame.views[0])
    assert frame.views[1] is not None  # checked_frame has seen to it
    return np.asarray(inverse(right_T_left) @ locate_board(cameras[1], frame.views[1]))
