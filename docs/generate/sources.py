"""The page of sources: what each module of core/ names as where its method comes from."""

import ast
import re
from pathlib import Path

from pages import ROOT, heading, table

# Horn (1987), Kabsch 1976, Smith, Self and Cheeseman (1990), Sparse Data Challenge (Heiselman et al. 2024)
NAME = r"(?:[Vv]an |[Dd]e )?[A-ZÀ-Ý][\w'’À-ÿ-]+"
SOURCE = re.compile(rf'(?:{NAME}(?:, | and | et al\.? ?))*{NAME}(?: and others| et al\.)?,? \(?(?:19|20)\d\d\)?')


def sources_page() -> str:
    """Return the page as Markdown."""
    lines = [
        *heading('Sources', 1),
        'What the modules of `core/` say of where their methods come from, gathered from their texts.',
        '',
    ]
    core = ROOT / 'twin_nodes' / 'core'
    for folder in sorted(path for path in core.iterdir() if path.is_dir() and path.name != '__pycache__'):
        found = {path.relative_to(core).with_suffix(''): _sources(path) for path in sorted(folder.rglob('*.py'))}
        rows = [(f'`{name}`', ', '.join(names)) for name, names in found.items() if names]
        if rows:
            lines += [*heading(folder.name, 2), *table(('module', 'names'), rows)]
    return '\n'.join(lines)


def _sources(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or '' for node in ast.walk(tree) if isinstance(node, kinds)]
    found = [match.group() for text in texts for match in SOURCE.finditer(' '.join(text.split()))]
    return list(dict.fromkeys(re.sub(r'[()]', '', one) for one in found))
