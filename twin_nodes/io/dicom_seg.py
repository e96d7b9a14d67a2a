"""DICOM segmentations (SEG), binary, fractional or label map, as label volumes with the names of their segments."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.dicom import functional, read_pixels, shared_groups, slices_of
from twin_nodes.io.dicom_files import read_header, refusing_broken
from twin_nodes.io.dicom_slices import SAME_PLACE, Slice
from twin_nodes.io.volumes import MAX_VOXELS, check_affine, lps_from

SEG_STORAGE = ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')  # segments, label map


@refusing_broken
def is_segmentation(path: Path) -> bool:
    """Whether a DICOM file is a segmentation."""
    return str(read_header(path).get('SOPClassUID', '')) in SEG_STORAGE


@refusing_broken
def read_segmentation(path: Path, segments: Sequence[str] = ()) -> tuple[LabelVolume, dict[int, str], str]:
    """Read a segmentation: volume, names by number, frame of reference UID. Frames without pixels may be left out.

    Args:
        path: The file.
        segments: Those to take, by number or name: where they overlap, the first of them has the voxel, and
            `left_out` of the volume counts. All when empty; then they must not overlap.

    Raises:
        ConfigError: pydicom is not installed, or there is no such segment.
        InputError: ANATOMY_REFUSED when it is no segmentation, is cut, says not where it lies, or its segments overlap.
    """
    dataset, pixels = read_pixels(path)
    if str(dataset.get('SOPClassUID', '')) not in SEG_STORAGE:
        raise refusal(path, 'no DICOM segmentation')
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    places = slices_of(path, dataset, 0)
    named = {int(item.SegmentNumber): str(item.SegmentLabel) for item in dataset.SegmentSequence}
    chosen = _chosen(path, named, segments)
    map_of_labels = str(dataset.get('SegmentationType', 'BINARY')) == 'LABELMAP'
    numbers = [max(named, default=0) if map_of_labels else _segment(path, dataset, n) for n in range(len(places))]
    index_T, levels = _layout(path, dataset, places)
    rows, columns = places[0].size
    if rows * columns * (max(levels) + 1) > MAX_VOXELS or max(numbers) > 65535:
        raise refusal(path, f'{max(levels) + 1} slices and {max(numbers)} segments are more than can be read')
    labels = np.zeros((max(levels) + 1, rows, columns), np.uint8 if max(numbers) < 256 else np.uint16)
    lost: Counter[tuple[int, int]] = Counter()
    if map_of_labels:
        for frame, level in enumerate(levels):
            labels[level] = np.where(np.isin(pixels[frame], chosen), pixels[frame], 0)
    else:
        half = _half(dataset)
        wanted = [frame for frame, number in enumerate(numbers) if number in chosen or (not segments and number)]
        for frame in sorted(wanted, key=lambda n: chosen.index(numbers[n]) if segments else 0):
            _draw(
                path, labels[levels[frame]], pixels[frame] >= half, numbers[frame], levels[frame], named, segments, lost
            )
    anatomy_T_index = lps_from('LPS', index_T, unit='mm')
    check_affine(path, anatomy_T_index)
    names = {number: named[number] for number in sorted(chosen)}
    said = tuple(
        f'{count} voxels of {named[loser]!r} left to {named[winner]!r}' for (winner, loser), count in lost.items()
    )
    volume = LabelVolume(labels.transpose(2, 1, 0), anatomy_T_index, said)
    return volume, names, str(dataset.get('FrameOfReferenceUID', ''))


def _chosen(path: Path, named: Mapping[int, str], segments: Sequence[str]) -> list[int]:
    """Return the numbers of the segments that were named, in that order; all of them, when none was."""
    if not segments:
        return [number for number in named if number]  # 0 is the background of a label map
    found = []
    for segment in segments:
        fits = [number for number, label in named.items() if number and segment in (str(number), label)]
        if len(fits) != 1:
            listed = ', '.join(f'{number} {label}' for number, label in named.items() if number)
            raise ConfigError(
                f'{path}: {len(fits)} segments are called {segment!r}{nearest(segment, named.values())}; '
                f'there are: {listed}'
            )
        found += [number for number in fits if number not in found]
    return found


def _half(dataset: Any) -> float:
    """Return the stored value from which a pixel is inside."""
    if str(dataset.get('SegmentationType', 'BINARY')) == 'FRACTIONAL':
        return 0.5 * float(dataset.get('MaximumFractionalValue', 255))
    return 0.5


def _draw(
    path: Path,
    plane: NDArray[Any],
    inside: NDArray[np.bool_],
    number: int,
    level: int,
    named: Mapping[int, str],
    segments: Sequence[str],
    lost: Counter[tuple[int, int]],
) -> None:
    """Draw a segment into a slice of labels; what others have taken is counted, or refused where none was preferred."""
    taken = inside & (plane != 0) & (plane != number)
    if taken.any() and not segments:
        other = int(plane[taken][0])
        both = [named.get(other, str(other)), named.get(number, str(number))]
        raise refusal(
            path,
            f'segments {other} and {number} overlap in {int(taken.sum())} pixels of slice {level + 1}: a voxel has one '
            f"label; say which goes before which, such as `twin build … --segments '{both[1]},{both[0]}'`",
        )
    for other, count in zip(*np.unique(plane[taken], return_counts=True), strict=True):
        lost[int(other), number] += int(count)
    plane[inside & ~taken] = number


def _segment(path: Path, dataset: Any, frame: int) -> int:
    group, shared = dataset.PerFrameFunctionalGroupsSequence[frame], shared_groups(dataset)
    try:
        return int(functional(group, shared, 'SegmentIdentificationSequence').ReferencedSegmentNumber)
    except (KeyError, AttributeError, IndexError):
        raise refusal(path, f'frame {frame + 1} does not say which segment it is') from None


def _layout(path: Path, dataset: Any, places: list[Slice]) -> tuple[Array, list[int]]:
    """Return the place of the volume (column, row, slice) to LPS [mm] and the slice of each frame."""
    axes, spacing = places[0].axes, places[0].spacing
    if any(np.abs(item.axes - axes).max() > 1e-3 or item.size != places[0].size for item in places):
        raise refusal(path, 'frames of different orientation or size')
    normal = np.cross(*axes)
    heights = np.array([item.position @ normal for item in places])
    found = np.unique(np.round((heights - heights.min()) / SAME_PLACE).astype(np.int64)) * SAME_PLACE
    steps = np.diff(found)
    shared = shared_groups(dataset)
    measures = functional(dataset.PerFrameFunctionalGroupsSequence[0], shared, 'PixelMeasuresSequence')
    between = abs(float(measures.get('SpacingBetweenSlices') or 0.0))
    step = float(steps.min()) if len(steps) else between or abs(float(measures.get('SliceThickness') or 0.0))
    if 0.0 < between < 0.75 * step and abs(step / between - round(step / between)) < 0.05:
        step /= round(step / between)  # each slice beside one with pixels is empty and left out
    if step <= 0.0:
        raise refusal(path, 'a single slice without SpacingBetweenSlices: how thick it is is not known')
    levels = (heights - heights.min()) / step
    if np.abs(levels - np.round(levels)).max() > 0.05:
        raise refusal(path, f'its frames are not whole steps of {step:.4g} mm apart')
    lowest = places[int(np.argmin(heights))]
    index_T = np.eye(4)
    index_T[:3, 0], index_T[:3, 1] = axes[0] * spacing[1], axes[1] * spacing[0]
    index_T[:3, 2], index_T[:3, 3] = normal * step, lowest.position
    return index_T, [int(level) for level in np.round(levels)]
