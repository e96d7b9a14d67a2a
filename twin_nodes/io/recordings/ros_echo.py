"""What `ros2 topic echo` and `rostopic echo` print of stamped poses and transforms: documents, or lines (`--csv`)."""

import re
from collections.abc import Sequence
from dataclasses import replace

from twin_nodes.io.recordings.pose_columns import Columns
from twin_nodes.io.recordings.pose_text import is_number

TITLES = 't [s],child_frame_id,x [m],y [m],z [m],qx,qy,qz,qw'
_NUMBER = r'([-+.\w]+)'
_STAMP = re.compile(r'\bsecs?:\s*(\d+)\s+(?:nanosec|nsecs):\s*(\d{1,9})\b')
_PLACE = re.compile(rf'\b(?:position|translation):\s+x:\s*{_NUMBER}\s+y:\s*{_NUMBER}\s+z:\s*{_NUMBER}')
_TURN = re.compile(rf'\b(?:orientation|rotation):\s+x:\s*{_NUMBER}\s+y:\s*{_NUMBER}\s+z:\s*{_NUMBER}\s+w:\s*{_NUMBER}')
_CHILD = re.compile(r"\bchild_frame_id:\s*['\"]?([\w/.-]*)")
_PARTS = re.compile(r'^---\s*$|^\s*-\s+header:\s*$|^\s*-\s*$', re.M)  # messages, and the transforms of one
_VALUES = 7


def is_echo(start: str) -> bool:
    """Whether a text begins as such documents do."""
    return bool(_STAMP.search(start) and _PLACE.search(start))


def lines_of_echo(text: str) -> list[str]:
    """Return the poses in documents as the lines of a table with `TITLES`; documents without a pose are passed over."""
    lines = [TITLES]
    for part in _PARTS.split(text):
        stamp, place, turn = _STAMP.search(part), _PLACE.search(part), _TURN.search(part)
        if stamp is None or place is None or turn is None:
            continue
        child = _CHILD.search(part)
        numbers = ','.join(word.lstrip('.') if 'nan' in word else word for word in (*place.groups(), *turn.groups()))
        lines.append(f'{stamp[1]}.{stamp[2]:0>9},{child[1] if child else "pose"},{numbers}')
    return lines


def columns_of_echo(cells: Sequence[str]) -> Columns | None:
    """Return the columns of a line that `ros2 topic echo --csv` printed; None for other lines.

    Nothing names them: whole seconds and nanoseconds, one frame or two, then position and quaternion.
    """
    for frames in (1, 2):
        first = 2 + frames
        if len(cells) < first + _VALUES or not (cells[0].isdecimal() and cells[1].isdecimal() and len(cells[1]) < 10):
            return None
        words = [is_number(cell) for cell in cells[2 : first + _VALUES]]
        if words == [False] * frames + [True] * _VALUES:
            columns = Columns(0, 1, 's', {'': list(range(first, first + _VALUES))}, 'm')
            return replace(columns, label=3) if frames == 2 else columns
    return None
