"""Writes a node's YAML from its config class: every parameter with its meaning, unit, bounds and value."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.core.config import Setting, build_config, settings_of
from twin_nodes.io.yaml_files import read_mapping

INDENT = '    '
ANY_NAMESPACE = '/**/'  # a bare name would hold for the root namespace only


def render(node_name: str, config_type: type[Any], values: Mapping[str, Any]) -> str:
    """Return the YAML of a node with all parameters listed.

    Args:
        node_name: Name of the node, the section of the file.
        config_type: Its config class.
        values: Values other than the defaults, by dotted key; all keys without a default must be here.

    Raises:
        ConfigError: for values that the config would refuse.
    """
    config = build_config(config_type, values, source=node_name)
    lines = [f'# {line}' for line in (config_type.__doc__ or '').strip().splitlines()[:1]]
    lines += [f'{ANY_NAMESPACE}{node_name}:', '  ros__parameters:']
    open_groups: list[str] = []
    for item in settings_of(config_type):
        *groups, key = item.key.split('.')
        while open_groups != groups[: len(open_groups)]:
            open_groups.pop()
        for name in groups[len(open_groups) :]:
            lines.append(f'{INDENT}{"  " * len(open_groups)}{name}:')
            open_groups.append(name)
        pad = f'{INDENT}{"  " * len(open_groups)}'
        lines.append(f'{pad}# {_comment(item)}')
        lines.append(f'{pad}{key}: {_scalar(_value(config, item.key))}')
    return '\n'.join(lines) + '\n'


def write(path: Path, node_name: str, config_type: type[Any], values: Mapping[str, Any]) -> None:
    """Write the YAML of a node."""
    path.write_text(render(node_name, config_type, values), encoding='utf-8')


def load(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the name of the node and the parameters of a file that holds one node."""
    ((section, body),) = read_mapping(path, 'parameters of one node').items()
    return str(section).removeprefix(ANY_NAMESPACE), dict(body['ros__parameters'])


def _value(config: Any, key: str) -> Any:
    for part in key.split('.'):
        config = getattr(config, part)
    return list(config) if isinstance(config, tuple) else config


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f'[{", ".join(_scalar(element) for element in value)}]'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in '.n') else f'{float(text):.1e}'.replace('e', '.0e', 0)
    if isinstance(value, str):
        return "''" if not value else yaml.safe_dump(value, default_style="'").strip()
    return str(value)


def _comment(item: Setting) -> str:
    info = item.info
    parts = [f'{info.meaning.rstrip(".")}.']
    bounds = ' … '.join('' if limit is None else f'{limit:g}' for limit in (info.minimum, info.maximum))
    extras = []
    if info.unit:
        extras.append(info.unit)
    if info.minimum is not None or info.maximum is not None:
        extras.append(bounds)
    if info.choices:
        extras.append(' | '.join(info.choices))
    if item.default is dataclasses.MISSING:
        extras.append('required')
    if extras:
        parts.append(f'[{", ".join(extras)}]')
    return ' '.join(parts)
