"""The part of a report that tells what became of the anatomy: carved, deformed, and its hidden targets."""

import numpy as np

from twin_nodes.app.report.bag_gather import Gathered
from twin_nodes.app.report.content import Fact, Plot, Section, Table, line, number, snake

_UNITS = {
    'mm': 'mm',
    'deg': '°',
    'hz': 'Hz',
    'ms': 'ms',
    's': 's',
    'ppm': 'ppm',
    'mm3': 'mm³',
    'cm3': 'cm³',
    'percent': '%',
    'n': 'N',
}
_LEAST_SPREAD = 1e-9


def anatomy_section(seen: Gathered) -> Section:
    """Say what was carved and deformed, and how well the targets were known."""
    facts = [
        Fact(f'{snake(name)}_{snake(key)}', told(name, key), float(value), unit_of(key), 'last value in /diagnostics')
        for name, values in sorted(seen.anatomy.items())
        for key, value in values.items()
    ]
    plots = [
        Plot(
            plot_title(key),
            'time [s]',
            f'{key.rsplit("_", 1)[0].replace("_", " ")} [{unit_of(key)}]',
            (line('', rows),),
        )
        for key, rows in sorted(seen.anatomy_series.items())
        if len(rows) > 1 and np.ptp([row[1] for row in rows]) > _LEAST_SPREAD
    ]
    tables, lines = [], []
    if seen.targets:
        facts.append(Fact('targets', 'hidden targets', float(len(seen.targets)), '', 'anatomy/targets'))
        rows = []
        for index, seen_so in sorted(seen.targets.items()):
            name, values = seen.target_names.get(index, f'target {index}'), np.array(seen_so)
            motion = float(np.linalg.norm(values[:, 2:] - values[0, 2:], axis=1).max())
            sigmas = (float(values[-1, 1]), float(np.median(values[:, 1])), float(values[:, 1].max()))
            rows.append((name, *(number(round(value, 3)) for value in (*sigmas, motion))))
            lines.append(line(name, [(row[0], row[1]) for row in seen_so]))
        headings = ('target', 'σ at the end [mm]', 'σ median [mm]', 'σ largest [mm]', 'moved at most [mm]')
        figures = ('', 'sigma_end_mm', 'sigma_median_mm', 'sigma_largest_mm', 'moved_mm')
        caption = 'root of the trace of the covariance on anatomy/targets; motion from where it was told first'
        tables.append(Table(headings, tuple(rows), caption, figures, ('', 'mm', 'mm', 'mm', 'mm')))
        if any(len(one.x) > 1 for one in lines):
            plots.append(Plot('Error of the targets', 'time [s]', 'σ [mm]', tuple(lines)))
    return Section('Anatomy: carved and deformed', '', tuple(facts), tuple(tables), tuple(plots))


def plot_title(key: str) -> str:
    """Write a key of a diagnostic as a title."""
    text = words(key)
    return f'Carved: {text.removeprefix("removed ")}' if text.startswith('removed') else f'Deformation: {text}'


def words(key: str) -> str:
    """Write a key of a diagnostic as words, without the unit that it ends in."""
    text = key.replace('_', ' ')
    return text.rpartition(' ')[0] if unit_of(key) and ' ' in text else text


def told(check: str, key: str) -> str:
    """Write what a check says under a key."""
    return f'{check}: {words(key)}'


def unit_of(key: str) -> str:
    """The unit that a key of a diagnostic ends in."""
    return _UNITS.get(key.replace(' ', '_').rsplit('_', 1)[-1], '')
