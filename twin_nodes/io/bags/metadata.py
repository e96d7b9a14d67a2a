"""metadata.yaml of a rosbag2 directory: version 9 written, every version read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.qos import OfferedQos, parse_qos

VERSION = 9
FILE_NAME = 'metadata.yaml'
STORAGES = ('mcap', 'sqlite3')
_Dumper = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)  # ten times faster where libyaml is compiled in
_NO_MESSAGE_NS = 2**63 - 1


@dataclass(frozen=True)
class Topic:
    """A recorded topic: its name, its type 'pkg/msg/Type', the type's hash and what its publishers offered."""

    name: str
    type_name: str
    type_hash: str = ''
    qos: tuple[OfferedQos, ...] = ()


@dataclass(frozen=True)
class Extent:
    """How much a bag holds: messages by topic and the first and last log time [ns]."""

    counts: dict[str, int]
    start_ns: int = _NO_MESSAGE_NS
    end_ns: int = _NO_MESSAGE_NS


def describe(file_name: str, topics: Iterable[Topic], extent: Extent) -> dict[str, Any]:
    """Build the entries of metadata.yaml for a bag of one file."""
    total = sum(extent.counts.values())
    start = {'nanoseconds_since_epoch': extent.start_ns if total else _NO_MESSAGE_NS}
    duration = {'nanoseconds': extent.end_ns - extent.start_ns if total else 0}
    return {
        'version': VERSION,
        'storage_identifier': 'mcap',
        'duration': duration,
        'starting_time': start,
        'message_count': total,
        'topics_with_message_count': [_entry(topic, extent.counts.get(topic.name, 0)) for topic in topics],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [file_name],
        'files': [
            {'path': file_name, 'starting_time': dict(start), 'duration': dict(duration), 'message_count': total}
        ],
        'custom_data': None,
        'ros_distro': os.environ.get('ROS_DISTRO', 'kilted'),
    }


def _entry(topic: Topic, count: int) -> dict[str, Any]:
    return {
        'topic_metadata': {
            'name': topic.name,
            'type': topic.type_name,
            'serialization_format': 'cdr',
            'offered_qos_profiles': [profile.as_dict() for profile in topic.qos],
            'type_description_hash': topic.type_hash,
        },
        'message_count': count,
    }


def inner_text(entries: dict[str, Any]) -> str:
    """Return the text of the metadata record `rosbag2` inside the MCAP file."""
    return _text(entries)


def _text(entries: dict[str, Any]) -> str:
    return yaml.dump(entries, Dumper=_Dumper, sort_keys=False)


def write_metadata(directory: Path, entries: dict[str, Any]) -> None:
    """Write metadata.yaml so that at every moment either the old or the new one is there."""
    partial = directory / f'.{FILE_NAME}.partial'
    partial.write_text(_text({'rosbag2_bagfile_information': entries}), encoding='utf-8')
    partial.replace(directory / FILE_NAME)


def read_metadata(directory: Path) -> dict[str, Any] | None:
    """Read metadata.yaml, or None when there is none or it is unusable: the files of the bag tell the same.

    Raises:
        InputError: The bag is stored in a form that is not read here.
    """
    try:
        loaded = yaml.safe_load((directory / FILE_NAME).read_text(encoding='utf-8'))
        entries = loaded['rosbag2_bagfile_information']
        storage, compression = str(entries['storage_identifier']), str(entries.get('compression_format') or '')
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return None
    if storage not in STORAGES:
        raise InputError(
            f'{directory.name} is stored as {storage}, read are {" and ".join(STORAGES)}: {converted(directory)}'
        )
    if compression.lower() not in ('', 'none', 'zstd'):
        raise InputError(f'{directory.name} is compressed as {compression}, read is zstd: {converted(directory)}')
    return entries


def converted(bag: Path) -> str:
    """Return what to type for a bag that is stored in another form."""
    return f'convert it with `rosbags-convert --src {bag} --dst <new> --dst-storage mcap`'


def full_type(name: str) -> str:
    """Return the name of a type with its folder, `pkg/msg/Type`, of one that was written without."""
    return name if name.count('/') != 1 else name.replace('/', '/msg/')


def topics_of(entries: dict[str, Any] | None) -> dict[str, Topic]:
    """Return the topics that metadata.yaml names; what is unusable is left out."""
    topics = {}
    for entry in (entries or {}).get('topics_with_message_count') or []:
        try:
            data = entry['topic_metadata']
            hash_text = str(data.get('type_description_hash') or '')
            topics[data['name']] = Topic(
                data['name'], data['type'], hash_text, parse_qos(data.get('offered_qos_profiles'))
            )
        except (TypeError, KeyError, AttributeError):
            continue
    return topics
