"""Where camera calibration starts: OpenCV's solvers, called in the way that OpenCV 4.6 to 5 share."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS, EQUIDISTANT, PLUMB_BOB, RATIONAL
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import RigState, rms, view_errors
from twin_nodes.core.calibration.camera_views import BoardView
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp

REFUSED = 'CALIBRATION_REFUSED'


class StartSettings(Protocol):
    """What of `CameraConfig` the start needs."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def radial(self) -> int: ...  # noqa: D102
    @property
    def tangential(self) -> bool: ...  # noqa: D102


def start_camera(
    views: Sequence[BoardView], size: tuple[int, int], config: StartSettings, *, name: str = ''
) -> RigState:
    """Calibrate with OpenCV.

    Args:
        views: Those that can be used.
        size: Of the images [px].
        config: The lens model.
        name: Of the camera.

    Raises:
        DegenerateGeometryError: OpenCV finds no camera, which it says of views that are all frontal or equal.
    """
    import cv2

    boards = [np.ascontiguousarray(view.points_board[:, None], np.float32) for view in views]
    pixels = [np.ascontiguousarray(view.pixels[:, None], np.float32) for view in views]
    try:
        if config.model == EQUIDISTANT:
            matrix, coefficients, turns, shifts = _fisheye(cv2, boards, pixels, size)
        else:
            found = cv2.calibrateCamera(boards, pixels, size, None, None, flags=_flags(cv2, config))
            _, matrix, coefficients, turns, shifts = found
    except cv2.error as error:
        reason = ' '.join(str(error).split())[:120]
        raise DegenerateGeometryError(
            f'no camera explains these views ({reason}): tilt the board', code=REFUSED
        ) from None
    coefficients = np.asarray(coefficients, float).ravel()[: len(COEFFICIENTS[config.model])]
    poses = [
        make_transform(rotation_exp(np.ravel(turn)), np.ravel(shift)) for turn, shift in zip(turns, shifts, strict=True)
    ]
    try:
        camera = CameraModel(size[0], size[1], np.asarray(matrix, float), coefficients, config.model, name=name)
        for view, pose in zip(views, poses, strict=True):
            view_errors(camera, view, pose)
    except InputError as error:
        raise DegenerateGeometryError(
            f'no camera explains these views ({error}): tilt the board', code=REFUSED
        ) from None
    return RigState((camera,), np.eye(4), np.array(poses))


def locate_board(camera: CameraModel, view: BoardView) -> Array:
    """Return the pose of a board in a known camera [m], shape (4, 4): the better of the two of a plane, refined.

    Infinitesimal plane-based pose (Collins and Bartoli 2014) for flat boards, SQPnP (Terzakis and Lourakis 2020) for
    others, then Levenberg and Marquardt.

    Raises:
        InputError: A pixel that no ray reaches through the lens.
        DegenerateGeometryError: No pose brings the board before the camera.
    """
    import cv2

    rays = np.ascontiguousarray(camera.undistort(view.pixels)[:, None])
    board = np.ascontiguousarray(view.points_board[:, None])
    centred = board - board.mean(axis=0)
    flat = bool(np.abs(centred[:, 0, 2]).max() < 1e-9)
    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    lens: Any = np.zeros(4)
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(centred if flat else board, rays, np.eye(3), lens, flags=method)
    except cv2.error:
        turns, shifts = (), ()
    best: tuple[float, Array] | None = None
    for turn, shift in zip(turns, shifts, strict=True):
        turn, shift = cv2.solvePnPRefineLM(centred if flat else board, rays, np.eye(3), lens, turn, shift)
        rotation = rotation_exp(np.ravel(turn))
        position = np.ravel(shift) - (rotation @ board.mean(axis=0)[0] if flat else 0.0)
        pose = make_transform(rotation, position)
        try:
            error = rms(view_errors(camera, view, pose))
        except InputError:
            continue
        if np.isfinite(error) and (best is None or error < best[0]):
            best = error, pose
    if best is None:
        raise DegenerateGeometryError(f'view {view.name}: no pose brings the board before the camera', code=REFUSED)
    return best[1]


def _flags(cv2: Any, config: StartSettings) -> int:
    flags = cv2.CALIB_RATIONAL_MODEL if config.model == RATIONAL else 0
    if not config.tangential:
        flags |= cv2.CALIB_ZERO_TANGENT_DIST
    if config.model == PLUMB_BOB:
        for order, flag in ((1, cv2.CALIB_FIX_K1), (2, cv2.CALIB_FIX_K2), (3, cv2.CALIB_FIX_K3)):
            flags |= flag if config.radial < order else 0
    return int(flags)


def _fisheye(cv2: Any, boards: list[Any], pixels: list[Any], size: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    names = ('CALIB_RECOMPUTE_EXTRINSIC', 'CALIB_FIX_SKEW')
    flags = sum(int(getattr(cv2.fisheye, name, 0) or getattr(cv2, name)) for name in names)
    boards = [board.reshape(1, -1, 3).astype(np.float64) for board in boards]
    pixels = [pixel.reshape(1, -1, 2).astype(np.float64) for pixel in pixels]
    found = cv2.fisheye.calibrate(boards, pixels, size, np.eye(3), np.zeros((4, 1)), flags=flags)
    return found[1], found[2], found[3], found[4]
