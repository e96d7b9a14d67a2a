"""Hand-eye calibration and time offsets from files: what `twin calibrate hand-eye` and `twin calibrate time` do."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_other_ways import other_way
from twin_nodes.app.offline_streams import NamedStream
from twin_nodes.core.calibration.hand_eye import HandEyeConfig, HandEyeResult
from twin_nodes.core.calibration.robot_world import calibrate_streams
from twin_nodes.core.calibration.temporal import OffsetResult, TemporalConfig, estimate_offset
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, quat_from_rotation
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.results import StoredResult, utc_date, write_result
from twin_nodes.io.time_offsets import StoredOffset, write_offset

_OUTLIERS_SHOWN = 5


@dataclass(frozen=True, eq=False)
class HandEyeReport:
    """A hand-eye calibration from files: the result, what was written or would be, and text for a terminal."""

    result: HandEyeResult
    stored: StoredResult
    stored_target: StoredResult
    text: str


@dataclass(frozen=True, eq=False)
class OffsetReport:
    """A time offset from files: the result, what was written or would be, and text for a terminal."""

    result: OffsetResult
    stored: StoredOffset
    text: str


def calibrate_hand_eye(
    hand: NamedStream,
    eye: NamedStream,
    *,
    config: HandEyeConfig | None = None,
    offset: float | None = None,
    max_offset: float = 0.0,
    frames: tuple[str, str] = ('hand', 'eye'),
    output: Path | str | None = None,
    target_output: Path | str | None = None,
    date: str = '',
) -> HandEyeReport:
    """Find hand_T_eye and base_T_target from two streams.

    Args:
        hand: base_T_hand.
        eye: target_T_eye.
        config: Limits.
        offset: What is added to the stamps of the eye [s]; found from the motion when left out.
        max_offset: Largest offset that is looked for [s]; 0 for any.
        frames: Names of the frames of hand and eye.
        output: Result file to write, or None.
        target_output: Result file for base_T_target, or None.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        DegenerateGeometryError: The motion does not carry an answer.
        ConfigError: The result cannot be written.
    """
    known_ns = None if offset is None else round(offset * NANOSECONDS)
    temporal = TemporalConfig(max_offset=max_offset)

    def solve(hand: NamedStream, eye: NamedStream) -> HandEyeResult:
        return calibrate_streams(hand.stream, eye.stream, config, temporal=temporal, offset_ns=known_ns)

    try:
        result = solve(hand, eye)
    except DegenerateGeometryError as error:
        raise DegenerateGeometryError(f'{error}{other_way(solve, hand, eye, "; ")}', code=error.code) from None
    if result.verdict is Verdict.REFUSE and (hint := other_way(solve, hand, eye)):
        result = replace(result, reasons=(*result.reasons, hint))
    date = date or utc_date()
    stored = _stored(result, 'hand_eye', frames, (hand, eye), date)
    stored_target = _stored(result, 'robot_world', ('base', 'target'), (hand, eye), date)
    for path, content in ((output, stored), (target_output, stored_target)):
        if path is not None:
            write_result(path, content)
    return HandEyeReport(result, stored, stored_target, hand_eye_text(result, hand, eye))


def calibrate_time(
    first: NamedStream,
    second: NamedStream,
    *,
    max_offset: float = 0.0,
    config: TemporalConfig | None = None,
    output: Path | str | None = None,
    date: str = '',
) -> OffsetReport:
    """Find the offset of the clocks of two streams of one rigid body.

    Args:
        first: The stream whose clock counts.
        second: The other one.
        max_offset: Largest offset that is looked for [s]; 0 for any.
        config: Limits; takes the place of `max_offset`.
        output: Result file to write, or None.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        DegenerateGeometryError: The motion does not carry an offset.
        ConfigError: The result cannot be written.
    """
    result = estimate_offset(first.stream, second.stream, config or TemporalConfig(max_offset=max_offset))
    stored = StoredOffset(
        first=first.name,
        second=second.name,
        offset_ns=result.offset_ns,
        sigma_s=result.sigma,
        low_ns=result.interval_ns[0],
        high_ns=result.interval_ns[1],
        verdict=str(result.verdict),
        date=date or utc_date(),
        reasons=result.reasons,
        data_sha256=(first.sha256, second.sha256),
    )
    if output is not None:
        write_offset(output, stored)
    return OffsetReport(result, stored, offset_text(result, first, second))


def _stored(
    result: HandEyeResult, kind: str, frames: tuple[str, str], streams: tuple[NamedStream, NamedStream], date: str
) -> StoredResult:
    is_hand = kind == 'hand_eye'
    return StoredResult(
        kind=kind,
        parent_frame=frames[0],
        child_frame=frames[1],
        parent_T_child=result.hand_T_eye if is_hand else result.base_T_target,
        covariance=result.covariance if is_hand else result.target_covariance,
        errors=result.figures(),
        verdict=result.verdict,
        date=date,
        reasons=result.reasons,
        data_sha256=streams[1].sha256,
        data_file=f'{streams[0].name} {streams[1].name}',
    )


def hand_eye_text(result: HandEyeResult, hand: NamedStream, eye: NamedStream) -> str:
    """Return a hand-eye calibration as lines for a terminal, in millimetres, degrees and milliseconds."""
    position, rotation = result.position_residuals * 1e3, np.degrees(result.rotation_residuals)
    used = np.ones(len(position), dtype=bool)
    used[list(result.outliers)] = False
    offset = f'{result.offset_ns * 1e-6:.3f} ms' + (
        f' ± {result.offset_sigma * 1e3:.3f}' if result.offset_sigma else ' (given)'
    )
    lines = [
        *stream_lines(hand, eye),
        *pose_lines('eye in the hand', result.hand_T_eye, result.covariance),
        *pose_lines('target in the base', result.base_T_target, result.target_covariance),
        f'clock of the eye    {offset}, to be added; stamps jitter by {result.jitter * 1e3:.1f} ms',
        f'residual            median {np.median(position):.2f} mm, {np.median(rotation):.3f}°; '
        f'RMS of those used {np.sqrt(np.mean(position[used] ** 2)):.2f} mm, '
        f'{np.sqrt(np.mean(rotation[used] ** 2)):.3f}°',
        f'turned              {np.degrees(result.turn):.0f}° about one axis, {np.degrees(result.span):.0f}° about the '
        'second',
        f'pairs               {len(position)}, of which {len(result.outliers)} were left out',
    ]
    worst = sorted(result.outliers, key=lambda index: -result.position_residuals[index])[:_OUTLIERS_SHOWN]
    lines += [
        f'outlier             pair {i}, stamp {result.stamps_ns[i]}, {position[i]:.1f} mm, {rotation[i]:.2f}°'
        for i in worst
    ]
    lines.append(f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons))
    return '\n'.join(lines)


def offset_text(result: OffsetResult, first: NamedStream, second: NamedStream) -> str:
    """Return a time offset as lines for a terminal."""
    low, high = (value * 1e-6 for value in result.interval_ns)
    left = (
        f'{np.degrees(result.residual_rotation):.3f}°'
        if result.residual_rotation
        else f'{result.residual_position * 1e3:.2f} mm'
    )
    lines = [
        *stream_lines(first, second),
        f'offset              {result.offset_ns * 1e-6:.3f} ms, to be added to the stamps of {second.name}',
        f'95 % interval       {low:.3f} … {high:.3f} ms (sigma {result.sigma * 1e3:.3f} ms)',
        f'speeds              correlate by {result.correlation:.3f} over {result.overlap:.1f} s, '
        f'ambiguity {result.ambiguity:.2f}',
        f'residual            median {left}, stamps jitter by {result.jitter * 1e3:.1f} ms',
        f'pairs               {result.pairs}, of which {result.outliers} were left out',
        f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons),
    ]
    return '\n'.join(lines)


def stream_lines(*streams: NamedStream) -> list[str]:
    """Return how many poses each stream has, how fast, and what was mended, for a terminal."""
    lines = []
    for named in streams:
        stream = named.stream
        lines.append(
            f'{named.name}: {len(stream.stamps_ns)} poses in {stream.duration:.1f} s at {1.0 / stream.period:.0f} Hz, '
            f'{stream.merged} stamps repeated, {stream.reordered} out of order'
        )
        lines += [f'  {note}' for note in named.notes]
    return lines


def pose_lines(label: str, pose: Array, covariance: Array) -> list[str]:
    """Return a pose with its sigma as two lines for a terminal, in millimetres and degrees."""
    position, sigma = pose[:3, 3] * 1e3, np.sqrt(np.diag(covariance))
    quat = quat_from_rotation(pose[:3, :3])
    return [
        f'{label:<19} {position[0]:.3f} {position[1]:.3f} {position[2]:.3f} mm'
        f'   ± {sigma[0] * 1e3:.3f} {sigma[1] * 1e3:.3f} {sigma[2] * 1e3:.3f}',
        f'{"":<19} xyzw {quat[0]:.5f} {quat[1]:.5f} {quat[2]:.5f} {quat[3]:.5f}'
        f'   ± {np.degrees(sigma[3]):.3f} {np.degrees(sigma[4]):.3f} {np.degrees(sigma[5]):.3f}°',
    ]
