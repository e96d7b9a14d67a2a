"""A Sphinx extension: before the pages are read, the reference is written from the code into docs/reference."""

from pathlib import Path
from typing import Any

from codes import codes_page
from commands import commands_page
from pages import ROOT
from parameters import parameter_pages
from sources import sources_page
from topics import topics_page

FOLDER = ROOT / 'docs' / 'reference'


def write_reference(folder: Path = FOLDER) -> None:
    """Write all generated pages; what does not change is not touched, so that a second build is quick."""
    pages = {
        'topics': topics_page(),
        'codes': codes_page(),
        'commands': commands_page(),
        'sources': sources_page(),
        'conventions': (ROOT / 'CONVENTIONS.md').read_text(encoding='utf-8'),
        'changes': (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'),
        **{f'parameters/{name}': text for name, text in parameter_pages().items()},
    }
    for stale in set(folder.rglob('*.md')) - {folder / f'{name}.md' for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        path = folder / f'{name}.md'
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect('builder-inited', lambda _: write_reference())
    return {'parallel_read_safe': True}
