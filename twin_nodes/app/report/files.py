"""What lies beside a bag: the configuration as it was run, and what the run measured of itself."""

import json
from pathlib import Path

from twin_nodes.app.report.content import Section, Table
from twin_nodes.io.recordings.recording import file_sha256

FIGURES = 'figures.jsonl'
_MAX_LINES = 10_000


def configuration(bag: Path) -> Section:
    """Names, sizes and hashes of the configuration and calibration files beside a bag, when there are any."""
    folder = bag.resolve().parent
    files = sorted({*folder.glob('config/*.yaml'), *folder.glob('*.yaml'), *folder.glob('calibration/*.yaml')})
    rows = tuple((str(file.relative_to(folder)), str(file.stat().st_size), file_sha256(file)) for file in files)
    if not rows:
        return Section('Configuration')
    return Section('Configuration', 'As it was run.', (), (Table(('file', 'bytes', 'SHA-256'), rows),))


def figures_beside(bag: Path) -> Table | None:
    """Figures that a demo wrote beside its bag, the same as its `--json`, or None."""
    path = bag.resolve().parent / FIGURES
    return figures_table(path) if path.is_file() else None


def figures_table(path: Path) -> Table | None:
    """Figures from a file with one JSON object per line; lines that are none are left out."""
    rows = []
    for text in path.read_text(encoding='utf-8', errors='replace').splitlines()[:_MAX_LINES]:
        try:
            figure = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(figure, dict) and 'figure' in figure:
            rows.append(_row(figure))
    headings = ('figure', 'value', 'unit', 'promise', 'peer', 'ratio to the peer', 'kept')
    return Table(headings, tuple(rows)) if rows else None


def _row(figure: dict[str, object]) -> tuple[str, ...]:
    kept = 'yes' if figure.get('ok', True) else 'NO'
    names = ('figure', 'value', 'unit', 'goal', 'peer', 'ratio')
    return (*('' if figure.get(name) is None else str(figure[name]) for name in names), kept)
