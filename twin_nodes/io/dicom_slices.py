"""Where the slices of a DICOM series lie: sorted by position along the normal, checked, never trusted by number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

SAME_PLACE = 1e-3  # mm; two slices nearer than this are the same twice
STEP_TOLERANCE = 0.02  # of the step; positions are written with few digits
LEAST_TOLERANCE = 0.02  # mm
DRIFT = 0.15  # of the step; how far the tolerances of many steps may add up
ROUNDED = 0.1  # mm; how far a position and both ends that are written with one digit may be off
MAX_TILT = math.radians(0.06)
_NAMED = 6


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of a series, before its pixels are read.

    Args:
        name: What a person finds it by: its file, or its frame in a file.
        position: Of the centre of the first pixel, LPS [mm], shape (3,).
        axes: Directions of a row (towards higher columns) and of a column, LPS, shape (2, 3).
        spacing: Between rows and between columns [mm].
        size: Rows and columns.
        file: Number of the file.
        frame: Number of the frame in it.
        marks: What may tell volumes of one series apart: names and values, such as a phase.
    """

    name: str
    position: Array
    axes: Array
    spacing: tuple[float, float]
    size: tuple[int, int]
    file: int
    frame: int
    marks: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in the order of their place.

    Args:
        slices: From the lowest to the highest along the normal.
        index_T: Maps (column, row, slice) to LPS [mm], shape (4, 4).
    """

    slices: tuple[Slice, ...]
    index_T: Array


def stack_slices(where: str, slices: Sequence[Slice], *, chosen: str = '') -> Stack:
    """Sort slices by their position along the normal and check that they fill a box without a gap.

    Args:
        where: The series, for messages.
        slices: In any order.
        chosen: Which of the sorted slices to take, such as '1-5' or '6-10'; '' for all.

    Raises:
        InputError: ANATOMY_REFUSED for mixed sizes, spacings or orientations, the same place twice, a gap, or a tilt;
            the slices are named.
    """
    _check_alike(where, slices)
    normal = np.cross(*slices[0].axes)
    ordered = sorted(slices, key=lambda item: (float(item.position @ normal), item.name))
    ordered = _chosen(ordered, chosen)
    if len(ordered) < 2:
        raise refusal(
            where, f'{len(ordered)} slice is no volume: at least 2 are needed (name the folder of the series)'
        )
    heights = np.array([item.position @ normal for item in ordered])
    steps = np.diff(heights)
    _check_doubles(where, ordered, steps)
    step = float(np.median(steps))
    _check_gaps(where, ordered, heights, steps, step)
    _check_tilt(where, ordered, heights, normal)
    index_T = np.eye(4)
    index_T[:3, 0] = ordered[0].axes[0] * ordered[0].spacing[1]
    index_T[:3, 1] = ordered[0].axes[1] * ordered[0].spacing[0]
    index_T[:3, 2] = normal * float(heights[-1] - heights[0]) / (len(ordered) - 1)
    index_T[:3, 3] = ordered[0].position
    return Stack(tuple(ordered), index_T)


def parse_range(text: str, count: int) -> range:
    """Read '3-7' (from 1, both included) as a range of indices.

    Raises:
        InputError: It is no range within 1 … count.
    """
    first, separator, last = text.partition('-')
    try:
        low, high = int(first), int(last if separator else first)
    except ValueError:
        low, high = 0, 0
    if not 1 <= low <= high <= count:
        raise InputError(f'slices={text!r}: expected such as 1-5, within 1-{count}', code='ANATOMY_REFUSED')
    return range(low - 1, high)


def _chosen(ordered: list[Slice], chosen: str) -> list[Slice]:
    return [ordered[index] for index in parse_range(chosen, len(ordered))] if chosen else ordered


def _check_alike(where: str, slices: Sequence[Slice]) -> None:
    if not slices:
        raise refusal(where, 'no slices')
    axes = slices[0].axes
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1.0).max() > 1e-3 or abs(float(axes[0] @ axes[1])) > 1e-3:
        raise refusal(where, f'ImageOrientationPatient {axes.ravel().tolist()} of {slices[0].name} is no orientation')
    sizes = {item.size for item in slices}
    if len(sizes) > 1:
        found = ', '.join(f'{rows}×{columns} ({_names([s for s in slices if s.size == (rows, columns)])})'
                          for rows, columns in sorted(sizes))  # fmt: skip
        raise refusal(where, f'slices of different sizes: {found} (a localiser?): take the others out')
    odd = [item for item in slices if np.abs(item.axes - axes).max() > 1e-3]
    if odd:
        raise refusal(
            where, f'mixed orientation: {_names(odd)} differ from {slices[0].name} (a localiser?): take them out'
        )
    spacing = np.array([item.spacing for item in slices])
    other = [item for item, own in zip(slices, spacing, strict=True) if np.abs(own / spacing[0] - 1.0).max() > 1e-4]
    if other:
        raise refusal(where, f'mixed pixel spacing: {_names(other)} differ from {slices[0].name}')


def _check_doubles(where: str, ordered: list[Slice], steps: Array) -> None:
    doubles = np.flatnonzero(steps < SAME_PLACE)
    if len(doubles):
        pairs = ', '.join(f'{ordered[n].name} and {ordered[n + 1].name}' for n in doubles[:_NAMED])
        raise refusal(where, f'{len(doubles)} places are there twice ({pairs}): take one of each')


def _check_gaps(where: str, ordered: list[Slice], heights: Array, steps: Array, step: float) -> None:
    even = np.linspace(heights[0], heights[-1], len(heights))
    astray = np.abs(heights - even)
    limit = max(STEP_TOLERANCE * step, LEAST_TOLERANCE)
    wrong = np.flatnonzero(np.abs(steps - step) > limit)
    if len(wrong) == 0:
        worst = int(np.argmax(astray))
        if astray[worst] > max(DRIFT * step, LEAST_TOLERANCE):
            raise refusal(
                where,
                f'the steps between slices grow or shrink by little each: slice {worst + 1} ({ordered[worst].name}) '
                f'lies {astray[worst]:.3g} mm from where even steps put it: resample it, or take a part (--slices)',
            )
        return
    if np.abs(10.0 * heights - np.round(10.0 * heights)).max() < 1e-6 and astray.max() <= ROUNDED:
        return  # written with one digit: 0.6, 0.6, 0.7 for steps of 0.625
    gaps = ', '.join(
        f'{steps[n]:.4g} mm between slice {n + 1} ({ordered[n].name}, at {heights[n]:.4g} mm) and slice {n + 2} '
        f'({ordered[n + 1].name}, at {heights[n + 1]:.4g} mm)'
        for n in wrong[:_NAMED]
    )
    edges = [0, *(int(n) + 1 for n in wrong), len(ordered)]
    runs = [(low, high) for low, high in pairwise(edges) if high - low >= 2]
    mend = ' or '.join(f'--slices {low + 1}-{high}' for low, high in runs[:_NAMED]) or 'another series'
    raise refusal(where, f'the steps between {len(ordered)} slices are {step:.4g} mm, but {gaps}: take {mend}')


def _check_tilt(where: str, ordered: list[Slice], heights: Array, normal: Array) -> None:
    positions = np.array([item.position for item in ordered])
    aside = positions - positions[0] - np.outer(heights - heights[0], normal)
    shift = float(np.linalg.norm(aside[-1]))
    angle = math.atan2(shift, float(heights[-1] - heights[0]))
    if angle > MAX_TILT:
        raise refusal(
            where,
            f'the slices are stacked {math.degrees(angle):.2f}° aside of their normal, limit '
            f'{math.degrees(MAX_TILT):.2f}° (gantry tilt): resample the series without the tilt first',
        )
    stray = np.linalg.norm(aside - np.outer((heights - heights[0]) / (heights[-1] - heights[0]), aside[-1]), axis=1)
    worst = int(np.argmax(stray))
    if stray[worst] > max(0.1, 0.2 * min(ordered[0].spacing)):
        raise refusal(where, f'slice {worst + 1} ({ordered[worst].name}) lies {stray[worst]:.3g} mm beside the others')


def _names(slices: Sequence[Slice]) -> str:
    names = ', '.join(item.name for item in slices[:_NAMED])
    return names + (f' and {len(slices) - _NAMED} more' if len(slices) > _NAMED else '')
