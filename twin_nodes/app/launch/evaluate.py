"""Evaluates a launch file: walks its elements in order and collects the processes, as ros2/launch would start them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from twin_nodes.app.launch import packages
from twin_nodes.app.launch.arguments import MAX_INCLUDES, declared_arguments
from twin_nodes.app.launch.context import Context, Scope
from twin_nodes.app.launch.element import Element, LaunchFileError, read_launch_file
from twin_nodes.app.launch.environment import child_environment, for_program
from twin_nodes.app.launch.parameters import evaluate, node_parameters, remappings
from twin_nodes.app.launch.plan import LaunchPlan, ProcessPlan
from twin_nodes.app.launch.schema import check_element
from twin_nodes.app.launch.substitution import Text, parse_template
from twin_nodes.app.launch.values import as_bool, as_condition, as_seconds
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
_NAMESPACE = re.compile(r'/|(/[A-Za-z_][A-Za-z0-9_]*)+')
_OUTPUTS = ('screen', 'log', 'both', 'own_log', 'full')


def plan_launch(file: Path, arguments: Mapping[str, str], environment: Mapping[str, str]) -> LaunchPlan:
    """Evaluate a launch file into the processes that it starts.

    Args:
        file: Launch XML file.
        arguments: Values of its arguments.
        environment: The user's environment; completed with our defaults.

    Raises:
        ConfigError: naming file, line, element and the nearest valid name.
    """
    declared = declared_arguments(file, environment)
    names = [argument.name for argument in declared]
    for name in arguments:
        if name not in names:
            listing = ', '.join(names) or 'none'
            raise ConfigError(f'{file}: no argument {name!r}{nearest(name, names)} (it has: {listing})')
    walk = _Walk(Context(Scope(dict(arguments), child_environment(environment))))
    walk.include(file.absolute())
    return LaunchPlan(file, tuple(declared), tuple(walk.processes), tuple(walk.messages))


class _Walk:
    """One evaluation: what has been found so far."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.processes: list[ProcessPlan] = []
        self.messages: list[str] = []

    def _text(self, raw: str) -> str:
        return self.context.perform(parse_template(raw))

    def include(self, file: Path) -> None:
        """Evaluate all actions of a file in the present scope, as launch does (an include opens none).

        `$(dirname)` is always that of the file it stands in; launch 3.7 gives that of the last included file instead.
        """
        if len(self.context.files) >= MAX_INCLUDES:
            raise ConfigError(f'{file}: files include each other more than {MAX_INCLUDES} deep')
        root = read_launch_file(file)
        check_element(root)
        self.context.files.append(file)
        self._actions(root)
        self.context.files.pop()

    def _actions(self, parent: Element) -> None:
        for element in parent.children:
            try:
                if self._wanted(element):
                    self._act(element)
            except LaunchFileError:
                raise
            except ConfigError as error:
                raise element.fail(str(error)) from None

    def _wanted(self, element: Element) -> bool:
        if 'if' in element.attributes:
            return as_condition(self._text(element.attributes['if']))
        if 'unless' in element.attributes:
            return not as_condition(self._text(element.attributes['unless']))
        return True

    def _act(self, element: Element) -> None:
        scope = self.context.scope
        values = {name: value for name, value in element.attributes.items() if name not in ('if', 'unless')}
        match element.tag:
            case 'arg':
                self._argument(element)
            case 'let':
                scope.variables[self._text(values['name'])] = self._text(values['value'])
            case 'group':
                self._group(element)
            case 'include':
                self._include(element)
            case 'node':
                self._node(element)
            case 'executable':
                self._executable(element)
            case 'push_ros_namespace' | 'push-ros-namespace':
                scope.namespace = _namespace(scope.namespace, self._text(values['namespace']))
            case 'set_env':
                scope.environment[self._text(values['name'])] = self._text(values['value'])
            case 'unset_env':
                scope.environment.pop(self._text(values['name']), None)
            case 'set_parameter':
                value = evaluate(values['value'], None, None, self._text)
                scope.parameters.append((self._text(values['name']), value))
            case 'set_remap':
                scope.remaps.append((self._text(values['from']), self._text(values['to'])))
            case 'log':
                self.messages.append(self._text(values['message']))

    def _argument(self, element: Element) -> None:
        name = element.attributes['name']
        default = element.attributes.get('default')
        variables = self.context.scope.variables
        if name not in variables:
            if default is None:
                what = element.attributes.get('description', 'no description')
                raise element.fail(f'argument {name!r} must be given: {what}; type {name}:=VALUE')
            variables[name] = self._text(default)
        choices = [choice.attributes['value'] for choice in element.children]
        if choices and variables[name] not in choices:
            hint = nearest(variables[name], choices)
            raise element.fail(f'argument {name}:={variables[name]!r} is none of {", ".join(choices)}{hint}')

    def _group(self, element: Element) -> None:
        scoped = as_bool(element.attributes.get('scoped', 'true'))
        if scoped:
            self.context.push()
        self._actions(element)
        if scoped:
            self.context.pop()

    def _include(self, element: Element) -> None:
        file = Path(self._text(element.attributes['file'])).absolute()
        for child in element.children:
            name, value = self._text(child.attributes['name']), self._text(child.attributes['value'])
            self.context.scope.variables[name] = value
        if not file.is_file():
            raise element.fail(f'{file} does not exist')
        self.include(file)

    def _words(self, raw: str) -> list[str]:
        """Split a command line: text as a shell would, a substitution never (its result may hold spaces)."""
        words: list[str] = []
        joined = False
        for part in parse_template(raw):
            text = part.text if isinstance(part, Text) else self.context.perform((part,))
            pieces = _shell_words(text) if isinstance(part, Text) else [text]
            starts_apart = isinstance(part, Text) and text[:1].isspace()
            if pieces and words and joined and not starts_apart:
                words[-1] += pieces.pop(0)
            words += pieces
            joined = not (isinstance(part, Text) and text[-1:].isspace())
        return words

    def _process(self, element: Element, name: str, program: list[str]) -> ProcessPlan:
        """Fill in what nodes and executables have in common."""
        attributes = element.attributes
        if attributes.get('on_exit', 'shutdown') != 'shutdown':
            raise element.fail(f'on_exit={attributes["on_exit"]!r}: only shutdown is known')
        output = self._text(attributes.get('output', 'log'))
        if output not in _OUTPUTS:
            raise element.fail(f'output={output!r} is none of {", ".join(_OUTPUTS)}{nearest(output, _OUTPUTS)}')
        environment = dict(self.context.scope.environment)
        for child in element.children:
            if child.tag == 'env':
                environment[self._text(child.attributes['name'])] = self._text(child.attributes['value'])
        retries = attributes.get('respawn_max_retries', '-1')
        if not re.fullmatch(r'-?\d{1,9}', retries):
            raise element.fail(f'respawn_max_retries={retries!r} is not a whole number')
        return ProcessPlan(
            label=f'{name}-{len(self.processes) + 1}',
            where=element.where,
            program=(*self._words(attributes.get('launch-prefix', '')), *program),
            environment=for_program(environment, program[0]),
            cwd=self._text(attributes['cwd']) if 'cwd' in attributes else None,
            respawn=as_bool(self._text(attributes.get('respawn', 'false'))),
            respawn_delay_s=as_seconds(attributes.get('respawn_delay', '0')),
            respawn_max_retries=int(retries),
            shutdown_on_exit='on_exit' in attributes,
        )

    def _executable(self, element: Element) -> None:
        words = self._words(element.attributes['cmd'])
        if not words:
            raise element.fail('cmd is empty')
        name = self._text(element.attributes['name']) if 'name' in element.attributes else Path(words[0]).name
        program = packages.find_program(words[0], self.context.scope.environment)
        self.processes.append(self._process(element, name, [program, *words[1:]]))

    def _node(self, element: Element) -> None:
        attributes, scope = element.attributes, self.context.scope
        executable = self._text(attributes['exec'])
        label = self._text(attributes['exec_name']) if 'exec_name' in attributes else Path(executable).name
        name = self._text(attributes['name']) if 'name' in attributes else None
        if name is not None and not _NAME.fullmatch(name):
            raise element.fail(f'name={name!r} is not a node name: letters, digits and _ only, no leading digit')
        given = self._text(attributes['namespace']) if 'namespace' in attributes else None
        namespace = scope.namespace if given is None else _namespace(scope.namespace, given)
        full = f'{namespace.rstrip("/")}/{name}' if name is not None and namespace is not None else ''
        program = packages.resolve(self._text(attributes['pkg']), executable, scope.environment)
        program += self._words(attributes.get('args', ''))
        parameters = tuple(node_parameters(element, full or '/**', self._text))
        ros = ['--ros-args', *self._words(attributes['ros_args'])] if 'ros_args' in attributes else []
        ros += ['--ros-args']
        ros += ['-r', f'__node:={name}'] if name is not None else []
        ros += ['-r', f'__ns:={namespace}'] if namespace is not None else []
        for key, value in scope.parameters:
            ros += ['-p', f'{key}:={_yaml_word(value)}']
        remaps = [*scope.remaps, *remappings(element, self._text)]
        common = self._process(element, label, program)
        self.processes.append(
            ProcessPlan(
                **{
                    **common.__dict__,
                    'ros_arguments': tuple(ros),
                    'parameters': parameters,
                    'remaps': tuple(word for src, dst in remaps for word in ('-r', f'{src}:={dst}')),
                    'node': full,
                }
            )
        )


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f'{text!r}: {error}') from None


def _namespace(base: str | None, given: str) -> str:
    """Join namespaces: an absolute one stands alone, a relative one goes below `base`."""
    joined = given if given.startswith('/') else f'{(base or "").rstrip("/")}/{given}'
    joined = joined.rstrip('/') or '/'
    if not _NAMESPACE.fullmatch(joined):
        raise ConfigError(f'namespace {joined!r}: names of letters, digits and _ between single slashes, please')
    return joined


def _yaml_word(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix('\n').removesuffix('...').strip()
