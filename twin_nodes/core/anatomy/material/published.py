"""Fits that others published, and the curve that they pin down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from twin_nodes.core.anatomy.material.curves import PooledCurve
from twin_nodes.core.anatomy.material.uniaxial import LAWS
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

STRAIN_REACH = 2e-3  # around the greatest strain of one's own tests
LINEAR = ('neo_hookean', 'yeoh_1', 'yeoh_2', 'yeoh_3', 'mooney_rivlin_2', 'mooney_rivlin_3')


@dataclass(frozen=True, eq=False)
class PublishedFit:
    """One published fit.

    Args:
        material: What was tested.
        measure: 'engineering' or 'true'.
        law: Name in `uniaxial.LAWS`.
        parameters: Moduli [Pa], then shapes.
        sse: Sum of squared differences over 1000 equally spaced strains [Pa²].
        aic: Akaike's figure with stress in `unit`.
        unit: Of the published stress [Pa].
    """

    material: str
    measure: str
    law: str
    parameters: Array
    sse: float
    aic: float
    unit: float


def square_sums(fits: Sequence[PublishedFit], stretch: Array, measure: str) -> dict[str, float]:
    """Return Σ stress² of the curve that was fitted, as each linear law's fit tells it [Pa²].

    At the least of Σ (s - y)² over moduli that enter linearly, Σ y² = SSE + Σ s². So one curve, its points and its
    definition of SSE give the same number from every law; another definition does not.
    """
    factor = stretch if measure == 'true' else 1.0
    sums = {}
    for fit in fits:
        if fit.law in LINEAR:
            s = factor * LAWS[fit.law].stress(stretch, fit.parameters)
            sums[fit.law] = fit.sse + float(s @ s)
    return sums


def recovered_curve(fits: Sequence[PublishedFit], near: PooledCurve) -> PooledCurve:
    """Return the curve nearest to one's own on which every published fit has exactly its published SSE.

    What others fitted may be the mean of more tests than they gave away. Each fit tells Σ s y = (Σ y² + Σ s² - SSE)/2,
    and the linear ones tell Σ y² (`square_sums`): linear conditions and a sphere, met by the least change. The
    greatest strain is the one at which the linear laws agree best on Σ y².

    Args:
        fits: Of one material and measure, with at least one linear law among them.
        near: One's own curve of the same.

    Raises:
        DegenerateGeometryError: MATERIAL_TEST_REFUSED where no curve is consistent with the fits.
    """
    if not any(fit.law in LINEAR for fit in fits):
        raise DegenerateGeometryError('no published fit of a linear law: Σ y² unknown', code='MATERIAL_TEST_REFUSED')
    near = _at_published_strains(fits, near)
    total = float(np.median(list(square_sums(fits, near.stretch, near.measure).values())))
    rows = np.stack([near.factor * LAWS[fit.law].stress(near.stretch, fit.parameters) for fit in fits])
    wanted = np.array([0.5 * (total + float(s @ s) - fit.sse) for s, fit in zip(rows, fits, strict=True)])
    size = np.linalg.norm(rows, axis=1)
    rows, wanted = rows / size[:, None], wanted / size
    inverse = np.linalg.pinv(rows, rcond=1e-7)
    least = inverse @ wanted  # the part that the conditions fix
    rest = near.stress - inverse @ (rows @ near.stress)  # the part of one's own curve that they do not see
    room = total - float(least @ least)
    if room < 0.0 or np.linalg.norm(rows @ least - wanted) > 1e-6 * np.linalg.norm(wanted):
        raise DegenerateGeometryError('the published fits contradict each other', code='MATERIAL_TEST_REFUSED')
    stress = least + rest * np.sqrt(room / float(rest @ rest))
    return replace(near, stress=np.asarray(stress, np.float64))


def _at_published_strains(fits: Sequence[PublishedFit], near: PooledCurve) -> PooledCurve:
    """Bring a curve to the greatest strain at which the published linear fits agree on one curve."""
    count = len(near.stretch)

    def spaced(end: float) -> Array:
        if near.measure == 'true':
            return np.asarray(np.exp(np.linspace(0.0, np.log1p(-end), count)))
        return 1.0 - np.linspace(0.0, end, count)

    def disagreement(end: float) -> float:
        values = np.array(list(square_sums(fits, spaced(end), near.measure).values()))
        return float(np.ptp(values) / values.mean())

    seen = float(1.0 - near.stretch.min())
    tries = seen + np.linspace(-STRAIN_REACH, STRAIN_REACH, 401)
    first = float(tries[int(np.argmin([disagreement(end) for end in tries]))])
    width = 2.0 * STRAIN_REACH / 400
    found = minimize_scalar(  # the shift, not the end: its tolerance is a share of what is sought
        lambda shift: disagreement(first + shift), bounds=(-width, width), method='bounded', options={'xatol': 1e-14}
    )
    stretch = spaced(first + float(found.x))

    def carried(values: Array) -> Array:
        return np.asarray(np.interp(-stretch, -near.stretch, values))

    by_specimen = np.stack([carried(row) for row in near.by_specimen])
    within = np.stack([carried(row) for row in near.within])
    return replace(near, stretch=stretch, stress=carried(near.stress), by_specimen=by_specimen, within=within)
