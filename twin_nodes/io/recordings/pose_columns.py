"""What the columns of a table of poses mean: where time, position and rotation of each tool stand.

Names are those that recorders write: `t`, `time_ms`, `header.stamp.sec` with `header.stamp.nanosec`, `x`,
`p_RS_R_x [m]`, `pose.position.x`, `/PSM1/measured_cp/pose/position/x`, `q_RS_w []`, `qw`, `PSM1_qx`, `x2`; what stands
before them, or a number behind them, names the tool. In place of a quaternion a rotation may be nine columns of a
matrix (`r00` … `r22`, `r11` … `r33`, `m00` … `m23` with the position), `roll`, `pitch`, `yaw`, or a rotation vector
(`rvec_x` …).
"""

import re
from dataclasses import dataclass, field

from twin_nodes.core.errors import InputError

QUATERNION, MATRIX, ANGLES, VECTOR = 'quaternion', 'matrix', 'roll, pitch, yaw', 'rotation vector'
COLUMNS = ('t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_TIMES = re.compile(r'(?:.*\.)?(t|time|times|timestamp|stamp|sec|secs|seconds)$', re.I)
_RESTS = re.compile(r'(?:.*\.)?(nanosec|nanosecs|nanoseconds|nsec|nsecs)$', re.I)
_PLACES = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?:(?:p|t|p_rs_r|pos|position|trans|translation|tvec)[._ ]?)?(?P<axis>[xyz])'
    r'(?P<number>\d*)$',
    re.I,
)
_TURNS = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?:q|q_rs|rot|rotation|quat|quaternion|ori|orient|orientation)[._ ]?(?P<axis>[wxyz0o])'
    r'(?P<number>\d*)$',
    re.I,
)
_CELLS = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?:r|m|t|h|rot|rotation|mat|matrix|transform|pose)[._ ]?'
    r'(?:\[(?P<row>\d)\]\[(?P<column>\d)\]|[\[(]?(?P<low>\d)[,_ ]?(?P<high>\d)[\])]?)$',
    re.I,
)
_ANGLES = re.compile(r'(?:(?P<tool>.+?)[._ ])??(?P<angle>roll|pitch|yaw)$', re.I)
_VECTORS = re.compile(r'(?:(?P<tool>.+?)[._ ])??(?:rvec|rotvec|rot_vec|rotation_vector)[._ ]?(?P<axis>[xyz])$', re.I)
_FORMS = {
    QUATERNION: ('qx', 'qy', 'qz', 'qw'),
    MATRIX: tuple(f'm{row}{column}' for row in range(3) for column in range(3)),
    ANGLES: ('roll', 'pitch', 'yaw'),
    VECTOR: ('vx', 'vy', 'vz'),
}
_ANGLE_UNITS = {'': '', 'rad': 'rad', 'radian': 'rad', 'radians': 'rad', 'deg': 'deg', 'degree': 'deg',
                'degrees': 'deg', '°': 'deg'}  # fmt: skip
_FLAGS = re.compile(
    r'(?:(?P<tool>.+?)[._ ])??(?P<flag>(?:is[._ ]?)?(?:valid|visible|tracked|detected|missing|lost)|status|state|'
    r'transformstatus)$',
    re.I,
)
_LABELS = re.compile(r'(?:.*\.)?(tool|device|arm|body|name|id|label|child_frame_id)$', re.I)
_UNIT = re.compile(r'[\[(]\s*([\w°]*)\s*[\])]|_(ns|nsec|us|ms|s|mm|cm|m|deg|rad)$', re.I)
_TIME_UNITS = {'': '', 's': 's', 'sec': 's', 'ms': 'ms', 'us': 'us', 'ns': 'ns', 'nsec': 'ns'}
METRES = {'': 1.0, 'm': 1.0, 'cm': 1e-2, 'mm': 1e-3}


