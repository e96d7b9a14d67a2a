"""Spin calibration from files: what `twin calibrate spin` does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_recordings import choose_device, poses_in
from twin_nodes.core.calibration.spin import SpinConfig, SpinResult, solve_spin
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.results import StoredResult, utc_date, write_result
from twin_nodes.io.tip_frames import stored_tip_frame


@dataclass(frozen=True, eq=False)
class SpinReport:
    """A spin calibration from a file: the result, what was written or would be (None without a tip), and text."""

    result: SpinResult
    stored: StoredResult | None
    text: str


def calibrate_spin(
    path: Path | str,
    *,
    tip: StoredResult | None = None,
    device: str = '',
    reference: str = '',
    robust: bool = True,
    config: SpinConfig | None = None,
    output: Path | str | None = None,
    date: str = '',
) -> SpinReport:
    """Find the axis of a tool from a recording, or a folder of matrices, in which it turns about its shaft.

    Args:
        path: The recording or folder.
        tip: Result of the pivot of the same tool; needed to write a result, and to tell a swing from a spin.
        device: The tool in it; may be left out when there is only one.
        reference: A device in whose frame the shaft is held still; the tracker itself when left out.
        robust: Whether to leave out and name poses that do not fit.
        config: Limits.
        output: Result file to write, or None: the whole tip frame.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        InputError: No such file or device, or too little of it is readable.
        DegenerateGeometryError: The motion does not carry an axis.
        ConfigError: The tip is another tool's, is missing for an output, or the result cannot be written.
    """
    if output is not None and tip is None:
        raise ConfigError(f'{output}: a tip frame needs the tip too: `twin calibrate pivot`, then --tip FILE')
    recording = open_recording(path)
    device = choose_device(recording, device, reference)
    stamps_ns, poses = poses_in(recording, device, reference)
    marker = device.split('To')[0] if 'To' in device else device
    if tip is not None and tip.parent_frame != marker.lower():
        raise ConfigError(f'the tip is that of {tip.parent_frame!r}, the recording has {marker.lower()!r}')
    tip_tool = tip.parent_T_child[:3, 3] if tip is not None else None
    result = solve_spin(poses, config, tip_tool=tip_tool, robust=robust)
    stored = None
    if tip is not None:
        stored = stored_tip_frame(
            tip, result, date=date or utc_date(), data_sha256=recording.sha256, data_file=recording.path.name
        )
        if output is not None:
            write_result(output, stored)
    text = spin_text(result, f'{device}: {len(stamps_ns)} poses of {recording.path.name}', stamps_ns)
    return SpinReport(result, stored, text)


def spin_text(result: SpinResult, title: str, stamps_ns: tuple[int, ...]) -> str:
    """Return a spin calibration as lines for a terminal, in millimetres and degrees."""
    axis, sigma = result.axis_tool, np.degrees(np.sqrt(np.maximum(np.diag(result.covariance), 0.0)))
    lines = [
        title,
        f'axis in the marker  {axis[0]:10.5f} {axis[1]:10.5f} {axis[2]:10.5f}'
        f'   ± {sigma[0]:.3f}° {sigma[1]:.3f}° {sigma[2]:.3f}° (σ {np.degrees(result.axis_sigma):.3f}°)',
        f'spin                {np.degrees(result.spin):.0f}° of a turn covered',
        f'shaft               wandered by {np.degrees(result.wander):.2f}° RMS, '
        f'{result.lever * 1e3:.1f} mm from the marker',
    ]
    if result.off_tip is not None:
        lines.append(f'tip                 axis {np.degrees(result.off_tip):.1f}° off the line from tip to marker')
    else:
        lines.append('tip                 not given: the sign of the axis is arbitrary (--tip FILE)')
    lines += [
        f'outlier             pose {i}, stamp {stamps_ns[i]}, {np.degrees(result.residuals[i]):.2f}°'
        for i in result.outliers
    ]
    lines.append(f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons))
    return '\n'.join(lines)
