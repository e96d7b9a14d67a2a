"""Surface registration from files: what `twin register surface` does, and the text that it prints."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.figures import Figure
from twin_nodes.app.offline_swab import Swabbed, read_swab, to_metres
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.combined import SwabConfig, SwabResult, register_swab
from twin_nodes.core.registration.fiducial_exclusion import register_excluding
from twin_nodes.core.registration.tip_share import TouchedPoints, tip_in_points
from twin_nodes.core.registration.tre import target_errors, tre_field
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.results import StoredResult, read_result, utc_date, write_result

MESHES = ('.ply', '.stl', '.obj', '.vtk', '.vtp')
_OPEN = 'millimetres?'


@dataclass(frozen=True, eq=False)
class SurfaceReport:
    """A surface registration from files: the result, what was written or would be, figures, and text for a terminal."""

    result: SwabResult
    swabbed: Swabbed
    stored: StoredResult
    figures: tuple[Figure, ...]
    text: str


def read_surface_file(path: Path, *, unit: str = '', label: int = 0) -> tuple[Surface, str]:
    """Read a mesh or one label of a volume; return it with what was assumed of its unit.

    Raises:
        InputError: ANATOMY_REFUSED, with the reason.
    """
    if path.suffix.lower() in MESHES:
        from twin_nodes.io.meshes import read_surface

        if unit:
            return read_surface(path, unit=unit), ''
        try:
            surface, said = read_surface(path, unit='m'), 'metres'
        except InputError as error:
            if _OPEN not in str(error):
                raise
            surface, said = read_surface(path, unit='mm'), 'millimetres'
        return surface, f'{path.name} taken as {said}: it measures {surface.diagonal * 1e3:.0f} mm across'
    from twin_nodes.core.anatomy.surface_extraction import extract_surface
    from twin_nodes.io.volumes import read_label_volume

    if label < 1:
        raise InputError(f'{path.name}: name the label of the structure (--label)', code='ANATOMY_REFUSED')
    return extract_surface(read_label_volume(path), label, name=f'{path.name} label {label}'), ''


def register_surface_files(
    points: Path,
    surface_file: Path,
    *,
    unit: str = '',
    surface_unit: str = '',
    label: int = 0,
    start: Path | None = None,
    landmarks: Path | None = None,
    touched: Path | None = None,
    tip: Path | None = None,
    plus_config: Path | None = None,
    device: str = '',
    reference: str = '',
    between: tuple[float, float] = (0.0, float('inf')),
    targets: Path | None = None,
    field: Path | None = None,
    output: Path | None = None,
    frames: tuple[str, str] = ('patient', 'anatomy'),
    config: SwabConfig | None = None,
    date: str = '',
) -> SurfaceReport:
    """Register a point file or the sweep of a stylus in a recording to a surface.

    Args:
        points: A point file, or a recording.
        surface_file: A mesh, or a label volume.
        unit: Of the point file, 'm' or 'mm'; as it says, or recognised by its size, when left out.
        surface_unit: Of the mesh, likewise.
        label: Of the structure in a volume.
        start: A stored registration to start from.
        landmarks: Landmarks in the anatomy; with them their places in the patient.
        touched: These places, in the same form; in a recording they are found by dwells when left out.
        tip: Calibration of the stylus, for a recording; that of a PLUS configuration when left out.
        plus_config: That configuration; found near the recording when left out.
        device: Stylus in the recording; that of the configuration when left out.
        reference: Body on the patient in the recording, likewise.
        between: The part of the recording that is the sweep [s after its start].
        targets: Landmark file of points whose expected error is told.
        field: PLY file to write with the expected error at each vertex of the surface.
        output: Result file to write.
        frames: Names of the frames of patient and anatomy.
        config: Limits.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        InputError: Files that cannot be used, each with the reason.
        DegenerateGeometryError: The points do not carry a registration; the free motion is named.
        ConfigError: The result cannot be written.
    """
    from twin_nodes.nodes.swab_input import prepare_target

    surface, assumed = read_surface_file(surface_file, unit=surface_unit, label=label)
    swabbed = read_swab(
        points, tip=tip, plus_config=plus_config, device=device, reference=reference, between=between,
        landmarks=landmarks if touched is None else None,
    )  # fmt: skip
    swabbed = to_metres(swabbed, surface.diagonal, surface.name, unit)
    first = _landmarks(landmarks, touched, swabbed)
    pose = read_result(start, kind='registration').parent_T_child if start is not None else None
    result = register_swab(
        swabbed.points, prepare_target(surface), touched=first, start=pose, tip_errors=swabbed.tip_errors, config=config
    )
    names, positions = read_landmarks(str(targets), minimum=1) if targets is not None else ((), np.empty((0, 3)))
    expected = target_errors(result.patient_T_anatomy, result.covariance, names, positions).rms
    over = tre_field(result.patient_T_anatomy, result.covariance, surface.vertices)
    stored = _stored(result, swabbed, expected, frames, date)
    if output is not None:
        write_result(output, stored)
    if field is not None:
        write_field(field, surface, over)
    notes = [note for note in (assumed, *swabbed.notes, *result.notes) if note]
    return SurfaceReport(
        result, swabbed, stored, _figures(result, swabbed, expected, over),
        _text(result, swabbed, surface, expected, over, notes),
    )  # fmt: skip


def _landmarks(landmarks: Path | None, touched: Path | None, swabbed: Swabbed) -> TouchedPoints | None:
    if landmarks is None:
        if touched is not None:
            raise InputError(f'{touched.name}: give the landmarks of the anatomy too (--landmarks)')
        return None
    names, anatomy = read_landmarks(str(landmarks))
    if touched is not None:
        found, places = read_landmarks(str(touched))
        both = [name for name in names if name in found]
        if len(both) < 3:
            raise InputError(f'{touched.name} and {landmarks.name} share {len(both)} names, at least 3 are needed')
        patient = places[[found.index(name) for name in both]]
        errors = np.zeros((len(both), 3, 1))
    else:
        both, patient, errors = list(swabbed.landmark_names), swabbed.landmark_points, swabbed.landmark_errors
        if len(both) < 3:
            raise InputError(f'{swabbed.path.name}: {swabbed.landmark_message}; give the touched places (--touched)')
    anatomy = anatomy[[names.index(name) for name in both]]
    result = register_excluding(patient, anatomy, names=tuple(both), common=errors)
    kept = [both.index(name) for name in result.names]
    return TouchedPoints(result, tip_in_points(result.patient_T_anatomy, result.points_anatomy, errors[kept]))


def write_field(path: Path, surface: Surface, tre: Array) -> None:
    """Write a surface as PLY with the expected error `tre` [m] and a colour, blue for least and red for most."""
    low, high = float(tre.min()), float(tre.max())
    share = (tre - low) / (high - low) if high > low else np.zeros(len(tre))
    kinds = [(axis, '<f8') for axis in 'xyz'] + [('tre', '<f4')] + [(name, 'u1') for name in ('red', 'green', 'blue')]
    rows = np.zeros(len(tre), np.dtype(kinds))
    for column, axis in enumerate('xyz'):
        rows[axis] = surface.vertices[:, column]
    rows['tre'] = tre
    rows['red'], rows['blue'] = 255.0 * share, 255.0 * (1.0 - share)
    rows['green'] = 255.0 * (1.0 - np.abs(2.0 * share - 1.0))
    faces = np.empty(len(surface.triangles), np.dtype([('count', 'u1'), ('corners', '<i4', 3)]))
    faces['count'], faces['corners'] = 3, surface.triangles
    header = (
        'ply\nformat binary_little_endian 1.0\ncomment SPACE=LPS unit=m; tre: expected error [m], '
        f'{1e3 * low:.3f} mm (blue) to {1e3 * high:.3f} mm (red)\nelement vertex {len(tre)}\n'
        'property double x\nproperty double y\nproperty double z\nproperty float tre\n'
        'property uchar red\nproperty uchar green\nproperty uchar blue\n'
        f'element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n'
    )
    path.write_bytes(header.encode() + rows.tobytes() + faces.tobytes())


def _stored(
    result: SwabResult, swabbed: Swabbed, expected: dict[str, float], frames: tuple[str, str], date: str
) -> StoredResult:
    return StoredResult(
        kind='registration',
        parent_frame=frames[0],
        child_frame=frames[1],
        parent_T_child=result.patient_T_anatomy,
        covariance=result.covariance,
        errors={
            'surface_rms_m': result.surface.rms,
            'surface_sigma_m': result.sigma,
            'systematic_m': result.surface.systematic,
            'inlier_share_ratio': result.surface.inlier_share,
            'points_count': float(len(swabbed.points)),
        }
        | {f'tre_{name}_m': error for name, error in expected.items()},
        verdict=str(result.verdict),
        date=date or utc_date(),
        reasons=result.reasons,
        data_sha256=swabbed.sha256,
        data_file=swabbed.path.name,
    )


def _figures(result: SwabResult, swabbed: Swabbed, expected: dict[str, float], over: Array) -> tuple[Figure, ...]:
    accepted = result.verdict is not Verdict.REFUSE
    found = [
        Figure('registration_usable', float(accepted), '', ok=accepted),
        Figure('points_count', float(len(swabbed.points)), ''),
        Figure('surface_rms_mm', result.surface.rms * 1e3, 'mm'),
        Figure('systematic_mm', result.surface.systematic * 1e3, 'mm'),
        Figure('inliers_percent', result.surface.inlier_share * 100.0, '%'),
        Figure('worst_sigma_mm', result.sigma * 1e3, 'mm'),
        Figure('tre_over_surface_most_mm', float(over.max()) * 1e3, 'mm'),
    ]
    return (*found, *(Figure(f'tre_{name}_mm', error * 1e3, 'mm') for name, error in expected.items()))


def _text(
    result: SwabResult, swabbed: Swabbed, surface: Surface, expected: dict[str, float], over: Array, notes: list[str]
) -> str:
    lines = [f'{swabbed.path.name}: {len(swabbed.points)} points on {surface.name}']
    lines += [f'  note: {note}' for note in notes]
    lines += [
        f'on the surface      {100.0 * result.surface.inlier_share:.0f} %, RMS {result.surface.rms * 1e3:.3f} mm, of '
        f'that shared by neighbours {result.surface.systematic * 1e3:.3f} mm',
        f'worst held motion   σ {result.sigma * 1e3:.3f} mm',
        f'expected error      {over.min() * 1e3:.3f} to {over.max() * 1e3:.3f} mm over the surface',
    ]
    if result.disagreement == result.disagreement:
        lines.append(f'landmarks           {result.disagreement * 1e3:.2f} mm from where the surface puts the swab')
    lines += [f'  {name:<12} expected error {length * 1e3:6.3f} mm' for name, length in expected.items()]
    lines.append(f'verdict             {result.verdict}' + ''.join(f'\n  {reason}' for reason in result.reasons))
    return '\n'.join(lines)
