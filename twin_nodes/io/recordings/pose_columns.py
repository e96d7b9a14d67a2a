"""What the columns of a table of poses mean: where time, position and quaternion of each tool stand.

Names are those that recorders write: `t`, `time_ms`, `header.stamp.sec` with `header.stamp.nanosec`, `x`,
`p_RS_R_x [m]`, `pose.position.x`, `/PSM1/measured_cp/pose/position/x`, `q_RS_w []`, `qw`, `PSM1_qx`, `x2`; what stands
before them, or a number behind them, names the tool.
"""

import re
from dataclasses import dataclass, field

from twin_nodes.core.errors import InputError

COLUMNS = ('t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_TIMES = re.compile(r'(?:.*\.)?(t|time|times|timestamp|stamp|sec|secs|seconds)$', re.I)
_RESTS = re.compile(r'(?:.*\.)?(nanosec|nanosecs|nanoseconds|nsec|nsecs)$', re.I)
_PLACES = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?:(?:p|t|p_rs_r|pos|position|trans|translation)[._ ]?)?(?P<axis>[xyz])(?P<number>\d*)$',
    re.I,
)
_TURNS = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?:q|q_rs|rot|rotation|quat|quaternion|ori|orient|orientation)[._ ]?(?P<axis>[wxyz0o])'
    r'(?P<number>\d*)$',
    re.I,
)
_LABELS = re.compile(r'(?:.*\.)?(tool|device|arm|body|name|id|label|child_frame_id)$', re.I)
_UNIT = re.compile(r'[\[(]\s*(\w*)\s*[\])]|_(ns|nsec|us|ms|s|mm|cm|m)$', re.I)
_TIME_UNITS = {'': '', 's': 's', 'sec': 's', 'ms': 'ms', 'us': 'us', 'ns': 'ns', 'nsec': 'ns'}
METRES = {'': 1.0, 'm': 1.0, 'cm': 1e-2, 'mm': 1e-3}


@dataclass(frozen=True)
class Columns:
    """Where the columns of a table stand.

    Args:
        time: Of the stamps.
        rest: Of the nanoseconds beside whole seconds; None for none.
        tick: Unit of the stamps, s, ms, us or ns; '' where it is not said.
        tools: x, y, z, qx, qy, qz, qw of each tool by its name; '' where columns have no name of a tool.
        length: Unit of length, '' where it is not said.
        label: Column that names the tool of a row; None for none.
        notes: What is left out, one line each.
        named: Whether a header, or the form of the file, says the order of the quaternion.
    """

    time: int = 0
    rest: int | None = None
    tick: str = ''
    tools: dict[str, list[int]] = field(default_factory=lambda: {'': list(range(1, 8))})
    length: str = ''
    label: int | None = None
    notes: tuple[str, ...] = ()
    named: bool = True

    @property
    def metres(self) -> float:
        """Metres per unit of length."""
        return METRES[self.length]


def read_columns(cells: list[str]) -> Columns:
    """Return what the cells of a header mean.

    Raises:
        InputError: Columns that are missing, or units that are not known; with the reason.
    """
    found: dict[str, dict[str, int]] = {}
    units: dict[int, str] = {}
    times: dict[int, str] = {}
    rest = label = None
    doubled = False
    for index, cell in enumerate(cells):
        name, units[index] = _named(cell)
        if _RESTS.match(name):
            rest = index if rest is None else rest
        elif _TIMES.match(name):
            times[index] = name.lower()
        elif match := _TURNS.match(name) or _PLACES.match(name):
            tool = _tool(match)
            column = match['axis'].lower().replace('0', 'w').replace('o', 'w')
            column = f'q{column}' if match.re is _TURNS else column
            doubled |= column in found.setdefault(tool, {})
            found[tool].setdefault(column, index)
        elif _LABELS.match(name) and label is None:
            label = index
    tools = {tool: [of[name] for name in COLUMNS[1:]] for tool, of in found.items() if len(of) == len(COLUMNS) - 1}
    time = next((index for index, name in times.items() if name.endswith('stamp')), next(iter(times), None))
    if not tools or time is None:
        raise InputError(_missing(found, time))
    kept = {'': tools['']} if '' in tools else tools
    notes = [f'{tool}: another pose in the table, left out' for tool in tools if tool not in kept]
    if doubled:
        notes.append('columns of one name are there twice; the first of them are taken')
    lengths = {units[index] for places in kept.values() for index in places[:3]}
    if len(lengths) > 1 or not lengths <= set(METRES):
        raise InputError(f'positions in {", ".join(sorted(lengths))}; expected one of m, cm, mm')
    if units[time] not in _TIME_UNITS:
        raise InputError(f'time in {units[time]!r}; expected s, ms, us or ns')
    return Columns(time, rest, _TIME_UNITS[units[time]], kept, lengths.pop(), label, tuple(notes))


def _named(cell: str) -> tuple[str, str]:
    """Name of a column in one form, and its unit in small letters; the prefixes that ROS tools write are left out."""
    word = cell.strip('"\'% ')
    said = _UNIT.search(word)
    unit = ((said[1] or said[2] or '') if said else '').lower()
    name = _UNIT.sub('', word).strip().replace('/', '.').strip('._')
    name = re.sub(r'^field\.', '', name, flags=re.I)
    return re.sub(r'(?:(?<=\.)|^)(?:pose|transform)\.', '', name, flags=re.I), unit


def _tool(match: re.Match[str]) -> str:
    named = re.sub(r'[._ ](?:measured_cp|filtered_cp)$', '', match['tool'] or '')
    return ' '.join(part for part in (named, match['number']) if part)


def _missing(found: dict[str, dict[str, int]], time: int | None) -> str:
    if time is None:
        return 'no column with the time'
    best = max(found.values(), key=len, default={})
    missing = [name for name in COLUMNS[1:] if name not in best]
    return f'no column {", ".join(missing)}: a pose is a position and a quaternion'
