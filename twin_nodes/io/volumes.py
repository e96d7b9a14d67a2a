"""Images and label volumes from NRRD, NIfTI and MetaImage, brought to the anatomy frame: LPS axes in metres."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.image_volume import ImageVolume
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.payload import read_payload

MAX_VOXELS = 1 << 29
MAX_SHEAR = 1e-3
MAX_SKIP = 1 << 24  # bytes or lines before the voxels
_UNITS = {'m': 1.0, 'meter': 1.0, 'metre': 1.0, 'mm': 1e-3, 'um': 1e-6, 'µm': 1e-6, 'micron': 1e-6, 'unknown': 1e-3}
_LPS_SIGN = {'left': 1.0, 'right': -1.0, 'posterior': 1.0, 'anterior': -1.0, 'superior': 1.0, 'inferior': -1.0}
_LPS_AXIS = {'left': 0, 'right': 0, 'posterior': 1, 'anterior': 1, 'superior': 2, 'inferior': 2}
_LETTERS = {'L': 'left', 'R': 'right', 'P': 'posterior', 'A': 'anterior', 'S': 'superior', 'I': 'inferior'}


@dataclass(frozen=True)
class VolumeHeader:
    """What a header says of the voxels.

    Args:
        shape: Voxels along each axis, the quickest first.
        dtype: Of a stored value.
        anatomy_T_index: Maps voxel indices to the anatomy frame [m], shape (4, 4).
        data_path: The file that holds the voxels.
        offset: Where they begin in that file.
        encoding: raw, gzip (or zlib) or bzip2.
        skip: Bytes of the unpacked data that come before the voxels.
        slope: Factor of the stored values.
        intercept: What is added to them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    anatomy_T_index: Array
    data_path: Path
    offset: int
    encoding: str
    skip: int = 0
    slope: float = 1.0
    intercept: float = 0.0


def read_label_volume(path: Path | str, *, threshold: float = math.nan) -> LabelVolume:
    """Read a label volume from .nrrd, .nhdr, .nii, .nii.gz, .mha or .mhd.

    Args:
        path: The file.
        threshold: Without it the file must hold whole numbers ≥ 0; with it, values ≥ threshold become label 1.

    Raises:
        InputError: ANATOMY_REFUSED for a file that is cut, lies about its size, is too large, has no orientation, is
            sheared, or holds no labels.
    """
    path = Path(path)
    header, values = _read(path)
    return LabelVolume(as_labels(path, _scaled(values, header), threshold), header.anatomy_T_index)


def read_image_volume(path: Path | str) -> ImageVolume:
    """Read an image from .nrrd, .nhdr, .nii, .nii.gz, .mha or .mhd.

    Raises:
        InputError: ANATOMY_REFUSED as `read_label_volume`, and for values that are not finite numbers.
    """
    path = Path(path)
    header, stored = _read(path)
    values = _scaled(stored, header)
    if values.dtype.kind not in 'iufb':
        raise _refusal(path, f'values of type {values.dtype} are no image')
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise _refusal(path, f'{int(np.sum(~np.isfinite(values)))} voxels are NaN or Inf')
    return ImageVolume(values.astype(values.dtype.newbyteorder('='), copy=False), header.anatomy_T_index)


def _read(path: Path) -> tuple[VolumeHeader, Any]:
    """Return the header and the stored values; nothing is believed before the bytes are there."""
    from twin_nodes.io.metaimage import read_metaimage_header

    if not path.is_file():
        raise _refusal(path, 'no such file')
    readers = {('.nii', '.nii.gz'): _read_nifti_header, ('.mha', '.mhd'): read_metaimage_header}
    reader = next((read for endings, read in readers.items() if path.name.endswith(endings)), _read_nrrd_header)
    header = reader(path)
    if len(header.shape) != 3 or min(header.shape) < 1:
        raise _refusal(path, f'expected 3 axes of at least one voxel, got {header.shape}')
    voxels = math.prod(header.shape)
    if voxels > MAX_VOXELS:
        raise _refusal(path, f'{voxels} voxels are announced, limit {MAX_VOXELS}')
    check_affine(path, header.anatomy_T_index)
    count = header.skip + voxels * header.dtype.itemsize
    apart = header.data_path != path
    data = read_payload(header.data_path, header.offset, count, header.encoding, exact=apart)
    return header, np.frombuffer(data, header.dtype, offset=header.skip).reshape(header.shape, order='F')


