"""Whether a calibrated camera may be used, and why not."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from twin_nodes.core.calibration.camera_coverage import CameraCoverage
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import LeftOut
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.geometry.se3 import Array


class CameraLimits(Protocol):
    """The limits of `CameraConfig` that decide."""

    @property
    def good_views(self) -> int: ...  # noqa: D102
    @property
    def min_tilt(self) -> float: ...  # noqa: D102
    @property
    def warn_focal_ratio(self) -> float: ...  # noqa: D102
    @property
    def refuse_focal_ratio(self) -> float: ...  # noqa: D102
    @property
    def warn_rms(self) -> float: ...  # noqa: D102
    @property
    def refuse_rms(self) -> float: ...  # noqa: D102
    @property
    def refuse_outliers(self) -> float: ...  # noqa: D102


def judge_camera(
    camera: CameraModel,
    covariance: Array,
    rms: float,
    coverage: CameraCoverage,
    views: int,
    left_out: Sequence[LeftOut],
    offered: int,
    limits: CameraLimits,
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons.

    Args:
        camera: The camera.
        covariance: Of fx fy cx cy k…, shape (4 + k, 4 + k).
        rms: Reprojection error [px].
        coverage: What the views have shown.
        views: How many were used.
        left_out: What was not.
        offered: How many views there were.
        limits: When it is doubtful, and when refused.
    """
    share = float((np.sqrt(np.diag(covariance)[:2]) / camera.focal).max())
    refusals = []
    if share > limits.refuse_focal_ratio:
        refusals.append(f'the focal length is known to {share:.1%} only, {limits.refuse_focal_ratio:.1%} is the limit')
    if coverage.tilt < limits.min_tilt:
        refusals.append(
            f'all views are frontal (tilt {np.degrees(coverage.tilt):.0f}°, {np.degrees(limits.min_tilt):.0f}° is the '
            'least): focal length and distance cannot be told apart; tilt the board'
        )
    if rms > limits.refuse_rms:
        refusals.append(f'reprojection error {rms:.2f} px is above {limits.refuse_rms:g} px')
    if offered - views > limits.refuse_outliers * offered:
        refusals.append(f'{offered - views} of {offered} views had to be left out')
    if refusals:
        return Verdict.REFUSE, tuple(refusals)
    doubts = list(coverage.missing())
    if views < limits.good_views:
        doubts.append(f'{views} views are few, {limits.good_views} are better')
    if share > limits.warn_focal_ratio:
        doubts.append(f'the focal length is known to {share:.2%} only')
    if rms > limits.warn_rms:
        doubts.append(f'reprojection error {rms:.2f} px is above {limits.warn_rms:g} px')
    doubts += [f'{out.name}: {out.reason}' for out in left_out if out.whole]
    return (Verdict.WARN if doubts else Verdict.ACCEPT), tuple(doubts)
