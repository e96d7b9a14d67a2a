"""Tables of poses: `t, x, y, z, qx, qy, qz, qw` in metres and seconds, and the TUM trajectory format.

Fields are parted by commas, semicolons, tabs or spaces; lines that begin with # are comments; a header line may give
the columns another order, or name nanoseconds (EuRoC) or millimetres (`x_mm`, `x [mm]`). The table may be a member of a
zip archive, which is read in memory and never unpacked to disk. Stamps stay as they were written: unordered and
repeated ones are for `pose_stream`.
"""

import fnmatch
import hashlib
import re
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.temporal_stream import PoseStream, pose_stream
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import QUATERNION_RENORMALISE, Array, make_transform, rotation_from_quat
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.recording import MAX_LINE_BYTES, MAX_SECONDS, MM, parse_seconds

MAX_TABLE_BYTES = 256 << 20
MAX_MEMBERS = 10_000
MAX_LISTED = 20
MAX_BAD_SHARE = 0.5
ENDINGS = ('.csv', '.txt', '.tum', '.tsv', '.dat')
COLUMNS = ('t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_TIMES = re.compile(r'(t|time|timestamp|stamp|sec|seconds|header\.stamp)$')
_PLACES = re.compile(r'(?:(?:p|t|p_rs_r|pos|position|trans|translation)[._ ]?)?([xyz])$')
_TURNS = re.compile(r'(?:q|q_rs|rot|rotation|quat|quaternion|ori|orient|orientation)[._ ]?([wxyz0o])$')
_QUATERNION_W = re.compile(r'(?i)(q|quat|rot|ori)[a-z]*[._ ]?w\b')
_UNIT = re.compile(r'[\[(]\s*(\w*)\s*[\])]|_(ns|nsec|s|mm|cm|m)$')
_TIME_UNITS = ('', 's', 'sec', 'ns', 'nsec')
_METRES = {'': 1.0, 'm': 1.0, 'cm': 1e-2, 'mm': 1e-3}
_FAR = 10.0  # no tracker sees as far [m]: such a spread is of millimetres
_SPLIT = {',': re.compile(r'\s*,\s*'), ';': re.compile(r'\s*;\s*'), ' ': re.compile(r'\s+')}
_NANOSECONDS_ABOVE = 1e14  # seconds above this are nanoseconds


@dataclass(frozen=True, slots=True)
class _Header:
    """Where the columns stand, whether stamps are nanoseconds, metres per unit of length, and whether that was said."""

    order: list[int]
    nanoseconds: bool = False
    metres: float = 1.0
    length_named: bool = False


@dataclass(frozen=True, eq=False)
class PoseTable:
    """A table of poses as recorded.

    Args:
        path: The file, or the archive.
        member: Name within the archive, or ''.
        stamps_ns: As written, shape (n,); they may repeat and run backwards.
        poses: Pose of the moving frame in the fixed one [m], shape (n, 4, 4).
        sha256: Of the table's bytes, in hexadecimal.
        notes: What was left out or assumed, one line each.
    """

    path: Path
    member: str
    stamps_ns: NDArray[np.int64]
    poses: Array
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name for people: that of the member, else that of the file."""
        return self.member.rsplit('/', 1)[-1] or self.path.name

    @cached_property
    def stream(self) -> PoseStream:
        """The poses in the order of their stamps, each stamp once."""
        return pose_stream(self.stamps_ns, self.poses)


def read_pose_csv(path: Path | str, *, member: str = '') -> PoseTable:
    """Read a table of poses.

    Args:
        path: A table, a zip archive that holds one, or `archive.zip/name/in/it`.
        member: Name within the archive, with or without its folders, or a pattern such as `*hand.csv` that only one
            fits; may be left out when the archive holds only one table.

    Raises:
        InputError: The file is absent, too large, damaged, or holds no table of poses; the message names the line.
    """
    path, inside = _split_archive(Path(path))
    member = member or inside
    try:
        if member or zipfile.is_zipfile(path):
            member, data = _read_member(path, member)
        else:
            if path.stat().st_size > MAX_TABLE_BYTES:
                raise InputError(f'{path}: {path.stat().st_size} bytes, limit {MAX_TABLE_BYTES}')
            data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    where = f'{path.name}/{member}' if member else path.name
    stamps, poses, notes = parse_pose_table(data, where)
    return PoseTable(path, member, stamps, poses, hashlib.sha256(data).hexdigest(), notes)


def member_names(path: Path) -> tuple[str, ...]:
    """Return the names of the tables in a zip archive, at most 20; none for another file.

    Raises:
        InputError: The archive is damaged or has too many members.
    """
    if not zipfile.is_zipfile(path):
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f'{path.name}: damaged archive ({error})') from None
    if len(entries) > MAX_MEMBERS:
        raise InputError(f'{path.name}: {len(entries)} members, limit {MAX_MEMBERS}')
    tables = [entry.filename for entry in entries if entry.filename.lower().endswith(ENDINGS) and not entry.is_dir()]
    return tuple(tables[:MAX_LISTED])


def _split_archive(path: Path) -> tuple[Path, str]:
    for parent in path.parents:
        if parent.suffix.lower() == '.zip' and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, ''


def _read_member(path: Path, wanted: str) -> tuple[str, bytes]:
    """Return name and bytes of a member; never more than the limit, whatever the archive says of itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = _choose_member(path, archive, wanted)
            if info.flag_bits & 1:
                raise InputError(f'{path.name}/{info.filename} is encrypted')
            if info.file_size > MAX_TABLE_BYTES:
                raise InputError(f'{path.name}/{info.filename}: {info.file_size} bytes, limit {MAX_TABLE_BYTES}')
            with archive.open(info) as stream:
                data = stream.read(MAX_TABLE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path.name}: damaged archive ({error})') from None
    if len(data) > MAX_TABLE_BYTES:
        raise InputError(f'{path.name}/{info.filename}: more than {MAX_TABLE_BYTES} bytes')
    return info.filename, data


def _choose_member(path: Path, archive: zipfile.ZipFile, wanted: str) -> zipfile.ZipInfo:
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise InputError(f'{path.name}: {len(entries)} members, limit {MAX_MEMBERS}')
    tables = [entry for entry in entries if entry.filename.lower().endswith(ENDINGS) and not entry.is_dir()]
    names = [entry.filename for entry in tables]
    found = [entry for entry in entries if entry.filename == wanted]
    if not found and wanted:
        found = [entry for entry in tables if fnmatch.fnmatchcase(entry.filename.rsplit('/', 1)[-1], wanted)]
        found = found or [entry for entry in tables if fnmatch.fnmatchcase(entry.filename, wanted)]
    elif not wanted:
        found = tables
    if len(found) == 1:
        return found[0]
    listed = ', '.join(names[:8]) + (' …' if len(names) > 8 else '')
    if not found:
        raise InputError(f'{path.name}: no table {wanted!r} in it; it has {listed or "none"}{nearest(wanted, names)}')
    said = f'{wanted!r} fits {len(found)} of its tables' if wanted else f'name one of its {len(names)} tables'
    raise InputError(f'{path.name}: {said}: {listed}')


def parse_pose_table(data: bytes, where: str) -> tuple[NDArray[np.int64], Array, tuple[str, ...]]:
    """Return stamps (n,), poses (n, 4, 4) and notes of a table.

    Raises:
        InputError: No line holds a pose, or more than half of them are unreadable.
    """
    text = data.removeprefix(b'\xef\xbb\xbf').decode('utf-8', errors='replace')
    header, separator = _Header(list(range(8))), ''
    stamps: list[int] = []
    rows: list[list[float]] = []
    bad: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f'{where}: line {number} has {len(line)} characters: not a table of poses')
        comment = line.startswith('#')
        line = line.lstrip('# \t')
        if not line:
            continue
        separator = separator if separator and not comment else _separator(line)
        cells = _SPLIT[separator].split(line.rstrip(',; \t'))
        cells = [cell.replace(',', '.') for cell in cells] if separator == ';' else cells
        if comment or (not rows and not bad and _is_header(cells)):
            named = _header(cells)
            if named is not None:
                header = named
            elif not comment or (len(cells) >= len(COLUMNS) and any(_QUATERNION_W.search(cell) for cell in cells)):
                raise InputError(f'{where}: line {number} names {line[:60]!r}; expected {", ".join(COLUMNS)}')
            if comment:
                separator = ''
            continue
        try:
            stamp, values = _row(cells, header.order, header.nanoseconds)
        except InputError as error:
            bad.append(f'line {number}: {error}')
            continue
        stamps.append(stamp)
        rows.append(values)
    if not rows or len(bad) > MAX_BAD_SHARE * (len(rows) + len(bad)):
        first = f'; {bad[0]}' if bad else ''
        raise InputError(
            f'{where}: {len(rows)} poses in {len(rows) + len(bad)} lines, expected t,x,y,z,qx,qy,qz,qw{first}'
        )
    table = np.array(rows)
    quaternions = table[:, 3:] / np.linalg.norm(table[:, 3:], axis=1, keepdims=True)
    notes = [f'{len(bad)} lines left out; {bad[0]}'] if bad else []
    metres = header.metres
    spread = float(np.median(np.linalg.norm(table[:, :3] - np.median(table[:, :3], axis=0), axis=1)))
    if not header.length_named and spread > _FAR:
        metres = MM
        notes.append(f'positions taken as millimetres: they spread over {spread:.0f}')
    return (
        np.array(stamps, dtype=np.int64),
        make_transform(rotation_from_quat(quaternions), table[:, :3] * metres),
        tuple(notes),
    )