def _scaled(values: Any, header: VolumeHeader) -> Any:
    if header.slope in (0.0, 1.0) and header.intercept == 0.0:
        return values
    return values * header.slope + header.intercept


def lps_from(axes: str, index_T: ArrayLike, *, unit: str) -> Array:
    """Bring an affine (4, 4) with the given space axes and unit to LPS metres: the one place where this is done.

    Args:
        axes: Where the three space axes point to, such as 'RAS' (NIfTI) or 'left-posterior-superior' (NRRD).
        index_T: Maps voxel indices to that space, shape (4, 4).
        unit: m, mm or µm.

    Raises:
        InputError: ANATOMY_REFUSED for axes or a unit without meaning.
    """
    words = axes.lower().split('-') if '-' in axes else [_LETTERS.get(letter, '') for letter in axes.upper()]
    if len(words) != 3 or sorted(_LPS_AXIS.get(word, -1) for word in words) != [0, 1, 2]:
        raise InputError(f'space {axes!r} does not say where its axes point in the patient', code='ANATOMY_REFUSED')
    if unit not in _UNITS:
        raise InputError(f'space unit {unit!r} is none of {", ".join(_UNITS)}', code='ANATOMY_REFUSED')
    lps_T_space = np.zeros((4, 4))
    lps_T_space[3, 3] = 1.0
    for column, word in enumerate(words):
        lps_T_space[_LPS_AXIS[word], column] = _LPS_SIGN[word] * _UNITS[unit]
    return np.asarray(lps_T_space @ np.asarray(index_T, float))


def _read_nifti_header(path: Path) -> VolumeHeader:
    import nibabel

    packed = path.name.endswith('.gz')
    try:
        with gzip.open(path, 'rb') if packed else path.open('rb') as stream:
            start = stream.read(nibabel.Nifti1Header.sizeof_hdr)
            kind = nibabel.Nifti1Header
            if not kind.may_contain_header(start):
                kind = nibabel.Nifti2Header
                start += stream.read(kind.sizeof_hdr - len(start))
        if not kind.may_contain_header(start):
            raise _refusal(path, 'no NIfTI header')
        header = kind(start, check=True)
        shape, dtype = tuple(int(n) for n in header.get_data_shape()), header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        unit = header.get_xyzt_units()[0]
        affine = header.get_best_affine()
    except InputError:
        raise
    except Exception as error:  # nibabel raises many kinds for a broken header
        raise _refusal(path, f'no readable NIfTI header ({error})') from None
    if int(header['qform_code']) == 0 and int(header['sform_code']) == 0:
        raise _refusal(path, 'qform and sform code are 0: the file does not say where the patient is')
    if bytes(header['magic'].item())[:2] not in (b'n+',):
        raise _refusal(path, 'header and data in two files (.hdr/.img) are not read: convert to .nii')
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    offset = int(header['vox_offset'])
    if not kind.sizeof_hdr <= offset <= 1 << 24:
        raise _refusal(path, f'voxel data cannot begin at byte {offset}')
    anatomy_T_index = lps_from('RAS', affine, unit=unit)
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    encoding = 'gzip' if packed else 'raw'
    return VolumeHeader(shape, dtype, anatomy_T_index, path, 0, encoding, offset, slope, intercept)


