"""Lines of a table parted into cells: by comma, semicolon, tab or white space, with decimal points or commas."""

import re

from twin_nodes.core.errors import InputError

_SPLIT = {
    ',': re.compile(r'\s*,\s*'),
    ';': re.compile(r'\s*;\s*'),
    '\t': re.compile(r' *\t *'),
    ' ': re.compile(r'\s+'),
}
_DECIMAL_COMMA = re.compile(r'[-+]?\d+,\d+(?:[eE][-+]?\d+)?')
_ENOUGH = 7  # words with a decimal comma that are no accident


def text_of(data: bytes, where: str) -> str:
    """Return the text of a file, in UTF-8 or, where it says so, in UTF-16.

    Raises:
        InputError: UTF-16 that is cut.
    """
    if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
        try:
            return data.decode('utf-16')
        except UnicodeDecodeError as error:
            raise InputError(f'{where}: text of 16 bits that is damaged: {error}') from None
    return data.removeprefix(b'\xef\xbb\xbf').decode('utf-8', errors='replace')


def separator_of(line: str) -> str:
    """Return the mark between columns; a comma within the numbers of a line parted otherwise is a decimal mark."""
    if ';' in line:
        return ';'
    if '\t' in line and not re.search(r'\d +[-+.\d]', line):
        return '\t'
    if ',' in line and sum(bool(_DECIMAL_COMMA.fullmatch(word)) for word in line.split()) < _ENOUGH:
        return ','
    return ' '


def cells_of(line: str, separator: str, *, header: bool) -> list[str]:
    """Return the cells of a line, without quotation marks, numbers with a decimal point.

    Args:
        line: The line.
        separator: As `separator_of` says.
        header: Whether a header was seen: then empty cells at the end count.
    """
    cells = _SPLIT[separator].split(
        line.rstrip(' \t' if separator != '\t' else ' ') if header else line.rstrip(',; \t')
    )
    cells = [cell.strip('"') for cell in cells]
    return cells if separator == ',' else [cell.replace(',', '.') for cell in cells]


def is_number(text: str) -> bool:
    """Whether a word is a number, also nan or inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
