"""The table of bench `telesurgery`: every scenario in every mode, with 95 % intervals, as one HTML file."""

import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from twin_nodes.app.bench.telesurgery_safety import Worst, section
from twin_nodes.app.bench.telesurgery_trials import STEPS, Job
from twin_nodes.app.figures import Figure
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.study import FitRow, same_rank
from twin_nodes.core.telesurgery.operator.trial import MODES, TrialResult
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.io.whole_files import write_text_whole

FILE = 'telesurgery.html'
LONGEST = STEPS * STEP  # s
QUICK = 1.1  # at most this much longer than without a link
FIT_LIMIT = 15.0  # %
LIMITS = (
    'Only means of time were fitted, by hand and search, with seventeen settings for nine ratios and one time: it is a '
    'description of this study, not a law. The spread between people (5.6 s) is not modelled, he makes fewer drops '
    'and collisions than people do, and 10 % loss costs him less.'
)
_READING = (
    f'then the share that ended within {LONGEST:.0f} s, with its 95 % interval, contacts with the board and drops per '
    'transfer, and the RMS distance of the robot from the commanded path, time left out. Green: at most 1.1; red: not '
    'all ended, and those that did not count with the whole time (≥). direct is the console of the study: increments, '
    'applied as they come, so that what is lost stays lost. bridge: the commands of the bridge, scaled down with the '
    'delay, and the real picture. prediction: the predicted robot too; he waits while the link is down. twin: he goes '
    'on in the twin, and what he did is replayed when he asks. Seeds alone decide: the same page each time.'
)
_STYLE = (
    'body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:2em}'
    'td,th{border:1px solid #ccc;padding:4px 8px;text-align:right}th{background:#eee}small{color:#555}'
    '.ok{background:#e6f4e6}.bad{background:#fbe3e0}.bar{height:7px;margin:2px 0}.people{background:#888}'
    '.model{background:#2a6fb0}p{max-width:60em}'
)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half of its 95 % interval (Student 1908, for few values)."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return float(array.mean()), math.nan
    quantile = float(stdtrit(len(array) - 1, 0.975))
    return float(array.mean()), quantile * float(array.std(ddof=1)) / math.sqrt(len(array))


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def label(name: str) -> str:
    """Return the name of a scenario with its title, where it is known."""
    try:
        return f'{name} {load_scenario(name).config.title}'
    except ConfigError:
        return name


def _cell(results: Sequence[TrialResult], base: float) -> str:
    mean, half = interval([result.transfer.seconds / base for result in results])
    done = sum(result.transfer.success for result in results)
    low, high = wilson(done, len(results))
    hits = sum(result.transfer.collisions for result in results) / len(results)
    drops = sum(result.transfer.drops for result in results) / len(results)
    paths = [1e3 * result.path_rms for result in results if result.moved]
    path = f'path {np.mean(paths):.3f} mm' if paths else 'never followed'
    mark = 'bad' if done < len(results) else 'ok' if mean <= QUICK else ''
    ratio = f'{mean:.2f} ± {half:.2f}' if done else f'{mean:.2f}'
    least = '≥ ' if done < len(results) else ''
    return (
        f'<td class="{mark}">{least}{ratio}<br><small>done {100 * done / len(results):.0f} % '
        f'({100 * low:.0f}–{100 * high:.0f}), contacts {hits:.1f}, drops {drops:.1f}, {path}</small></td>'
    )


def _fit(rows: Sequence[FitRow]) -> str:
    """The simulated operator beside the people of the study, as a table and as bars."""
    body = ''
    for row in rows[1:]:
        mark = 'ok' if abs(row.error_percent) <= FIT_LIMIT else 'bad'
        seconds = [transfer.seconds for transfer in row.transfers]
        body += (
            f'<tr><th>{escape(row.scenario)}</th><td>{row.published:.2f}</td><td>{row.simulated:.2f} '
            f'({row.low:.2f}–{row.high:.2f})</td><td class="{mark}">{row.error_percent:+.1f} %</td>'
            f'<td>{_bar(row.published, "people")}{_bar(row.simulated, "model")}</td>'
            f'<td>{np.std(seconds):.1f} s</td></tr>'
        )
    return (
        '<h2>The simulated operator against people</h2><p>Time over normal in the nine conditions of the UVA study, '
        f'under its own conditions; {len(rows[0].transfers)} transfers each, 95 % interval. He ranks the conditions '
        f'{"as people do" if same_rank(list(rows[1:])) else "not as people do"}. {LIMITS}</p>'
        '<table><tr><th>condition</th><th>people</th><th>simulated</th><th>off by</th><th>people, simulated</th>'
        f'<th>spread between transfers</th></tr>{body}</table>'
    )


def _bar(ratio: float, kind: str) -> str:
    return f'<div class="bar {kind}" style="width:{40.0 * ratio:.0f}px"></div>'


def _promises(figures: Sequence[Figure]) -> str:
    body = ''
    for figure in figures:
        mark = '' if not figure.goal else 'ok' if figure.ok else 'bad'
        value = 'none' if figure.value is None else f'{figure.value:.4g}'
        body += (
            f'<tr><th>{escape(figure.figure)}</th><td class="{mark}">{value} {escape(figure.unit)}</td>'
            f'<td>{escape(figure.goal)}</td><td>{escape(figure.peer)}</td></tr>'
        )
    return (
        '<h2>Over all scenarios and all modes with the bridge</h2>'
        f'<table><tr><th>figure</th><th>worst</th><th>promise</th><th></th></tr>{body}</table>'
    )


def table(
    names: Sequence[str],
    found: Mapping[Job, Sequence[TrialResult]],
    base: Sequence[TrialResult],
    rows: Sequence[FitRow],
    figures: Sequence[Figure],
    worst: Mapping[str, Worst],
) -> str:
    """Return the page: time over that of N0 direct, success, drops and collisions, path error, per cell.

    Args:
        names: Scenarios.
        found: Results of each scenario in each mode.
        base: Results without a link.
        rows: The operator against the study, normal first.
        figures: What holds over all scenarios.
        worst: The worst of each scenario.
    """
    labels = {name: label(name) for name in names}
    seconds = float(np.mean([result.transfer.seconds for result in base]))
    head = ''.join(f'<th>{escape(mode)}</th>' for mode in MODES)
    body = ''.join(
        f'<tr><th>{escape(labels[name])}</th>{"".join(_cell(found[Job(name, mode)], seconds) for mode in MODES)}</tr>'
        for name in names
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>telesurgery</title><style>{_STYLE}</style>'
        f'<h1>Peg transfer over bad links</h1><p>Time over that without a link ({seconds:.1f} s), mean ± 95 % of '
        f'{len(base)} simulated transfers; {_READING}</p>'
        f'<table><tr><th>scenario</th>{head}</tr>{body}</table>{_promises(figures)}'
        f'{section(names, worst, labels)}{_fit(rows)}</html>'
    )


def write_table(
    names: Sequence[str],
    found: Mapping[Job, Sequence[TrialResult]],
    base: Sequence[TrialResult],
    rows: Sequence[FitRow],
    figures: Sequence[Figure],
    worst: Mapping[str, Worst],
) -> None:
    """Write the page into the present folder and say where."""
    path = Path.cwd() / FILE
    write_text_whole(path, table(names, found, base, rows, figures, worst))
    print(f'table: {path}', file=sys.stderr)
