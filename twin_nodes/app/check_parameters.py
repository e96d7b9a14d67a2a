"""What `twin check` says of parameter files: each section against the config class of its node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import ConfigError

OF_ROS = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


def inspect_parameters(file: Path, content: dict[str, Any], lines: dict[tuple[str, ...], int]) -> str:
    """Check each section of a parameter file against the config class of its node."""
    checked = []
    for section, body in content.items():
        line = lines.get((section,), 1)
        if not isinstance(body, dict) or set(body) != {'ros__parameters'}:
            raise ConfigError(f'{file}:{line}: section {section!r} must hold ros__parameters and nothing else')
        values = body['ros__parameters']
        if not isinstance(values, dict):
            raise ConfigError(f'{file}:{line}: ros__parameters of {section!r} must be a map of keys')
        node = _node_of(file, section)
        if node is None:
            checked.append(f'{section} (not a node of ours, keys not checked)')
            continue
        _build(file, section, node, values, lines)
        checked.append(f'{section} → {node}')
    return f'parameters, good: {", ".join(checked)}'


def _node_of(file: Path, section: str) -> str | None:
    """Guess the node of a section: by its name, else by the file's name."""
    from twin_nodes.ros.registry import CONFIGS

    name = section.strip('/').rsplit('/', 1)[-1]
    for candidate in (name, f'{name}_node', file.stem, f'{file.stem}_node', f'{file.stem.split("_")[0]}_node'):
        if candidate in CONFIGS:
            return candidate
    return None


def _build(file: Path, section: str, node: str, values: dict[str, Any], lines: dict[tuple[str, ...], int]) -> None:
    from twin_nodes.core.config import build_config
    from twin_nodes.ros.registry import config_type

    given = {key: value for key, value in values.items() if key.split('.')[0] not in OF_ROS}
    for path, line in lines.items():
        value: Any = given
        for part in path[2:]:
            value = value.get(part) if isinstance(value, dict) else None
        if path[:2] == (section, 'ros__parameters') and value is None and len(path) > 2 and _is_null(given, path[2:]):
            raise ConfigError(f'{file}:{line}: {".".join(path[2:])} has no value')
    try:
        build_config(config_type(node), given)
    except ConfigError as error:
        raise ConfigError(f'{file}{_line_of(str(error), section, lines)}: {node}: {error}', code=error.code) from None


def _is_null(values: dict[str, Any], path: tuple[str, ...]) -> bool:
    dotted = '.'.join(path)
    if dotted in values:
        return values[dotted] is None
    inner: Any = values
    for part in path:
        if not isinstance(inner, dict) or part not in inner:
            return False
        inner = inner[part]
    return inner is None


def _line_of(message: str, section: str, lines: dict[tuple[str, ...], int]) -> str:
    """Find the line of the key that a message names; the longest key that occurs in it wins."""
    best: tuple[int, int] | None = None
    for path, line in lines.items():
        key = '.'.join(path[2:])
        named = (
            path[:2] == (section, 'ros__parameters')
            and key
            and re.search(rf"(^|[\s'])({re.escape(key)})([\s'=]|$)", message)
        )
        if named and (best is None or len(key) > best[0]):
            best = (len(key), line)
    return f':{best[1]}' if best else f':{lines.get((section,), 1)}'
