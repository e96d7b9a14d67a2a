"""One score for several trials, from measures that weigh by how much they tell the trials apart.

The entropy weight method (Shannon 1948; as used for surgical trials by Cai et al. 2023): a measure that is alike in all
trials tells nothing and weighs nothing.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class EntropyScore:
    """Scores of trials.

    Args:
        scores: 0 for the worst in all measures to 1 for the best, shape (n,).
        weights: Weight of each measure, sums to 1, shape (m,).
        entropies: Entropy of each measure, 1 when it tells nothing, shape (m,).
    """

    scores: Array
    weights: Array
    entropies: Array


def entropy_score(measures: Array, *, more_is_better: Array) -> EntropyScore:
    """Score trials among each other.

    Args:
        measures: A row for each trial, shape (n, m), n at least 2.
        more_is_better: Whether more of a measure is better, shape (m,).

    Raises:
        InputError: for fewer than two trials, or values that are not finite.
    """
    measures = np.asarray(measures, dtype=float)
    if measures.ndim != 2 or len(measures) < 2 or len(more_is_better) != measures.shape[1]:
        raise InputError(f'measures of shape {measures.shape}: a score compares at least two trials')
    if not np.isfinite(measures).all():
        raise InputError('measures are not finite')
    low, high = measures.min(axis=0), measures.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    good = np.where(more_is_better, measures - low, high - measures) / spread
    good = np.where(high > low, good, 1.0)
    shares = good / good.sum(axis=0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0.0)
    entropies = -np.sum(shares * logs, axis=0) / np.log(len(measures))
    told = np.maximum(1.0 - entropies, 0.0)
    count = measures.shape[1]
    weights = told / told.sum() if told.sum() > 1e-12 else np.full(count, 1.0 / count)
    return EntropyScore(good @ weights, weights, entropies)
