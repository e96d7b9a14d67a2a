"""Headers of MetaImage volumes (.mha, .mhd), as ITK, SimpleITK and 3D Slicer write them."""

import math
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.io.volumes import VolumeHeader, lps_from

_MAX_HEADER = 1 << 16
_TYPES = {
    'MET_CHAR': 'i1', 'MET_UCHAR': 'u1', 'MET_SHORT': 'i2', 'MET_USHORT': 'u2', 'MET_INT': 'i4', 'MET_UINT': 'u4',
    'MET_LONG': 'i4', 'MET_ULONG': 'u4', 'MET_LONG_LONG': 'i8', 'MET_ULONG_LONG': 'u8', 'MET_FLOAT': 'f4',
    'MET_DOUBLE': 'f8',
}  # fmt: skip


def read_metaimage_header(path: Path) -> VolumeHeader:
    """Read the header of a MetaImage file; its space is LPS in millimetres, as ITK defines it.

    Raises:
        InputError: ANATOMY_REFUSED for a header that is cut, incomplete, or of a kind that is not read.
    """
    with path.open('rb') as stream:
        start = stream.read(_MAX_HEADER)
    fields, end = _fields(path, start)
    if fields.get('NDims', '3') != '3':
        raise _refusal(path, f'expected 3 axes, got NDims {fields["NDims"]}')
    try:
        shape = tuple(int(word) for word in fields['DimSize'].split())
        kind = _TYPES[fields['ElementType']]
        spacing = np.array(fields.get('ElementSpacing', fields.get('ElementSize', '')).split(), float)
        origin = np.array(next(fields[key] for key in ('Offset', 'Origin', 'Position') if key in fields).split(), float)
        matrix = next(fields[key] for key in ('TransformMatrix', 'Rotation', 'Orientation') if key in fields)
        axes = np.array(matrix.split(), float).reshape(3, 3)
    except (KeyError, ValueError, StopIteration) as error:
        reason = str(error) or 'Offset or TransformMatrix is missing: where it lies in the patient is not known'
        raise _refusal(path, f'incomplete MetaImage header ({reason})') from None
    if int(fields.get('ElementNumberOfChannels', '1')) != 1:
        raise _refusal(path, f'{fields["ElementNumberOfChannels"]} values in a voxel: one is expected')
    if len(shape) != 3 or spacing.shape != (3,) or origin.shape != (3,):
        raise _refusal(path, f'expected 3 axes, got DimSize {shape} and ElementSpacing {spacing.tolist()}')
    index_T = np.eye(4)
    index_T[:3, :3] = (axes * spacing[:, None]).T  # row i of TransformMatrix is the direction of axis i
    index_T[:3, 3] = origin
    big = any(fields.get(key, 'False') == 'True' for key in ('BinaryDataByteOrderMSB', 'ElementByteOrderMSB'))
    encoding = 'gzip' if fields.get('CompressedData', 'False') == 'True' else 'raw'
    dtype = np.dtype(('>' if big else '<') + kind)
    data_path, offset = _data_place(path, fields, end)
    if encoding == 'raw' and data_path != path and 'HeaderSize' in fields:
        skip = int(fields['HeaderSize'])
        offset = skip if skip >= 0 else data_path.stat().st_size - math.prod(shape) * dtype.itemsize
    return VolumeHeader(shape, dtype, lps_from('LPS', index_T, unit='mm'), data_path, offset, encoding)


def _fields(path: Path, start: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while (end := start.find(b'\n', position)) >= 0:
        key, separator, value = start[position:end].decode('latin-1').partition('=')
        if not separator:
            break
        fields[key.strip()] = value.strip()
        position = end + 1
        if key.strip() == 'ElementDataFile':
            return fields, position
    raise _refusal(path, 'no MetaImage header that ends in ElementDataFile')


def _data_place(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    name = fields['ElementDataFile']
    if name.upper() == 'LOCAL':
        return path, end
    if Path(name).name != name or '%' in name or name.upper() == 'LIST':
        raise _refusal(path, f'data file {name!r} must be one file in the same folder')
    if not (path.parent / name).is_file():
        raise _refusal(path, f'its data file {name!r} is not there')
    return path.parent / name, 0


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='ANATOMY_REFUSED')
