"""What `twin check` says of images and label maps: NRRD, NIfTI, MetaImage, DICOM files and folders."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError

VOLUMES = ('.nrrd', '.nhdr', '.nii', '.nii.gz', '.mhd', '.hdr', '.img', '.hdr.gz', '.img.gz', '.mgh', '.mgz', '.mgh.gz')
MOST_LABELS = 4096
PATCHY = 0.6  # of neighbouring voxels are alike in a label map; in an image few are
_LOOKED_AT = 64  # files of a folder


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files of a folder, or below it, begins like DICOM."""
    from twin_nodes.io.dicom_files import is_dicom

    files = (path for path in folder.rglob('*') if path.is_file() and path.name != 'DICOMDIR')
    return any(is_dicom(path) for path in islice(files, _LOOKED_AT))


def inspect_volume(file: Path) -> str:
    """Read a volume: a label map where it looks like one, else an image."""
    from twin_nodes.io.volumes import read_image_volume, volumes_in

    count = volumes_in(file)
    volume = read_image_volume(file, frame=1)
    labels = _labels(volume.values)
    size = _size(volume.values.shape, volume.anatomy_T_index)
    if count > 1:
        size = f'{count} volumes of {size} (choose with --frame 1 … {count}; of the first:)'
    if labels is not None:
        listed = ', '.join(map(str, labels[:20])) + (f' and {len(labels) - 20} more' if len(labels) > 20 else '')
        return f'label volume, good: {size}, labels {listed or "none"}'
    return f'image, good: {size}, {_values(volume.values)}; type `twin build {file} --above VALUE`'


def inspect_dicom(path: Path) -> str:
    """Read a DICOM series or segmentation."""
    from twin_nodes.io.dicom import read_series
    from twin_nodes.io.dicom_seg import is_segmentation, read_segmentation

    if path.is_file() and is_segmentation(path):
        labels, names, _ = read_segmentation(path)
        listed = ', '.join(f'{number} {names[number]}' for number in sorted(names)[:20])
        return f'DICOM segmentation, good: {_size(labels.labels.shape, labels.anatomy_T_index)}, segments {listed}'
    image, files = read_series(path)
    padded = f', {image.padded} voxels of padding' if image.padded else ''
    left_out = f', without {", ".join(image.left_out)}' if image.left_out else ''
    return (
        f'DICOM series, good: {len(files)} files, {_size(image.values.shape, image.anatomy_T_index)}, '
        f'{_values(image.values)}{padded}{left_out}; type `twin build {path} --above VALUE`'
    )


def _labels(values: Any) -> list[int] | None:
    """Return the labels of what looks like a label map: few whole numbers in patches."""
    if values.size == 0 or values.min() < 0 or values.max() >= 2**32:
        return None
    if values.dtype.kind == 'f' and not (values == np.round(values)).all():
        return None
    found = np.unique(values)
    if len(found) > MOST_LABELS:
        return None
    first, second = values[:-1], values[1:]
    inside = (first != 0) | (second != 0)
    alike = float((first == second)[inside].mean()) if inside.any() else 1.0
    if len(found) > 2 and alike < PATCHY:
        return None
    return [int(label) for label in found if label]


def _size(shape: tuple[int, ...], anatomy_T_index: Any) -> str:
    spacing = np.linalg.norm(anatomy_T_index[:3, :3], axis=0) * 1e3
    return f'{" × ".join(map(str, shape))} voxels of {" × ".join(f"{length:.3g}" for length in spacing)} mm'


def _values(values: Any) -> str:
    low, high = float(values.min()), float(values.max())
    return f'values {low:g} … {high:g}'


def refused_as_both(recording: InputError, file: Path) -> str:
    """Say what a MetaImage or NRRD file without frames is, or why it is neither a recording nor a volume.

    Raises:
        InputError: It is neither.
    """
    try:
        return inspect_volume(file)
    except InputError as other:
        raise InputError(f'{recording}; nor a volume: {other}', code=recording.code) from None
