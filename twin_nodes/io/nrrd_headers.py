"""Headers of NRRD volumes, attached or detached, with an axis over several volumes or without."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import InputError
from twin_nodes.io.volumes import VolumeHeader, lps_from

MAX_SKIP = 1 << 24  # bytes or lines before the voxels
_ENCODINGS = {'raw': 'raw', 'gz': 'gzip', 'gzip': 'gzip', 'bz2': 'bzip2', 'bzip2': 'bzip2', 'ascii': 'text',
              'text': 'text', 'txt': 'text', 'hex': 'hex'}  # fmt: skip
_LISTS = ('list', 'time', 'point', 'none', '???', 'domain', 'space')  # kinds of an axis over several volumes


def read_nrrd_header(path: Path) -> VolumeHeader:
    """Read the header of a .nrrd or .nhdr file.

    Raises:
        InputError: ANATOMY_REFUSED for a header that is cut, incomplete, or of a kind that is not read.
    """
    import nrrd

    try:
        with path.open('rb') as stream:
            _check_header_length(path, stream)
            fields = nrrd.read_header(stream)
            offset = stream.tell()
        dtype = np.dtype(nrrd.reader._TYPEMAP_NRRD2NUMPY[fields['type']])
        shape = tuple(int(size) for size in fields['sizes'])
        directions = np.asarray(fields['space directions'], float)
        origin = np.asarray(fields['space origin'], float)
        space, encoding = str(fields['space']), str(fields['encoding']).lower()
        units = fields.get('space units', ['mm'] * 3)
    except InputError:
        raise
    except KeyError as error:
        raise refusal(path, f'the NRRD header has no {error}: size and place in the patient must be known') from None
    except Exception as error:  # pynrrd raises many kinds for a broken header
        raise refusal(path, f'no readable NRRD header ({error})') from None
    frames, mixed = 1, False
    if len(shape) == 4 and directions.shape == (4, 3):
        shape, directions, frames, mixed = _without_list(path, shape, directions, fields.get('kinds', ['???'] * 4))
    if len(shape) != 3 or directions.shape != (3, 3) or origin.shape != (3,):
        raise refusal(path, f'expected 3 axes in 3-D space, got sizes {shape} and directions {directions.shape}')
    encoding = _ENCODINGS.get(encoding, '')
    if not encoding:
        raise refusal(path, f'encoding {fields["encoding"]!r} is not read: save it as gzip or raw')
    if len(set(units)) != 1:
        raise refusal(path, f'space units {units} differ')
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder('>' if str(fields.get('endian', 'little')).lower() == 'big' else '<')
    index_T = np.eye(4)
    index_T[:3, :3], index_T[:3, 3] = directions.T, origin
    anatomy_T_index = lps_from(space, index_T, unit=str(units[0]))
    data_path = _nrrd_data_path(path, fields)
    held = math.prod(shape) * frames * dtype.itemsize
    offset, skip = _nrrd_start(path, data_path, fields, offset if data_path == path else 0, held, encoding)
    return VolumeHeader(
        shape, dtype, anatomy_T_index, data_path, offset, encoding, skip, frames=frames, mixed=mixed and frames > 1
    )


def _without_list(
    path: Path, shape: tuple[int, ...], directions: Any, kinds: Any
) -> tuple[tuple[int, ...], Any, int, bool]:
    """Take the axis over several volumes out: sizes, directions, volumes, and whether it is the quickest."""
    loose = np.flatnonzero(~np.isfinite(directions).all(axis=1))
    if len(loose) != 1 or loose[0] not in (0, 3):
        raise refusal(path, f'of 4 axes the first or the last must be without direction, got {directions.tolist()}')
    axis = int(loose[0])
    kind = str(kinds[axis]).lower()
    if kind not in _LISTS and shape[axis] != 1:
        raise refusal(path, f'{shape[axis]} values in a voxel ({kinds[axis]}): one is expected')
    kept = [number for number in range(4) if number != axis]
    return tuple(shape[number] for number in kept), directions[kept], shape[axis], axis == 0


def _nrrd_start(
    path: Path, data_path: Path, fields: dict[str, Any], offset: int, held: int, encoding: str
) -> tuple[int, int]:
    """Return where the data begin, and how many unpacked bytes come before the voxels: 'line skip', then 'byte skip'.

    A byte skip of -1 says that raw voxels end with the file (http://teem.sourceforge.net/nrrd/format.html).
    """
    lines = int(fields.get('line skip', fields.get('lineskip', 0)))
    skip = int(fields.get('byte skip', fields.get('byteskip', 0)))
    if not 0 <= lines <= MAX_SKIP or not -1 <= skip <= MAX_SKIP or (skip == -1 and encoding != 'raw'):
        raise refusal(path, f"'line skip' {lines} and 'byte skip' {skip} with encoding {encoding} are not read")
    if skip == -1:
        return data_path.stat().st_size - held, 0
    with data_path.open('rb') as stream:
        stream.seek(offset)
        for _ in range(lines):
            stream.readline(MAX_SKIP)
        offset = stream.tell()
    return (offset + skip, 0) if encoding == 'raw' else (offset, skip)


def _check_header_length(path: Path, stream: Any) -> None:
    start = stream.read(1 << 20)
    ends = [start.find(mark) for mark in (b'\n\n', b'\r\n\r\n')]
    if not start.startswith(b'NRRD') or (max(ends) < 0 and len(start) == 1 << 20):
        raise refusal(path, 'no NRRD header')
    stream.seek(0)


def _nrrd_data_path(path: Path, fields: dict[str, Any]) -> Path:
    name = fields.get('data file', fields.get('datafile'))
    if name is None:
        return path
    if Path(name).name != name or '%' in name or name.split()[0] == 'LIST':
        raise refusal(path, f'data file {name!r} must be one file in the same folder')
    data_path = path.parent / name
    if not data_path.is_file():
        raise refusal(path, f'its data file {name!r} is not there')
    return data_path
