"""Electromagnetic distortion from files: what `twin calibrate distortion` does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_hand_eye import pose_lines, stream_lines
from twin_nodes.app.offline_streams import NamedStream
from twin_nodes.core.calibration.distortion_fit import DistortionConfig, fit_distortion
from twin_nodes.core.calibration.distortion_ties import TiedDistortion, fit_points, fit_tied
from twin_nodes.core.calibration.hand_eye import HandEyeConfig
from twin_nodes.core.calibration.robot_world import calibrate_streams
from twin_nodes.core.calibration.temporal import TemporalConfig
from twin_nodes.core.calibration.temporal_refine import pair_streams, without_rests
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.distortion_fields import StoredDistortion, write_distortion
from twin_nodes.io.results import utc_date

TIES = ('solve', 'same', 'points')
_SHOWN = 5
_ALIKE_NS = 1_000_000


@dataclass(frozen=True, eq=False)
class DistortionReport:
    """A distortion field from files: the field with its ties, what was written or would be, and text."""

    tied: TiedDistortion
    stored: StoredDistortion
    text: str


def calibrate_distortion(
    measured: NamedStream,
    reference: NamedStream,
    *,
    ties: str = 'solve',
    config: DistortionConfig | None = None,
    offset: float | None = None,
    sensor: str = '',
    output: Path | str | None = None,
    date: str = '',
) -> DistortionReport:
    """Fit the field that corrects a distorted tracker.

    Args:
        measured: tracker_T_sensor as the distorted tracker says.
        reference: What is true: reference_T_marker of a marker fixed to the sensor (ties 'solve'), the true poses of
            the sensor itself in the frame of the tracker ('same'), or known points in a frame of their own ('points').
        ties: As above.
        config: Limits.
        offset: What is added to the stamps of the measured table [s]; where the stamps differ it is found from the
            motion when left out.
        sensor: Name of the sensor, for the file.
        output: Result file to write, or None.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        ConfigError: Unknown ties, or the result cannot be written.
        DegenerateGeometryError: The motion does not carry the field.
    """
    if ties not in TIES:
        raise ConfigError(f'ties={ties!r} is none of {", ".join(TIES)}')
    a, b, said = _paired(measured, reference, offset)
    if ties == 'solve':
        tied = fit_tied(a, b, config)
    elif ties == 'points':
        tied = fit_points(a, b, config)
    else:
        tied = TiedDistortion(fit_distortion(a, b, config), np.eye(4), np.eye(4))
    result = tied.result
    stored = StoredDistortion(
        field=result.field,
        errors={
            'raw_m': result.raw,
            'held_out_m': result.held_out,
            'held_out_p95_m': result.held_out_p95,
            'raw_rad': result.raw_rotation,
            'held_out_rad': result.held_out_rotation,
            'poses_count': float(len(a)),
            'outliers_count': float(len(result.outliers)),
        },
        verdict=str(result.verdict),
        date=date or utc_date(),
        sensor=sensor,
        reasons=result.reasons,
        data_sha256=(measured.sha256, reference.sha256),
        data_file=f'{measured.name} {reference.name}',
    )
    if output is not None:
        write_distortion(output, stored)
    return DistortionReport(tied, stored, _text(tied, measured, reference, said, ties))


def _paired(measured: NamedStream, reference: NamedStream, offset: float | None) -> tuple[Array, Array, str]:
    """Return both at the same instants (n, 4, 4), and a word on how they were brought there."""
    first, second = measured.stream, reference.stream
    alike = len(first.stamps_ns) == len(second.stamps_ns) and offset is None
    if alike and int(np.abs(first.stamps_ns - second.stamps_ns).max()) <= _ALIKE_NS:
        return first.poses, second.poses, 'the stamps agree: row by row'
    if offset is None:
        # the distortion is an error for the ties, but hardly one for the offset
        loose = HandEyeConfig(refuse_position_sigma=1.0, refuse_rotation_sigma=1.0, refuse_outliers=1.0)
        found = calibrate_streams(second, first, loose, temporal=TemporalConfig(refuse_outliers=1.0))
        offset_ns = found.offset_ns
        said = f'offset {offset_ns * 1e-6:.2f} ± {found.offset_sigma * 1e3:.2f} ms added to {measured.name}'
    else:
        offset_ns = round(offset * NANOSECONDS)
        said = f'offset {offset_ns * 1e-6:.2f} ms (given) added to {measured.name}'
    pairs = without_rests(pair_streams(second, first, offset_ns, 0.0, max_gap=0.12))
    return pairs.target_T_eye, pairs.base_T_hand, said


def _text(tied: TiedDistortion, measured: NamedStream, reference: NamedStream, said: str, ties: str) -> str:
    result, shown = tied.result, tied.result.candidates[: _SHOWN - 1]
    size = (result.field.hull[:, :3].shape[0], (result.field.high - result.field.low) * 1e3)
    lines = [
        *stream_lines(measured, reference),
        f'pairs               {len(result.residuals)}, of which {len(result.outliers)} were left out; {said}',
        f'volume              {size[1][0]:.0f} × {size[1][1]:.0f} × {size[1][2]:.0f} mm, outside it poses are refused',
        f'field               {result.field.basis.name}, smoothness {result.smoothness:g}',
    ]
    lines += [f'  tried             {c.basis.name}, {c.smoothness:g}: {c.residual * 1e3:.3f} mm' for c in shown]
    if ties == 'solve':
        zero = np.zeros((6, 6))
        lines += [line.split('   ±')[0] for line in pose_lines('sensor on marker', tied.marker_T_sensor, zero)]
        lines += [line.split('   ±')[0] for line in pose_lines('tracker in reference', tied.reference_T_tracker, zero)]
    lines += [
        f'before              {result.raw * 1e3:.3f} mm, {np.degrees(result.raw_rotation):.3f}° RMS',
        f'after, held out     {result.held_out * 1e3:.3f} mm, {np.degrees(result.held_out_rotation):.3f}° RMS, '
        f'95 % within {result.held_out_p95 * 1e3:.3f} mm',
    ]
    if result.field.turn is None:
        lines.append('rotations           not measured: they stay as they are')
    worst = sorted(result.outliers, key=lambda index: -result.residuals[index])[:_SHOWN]
    lines += [f'outlier             pair {i}, {result.residuals[i] * 1e3:.2f} mm' for i in worst]
    lines.append(f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons))
    return '\n'.join(lines)
