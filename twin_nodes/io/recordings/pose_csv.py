"""Tables of poses: `t, x, y, z, qx, qy, qz, qw` in metres and seconds, and the TUM trajectory format.

Fields are parted by commas, semicolons, tabs or spaces; lines that begin with # are comments; a header line may give
the columns another order, or name nanoseconds (EuRoC) or millimetres (`x_mm`, `x [mm]`). The table may be a member of a
zip archive, which is read in memory and never unpacked to disk. Stamps stay as they were written: unordered and
repeated ones are for `pose_stream`; where no unit is named the stamps say theirs (`pose_rows`). A table may hold
several tools, in columns of their own or named in each row: `FILE#TOOL` is one of them.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.temporal_stream import PoseStream, pose_stream
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.recordings.jigsaws import is_jigsaws, read_jigsaws
from twin_nodes.io.recordings.pose_columns import COLUMNS, Columns, read_columns
from twin_nodes.io.recordings.pose_gather import Rows, Tables, of_stack
from twin_nodes.io.recordings.pose_stacks import WIDTHS, Stack, stack_of_bytes, stack_of_lines
from twin_nodes.io.recordings.pose_text import cells_of, separator_of, text_of
from twin_nodes.io.recordings.recording import MAX_LINE_BYTES
from twin_nodes.io.recordings.ros_echo import columns_of_echo, is_echo, lines_of_echo
from twin_nodes.io.recordings.table_archive import table_bytes

_QUATERNION_W = re.compile(r'(?i)(q|quat|rot|ori)[a-z]*[._ ]?w\b')


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
        tool: Its name where the table has several.
    """

    path: Path
    member: str
    stamps_ns: NDArray[np.int64]
    poses: Array
    sha256: str
    notes: tuple[str, ...] = ()
    tool: str = ''

    @property
    def name(self) -> str:
        """Name for people: that of the member, else that of the file, and of the tool where there are several."""
        name = self.member.rsplit('/', 1)[-1] or self.path.name
        return f'{name}#{self.tool}' if self.tool else name

    @cached_property
    def stream(self) -> PoseStream:
        """The poses in the order of their stamps, each stamp once."""
        return pose_stream(self.stamps_ns, self.poses)


def read_pose_csv(path: Path | str, *, member: str = '', tool: str = '') -> PoseTable:
    """Read a table of poses.

    Args:
        path: A table, a zip archive that holds one, or `archive.zip/name/in/it`; behind it `#TOOL` where it has
            several.
        member: Name within the archive, with or without its folders, or a pattern such as `*hand.csv` that only one
            fits; may be left out when the archive holds only one table.
        tool: Tool of a table that has several.

    Raises:
        InputError: The file is absent, too large, damaged, or holds no table of poses; the message names the line.
    """
    if '#' in Path(path).name and not Path(path).exists():
        named, _, tool = str(path).rpartition('#')
        path = Path(named)
    path, member, where, data = table_bytes(Path(path), member)
    stamps, poses, notes = parse_pose_table(data, where, tool)
    return PoseTable(path, member, stamps, poses, hashlib.sha256(data).hexdigest(), notes, tool)


def read_pose_tables(path: Path | str, *, member: str = '') -> dict[str, PoseTable]:
    """Read the table of each tool of a file, '' for the only one without a name; see `read_pose_csv`."""
    path, member, where, data = table_bytes(Path(path), member)
    sha256 = hashlib.sha256(data).hexdigest()
    return {
        tool: PoseTable(path, member, stamps, poses, sha256, notes, tool)
        for tool, (stamps, poses, notes) in parse_pose_tables(data, where).items()
    }


def parse_pose_table(data: bytes, where: str, tool: str = '') -> tuple[NDArray[np.int64], Array, tuple[str, ...]]:
    """Return stamps (n,), poses (n, 4, 4) and notes of a tool of a table, of its only one by default.

    Raises:
        InputError: No line holds a pose, more than half of them are unreadable, or the tool is to be named.
    """
    return chosen(parse_pose_tables(data, where), tool, where)


def chosen(tables: Tables, tool: str, where: str) -> tuple[NDArray[np.int64], Array, tuple[str, ...]]:
    """Return the table of a tool.

    Raises:
        InputError: No such tool, or several and none is named.
    """
    if tool in tables:
        return tables[tool]
    if not tool and len(tables) == 1:
        return next(iter(tables.values()))
    names = ', '.join(tables)
    if tool:
        raise InputError(f'{where}: no tool {tool!r}{nearest(tool, tables)}; it has {names or "one, without a name"}')
    raise InputError(f'{where}: poses of {names}: name one, as {where}#{next(iter(tables))}')


def parse_pose_tables(data: bytes, where: str) -> Tables:
    """Return stamps (n,), poses (n, 4, 4) and notes of each tool of a table, '' for the only one without a name.

    Raises:
        InputError: No line holds a pose, or more than half of them are unreadable.
    """
    header: Columns | None = None
    separator = ''
    rows = Rows()
    stack = stack_of_bytes(data, where)
    text = '' if stack else text_of(data, where)
    lines = lines_of_echo(text) if is_echo(text[:4096]) else text.splitlines()
    stack = stack or _stack_of_text(lines)
    if stack is not None:
        return {'': of_stack(stack, where)}
    if is_jigsaws(next((line for line in lines if line.strip()), '').split()):
        return read_jigsaws(lines, where)
    for number, raw in enumerate(lines, start=1):
        line = raw.strip(' \r\n')
        line = line if line.strip() else ''
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f'{where}: line {number} has {len(line)} characters: not a table of poses')
        comment = line.startswith('#')
        line = line.lstrip('# \t')
        if not line:
            continue
        separator = separator if separator and not comment else separator_of(line)
        cells = cells_of(line, separator, header=header is not None)
        if header is None and not comment and not rows.count:
            header = columns_of_echo(cells)
        if comment or (header is None and not rows.count and _is_header(cells)):
            try:
                header = read_columns(cells)
            except InputError as error:
                if not comment or (len(cells) >= len(COLUMNS) and any(_QUATERNION_W.search(cell) for cell in cells)):
                    raise InputError(
                        f'{where}: line {number} names {line[:60]!r}; expected {", ".join(COLUMNS)}: {error}'
                    ) from None
            if comment or separator == ' ':  # words of a header may be parted otherwise than numbers
                separator = ''
            continue
        rows.add(cells, header or Columns(), number)
    return rows.tables(header or Columns(named=where.lower().endswith('.tum')), where)


def _stack_of_text(lines: list[str]) -> Stack | None:
    """Return the matrices in lines of 4, 12, 13, 16 or 17 numbers, one line of titles above them or none."""
    held: list[list[str]] = []
    titled = False
    for raw in lines:
        line = re.sub(r'[\[\](){}]', ' ', raw).strip()
        if not line or line.startswith(('#', '%', '//')):
            continue
        cells = cells_of(line.rstrip(','), separator_of(line), header=False)
        if not held and not titled and _is_header(cells):
            titled = True
            continue
        if len(cells) not in (WIDTHS[-2:] if titled else WIDTHS):
            return None
        held.append(cells)
    return stack_of_lines(held)


def _is_header(cells: list[str]) -> bool:
    return any(re.match(r'[\W_]*[a-zA-Z]', cell) and cell.lower().strip('+-') not in ('nan', 'inf') for cell in cells)
