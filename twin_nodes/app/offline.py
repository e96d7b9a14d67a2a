"""Calibration and registration from files: what `twin calibrate` and `twin register` do, and the text they print."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_text import pivot_text, registration_text
from twin_nodes.core.calibration.dwell import Dwell, DwellConfig, DwellDetector
from twin_nodes.core.calibration.pivot import PivotConfig, PivotResult, solve_pivot
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error, square_root
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, transform_points
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.core.registration.fiducial_exclusion import ExclusionConfig, register_excluding
from twin_nodes.core.registration.landmark_faults import explain_mismatch
from twin_nodes.core.registration.landmark_matching import LandmarkMatch, match_landmarks
from twin_nodes.core.registration.paired_points import PairedPointConfig, PairedPointResult
from twin_nodes.core.registration.tip_share import share_of_tip, tip_in_points
from twin_nodes.core.registration.tre import target_errors
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.recordings.plus_config import PlusConfig, read_plus_config
from twin_nodes.io.recordings.plus_neighbours import find_plus_config, find_truth
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


@dataclass(frozen=True)
class RegistrationReport:
    """A registration from a recording of touched landmarks.

    Args:
        result: patient_T_anatomy and its errors.
        match: Which dwell was on which landmark.
        dwells: Where the tip dwelt.
        truth_error: Error (6,) against the published transform, position [m] and rotation [rad]; None without one.
        truth_landmarks_rms: RMS distance of the landmarks mapped by either transform [m]; None without one.
        stored: What was written, or would be.
        text: For a terminal.
    """

    result: PairedPointResult
    match: LandmarkMatch
    dwells: tuple[Dwell, ...]
    truth_error: Array | None
    truth_landmarks_rms: float | None
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
    result = solve_pivot(poses, config, robust=robust)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = result.tip_covariance
    marker = device.split('To')[0] if 'To' in device else device
    stored = StoredResult(
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
            'poses_count': float(len(poses)),
            'outliers_count': float(len(result.outliers)),
            'condition_ratio': result.condition,
        },
        verdict=result.verdict,
        date=date or utc_date(),
        tool=marker,
        reasons=result.reasons,
        data_sha256=recording.sha256,
        data_file=recording.path.name,
    )
    if output is not None:
        write_result(output, stored)
    return PivotReport(result, recording, stamps_ns, stored, pivot_text(result, recording, device, stamps_ns))


def register_landmarks(
    recording_path: Path | str,
    config_path: Path | str | None = None,
    *,
    tip: StoredResult | None = None,
    dwell: DwellConfig | None = None,
    quality: PairedPointConfig | None = None,
    exclusion: ExclusionConfig | None = None,
    tolerance: float = 0.003,
    targets: Path | str | None = None,
    output: Path | str | None = None,
    date: str = '',
) -> RegistrationReport:
    """Register a phantom from a PLUS recording in which its landmarks are touched with a stylus.

    Args:
        recording_path: The recording.
        config_path: PLUS configuration with landmarks; found near the recording when left out.
        tip: Calibration of the stylus; that of the configuration when left out.
        dwell: When the tip counts as dwelling.
        quality: Limits of the registration.
        exclusion: When a landmark that does not fit is left out and named.
        tolerance: A dwell farther than this from its landmark is on none [m].
        targets: Landmark file of points whose expected error is told, or None.
        output: Result file to write, or None.
        date: When it was measured, ISO 8601; now when left out.

    Raises:
        InputError: No such file, configuration or device.
        DegenerateGeometryError: The dwells do not carry a registration.
        ConfigError: The result cannot be written.
    """
    recording = open_recording(recording_path)
    plus = _find_config(recording, config_path)
    stylus_T_tip = tip.parent_T_child if tip is not None else plus.stylus_T_tip
    stamps_ns, poses = poses_in(recording, plus.stylus_device, plus.reference_device)
    dwells = find_dwells(stamps_ns, (poses @ stylus_T_tip)[:, :3, 3], dwell)
    touched = np.array([d.position_patient for d in dwells]).reshape(-1, 3)
    match = match_landmarks(touched, plus.landmarks_phantom, plus.landmark_names, tolerance=tolerance)

    def story() -> str:
        found = len(match.pairs)
        return explain_mismatch(touched, plus.landmarks_phantom, plus.landmark_names, tolerance=tolerance, found=found)

    if not match.decided:
        said = '; '.join(filter(None, (match.message, story())))
        raise DegenerateGeometryError(f'{recording.path.name}: {said}', code='REGISTRATION_REFUSED')
    used, landmarks = [pair[0] for pair in match.pairs], [pair[1] for pair in match.pairs]
    tip_covariance = tip.covariance[:3, :3] if tip is not None else np.eye(3) * plus.tip_sigma**2 / 3.0
    names = tuple(plus.landmark_names[i] for i in landmarks)
    errors = rotations_at(stamps_ns, poses, [dwells[i] for i in used]) @ square_root(tip_covariance)
    result = register_excluding(
        touched[used],
        plus.landmarks_phantom[landmarks],
        names=names,
        common=errors,
        config=quality,
        exclusion=exclusion,
    )
    if result.verdict is Verdict.REFUSE and (cause := story()):
        result = replace(result, reasons=(*result.reasons, cause))
    kept = [names.index(name) for name in result.names]
    share = None if tip is None else _share(result, errors[kept], tip)
    names, positions = read_landmarks(str(targets), minimum=1) if targets is not None else ((), np.empty((0, 3)))
    expected = target_errors(result.patient_T_anatomy, result.covariance, names, positions).rms
    stored = _store_registration(result, expected, recording, plus, date)
    if tip is not None and share is not None:
        stored = replace(stored, tool=tip.parent_frame, tip_share=share)
    if output is not None:
        write_result(output, stored)
    error, rms = _against_truth(result, recording, plus)
    text = registration_text(result, expected, match, recording, plus, error, rms)
    return RegistrationReport(result, match, tuple(dwells), error, rms, stored, text)


def find_dwells(stamps_ns: tuple[int, ...], tips_patient: Array, config: DwellConfig | None = None) -> list[Dwell]:
    """Return all dwells of a recorded tip [m], shape (n, 3), the one at the end of the recording too."""
    detector = DwellDetector(config)
    found = [detector.add(stamp, tip) for stamp, tip in zip(stamps_ns, tips_patient, strict=True)]
    found.append(detector.finish())
    return [dwell for dwell in found if dwell is not None]


def rotations_at(stamps_ns: tuple[int, ...], poses: Array, dwells: list[Dwell]) -> Array:
    """Return the rotation (n, 3, 3) of the tool in the middle of each dwell."""
    stamps = np.array(stamps_ns)
    middle = [int(np.abs(stamps - (dwell.start_ns + dwell.end_ns) // 2).argmin()) for dwell in dwells]
    return np.asarray(poses[middle, :3, :3])


def choose_device(recording: Recording, device: str, reference: str) -> str:
    """Return the tool meant: the one named, or the only one that is no reference.

    Raises:
        InputError: No such device, or several.
    """
    for name in (device, reference):
        if name and name not in recording.devices:
            names = ', '.join(recording.devices)
            raise InputError(
                f'{recording.path.name}: no device {name!r}; it has {names}{nearest(name, recording.devices)}'
            )
    if device:
        return device
    rest = [name for name in recording.devices if name != reference]
    if len(rest) != 1:
        raise InputError(f'{recording.path.name}: name the tool that pivots, one of {", ".join(rest)}')
    return rest[0]


def poses_in(recording: Recording, device: str, reference: str) -> tuple[tuple[int, ...], Array]:
    """Return stamps and poses (n, 4, 4) of a device in the frame of a reference, where both were seen.

    Raises:
        InputError: No such device, or never seen.
    """
    choose_device(recording, device, reference)
    stamps, poses = [], []
    for frame in recording.frames:
        tracker_T_tool = frame.poses[device].tracker_T_tool
        if tracker_T_tool is None:
            continue
        if reference:
            tracker_T_reference = frame.poses[reference].tracker_T_tool
            if tracker_T_reference is None:
                continue
            tracker_T_tool = inverse(tracker_T_reference) @ tracker_T_tool
        stamps.append(frame.stamp_ns)
        poses.append(tracker_T_tool)
    if not poses:
        reasons = sorted({frame.poses[device].reason for frame in recording.frames} - {''})
        together = f' together with {reference}' if reference else ''
        raise InputError(
            f'{recording.path.name}: {device} was never seen{together} in {len(recording.frames)} frames '
            f'({", ".join(reasons) or "reference lost"})',
            code='TOOL_LOST',
        )
    return tuple(stamps), np.array(poses)


def _find_config(recording: Recording, config_path: Path | str | None) -> PlusConfig:
    path = Path(config_path) if config_path is not None else find_plus_config(recording.path)
    if path is None:
        raise InputError(
            f'{recording.path.name}: no PLUS configuration near it names it as SequenceFile; give one (config)'
        )
    plus = read_plus_config(path)
    if len(plus.landmark_names) < 3:
        raise InputError(
            f'{path.name}: {len(plus.landmark_names)} landmarks in PhantomDefinition, at least 3 are needed'
        )
    return plus


def _share(result: PairedPointResult, errors: Array, tip: StoredResult) -> TipShare | None:
    """Return how the error of a calibrated tip is in a registration, for `errors` of it at each landmark (n, 3, 3)."""
    if not errors.any():
        return None
    shared = tip_in_points(result.patient_T_anatomy, result.points_anatomy, errors)
    effect = share_of_tip(shared, square_root(tip.covariance[:3, :3]))
    return TipShare(0, tip.parent_T_child[:3, 3], effect)


def _store_registration(
    result: PairedPointResult, expected: dict[str, float], recording: Recording, plus: PlusConfig, date: str
) -> StoredResult:
    return StoredResult(
        kind='registration',
        parent_frame=plus.reference_frame.lower(),
        child_frame=plus.phantom_frame.lower(),
        parent_T_child=result.patient_T_anatomy,
        covariance=result.covariance,
        errors={
            'fre_m': result.fre_rms,
            'fle_m': result.fle_rms,
            'tre_at_centroid_m': result.target_error(result.points_anatomy.mean(axis=0)),
            'fiducials_count': float(len(result.names)),
        }
        | {f'tre_{name}_m': error for name, error in expected.items()},
        verdict=result.verdict,
        date=date or utc_date(),
        reasons=result.reasons,
        data_sha256=recording.sha256,
        data_file=recording.path.name,
    )


def _against_truth(
    result: PairedPointResult, recording: Recording, plus: PlusConfig
) -> tuple[Array | None, float | None]:
    truth = find_truth(recording.path, plus)
    if truth is None:
        return None, None
    apart = transform_points(result.patient_T_anatomy, plus.landmarks_phantom)
    apart -= transform_points(truth.to_T_from, plus.landmarks_phantom)
    rms = float(np.sqrt((apart**2).sum(axis=1).mean()))
    return pose_error(result.patient_T_anatomy, truth.to_T_from), rms
