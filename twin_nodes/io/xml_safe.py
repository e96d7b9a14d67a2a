"""XML from people we do not know: no document types, no entities, bounded size and depth."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from twin_nodes.core.errors import InputError

MAX_BYTES = 4_000_000
MAX_DEPTH = 100
MAX_ELEMENTS = 50_000


def read_bytes_bounded(path: Path, *, code: str) -> bytes:
    """Read a file of at most `MAX_BYTES`.

    Raises:
        InputError: It is not there, cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f'{path}: {size} bytes is above the limit of {MAX_BYTES} bytes', code=code)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})', code=code) from None


def parse_xml(data: bytes, *, where: str, code: str) -> Element:
    """Parse XML into elements.

    Args:
        data: The document.
        where: File name, for errors.
        code: Code of the errors.

    Raises:
        InputError: Too large, not XML, with a document type or entity, too deep, or with too many elements.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f'{where}: {len(data)} bytes is above the limit of {MAX_BYTES} bytes', code=code)
    bare = data.lstrip()  # blank lines before the declaration, as some robots have
    return _Parser(where, code).parse(bare if bare.startswith(b'<?xml') else data)


class _Parser:
    def __init__(self, where: str, code: str) -> None:
        self._where, self._code = where, code
        self._builder = TreeBuilder()
        self._depth = self._count = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._builder.data
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.UnparsedEntityDeclHandler = self._refuse
        self._parser.ExternalEntityRefHandler = self._refuse

    def parse(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise self._error(f'line {error.lineno}: not XML ({expat.ErrorString(error.code)})') from None
        except InputError:
            raise
        except (UnicodeDecodeError, ValueError) as error:
            raise self._error(f'not XML ({error})') from None
        return self._builder.close()

    def _error(self, message: str) -> InputError:
        return InputError(f'{self._where}: {message}', code=self._code)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f'elements are nested deeper than {MAX_DEPTH}')
        if self._count > MAX_ELEMENTS:
            raise self._error(f'more than {MAX_ELEMENTS} elements')
        self._builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._builder.end(tag)

    def _refuse(self, *_: object) -> None:
        line = self._parser.CurrentLineNumber
        raise self._error(f'line {line}: document types and entities are refused; write the values out')
