"""Writes label volumes as NRRD, LPS in millimetres: the same bytes for the same labels."""

import gzip
from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.whole_files import write_bytes_whole

_TYPES = {1: 'uint8', 2: 'uint16', 4: 'uint32'}


def write_label_volume(path: Path, volume: LabelVolume) -> None:
    """Write a label volume that `read_label_volume`, 3D Slicer and ITK read."""
    directions = 1e3 * volume.anatomy_T_index[:3, :3].T
    header = [
        'NRRD0004',
        f'type: {_TYPES[volume.labels.dtype.itemsize]}',
        'dimension: 3',
        'space: left-posterior-superior',
        f'sizes: {" ".join(str(size) for size in volume.labels.shape)}',
        f'space directions: {" ".join(_vector(row) for row in directions)}',
        'kinds: domain domain domain',
        'endian: little',
        'encoding: gzip',
        f'space origin: {_vector(1e3 * volume.anatomy_T_index[:3, 3])}',
    ]
    data = np.asarray(volume.labels, volume.labels.dtype.newbyteorder('<')).tobytes(order='F')
    write_bytes_whole(path, ('\n'.join(header) + '\n\n').encode() + gzip.compress(data, 3, mtime=0))


def _vector(values: Array) -> str:
    return '(' + ','.join(repr(float(value)) for value in values) + ')'
