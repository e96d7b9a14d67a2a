"""Parameters to frozen configs: the dataclass declares them to ROS, and nothing unknown gets past."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from twin_nodes.core.config import Setting, build_config, settings_of
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.yaml_text import parse_yaml

C = TypeVar('C')

_OF_ROS = ('use_sim_time', 'start_type_description_service')
_PREFIXES_OF_ROS = ('qos_overrides.',)
_LARGEST = 1e300


def declare_config(node: Node, config_type: type[C]) -> C:
    """Build the node's config from its parameter overrides and declare every setting to ROS, read-only.

    Raises:
        ConfigError: one line that names node, file, key, value, limit and the nearest valid key.
    """
    source = _source(node)
    given = {
        name: () if parameter.value is None else parameter.value  # `[]` in YAML has no type and arrives as nothing
        for name, parameter in node._parameter_overrides.items()  # rclpy offers no public view of the overrides
        if name not in _OF_ROS and not name.startswith(_PREFIXES_OF_ROS)
    }
    config = build_config(config_type, given, source=source)
    for item in settings_of(config_type):
        value = _value(config, item.key)
        node.declare_parameter(
            item.key, list(value) if item.is_list else value, _descriptor(item, value), ignore_override=True
        )
    return config


def _value(config: Any, key: str) -> Any:
    for part in key.split('.'):
        config = getattr(config, part)
    return config


def _descriptor(item: Setting, value: Any) -> ParameterDescriptor:
    unit = f' [{item.info.unit}]' if item.info.unit else ''
    descriptor = ParameterDescriptor(description=f'{item.info.meaning}{unit}', read_only=True)
    descriptor.additional_constraints = f'one of: {", ".join(item.info.choices)}' if item.info.choices else ''
    descriptor.dynamic_typing = item.is_list and not value  # an empty list has no type of its own
    low, high = item.info.minimum, item.info.maximum
    if not item.is_list and (low is not None or high is not None):
        if item.scalar is float:
            descriptor.floating_point_range = [
                FloatingPointRange(
                    from_value=-_LARGEST if low is None else float(low),
                    to_value=_LARGEST if high is None else float(high),
                )
            ]
        elif item.scalar is int:
            descriptor.integer_range = [
                IntegerRange(
                    from_value=-(2**62) if low is None else int(low), to_value=2**62 if high is None else int(high)
                )
            ]
    return descriptor


def _source(node: Node) -> str:
    """Name the parameter files behind this node, and refuse a file whose sections all miss it."""
    files = parameter_files(sys.argv)
    for path in files:
        sections = _sections(path)
        name = node.get_fully_qualified_name()
        if sections and not any(names_node(section, name) for section in sections):
            raise ConfigError(
                f'{path}: its sections {", ".join(sections)} do not name this node '
                f'{name!r}; ROS would ignore the file in silence'
            )
    where = ', '.join(files)
    return f'{where} (node {node.get_name()})' if where else f'node {node.get_name()}'


def names_node(section: str, name: str) -> bool:
    """Whether a section of a parameter file means a node, by its fully qualified name, as rcl decides it.

    `*` stands for one part of the name and `**` for any number of them.
    """
    parts = {'*': '/[^/]+', '**': '(/[^/]+)*'}
    pattern = ''.join(parts.get(part, f'/{re.escape(part)}') for part in section.removeprefix('/').split('/'))
    return re.fullmatch(pattern, name) is not None


def parameter_files(argv: Sequence[str]) -> list[str]:
    """List the files given by --params-file on a ROS command line."""
    return [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == '--params-file']


def _sections(path: str) -> list[str]:
    if Path(path).name.startswith('launch_params_'):  # written by ros2 launch for in-line parameters
        return []
    try:
        content = parse_yaml(Path(path).read_bytes(), path)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read: {error.strerror or error}') from None
    return [str(key) for key in content] if isinstance(content, dict) else []
