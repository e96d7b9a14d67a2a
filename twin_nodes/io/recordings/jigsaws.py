"""Kinematics of the JIGSAWS set (Gao et al. 2014): two masters and two arms of a da Vinci, 76 numbers a line.

Each of the four has 19 columns: position [m], rotation matrix row by row, linear and angular velocity, angle of the
gripper. There are no stamps and no names; the set was recorded at 30 Hz.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.stamps import NANOSECONDS

WIDTH, EACH, RATE = 76, 19, 30
TOOLS = ('master_left', 'master_right', 'slave_left', 'slave_right')
_LOOSE = 1e-2  # of a rotation that was printed with few digits
_BAD = 0.5  # share of lines


def read_jigsaws(lines: Sequence[str], where: str) -> dict[str, tuple[NDArray[np.int64], Array, tuple[str, ...]]]:
    """Return stamps (n,), poses (n, 4, 4) and notes of each of `TOOLS`.

    Args:
        lines: The file's lines, blank ones too.
        where: Name of the file, for errors.

    Raises:
        InputError: More than half of the lines are no such line.
    """
    rows = [_numbers(line) for line in lines if line.strip()]
    table = np.array(rows)
    stamps = np.round(np.arange(len(table)) * (NANOSECONDS / RATE)).astype(np.int64)
    found = {}
    for index, tool in enumerate(TOOLS):
        part = table[:, EACH * index : EACH * (index + 1)]
        rotations = part[:, 3:12].reshape(-1, 3, 3)
        good = np.isfinite(part).all(axis=1)
        square = np.einsum('nij,nkj->nik', rotations, rotations)
        good &= np.abs(np.where(good[:, None, None], square, 0.0) - np.eye(3)).max(axis=(1, 2)) < _LOOSE
        good[good] &= np.linalg.det(rotations[good]) > 0.0
        if np.sum(~good) > _BAD * len(good):
            line = int(np.flatnonzero(~good)[0]) + 1
            raise InputError(f'{where}: line {line} of {WIDTH} numbers holds no pose of {tool} as JIGSAWS has it')
        u, _, v = np.linalg.svd(rotations[good])
        notes = [f'JIGSAWS kinematics: no stamps, taken as {RATE} Hz']
        if not good.all():
            notes.append(f'{int(np.sum(~good))} lines left out; line {int(np.flatnonzero(~good)[0]) + 1}: no pose')
        found[tool] = (stamps[good], make_transform(u @ v, part[good, :3]), tuple(notes))
    return found


def is_jigsaws(cells: Sequence[str]) -> bool:
    """Whether the cells of a first line are those of such a file."""
    return len(cells) == WIDTH and bool(np.isfinite(_numbers(' '.join(cells))).all())


def _numbers(line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    return values if len(values) == WIDTH else [float('nan')] * WIDTH
