"""Reads what a recipe names: images, label maps, names; and keeps their hashes, never their paths."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.image_volume import ImageVolume
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.case import sha256_of
from twin_nodes.io.dicom import read_series
from twin_nodes.io.dicom_files import find_dicom_files, is_dicom
from twin_nodes.io.dicom_seg import is_segmentation, read_segmentation
from twin_nodes.io.recipe import Recipe, read_names
from twin_nodes.io.volumes import read_image_volume, read_label_volume, volumes_in, voxels_of


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the files of a recipe hold.

    Args:
        images: By name.
        labels: The label map, or None.
        names: Names of its labels, where they came with it.
        record: For the manifest: role, number of files, bytes and sha256 of each input.
        frame_of_reference: DICOM frame of reference UID, or ''.
        notes: What was read, for a person to look at.
    """

    images: dict[str, ImageVolume]
    labels: LabelVolume | None
    names: dict[int, str]
    record: list[dict[str, Any]]
    frame_of_reference: str
    notes: tuple[str, ...] = ()


def read_inputs(recipe: Recipe) -> Inputs:
    """Read the images and labels of a recipe.

    Raises:
        ConfigError: A file is missing.
        InputError: ANATOMY_REFUSED when one cannot be used, or they do not lie on one grid.
    """
    images, record, frames, notes = {}, [], set(), []
    for name, path in recipe.images.items():
        images[name], files = _image(_found(recipe, path), recipe)
        record.append(_record(f'image {name}', files))
        frames.add(images[name].frame_of_reference)
        notes.append(_note(name, images[name].values.shape, images[name].anatomy_T_index, recipe, path, record[-1]))
        notes += [f'{name}: left out {reason}' for reason in images[name].left_out]
    names: dict[int, str] = {}
    labels = None
    if recipe.config.labels:
        path = _found(recipe, recipe.config.labels)
        labels, names, frame, files = _labels(path, recipe)
        record.append(_record('labels', files))
        frames.add(frame)
        notes.append(_note('labels', labels.labels.shape, labels.anatomy_T_index, recipe, str(path), record[-1]))
        notes += [f'labels: {what}' for what in labels.left_out]
    if recipe.config.names:
        path = _found(recipe, recipe.config.names)
        names = read_names(path)
        record.append(_record('names', [path]))
    frames.discard('')
    if len(frames) > 1:
        raise InputError('the images and labels have different frames of reference', code='ANATOMY_REFUSED')
    _check_one_grid([*images.values(), *([labels] if labels else [])])
    return Inputs(images, labels, names, record, frames.pop() if frames else '', tuple(notes))


def _found(recipe: Recipe, name: str) -> Path:
    path = recipe.folder / name
    if not path.exists():
        raise ConfigError(f'{path} does not exist (paths start from the folder of the recipe)')
    return path


def _image(path: Path, recipe: Recipe) -> tuple[ImageVolume, Iterable[Path]]:
    if path.is_dir() or is_dicom(path):
        return read_series(path, series=recipe.config.series, slices=recipe.config.slices, frame=recipe.config.frame)
    if recipe.config.slices or recipe.config.series:
        raise ConfigError(f'{path}: slices and series are for DICOM; crop it beforehand')
    return read_image_volume(path, frame=recipe.config.frame), _files_of(path)


def _labels(path: Path, recipe: Recipe) -> tuple[LabelVolume, dict[int, str], str, list[Path]]:
    """Read a label map; a DICOM one brings names and a frame of reference."""
    if path.is_dir():
        segmentations = segmentations_in(path)
        if len(segmentations) != 1:
            raise InputError(f'{path}: {len(segmentations)} DICOM segmentations, one expected', code='ANATOMY_REFUSED')
        path = segmentations[0]
    if is_dicom(path):
        volume, names, frame = read_segmentation(path, recipe.config.segments)
        return volume, names, frame, [path]
    if recipe.config.segments:
        raise ConfigError(f'{path}: segments are of a DICOM SEG; name labels by their numbers in the structures')
    one = bool(recipe.images) and volumes_in(path) == 1  # drawn on one volume of an image over time
    return read_label_volume(path, frame=0 if one else recipe.config.frame), {}, '', _files_of(path)


def segmentations_in(folder: Path) -> list[Path]:
    """List the DICOM segmentations of a folder."""
    return [file for file in find_dicom_files(folder) if is_segmentation(file)]


def _note(
    name: str, shape: tuple[int, ...], anatomy_T_index: Any, recipe: Recipe, path: str, record: dict[str, Any]
) -> str:
    """Say how large a volume is, and how many of the files of a folder it was read from."""
    source, spacing = recipe.folder / path, np.linalg.norm(anatomy_T_index[:3, :3], axis=0) * 1e3
    size = f'{" × ".join(map(str, shape))} voxels of {" × ".join(f"{length:.4g}" for length in spacing)} mm'
    among = f' of {len(find_dicom_files(source))}' if source.is_dir() else ''
    return f'{name}: {size}, {record["files"]}{among} files'


def _files_of(path: Path) -> list[Path]:
    """Return the files of a volume: its header, and its voxels where they lie in another one."""
    data = voxels_of(path)
    return [path] if data == path else [path, data]


def _record(role: str, files: Iterable[Path]) -> dict[str, Any]:
    """Hashes of the files, sorted: neither their names nor their order say anything of the patient."""
    paths = list(files)
    hashes = sorted(sha256_of(path) for path in paths)
    return {'role': role, 'files': len(paths), 'bytes': sum(path.stat().st_size for path in paths), 'sha256': hashes}


def _check_one_grid(volumes: list[ImageVolume | LabelVolume]) -> None:
    shapes = [volume.values.shape if isinstance(volume, ImageVolume) else volume.labels.shape for volume in volumes]
    for shape, volume in zip(shapes[1:], volumes[1:], strict=True):
        corner = np.append(shapes[0], 1.0)
        apart = np.linalg.norm((volume.anatomy_T_index - volumes[0].anatomy_T_index) @ corner)
        if shape != shapes[0] or apart > 0.1 * float(np.linalg.norm(volumes[0].anatomy_T_index[:3, 0])):
            raise InputError(
                f'images and labels do not lie on one grid (shapes {shapes}, {1e3 * apart:.3g} mm apart at the far '
                'corner): resample one to the other first',
                code='ANATOMY_REFUSED',
            )
