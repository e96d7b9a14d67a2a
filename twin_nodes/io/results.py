"""Files of calibration and registration results: YAML that a person can read and a node can trust."""

import datetime
import math
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, quat_from_rotation, rotation_from_quat
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

FORMAT = 1
KINDS = ('tool_tip', 'registration', 'hand_eye', 'robot_world', 'stereo', 'pattern')
VERDICTS = ('accept', 'warn', 'refuse')
_REQUIRED = (
    'format', 'kind', 'date', 'parent_frame', 'child_frame', 'position_m', 'quat_xyzw', 'covariance', 'errors',
    'verdict',
)  # fmt: skip
_OPTIONAL = ('tool', 'tip_share', 'reasons', 'data_sha256', 'data_file', 'software_version')
_UNIT_ENDINGS = ('_m', '_rad', '_s', '_ns', '_px', '_count', '_ratio')


def software_version() -> str:
    """Return the installed version of twin_nodes, or 'unknown' where it is not installed."""
    try:
        return metadata.version('twin_nodes')
    except metadata.PackageNotFoundError:
        return 'unknown'


def utc_date() -> str:
    """Return the present instant in ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()


@dataclass(frozen=True)
class StoredResult:
    """A measured tie between two frames.

    Args:
        kind: 'tool_tip' (marker to tip), 'registration' (patient to anatomy), 'hand_eye' (hand to eye), 'robot_world'
            (base to target), 'stereo' (right camera to left) or 'pattern' (marker to calibration pattern).
        parent_frame: Such as the marker of the tool, or the patient.
        child_frame: Such as the tip of the tool, or the anatomy.
        parent_T_child: Pose [m], shape (4, 4).
        covariance: Of the pose, in the convention of `core.geometry.covariance`, shape (6, 6).
        errors: Error figures; each key ends in its unit: _m, _rad, _s, _ns, _px, _count, _ratio.
        verdict: accept, warn or refuse.
        date: When it was measured, ISO 8601 with its time zone.
        tool: Name of the tool, or ''.
        reasons: Why it is not accepted, one sentence each.
        data_sha256: Of the data that it was computed from, or ''.
        data_file: Name of that file, or ''.
        software_version: Of twin_nodes.
        tip_share: Of a registration that was touched with the tip of `tool`: how the tip's error is in it; None else.
    """

    kind: str
    parent_frame: str
    child_frame: str
    parent_T_child: Array
    covariance: Array
    errors: dict[str, float]
    verdict: str
    date: str
    tool: str = ''
    reasons: tuple[str, ...] = ()
    data_sha256: str = ''
    data_file: str = ''
    software_version: str = field(default_factory=software_version)
    tip_share: TipShare | None = None


def write_result(path: Path | str, result: StoredResult) -> None:
    """Write a result; the file appears whole or not at all, and is read back as a check before it does.

    Raises:
        ConfigError: The result would not be accepted by `read_result`, or the folder cannot be written.
    """
    path = Path(path)
    document = {
        'format': FORMAT,
        'kind': result.kind,
        'date': result.date,
        'tool': result.tool,
        'parent_frame': result.parent_frame,
        'child_frame': result.child_frame,
        'position_m': result.parent_T_child[:3, 3].tolist(),
        'quat_xyzw': quat_from_rotation(result.parent_T_child[:3, :3]).tolist(),
        'covariance': np.asarray(result.covariance, float).tolist(),
        'errors': {key: float(value) for key, value in result.errors.items()},
        'verdict': str(result.verdict),
        'reasons': list(result.reasons),
        'data_sha256': result.data_sha256,
        'data_file': result.data_file,
        'software_version': result.software_version,
    }
    if result.tip_share is not None:
        share = result.tip_share
        document['tip_share'] = {'tip_m': share.tip.tolist(), 'effect': np.asarray(share.effect).tolist()}
    _parse(document, str(path))
    text = '# poses: metres, quaternion xyzw; covariance: x y z rx ry rz in m and rad, axes of the parent\n'
    text += yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=140)
    write_text_whole(path, text)


def read_result(path: Path | str, *, kind: str = '', parent: str = '', usable: bool = False) -> StoredResult:
    """Read a result and check every value of it.

    Args:
        path: The file.
        kind: The kind that is expected, or '' for any.
        parent: The parent frame that is expected, so that one tool's tip never serves another; '' for any.
        usable: Whether a result of the verdict refuse is an error.

    Raises:
        ConfigError: naming the file, the key, the value and what was expected.
    """
    result = _parse(read_mapping(path, 'result file'), str(path))
    if kind and result.kind != kind:
        raise ConfigError(f'{path}: kind={result.kind!r}, expected {kind!r}')
    if parent and result.parent_frame != parent:
        raise ConfigError(f'{path}: parent_frame={result.parent_frame!r}, but this node wants that of {parent!r}')
    if usable and result.verdict == 'refuse':
        raise ConfigError(f'{path}: its verdict is refuse ({"; ".join(result.reasons) or "no reason given"}): redo it')
    return result


def _parse(document: dict[Any, Any], where: str) -> StoredResult:
    known = _REQUIRED + _OPTIONAL
    for key in document:
        if key not in known:
            raise ConfigError(f'{where}: unknown key {key!r}{nearest(str(key), known)}')
    for key in _REQUIRED:
        if key not in document:
            raise ConfigError(f'{where}: key {key!r} is missing')
    if document['format'] != FORMAT or isinstance(document['format'], bool):
        raise ConfigError(f'{where}: format={document["format"]!r}, this version reads {FORMAT}')
    kind, verdict = _choice(document, 'kind', KINDS, where), _choice(document, 'verdict', VERDICTS, where)
    position = _array(document, 'position_m', (3,), where)
    try:
        quat_xyzw = check_quaternion(_array(document, 'quat_xyzw', (4,), where), name=f'{where}: quat_xyzw')
    except InputError as error:
        raise ConfigError(str(error)) from None
    frames = [_text(document, key, where) for key in ('parent_frame', 'child_frame')]
    if not all(frames) or frames[0] == frames[1]:
        raise ConfigError(
            f'{where}: parent_frame={frames[0]!r}, child_frame={frames[1]!r}: two different names expected'
        )
    return StoredResult(
        kind=kind,
        parent_frame=frames[0],
        child_frame=frames[1],
        parent_T_child=make_transform(rotation_from_quat(quat_xyzw), position),
        covariance=_covariance(document, where),
        errors=_errors(document, where),
        verdict=verdict,
        date=_date(document, where),
        tool=_text(document, 'tool', where),
        reasons=_reasons(document, where),
        data_sha256=_sha256(document, where),
        data_file=_text(document, 'data_file', where),
        software_version=_text(document, 'software_version', where),
        tip_share=_tip_share(document, where),
    )


def _tip_share(document: dict[str, Any], where: str) -> TipShare | None:
    """Return the share with stamp 0: of a registration that was known beforehand."""
    share = document.get('tip_share')
    if share is None:
        return None
    if not isinstance(share, dict) or set(share) != {'tip_m', 'effect'} or document['kind'] != 'registration':
        raise ConfigError(f'{where}: tip_share={str(share)[:80]}: expected tip_m and effect, of a registration')
    if not _text(document, 'tool', where):
        raise ConfigError(f'{where}: tip_share without tool: name the tool that touched')
    inner = f'{where}: tip_share'
    return TipShare(0, _array(share, 'tip_m', (3,), inner), _array(share, 'effect', (6, 3), inner))


def _text(document: dict[str, Any], key: str, where: str) -> str:
    value = document.get(key, '')
    if not isinstance(value, str):
        raise ConfigError(f'{where}: {key}={value!r}: expected text')
    return value


def _choice(document: dict[str, Any], key: str, choices: tuple[str, ...], where: str) -> str:
    value = _text(document, key, where)
    if value not in choices:
        raise ConfigError(f'{where}: {key}={value!r} is none of {", ".join(choices)}{nearest(value, choices)}')
    return value


def _array(document: dict[str, Any], key: str, shape: tuple[int, ...], where: str) -> Array:
    try:
        values = np.array(document[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'{where}: {key}={str(document[key])[:80]}: expected numbers of shape {shape}') from None
    if values.shape != shape:
        raise ConfigError(f'{where}: {key} has shape {values.shape}, expected {shape}')
    if not np.isfinite(values).all():
        raise ConfigError(f'{where}: {key} has NaN or Inf')
    return values


def _covariance(document: dict[str, Any], where: str) -> Array:
    matrix = _array(document, 'covariance', (6, 6), where)
    size = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > 1e-9 * size:
        raise ConfigError(f'{where}: covariance is not symmetric')
    if np.linalg.eigvalsh(matrix).min() < -1e-9 * size:
        raise ConfigError(f'{where}: covariance has a negative eigenvalue')
    return matrix


def _errors(document: dict[str, Any], where: str) -> dict[str, float]:
    errors = document['errors']
    if not isinstance(errors, dict):
        raise ConfigError(f'{where}: errors={errors!r}: expected keys and numbers')
    for key, value in errors.items():
        if not isinstance(key, str) or not key.endswith(_UNIT_ENDINGS):
            raise ConfigError(f'{where}: errors.{key} must end in its unit: {", ".join(_UNIT_ENDINGS)}')
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f'{where}: errors.{key}={value!r}: expected a finite number')
    return {key: float(value) for key, value in errors.items()}


def _date(document: dict[str, Any], where: str) -> str:
    value = document['date']
    try:
        date = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f'{where}: date={value!r}: expected ISO 8601, such as 2026-01-31T12:00:00+00:00') from None
    if date.tzinfo is None:
        raise ConfigError(f'{where}: date={value!r} has no time zone, such as +00:00')
    return date.isoformat() if isinstance(value, datetime.datetime) else str(value)


def _reasons(document: dict[str, Any], where: str) -> tuple[str, ...]:
    reasons = document.get('reasons', [])
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        raise ConfigError(f'{where}: reasons={reasons!r}: expected a list of sentences')
    return tuple(reasons)


def _sha256(document: dict[str, Any], where: str) -> str:
    value = _text(document, 'data_sha256', where)
    if value and not re.fullmatch(r'[0-9a-f]{64}', value):
        raise ConfigError(f'{where}: data_sha256={value!r}: expected 64 hexadecimal digits')
    return value
