"""Small pieces of Markdown that all generated pages are made of."""

from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def heading(text: str, level: int) -> list[str]:
    """Return a heading of this level, with the empty lines around it."""
    return [f'{"#" * level} {text}', '']


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, its cells kept on one line each."""
    lines = ['| ' + ' | '.join(titles) + ' |', '|' + '---|' * len(titles)]
    lines += ['| ' + ' | '.join(_cell(cell) for cell in row) + ' |' for row in rows]
    return [*lines, '']


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')
