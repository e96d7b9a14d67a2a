"""Settings: a parameter exists once, as a field of a frozen dataclass with unit, bounds and meaning."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from twin_nodes.core.errors import ConfigError

C = TypeVar('C')

SCALARS = (bool, int, float, str)


@dataclasses.dataclass(frozen=True)
class SettingInfo:
    """What is known of a setting besides its type and default.

    Args:
        meaning: One sentence.
        unit: SI unit, or '' for none.
        minimum: Smallest value allowed, or None.
        maximum: Largest value allowed, or None.
        choices: The values allowed for a string, or ().
    """

    meaning: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


def setting(
    meaning: str,
    default: Any = dataclasses.MISSING,
    *,
    unit: str = '',
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field of a config dataclass; without a default the node refuses to start until it is given."""
    info = SettingInfo(meaning, unit, minimum, maximum, choices)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata={'setting': info})
    return dataclasses.field(default=default, metadata={'setting': info})


def group(config_type: type[C]) -> Any:
    """Declare a nested group of settings, written `group.key` in YAML."""
    return dataclasses.field(default_factory=config_type)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One flattened setting of a config type.

    Args:
        key: Dotted name, as in YAML and ROS.
        kind: bool, int, float, str, or tuple[X, ...] of one of them.
        default: The default, or dataclasses.MISSING.
        info: Unit, bounds, meaning.
    """

    key: str
    kind: Any
    default: Any
    info: SettingInfo

    @property
    def is_list(self) -> bool:
        """Whether the setting holds a list."""
        return typing.get_origin(self.kind) is tuple

    @property
    def scalar(self) -> type:
        """The type of the value, or of each element of a list."""
        return typing.get_args(self.kind)[0] if self.is_list else self.kind  # type: ignore[no-any-return]


def settings_of(config_type: type[Any], prefix: str = '') -> list[Setting]:
    """List all settings of a config type, groups flattened with dots.

    Raises:
        TypeError: A field that is a union.
    """
    hints = typing.get_type_hints(config_type)
    found: list[Setting] = []
    for field in dataclasses.fields(config_type):
        kind = hints[field.name]
        key = f'{prefix}{field.name}'
        if dataclasses.is_dataclass(kind):
            found.extend(settings_of(typing.cast(type, kind), f'{key}.'))
            continue
        if isinstance(kind, types.UnionType):
            raise TypeError(f'{config_type.__name__}.{field.name}: unions are not settings')
        found.append(Setting(key, kind, field.default, field.metadata.get('setting', SettingInfo(''))))
    return found


def nearest(key: str, keys: typing.Iterable[str]) -> str:
    """Return the most similar valid key as a hint, ' (did you mean …?)' or ''."""
    close = difflib.get_close_matches(key, list(keys), n=1, cutoff=0.5)
    return f'; did you mean {close[0]!r}?' if close else ''


def _check_scalar(item: Setting, value: Any, where: str) -> Any:
    kind = item.scalar
    label = f'{where}{item.key}={value!r}'
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f'{label}: expected {kind.__name__}, got {type(value).__name__}{_as_number(item, value)}')
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f'{label} is not finite')
    unit = f' {item.info.unit}' if item.info.unit else ''
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if item.info.minimum is not None and value < item.info.minimum:
            raise ConfigError(f'{label}{unit} is below its minimum {item.info.minimum}{unit}')
        if item.info.maximum is not None and value > item.info.maximum:
            raise ConfigError(f'{label}{unit} is above its maximum {item.info.maximum}{unit}')
    if item.info.choices and value not in item.info.choices:
        raise ConfigError(f'{label} is none of {", ".join(item.info.choices)}{nearest(str(value), item.info.choices)}')
    return value


def _as_number(item: Setting, value: Any) -> str:
    """Hint at the number that a text stands for: YAML takes 5e-2 and 50 ms for text."""
    if item.scalar not in (int, float) or not isinstance(value, str):
        return ''
    with contextlib.suppress(ValueError):
        return f'; write {float(value)!r}'
    return f'; write a number of {item.info.unit}, without the unit' if item.info.unit else ''


def _nested(mapping: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_nested(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def build_config(config_type: type[C], values: Mapping[str, Any], *, source: str = '') -> C:
    """Build a config from nested or dotted values, refusing unknown keys, wrong types and values out of bounds.

    Args:
        config_type: A frozen dataclass whose fields come from `setting` and `group`.
        values: Nested mapping, or dotted keys.
        source: File or node name, for the error message.

    Raises:
        ConfigError: naming source, key, value, limit and the nearest valid key.
    """
    where = f'{source}: ' if source else ''
    checked = check_values(config_type, values, source=source)
    for item in settings_of(config_type):
        if item.key not in checked and item.default is dataclasses.MISSING:
            unit = f' [{item.info.unit}]' if item.info.unit else ''
            raise ConfigError(f'{where}{item.key}{unit} has no default and must be given: {item.info.meaning}')
    try:
        return _assemble(config_type, checked, '')
    except ConfigError as error:
        raise ConfigError(f'{where}{error}', code=error.code) from None


def check_values(
    config_type: type[Any], values: Mapping[str, Any], *, source: str = '', under: str = ''
) -> dict[str, Any]:
    """Return some values of a config by dotted key, refusing unknown keys, wrong types and values out of bounds.

    Args:
        config_type: As for `build_config`.
        values: Nested mapping, or dotted keys.
        source: File or node name, for the error message.
        under: Where the values stand in it, such as `both.`.

    Raises:
        ConfigError: naming source, key, value, limit and the nearest valid key.
    """
    where = f'{source}: ' if source else ''
    known = {f'{under}{item.key}': dataclasses.replace(item, key=f'{under}{item.key}')
             for item in settings_of(config_type)}  # fmt: skip
    checked: dict[str, Any] = {}
    for key, value in _nested(values, under).items():
        if key not in known:
            raise ConfigError(f'{where}unknown key {key!r}{nearest(key, known)}')
        item = known[key]
        if not item.is_list:
            checked[key.removeprefix(under)] = _check_scalar(item, value, where)
            continue
        if isinstance(value, str) or not hasattr(value, '__iter__'):
            raise ConfigError(f'{where}{key}={value!r}: expected a list')
        checked[key.removeprefix(under)] = tuple(_check_scalar(item, element, where) for element in value)
    return checked


def _assemble(config_type: type[C], checked: Mapping[str, Any], prefix: str) -> C:
    hints = typing.get_type_hints(config_type)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(config_type):  # type: ignore[arg-type]
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            arguments[field.name] = _assemble(typing.cast(type, kind), checked, f'{prefix}{field.name}.')
        elif f'{prefix}{field.name}' in checked:
            arguments[field.name] = checked[f'{prefix}{field.name}']
    return config_type(**arguments)
