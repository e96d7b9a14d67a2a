"""Intrinsics of a camera from views of a board (Zhang 2000), with their uncertainty and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_bundle import BundleFit, adjust, covariance_of, memory_of_views
from twin_nodes.core.calibration.camera_coverage import CameraCoverage, measure_coverage
from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS, EQUIDISTANT, PLUMB_BOB, RATIONAL
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import Indices, RigProblem, RigState, rms, view_errors
from twin_nodes.core.calibration.camera_start import start_camera
from twin_nodes.core.calibration.camera_verdict import judge_camera
from twin_nodes.core.calibration.camera_views import (
    BoardView,
    LeftOut,
    Mask,
    check_view,
    common_size,
    without_mirrored,
    without_repeats,
)
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'CALIBRATION_REFUSED'
_NOTHING = 1e-4  # px; corners without noise are off by rounding alone, whose tail is long
_ROUNDS = 5


@dataclass(frozen=True)
class CameraConfig:
    """How a camera is calibrated, and when that is good enough."""

    model: str = setting('Lens model.', PLUMB_BOB, choices=tuple(COEFFICIENTS))
    radial: int = setting('Radial coefficients k1, k2, k3 of plumb_bob that are sought.', 3, minimum=0, maximum=3)
    tangential: bool = setting('Whether p1, p2 of the polynomial models are sought.', True)
    min_views: int = setting('Fewer views are refused.', 4, minimum=3, maximum=10000)
    good_views: int = setting('Fewer views are doubtful.', 8, minimum=3, maximum=10000)
    min_tilt: float = setting(
        'Tilt of the board below which the focal length is not seen.', 0.15, unit='rad', minimum=0.0, maximum=1.5
    )
    warn_focal_ratio: float = setting(
        'Uncertainty of the focal length, as a share, above which it is doubtful.', 0.005, minimum=0.0, maximum=1.0
    )
    refuse_focal_ratio: float = setting(
        'Uncertainty of the focal length, as a share, above which it is refused.', 0.02, minimum=0.0, maximum=1.0
    )
    warn_rms: float = setting('Reprojection error above which it is doubtful [px].', 1.0, minimum=0.0, maximum=100.0)
    refuse_rms: float = setting('Reprojection error above which it is refused [px].', 5.0, minimum=0.0, maximum=100.0)
    view_ratio: float = setting(
        'A view whose reprojection error is this many times the median is left out.', 3.0, minimum=1.5, maximum=100.0
    )
    corner_ratio: float = setting(
        'A corner this many robust standard deviations off is left out.', 6.0, minimum=3.0, maximum=100.0
    )
    refuse_outliers: float = setting(
        'Share of views left out as outliers above which it is refused.', 0.4, minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        for low, high in (
            ('min_views', 'good_views'), ('warn_focal_ratio', 'refuse_focal_ratio'), ('warn_rms', 'refuse_rms'),
        ):  # fmt: skip
            if getattr(self, high) < getattr(self, low):
                raise ConfigError(f'{high}={getattr(self, high)} must not be below {low}={getattr(self, low)}')


@dataclass(frozen=True, eq=False)
class CameraResult:
    """A camera and how far it can be trusted.

    Args:
        camera: The camera.
        covariance: Of fx fy cx cy k…, zero where held, shape (4 + k, 4 + k).
        rms: Reprojection error over all corners used [px], as OpenCV states it.
        pixel_sigma: Standard deviation of one pixel coordinate.
        memory: By how much the variances were raised because errors within a view go together.
        views: Those used, without the corners left out.
        camera_T_boards: Pose of the board in each of them [m], shape (n, 4, 4).
        view_rms: Reprojection error of each of them [px], shape (n,).
        left_out: Views and corners that were not used, and why.
        coverage: What the views have shown.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    camera: CameraModel
    covariance: Array
    rms: float
    pixel_sigma: float
    memory: float
    views: tuple[BoardView, ...]
    camera_T_boards: Array
    view_rms: Array
    left_out: tuple[LeftOut, ...]
    coverage: CameraCoverage
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def sigma(self) -> Array:
        """Standard deviations of fx fy cx cy k…, shape (4 + k,)."""
        return np.sqrt(np.diag(self.covariance))


