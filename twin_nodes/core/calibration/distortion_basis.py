"""Tensor-product B-splines on the unit cube: with one interval they are the Bernstein polynomials.

Bernstein polynomials of one degree over the whole volume are the usual model of electromagnetic distortion (Kindratenko
2000, "A survey of electromagnetic position tracker calibration techniques", Virtual Reality 5); splines with more
intervals bend where metal is near. Both are smoothed by squared second differences of neighbouring coefficients (Eilers
and Marx 1996, "Flexible smoothing with B-splines and penalties", Stat. Sci. 11).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MAX_FUNCTIONS = 1000


@dataclass(frozen=True)
class TensorBasis:
    """Products of B-splines along x, y and z.

    Args:
        degree: Of the polynomials, 1 … 7.
        intervals: Along each axis; 1 makes Bernstein polynomials.
    """

    degree: int
    intervals: int

    def __post_init__(self) -> None:
        if not (1 <= self.degree <= 7 and self.intervals >= 1 and self.size <= MAX_FUNCTIONS):
            raise InputError(
                f'degree={self.degree}, intervals={self.intervals}: degree 1 … 7 and at most {MAX_FUNCTIONS} functions'
            )

    @property
    def per_axis(self) -> int:
        """Functions along one axis."""
        return self.degree + self.intervals

    @property
    def size(self) -> int:
        """Functions in all."""
        return self.per_axis**3

    @property
    def name(self) -> str:
        """For people."""
        if self.intervals == 1:
            return f'Bernstein polynomials of degree {self.degree}'
        return f'B-splines of degree {self.degree} over {self.intervals} intervals'

    @cached_property
    def _knots(self) -> Array:
        inner = np.linspace(0.0, 1.0, self.intervals + 1)
        return np.concatenate([np.zeros(self.degree), inner, np.ones(self.degree)])

    def values(self, points_unit: Array) -> Array:
        """Return the functions (n, size) at points (n, 3) of the unit cube; a point outside counts as on its border."""
        along = self._along(np.clip(points_unit, 0.0, 1.0).T.reshape(-1))
        x, y, z = along.reshape(3, len(points_unit), self.per_axis)
        products = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
        return np.asarray(products.reshape(len(points_unit), self.size))

    def _along(self, places: Array) -> Array:
        """Return the functions (n, per_axis) at places (n,) along one axis; Cox and de Boor's recursion."""
        knots, place = self._knots, places[:, None]
        last = self.degree + self.intervals - 1
        interval = np.minimum(np.searchsorted(knots, places, side='right') - 1, last)
        found = (np.arange(len(knots) - 1) == interval[:, None]).astype(float)
        for degree in range(1, self.degree + 1):
            left, right = knots[:-degree], knots[degree:]
            width = right - left
            safe = np.where(width > 0.0, width, 1.0)
            rising = np.where(width > 0.0, (place - left) / safe, 0.0)
            falling = np.where(width > 0.0, (right - place) / safe, 0.0)
            found = rising[:, :-1] * found[:, :-1] + falling[:, 1:] * found[:, 1:]
        return np.asarray(found)

    def roughness(self) -> Array:
        """Return the penalty (size, size): squared second differences of the coefficients along each axis."""
        count = self.per_axis
        second = np.diff(np.eye(count), 2, axis=0)
        one, unit = second.T @ second, np.eye(count)
        return np.asarray(
            np.kron(np.kron(one, unit), unit) + np.kron(np.kron(unit, one), unit) + np.kron(np.kron(unit, unit), one)
        )