def _read_nrrd_header(path: Path) -> VolumeHeader:
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
        raise _refusal(path, f'the NRRD header has no {error}: size and place in the patient must be known') from None
    except Exception as error:  # pynrrd raises many kinds for a broken header
        raise _refusal(path, f'no readable NRRD header ({error})') from None
    if len(shape) != 3 or directions.shape != (3, 3) or origin.shape != (3,):
        raise _refusal(path, f'expected 3 axes in 3-D space, got sizes {shape} and directions {directions.shape}')
    encoding = {'raw': 'raw', 'gz': 'gzip', 'gzip': 'gzip', 'bz2': 'bzip2', 'bzip2': 'bzip2'}.get(encoding, '')
    if not encoding:
        raise _refusal(path, f'encoding {fields["encoding"]!r} is not read: save it as gzip or raw')
    if len(set(units)) != 1:
        raise _refusal(path, f'space units {units} differ')
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder('>' if str(fields.get('endian', 'little')).lower() == 'big' else '<')
    index_T = np.eye(4)
    index_T[:3, :3], index_T[:3, 3] = directions.T, origin
    anatomy_T_index = lps_from(space, index_T, unit=str(units[0]))
    data_path = _nrrd_data_path(path, fields)
    held = math.prod(shape) * dtype.itemsize
    offset, skip = _nrrd_start(path, data_path, fields, offset if data_path == path else 0, held, encoding)
    return VolumeHeader(shape, dtype, anatomy_T_index, data_path, offset, encoding, skip)


def _nrrd_start(
    path: Path, data_path: Path, fields: dict[str, Any], offset: int, held: int, encoding: str
) -> tuple[int, int]:
    """Return where the data begin, and how many unpacked bytes come before the voxels: 'line skip', then 'byte skip'.

    A byte skip of -1 says that raw voxels end with the file (http://teem.sourceforge.net/nrrd/format.html).
    """
    lines = int(fields.get('line skip', fields.get('lineskip', 0)))
    skip = int(fields.get('byte skip', fields.get('byteskip', 0)))
    if not 0 <= lines <= MAX_SKIP or not -1 <= skip <= MAX_SKIP or (skip == -1 and encoding != 'raw'):
        raise _refusal(path, f"'line skip' {lines} and 'byte skip' {skip} with encoding {encoding} are not read")
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
        raise _refusal(path, 'no NRRD header')
    stream.seek(0)


def _nrrd_data_path(path: Path, fields: dict[str, Any]) -> Path:
    name = fields.get('data file', fields.get('datafile'))
    if name is None:
        return path
    if Path(name).name != name or '%' in name or name.split()[0] == 'LIST':
        raise _refusal(path, f'data file {name!r} must be one file in the same folder')
    data_path = path.parent / name
    if not data_path.is_file():
        raise _refusal(path, f'its data file {name!r} is not there')
    return data_path


def check_affine(path: Path, anatomy_T_index: Array) -> None:
    """Refuse voxels without a sensible size, or axes that are not square (gantry tilt)."""
    columns = anatomy_T_index[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    if not np.isfinite(anatomy_T_index).all() or spacing.min() < 1e-6 or spacing.max() > 0.1:
        raise _refusal(path, f'voxel sizes {spacing.tolist()} m must lie within 1e-6 … 0.1 m')
    unit = columns / spacing
    shear = float(np.abs(unit.T @ unit - np.eye(3)).max())
    if shear > MAX_SHEAR:
        angle = math.degrees(math.asin(min(shear, 1.0)))
        raise _refusal(path, f'axes are {angle:.2f}° from square (gantry tilt?): resample it first')


def as_labels(path: Path, values: Any, threshold: float = math.nan) -> Any:
    """Return whole numbers of 0 or more as the smallest unsigned type; with a threshold, 1 where it is reached."""
    if values.dtype.kind not in 'iufb':
        raise _refusal(path, f'values of type {values.dtype} are no labels')
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise _refusal(path, f'{int(np.sum(~np.isfinite(values)))} voxels are NaN or Inf')
    if not math.isnan(threshold):
        return (values >= threshold).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind != 'f' or bool((values == np.round(values)).all())
    if not whole or low < 0.0 or high >= 2**32:
        raise _refusal(path, f'values {low:g} … {high:g} are no labels (whole numbers ≥ 0): give a threshold')
    return values.astype(np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.uint32)


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='ANATOMY_REFUSED')
