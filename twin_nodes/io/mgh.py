"""Headers of FreeSurfer's volumes (.mgh, .mgz): big-endian, in RAS millimetres."""

import gzip
from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.io.volumes import VolumeHeader, lps_from

ENDINGS = ('.mgh', '.mgz', '.mgh.gz')
_SIZE = 284  # bytes before the voxels
_HEADER = np.dtype(
    [('version', '>i4'), ('shape', '>i4', (3,)), ('frames', '>i4'), ('type', '>i4'), ('dof', '>i4'),
     ('placed', '>i2'), ('spacing', '>f4', (3,)), ('cosines', '>f4', (3, 3)), ('centre', '>f4', (3,))]
)  # fmt: skip
_TYPES = {0: 'u1', 1: '>i4', 3: '>f4', 4: '>i2', 10: '>u2'}


def read_mgh_header(path: Path) -> VolumeHeader:
    """Read the header of a volume, packed or not.

    Raises:
        InputError: ANATOMY_REFUSED for a header that is cut, of another version or type, or that says no place.
    """
    with path.open('rb') as stream:
        packed = stream.read(2) == b'\x1f\x8b'
    try:
        with gzip.open(path, 'rb') if packed else path.open('rb') as stream:
            start = stream.read(_SIZE)
    except (OSError, EOFError) as error:
        raise refusal(path, f'broken compression ({error})') from None
    if len(start) < _SIZE:
        raise refusal(path, f'{len(start)} of {_SIZE} bytes of an MGH header')
    header = np.frombuffer(start, _HEADER, 1)[0]
    kind = int(header['type'])
    if int(header['version']) != 1 or kind not in _TYPES:
        raise refusal(path, f'MGH of version {int(header["version"])} and type {kind}: expected version 1 and a number')
    if not header['placed']:
        raise refusal(path, 'the header does not say where the patient is (goodRASFlag 0): save it as NIfTI')
    shape = tuple(int(count) for count in header['shape'])
    frames = int(header['frames'])
    if min(*shape, frames) < 1:
        raise refusal(path, f'{frames} volumes of {shape} voxels')
    axes = np.asarray(header['cosines'], float).T * np.asarray(header['spacing'], float)  # cosines run by axis
    ras_T_index = np.eye(4)
    ras_T_index[:3, :3] = axes
    ras_T_index[:3, 3] = np.asarray(header['centre'], float) - axes @ (0.5 * np.array(shape))
    return VolumeHeader(
        shape, np.dtype(_TYPES[kind]), lps_from('RAS', ras_T_index, unit='mm'), path, 0 if packed else _SIZE,
        'gzip' if packed else 'raw', _SIZE if packed else 0, frames=frames,
    )  # fmt: skip
