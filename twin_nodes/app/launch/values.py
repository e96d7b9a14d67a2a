"""Types of launch values: YAML scalars and lists, booleans of conditions, parameters with a `type` attribute."""

from __future__ import annotations

from typing import Any

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.yaml_text import parse_yaml

SCALARS: dict[str, type] = {'str': str, 'bool': bool, 'float': float, 'int': int}
TYPE_NAMES = ('str', 'bool', 'float', 'int', 'list_of_str', 'list_of_bool', 'list_of_float', 'list_of_int', 'yaml')

ParameterValue = bool | int | float | str | list[Any]


def as_condition(text: str) -> bool:
    """Read the value of `if` and `unless`: true, 1, false or 0 in any case."""
    word = text.strip().lower()
    if word in ('true', '1'):
        return True
    if word in ('false', '0'):
        return False
    raise ConfigError(f'{text!r} is not a condition: expected true, false, 1 or 0')


def as_bool(text: str) -> bool:
    """Read a boolean attribute or argument: the words of YAML, and 1 and 0."""
    value = load_yaml({'1': 'true', '0': 'false'}.get(text, text))
    if not isinstance(value, bool):
        raise ConfigError(f'{text!r} is not a boolean: expected true or false')
    return value


def as_seconds(text: str) -> float:
    """Read a duration that must not be negative [s]."""
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f'{text!r} is not a number of seconds') from None
    if not 0.0 <= value < float('inf'):
        raise ConfigError(f'{text} s: expected a finite number of seconds from 0')
    return value


def as_parameter(text: str, type_name: str | None) -> ParameterValue:
    """Type a parameter the way launch does: by YAML, or as the `type` attribute says.

    Args:
        text: The value with its substitutions performed.
        type_name: The `type` attribute, or None.

    Raises:
        ConfigError: when the text is not of that type, or is null, a map, an empty or a mixed list.
    """
    if type_name is not None and type_name not in TYPE_NAMES:
        raise ConfigError(f'type={type_name!r} is none of {", ".join(TYPE_NAMES)}{nearest(type_name, TYPE_NAMES)}')
    if type_name == 'str':
        return text
    if type_name == 'bool':
        return as_bool(text)
    if type_name in ('int', 'float'):
        try:
            return SCALARS[type_name](text)  # type: ignore[no-any-return]
        except ValueError:
            raise ConfigError(f'{text!r} is not of type {type_name}') from None
    value = load_yaml(text) if text else ''
    if type_name is None or type_name == 'yaml':
        return checked(value, text)
    element = SCALARS[type_name.removeprefix('list_of_')]
    if not isinstance(value, list) or not all(type(item) is element for item in value):
        raise ConfigError(f'{text!r} is not a {type_name.replace("_", " ")}')
    return checked(value, text)


def checked(value: Any, text: str) -> ParameterValue:
    """Refuse what a ROS parameter cannot hold."""
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        if len(kinds) == 1 and kinds <= set(SCALARS.values()):
            return value
        raise ConfigError(f'{text!r}: a list parameter must hold at least one value, all of one type')
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f'{text!r} is a {type(value).__name__} in YAML, which a parameter cannot be; quote it for text')


def load_yaml(text: str) -> Any:
    """Read text as YAML.

    Raises:
        ConfigError: when it is none.
    """
    try:
        return parse_yaml(text, repr(text[:200]))
    except ConfigError as error:
        raise ConfigError(f'{error}; use type="str" for text') from None
