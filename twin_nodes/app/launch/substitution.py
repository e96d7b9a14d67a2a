"""The `$(name argument …)` language of ROS 2 launch files: parsed once, performed in a context.

Follows the grammar of launch's frontend (ros2/launch, `grammar.lark`): arguments are separated by one space, may be
quoted, nest, and a backslash makes the next character literal.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

NAMES: dict[str, tuple[int, int]] = {  # name: fewest and most arguments
    'var': (1, 2),
    'env': (1, 2),
    'find-pkg-share': (1, 1),
    'find-pkg-prefix': (1, 1),
    'exec-in-pkg': (2, 2),
    'find-exec': (1, 1),
    'dirname': (0, 0),
    'filename': (0, 0),
    'eval': (1, 1),
    'not': (1, 1),
    'and': (2, 2),
    'or': (2, 2),
    'equals': (2, 2),
    'not-equals': (2, 2),
    'if': (2, 3),
}
MAX_DEPTH = 32
_LETTERS = frozenset(string.ascii_letters)
_IDENTIFIER = _LETTERS | frozenset(string.digits + '_-')


@dataclass(frozen=True)
class Text:
    """Literal text, escapes already resolved."""

    text: str


@dataclass(frozen=True)
class Call:
    """One `$(name arguments)`."""

    name: str
    arguments: tuple[Template, ...]


Template = tuple[Text | Call, ...]


def parse_template(text: str) -> Template:
    """Parse an attribute value into literal text and substitutions.

    Raises:
        ConfigError: unknown name (with the nearest), wrong number of arguments, unclosed parenthesis or quote.
    """
    return _Reader(text).template(stops='')


def is_literal(template: Template) -> bool:
    """Whether a template holds no substitution."""
    return all(isinstance(part, Text) for part in template)


class _Reader:
    """Recursive descent over one attribute value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _opens(self) -> bool:
        return self._text.startswith('$(', self._at)

    def template(self, stops: str) -> Template:
        """Read up to an unescaped character of `stops`, or to the end."""
        parts: list[Text | Call] = []
        literal: list[str] = []
        while (char := self._peek()) and char not in stops:
            if self._opens():
                if literal:
                    parts.append(Text(''.join(literal)))
                    literal = []
                parts.append(self._call())
                continue
            if char == '\\' and self._at + 1 < len(self._text):
                self._at += 1
                char = self._peek()
            literal.append(char)
            self._at += 1
        if literal or not parts:
            parts.append(Text(''.join(literal)))
        return tuple(parts)

    def _call(self) -> Call:
        start = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(f'substitutions are nested more than {MAX_DEPTH} deep')
        self._at += 2
        name = self._name(start)
        arguments: list[Template] = []
        while self._peek() == ' ':
            self._at += 1
            arguments.append(self._argument(start))
        if self._peek() != ')':
            raise ConfigError(f'{self._text[start:]!r} is not closed: expected ")" at character {self._at}')
        self._at += 1
        self._depth -= 1
        _check_count(name, arguments)
        return Call(name, tuple(arguments))

    def _name(self, start: int) -> str:
        begin = self._at
        while self._peek() and self._peek() in _IDENTIFIER:
            self._at += 1
        name = self._text[begin : self._at]
        if name not in NAMES:
            raise ConfigError(
                f'$({name} …) in {self._text[start:]!r} is not a substitution that twin launch knows'
                f'{nearest(name, NAMES)} (known: {", ".join(sorted(NAMES))})'
            )
        return name

    def _argument(self, start: int) -> Template:
        quote = self._peek()
        if quote and quote in '\'"':
            self._at += 1
            inner = self.template(stops=quote)
            if self._peek() != quote:
                raise ConfigError(f'{self._text[start:]!r}: the quote {quote} is not closed')
            self._at += 1
            return inner
        begin = self._at
        inner = self.template(stops=' ()\'"')
        if self._at == begin:
            raise ConfigError(f'{self._text[start:]!r}: an argument is empty; separate arguments by one space')
        return inner


def _check_count(name: str, arguments: Sequence[Template]) -> None:
    fewest, most = NAMES[name]
    if not fewest <= len(arguments) <= most:
        wanted = str(fewest) if fewest == most else f'{fewest} to {most}'
        raise ConfigError(f'$({name} …) takes {wanted} argument(s), got {len(arguments)}; quote text that holds spaces')
