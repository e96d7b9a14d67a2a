"""Files of force profiles: recorded strokes as tables (CSV), and the measured profile as YAML."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.force_profile import ForceProfile
from twin_nodes.io.results import FORMAT, software_version, utc_date
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_mapping

KIND = 'force_profile'
MAX_STROKES_BYTES = 256 << 20
_TABLES = ('depths_m', 'speeds_m_s', 'entering_n', 'leaving_n')
_OTHERS = ('format', 'kind', 'date', 'sigma_n', 'data_file', 'data_sha256', 'software_version')
_SCALES = {
    'depth': {'depth_m': 1.0, 'depth_mm': 1e-3},
    'force': {'force_n': 1.0, 'force_mn': 1e-3},
    'speed': {'speed_m_s': 1.0, 'speed_mm_s': 1e-3},
    'time': {'t_s': 1.0, 'time_s': 1.0, 't_ms': 1e-3, 'time_ms': 1e-3, 't_ns': 1e-9, 'time_ns': 1e-9, 'stamp_ns': 1e-9},
}


def read_strokes(path: Path | str) -> tuple[Array, Array, Array]:
    """Read depth [m], speed inwards [m/s] and force against the tip [N] of recorded strokes, shapes (n,).

    The first row names the columns: `depth_m` or `depth_mm`, `force_n` or `force_mn` (millinewton), and `speed_m_s`,
    `speed_mm_s` or a time (`t_s`, `t_ms`, `stamp_ns`), from which the speed comes.

    Raises:
        InputError: FORCE_TABLE_REFUSED: naming what is missing, or the row and column of what is no number.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_STROKES_BYTES:
            raise _refusal(path, f'it is above {MAX_STROKES_BYTES >> 20} MiB')
        rows = list(csv.reader(path.read_text(encoding='utf-8-sig').splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refusal(path, f'it cannot be read: {error}') from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    columns = {what: _column(names, scales) for what, scales in _SCALES.items()}
    missing = [' or '.join(list(_SCALES[what])[:2]) for what in ('depth', 'force') if columns[what] is None]
    if columns['speed'] is None and columns['time'] is None:
        missing.append('speed_m_s or t_s')
    if missing:
        raise _refusal(path, f'no column {", ".join(missing)} among {", ".join(names) or "none"}')
    found = {what: _numbers(path, rows[1:], *at) for what, at in columns.items() if at is not None}
    speed = found.get('speed')
    if speed is None:
        times = found['time']
        if len(times) < 2 or not (np.diff(times) > 0.0).all():
            raise _refusal(path, 'its times must ascend, at least two of them')
        speed = np.gradient(found['depth'], times)
    return found['depth'], speed, found['force']


def write_force_profile(path: Path | str, profile: ForceProfile, *, source: Path | None = None) -> None:
    """Write a profile; the file appears whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    document = {
        'format': FORMAT, 'kind': KIND, 'date': utc_date(),
        'depths_m': profile.depths.tolist(), 'speeds_m_s': profile.speeds.tolist(),
        'entering_n': profile.entering.tolist(), 'leaving_n': profile.leaving.tolist(), 'sigma_n': profile.sigma,
        'data_file': source.name if source is not None else '',
        'data_sha256': hashlib.sha256(source.read_bytes()).hexdigest() if source is not None else '',
        'software_version': software_version(),
    }  # fmt: skip
    text = '# force against the tip: one row per depth, one column per speed; metres, m/s, newtons\n'
    write_text_whole(Path(path), text + yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=140))


def read_force_profile(path: Path | str) -> ForceProfile:
    """Read a profile and check every value of it.

    Raises:
        ConfigError: naming the file, the key and what was expected.
    """
    document = read_mapping(path, 'force profile')
    if document.get('kind') != KIND:
        raise ConfigError(f'{path}: not a force profile; make one with `twin calibrate force STROKES.csv -o FILE`')
    for key in document:
        if key not in _TABLES + _OTHERS:
            raise ConfigError(f'{path}: unknown key {key!r}{nearest(str(key), _TABLES + _OTHERS)}')
    if document.get('format') != FORMAT:
        raise ConfigError(f'{path}: format={document.get("format")!r}, this version reads {FORMAT}')
    tables = [_table(path, document, key) for key in _TABLES]
    try:
        return ForceProfile(*tables, sigma=float(document.get('sigma_n', 0.0)))
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f'{path}: {error}') from None


def _table(path: Path, document: dict[Any, Any], key: str) -> Array:
    try:
        found = np.array(document[key], float)
    except KeyError:
        raise ConfigError(f'{path}: key {key!r} is missing') from None
    except (TypeError, ValueError):
        raise ConfigError(f'{path}: {key} must be rows of numbers of equal length') from None
    if found.ndim != (1 if key in _TABLES[:2] else 2):
        raise ConfigError(f'{path}: {key} has shape {found.shape}')
    return found


def _column(names: list[str], scales: dict[str, float]) -> tuple[int, float] | None:
    return next(((names.index(name), scale) for name, scale in scales.items() if name in names), None)


def _numbers(path: Path, rows: list[list[str]], column: int, scale: float) -> Array:
    found = []
    for line, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            value = float(row[column])
        except (IndexError, ValueError):
            raise _refusal(path, f'row {line}, column {column + 1} is no number') from None
        found.append(scale * value)
    return np.array(found)


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='FORCE_TABLE_REFUSED')
