"""DICOM series that hold several volumes: phases, echoes, b-values, stacks. They are counted, and one is chosen."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.io.dicom_slices import SAME_PLACE, Slice

Marks = tuple[tuple[str, float | str], ...]
_OF_FILE = ('TemporalPositionIdentifier', 'TemporalPositionIndex', 'TriggerTime', 'NominalPercentageOfCardiacPhase',
            'NominalPercentageOfRespiratoryPhase', 'FrameReferenceTime', 'EchoNumbers', 'EchoTime', 'InversionTime',
            'DiffusionBValue', 'AcquisitionNumber', 'AcquisitionTime', 'SeriesTime', 'ContentTime')  # fmt: skip
_OF_FRAME = {
    'FrameContentSequence': ('StackID', 'TemporalPositionIndex', 'TemporalPositionTimeOffset', 'FrameAcquisitionNumber',
                             'FrameAcquisitionDateTime'),
    'TemporalPositionSequence': ('TemporalPositionTimeOffset',),
    'CardiacSynchronizationSequence': ('NominalCardiacTriggerDelayTime', 'NominalPercentageOfCardiacPhase'),
    'RespiratorySynchronizationSequence': ('NominalPercentageOfRespiratoryPhase',),
    'MREchoSequence': ('EffectiveEchoTime',),
    'MRDiffusionSequence': ('DiffusionBValue',),
    'MRImageFrameTypeSequence': ('ComplexImageComponent',),
}  # fmt: skip
_ORDER = 'InstanceNumber'
_NAMED = 8
_PAIRED = 12  # differences that are tried two by two
Values = tuple[float | str, ...]


def marks_of_file(header: Any) -> Marks:
    """Return what may tell the volumes of a series apart, of a file with one slice."""
    marks = [(name, _plain(header[name].value)) for name in _OF_FILE if name in header]
    kinds = [str(word) for word in header.get('ImageType') or []]
    if len(kinds) > 2:
        marks.append(('ImageType', '/'.join(kinds)))
    if _ORDER in header:
        marks.append((_ORDER, _plain(header[_ORDER].value)))
    return tuple((name, value) for name, value in marks if value != '')


def marks_of_frame(group: Any) -> Marks:
    """Return what may tell the volumes of a multi-frame file apart, of one frame."""
    marks: list[tuple[str, float | str]] = []
    for sequence, names in _OF_FRAME.items():
        items = group.get(sequence)
        marks += [(name, _plain(items[0][name].value)) for name in names if items and name in items[0]]
    content = group.get('FrameContentSequence')
    indices = content[0].get('DimensionIndexValues') if content else None
    numbers = [indices] if isinstance(indices, int) else list(indices or [])
    marks += [(f'dimension {place}', float(number)) for place, number in enumerate(numbers, start=1)]
    return tuple((name, value) for name, value in marks if value != '')


def one_volume(where: str, slices: Sequence[Slice], frame: int) -> list[Slice]:
    """Return the slices of one volume; where a place is there several times, those that `frame` chooses.

    Args:
        where: The series, for messages.
        slices: In any order.
        frame: Number of the volume, from 1; 0 where there must be one only.

    Raises:
        InputError: ANATOMY_REFUSED when there are several and none is chosen, or no such one.
    """
    found = _volumes(slices)
    if not found:
        if frame > 1:
            raise refusal(where, f'frame={frame}, but it holds one volume only')
        return list(slices)
    name, volumes = found
    values = ', '.join('/'.join(_said(value) for value in values) for values in list(volumes)[:_NAMED]) + (
        ' …' if len(volumes) > _NAMED else ''
    )
    if not 1 <= frame <= len(volumes):
        asked = f'frame={frame} is not there' if frame else 'one must be chosen'
        raise refusal(
            where, f'{len(volumes)} volumes in one series ({name} {values}): {asked}: --frame 1 … {len(volumes)}'
        )
    return list(volumes.values())[frame - 1]


def _volumes(slices: Sequence[Slice]) -> tuple[str, dict[Values, list[Slice]]] | None:
    """Return by what the volumes differ, and their slices; None where each place is there once, or nothing differs."""
    oblique = len({tuple(np.round(item.axes.ravel(), 3)) for item in slices}) > 1
    if not oblique and _are_apart(slices):
        return None
    marks = [dict(item.marks) for item in slices]
    common = [name for name in dict.fromkeys(name for mark in marks for name in mark) if all(name in m for m in marks)]
    varied = [name for name in common if name != _ORDER and len({mark[name] for mark in marks}) > 1]
    if oblique:
        varied = [name for name in varied if name == 'StackID']
    for names in [*((name,) for name in varied), *combinations(varied[:_PAIRED], 2)]:
        volumes: dict[Values, list[Slice]] = {}
        for item, mark in zip(slices, marks, strict=True):
            volumes.setdefault(tuple(mark[name] for name in names), []).append(item)
        if all(len(volume) > 1 and _are_apart(volume) for volume in volumes.values()):
            ordered = sorted(volumes, key=lambda values: [(isinstance(value, str), value) for value in values])
            return ' and '.join(names), {values: volumes[values] for values in ordered}
    return None if oblique else _by_order(slices)


def _by_order(slices: Sequence[Slice]) -> tuple[str, dict[Values, list[Slice]]] | None:
    """Return the volumes of a series that InstanceNumber alone tells apart: volume by volume, or place by place.

    None where places are there unequally often, numbers repeat, or they run in neither of these orders: then nobody
    knows which slices belong together.
    """
    numbers = [value for item in slices for name, value in item.marks if name == _ORDER and isinstance(value, float)]
    if len(numbers) < len(slices) or len(set(numbers)) < len(slices):
        return None
    ordered = np.argsort(numbers).tolist()
    places: dict[tuple[int, ...], list[int]] = {}
    for index in ordered:
        where = np.round(slices[index].position / SAME_PLACE).astype(np.int64)
        places.setdefault(tuple(where.tolist()), []).append(index)
    count = len(slices) // len(places)
    if any(len(place) != count for place in places.values()):
        return None
    volumes = [[place[number] for place in places.values()] for number in range(count)]
    if not (_in_runs(ordered, volumes) or _in_runs(ordered, list(places.values()))):
        return None
    found: dict[Values, list[Slice]] = {}
    for number, volume in enumerate(volumes, start=1):
        found[float(number),] = [slices[index] for index in volume]
    return f'in the order of {_ORDER}', found


def _in_runs(ordered: list[int], groups: list[list[int]]) -> bool:
    """Whether each group, all of one size, stands together in this order."""
    size = len(groups[0])
    runs = {frozenset(ordered[at : at + size]) for at in range(0, len(ordered), size)}
    return runs == {frozenset(group) for group in groups}


def _are_apart(slices: Sequence[Slice]) -> bool:
    """Whether no two slices lie in one place and in one direction."""
    if not slices:
        return True
    rows = np.array([np.concatenate([item.position / SAME_PLACE, item.axes.ravel() * 1e3]) for item in slices])
    return len(np.unique(np.round(rows), axis=0)) == len(slices)


def _said(value: float | str) -> str:
    return f'{value:g}' if isinstance(value, float) else value


def _plain(value: Any) -> float | str:
    """Return a number where it is one, else text; '' for nothing."""
    if value is None or isinstance(value, (list, tuple)):
        return ''
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else ''
