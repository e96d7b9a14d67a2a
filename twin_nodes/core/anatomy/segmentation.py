"""From measured values to structures: a threshold, the pieces worth keeping, their holes and gaps closed."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.case_config import StructureConfig
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

Mask = NDArray[np.bool_]


def segment(values: NDArray[Any], spacing: Array, config: StructureConfig) -> Mask:
    """Return where a structure is, by the threshold and then `refine`.

    Args:
        values: Value of each voxel, shape (ni, nj, nk).
        spacing: Size of a voxel along each axis [m], shape (3,).
        config: Thresholds and what is kept.

    Raises:
        InputError: ANATOMY_REFUSED when nothing is left; it says what the values are.
    """
    inside = (values >= config.above) & (values <= config.below)
    if not inside.any():
        raise InputError(
            f'structure {config.name!r}: no voxel lies within {config.above:g} … {config.below:g}; the values are '
            f'{float(values.min()):g} … {float(values.max()):g}',
            code='ANATOMY_REFUSED',
        )
    return refine(inside, spacing, config)


def refine(inside: Mask, spacing: Array, config: StructureConfig) -> Mask:
    """Close gaps, fill holes and leave out small pieces, in this order, as the config asks.

    Raises:
        InputError: ANATOMY_REFUSED when nothing is left.
    """
    low = [int(index.min()) for index in np.nonzero(inside)]
    high = [int(index.max()) + 1 for index in np.nonzero(inside)]
    border = [math.ceil(config.close / float(step)) + 1 for step in spacing]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part: Mask = np.pad(inside[box], [(width, width) for width in border])
    if config.close > 0.0:
        part = _closed(part, spacing, config.close)
    if config.fill:
        part = _filled(part)
    if config.keep or config.smallest > 0.0:
        part = _kept(part, float(np.prod(spacing)), config)
    result = np.zeros_like(inside)
    inner = []
    for axis in range(3):
        first = max(0, low[axis] - border[axis])
        last = min(inside.shape[axis], high[axis] + border[axis])
        inner.append((slice(first, last), slice(first - low[axis] + border[axis], last - low[axis] + border[axis])))
    result[tuple(own for own, _ in inner)] = part[tuple(other for _, other in inner)]
    return result


def _closed(inside: Mask, spacing: Array, reach: float) -> Mask:
    """Fill what a ball of a radius [m] cannot enter from outside, by two distance transforms."""
    from scipy.ndimage import distance_transform_edt

    grown = distance_transform_edt(~inside, sampling=tuple(spacing)) <= reach
    return np.asarray(distance_transform_edt(grown, sampling=tuple(spacing)) > reach) | inside


def _filled(inside: Mask) -> Mask:
    """Fill holes that have no way out."""
    from scipy.ndimage import label

    pieces, _ = label(~inside)
    outside = pieces[0, 0, 0]  # the border is outside
    return np.asarray(pieces != outside)


def _kept(inside: Mask, voxel: float, config: StructureConfig) -> Mask:
    """Keep the largest pieces, and of these the ones that are large enough."""
    from scipy.ndimage import label

    pieces, count = label(inside)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(-sizes, kind='stable')[: config.keep or count]
    kept = [int(piece) for piece in order if sizes[piece] > 0 and sizes[piece] * voxel >= config.smallest]
    if not kept:
        raise InputError(
            f'structure {config.name!r}: none of {count} pieces reaches smallest={config.smallest:g} m³; the largest '
            f'has {float(sizes.max()) * voxel:.3g} m³',
            code='ANATOMY_REFUSED',
        )
    return np.asarray(np.isin(pieces, kept))
