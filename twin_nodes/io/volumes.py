"""Images and label volumes from NRRD, NIfTI, MetaImage and MGH, brought to the anatomy frame: LPS axes in metres."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.image_volume import ImageVolume
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.payload import read_payload

MAX_VOXELS = 1 << 29
MAX_SHEAR = 1e-3
MAX_TEXT = 1 << 28  # bytes of voxels that are written as text
LEAST_SIZE = 1e-3  # m; no image of a patient is smaller
_NIFTI = ('.nii', '.nii.gz', '.hdr', '.hdr.gz', '.img', '.img.gz')
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
        frames: Volumes in the file.
        mixed: Whether the values of a voxel in all volumes stand together, rather than volume after volume.
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
    frames: int = 1
    mixed: bool = False


def read_label_volume(path: Path | str, *, threshold: float = math.nan, frame: int = 0) -> LabelVolume:
    """Read a label volume from .nrrd, .nhdr, .nii, .nii.gz, .hdr with .img, .mha, .mhd, .mgh or .mgz.

    Args:
        path: The file.
        threshold: Without it the file must hold whole numbers ≥ 0; with it, values ≥ threshold become label 1.
        frame: Which volume, from 1, where the file holds several; 0 where it must hold one.

    Raises:
        InputError: ANATOMY_REFUSED for a file that is cut, lies about its size, is too large, has no orientation, is
            sheared, or holds no labels.
    """
    path = Path(path)
    header, values = _read(path, frame)
    return LabelVolume(as_labels(path, _scaled(values, header), threshold), header.anatomy_T_index)


def read_image_volume(path: Path | str, *, frame: int = 0) -> ImageVolume:
    """Read an image from the same files, or one volume of those that a file holds.

    Raises:
        InputError: ANATOMY_REFUSED as `read_label_volume`, and for values that are not finite numbers.
    """
    path = Path(path)
    header, stored = _read(path, frame)
    values = _scaled(stored, header)
    if values.dtype.kind not in 'iufb':
        raise refusal(path, f'values of type {values.dtype} are no image')
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise refusal(path, f'{int(np.sum(~np.isfinite(values)))} voxels are NaN or Inf')
    return ImageVolume(values.astype(values.dtype.newbyteorder('='), copy=False), header.anatomy_T_index)


def voxels_of(path: Path) -> Path:
    """Return the file that holds the voxels: the file itself, or the one that its header names."""
    return _read_header(path).data_path


def _read(path: Path, frame: int) -> tuple[VolumeHeader, Any]:
    """Return the header and the stored values; nothing is believed before the bytes are there."""
    header = _read_header(path)
    if len(header.shape) != 3 or min(header.shape) < 1:
        raise refusal(path, f'expected 3 axes of at least one voxel, got {header.shape}')
    voxels = math.prod(header.shape)
    if voxels * header.frames > MAX_VOXELS:
        raise refusal(path, f'{voxels * header.frames} voxels are announced, limit {MAX_VOXELS}')
    check_affine(path, header.anatomy_T_index)
    size = float(np.max(np.linalg.norm(header.anatomy_T_index[:3, :3], axis=0) * header.shape))
    if size < LEAST_SIZE:
        raise refusal(
            path, f'it is {1e3 * size:.2g} mm large: metres taken for millimetres? set the unit in the header'
        )
    if not (header.frames == 1 and frame <= 1) and not 1 <= frame <= header.frames:
        asked = f'frame={frame} is not there' if frame else 'one must be chosen'
        raise refusal(path, f'{header.frames} volumes in one file: {asked}: --frame 1 … {header.frames}')
    if header.encoding in ('text', 'hex'):
        values = _read_text(header, voxels * header.frames)
    else:
        count = header.skip + voxels * header.frames * header.dtype.itemsize
        apart = header.data_path != path
        data = read_payload(header.data_path, header.offset, count, header.encoding, exact=apart)
        values = np.frombuffer(data, header.dtype, offset=header.skip)
    number = max(frame, 1) - 1
    one = values[number :: header.frames] if header.mixed else values[number * voxels : (number + 1) * voxels]
    return header, one.reshape(header.shape, order='F')


def volumes_in(path: Path) -> int:
    """Return how many volumes (times, layers) a file announces."""
    return _read_header(path).frames


def _read_header(path: Path) -> VolumeHeader:
    try:
        header: VolumeHeader = _reader_of(path)(path)
    except InputError as error:
        raise error if str(error).startswith(str(path)) else refusal(path, str(error)) from None
    return header


def _reader_of(path: Path) -> Any:
    """Return the reader for a file, by its name, else by how it begins."""
    from twin_nodes.io.metaimage import read_metaimage_header
    from twin_nodes.io.mgh import ENDINGS as MGH
    from twin_nodes.io.mgh import read_mgh_header
    from twin_nodes.io.nifti import read_nifti_header
    from twin_nodes.io.nrrd_headers import read_nrrd_header

    if not path.is_file():
        raise refusal(path, 'no such file')
    name = path.name.lower()
    if name.endswith(_NIFTI):
        return read_nifti_header
    if name.endswith(('.mha', '.mhd')):
        return read_metaimage_header
    if name.endswith(MGH):
        return read_mgh_header
    with path.open('rb') as stream:
        start = stream.read(4)
    if start != b'NRRD' and not name.endswith(('.nrrd', '.nhdr')):
        why = ', for a VTK image does not say where the patient is' if name.endswith(('.vtk', '.vti')) else ''
        raise refusal(path, f'no volume of a known kind: save it as NRRD, NIfTI or MetaImage{why}')
    return read_nrrd_header


def _read_text(header: VolumeHeader, count: int) -> Any:
    """Read voxels that are written as numbers in text, or as two hexadecimal digits for each byte."""
    path = header.data_path
    if path.stat().st_size > MAX_TEXT:
        raise refusal(path, f'{path.stat().st_size} bytes of text, limit {MAX_TEXT}: save it as gzip or raw')
    with path.open('rb') as stream:
        stream.seek(header.offset)
        data = stream.read()[header.skip :]
    try:
        if header.encoding == 'hex':
            return np.frombuffer(bytes.fromhex(data.decode('ascii')), header.dtype, count)
        values = np.array(data.split(), np.float64 if header.dtype.kind == 'f' else np.int64)
    except ValueError as error:
        raise refusal(path, f'voxels that are no numbers, or too few ({error})') from None
    if len(values) != count:
        raise refusal(path, f'{count} voxels are announced, {len(values)} are there')
    if header.dtype.kind != 'f' and len(values):
        limits = np.iinfo(header.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise refusal(path, f'voxels {values.min()} … {values.max()} do not fit the type that is announced')
    return values.astype(header.dtype.newbyteorder('='))


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


def check_affine(path: Path, anatomy_T_index: Array) -> None:
    """Refuse voxels without a sensible size, or axes that are not square (gantry tilt)."""
    columns = anatomy_T_index[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    if not np.isfinite(anatomy_T_index).all() or spacing.min() < 1e-6 or spacing.max() > 0.1:
        raise refusal(path, f'voxel sizes {spacing.tolist()} m must lie within 1e-6 … 0.1 m')
    unit = columns / spacing
    shear = float(np.abs(unit.T @ unit - np.eye(3)).max())
    if shear > MAX_SHEAR:
        angle = math.degrees(math.asin(min(shear, 1.0)))
        raise refusal(path, f'axes are {angle:.2f}° from square (gantry tilt?): resample it first')


def as_labels(path: Path, values: Any, threshold: float = math.nan) -> Any:
    """Return whole numbers of 0 or more as the smallest unsigned type; with a threshold, 1 where it is reached."""
    if values.dtype.kind not in 'iufb':
        raise refusal(path, f'values of type {values.dtype} are no labels')
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        raise refusal(path, f'{int(np.sum(~np.isfinite(values)))} voxels are NaN or Inf')
    if not math.isnan(threshold):
        return (values >= threshold).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind != 'f' or bool((values == np.round(values)).all())
    if not whole or low < 0.0 or high >= 2**32:
        raise refusal(path, f'values {low:g} … {high:g} are no labels (whole numbers ≥ 0): give a threshold')
    return values.astype(np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.uint32)
