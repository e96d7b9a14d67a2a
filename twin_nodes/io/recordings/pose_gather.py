"""Rows of a table of poses gathered by tool, and made poses: quaternions, matrices, angles or rotation vectors."""

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import (
    QUATERNION_RENORMALISE,
    Array,
    make_transform,
    rotation_exp,
    rotation_from_quat,
)
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.pose_columns import ANGLES, MATRIX, QUATERNION, VECTOR, Columns
from twin_nodes.io.recordings.pose_matrices import HUGE, PRINTED, poses_of
from twin_nodes.io.recordings.pose_rows import in_order, lost_rows, nanoseconds_of, stamp_of, tick_of, unwrapped
from twin_nodes.io.recordings.pose_stacks import Stack
from twin_nodes.io.recordings.recording import MM

MAX_BAD_SHARE = 0.5
MAX_TOOLS = 32
Table = tuple[NDArray[np.int64], Array, tuple[str, ...]]  # stamps (n,), poses (n, 4, 4), notes
Tables = dict[str, Table]  # by tool
_FAR = 10.0  # no tracker sees as far [m]: such positions are millimetres
_STATES = ('status', 'state', 'transformstatus')
_NOT_SEEN = re.compile(r'missing|lost|invalid|bad|out|not|fail|occlu|interfer|few|disabled')
_NO = ('0', '0.0', 'false', 'no', 'n', 'f', 'invalid', 'missing', 'lost', 'bad', 'nan', '')
_TURN = 2.0 * np.pi
_PERIOD_NS = NANOSECONDS


