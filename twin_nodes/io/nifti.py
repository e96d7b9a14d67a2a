"""Headers of NIfTI volumes, in one file or as a pair; where qform and sform differ, neither is believed."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import InputError
from twin_nodes.io.volumes import VolumeHeader, lps_from

APART = 0.5  # of a voxel; how far the two places that a NIfTI file states may differ


def read_nifti_header(path: Path) -> VolumeHeader:
    """Read the header of a .nii, or of a .hdr with its .img, packed or not.

    Raises:
        InputError: ANATOMY_REFUSED for a header that is broken, incomplete, or says two places.
    """
    import nibabel

    place, data_path = _nifti_pair(path)
    try:
        with _opened(place) as stream:
            start = stream.read(nibabel.Nifti1Header.sizeof_hdr)
            kind = nibabel.Nifti1Header
            if not kind.may_contain_header(start):
                kind = nibabel.Nifti2Header
                start += stream.read(kind.sizeof_hdr - len(start))
        if not kind.may_contain_header(start):
            raise refusal(path, 'no NIfTI header (Analyze does not say which side is left)')
        header = kind(start, check=True)
        shape, dtype = tuple(int(n) for n in header.get_data_shape()), header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        unit = header.get_xyzt_units()[0]
        affine = _nifti_affine(path, header, shape)
    except InputError:
        raise
    except Exception as error:  # nibabel raises many kinds for a broken header
        raise refusal(path, f'no readable NIfTI header ({error})') from None
    single = bytes(header['magic'].item())[:2] == b'n+'
    if single and data_path != place:
        data_path = place
    if not single and data_path == place:
        raise refusal(path, 'its header says that the voxels are in another file: name the .hdr beside the .img')
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    offset = int(header['vox_offset'])
    if not (kind.sizeof_hdr if single else 0) <= offset <= 1 << 24:
        raise refusal(path, f'voxel data cannot begin at byte {offset}')
    anatomy_T_index = lps_from('RAS', affine, unit=unit)
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    encoding = 'gzip' if _is_packed(data_path) else 'raw'
    frames, shape = (shape[3], shape[:3]) if len(shape) == 4 else (1, shape)
    at, skip = (0, offset) if encoding == 'gzip' else (offset, 0)
    return VolumeHeader(shape, dtype, anatomy_T_index, data_path, at, encoding, skip, slope, intercept, frames)


def _nifti_affine(path: Path, header: Any, shape: tuple[int, ...]) -> Any:
    """Return the affine; where sform and qform both have a meaning, they must put the voxels in one place."""
    codes = int(header['qform_code']), int(header['sform_code'])
    if codes == (0, 0):
        raise refusal(path, 'qform and sform code are 0: the file does not say where the patient is')
    affine = header.get_best_affine()
    if 0 not in codes:
        corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*shape[:3], 1.0]
        apart = float(np.linalg.norm((corners @ (header.get_qform() - header.get_sform()).T)[:, :3], axis=1).max())
        if apart > APART * float(np.linalg.norm(affine[:3, :3], axis=0).min()):
            raise refusal(
                path,
                f'qform (code {codes[0]}) and sform (code {codes[1]}) put the voxels {apart:.3g} mm apart: set the '
                'code of the one that is not meant to 0 (nibabel: image.set_sform(None, 0), or set_qform)',
            )
    return affine


def _nifti_pair(path: Path) -> tuple[Path, Path]:
    """Return the files of the header and of the voxels: one .nii, or .hdr and .img."""
    for own, other in (('.hdr', '.img'), ('.img', '.hdr')):
        stem, found, _ = path.name.lower().rpartition(own)
        if not found:
            continue
        beside = [path.parent / (path.name[: len(stem)] + ending) for ending in (other, f'{other}.gz', other.upper())]
        partner = next((candidate for candidate in beside if candidate.is_file()), None)
        if partner is None:
            raise refusal(path, f'the {other} beside it is not there: header and voxels are two files')
        return (path, partner) if own == '.hdr' else (partner, path)
    return path, path


def _is_packed(path: Path) -> bool:
    """Whether a file begins like gzip, whatever its name."""
    with path.open('rb') as stream:
        return stream.read(2) == b'\x1f\x8b'


def _opened(path: Path) -> Any:
    return gzip.open(path, 'rb') if _is_packed(path) else path.open('rb')
