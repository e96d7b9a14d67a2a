"""What a report says, before it has a form: every number with its unit and how it was got."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin_nodes.core.geometry.se3 import Array

MAX_POINTS = 1200


@dataclass(frozen=True)
class Fact:
    """One number or word.

    Args:
        name: lower_snake, unique in the report, ending in its unit.
        label: For people.
        value: The value.
        unit: Unit, '' for none.
        how: How it was got.
    """

    name: str
    label: str
    value: float | str
    unit: str = ''
    how: str = ''

    @property
    def text(self) -> str:
        """The value as it is shown; `--json` rounds alike."""
        return number(self.value) if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Args:
        headings: One for each column, with its unit.
        rows: Cells as they are shown.
        caption: How the numbers were got.
        figures: For each column that holds figures the end of their names, which ends in the unit; '' for words. The
            first column names the row.
        units: Units of those columns.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ''
    figures: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def figure_of(self, row: int, column: int) -> str:
        """Name of the figure in a cell, '' where there is none."""
        ending = self.figures[column] if column < len(self.figures) else ''
        return f'{snake(self.rows[row][0])}_{ending}' if ending and self.rows[row][column] else ''

    @property
    def facts(self) -> tuple['Fact', ...]:
        """The figures that the cells hold."""
        return tuple(
            Fact(name, f'{cells[0]}: {self.headings[column]}', float(cells[column]), self.units[column], self.caption)
            for row, cells in enumerate(self.rows)
            for column in range(len(cells))
            if (name := self.figure_of(row, column))
        )


@dataclass(frozen=True, eq=False)
class Series:
    """A line of a plot: x and y of shape (n,), and half the width of its 95 % band or None."""

    label: str
    x: Array
    y: Array
    band: Array | None = None


@dataclass(frozen=True, eq=False)
class Plot:
    """A plot with its axes; marks are instants with a word each, limits are lines across."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    marks: tuple[tuple[float, str], ...] = ()
    limits: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Section:
    """One part of a report."""

    title: str
    text: str = ''
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.facts or self.tables or self.plots)


@dataclass(frozen=True, eq=False)
class Report:
    """A report: a title, a line under it, and its sections."""

    title: str
    subtitle: str
    sections: tuple[Section, ...] = field(default=())

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts in order, those in tables too."""
        return tuple(
            fact
            for section in self.sections
            for facts in (section.facts, *(table.facts for table in section.tables))
            for fact in facts
        )


def number(value: float) -> str:
    """Write a number with six digits, whole ones with all of theirs."""
    return f'{value:.0f}' if value.is_integer() and abs(value) < 1e15 else f'{value:.6g}'


def snake(name: str) -> str:
    """Write a name in lower_snake."""
    return re.sub(r'[^0-9a-z]+', '_', name.lower()).strip('_')


def thinned(x: Array, y: Array, band: Array | None = None) -> tuple[Array, Array, Array | None]:
    """Keep the least and the greatest of each stretch, so that a plot stays small and no peak is lost."""
    if len(x) <= MAX_POINTS:
        return x, y, band
    cuts = np.array_split(np.arange(len(x)), MAX_POINTS // 2)
    kept = np.unique([index for cut in cuts for index in (cut[y[cut].argmin()], cut[y[cut].argmax()])])
    return x[kept], y[kept], None if band is None else band[kept]


def line(label: str, rows: list[tuple[float, ...]]) -> Series:
    """Make a line from rows of x, y and, when there is a third number, half the width of the band."""
    values: Any = np.array(rows, dtype=float)
    band = values[:, 2] if values.shape[1] > 2 else None
    return Series(label, *thinned(values[:, 0], values[:, 1], band))
