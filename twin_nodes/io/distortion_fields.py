"""Files of electromagnetic distortion fields: YAML beside those of `io.results`.

The coefficients are plain numbers; the inverse information, which only tells how well they are known, is one line of
base64 (float64, little endian, lower triangle row by row).
"""

import base64
import binascii
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from twin_nodes.core.calibration.distortion import DistortionField
from twin_nodes.core.calibration.distortion_basis import TensorBasis
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.results import FORMAT, VERDICTS, software_version
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

KIND = 'distortion'
MAX_FILE_BYTES = 16 << 20
_ARRAYS = {'low_m': (3,), 'high_m': (3,), 'covariance': (6, 6), 'hull': (-1, 4), 'samples_m': (-1, 3)}
_SCALARS = ('mean_leverage', 'reach_m', 'margin_m')
_TEXTS = ('tracker_frame', 'sensor', 'verdict', 'date', 'software_version', 'data_file')
_KEYS = (
    'format', 'kind', *_TEXTS, 'reasons', 'data_sha256', 'errors', 'degree', 'intervals', *_ARRAYS, *_SCALARS,
    'shift_m', 'turn_rad', 'spread',
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class StoredDistortion:
    """A distortion field and where it came from.

    Args:
        field: The correction.
        errors: Figures; each key ends in its unit.
        verdict: accept, warn or refuse.
        date: When it was measured, ISO 8601.
        tracker_frame: Frame of the tracker, or ''.
        sensor: Name of the sensor, or ''.
        reasons: Why it is not accepted, one sentence each.
        data_sha256: Of the measured and of the reference data.
        data_file: Names of those files.
        software_version: Of twin_nodes.
    """

    field: DistortionField
    errors: dict[str, float]
    verdict: str
    date: str
    tracker_frame: str = ''
    sensor: str = ''
    reasons: tuple[str, ...] = ()
    data_sha256: tuple[str, ...] = ()
    data_file: str = ''
    software_version: str = field(default_factory=software_version)


def write_distortion(path: Path | str, stored: StoredDistortion) -> None:
    """Write a field; the file appears whole or not at all, and is read back as a check before it does.

    Raises:
        ConfigError: The field would not be accepted by `read_distortion`, or the folder cannot be written.
    """
    f = stored.field
    lower = f.spread[np.tril_indices(f.basis.size)].astype('<f8')
    document: dict[str, Any] = {
        'format': FORMAT,
        'kind': KIND,
        **{key: str(getattr(stored, key)) for key in _TEXTS},
        'reasons': list(stored.reasons),
        'data_sha256': list(stored.data_sha256),
        'errors': {key: float(value) for key, value in stored.errors.items()},
        'degree': f.basis.degree,
        'intervals': f.basis.intervals,
        'low_m': f.low.tolist(),
        'high_m': f.high.tolist(),
        'covariance': f.covariance.tolist(),
        'hull': f.hull.tolist(),
        'mean_leverage': f.mean_leverage,
        'samples_m': np.round(f.samples, 6).tolist(),
        'reach_m': f.reach,
        'margin_m': f.margin,
        'shift_m': f.shift.tolist(),
        'turn_rad': [] if f.turn is None else f.turn.tolist(),
        'spread': base64.b64encode(lower.tobytes()).decode('ascii'),
    }
    _parse(document, str(path))
    text = (
        '# added to measured positions, and put before measured rotations, within the hull; tensor-product B-splines\n'
    )
    text += yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=140)
    write_text_whole(Path(path), text)


def read_distortion(path: Path | str, *, usable: bool = False) -> StoredDistortion:
    """Read a field and check every value of it.

    Args:
        path: The file.
        usable: Whether a field of the verdict refuse is an error.

    Raises:
        ConfigError: naming the file, the key and what was expected.
    """
    stored = _parse(read_mapping(path, 'distortion field', most=MAX_FILE_BYTES), str(path))
    if usable and stored.verdict == 'refuse':
        raise ConfigError(f'{path}: its verdict is refuse ({"; ".join(stored.reasons) or "no reason given"}): redo it')
    return stored


