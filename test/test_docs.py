"""The pages of the documentation: each in the table of contents, each link to something that is there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PAGES = sorted(path for path in DOCS.rglob('*.md') if 'reference' not in path.parts)
LINK = re.compile(r'\]\(([^)#\s]+)(#[^)\s]*)?\)')
GENERATED = {'reference/commands.md', 'reference/topics.md', 'reference/codes.md', 'reference/sources.md'}


def test_every_page_is_in_the_contents():
    index = (DOCS / 'index.md').read_text()
    blocks = re.findall(r'```\{toctree\}\n(.*?)```', index, re.DOTALL)
    named = {line.strip() for block in blocks for line in block.splitlines() if line and not line.startswith(':')}
    pages = {path.relative_to(DOCS).with_suffix('').as_posix() for path in PAGES} - {'index'}
    assert pages <= named, f'add to a toctree of docs/index.md: {sorted(pages - named)}'
    gone = {name for name in named if not name.startswith('reference/')} - pages
    assert not gone


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(page):
    for target, _ in LINK.findall(page.read_text()):
        if target.startswith(('http://', 'https://', 'mailto:')):
            continue
        place = (page.parent / target).resolve()
        assert place.exists() or place.relative_to(DOCS).as_posix() in GENERATED, f'{page.name}: {target}'
