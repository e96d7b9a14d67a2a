"""The table of bench `telesurgery`: every scenario in every mode, with 95 % intervals, as one HTML file."""

import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from twin_nodes.app.bench.telesurgery_trials import Job
from twin_nodes.core.telesurgery.operator.trial import MODES, TrialResult
from twin_nodes.io.results import write_text_whole

FILE = 'telesurgery.html'
_STYLE = (
    'body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}'
    'td,th{border:1px solid #ccc;padding:4px 8px;text-align:right}th{background:#eee}small{color:#666}'
)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half of its 95 % interval (normal)."""
    array = np.asarray(values, dtype=float)
    half = 1.96 * float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else math.nan
    return float(array.mean()), half


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _cell(results: Sequence[TrialResult], base: float) -> str:
    mean, half = interval([result.transfer.seconds / base for result in results])
    done = sum(result.transfer.success for result in results)
    low, high = wilson(done, len(results))
    bad = sum(result.transfer.collisions + result.transfer.drops for result in results) / len(results)
    path = 1e3 * float(np.nanmean([result.path_rms for result in results]))
    return (
        f'<td>{mean:.2f} ± {half:.2f}<br><small>done {100 * done / len(results):.0f} % '
        f'({100 * low:.0f}–{100 * high:.0f}), faults {bad:.1f}, path {path:.3f} mm</small></td>'
    )


def table(names: Sequence[str], found: Mapping[Job, Sequence[TrialResult]], base: Sequence[TrialResult]) -> str:
    """Return the page: time over that of N0 direct, success, drops and collisions, path error, per cell."""
    seconds = float(np.mean([result.transfer.seconds for result in base]))
    head = ''.join(f'<th>{escape(mode)}</th>' for mode in MODES)
    rows = ''.join(
        f'<tr><th>{escape(name)}</th>{"".join(_cell(found[Job(name, mode)], seconds) for mode in MODES)}</tr>'
        for name in names
    )
    count = len(base)
    return (
        f'<!doctype html><meta charset="utf-8"><title>telesurgery</title><style>{_STYLE}</style>'
        f'<h1>Peg transfer over bad links</h1><p>Time over that without a link ({seconds:.1f} s), mean ± 95 % of '
        f'{count} simulated transfers; path error of the robot, time left out.</p>'
        f'<table><tr><th>scenario</th>{head}</tr>{rows}</table>'
    )


def write_table(names: Sequence[str], found: Mapping[Job, Sequence[TrialResult]], base: Sequence[TrialResult]) -> None:
    """Write the page into the present folder and say where."""
    path = Path.cwd() / FILE
    write_text_whole(path, table(names, found, base))
    print(f'table: {path}', file=sys.stderr)
