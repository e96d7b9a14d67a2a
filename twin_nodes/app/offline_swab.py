"""The points of a swab from a point file, or from the sweep of a stylus in a recording."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_recordings import find_dwells, poses_in, rotations_at
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.landmark_matching import match_landmarks
from twin_nodes.core.registration.swab import SwabCloud
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.points import ENDINGS, read_points
from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.recordings.plus_config import PlusConfig, read_plus_config
from twin_nodes.io.recordings.plus_neighbours import find_plus_config
from twin_nodes.io.results import read_result

_SCALES = {'m': 1.0, 'mm': 1e-3}
_WIDEST, _NARROWEST = 1.5, 0.05


@dataclass(frozen=True, eq=False)
class Swabbed:
    """Points and where they came from.

    Args:
        path: The file.
        points: In the patient frame, in metres once `to_metres` was called, shape (n, 3).
        unit: 'm', 'mm', or '' while it is not known.
        tip_errors: One sigma of each part of the tip's error at each point [m], shape (n, 3, k); None for none.
        sha256: Of the file.
        notes: What was left out or assumed.
        landmark_names: Landmarks that were touched in a recording.
        landmark_points: Where, in the patient frame [m], shape (l, 3).
        landmark_errors: As tip_errors, shape (l, 3, k).
        landmark_message: What was found of them.
    """

    path: Path
    points: Array
    unit: str
    tip_errors: Array | None
    sha256: str
    notes: tuple[str, ...] = ()
    landmark_names: tuple[str, ...] = ()
    landmark_points: Array = field(default_factory=lambda: np.empty((0, 3)))
    landmark_errors: Array = field(default_factory=lambda: np.zeros((0, 3, 3)))
    landmark_message: str = 'no landmarks were looked for in a point file'


def read_swab(
    path: Path,
    *,
    tip: Path | None = None,
    plus_config: Path | None = None,
    device: str = '',
    reference: str = '',
    between: tuple[float, float] = (0.0, float('inf')),
    landmarks: Path | None = None,
) -> Swabbed:
    """Read a point file or a recording; arguments as `register_surface_files`.

    Raises:
        InputError: Neither can be read, or the recording lacks the tip, a device or the sweep.
    """
    if path.is_file() and path.suffix.lower() in ENDINGS and not _is_recording(path):
        if tip is not None or device:
            raise InputError(f'{path.name} holds points, not poses: leave out --tip and --device')
        held = read_points(path)
        return Swabbed(path, held.points, held.unit, None, held.sha256, held.notes)
    return _sweep(path, tip, plus_config, device, reference, between, landmarks)


def _is_recording(path: Path) -> bool:
    """Whether a table is one of tracker poses, as NDI writes them."""
    with path.open('rb') as stream:
        return path.suffix.lower() == '.csv' and b'hour' in stream.read(4096).lower()


def _sweep(
    path: Path, tip: Path | None, plus_config: Path | None, device: str, reference: str, between: tuple[float, float],
    landmarks: Path | None,
) -> Swabbed:  # fmt: skip
    recording = open_recording(path)
    tool_T_tip, tip_covariance, plus = _tip(path, tip, plus_config)
    device = device or (plus.stylus_device if plus is not None else '')
    if not device:
        raise InputError(f'{path.name}: name the stylus (--device), one of {", ".join(recording.devices)}')
    if not reference and plus is not None and plus.reference_device in recording.devices:
        reference = plus.reference_device
    stamps_ns, poses = poses_in(recording, device, reference)
    tips, root = (poses @ tool_T_tip)[:, :3, 3], square_root(tip_covariance)
    cloud = SwabCloud()
    for stamp_ns, point, pose in zip(stamps_ns, tips, poses, strict=True):
        if between[0] <= (stamp_ns - stamps_ns[0]) * 1e-9 <= between[1]:
            cloud.add(stamp_ns, point, pose[:3, :3] @ root)
    if len(cloud) == 0:
        raise InputError(
            f'{path.name}: no sample of {device} between {between[0]:g} and {between[1]:g} s; it lasts '
            f'{recording.duration_s:.1f} s'
        )
    notes = [*recording.notes, *(f'{count} samples left out: {why}' for why, count in cloud.left_out.items())]
    if not reference:
        notes.append('no reference body: the patient must not have moved in the frame of the tracker')
    found = Swabbed(path, cloud.points, 'm', cloud.tip_errors, recording.sha256, tuple(notes))
    return found if landmarks is None else _with_landmarks(found, landmarks, stamps_ns, poses, tips, root)


def _with_landmarks(
    found: Swabbed, landmarks: Path, stamps_ns: tuple[int, ...], poses: Array, tips: Array, root: Array
) -> Swabbed:
    """Find the landmarks on which the tip dwelt."""
    names, anatomy = read_landmarks(str(landmarks))
    dwells = find_dwells(stamps_ns, tips)
    touched = np.array([dwell.position_patient for dwell in dwells]).reshape(-1, 3)
    match = match_landmarks(touched, anatomy, names)
    if not match.decided:
        return replace(found, landmark_message=match.message)
    return replace(
        found,
        landmark_names=tuple(names[index] for _, index in match.pairs),
        landmark_points=touched[[index for index, _ in match.pairs]],
        landmark_errors=rotations_at(stamps_ns, poses, [dwells[index] for index, _ in match.pairs]) @ root,
        landmark_message=match.message,
        notes=(*found.notes, f'landmarks: {match.message}'),
    )


def _tip(path: Path, tip: Path | None, plus_config: Path | None) -> tuple[Array, Array, PlusConfig | None]:
    """Return tool_T_tip, the covariance (3, 3) of the tip, and the PLUS configuration, if there is one."""
    config = plus_config or find_plus_config(path)
    plus = read_plus_config(config) if config is not None else None
    if tip is not None:
        known = read_result(tip, kind='tool_tip', usable=True)
        return known.parent_T_child, known.covariance[:3, :3], plus
    if plus is None:
        raise InputError(
            f'{path.name}: where is the tip of the stylus? Give --tip (twin calibrate pivot) or --plus-config'
        )
    return plus.stylus_T_tip, np.eye(3) * plus.tip_sigma**2 / 3.0, plus


def to_metres(swabbed: Swabbed, diagonal: float, name: str, unit: str = '') -> Swabbed:
    """Bring points to metres: by the unit given, by that of the file, or by comparing their size with the surface's.

    Raises:
        InputError: UNIT_SUSPECT when neither metres nor millimetres fit.
    """
    known = unit or swabbed.unit
    if known:
        return replace(swabbed, points=swabbed.points * _SCALES[known], unit=known)
    extent = float(np.linalg.norm(np.ptp(swabbed.points, axis=0)))
    fits = [key for key, scale in _SCALES.items() if _NARROWEST < extent * scale / diagonal < _WIDEST]
    if len(fits) != 1:
        raise InputError(
            f'{swabbed.path.name}: its points span {extent:.4g}; {name!r} measures {diagonal:.3g} m, which neither '
            'metres nor millimetres explain: name the unit (--unit), or is it another organ?',
            code='UNIT_SUSPECT',
        )
    words = {'m': 'metres', 'mm': 'millimetres'}[fits[0]]
    note = f'{swabbed.path.name} does not say its unit; taken as {words}: it spans {extent:.4g}'
    return replace(swabbed, points=swabbed.points * _SCALES[fits[0]], unit=fits[0], notes=(*swabbed.notes, note))
