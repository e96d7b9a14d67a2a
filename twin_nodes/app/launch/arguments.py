"""The arguments that a launch file declares, found without running it: for `--show-args` and for unknown names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twin_nodes.app.launch.context import Context, Scope
from twin_nodes.app.launch.element import Element, read_launch_file
from twin_nodes.app.launch.environment import child_environment
from twin_nodes.app.launch.plan import LaunchArgument
from twin_nodes.app.launch.schema import check_element
from twin_nodes.app.launch.substitution import parse_template
from twin_nodes.core.errors import ConfigError

MAX_INCLUDES = 32


def declared_arguments(file: Path, environment: Mapping[str, str]) -> list[LaunchArgument]:
    """List the arguments of a file and of the files it includes, where their paths are known beforehand."""
    found: dict[str, LaunchArgument] = {}
    context = Context(Scope({}, child_environment(environment)))
    _declared(file.absolute(), context, frozenset(), found)
    return list(found.values())


def _declared(file: Path, context: Context, set_before: frozenset[str], found: dict[str, LaunchArgument]) -> None:
    if len(context.files) >= MAX_INCLUDES:
        return
    root = read_launch_file(file)
    check_element(root)
    context.files.append(file)
    for element in _all(root):
        attributes = element.attributes
        if element.tag == 'arg':
            choices = tuple(choice.attributes['value'] for choice in element.children)
            argument = LaunchArgument(
                attributes['name'],
                attributes.get('default'),
                attributes.get('description', ''),
                choices,
                element.where,
            )
            if argument.name not in set_before:
                found.setdefault(argument.name, argument)
        elif element.tag == 'include':
            inner = {child.attributes['name'] for child in element.children}
            try:
                path = Path(context.perform(parse_template(attributes['file'])))
                _declared(path.absolute(), context, set_before | inner, found)
            except ConfigError:
                continue  # perhaps never included; if it is, the evaluation says what is wrong
        if (
            element.tag in ('arg', 'let')
            and (default := attributes.get('default', attributes.get('value'))) is not None
        ):
            try:
                context.scope.variables.setdefault(attributes['name'], context.perform(parse_template(default)))
            except ConfigError:
                continue
    context.files.pop()


def _all(element: Element) -> list[Element]:
    """List the actions of a file, groups opened."""
    inner: list[Element] = []
    for child in element.children:
        inner += _all(child) if child.tag == 'group' else [child]
    return inner
