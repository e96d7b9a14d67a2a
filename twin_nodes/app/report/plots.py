"""Plots as SVG within the page: legible in print, told apart by dash as well as by colour."""

import io
import re

import numpy as np

from twin_nodes.app.report.content import Plot
from twin_nodes.core.errors import ConfigError

_MARK_LEVELS, _MARK_ROOM = 4, 0.018
_DASHES = ('-', '--', '-.', ':')
_COLOURS = ('#0b5394', '#b45f06', '#38761d', '#741b47', '#134f5c', '#7f6000', '#990000', '#351c75')


def as_svg(plot: Plot) -> str:
    """Draw a plot; the same plot gives the same bytes.

    Raises:
        ConfigError: when matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError('a report needs matplotlib: pip install matplotlib jinja2') from None
    with mpl.rc_context({'svg.hashsalt': 'twin_nodes', 'svg.fonttype': 'none', 'font.size': 9}):
        figure = Figure(figsize=(7.4, 2.9), layout='constrained')
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for index, series in enumerate(plot.series):
            colour, dash = _COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)]
            x, y = _with_gaps(series.x, series.y)
            axes.plot(x, y, dash, color=colour, linewidth=1.2, label=series.label)
            if series.band is not None:
                axes.fill_between(
                    series.x, series.y - series.band, series.y + series.band, color=colour, alpha=0.18, linewidth=0
                )
        for level, word in plot.limits:
            axes.axhline(level, color='#555555', linewidth=0.8, linestyle=':')
            axes.annotate(word, (1.0, level), xycoords=('axes fraction', 'data'), ha='right', va='bottom', fontsize=8)
        for (instant, word), level in zip(plot.marks[:60], _levels(plot), strict=False):
            axes.axvline(instant, color='#990000', linewidth=0.6)
            axes.annotate(
                word, (instant, 1.0 + 0.045 * level), xycoords=('data', 'axes fraction'), va='bottom', ha='center',
                fontsize=6,
            )  # fmt: skip
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        axes.set_title(plot.title, loc='left', fontsize=10, pad=24 if plot.marks else 6)
        axes.grid(visible=True, linewidth=0.3)
        if len(plot.series) > 1 or plot.series[0].label:
            axes.legend(fontsize=8, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format='svg', metadata={'Date': None, 'Creator': None})
    drawn = out.getvalue()
    # what comes before the drawing names a document type and a schema elsewhere: a page must ask nobody
    drawn = drawn[drawn.index('<svg') :]
    drawn = re.sub(r'<metadata>.*?</metadata>', '', drawn, flags=re.DOTALL)
    return drawn.replace('<svg ', f'<svg role="img" aria-label="{_escaped(plot.title)}" ', 1)


def _with_gaps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Break a line where samples are missing, so that nothing is drawn that was not measured."""
    if len(x) < 3:
        return x, y
    steps = np.diff(x)
    usual = float(np.median(steps))
    at = np.flatnonzero(steps > max(10.0 * usual, 0.5)) + 1
    return np.insert(x, at, np.nan), np.insert(y, at, np.nan)


def _levels(plot: Plot) -> list[int]:
    """How high each mark is written, so that neighbours do not lie on one another."""
    x = [float(value) for series in plot.series for value in (series.x.min(), series.x.max())]
    room = _MARK_ROOM * (max(x) - min(x))
    ends, levels = [-np.inf] * _MARK_LEVELS, []
    for instant, _ in plot.marks:
        level = next((index for index, end in enumerate(ends) if instant - end >= room), int(np.argmin(ends)))
        ends[level] = instant
        levels.append(level)
    return levels


def _escaped(text: str) -> str:
    return text.replace('&', '&amp;').replace('"', '&quot;').replace('<', '&lt;')
