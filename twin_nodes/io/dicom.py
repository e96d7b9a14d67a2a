"""Images from DICOM series, single-frame and multi-frame; nothing of who the patient is leaves these functions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.image_volume import ImageVolume
from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import InputError
from twin_nodes.io.dicom_files import find_dicom_files, has_preamble, read_header, refusing_broken
from twin_nodes.io.dicom_phases import Marks, marks_of_file, marks_of_frame, one_volume
from twin_nodes.io.dicom_slices import Slice, Stack, stack_slices
from twin_nodes.io.volumes import MAX_VOXELS, check_affine, lps_from

LOWEST_CT = -1024.0  # HU; no scanner measures below it, what is there is padding
_PLACE = ('Rows', 'Columns', 'ImagePositionPatient', 'ImageOrientationPatient', 'PixelSpacing')
_PIXELS = ('PixelData', 'FloatPixelData', 'DoubleFloatPixelData')
_DECODERS = 'pip install python-gdcm, or decompress it (gdcmconv --raw IN OUT)'


@refusing_broken
def read_series(
    source: Path | str, *, series: str = '', slices: str = '', frame: int = 0
) -> tuple[ImageVolume, tuple[Path, ...]]:
    """Read one series as a volume, with its slices sorted by position along their normal.

    Values are rescaled. Padding (PixelPaddingValue, in CT also all below -1024 HU) becomes the lowest value that was
    measured, in CT -1024 HU, and is counted. Reports, localisers and other objects that are no slices are left out;
    a localiser in the series itself is named in `left_out`.

    Args:
        source: A folder, or one file.
        series: SeriesInstanceUID, or its end, where the folder holds several.
        slices: Which of the sorted slices to take, such as '1-5'; '' for all.
        frame: Which volume to take where the series holds several (phases, echoes), from 1; 0 where it must hold one.

    Returns:
        The volume, indices in the order column, row, slice; and the files that it was read from.

    Raises:
        ConfigError: pydicom is not installed.
        InputError: ANATOMY_REFUSED for mixed series, sizes or orientations, gaps, tilt, doubles, files that are cut or
            compressed in a way that cannot be read here; the slices are named.
    """
    source = Path(source)
    paths = find_dicom_files(source) if source.is_dir() else [source]
    if not paths:
        raise refusal(source, 'no DICOM files')
    headers = [read_header(path) for path in paths]
    paths, headers = _one_series(source, paths, headers, series)
    places, left_out = _without_localisers(
        [place for number, header in enumerate(headers) for place in slices_of(paths[number], header, number)], headers
    )
    stack = stack_slices(str(source), one_volume(str(source), places, frame), chosen=slices)
    frames = {headers[item.file].get('FrameOfReferenceUID', '') for item in stack.slices}
    if len(frames) > 1:
        raise refusal(source, f'{len(frames)} frames of reference in one series: the slices do not belong together')
    rows, columns = stack.slices[0].size
    voxels = rows * columns * len(stack.slices)
    if voxels > MAX_VOXELS:
        raise refusal(source, f'{voxels} voxels are announced, limit {MAX_VOXELS}')
    anatomy_T_index = lps_from('LPS', stack.index_T, unit='mm')
    check_affine(source, anatomy_T_index)
    values, padded = _values(stack, paths, str(headers[0].get('Modality', '')))
    used = sorted({item.file for item in stack.slices})
    image = ImageVolume(values, anatomy_T_index, padded, str(frames.pop()), left_out)
    return image, tuple(paths[number] for number in used)


@refusing_broken
def slices_of(path: Path, header: Any, number: int) -> list[Slice]:
    """Return where the slices of one file lie: one, or one for each frame.

    Raises:
        InputError: ANATOMY_REFUSED when the file does not say where.
    """
    count = int(header.get('NumberOfFrames', 1) or 1)
    if 'MOSAIC' in (header.get('ImageType') or []):
        raise refusal(
            path, 'a mosaic: all slices of a volume lie side by side in one image; bring it in as NIfTI (dcm2niix)'
        )
    try:
        size = (int(header.Rows), int(header.Columns))
        if 'PerFrameFunctionalGroupsSequence' not in header:
            if count > 1:
                raise refusal(path, f'{count} frames without functional groups: where they lie is not known')
            return [_slice(path.name, header, header, header, size, number, 0, marks_of_file(header))]
        shared = shared_groups(header)
        groups = header.PerFrameFunctionalGroupsSequence
        if len(groups) != count:
            raise refusal(path, f'{count} frames but {len(groups)} functional groups')
        return [
            _slice(
                f'{path.name} frame {frame + 1}',
                functional(group, shared, 'PlanePositionSequence'),
                functional(group, shared, 'PlaneOrientationSequence'),
                functional(group, shared, 'PixelMeasuresSequence'),
                size,
                number,
                frame,
                marks_of_frame(group),
            )
            for frame, group in enumerate(groups)
        ]
    except InputError:
        raise
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        missing = [name for name in _PLACE if header.get(name) is None]
        reason = f'{", ".join(missing)} missing or empty' if missing and count == 1 else str(error)
        raise refusal(path, f'does not say where its pixels lie in the patient ({reason})') from None


def shared_groups(dataset: Any) -> Any:
    """Return what all frames of a multi-frame file have in common; empty where each frame says all itself."""
    shared = dataset.get('SharedFunctionalGroupsSequence')
    return shared[0] if shared else {}


def functional(group: Any, shared: Any, name: str) -> Any:
    """Return the first item of a functional group, of the frame or of all frames."""
    return (group if name in group else shared)[name][0]


@refusing_broken
def read_pixels(path: Path) -> tuple[Any, Any]:
    """Return the dataset and its stored pixels, shape (rows, columns) or (frames, rows, columns).

    Raises:
        InputError: ANATOMY_REFUSED when the file is cut, or compressed in a way that cannot be read here.
    """
    dataset = read_header(path, pixels=True)
    syntax = dataset.file_meta.get('TransferSyntaxUID')
    _check_length(path, dataset, syntax)
    try:
        return dataset, dataset.pixel_array
    except Exception as error:  # pydicom and its decoders raise many kinds
        if _is_compressed(syntax):
            text = ' '.join(str(error).split())
            lacking = 'missing' in text or 'not available' in text or isinstance(error, NotImplementedError)
            reason = (
                f'and no decoder for it is installed: {_DECODERS}' if lacking else f'and cannot be unpacked ({text})'
            )
            raise refusal(path, f'compressed as {syntax.name}, {reason}') from None
        raise refusal(path, f'no readable pixels ({error})') from None


def _one_series(source: Path, paths: list[Path], headers: list[Any], series: str) -> tuple[list[Path], list[Any]]:
    """Return the files of the series that was named, or of the only one that is a stack of slices."""
    known = [n for n, header in enumerate(headers) if _is_known(paths[n], header)]
    if not known:
        raise refusal(source, 'no DICOM files')
    uids = [str(header.get('SeriesInstanceUID', '')) for header in headers]
    stacked = {uids[n] for n in known if _is_slice(headers[n])}
    imaged = stacked - {uids[n] for n in known if 'LOCALIZER' in (headers[n].get('ImageType') or [])}
    among = (imaged or stacked or {uids[n] for n in known}) if not series else {uids[n] for n in known}
    wanted = sorted({uid for uid in among if uid.endswith(series)})
    if len(wanted) != 1:
        found = ', '.join(_described(uid, [headers[n] for n in known if uids[n] == uid]) for uid in sorted({*uids}))
        raise refusal(
            source, f'{len(wanted)} series fit {series!r}; there are: {found}: name one with its end (--series)'
        )
    kept = [n for n in known if uids[n] == wanted[0] and ('Rows' in headers[n] or wanted[0] not in stacked)]
    return [paths[n] for n in kept], [headers[n] for n in kept]


@refusing_broken
def _is_known(path: Path, header: Any) -> bool:
    """Whether a file is a DICOM object, and no other file whose first bytes are like one.

    Raises:
        InputError: ANATOMY_REFUSED for an image whose header is cut: left out, its slice would be missed.
    """
    meta = header.file_meta.get('MediaStorageSOPClassUID')
    kind = header.get('SOPClassUID') or meta
    name = str(getattr(kind, 'name', kind))  # read as plain text where a file says wrongly how it is encoded
    if kind is not None and 'Rows' not in header and 'Image Storage' in name:
        raise refusal(path, f'a {name} without Rows: its header is cut')
    if kind is None and 'Rows' not in header and has_preamble(path):
        raise refusal(path, 'it says not what it is (no SOPClassUID): its header is cut')
    return kind is not None or 'Rows' in header


def _is_slice(header: Any) -> bool:
    """Whether an object has pixels with a place, and is neither a segmentation nor a dose."""
    placed = 'ImagePositionPatient' in header or 'PerFrameFunctionalGroupsSequence' in header
    return placed and 'Rows' in header and str(header.get('Modality', '')) not in ('SEG', 'RTDOSE')


def _without_localisers(places: list[Slice], headers: list[Any]) -> tuple[list[Slice], tuple[str, ...]]:
    """Return the slices that belong together, and those that say that they are localisers and lie otherwise."""
    marked = [n for n, place in enumerate(places) if 'LOCALIZER' in (headers[place.file].get('ImageType') or [])]
    others = [place for n, place in enumerate(places) if n not in set(marked)]
    if not marked or len(others) < 2:
        return places, ()
    odd = [places[n] for n in marked if not _is_alike(places[n], others[0])]
    reasons = tuple(f'{place.name}: a localiser of another orientation, size or spacing' for place in odd)
    return [place for place in places if not any(place is other for other in odd)], reasons


def _is_alike(place: Slice, other: Slice) -> bool:
    turned = float(np.abs(place.axes - other.axes).max())
    scaled = float(np.abs(np.divide(place.spacing, other.spacing) - 1.0).max())
    return place.size == other.size and turned <= 1e-3 and scaled <= 1e-4


def _described(uid: str, headers: list[Any]) -> str:
    """Say of a series how many files of which modality it has, for a person who has to choose one."""
    kinds = '/'.join(sorted({str(header.get('Modality', '?')) for header in headers}))
    said = next((str(header.SeriesDescription) for header in headers if header.get('SeriesDescription')), '')
    return f'…{uid[-16:]} ({len(headers)} files, {kinds}{f" {said!r}" if said else ""})'


def _slice(
    name: str,
    place: Any,
    orientation: Any,
    measures: Any,
    size: tuple[int, int],
    number: int,
    frame: int,
    marks: Marks = (),
) -> Slice:
    position = np.array([float(value) for value in place.ImagePositionPatient])
    axes = np.array([float(value) for value in orientation.ImageOrientationPatient]).reshape(2, 3)
    between_rows, between_columns = (float(value) for value in measures.PixelSpacing)
    if position.shape != (3,) or not (np.isfinite(position).all() and np.isfinite(axes).all()):
        raise ValueError('position or orientation is no number')
    if not (0.0 < between_rows < 100.0 and 0.0 < between_columns < 100.0):
        raise ValueError(f'PixelSpacing {between_rows}, {between_columns} mm')
    return Slice(name, position, axes, (between_rows, between_columns), size, number, frame, marks)


def _is_compressed(syntax: Any) -> bool:
    """Whether pixels must be unpacked; those of a transfer syntax that pydicom does not know are taken to be."""
    return syntax is not None and not (syntax.is_transfer_syntax and not syntax.is_compressed)


def _check_length(path: Path, dataset: Any, syntax: Any) -> None:
    """Refuse a file that holds fewer pixels than it announces, before memory is taken for them."""
    count = int(dataset.get('NumberOfFrames', 1) or 1)
    pixels = count * int(dataset.get('Rows', 0)) * int(dataset.get('Columns', 0))
    if not 0 < pixels <= MAX_VOXELS or int(dataset.get('SamplesPerPixel', 1)) != 1:
        raise refusal(path, f'{pixels} pixels with {dataset.get("SamplesPerPixel", 1)} samples: no slice of a volume')
    if _is_compressed(syntax):
        return
    needed = math.ceil(pixels * int(dataset.get('BitsAllocated', 16)) / 8)
    held = max(len(dataset.get(name, b'') or b'') for name in _PIXELS)
    if held < needed:
        raise refusal(path, f'{needed} bytes of pixels are announced, the file holds {held}: it is cut')


def _values(stack: Stack, paths: Sequence[Path], modality: str) -> tuple[Any, int]:
    """Read, rescale and stack the pixels; shape (columns, rows, slices), with the padding replaced and counted."""
    rows, columns = stack.slices[0].size
    values = np.empty((len(stack.slices), rows, columns), np.float32)
    padding = np.zeros(values.shape, np.bool_)
    last, dataset, pixels = -1, None, None
    for number, item in enumerate(stack.slices):
        if item.file != last:
            dataset, pixels = read_pixels(paths[item.file])
            last = item.file
        stored = pixels[item.frame] if pixels.ndim == 3 else pixels
        try:
            slope, intercept = _rescale(dataset, item.frame)
        except InputError as error:
            raise refusal(paths[item.file], str(error)) from None
        values[number] = stored * np.float64(slope) + intercept
        padding[number] = _is_padding(dataset, stored)
    if not np.isfinite(values).all():
        raise InputError(f'{paths[0].parent}: pixels that are not finite after rescaling', code='ANATOMY_REFUSED')
    if modality == 'CT':
        padding |= values < LOWEST_CT
    padded = int(padding.sum())
    if padded:
        lowest = LOWEST_CT if modality == 'CT' else values[~padding].min(initial=np.inf)
        values[padding] = lowest if math.isfinite(lowest) else 0.0
    return values.transpose(2, 1, 0), padded


def _rescale(dataset: Any, frame: int) -> tuple[float, float]:
    source = dataset
    if 'PerFrameFunctionalGroupsSequence' in dataset:
        group, shared = dataset.PerFrameFunctionalGroupsSequence[frame], shared_groups(dataset)
        name = 'PixelValueTransformationSequence'
        source = functional(group, shared, name) if name in group or name in shared else {}
    if 'ModalityLUTSequence' in source:
        raise InputError('values by a table (ModalityLUTSequence) are not read', code='ANATOMY_REFUSED')
    slope, intercept = source.get('RescaleSlope'), source.get('RescaleIntercept')
    slope, intercept = (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0.0:
        raise InputError(f'RescaleSlope {slope:g} and RescaleIntercept {intercept:g}', code='ANATOMY_REFUSED')
    return slope, intercept


def _is_padding(dataset: Any, stored: Any) -> Any:
    value = dataset.get('PixelPaddingValue')
    if value is None:
        return np.zeros(stored.shape, np.bool_)
    limit = dataset.get('PixelPaddingRangeLimit')
    value, limit = _as_stored(dataset, value), _as_stored(dataset, value if limit is None else limit)
    return (stored >= min(value, limit)) & (stored <= max(value, limit))


def _as_stored(dataset: Any, value: Any) -> float:
    """Bring a padding value to the sign of the pixels: some writers give 63536 where -2000 is stored."""
    bits, signed = int(dataset.get('BitsAllocated', 16)), dataset.get('PixelRepresentation', 0) == 1
    number = float(value)
    if signed and 2 ** (bits - 1) <= number < 2**bits:
        return number - 2**bits
    return number + 2**bits if not signed and number < 0.0 and 'PixelData' in dataset else number
