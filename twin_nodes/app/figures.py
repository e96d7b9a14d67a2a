"""Figures: what `demo` and `bench` measure, one line each, as JSON for machines or as a table for people."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Args:
        figure: Its name, lower_snake, ending in its unit.
        value: What was measured; None when it could not be, which counts as broken if there is a goal.
        unit: Unit, '' for none.
        goal: The promise in words, such as '<= 0.3'; '' for none.
        peer: What it was compared with in the same run, '' for none.
        ratio: Value over the peer's value, or None.
        ok: Whether the promise holds.
    """

    figure: str
    value: float | None
    unit: str
    goal: str = ''
    peer: str = ''
    ratio: float | None = None
    ok: bool = True


def judge(
    figure: str,
    value: float | None,
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    peer: str = '',
    ratio: float | None = None,
) -> Figure:
    """Make a figure and hold it against its limits."""
    goals = []
    ok = value is not None and math.isfinite(value)
    if at_most is not None:
        goals.append(f'<= {at_most:g}')
        ok = ok and value is not None and value <= at_most
    if at_least is not None:
        goals.append(f'>= {at_least:g}')
        ok = ok and value is not None and value >= at_least
    return Figure(figure, value, unit, ' and '.join(goals), peer, ratio, ok if goals else True)


def from_mapping(values: dict[str, Any]) -> Figure:
    """Make a figure from what a bench returns."""
    known = {key: values[key] for key in Figure.__dataclass_fields__ if values.get(key) is not None}
    known.setdefault('value', None)
    known['goal'] = str(known.get('goal', ''))
    known['unit'] = str(known.get('unit', ''))
    return Figure(**known)


def print_figures(figures: Iterable[Figure], *, as_json: bool) -> bool:
    """Print figures and return whether all promises hold."""
    figures = list(figures)
    for figure in figures:
        if as_json:
            print(json.dumps(_plain(figure), ensure_ascii=False), flush=True)
        else:
            print(_line(figure), flush=True)
    return all(figure.ok for figure in figures)


def json_lines(figures: Iterable[Figure]) -> str:
    """The same lines as `--json` prints."""
    return ''.join(json.dumps(_plain(figure), ensure_ascii=False) + '\n' for figure in figures)


def _plain(figure: Figure) -> dict[str, Any]:
    plain = asdict(figure)
    for key in ('value', 'ratio'):
        number = plain[key]
        if number is not None:
            plain[key] = float(f'{number:.6g}') if math.isfinite(number) else None
    return plain


def _line(figure: Figure) -> str:
    mark = 'BROKEN' if not figure.ok else 'ok' if figure.goal else ''
    goal = f'  (promise {figure.goal})' if figure.goal else ''
    peer = f'  [{figure.peer}{"" if figure.ratio is None else f", ratio {figure.ratio:.3g}"}]' if figure.peer else ''
    return f'{mark:<6} {figure.figure:<36} {_value(figure.value):>10} {figure.unit}{goal}{peer}'


def _value(value: float | None) -> str:
    """Return a value in four digits; all of those of a large count."""
    if value is None:
        return '—'
    return f'{value:.0f}' if 1e4 <= abs(value) < 1e9 else f'{value:.4g}'