def calibrate_camera(
    views: Sequence[BoardView],
    config: CameraConfig | None = None,
    *,
    size: tuple[int, int] | None = None,
    facing: int = 0,
    name: str = '',
) -> CameraResult:
    """Find the intrinsics of a camera.

    OpenCV's solver gives the start, a bundle adjustment of our own the least-squares solution and its covariance. Views
    and corners that do not fit the others are left out and named.

    Args:
        views: Of one board, or of several; points in metres.
        config: Model and limits.
        size: Width and height of the images [px], where the views do not say it.
        facing: See `camera_views.without_mirrored`.
        name: Of the camera.

    Raises:
        InputError: NaN, mixed sizes, corners outside the image, the wrong unit.
        DegenerateGeometryError: Too few views, or all of them frontal.
    """
    config = config or CameraConfig()
    usable, left = select_views(views, config.min_views, facing=facing)
    size = common_size(usable, size)
    start = start_camera(usable, size, config, name=name)
    free = free_parameters(config)
    used, state, fit, dropped = _fit_without_outliers(usable, start, free, config)
    errors = [view_errors(state.cameras[0], view, pose) for view, pose in zip(used, state.first_T_boards, strict=True)]
    freedom = 2 * sum(len(view) for view in used) - len(free) - 6 * len(used)
    variance = float(sum((error**2).sum() for error in errors)) / max(freedom, 1)
    memory = memory_of_views(fit.information / variance, fit.scores / variance)
    covariance = np.zeros((4 + len(state.cameras[0].distortion),) * 2)
    covariance[np.ix_(free, free)] = covariance_of(fit.information, what=_what(config)) * variance * memory
    coverage = measure_coverage(used, size, state.first_T_boards)
    left_out = (*left, *dropped)
    verdict, reasons = judge_camera(
        state.cameras[0], covariance, rms(np.concatenate(errors)), coverage, len(used), left_out, len(views), config
    )
    return CameraResult(
        camera=state.cameras[0],
        covariance=covariance,
        rms=rms(np.concatenate(errors)),
        pixel_sigma=float(np.sqrt(variance)),
        memory=memory,
        views=tuple(used),
        camera_T_boards=state.first_T_boards,
        view_rms=np.array([rms(error) for error in errors]),
        left_out=left_out,
        coverage=coverage,
        verdict=verdict,
        reasons=reasons,
    )


def _what(config: CameraConfig) -> str:
    if config.model == RATIONAL:
        return 'the eight coefficients of rational_polynomial (plumb_bob has five)'
    return 'the focal length and the lens'


def select_views(views: Sequence[BoardView], least: int, *, facing: int = 0) -> tuple[list[BoardView], list[LeftOut]]:
    """Return the views that can be used, and why others cannot.

    Raises:
        InputError: NaN, wrong shapes, or the wrong unit in any of them.
        DegenerateGeometryError: Too few are left.
    """
    checked = [check_view(view) for view in views]
    kept, repeated = without_repeats(checked)
    kept, mirrored = without_mirrored(kept, facing=facing)
    left = [*repeated, *mirrored]
    if len(kept) < least:
        because = ''.join(f'; {out.name} {out.reason}' for out in left[:3])
        raise DegenerateGeometryError(
            f'{len(kept)} views of {len(views)} can be used, at least {least} are needed{because}', code=REFUSED
        )
    return kept, left


def free_parameters(config: CameraConfig) -> Indices:
    """Return which of fx fy cx cy k… are sought, as indices."""
    if config.model == EQUIDISTANT:
        return np.arange(8, dtype=np.intp)
    held = {
        4 + COEFFICIENTS[PLUMB_BOB].index(name)
        for name, sought in (
            ('k1', config.radial > 0), ('k2', config.radial > 1), ('k3', config.radial > 2),
            ('p1', config.tangential), ('p2', config.tangential),
        )
        if not sought
    }  # fmt: skip
    return np.array([index for index in range(4 + len(COEFFICIENTS[config.model])) if index not in held], dtype=np.intp)


def _fit_without_outliers(
    views: list[BoardView], state: RigState, free: Indices, config: CameraConfig
) -> tuple[list[BoardView], RigState, BundleFit, list[LeftOut]]:
    left: list[LeftOut] = []
    for _ in range(_ROUNDS):
        problem = RigProblem([(view,) for view in views], (free,))
        state, fit = adjust(state, problem.blocks, problem.moved)
        keep, thinned, found = leave_out(views, state, config)
        if not found:
            return views, state, fit, left
        if keep.sum() < config.min_views:
            break
        left += found
        views = [view for view, kept in zip(thinned, keep, strict=True) if kept]
        state = RigState(state.cameras, state.second_T_first, state.first_T_boards[keep])
    raise DegenerateGeometryError(
        'the views do not agree on one camera: ' + '; '.join(f'{out.name} {out.reason}' for out in (*left, *found)[:3]),
        code=REFUSED,
    )


def leave_out(
    views: Sequence[BoardView], state: RigState, config: CameraConfig
) -> tuple[Mask, list[BoardView], list[LeftOut]]:
    """Find views and corners that do not fit: which views stay (n,), all views without such corners, and reasons."""
    errors = [view_errors(state.cameras[0], v, pose) for v, pose in zip(views, state.first_T_boards, strict=True)]
    lengths = [np.linalg.norm(error, axis=1) for error in errors]
    typical = np.array([np.sqrt(np.median(length**2) / np.log(2.0)) for length in lengths])
    limit = config.view_ratio * float(np.median(typical)) + 0.05
    found, thinned, keep = [], [], np.ones(len(views), dtype=bool)
    for index, (view, length) in enumerate(zip(views, lengths, strict=True)):
        off = length > config.corner_ratio * max(typical[index], float(np.median(typical))) + _NOTHING
        thinned.append(view.chosen(~off))
        if typical[index] > limit:
            keep[index] = False
            found.append(
                LeftOut(
                    view.name,
                    f'does not fit the others: {typical[index]:.2f} px where {np.median(typical):.2f} is usual',
                )
            )
        elif off.sum() > 0.3 * len(view) or (~off).sum() < 6:
            keep[index] = False
            found.append(LeftOut(view.name, f'{int(off.sum())} of its {len(view)} corners do not fit'))
        elif off.any():
            worst = ', '.join(str(i) for i in view.ids[off][:5])
            found.append(
                LeftOut(view.name, f'corner {worst} left out: up to {length[off].max():.1f} px off', whole=False)
            )
    return keep, thinned, found
