"""Files of uniaxial compression tests: tables of any testing machine, with units and geometry in their header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.material.curves import CompressionTest, make_test
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.specimen_sizes import AGREE, LENGTHS, specimen_sizes, without_accents

MAX_FILE_BYTES = 64 << 20
_STRESS = {'pa': 1.0, 'kpa': 1e3, 'mpa': 1e6, 'gpa': 1e9, 'n/mm^2': 1e6, 'n/mm2': 1e6, 'n/m^2': 1.0, 'psi': 6894.757}
_FORCE = {'n': 1.0, 'kn': 1e3, 'mn': 1e-3, 'gf': 9.80665e-3, 'kgf': 9.80665, 'lbf': 4.448222}
_STRAIN = {'': 1.0, '-': 1.0, '1': 1.0, 'mm/mm': 1.0, 'm/m': 1.0, '%': 1e-2, 'percent': 1e-2}
_STRAINS = ('strain', 'dehnung', 'stauchung', 'deformation', 'deformacion', 'deformazione')
_COLUMNS = {  # kind: a word of the first group must be in the title, none of the second; then the units
    'strain': ((*_STRAINS, 'compression ratio'), ('true', 'log', 'hencky', 'wahr'), _STRAIN),
    'stress': (('stress', 'spannung', 'contrainte', 'esfuerzo', 'sforzo'), ('true', 'cauchy', 'wahr'), _STRESS),
    'stretch': (('stretch',), ('stress',), _STRAIN),
    'true_strain': (('true strain', 'log strain', 'logarithmic strain', 'hencky', 'wahre dehnung'), (), _STRAIN),
    'true_stress': (('true stress', 'cauchy', 'wahre spannung'), (), _STRESS),
    'load': (('load', 'force', 'kraft', 'fuerza', 'forza', 'carga', 'charge', 'carico'), ('cell', 'dose'), _FORCE),
    'path': (
        ('compression', 'disp', 'extension', 'travel', 'crosshead', 'weg', 'verschiebung', 'deplacement', 'desplaz',
         'spostamento', 'traverse', 'corsa'),
        ('strain', 'stress', 'speed', 'rate', 'velocity', 'geschwindigkeit'), LENGTHS,
    ),
}  # fmt: skip
_PULLED = re.compile(r'tensile|tension test|zugversuch|\bextension\b(?<!compressive extension)', re.IGNORECASE)
_SIGNED = ('strain', 'stress', 'load', 'path', 'true_strain', 'true_stress')
_NAME = re.compile(r'^(?P<material>.+?)[_ -](?:sample[_ -])?(?P<piece>[A-Za-z]{1,2})[_ -]?(?:sample[_ -])?\d{1,3}$')


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns in SI by kind, and what the header says of the specimen."""

    columns: dict[str, Array]
    area: float | None
    height: float | None
    notes: list[str]


