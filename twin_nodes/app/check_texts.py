"""What `twin check` says of texts that are no recording: a measured link, one transform, points, a part of a record."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import ConfigError, InputError

_FEWEST_POINTS = 6  # three or four rows of three numbers may be a rotation or a transform
_LINKS = ('.txt', '.csv', '.tsv', '.log')


def inspect_link(file: Path) -> str:
    """Read the delays of a measured link.

    Raises:
        InputError: It holds none.
    """
    from twin_nodes.io.link_traces import read_delay_trace

    if file.suffix.lower() not in _LINKS:
        raise InputError(f'{file}: no table with a header')  # two columns of numbers may be anything
    trace = read_delay_trace(file)
    middle, late = trace.quantile(0.5), trace.quantile(0.99)
    way = 'round trips' if trace.round_trip else 'delays'
    return (
        f'trace of a link, good: {len(trace)} {way} over {trace.duration:.1f} s, half within {1e3 * middle:.1f} ms, '
        f'99 % within {1e3 * late:.1f} ms, {100.0 * trace.loss:.2g} % lost; name it as the `trace` of a scenario'
    )


def inspect_transform(file: Path) -> str:
    """Read a text of one 4×4 matrix.

    Raises:
        InputError: It holds none, or no pose.
    """
    from twin_nodes.core.geometry.se3 import rotation_log
    from twin_nodes.io.recordings.matrix_folder import matrix_of
    from twin_nodes.io.recordings.pose_matrices import poses_of

    values = matrix_of(file)
    if values is None:
        raise InputError(f'{file}: no 4×4 matrix')
    found = poses_of(np.array([values]))
    if found.reasons[0]:
        raise InputError(f'{file}: a 4×4 matrix, but {found.reasons[0]}')
    pose = found.poses[0]
    turn, shift = np.degrees(np.linalg.norm(rotation_log(pose[:3, :3]))), 1e3 * np.linalg.norm(pose[:3, 3])
    notes = f'; {"; ".join(found.notes)}' if found.notes else ''
    return f'one rigid transform, good: turns by {turn:.1f}°, shifts by {shift:.1f} mm{notes}'


def inspect_intrinsics(file: Path) -> str:
    """Read a text of a camera.

    Raises:
        InputError: It holds none.
    """
    from twin_nodes.app.check_yaml import inspect_camera

    try:
        return inspect_camera(file)
    except ConfigError as error:
        raise InputError(str(error)) from None


def inspect_points(file: Path) -> str:
    """Read a file of points.

    Raises:
        InputError: It holds none, or other columns.
    """
    from twin_nodes.io.points import read_points

    if file.suffix.lower() not in ('.ply', '.npy', '.npz') and not _three_columns(file):
        raise InputError(f'{file}: not three columns')
    found = read_points(file)
    if len(found.points) < _FEWEST_POINTS:
        raise InputError(f'{file}: {len(found.points)} points')
    span = ' × '.join(f'{value:.4g}' for value in np.ptp(found.points, axis=0))
    notes = f'; {"; ".join(found.notes)}' if found.notes else ''
    unit = f' {found.unit}' if found.unit else ', the unit is not said'
    return f'points, good: {len(found.points)}, span {span}{unit}{notes}; type `twin register surface {file}`'


def inspect_part(file: Path) -> str:
    """Say which record the samples of a WFDB file belong to.

    Raises:
        InputError: No header lies beside it.
    """
    header = file.with_suffix('.hea')
    if not header.is_file():
        raise InputError(f'{file}: no record of signals')
    return f'the samples of {header.name}; type `twin check {header}`'


def _three_columns(file: Path) -> bool:
    """Whether the first lines with numbers have three of them, or a header names x, y and z."""
    with file.open('rb') as stream:
        lines = stream.read(4096).decode('utf-8', 'replace').splitlines()[:-1] or ['']
    rows = [re.split(r'[\s,;]+', line.strip()) for line in lines if line.strip() and not line.lstrip().startswith('#')]
    named = {word.strip('"').lower().removesuffix('(mm)') for word in rows[0]} if rows else set()
    return {'x', 'y', 'z'} <= named or (bool(rows) and all(len(row) == 3 for row in rows[1:]))
