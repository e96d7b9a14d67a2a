"""What is known while a launch file is evaluated: its arguments, environment, namespace; and how `$(…)` reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from twin_nodes.app.launch import expression, packages
from twin_nodes.app.launch.substitution import Call, Template, Text
from twin_nodes.app.launch.values import ParameterValue, as_bool
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError


@dataclass
class Scope:
    """What a scoped group gives back when it ends.

    Args:
        variables: Launch arguments and `let` variables.
        environment: Environment of the processes.
        namespace: Pushed ROS namespace, absolute, or None.
        remaps: Remappings for all nodes of the scope, (from, to).
        parameters: Parameters for all nodes of the scope, (name, value).
    """

    variables: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    namespace: str | None = None
    remaps: list[tuple[str, str]] = field(default_factory=list)
    parameters: list[tuple[str, ParameterValue]] = field(default_factory=list)

    def copy(self) -> Scope:
        """Return an independent copy."""
        return Scope(
            dict(self.variables), dict(self.environment), self.namespace, list(self.remaps), list(self.parameters)
        )


class Context:
    """The scopes of one launch, and the file being read.

    Args:
        scope: The outermost scope.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._saved: list[Scope] = []
        self.files: list[Path] = []

    def push(self) -> None:
        """Open a scope."""
        self._saved.append(self.scope.copy())

    def pop(self) -> None:
        """Close the scope, forgetting what it set."""
        self.scope = self._saved.pop()

    def perform(self, template: Template) -> str:
        """Replace the substitutions of a template.

        Raises:
            ConfigError: unknown variable (with the nearest), missing environment variable, package or program.
        """
        return ''.join(part.text if isinstance(part, Text) else self._call(part) for part in template)

    def _call(self, call: Call) -> str:
        words = [self.perform(argument) for argument in call.arguments] if call.name not in ('var', 'env') else []
        match call.name:
            case 'var':
                return self._named(call, self.scope.variables, 'launch argument or variable')
            case 'env':
                return self._named(call, self.scope.environment, 'environment variable')
            case 'dirname':
                return str(self.files[-1].parent)
            case 'filename':
                return str(self.files[-1])
            case 'find-pkg-share':
                return str(packages.find_share(words[0], self.scope.environment))
            case 'find-pkg-prefix':
                return str(packages.find_prefix(words[0], self.scope.environment))
            case 'exec-in-pkg':
                return packages.resolve(words[1], words[0], self.scope.environment)[0]
            case 'find-exec':
                return packages.find_program(words[0], self.scope.environment)
            case 'eval':
                return expression.evaluate(words[0])
        return _logic(call.name, words)

    def _named(self, call: Call, known: dict[str, str], what: str) -> str:
        name = self.perform(call.arguments[0])
        if name in known:
            return known[name]
        if len(call.arguments) == 2:
            return self.perform(call.arguments[1])
        hint = nearest(name, known) if call.name == 'var' else ''
        raise ConfigError(f'$({call.name} {name}): no such {what}{hint}')


def _logic(name: str, words: list[str]) -> str:
    if name in ('equals', 'not-equals'):
        return _lower(_equal(*words) is (name == 'equals'))
    if name == 'if':
        return (words[1:2] if as_bool(words[0]) else words[2:3] or [''])[0]
    truths = [as_bool(word) for word in words]
    if name == 'not':
        return _lower(not truths[0])
    return _lower(all(truths) if name == 'and' else any(truths))


def _lower(value: bool) -> str:
    return str(value).lower()


def _equal(left: str, right: str) -> bool:
    """Compare as booleans, else as numbers, else as text, the way launch does."""
    truths = {'true': True, '1': True, 'false': False, '0': False}
    if left.lower() in truths and right.lower() in truths:
        return truths[left.lower()] == truths[right.lower()]
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right
