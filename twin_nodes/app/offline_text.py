"""The text that offline calibration and registration print."""

from pathlib import Path

import numpy as np

from twin_nodes.core.calibration.pivot import PivotResult
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.landmark_matching import LandmarkMatch
from twin_nodes.core.registration.paired_points import PairedPointResult
from twin_nodes.io.recordings.recording import Recording


def pivot_text(result: PivotResult, recording: Recording, device: str, stamps_ns: tuple[int, ...]) -> str:
    """Return a pivot calibration as lines for a terminal, in millimetres and degrees."""
    tip, pivot = result.tip_tool * 1e3, result.pivot_tracker * 1e3
    sigma = np.sqrt(np.diag(result.tip_covariance)) * 1e3
    coverage = result.coverage
    lines = [
        f'{device}: {len(stamps_ns)} poses of {recording.path.name}',
        *(f'  note: {note}' for note in recording.notes),
        f'tip in the marker   {tip[0]:10.3f} {tip[1]:10.3f} {tip[2]:10.3f} mm'
        f'   ± {sigma[0]:.3f} {sigma[1]:.3f} {sigma[2]:.3f}',
        f'pivot               {pivot[0]:10.3f} {pivot[1]:10.3f} {pivot[2]:10.3f} mm',
        f'residual            RMS {result.rms * 1e3:.3f} mm ({result.component_rms * 1e3:.3f} per axis), '
        f'greatest {result.max_residual * 1e3:.3f} mm',
        f'coverage            tilt {np.degrees(coverage.tilt):.0f}°, roll {np.degrees(coverage.roll):.0f}°, '
        f'least direction {np.degrees(coverage.span):.0f}°, condition {result.condition:.1f}',
    ]
    lines += [
        f'outlier             pose {i}, stamp {stamps_ns[i]}, {result.residuals[i] * 1e3:.2f} mm'
        for i in result.outliers
    ]
    lines.append(f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons))
    return '\n'.join(lines)


def registration_text(
    result: PairedPointResult,
    expected: dict[str, float],
    match: LandmarkMatch,
    recording: Recording,
    landmarks: Path,
    error: Array | None,
    landmarks_rms: float | None,
) -> str:
    """Return a registration as lines for a terminal, in millimetres and degrees.

    Expected are the errors at named targets [m]; error (6,) is against the truth.
    """
    lines = [f'{recording.path.name} with {landmarks.name}: {match.message}']
    lines += [f'  note: {note}' for note in recording.notes]
    lines += [f'  {name:<12} residual {length * 1e3:6.3f} mm' for name, length in result.residuals.items()]
    lines += [f'  {name:<12} left out {length * 1e3:6.3f} mm' for name, length in result.excluded.items()]
    centre = result.target_error(result.points_anatomy.mean(axis=0))
    lines.append(
        f'FRE {result.fre_rms * 1e3:.3f} mm, FLE {result.fle_rms * 1e3:.3f} mm, '
        f'TRE at the centroid {centre * 1e3:.3f} mm: {result.verdict}'
    )
    lines += [f'  {name:<12} expected error {length * 1e3:6.3f} mm' for name, length in expected.items()]
    lines += [f'  {reason}' for reason in result.reasons]
    if error is not None and landmarks_rms is not None:
        angle, distance = np.degrees(np.linalg.norm(error[3:])), np.linalg.norm(error[:3]) * 1e3
        lines.append(
            f'against the published transform: {angle:.3f}°, {distance:.3f} mm at the origin, '
            f'{landmarks_rms * 1e3:.3f} mm RMS over the landmarks'
        )
    return '\n'.join(lines)
