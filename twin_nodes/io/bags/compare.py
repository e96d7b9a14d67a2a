"""Compares two bags topic by topic: the sequences of decoded messages, every field bit for bit.

Times of reception do not count, nor does the order between topics: both differ from run to run. Transforms are
compared child by child, for how many of them share a message is chance; of static ones, which are sent again with each
new one, the last counts. What runs by the wall clock (diagnostics, logs, /clock) is left out.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.io.bags.fields import decoded_fields
from twin_nodes.io.bags.reader import BagReader

TF, TF_STATIC = '/tf', '/tf_static'
BY_WALL_CLOCK = re.compile(r'^/(diagnostics|rosout|clock|parameter_events)$|/progress$')
Sequences = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Difference:
    """The first difference of one topic.

    Args:
        topic: Its name; for transforms with the child frame.
        index: Which message, from 0.
        field: Path of the field; '' when the message is in one bag only.
        first: The value in the first bag.
        second: The value in the second bag.
    """

    topic: str
    index: int
    field: str
    first: Any
    second: Any

    def __str__(self) -> str:
        where = f'{self.topic}, message {self.index}'
        if not self.field:
            return f'{where}: {self.first} messages in the first bag, {self.second} in the second'
        return f'{where}, {self.field}: {_number(self.first)} and {_number(self.second)}'


@dataclass(frozen=True)
class Comparison:
    """What two bags have in common.

    Args:
        counts: Messages compared, by topic; for transforms by child frame too.
        differences: The first difference of each topic that differs; none when all is the same.
    """

    counts: dict[str, int]
    differences: tuple[Difference, ...]


def compare_bags(first: Path | str, second: Path | str) -> Comparison:
    """Compare two bags.

    Raises:
        InputError: One of them is no bag, or holds a message that does not fit its type.
    """
    with BagReader(first) as one, BagReader(second) as other:
        return compare_sequences(sequences(one), sequences(other))


def compare_sequences(first: Sequences, second: Sequences) -> Comparison:
    """Compare the sequences of two bags, or of two passes of one."""
    found = []
    for topic in sorted(first.keys() | second.keys()):
        difference = _difference(topic, first.get(topic, []), second.get(topic, []))
        if difference is not None:
            found.append(difference)
    counts = {topic: len(rows) for topic, rows in first.items()}
    return Comparison(counts, tuple(found))


def sequences(reader: BagReader) -> Sequences:
    """Return the decoded messages of a bag by topic, in the order in which they came; transforms by child."""
    found: Sequences = {}
    topics = [name for name in reader.topics if not BY_WALL_CLOCK.search(name)]
    for message in reader.messages(topics):
        for key, fields in _parts(message.topic, reader.decode(message)):
            if message.topic == TF_STATIC:
                found[key] = [fields]
            else:
                found.setdefault(key, []).append(fields)
    return found


def _parts(topic: str, message: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if topic not in (TF, TF_STATIC):
        yield topic, decoded_fields(message)
        return
    for transform in message.transforms:
        yield f'{topic} {transform.child_frame_id}', decoded_fields(transform)


def _difference(topic: str, first: list[Any], second: list[Any]) -> Difference | None:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return Difference(topic, index, *_field(one, other, ''))
    if len(first) != len(second):
        return Difference(topic, min(len(first), len(second)), '', len(first), len(second))
    return None


def _field(one: Any, other: Any, path: str) -> tuple[str, Any, Any]:
    """Return path and values of the first field that differs."""
    if _is_message(one) and _is_message(other) and one[0] == other[0]:
        for (name, value), (_, counterpart) in zip(one[1], other[1], strict=True):
            if value != counterpart:
                return _field(value, counterpart, f'{path}.{name}' if path else name)
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other) and not _is_numbers(one):
        for index, (value, counterpart) in enumerate(zip(one, other, strict=True)):
            if value != counterpart:
                return _field(value, counterpart, f'{path}[{index}]')
    if isinstance(one, tuple) and isinstance(other, tuple) and _is_numbers(one) and _is_numbers(other):
        return _element(one, other, path)
    return path or 'type', one, other


def _element(one: tuple[str, bytes], other: tuple[str, bytes], path: str) -> tuple[str, Any, Any]:
    """Return path and values of the first number that differs, or how many there are where that does."""
    first, second = (np.frombuffer(data, kind) for kind, data in (one, other))
    if first.dtype != second.dtype or len(first) != len(second):
        return f'{path} (numbers)', f'{len(first)} {first.dtype}', f'{len(second)} {second.dtype}'
    size = first.dtype.itemsize
    bits = [np.frombuffer(data, np.uint8).reshape(-1, size) for _, data in (one, other)]
    at = int(np.argmax((bits[0] != bits[1]).any(axis=1)))
    return f'{path}[{at}]', first[at].item(), second[at].item()


def _is_message(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], tuple)


def _is_numbers(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], bytes)


def _number(value: Any) -> Any:
    return struct.unpack('<d', value)[0] if isinstance(value, bytes) and len(value) == 8 else value
