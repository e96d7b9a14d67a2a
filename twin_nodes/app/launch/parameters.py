"""The `<param>` and `<remap>` elements of a node: typed values, parameter files, and how they reach the process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from twin_nodes.app.launch.element import Element
from twin_nodes.app.launch.substitution import is_literal, parse_template
from twin_nodes.app.launch.values import ParameterValue, as_bool, as_parameter, checked, load_yaml
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.yaml_text import parse_yaml
from twin_nodes.io.whole_files import read_text_whole

Perform = Callable[[str], str]


@dataclass(frozen=True)
class InlineParameters:
    """Parameters written in the launch file; given to the process as a temporary file, as `ros2 launch` does.

    Args:
        section: Fully qualified node name, or '/**'.
        values: Dotted name to value.
    """

    section: str
    values: Mapping[str, ParameterValue]

    def write(self, folder: Path) -> Path:
        """Write the parameter file and return its path."""
        content = {self.section: {'ros__parameters': dict(self.values)}}
        with tempfile.NamedTemporaryFile('w', prefix='launch_params_', dir=folder, delete=False) as file:
            yaml.safe_dump(content, file)
        return Path(file.name)

    def __str__(self) -> str:
        words = yaml.safe_dump(dict(self.values), default_flow_style=True, width=10**6).strip()
        return f'<{self.section}: {words}>'


@dataclass(frozen=True)
class FilledFile:
    """A parameter file whose `$(…)` were replaced, for `allow_substs`.

    Args:
        source: The file it was made of.
        text: The YAML text.
    """

    source: Path
    text: str

    def write(self, folder: Path) -> Path:
        """Write the filled file and return its path."""
        with tempfile.NamedTemporaryFile('w', prefix='launch_params_', dir=folder, delete=False) as file:
            file.write(self.text)
        return Path(file.name)

    def __str__(self) -> str:
        return f'<{self.source} with substitutions>'


Parameters = InlineParameters | FilledFile | Path


def node_parameters(element: Element, section: str, perform: Perform) -> list[Parameters]:
    """Evaluate the `<param>` children of a node, in order; later ones win.

    Raises:
        ConfigError: naming file, line and parameter.
    """
    found: list[Parameters] = []
    for param in element.children:
        if param.tag != 'param':
            continue
        if ('from' in param.attributes) == ('name' in param.attributes):
            raise param.fail('give either name or from')
        if 'from' in param.attributes:
            found.append(_file(param, perform))
            continue
        values = _named(param, '', perform)
        if found and isinstance(found[-1], InlineParameters):
            found[-1] = InlineParameters(section, {**found[-1].values, **values})
        else:
            found.append(InlineParameters(section, values))
    return found


def _named(param: Element, prefix: str, perform: Perform) -> dict[str, ParameterValue]:
    attributes = param.attributes
    if 'name' not in attributes:
        raise param.fail("attribute 'name' is missing")
    if 'from' in attributes or 'allow_substs' in attributes:
        raise param.fail('from and allow_substs do not go with name')
    key = prefix + perform(attributes['name'])
    if ('value' in attributes) == bool(param.children):
        raise param.fail(f'parameter {key!r} needs either a value or nested <param> elements')
    if 'value' not in attributes:
        if 'type' in attributes:
            raise param.fail('type does not go with nested <param> elements')
        nested: dict[str, ParameterValue] = {}
        for child in param.children:
            nested.update(_named(child, f'{key}.', perform))
        return nested
    try:
        return {key: evaluate(attributes['value'], attributes.get('type'), attributes.get('value-sep'), perform)}
    except ConfigError as error:
        raise param.fail(f'parameter {key!r}: {error}') from None


def evaluate(raw: str, type_name: str | None, separator: str | None, perform: Perform) -> ParameterValue:
    """Type a value the way launch does: YAML first, substitutions in its strings next, then their results by YAML.

    Raises:
        ConfigError: when the result is not a parameter value of that type.
    """
    if separator is not None:
        if type_name is not None and not type_name.startswith('list_of_'):
            raise ConfigError(f'value-sep makes a list, but type={type_name!r}')
        scalar = type_name.removeprefix('list_of_') if type_name else None
        return checked([_filled(_first(word, scalar), scalar, perform) for word in raw.split(separator)], raw)
    first = _first(raw, type_name)
    if isinstance(first, list):
        scalar = type_name.removeprefix('list_of_') if type_name and type_name != 'yaml' else None
        filled = checked([_filled(item, scalar, perform) for item in first], raw)
        return as_parameter(raw, type_name) if filled == first and scalar else filled
    return _filled(first, type_name, perform)


def _first(raw: str, type_name: str | None) -> Any:
    if type_name in (None, 'yaml', 'bool') or str(type_name).startswith('list_of_'):
        try:
            return load_yaml(raw) if raw else ''
        except ConfigError:
            return raw
    return raw


def _filled(value: Any, type_name: str | None, perform: Perform) -> Any:
    if not isinstance(value, str):
        return as_parameter(str(value).lower(), 'bool') if type_name == 'bool' else checked(value, str(value))
    if is_literal(parse_template(value)) and type_name in (None, 'yaml'):
        return perform(value)
    return as_parameter(perform(value), type_name)


def _file(param: Element, perform: Perform) -> Path | FilledFile:
    path = Path(perform(param.attributes['from']))
    if param.children or {'value', 'type', 'value-sep'} & set(param.attributes):
        raise param.fail('from goes alone: no value, type or children')
    if not path.is_file():
        raise param.fail(f'parameter file {path} does not exist')
    try:
        text = read_text_whole(path, 'parameter file')
        if not as_bool(perform(param.attributes.get('allow_substs', 'false'))):
            _check_file(path, parse_yaml(text, str(path)))
            return path.absolute()
        filled = perform(text)
        _check_file(path, parse_yaml(filled, str(path)))
    except ConfigError as error:
        raise param.fail(f'parameter file {error}') from None
    return FilledFile(path, filled)


def _check_file(path: Path, content: Any) -> None:
    """Refuse a file that rcl would refuse or ignore in silence."""
    if not isinstance(content, dict) or not content:
        raise ConfigError(f'{path}: expected a map of node names, each with ros__parameters')
    for node, section in content.items():
        if not _holds_parameters(section):
            raise ConfigError(f'{path}: section {node!r} has no ros__parameters; ROS would ignore it in silence')


def _holds_parameters(section: Any) -> bool:
    if not isinstance(section, dict):
        return False
    if 'ros__parameters' in section:
        return True
    return bool(section) and all(_holds_parameters(inner) for inner in section.values())


def remappings(element: Element, perform: Perform) -> list[tuple[str, str]]:
    """Evaluate the `<remap>` children of a node."""
    return [
        (perform(child.attributes['from']), perform(child.attributes['to']))
        for child in element.children
        if child.tag == 'remap'
    ]


def as_words(parameters: Sequence[Parameters], folder: Path) -> list[str]:
    """Write what must be written below `folder` and return the `--params-file` words."""
    words: list[str] = []
    for item in parameters:
        words += ['--params-file', str(item if isinstance(item, Path) else item.write(folder))]
    return words
