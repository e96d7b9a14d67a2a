"""How every demo ends: what failed is said, what was measured is printed and kept beside the bag."""

import datetime
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from twin_nodes.app import standing
from twin_nodes.app.figures import Figure, json_lines, print_figures


def conclude(folder: Path, failures: Iterable[str], score: Callable[[], list[Figure]], *, as_json: bool) -> int:
    """Say what failed, print and write the figures; returns 0 when nothing failed and every promise held.

    Args:
        folder: Of the demo.
        failures: What ended that should not have.
        score: Measures; called once the failures are said.
        as_json: One JSON object per line.
    """
    failures = list(failures)
    for failure in failures:
        print(f'twin demo: {failure}', file=sys.stderr)
    figures = score()
    kept = print_figures(figures, as_json=as_json)
    _write_readme(folder, figures)
    print(f'written to {folder}', file=sys.stderr)
    return 0 if kept and not failures else 1


def _write_readme(folder: Path, figures: list[Figure]) -> None:
    """Say in the folder what it holds."""
    lines = [
        'What `twin demo` wrote: config/ as it was run, log.txt of all nodes, bag/ (play with `twin play bag`).',
        '',
        f'command  twin {shlex.join(sys.argv[1:])}',
        f'version  {standing.version()}',
        f'ended    {datetime.datetime.now().astimezone().isoformat(timespec="seconds")}',
        '',
    ]
    lines += [f'{figure.figure}: {figure.value} {figure.unit} {figure.goal}' for figure in figures]
    lines += ['', 'figures.jsonl holds the same for machines; `twin report` makes a page of all of it.']
    (folder / 'README.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (folder / 'figures.jsonl').write_text(json_lines(figures), encoding='utf-8')
