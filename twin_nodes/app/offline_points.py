"""`twin register points`: a phantom registered by its landmarks from a recording."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_nodes.app.offline_recordings import choose_device, find_dwells, poses_in, rotations_at
from twin_nodes.app.offline_text import registration_text
from twin_nodes.core.calibration.dwell import Dwell, DwellConfig
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error, square_root
from twin_nodes.core.geometry.se3 import Array, transform_points
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


@dataclass(frozen=True, eq=False)
class LandmarkTask:
    """What was touched with what.

    Args:
        path: File of the landmarks.
        names: Of the landmarks.
        landmarks: In the anatomy [m], shape (n, 3).
        device: The stylus in the recording.
        reference: The body on the patient in the recording; '' for the tracker itself.
        frames: Of the patient and of the anatomy.
        stylus_T_tip: The tip, shape (4, 4).
        tip_covariance: Of its position [m²], shape (3, 3).
        plus: The configuration that says so, or None.
    """

    path: Path
    names: tuple[str, ...]
    landmarks: Array
    device: str
    reference: str
    frames: tuple[str, str]
    stylus_T_tip: Array
    tip_covariance: Array
    plus: PlusConfig | None = None


def register_landmarks(
    recording_path: Path | str,
    config_path: Path | str | None = None,
    *,
    landmarks: Path | str | None = None,
    device: str = '',
    reference: str = '',
    tip: StoredResult | None = None,
    dwell: DwellConfig | None = None,
    quality: PairedPointConfig | None = None,
    exclusion: ExclusionConfig | None = None,
    tolerance: float = 0.003,
    targets: Path | str | None = None,
    output: Path | str | None = None,
    date: str = '',
) -> RegistrationReport:
    """Register a phantom from a recording in which its landmarks are touched with a stylus.

    Args:
        recording_path: The recording.
        config_path: PLUS configuration with landmarks; found near the recording when left out.
        landmarks: File of landmarks in place of a PLUS configuration; the tip is to be given then.
        device: The stylus in the recording; that of the configuration, or the only tool, when left out.
        reference: The body on the patient; that of the configuration, or none, when left out.
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
    if landmarks is not None:
        task = _task_of_file(recording, Path(landmarks), device, reference, tip)
    else:
        task = _task_of_plus(_find_config(recording, config_path), device, reference, tip)
    stamps_ns, poses = poses_in(recording, task.device, task.reference)
    dwells = find_dwells(stamps_ns, (poses @ task.stylus_T_tip)[:, :3, 3], dwell)
    touched = np.array([d.position_patient for d in dwells]).reshape(-1, 3)
    match = match_landmarks(touched, task.landmarks, task.names, tolerance=tolerance)

    def story() -> str:
        found = len(match.pairs)
        return explain_mismatch(touched, task.landmarks, task.names, tolerance=tolerance, found=found)

    if not match.decided:
        said = '; '.join(filter(None, (match.message, story())))
        raise DegenerateGeometryError(f'{recording.path.name}: {said}', code='REGISTRATION_REFUSED')
    used, places = [pair[0] for pair in match.pairs], [pair[1] for pair in match.pairs]
    names = tuple(task.names[i] for i in places)
    errors = rotations_at(stamps_ns, poses, [dwells[i] for i in used]) @ square_root(task.tip_covariance)
    result = register_excluding(
        touched[used],
        task.landmarks[places],
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
    stored = _store_registration(result, expected, recording, task, date)
    if tip is not None and share is not None:
        stored = replace(stored, tool=tip.parent_frame, tip_share=share)
    if output is not None:
        write_result(output, stored)
    error, rms = _against_truth(result, recording, task.plus) if task.plus else (None, None)
    text = registration_text(result, expected, match, recording, task.path, error, rms)
    return RegistrationReport(result, match, tuple(dwells), error, rms, stored, text)


def _task_of_plus(plus: PlusConfig, device: str, reference: str, tip: StoredResult | None) -> LandmarkTask:
    return LandmarkTask(
        plus.path,
        plus.landmark_names,
        plus.landmarks_phantom,
        device or plus.stylus_device,
        reference or plus.reference_device,
        (plus.reference_frame.lower(), plus.phantom_frame.lower()),
        tip.parent_T_child if tip is not None else plus.stylus_T_tip,
        tip.covariance[:3, :3] if tip is not None else np.eye(3) * plus.tip_sigma**2 / 3.0,
        plus,
    )


def _task_of_file(
    recording: Recording, path: Path, device: str, reference: str, tip: StoredResult | None
) -> LandmarkTask:
    if tip is None:
        raise ConfigError(
            'landmarks of a file need the tip of the stylus: add --tip FILE, as `twin calibrate pivot` writes it'
        )
    names, places = read_landmarks(str(path))
    chosen = choose_device(recording, device, reference)
    frame = (reference.split('To')[0] or 'tracker').lower()
    return LandmarkTask(
        path, names, places, chosen, reference, (frame, 'anatomy'), tip.parent_T_child, tip.covariance[:3, :3]
    )


def _find_config(recording: Recording, config_path: Path | str | None) -> PlusConfig:
    path = Path(config_path) if config_path is not None else find_plus_config(recording.path)
    if path is None:
        raise InputError(
            f'{recording.path.name}: no PLUS configuration near it names it as SequenceFile: add --plus-config FILE, '
            'or --landmarks FILE with --tip FILE'
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
    result: PairedPointResult, expected: dict[str, float], recording: Recording, task: LandmarkTask, date: str
) -> StoredResult:
    return StoredResult(
        kind='registration',
        parent_frame=task.frames[0],
        child_frame=task.frames[1],
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
