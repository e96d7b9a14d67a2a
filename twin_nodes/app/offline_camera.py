"""Camera and stereo calibration from files: what `twin calibrate camera` and `twin calibrate stereo` do."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.offline_views import ViewSource, find_pairs, find_views
from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS
from twin_nodes.core.calibration.camera_intrinsics import CameraConfig, CameraResult, calibrate_camera
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.stereo_pair import StereoConfig, StereoResult, calibrate_stereo
from twin_nodes.core.geometry.se3 import rotation_log
from twin_nodes.io.camera_info import write_camera_info
from twin_nodes.io.results import StoredResult, utc_date, write_result


@dataclass(frozen=True, eq=False)
class CameraReport:
    """A camera calibration from files: the result, text for a terminal, and figures for machines."""

    result: CameraResult
    text: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, eq=False)
class StereoReport:
    """A stereo calibration from files: the result, what was stored or would be, text, and figures."""

    result: StereoResult
    stored: StoredResult
    text: str
    figures: tuple[Figure, ...]


def calibrate_camera_files(
    source: Path,
    how: ViewSource,
    config: CameraConfig | None = None,
    *,
    side: str = '',
    name: str = '',
    output: Path | None = None,
) -> CameraReport:
    """Calibrate one camera from files.

    Args:
        source: Folder of corner files or images, an image, or a video.
        how: How it is read.
        config: Lens model and limits.
        side: Which camera, where the source holds two.
        name: Of the camera in the file that is written.
        output: Camera YAML of ROS to write, or None; a refused calibration is not written.

    Raises:
        InputError: Nothing that can be used.
        DegenerateGeometryError: The views do not carry an answer.
        ConfigError: The file cannot be written.
    """
    found = find_views(source, how, side=side)
    name = name or side or 'camera'
    result = calibrate_camera(list(found.views[0].values()), config, size=how.size, facing=how.facing, name=name)
    if output is not None and result.verdict != 'refuse':
        write_camera_info(output, result.camera)
    lines = [*camera_lines(result), *(f'not used            {out.name} {out.reason}' for out in found.left_out[:5])]
    return CameraReport(
        result, '\n'.join([*lines, *_verdict_lines(result.verdict, result.reasons)]), _camera_figures(result)
    )


def calibrate_stereo_files(
    left: Path,
    right: Path | None,
    how: ViewSource,
    config: StereoConfig | None = None,
    *,
    cameras: tuple[CameraModel, CameraModel] | None = None,
    names: tuple[str, str] = ('left', 'right'),
    output: Path | None = None,
) -> StereoReport:
    """Calibrate a stereo pair from files.

    Args:
        left: Source of the left camera, or of both.
        right: Source of the right camera, or None.
        how: How they are read.
        config: Lens model and limits.
        cameras: Intrinsics that are known and held, or None.
        names: Of both cameras, and of their frames.
        output: Folder for both camera YAML files and the pose of the cameras, or None; a refused one is not written.

    Raises:
        InputError: Nothing that can be used.
        DegenerateGeometryError: The views do not carry an answer.
        ConfigError: The files cannot be written.
    """
    found = find_pairs(left, right, how)
    shared = sorted(found.views[0].keys() & found.views[1].keys())
    pairs = [(replace(found.views[0][n], name=str(n)), replace(found.views[1][n], name=str(n))) for n in shared]
    result = calibrate_stereo(pairs, config, size=how.size, cameras=cameras, facing=how.facing)
    stored = StoredResult(
        kind='stereo',
        parent_frame=names[1],
        child_frame=names[0],
        parent_T_child=result.right_T_left,
        covariance=result.covariance,
        errors={
            'rms_px': result.rms,
            'rms_with_intrinsics_held_px': result.held_rms,
            'epipolar_rms_px': result.epipolar_rms,
            'reconstruction_rms_m': result.reconstruction_rms,
            'baseline_m': result.baseline,
            'baseline_sigma_m': result.baseline_sigma,
            'size_ratio': result.length_ratio,
            'pairs_count': float(len(result.pairs)),
        },
        verdict=str(result.verdict),
        date=utc_date(),
        reasons=result.reasons,
        data_sha256=found.sha256,
        data_file=left.name,
    )
    if output is not None and result.verdict != 'refuse':
        for camera, name in zip((result.left, result.right), names, strict=True):
            write_camera_info(output / f'{name}.yaml', replace(camera, name=name))
        write_result(output / 'stereo.yaml', stored)
    lines = stereo_lines(result)
    lines += [f'not used            {out.name} {out.reason}' for out in found.left_out[:5]]
    text = '\n'.join([*lines, *_verdict_lines(result.verdict, result.reasons)])
    return StereoReport(result, stored, text, _stereo_figures(result))


def camera_lines(result: CameraResult) -> list[str]:
    """Return a camera calibration as lines for a terminal."""
    camera, sigma, cover = result.camera, result.sigma, result.coverage
    worst = int(np.argmax(result.view_rms))
    lines = [
        f'camera {camera.name}: {camera.width}x{camera.height} px, {camera.model}, {len(result.views)} views, '
        f'{cover.corners} corners',
        f'focal length        {camera.focal[0]:.2f} ± {sigma[0]:.2f}, {camera.focal[1]:.2f} ± {sigma[1]:.2f} px',
        f'principal point     {camera.centre[0]:.2f} ± {sigma[2]:.2f}, {camera.centre[1]:.2f} ± {sigma[3]:.2f} px',
        'distortion          '
        + ', '.join(
            f'{key} {value:.5f} ± {s:.5f}' if s else f'{key} {value:g} (held)'
            for key, value, s in zip(COEFFICIENTS[camera.model], camera.distortion, sigma[4:], strict=True)
        ),
        f'reprojection        RMS {result.rms:.3f} px; the worst view {result.views[worst].name} '
        f'{result.view_rms[worst]:.3f} px',
        f'coverage            {cover.area:.0%} of the image, tilt up to {np.degrees(cover.tilt):.0f}° to '
        f'{cover.tilt_directions} of 4 sides, {cover.nearest * 1e3:.0f} … {cover.farthest * 1e3:.0f} mm away',
    ]
    if result.memory > 1.0:
        lines.append(
            f'errors              go together within a view: sigmas were raised {np.sqrt(result.memory):.1f} times'
        )
    return lines + [f'left out            {out.name}: {out.reason}' for out in result.left_out]


def stereo_lines(result: StereoResult) -> list[str]:
    """Return a stereo calibration as lines for a terminal."""
    lines = []
    for alone in (result.left_result, result.right_result):
        if alone is not None:
            lines += [*camera_lines(alone), '']
    shift, sigma = result.right_T_left[:3, 3] * 1e3, np.sqrt(np.diag(result.covariance))
    turn = np.degrees(rotation_log(result.right_T_left[:3, :3]))
    held = float(np.linalg.norm(result.held_right_T_left[:3, 3])) * 1e3
    worst = int(np.argmax(result.pair_rms))
    return [
        *lines,
        f'pair                {len(result.pairs)} pairs of views',
        f'baseline            {result.baseline * 1e3:.3f} ± {result.baseline_sigma * 1e3:.3f} mm',
        f'left in the right   {shift[0]:.3f} {shift[1]:.3f} {shift[2]:.3f} mm'
        f'   ± {sigma[0] * 1e3:.3f} {sigma[1] * 1e3:.3f} {sigma[2] * 1e3:.3f}',
        f'                    turned {turn[0]:.3f} {turn[1]:.3f} {turn[2]:.3f}°'
        f'   ± {np.degrees(sigma[3]):.3f} {np.degrees(sigma[4]):.3f} {np.degrees(sigma[5]):.3f}',
        f'focal lengths       left {result.left.focal[0]:.2f}, right {result.right.focal[0]:.2f} px',
        f'reprojection        RMS {result.rms:.3f} px over both images; the worst pair {result.pairs[worst]} '
        f'{result.pair_rms[worst]:.3f} px',
        f'intrinsics held     RMS {result.held_rms:.3f} px, baseline {held:.3f} mm',
        f'epipolar lines      RMS {result.epipolar_rms:.3f} px',
        f'reconstruction      RMS {result.reconstruction_rms * 1e3:.3f} mm, size ratio {result.length_ratio:.4f}',
    ]


def _verdict_lines(verdict: object, reasons: tuple[str, ...]) -> list[str]:
    return [f'verdict             {verdict}', *(f'  {reason}' for reason in reasons)]


def _camera_figures(result: CameraResult, prefix: str = '') -> tuple[Figure, ...]:
    camera, sigma = result.camera, result.sigma
    return (
        judge(f'{prefix}reprojection_px', result.rms, 'px'),
        judge(f'{prefix}focal_x_px', float(camera.focal[0]), 'px'),
        judge(f'{prefix}focal_y_px', float(camera.focal[1]), 'px'),
        judge(f'{prefix}focal_sigma_px', float(sigma[:2].max()), 'px'),
        judge(f'{prefix}centre_x_px', float(camera.centre[0]), 'px'),
        judge(f'{prefix}centre_y_px', float(camera.centre[1]), 'px'),
        judge(f'{prefix}views_count', float(len(result.views)), ''),
        judge(f'{prefix}area_covered_percent', 100.0 * result.coverage.area, '%'),
        judge(f'{prefix}tilt_deg', float(np.degrees(result.coverage.tilt)), 'deg'),
    )


def _stereo_figures(result: StereoResult) -> tuple[Figure, ...]:
    alone = [
        figure
        for side, camera in (('left_', result.left_result), ('right_', result.right_result))
        if camera is not None
        for figure in _camera_figures(camera, side)
    ]
    held = float(np.linalg.norm(result.held_right_T_left[:3, 3]))
    return (
        *alone,
        judge('stereo_reprojection_px', result.rms, 'px'),
        judge('stereo_held_reprojection_px', result.held_rms, 'px'),
        judge('baseline_mm', 1e3 * result.baseline, 'mm'),
        judge('baseline_sigma_mm', 1e3 * result.baseline_sigma, 'mm'),
        judge('baseline_held_mm', 1e3 * held, 'mm'),
        judge('epipolar_px', result.epipolar_rms, 'px'),
        judge('reconstruction_mm', 1e3 * result.reconstruction_rms, 'mm'),
    )
