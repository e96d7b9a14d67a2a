"""Reads launch XML into elements that know their line; document types and entities are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from twin_nodes.core.errors import ConfigError

MAX_BYTES = 4_000_000
MAX_DEPTH = 100


class LaunchFileError(ConfigError):
    """A mistake in a launch file whose message already says where."""


@dataclass
class Element:
    """One XML element.

    Args:
        tag: Its name.
        attributes: Its attributes as written.
        file: The file it stands in.
        line: The line it starts at, from 1.
        children: Its child elements in order.
    """

    tag: str
    attributes: dict[str, str]
    file: Path
    line: int
    children: list[Element] = field(default_factory=list)

    @property
    def where(self) -> str:
        """'file:line' for messages."""
        return f'{self.file}:{self.line}'

    def fail(self, message: str) -> LaunchFileError:
        """Return an error that says where."""
        return LaunchFileError(f'{self.where}: <{self.tag}>: {message}')


def read_launch_file(path: Path) -> Element:
    """Read a launch XML file.

    Raises:
        ConfigError: missing, too large, not XML, with a document type or entities, or of another root than `launch`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LaunchFileError(f'{path}: cannot be read ({error.strerror})') from None
    if path.suffix in ('.py', '.yaml', '.yml'):
        raise LaunchFileError(f'{path}: twin launch reads XML launch files only; write it as *.launch.xml')
    if len(data) > MAX_BYTES:
        raise LaunchFileError(f'{path}: {len(data)} bytes is above the limit of {MAX_BYTES} bytes')
    root = _Builder(path).build(data)
    if root.tag != 'launch':
        raise root.fail('the root element of a launch file must be <launch>')
    return root


class _Builder:
    """Collects elements from expat's events."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._open: list[Element] = []
        self._root: Element | None = None

    def build(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise LaunchFileError(f'{self._path}:{error.lineno}: not well-formed XML: {reason}') from None
        if self._root is None:
            raise LaunchFileError(f'{self._path}: holds no element')
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, dict(attributes), self._path, self._parser.CurrentLineNumber)
        if len(self._open) >= MAX_DEPTH:
            raise element.fail(f'elements are nested more than {MAX_DEPTH} deep')
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, tag: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if text.strip() and self._open:
            raise LaunchFileError(
                f'{self._path}:{self._parser.CurrentLineNumber}: text {text.strip()[:40]!r} inside '
                f'<{self._open[-1].tag}> means nothing; put it in an attribute'
            )

    def _doctype(self, *_: object) -> None:
        raise LaunchFileError(
            f'{self._path}:{self._parser.CurrentLineNumber}: document types and entities are refused; remove <!DOCTYPE'
        )