def _parse(document: dict[Any, Any], where: str) -> StoredDistortion:
    if (document.get('format'), document.get('kind')) != (FORMAT, KIND):
        raise ConfigError(f'{where}: expected format {FORMAT} and kind {KIND}, got kind {document.get("kind")!r}')
    for key in document:
        if key not in _KEYS:
            raise ConfigError(f'{where}: unknown key {key!r}{nearest(str(key), _KEYS)}')
    for key in _KEYS:
        if key not in document:
            raise ConfigError(f'{where}: key {key!r} is missing')
    if document['verdict'] not in VERDICTS:
        raise ConfigError(f'{where}: verdict={document["verdict"]!r} is none of {", ".join(VERDICTS)}')
    errors = document['errors']
    if not isinstance(errors, dict) or not all(
        isinstance(value, float) and math.isfinite(value) for value in errors.values()
    ):
        raise ConfigError(f'{where}: errors={errors!r}: expected keys and finite numbers')
    return StoredDistortion(
        field=_field(document, where),
        errors=dict(errors),
        reasons=tuple(str(reason) for reason in document['reasons']),
        data_sha256=tuple(str(value) for value in document['data_sha256']),
        **{key: str(document[key]) for key in _TEXTS},
    )


def _field(document: dict[str, Any], where: str) -> DistortionField:
    degree, intervals = document['degree'], document['intervals']
    if type(degree) is not int or type(intervals) is not int:
        raise ConfigError(f'{where}: degree={degree!r}, intervals={intervals!r}: expected whole numbers')
    try:
        basis = TensorBasis(degree, intervals)
    except InputError as error:
        raise ConfigError(f'{where}: {error}') from None
    arrays = {key: _array(document, key, shape, where) for key, shape in _ARRAYS.items()}
    numbers = {key: float(_array(document, key, (), where)) for key in _SCALARS}
    if not (arrays['low_m'] < arrays['high_m']).all() or numbers['reach_m'] <= 0.0 or numbers['margin_m'] < 0.0:
        raise ConfigError(f'{where}: low_m must be below high_m, reach_m above 0, margin_m not below 0')
    if np.linalg.eigvalsh(arrays['covariance']).min() < -1e-12:
        raise ConfigError(f'{where}: covariance has a negative eigenvalue')
    if np.abs(np.linalg.norm(arrays['hull'][:, :3], axis=1) - 1.0).max() > 1e-6:
        raise ConfigError(f'{where}: hull holds normals that are no unit vectors')
    turn = _array(document, 'turn_rad', (basis.size, 3), where) if document['turn_rad'] else None
    return DistortionField(
        basis=basis,
        low=arrays['low_m'],
        high=arrays['high_m'],
        shift=_array(document, 'shift_m', (basis.size, 3), where),
        turn=turn,
        hull=arrays['hull'],
        covariance=arrays['covariance'],
        spread=_spread(document['spread'], basis.size, where),
        mean_leverage=numbers['mean_leverage'],
        samples=arrays['samples_m'],
        reach=numbers['reach_m'],
        margin=numbers['margin_m'],
    )


def _spread(text: Any, size: int, where: str) -> Array:
    wanted = size * (size + 1) // 2
    try:
        values = np.frombuffer(base64.b64decode(str(text), validate=True), '<f8')
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f'{where}: spread is no base64 of float64: {error}') from None
    if len(values) != wanted or not np.isfinite(values).all():
        raise ConfigError(f'{where}: spread holds {len(values)} finite or other numbers, expected {wanted} finite ones')
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = values
    return np.asarray(matrix + np.tril(matrix, -1).T)


def _array(document: dict[str, Any], key: str, shape: tuple[int, ...], where: str) -> Array:
    try:
        values = np.array(document[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'{where}: {key}={str(document[key])[:80]}: expected numbers of shape {shape}') from None
    fits = values.ndim == len(shape) and all(a == b or b < 0 for a, b in zip(values.shape, shape, strict=True))
    if not fits or values.size == 0:
        raise ConfigError(f'{where}: {key} has shape {values.shape}, expected {shape}')
    if not np.isfinite(values).all():
        raise ConfigError(f'{where}: {key} has NaN or Inf')
    return values