def _separator(line: str) -> str:
    return next((mark for mark in (';', ',') if mark in line), ' ')


def _is_header(cells: list[str]) -> bool:
    return any(cell[:1].isalpha() and cell.lower() not in ('nan', 'inf') for cell in cells)


def _header(cells: list[str]) -> _Header | None:
    """Return where the columns are and their units; None when not all are named."""
    order: dict[str, int] = {}
    units: dict[str, str] = {}
    for index, cell in enumerate(cells):
        word = cell.strip('"% ').lower()
        said = _UNIT.search(word)
        column = _column(_UNIT.sub('', word).strip())
        if column and column not in order:
            order[column] = index
            units[column] = (said[1] or said[2] or '') if said else ''
    lengths = {units.get(column, '') for column in 'xyz'}
    if len(order) < len(COLUMNS) or len(lengths) > 1 or not lengths <= set(_METRES) or units['t'] not in _TIME_UNITS:
        return None
    length = lengths.pop()
    return _Header(
        [order[column] for column in COLUMNS], units['t'] in ('ns', 'nsec'), _METRES[length], length_named=bool(length)
    )


def _column(name: str) -> str:
    """Return which column a name means, or ''; the prefixes that ROS tools write are left out."""
    name = re.sub(r'^(field\.)?((pose|transform)\.)*', '', name)
    if _TIMES.match(name):
        return 't'
    place, turn = _PLACES.match(name), _TURNS.match(name)
    return place[1] if place else f'q{turn[1].replace("0", "w").replace("o", "w")}' if turn else ''


def _row(cells: list[str], order: list[int], nanoseconds: bool) -> tuple[int, list[float]]:
    if len(cells) <= max(order):
        raise InputError(f'{len(cells)} of {max(order) + 1} values')
    try:
        values = [float(cells[at]) for at in order]
    except ValueError:
        raise InputError(f'unreadable value in {",".join(cells)[:60]!r}') from None
    array = np.array(values)
    if not np.isfinite(array).all():
        raise InputError('NaN or Inf')
    norm = float(np.linalg.norm(array[4:]))
    if abs(norm - 1.0) > QUATERNION_RENORMALISE:
        raise InputError(f'quaternion of norm {norm:.4g}, expected 1')
    text = cells[order[0]]
    if nanoseconds or (values[0] > _NANOSECONDS_ABOVE and text.isdecimal()):
        if not text.isdecimal() or len(text) > 19 or int(text) >= MAX_SECONDS * NANOSECONDS:
            raise InputError(f'stamp {text[:40]!r} is no whole number of nanoseconds')
        return int(text), values[1:]
    return parse_seconds(text), values[1:]
