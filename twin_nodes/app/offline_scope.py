"""The chain of a tracked camera from files: what `twin calibrate scope` does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.offline_views import ViewSource, open_views
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_views import LeftOut
from twin_nodes.core.calibration.scope_calibration import ScopeConfig, ScopeResult, calibrate_scope
from twin_nodes.core.calibration.scope_chain import ChainTies, ScopeFrame, TiePrior
from twin_nodes.core.calibration.scope_figures import FrameFigures, frame_figures, mean_px
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, rotation_log
from twin_nodes.io.camera_info import read_camera_info
from twin_nodes.io.corners_text import CornerFolder, board_points, read_table, read_views, sha256_of
from twin_nodes.io.results import StoredResult, utc_date, write_result
from twin_nodes.io.tracked_poses import read_pose, read_tracked_poses

_NAMED = ('left', 'right')


@dataclass(frozen=True, eq=False)
class ScopeData:
    """What a folder of a tracked camera holds.

    Args:
        frames: Pictures with the poses of both markers.
        cameras: Left, or left and right.
        pattern: Known pattern in its marker [m], shape (4, 4), or None.
        published: Ties that the folder itself gives, for comparison, or None.
        left_out: Pictures that lack something.
        sha256: Of the corner files and poses.
        notes: What was assumed, one line each.
    """

    frames: tuple[ScopeFrame, ...]
    cameras: tuple[CameraModel, ...]
    pattern: Array | None
    published: ChainTies | None
    left_out: tuple[LeftOut, ...]
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ScopeReport:
    """A chain from files: the result, that of given ties, what was stored or would be, text and figures."""

    result: ScopeResult
    published: tuple[FrameFigures, ...]
    stored: StoredResult
    text: str
    figures: tuple[Figure, ...]


def read_scope_folder(
    folder: Path, how: ViewSource, *, camera_files: Sequence[Path] = (), pattern_file: Path | None = None
) -> ScopeData:
    """Read corners, poses and cameras of a tracked camera.

    Args:
        folder: Where.
        how: How it is read.
        camera_files: Calibrations of the left, or of the left and the right camera; else those in the folder.
        pattern_file: Known pattern in its marker; else that in the folder.

    Raises:
        InputError: naming what is missing.
        ConfigError: A camera file that cannot be used.
    """
    opened = open_views(folder, how)
    sides = opened.sides
    board = None if how.object_points is None else board_points(read_table(how.object_points, columns=(2, 3)), how.unit)
    read = [read_views(opened, side, unit=how.unit, board=board, size=how.size or (0, 0)) for side in sides]
    tracked = [opened.numbered(template) for template in (opened.names.scope, opened.names.marker)]
    (scope, marker), lost_poses, unit, notes = read_tracked_poses(tracked, how.unit)
    if not scope and not marker:
        raise InputError(
            f'{folder}: no poses of markers named {opened.names.scope or "-"} or {opened.names.marker or "-"}: tell '
            'their names with --names'
        )
    cameras = [
        _camera(opened, side, views, how, camera_files[index] if index < len(camera_files) else None)
        for index, (side, (views, _)) in enumerate(zip(sides, read, strict=True))
    ]
    frames, left = _frames([views for views, _ in read], scope, marker)
    unread = {out.name for out in lost_poses}
    left = [out for out in left if out.name not in unread] + lost_poses
    left += [out for _, lost in read for out in lost]
    pattern, published = _given(opened, unit, pattern_file)
    files = [path for side in sides for path in opened.numbers(side).values()]
    files += [path for part in tracked for path in part.values()]
    return ScopeData(tuple(frames), tuple(cameras), pattern, published, tuple(left), sha256_of(files), notes)


def calibrate_scope_files(
    folder: Path,
    how: ViewSource,
    config: ScopeConfig | None = None,
    *,
    camera_files: Sequence[Path] = (),
    pattern_file: Path | None = None,
    pattern_sigma: tuple[float, float] | None = (2e-3, 0.035),
    frame_names: tuple[str, str] = ('scope', 'scope_optical'),
    output: Path | None = None,
) -> ScopeReport:
    """Find the chain of a tracked camera from files.

    Args:
        folder: Where.
        how: How it is read.
        config: Noise and limits.
        camera_files: See `read_scope_folder`.
        pattern_file: See `read_scope_folder`.
        pattern_sigma: How well a given pattern in its marker is known [m] and [rad]; None to find it from the pictures.
        frame_names: Of the marker on the camera and of the (left) camera.
        output: Folder for the results, or None; a refused one is not written.

    Raises:
        InputError: naming what is missing.
        DegenerateGeometryError: The pictures do not carry an answer.
        ConfigError: The files cannot be written.
    """
    data = read_scope_folder(folder, how, camera_files=camera_files, pattern_file=pattern_file)
    prior = None
    if data.pattern is not None and pattern_sigma is not None:
        prior = TiePrior(data.pattern, *pattern_sigma)
    result = calibrate_scope(data.frames, data.cameras, config, pattern=prior)
    published = ()
    if data.published is not None:
        published = tuple(frame_figures(frame, data.cameras, data.published) for frame in data.frames)
    date = utc_date()
    stored = _stored(result, data, folder, frame_names, date)
    if output is not None and result.verdict != 'refuse':
        write_result(output / 'hand_eye.yaml', stored)
        write_result(
            output / 'pattern.yaml',
            replace(
                stored, kind='pattern', parent_frame='pattern_marker', child_frame='pattern',
                parent_T_child=result.ties.marker_T_pattern, covariance=result.pattern_covariance,
            ),
        )  # fmt: skip
        if len(data.cameras) > 1:
            write_result(
                output / 'stereo.yaml',
                replace(
                    stored, kind='stereo', parent_frame=f'{frame_names[1]}_right', child_frame=frame_names[1],
                    parent_T_child=result.ties.right_T_left, covariance=result.rig_covariance,
                ),
            )  # fmt: skip
    return ScopeReport(result, published, stored, scope_text(result, published, data), _figures(result, published))


def _camera(
    opened: CornerFolder, side: str, views: dict[int, object], how: ViewSource, given: Path | None
) -> CameraModel:
    path = given or opened.single(opened.names.intrinsics, side)
    if path is None:
        raise InputError(
            f'{opened.folder}: no intrinsics of the {side or "only"} camera named {opened.names.intrinsics!r}: give '
            'its calibration with --left-camera, --right-camera (twin calibrate camera makes one)'
        )
    size = next((view.size for view in views.values() if view.size != (0, 0)), None)  # type: ignore[attr-defined]
    distortion = None if given is not None else opened.single(opened.names.distortion, side)
    return replace(read_camera_info(path, size=how.size or size, distortion=distortion), name=side or 'camera')


def _frames(
    views: Sequence[dict[int, object]], scope: dict[int, Array], marker: dict[int, Array]
) -> tuple[list[ScopeFrame], list[LeftOut]]:
    frames, left = [], []
    for number in sorted(set().union(*views)):
        lacks = [what for what, poses in (('camera', scope), ('pattern', marker)) if poses and number not in poses]
        if lacks:
            left.append(LeftOut(str(number), f'has no pose of the marker on the {" and the ".join(lacks)}'))
            continue
        seen = tuple(part.get(number) for part in views)
        fixed = np.eye(4)  # a camera or pattern that the tracker does not follow stands still in its frame
        frames.append(ScopeFrame(str(number), scope.get(number, fixed), marker.get(number, fixed), seen))  # type: ignore[arg-type]
    return frames, left


def _given(opened: CornerFolder, unit: float, pattern_file: Path | None) -> tuple[Array | None, ChainTies | None]:
    """Return the pattern in its marker, and all ties, where the folder gives them."""
    names, side = opened.names, opened.sides[0]
    path = pattern_file or opened.single(names.pattern, side)
    pattern = None if path is None else read_pose(path, unit)
    eye, rig = opened.single(names.hand_eye, side), opened.single(names.rig)
    if pattern is None or eye is None or (rig is None and len(opened.sides) > 1):
        return pattern, None
    return pattern, ChainTies(
        inverse(read_pose(eye, unit)), pattern, np.eye(4) if rig is None else read_pose(rig, unit)
    )


def _stored(result: ScopeResult, data: ScopeData, folder: Path, names: tuple[str, str], date: str) -> StoredResult:
    errors = {
        'chain_px': mean_px(result.figures),
        'pixel_sigma_px': result.pixel_sigma,
        'tracker_position_sigma_m': result.position_sigma,
        'tracker_rotation_sigma_rad': result.rotation_sigma,
        'turn_rad': result.turn,
        'second_axis_rad': result.span,
        'pictures_count': float(len(result.figures)),
    }
    if result.held_out:
        errors['held_out_chain_px'] = mean_px(result.held_out)
    return StoredResult(
        kind='hand_eye',
        parent_frame=names[0],
        child_frame=names[1],
        parent_T_child=result.ties.scope_T_left,
        covariance=result.hand_eye_covariance,
        errors={key: value for key, value in errors.items() if np.isfinite(value)},
        verdict=str(result.verdict),
        date=date,
        reasons=result.reasons,
        data_sha256=data.sha256,
        data_file=folder.name,
    )


def scope_text(result: ScopeResult, published: Sequence[FrameFigures], data: ScopeData) -> str:
    """Return a chain as lines for a terminal, in millimetres, degrees and pixels."""
    lines = [f'{len(result.figures)} pictures, {len(data.cameras)} camera{"s" if len(data.cameras) > 1 else ""}']
    lines += [f'  note: {note}' for note in data.notes]
    ties = (
        ('camera in scope', result.ties.scope_T_left, result.hand_eye_covariance),
        ('pattern in marker', result.ties.marker_T_pattern, result.pattern_covariance),
        ('left in right', result.ties.right_T_left, result.rig_covariance),
    )
    for label, pose, covariance in ties[: 1 + len(data.cameras)]:
        position, sigma = pose[:3, 3] * 1e3, np.sqrt(np.diag(covariance))
        turn = np.degrees(rotation_log(pose[:3, :3]))
        lines.append(
            f'{label:<20}{position[0]:.2f} {position[1]:.2f} {position[2]:.2f} mm'
            f'   ± {sigma[0] * 1e3:.2f} {sigma[1] * 1e3:.2f} {sigma[2] * 1e3:.2f}'
        )
        lines.append(
            f'{"":<20}turned {turn[0]:.2f} {turn[1]:.2f} {turn[2]:.2f}°'
            f'   ± {np.degrees(sigma[3]):.2f} {np.degrees(sigma[4]):.2f} {np.degrees(sigma[5]):.2f}'
        )
    lines += [
        f'noise               {result.pixel_sigma:.2f} px; markers {result.position_sigma * 1e3:.3f} mm, '
        f'{np.degrees(result.rotation_sigma):.3f}°',
        f'turned              {np.degrees(result.turn):.0f}° about one axis, {np.degrees(result.span):.0f}° about the '
        'second',
        'picture             chain [px]     left out [px]  given ties [px]  board alone [px]  chain [mm]  points [mm]',
    ]
    held, given = ({figure.name: figure for figure in part} for part in (result.held_out, published))
    for figure in result.figures:
        lines.append(
            f'{figure.name:<20}{_pixels(figure.chain_px):<15}{_pixels_of(held, figure.name):<15}'
            f'{_pixels_of(given, figure.name):<17}{_pixels(figure.board_px):<18}{_mm(figure.chain_m):<12}'
            f'{_mm(figure.reconstruction_m)}'
        )
    if result.held_out_reason:
        lines.append(f'not left out one by one: {result.held_out_reason}')
    lines += [f'left out            {out.name}: {out.reason}' for out in (*result.left_out, *data.left_out)]
    return '\n'.join([*lines, f'verdict             {result.verdict}', *(f'  {reason}' for reason in result.reasons)])


def _figures(result: ScopeResult, published: Sequence[FrameFigures]) -> tuple[Figure, ...]:
    found = []
    given = {figure.name: figure for figure in published}
    for label, part in (('chain', result.figures), ('held_out', result.held_out), ('given', published)):
        for figure in part:
            for side, value in zip(_NAMED, figure.chain_px, strict=False):
                if label == 'chain' and figure.name in given:
                    limit = given[figure.name].chain_px[_NAMED.index(side)]
                    found.append(judge(f'chain_{figure.name}_{side}_px', value, 'px', at_most=limit, peer='ties given'))
                else:
                    found.append(judge(f'{label}_{figure.name}_{side}_px', value, 'px'))
            if label == 'chain' and figure.reconstruction_m is not None:
                found.append(judge(f'reconstruction_{figure.name}_mm', 1e3 * figure.reconstruction_m, 'mm'))
    return (*found, judge('chain_mean_px', mean_px(result.figures), 'px'))


def _pixels(values: Sequence[float | None]) -> str:
    return ' '.join('—' if value is None else f'{value:.2f}' for value in values)


def _pixels_of(figures: dict[str, FrameFigures], name: str) -> str:
    return _pixels(figures[name].chain_px) if name in figures else '—'


def _mm(value: float | None) -> str:
    return '—' if value is None else f'{value * 1e3:.2f}'
