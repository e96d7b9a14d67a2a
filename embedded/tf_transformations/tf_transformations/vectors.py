"""Vectors: length, direction, random ones."""

from typing import Any

import numpy as np


def vector_norm(data: Any, axis: int | None = None, out: np.ndarray | None = None) -> Any:
    """Euclidean length of a vector, or of the vectors along an axis.

    Args:
        data: Numbers of any shape.
        axis: Axis along which the vectors lie; all numbers are one vector when not given.
        out: Where the lengths go, when given.

    Returns:
        The length or lengths; None when `out` is given.
    """
    data = np.asarray(data, dtype=float)
    length = np.sqrt(np.sum(data * data, axis=axis))
    if out is None:
        return length
    out[...] = length
    return None


def unit_vector(data: Any, axis: int | None = None, out: np.ndarray | None = None) -> Any:
    """A vector, or the vectors along an axis, with length 1.

    Args:
        data: Numbers of any shape.
        axis: Axis along which the vectors lie; all numbers are one vector when not given.
        out: Where the result goes, when given.

    Returns:
        The vectors of length 1; None when `out` is given.

    Raises:
        ValueError: A vector has no direction.
    """
    data = np.asarray(data, dtype=float)
    length = np.sqrt(np.sum(data * data, axis=axis, keepdims=True))
    if not np.all(np.isfinite(length)) or np.any(length == 0.0):
        raise ValueError('a vector of zeros, NaN or Inf has no direction')
    unit = data / length
    if out is None:
        return unit
    out[...] = unit
    return None


def random_vector(size: int | tuple[int, ...]) -> np.ndarray:
    """Numbers uniform in [0, 1)."""
    return np.random.default_rng().random(size)
