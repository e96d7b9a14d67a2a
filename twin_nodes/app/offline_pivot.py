"""`twin calibrate pivot`: the tip of a tool from a recording."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_recordings import choose_device, poses_in
from twin_nodes.app.offline_text import pivot_text
from twin_nodes.core.calibration.pivot import PivotConfig, PivotResult, solve_pivot
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, TwinError
from twin_nodes.core.geometry.se3 import Array, make_transform, quat_from_rotation, rotation_from_quat
from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.recordings.pose_rows import ORDER_GUESSED
from twin_nodes.io.recordings.recording import Recording
from twin_nodes.io.results import StoredResult, utc_date, write_result


@dataclass(frozen=True)
class PivotReport:
    """A pivot calibration from a file.

    Args:
        result: The tip and its errors.
        recording: What it was computed from.
        stamps_ns: Of the poses used, outliers too.
        stored: What was written, or would be.
        text: For a terminal.
    """

    result: PivotResult
    recording: Recording
    stamps_ns: tuple[int, ...]
    stored: StoredResult
    text: str


def calibrate_pivot(
    path: Path | str,
    *,
    device: str = '',
    reference: str = '',
    robust: bool = True,
    config: PivotConfig | None = None,
    output: Path | str | None = None,
    date: str = '',
) -> PivotReport:
    """Find the tip of a tool from a recording, or a folder of matrices, in which it pivots.

    Args:
        path: The recording or folder.
        device: The tool in it; may be left out when there is only one.
        reference: A device in whose frame the dimple is fixed; the tracker itself when left out.
        robust: Whether to leave out and name poses that do not fit.
        config: Limits.
        output: Result file to write, or None.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        InputError: No such file or device, or too little of it is readable.
        DegenerateGeometryError: The motion does not carry a tip.
        ConfigError: The result cannot be written.
    """
    recording = open_recording(path)
    device = choose_device(recording, device, reference)
    stamps_ns, poses = poses_in(recording, device, reference)
    try:
        result = solve_pivot(poses, config, robust=robust)
    except DegenerateGeometryError as error:
        hint = _other_order(recording, poses, config, robust)
        raise DegenerateGeometryError(f'{error}{"; " if hint else ""}{hint}', code=error.code) from None
    if result.verdict is Verdict.REFUSE and (hint := _other_order(recording, poses, config, robust)):
        result = replace(result, reasons=(*result.reasons, hint))
    stored = _stored(result, recording, device, len(poses), date or utc_date())
    if output is not None:
        write_result(output, stored)
    return PivotReport(result, recording, stamps_ns, stored, pivot_text(result, recording, device, stamps_ns))


def _stored(result: PivotResult, recording: Recording, device: str, count: int, date: str) -> StoredResult:
    """Return what goes into the file: the tip in the axes of the marker body, because a pivot tells no direction."""
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = result.tip_covariance
    marker = device.split('To')[0] if 'To' in device else device
    return StoredResult(
        kind='tool_tip',
        parent_frame=marker.lower(),
        child_frame=f'{marker.lower()}_tip',
        parent_T_child=make_transform(np.eye(3), result.tip_tool),
        covariance=covariance,
        errors={
            'rms_m': result.rms,
            'rms_per_axis_m': result.component_rms,
            'max_residual_m': result.max_residual,
            'tip_sigma_m': result.tip_sigma,
            'tilt_rad': result.coverage.tilt,
            'roll_rad': result.coverage.roll,
            'poses_count': float(count),
            'outliers_count': float(len(result.outliers)),
            'condition_ratio': result.condition,
        },
        verdict=result.verdict,
        date=date,
        tool=marker,
        reasons=result.reasons,
        data_sha256=recording.sha256,
        data_file=recording.path.name,
    )


def _other_order(recording: Recording, poses: Array, config: PivotConfig | None, robust: bool) -> str:
    """Return what to type where quaternions whose order nothing told would fit as w x y z, else ''."""
    if not any(note.endswith(ORDER_GUESSED) for note in recording.notes):
        return ''
    quaternions = np.array([quat_from_rotation(pose[:3, :3]) for pose in poses])[:, [1, 2, 3, 0]]
    try:
        other = solve_pivot(make_transform(rotation_from_quat(quaternions), poses[:, :3, 3]), config, robust=robust)
    except TwinError:
        return ''
    if other.verdict is Verdict.REFUSE:
        return ''
    return (
        f'with quaternions read as w x y z the poses fit, with an RMS residual of {other.rms * 1e3:.2f} mm: write '
        '`# t x y z qw qx qy qz` as the first line'
    )
