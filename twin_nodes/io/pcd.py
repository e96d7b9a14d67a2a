"""PCD files of the Point Cloud Library."""

import io
import re
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_MOST = 5_000_000


def read_pcd(path: Path) -> Array:
    """Read the points (n, 3) of a PCD file of the Point Cloud Library, in text or binary.

    Raises:
        InputError: Compressed, cut, or without x, y, z.
    """
    data = path.read_bytes()
    found = re.search(rb'^DATA[ \t]+(\w+)[ \t\r]*\n', data, re.M)
    if found is None:
        raise InputError('no line DATA: no PCD')
    head = {words[0]: words[1:] for line in data[: found.start()].decode('ascii', 'replace').splitlines()
            if (words := line.split())}  # fmt: skip
    names, count = [name.lower() for name in head.get('FIELDS', [])], int(head.get('POINTS', ['0'])[0])
    if not {'x', 'y', 'z'} <= set(names):
        raise InputError(f'fields {", ".join(names)} lack one of x, y, z')
    form, body = found[1].decode(), data[found.end() :]
    if form == 'ascii':
        return np.asarray(np.loadtxt(io.BytesIO(body), ndmin=2)[:, [names.index(axis) for axis in 'xyz']])
    if form != 'binary':
        raise InputError(f'DATA {form} is not read: convert it, as with `pcl_convert_pcd_ascii_binary IN OUT 0`')
    sizes, kinds, counts = head['SIZE'], head['TYPE'], head.get('COUNT', ['1'] * len(names))
    kind = np.dtype([(f'{at}_{name}', f'<{kinds[at].lower()}{sizes[at]}', (int(counts[at]),))
                     for at, name in enumerate(names)])  # fmt: skip
    if not 0 < count <= _MOST or len(body) < count * kind.itemsize:
        raise InputError(f'{count} points are announced, {len(body) // kind.itemsize} are there')
    held = np.frombuffer(body, kind, count)
    return np.stack([held[f'{names.index(axis)}_{axis}'][:, 0] for axis in 'xyz'], axis=1).astype(float)
