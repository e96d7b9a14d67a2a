"""Headers of MetaImage volumes (.mha, .mhd), as ITK, SimpleITK and 3D Slicer write them."""

import math
from pathlib import Path

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
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
    axes_count = fields.get('NDims', '3')
    if axes_count not in ('3', '4'):
        raise refusal(path, f'expected 3 axes, or 4 with time, got NDims {axes_count}')
    count = int(axes_count)
    try:
        shape = tuple(int(word) for word in fields['DimSize'].split())
        kind = _TYPES[fields['ElementType']]
        spacing = np.array(fields.get('ElementSpacing', fields.get('ElementSize', '')).split(), float)
        origin = np.array(next(fields[key] for key in ('Offset', 'Origin', 'Position') if key in fields).split(), float)
        matrix = next(fields[key] for key in ('TransformMatrix', 'Rotation', 'Orientation') if key in fields)
        axes = np.array(matrix.split(), float).reshape(count, count)
    except (KeyError, ValueError, StopIteration) as error:
        reason = str(error) or 'Offset or TransformMatrix is missing: where it lies in the patient is not known'
        raise refusal(path, f'incomplete MetaImage header ({reason})') from None
    if int(fields.get('ElementNumberOfChannels', '1')) != 1:
        raise refusal(path, f'{fields["ElementNumberOfChannels"]} values in a voxel: one is expected')
    if len(shape) != count or spacing.shape != (count,) or origin.shape != (count,):
        raise refusal(path, f'expected {count} axes, got DimSize {shape} and ElementSpacing {spacing.tolist()}')
    if count == 4 and (np.abs(axes[3, :3]).max() > 0.0 or np.abs(axes[:3, 3]).max() > 0.0):
        raise refusal(path, 'its axis of time leans into space')
    frames = shape[3] if count == 4 else 1
    shape, spacing, origin, axes = shape[:3], spacing[:3], origin[:3], axes[:3, :3]
    index_T = np.eye(4)
    index_T[:3, :3] = (axes * spacing[:, None]).T  # row i of TransformMatrix is the direction of axis i
    index_T[:3, 3] = origin
    big = _is_true(fields, 'BinaryDataByteOrderMSB') or _is_true(fields, 'ElementByteOrderMSB')
    encoding = 'gzip' if _is_true(fields, 'CompressedData') else 'raw'
    if 'BinaryData' in fields and not _is_true(fields, 'BinaryData'):
        encoding = 'text'
    dtype = np.dtype(('>' if big else '<') + kind)
    data_path, offset = _data_place(path, fields, end)
    if encoding == 'raw' and data_path != path and 'HeaderSize' in fields:
        skip = int(fields['HeaderSize'])
        offset = skip if skip >= 0 else data_path.stat().st_size - math.prod(shape) * frames * dtype.itemsize
    anatomy_T_index = lps_from('LPS', index_T, unit='mm')
    return VolumeHeader(shape, dtype, anatomy_T_index, data_path, offset, encoding, frames=frames)


def _is_true(fields: dict[str, str], key: str) -> bool:
    """Whether a field begins as MetaIO takes for true: T, t or 1."""
    return fields.get(key, 'F')[:1] in ('T', 't', '1')


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
    raise refusal(path, 'no MetaImage header that ends in ElementDataFile')


def _data_place(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int]:
    name = fields['ElementDataFile']
    if name.upper() == 'LOCAL':
        return path, end
    if Path(name).name != name or '%' in name or name.upper() == 'LIST':
        raise refusal(path, f'data file {name!r} must be one file in the same folder')
    if not (path.parent / name).is_file():
        raise refusal(path, f'its data file {name!r} is not there')
    return path.parent / name, 0