@dataclass(frozen=True)
class Columns:
    """Where the columns of a table stand.

    Args:
        time: Of the stamps.
        rest: Of the nanoseconds beside whole seconds; None for none.
        tick: Unit of the stamps, s, ms, us or ns; '' where it is not said.
        tools: x, y, z and the numbers of the rotation of each tool by its name; '' where columns name no tool.
        length: Unit of length, '' where it is not said.
        label: Column that names the tool of a row; None for none.
        notes: What is left out, one line each.
        named: Whether a header, or the form of the file, says the order of the quaternion.
        form: What the numbers of the rotation are: qx, qy, qz, qw, the rows of a matrix, or three angles.
        angle: Unit of angles, rad or deg; '' where it is not said.
        flags: Columns, by tool or '' for all, that say whether a tool was seen, each with its name.
    """

    time: int = 0
    rest: int | None = None
    tick: str = ''
    tools: dict[str, list[int]] = field(default_factory=lambda: {'': list(range(1, 8))})
    length: str = ''
    label: int | None = None
    notes: tuple[str, ...] = ()
    named: bool = True
    form: str = QUATERNION
    angle: str = ''
    flags: dict[str, tuple[int, str]] = field(default_factory=dict)

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
    flags: dict[str, tuple[int, str]] = {}
    rest = label = None
    doubled = False
    for index, cell in enumerate(cells):
        name, units[index] = _named(cell)
        if _RESTS.match(name):
            rest = index if rest is None else rest
        elif _TIMES.match(name):
            times[index] = name.lower()
        elif (part := _part(name, cell)) is not None:
            tool, column = part
            doubled |= column in found.setdefault(tool, {})
            found[tool].setdefault(column, index)
        elif match := _FLAGS.match(name):
            flags.setdefault(match['tool'] or '', (index, match['flag'].lower()))
        elif _LABELS.match(name) and label is None:
            label = index
    form, tools = _complete(found)
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
    angles = {units[index] for places in kept.values() for index in places[3:]} if form in (ANGLES, VECTOR) else {''}
    if len(angles) > 1 or not angles <= set(_ANGLE_UNITS):
        raise InputError(f'angles in {", ".join(sorted(angles))}; expected deg or rad')
    angle = _ANGLE_UNITS[angles.pop()]
    return Columns(
        time, rest, _TIME_UNITS[units[time]], kept, lengths.pop(), label, tuple(notes), True, form, angle, flags
    )


def _part(name: str, cell: str) -> tuple[str, str] | None:
    """Return tool and part of a pose that a column holds; None for other columns."""
    if match := _VECTORS.match(name):
        return match['tool'] or '', f'v{match["axis"].lower()}'
    if match := _TURNS.match(name) or _PLACES.match(name):
        column = match['axis'].lower().replace('0', 'w').replace('o', 'w')
        return _tool(match), f'q{column}' if match.re is _TURNS else column
    if match := _CELLS.match(cell.strip('"\'% ')):
        return match['tool'] or '', f'm{match["row"] or match["low"]}{match["column"] or match["high"]}'
    if match := _ANGLES.match(name):
        return match['tool'] or '', match['angle'].lower()
    return None


def _complete(found: dict[str, dict[str, int]]) -> tuple[str, dict[str, list[int]]]:
    """Return the form of the rotations, and the columns of each tool that has a whole pose in it."""
    from_zero = {tool: _counted_from_zero(of) for tool, of in found.items()}
    for form, names in _FORMS.items():
        wanted = (*COLUMNS[1:4], *names)
        tools = {tool: [of[name] for name in wanted] for tool, of in from_zero.items() if set(wanted) <= set(of)}
        if tools:
            return form, tools
    return QUATERNION, {}


def _counted_from_zero(of: dict[str, int]) -> dict[str, int]:
    """Return the parts of a pose with the cells of a matrix counted from 0, and its last column as the position."""
    cells = [name for name in of if re.fullmatch(r'm\d\d', name)]
    first = 0 if any('0' in name for name in cells) else 1
    counted = {f'm{int(name[1]) - first}{int(name[2]) - first}': of[name] for name in cells}
    positions = {axis: counted[f'm{row}3'] for row, axis in enumerate('xyz') if f'm{row}3' in counted}
    return {**positions, **{name: index for name, index in of.items() if name not in cells}, **counted}


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
    return (
        f'no column {", ".join(missing)}: a pose is a position and a quaternion, a matrix (r00 … r22), roll, pitch and '
        'yaw, or a rotation vector (rvec_x …)'
    )