class Rows:
    """Gathers the rows of each tool."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[tuple[Decimal, list[float]]]] = {}
        self._bad: dict[str, list[str]] = {}
        self._unseen: dict[str, int] = {}
        self._codes: dict[str, set[str]] = {}

    @property
    def count(self) -> int:
        """Rows that were seen."""
        read = sum(map(len, self._rows.values())) + sum(map(len, self._bad.values()))
        return read + sum(self._unseen.values())

    def add(self, cells: list[str], columns: Columns, number: int) -> None:
        """Add a row to each tool that has columns in it; what cannot be used is counted with its reason."""
        for tool, places in columns.tools.items():
            if _is_unseen(cells, places) or self._is_flagged(tool, cells, columns):
                self._unseen[tool] = self._unseen.get(tool, 0) + 1
                continue
            try:
                row = _row(cells, columns, places)
                label = '' if columns.label is None else cells[columns.label].strip('"')
            except (InputError, IndexError) as error:
                self._bad.setdefault(tool, []).append(f'line {number}: {error}')
                continue
            self._rows.setdefault((tool, label), []).append(row)

    def _is_flagged(self, tool: str, cells: list[str], columns: Columns) -> bool:
        """Whether a column says that the tool was not seen; numbers of a status are gathered, and told."""
        at, name = columns.flags.get(tool) or columns.flags.get('') or (-1, '')
        if not 0 <= at < len(cells):
            return False
        word = cells[at].strip('"').lower()
        if name in _STATES:
            if re.fullmatch(r'[-+.\dx]+', word):
                self._codes.setdefault(tool, set()).add(word)
            return bool(_NOT_SEEN.search(word))
        return (word in _NO) != name.endswith(('missing', 'lost'))

    def tables(self, columns: Columns, where: str) -> Tables:
        """Return what was gathered, a table for each tool.

        Raises:
            InputError: No line holds a pose, or more than half of them are unreadable.
        """
        found: Tables = {}
        for tool in columns.tools:
            groups = {label: rows for (name, label), rows in self._rows.items() if name == tool}
            bad = self._bad.get(tool, [])
            count = sum(map(len, groups.values()))
            if not count or len(bad) > MAX_BAD_SHARE * (count + len(bad)):
                first = f'; {bad[0]}' if bad else ''
                if found or tool != list(columns.tools)[-1]:
                    continue  # another tool may have been seen
                raise InputError(
                    f'{where}: {count} poses in {count + len(bad)} lines, expected t,x,y,z,qx,qy,qz,qw{first}'
                )
            notes = [f'{len(bad)} lines left out; {bad[0]}'] if bad else []
            if unseen := self._unseen.get(tool, 0):
                notes.append(f'{unseen} rows left out where the tool was not seen: zeros, NaN, no numbers, or said so')
            if len(codes := sorted(self._codes.get(tool, set()))) > 1:
                notes.append(f'a status of {", ".join(codes[:4])} is in the table; no row is left out for its numbers')
            if not 1 < len(groups) <= MAX_TOOLS or min(map(len, groups.values())) < 2:  # a label that tells no tools
                groups = {'': [row for rows in groups.values() for row in rows]}
            for label, rows in groups.items():
                name = ' '.join(part for part in (tool, label) if part)
                found[name] = _table(rows, columns, [*columns.notes, *notes], where)
        return found


def of_stack(stack: Stack, where: str) -> Table:
    """Return stamps, poses and notes of a stack of matrices; without stamps they are one second apart.

    Raises:
        InputError: None of them is a pose, or a time that does not fit 64 bits.
    """
    found = poses_of(stack.matrices)
    notes = list(found.notes)
    good = np.array([not reason for reason in found.reasons], dtype=bool)
    if not good.any():
        raise InputError(f'{where}: none of {len(good)} matrices is a pose; the first: {found.reasons[0]}')
    if not good.all():
        first = int(np.argmin(good))
        notes.append(
            f'{int((~good).sum())} of {len(good)} matrices are no pose, number {first}: {found.reasons[first]}'
        )
    if stack.times is None:
        notes.append('no stamps: poses are taken one second apart')
        stamps = np.arange(len(good), dtype=np.int64) * _PERIOD_NS
    else:
        stamps = _stamps(stack.times, '', notes, where)
    return stamps[good], found.poses[good], tuple(notes)


def _stamps(times: Sequence[Decimal], tick: str, notes: list[str], where: str) -> NDArray[np.int64]:
    """Return integer stamps of times in a unit, '' for what the times themselves tell."""
    said = ''
    if not tick:
        tick, said = tick_of(times)
    try:
        stamps, turned = unwrapped(nanoseconds_of(times, tick), tick)
    except InputError as error:
        raise InputError(f'{where}: {error}') from None
    notes += [note for note in (said, turned) if note]
    return stamps


def _table(rows: list[tuple[Decimal, list[float]]], columns: Columns, notes: list[str], where: str) -> Table:
    times = [time for time, _ in rows]
    table = np.array([values for _, values in rows])
    notes = list(notes)
    stamps = _stamps(times, columns.tick or ('s' if columns.rest is not None else ''), notes, where)
    positions, turns = table[:, :3], table[:, 3:]
    lost = lost_rows(positions, _as_unturned(turns, columns))
    if lost.any():
        notes.append(f'{int(lost.sum())} rows of zeros left out: a tool that was not seen')
        stamps, positions, turns = stamps[~lost], positions[~lost], turns[~lost]
    rotations, said = _rotations(turns, columns, where)
    metres = columns.metres
    middle = np.median(positions, axis=0)
    spread = float(np.median(np.linalg.norm(positions - middle, axis=1)))
    away = float(np.linalg.norm(middle))
    if not columns.length and max(spread, away) > _FAR:
        metres = MM
        what = f'spread over {spread:.0f}' if spread > _FAR else f'lie {away:.0f} from the origin'
        notes.append(f'positions taken as millimetres: they {what}')
    notes += [said] if said else []
    return stamps, make_transform(rotations, positions * metres), tuple(notes)


def _as_unturned(turns: Array, columns: Columns) -> Array:
    """Return quaternions (n, 4) whose vector part is zero where the numbers of a row mean no rotation at all."""
    if columns.form == QUATERNION:
        turned = turns[:, :3].any(axis=1) & (columns.named | turns[:, 1:].any(axis=1))
    else:
        turned = (turns != (np.eye(3).ravel() if columns.form == MATRIX else 0.0)).any(axis=1)
    quaternions = np.zeros((len(turns), 4))
    quaternions[:, 0] = turned
    return quaternions


def _rotations(turns: Array, columns: Columns, where: str) -> tuple[Array, str]:
    """Return rotations (n, 3, 3), and what to say of how they were read."""
    if columns.form == MATRIX:
        u, _, vt = np.linalg.svd(turns.reshape(-1, 3, 3))
        return np.asarray(u @ vt), ''
    if columns.form in (ANGLES, VECTOR):
        radians, said = _radians(turns, columns.angle)
        if columns.form == VECTOR:
            return rotation_exp(radians), said
        x, y, z = np.eye(3)
        roll, pitch, yaw = (radians[:, [axis]] for axis in range(3))
        turned = rotation_exp(yaw * z) @ rotation_exp(pitch * y) @ rotation_exp(roll * x)
        return turned, '; '.join(part for part in ('roll, pitch, yaw taken as about the fixed x, y, z', said) if part)
    quaternions = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    said = ''
    if not columns.named:
        try:
            quaternions, said = in_order(quaternions)
        except InputError as error:
            raise InputError(f'{where}: {error}') from None
    return rotation_from_quat(quaternions), said


def _radians(turns: Array, unit: str) -> tuple[Array, str]:
    """Return angles in radians; where nothing names the unit their size tells it, and that is said."""
    if unit:
        return (np.radians(turns) if unit == 'deg' else turns), ''
    if float(np.abs(turns).max(initial=0.0)) > _TURN:
        return np.radians(turns), f'angles taken as degrees: they go to {np.abs(turns).max():.0f}'
    return turns, 'angles taken as radians: none is above 2π'


def _is_unseen(cells: list[str], places: list[int]) -> bool:
    """Whether a row holds no pose of a tool: zeros, NaN, nothing, or words such as MISSING in each of its places."""
    found = [cells[at] for at in places if at < len(cells)]
    return all(cell.lower().strip('+-') == 'nan' or not re.search(r'[1-9]|inf', cell.lower()) for cell in found)


def _row(cells: list[str], columns: Columns, places: list[int]) -> tuple[Decimal, list[float]]:
    """Return the time, and x, y, z with the numbers of the rotation, of a row."""
    wanted = [columns.time, *places, *(() if columns.rest is None else (columns.rest,))]
    if len(cells) <= max(wanted):
        raise InputError(f'{len(cells)} of {max(wanted) + 1} values')
    try:
        values = [float(cells[at]) for at in places]
        float(cells[columns.time])
    except ValueError:
        raise InputError(f'unreadable value in {",".join(cells)[:60]!r}') from None
    array = np.array(values)
    if not (np.abs(array) < HUGE).all():
        raise InputError('NaN or Inf')
    _check_rotation(array[3:], columns.form)
    time = stamp_of(cells[columns.time])
    if columns.rest is not None:
        time += stamp_of(cells[columns.rest]) / NANOSECONDS
    return time, values


def _check_rotation(values: Array, form: str) -> None:
    if form == MATRIX:
        rotation = values.reshape(3, 3)
        shear = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
        if shear > PRINTED:
            raise InputError(f'RᵀR differs from I by {shear:.2g}: no rotation')
        if np.linalg.det(rotation) < 0.0:
            raise InputError('left-handed matrix: are axes mirrored in the file?')
    elif form not in (ANGLES, VECTOR):
        norm = float(np.linalg.norm(values))
        if abs(norm - 1.0) > QUATERNION_RENORMALISE:
            raise InputError(f'quaternion of norm {norm:.4g}, expected 1')