def find_tests(paths: Sequence[Path]) -> list[Path]:
    """Return the files of tests among paths; of folders all tables below them, in order.

    Raises:
        InputError: for a path that is not there, or none left.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob('*') if file.suffix.lower() == '.csv' and file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f'{path}: there is no such file or folder')
    if not found:
        raise InputError(f'{", ".join(map(str, paths))}: no table (.csv) in it', code='MATERIAL_TEST_REFUSED')
    return list(dict.fromkeys(found))


def read_test(path: Path | str, *, material: str = '') -> CompressionTest:
    """Read one compression test.

    Nominal stress by engineering strain is taken where it is stated; else it is computed from load, path and the size
    of the specimen, or from true stress and strain. What is stated twice must agree.

    Args:
        path: A table with a header; what stands above it may give the specimen's diameter or area, and height.
        material: Its name; from the name of the file or its folder when left out.

    Raises:
        InputError: MATERIAL_TEST_REFUSED with the reason and the line.
    """
    path = Path(path)
    table = _read(path)
    strain, stress = _choose(path, table)
    named, piece = _names(path)
    return make_test(path.name, material or named, piece, strain, stress, table.notes)


def _names(path: Path) -> tuple[str, str]:
    """Return the material and the piece: 'EF10_50T_B1.csv' and 'sample_B_01_processed.csv' are piece B of a material.

    A file whose name tells no piece is a piece of its own, of the material that its folder is named after.
    """
    stem = re.sub(r'[_ -](processed|raw)$', '', path.stem, flags=re.IGNORECASE)
    match = _NAME.match(stem)
    if match is None:
        plain = re.match(r'^(?:sample|specimen|test)[_ -]?([A-Za-z]{1,2})[_ -]?\d{1,3}$', stem, re.IGNORECASE)
        return path.resolve().parent.name, plain.group(1) if plain else stem
    material = match['material']
    if material.lower() in ('sample', 'specimen', 'test'):
        material = path.resolve().parent.name
    return material, match['piece']


def _read(path: Path) -> _Table:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _refusal(path, f'above {MAX_FILE_BYTES >> 20} MiB: no table of a compression test')
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    try:
        text = raw.decode('utf-16' if raw[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig')
    except UnicodeDecodeError:
        text = raw.decode('latin-1')
    lines = text.splitlines()
    at, divider = _header(path, lines)
    titles, rest = _split(lines[at], divider), at + 1
    if rest < len(lines) and _numbers(_split(lines[rest], divider), divider) is None and lines[rest].strip():
        units = _split(lines[rest], divider)  # a row of units below the titles
        if len(units) == len(titles):
            titles = [f'{title} ({unit.strip("()[] ")})' for title, unit in zip(titles, units, strict=True)]
            rest += 1
    notes: list[str] = []
    rows = _rows(path, lines, rest, len(titles), divider, notes)
    columns = {}
    for number, title in enumerate(titles):
        kind = _kind(title)
        if kind and kind not in columns:
            known = _COLUMNS[kind][2]
            if not _stated(title, known):
                notes.append(f'column {title!r} states no unit: left out')
                continue
            columns[kind] = rows[:, number] * _unit(path, title, known)
    area, height = specimen_sizes(path, lines[:at])
    _check_pushed(path, [*lines[:at], *titles], columns)
    return _Table(columns, area, height, notes)


def _check_pushed(path: Path, said: list[str], columns: dict[str, Array]) -> None:
    """Refuse a test in which the piece was pulled: it says so, and its travel, strain and force are positive."""
    word = next((match[0] for line in said if (match := _PULLED.search(line))), '')
    away = [values[np.argmax(np.abs(values))] for kind, values in columns.items() if kind in _SIGNED]
    if word and away and min(away) > 0.0:
        raise _refusal(path, f'{word!r} with positive numbers: the piece was pulled; tests in compression are read')


def _header(path: Path, lines: list[str]) -> tuple[int, str]:
    """Return the line of the titles and what divides its columns."""
    for number, line in enumerate(lines[:200]):
        for divider in (';', '\t', ',', ' '):
            parts = _split(line, divider)
            if divider == ' ' and (number + 1 >= len(lines) or len(_split(lines[number + 1], ' ')) != len(parts)):
                continue
            kinds = {_kind(part) for part in parts} - {''}
            if len(parts) >= 2 and len(kinds) >= 2:
                return number, divider
    raise _refusal(path, 'no line of titles with strain and stress, or load and compression, in its first 200 lines')


def _split(line: str, divider: str) -> list[str]:
    parts = [part.strip().strip('"\'').strip() for part in line.split(divider if divider != ' ' else None)]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _numbers(parts: list[str], divider: str) -> list[float] | None:
    try:
        return [float(part.replace(',', '.') if divider != ',' else part) for part in parts]
    except ValueError:
        return None


def _rows(path: Path, lines: list[str], first: int, width: int, divider: str, notes: list[str]) -> Array:
    rows = []
    last = max((number for number, line in enumerate(lines) if line.strip()), default=first)
    for number in range(first, len(lines)):
        if not lines[number].strip(divider + ' \t'):
            continue
        values = _numbers(_split(lines[number], divider), divider)
        if values is None or len(values) < width:
            if number == last and rows:
                notes.append(f'line {number + 1} is cut off: left out')
                continue
            raise _refusal(path, f'line {number + 1}: expected {width} numbers, got {lines[number][:60]!r}')
        if not np.isfinite(values).all():
            raise _refusal(path, f'line {number + 1}: NaN or Inf')
        rows.append(values[:width])
    if not rows:
        raise _refusal(path, 'no row of numbers below the titles')
    return np.array(rows, float)


def _kind(title: str) -> str:
    """Return what a column holds; where a word may mean a strain or a travel, its unit decides."""
    plain = re.sub(r'[_\s]+', ' ', re.sub(r'[\[(].*', '', without_accents(title))).strip().lower()
    for kind in ('true_strain', 'true_stress', 'strain', 'stress', 'stretch', 'load', 'path'):
        words, without, _ = _COLUMNS[kind]
        if any(word in plain for word in words) and not any(word in plain for word in without):
            unit = _bracketed(title).lower()
            if kind == 'strain' and unit in LENGTHS:
                return 'path'
            return 'strain' if kind == 'path' and unit in ('%', 'percent', 'mm/mm', 'm/m') else kind
    return ''


def _bracketed(title: str) -> str:
    match = re.search(r'[\[(]\s*([^\])]*?)\s*[\])]', title)
    return match.group(1).replace('µ', 'u') if match else ''


def _stated(title: str, known: dict[str, float]) -> str:
    """Return the unit in a title: 'Stress (kPa)', 'stress [kPa]', 'stress_kPa', 'Load N'; '-' for a bare strain."""
    if re.search(r'[\[(][^\])]*[\])]', title):
        return _bracketed(title) or '-'
    last = re.split(r'[_,\s]+', title.strip())[-1]
    if known is _STRAIN:
        return '%' if last in ('%', 'percent') else '-'
    return '' if _kind(last) or len(re.split(r'[_,\s]+', title.strip())) == 1 else last


def _unit(path: Path, title: str, known: dict[str, float]) -> float:
    unit = _stated(title, known)
    plain = unit.replace('²', '^2').replace('µ', 'u').replace(' ', '')
    if known is _FORCE and plain == 'MN':
        return 1e6
    plain = plain.lower()
    if plain not in known:
        raise _refusal(path, f'column {title!r}: unit {unit!r} is none of {", ".join(unit for unit in known if unit)}')
    return known[plain]


def _choose(path: Path, table: _Table) -> tuple[Array, Array]:
    columns = table.columns
    strain = _agreed(path, table, 'strain', 'path', table.height)
    stress = _agreed(path, table, 'stress', 'load', table.area)
    if strain is None and 'stretch' in columns:
        strain = columns['stretch'] - 1.0
    if strain is None and 'true_strain' in columns:
        strain = np.expm1(-np.abs(columns['true_strain']))
    if stress is None and 'true_stress' in columns and strain is not None:
        stress = columns['true_stress'] / (1.0 - np.abs(strain))
    for what, values, column, size in (
        ('strain', strain, 'compression', 'height'),
        ('stress', stress, 'load', 'diameter or area'),
    ):
        if values is None:
            said = ''.join(f'; {note}' for note in table.notes)
            raise _refusal(
                path, f'no {what}{said}: give its column, or {column} with the {size} of the specimen above it'
            )
    assert strain is not None and stress is not None
    return strain, stress


def _agreed(path: Path, table: _Table, stated: str, measured: str, size: float | None) -> Array | None:
    """Return what is stated, checked against what was measured over the size of the specimen."""
    first = table.columns.get(stated)
    other = table.columns[measured] / size if measured in table.columns and size else None
    if other is not None and other[np.argmax(np.abs(other))] > 0.0:
        other = -other  # machines count load and path as positive
    if first is None or other is None:
        return first if other is None else other
    scale = float(np.dot(np.abs(first), np.abs(other)) / max(float(np.dot(other, other)), 1e-300))
    if abs(scale - 1.0) <= AGREE:
        return first
    power = np.log10(scale) if scale > 0.0 else 0.0
    if abs(power - round(power)) <= AGREE and round(power) != 0:
        table.notes.append(f'{stated} is {scale:.4g} times {measured} over size: its unit is wrong, computed anew')
        return other
    raise _refusal(
        path, f'{stated} is {scale:.4g} times {measured} over the size of the specimen: one of them is wrong'
    )


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='MATERIAL_TEST_REFUSED')
