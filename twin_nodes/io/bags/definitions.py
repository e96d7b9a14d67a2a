"""The text and the hash of message types: from the installed interface packages, else from rosbags' store."""

import json
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

from twin_nodes.core.errors import InputError

_SEPARATOR = '=' * 80
_FIELD = re.compile(r'^[ \t]*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?[ \t]+[A-Za-z]\w*', re.MULTILINE)
_PLAIN = re.compile(r'bool|byte|char|u?int(8|16|32|64)|float(32|64)|w?string')


@lru_cache(maxsize=512)
def definition_text(type_name: str) -> str:
    """Return the definition of a type with those of all it contains, as the recorder of rosbag2 joins them.

    Args:
        type_name: 'pkg/msg/Type'.

    Raises:
        InputError: Neither an installed package nor rosbags knows the type.
    """
    path = _definition_path(type_name)
    if path is None:
        return _from_rosbags(type_name)[0]
    parts: list[str] = []
    _collect(type_name, parts, set())
    return '\n'.join(parts)


@lru_cache(maxsize=512)
def type_hash(type_name: str) -> str:
    """Return the REP-2016 hash of a type ('RIHS01_…').

    Raises:
        InputError: Neither an installed package nor rosbags knows the type.
    """
    path = _definition_path(type_name)
    description = path.with_suffix('.json') if path is not None else None
    if description is None or not description.is_file():
        return _from_rosbags(type_name)[1]
    hashes = json.loads(description.read_text(encoding='utf-8'))['type_hashes']
    return next(entry['hash_string'] for entry in hashes if entry['type_name'] == type_name)


def _collect(type_name: str, parts: list[str], seen: set[str]) -> None:
    path = _definition_path(type_name)
    if path is None:
        raise InputError(f'{type_name} is needed by a recorded type, but its .msg file is not installed')
    text = path.read_text(encoding='utf-8')
    if parts:
        package, _, name = type_name.split('/')
        text = f'{_SEPARATOR}\nMSG: {package}/{name}\n{text}'
    parts.append(text)
    for dependency in _dependencies(path.read_text(encoding='utf-8'), type_name.split('/')[0]):
        if dependency not in seen:
            seen.add(dependency)
            _collect(dependency, parts, seen)


def _dependencies(text: str, package: str) -> list[str]:
    names = {name for name in _FIELD.findall(text) if not _PLAIN.fullmatch(name)}
    return sorted(_full_name(name, package) for name in names)


def _full_name(name: str, package: str) -> str:
    *folders, last = name.split('/')
    return f'{folders[0] if folders else package}/msg/{last}'


@lru_cache(maxsize=512)
def _definition_path(type_name: str) -> Path | None:
    if not re.fullmatch(r'[A-Za-z]\w*/msg/[A-Za-z]\w*', type_name):
        raise InputError(f"'{type_name}' is not the name of a message type such as geometry_msgs/msg/PoseStamped")
    package, _, name = type_name.split('/')
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    for prefix in filter(None, prefixes):
        path = Path(prefix) / 'share' / package / 'msg' / f'{name}.msg'
        if path.is_file():
            return path
    return None


def _from_rosbags(type_name: str) -> tuple[str, str]:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.LATEST)
    if type_name not in store.types:
        raise InputError(
            f'{type_name} is known neither to an installed interface package nor to rosbags: install its package'
        )
    return store.generate_msgdef(type_name, ros_version=2)[0], store.hash_rihs01(type_name)
