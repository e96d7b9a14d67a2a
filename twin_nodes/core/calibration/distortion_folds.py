"""Choosing the model of a distortion field by nested cross-validation over cells of space.

Folds are whole cells of space, because neighbouring samples of a sweep are nearly copies of one another (Roberts et al.
2017, "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic structure", Ecography
40).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.distortion_basis import TensorBasis
from twin_nodes.core.geometry.se3 import Array

Model = tuple[TensorBasis, tuple[float, ...]]  # functions, and the smoothness that is tried with them
MAX_CELLS = 8
_FOLDS = 5
_RIDGE = 1e-9
_SEED = 20000607


@dataclass(frozen=True)
class Candidate:
    """One model that was tried: its functions, its smoothness, and its held-out residual [m, RMS]."""

    basis: TensorBasis
    smoothness: float
    residual: float


@dataclass(frozen=True, eq=False)
class Trial:
    """The chosen model, all that were tried, and the held-out residuals (n, c) of nested cross-validation."""

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    residuals: Array


def folds_of(points: Array) -> NDArray[np.intp]:
    """Return the fold (n,) of each point [m], shape (n, 3): cells of space are dealt out at random, always alike."""
    low, high = points.min(axis=0), points.max(axis=0)
    cells = int(np.clip(round(len(points) ** (1.0 / 3.0)), 3, MAX_CELLS))
    place = np.minimum(((points - low) / (high - low) * cells).astype(int), cells - 1)
    _, number = np.unique(place @ [cells * cells, cells, 1], return_inverse=True)
    dealt = np.random.default_rng(_SEED).permutation(int(number.max()) + 1) % _FOLDS
    return np.asarray(dealt[number])


def cross_validate(points: Array, wanted: Array, models: list[Model]) -> Trial:
    """Nested cross-validation: the model for a fold is chosen by the other folds only."""
    folds = folds_of(points)
    weights = 1.0 / np.repeat(np.sqrt((wanted.reshape(len(wanted), -1, 3) ** 2).mean(axis=(0, 2))) + 1e-12, 3)
    low, high = box(points)
    tried: list[tuple[TensorBasis, float]] = []
    outer: list[Array] = []  # by model: residuals with the fold of each pose left out
    inner: list[Array] = []  # by model: (fold left out besides, n) squared and weighted
    for basis, many in models:
        values = basis.values((points - low) / (high - low))
        grams, rights = _normal_by_fold(values, wanted, folds)
        penalty = basis.roughness()
        for smoothness in many:
            single, double = _left_out(values, wanted, folds, grams, rights, penalty * smoothness)
            tried.append((basis, smoothness))
            outer.append(single)
            inner.append(((double * weights) ** 2).sum(axis=2))
    residuals = np.empty_like(wanted)
    for fold in range(_FOLDS):
        others = folds != fold
        best = int(np.argmin([scores[fold, others].mean() for scores in inner]))
        residuals[~others] = outer[best][~others]
    means = [float((((left * weights) ** 2).sum(axis=1)).mean()) for left in outer]
    lengths = [float(np.sqrt((left[:, :3] ** 2).sum(axis=1).mean())) for left in outer]
    order = np.argsort(means)
    candidates = tuple(Candidate(tried[i][0], tried[i][1], lengths[i]) for i in order)
    return Trial(candidates[0], candidates, residuals)


def _normal_by_fold(values: Array, wanted: Array, folds: NDArray[np.intp]) -> tuple[Array, Array]:
    grams = np.stack([values[folds == fold].T @ values[folds == fold] for fold in range(_FOLDS)])
    rights = np.stack([values[folds == fold].T @ wanted[folds == fold] for fold in range(_FOLDS)])
    return grams, rights


def _left_out(
    values: Array, wanted: Array, folds: NDArray[np.intp], grams: Array, rights: Array, penalty: Array
) -> tuple[Array, Array]:
    """Return residuals (n, c) with the fold of each pose left out, and (folds, n, c) with one more left out."""
    gram, right = grams.sum(axis=0), rights.sum(axis=0)
    single, double = np.empty_like(wanted), np.zeros((_FOLDS, *wanted.shape))
    for fold in range(_FOLDS):
        inside = folds == fold
        solution = solve(gram - grams[fold], right - rights[fold], penalty)
        single[inside] = wanted[inside] - values[inside] @ solution
    for one, other in combinations(range(_FOLDS), 2):
        solution = solve(gram - grams[one] - grams[other], right - rights[one] - rights[other], penalty)
        for fold, without in ((one, other), (other, one)):
            inside = folds == fold
            double[without, inside] = wanted[inside] - values[inside] @ solution
    return single, double


def regularised(gram: Array, penalty: Array) -> Array:
    """Return the normal matrix (k, k) with the penalty in units of its own trace."""
    size = float(np.trace(gram)) / len(gram)
    return np.asarray(gram + size * (penalty * len(gram) + _RIDGE * np.eye(len(gram))))


def solve(gram: Array, right: Array, penalty: Array) -> Array:
    """Return the coefficients (k, c) of regularised least squares."""
    from scipy.linalg import cho_factor, cho_solve

    return np.asarray(cho_solve(cho_factor(regularised(gram, penalty), check_finite=False), right, check_finite=False))


def box(points: Array) -> tuple[Array, Array]:
    """Return the corners (3,) [m] of a box with a little air around points [m], shape (n, 3)."""
    low, high = points.min(axis=0), points.max(axis=0)
    around = 0.02 * (high - low)
    return low - around, high + around
