"""Corners of a tag from lines fitted to its edges, with their covariance.

An edge of a tag is a straight step from black to white. Where it lies across each of many short profiles is known to a
fraction of a pixel from the area below the profile (Ghosal and Mehrotra 1993, first moment); a line through these
points and its neighbour meet in the corner. Rounding by blur, which pulls any corner found on its own inwards, does not
touch the middle of the edges.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.edge_kernels import LINE, MOST_POINTS, fit_line, meet, refine

ToIdeal = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class RefinedTag:
    """Corners of one tag.

    Args:
        pixels: In the image [px], shape (4, 2).
        ideal: Without the distortion of the lens [px], shape (4, 2).
        covariance: Of the ideal corners (u0, v0, u1, …) [px²], shape (8, 8).
    """

    pixels: Array
    ideal: Array
    covariance: Array


def refine_corners(image: NDArray[np.uint8], corners: Array, cells: int, to_ideal: ToIdeal | None) -> RefinedTag | None:
    """Refine the rough corners of a tag.

    Args:
        image: Grey, shape (h, w).
        corners: Rough corners [px], clockwise in the image, shape (4, 2).
        cells: Cells along the side of the tag, its border included.
        to_ideal: Takes the distortion of the lens from pixels (n, 2); None for a lens without one.

    Returns:
        The corners, or None where the edges carry no lines.
    """
    pixels = np.array(corners, float)
    points, counts, lines = np.empty((4, MOST_POINTS, 2)), np.empty(4, np.int64), np.empty((4, LINE))
    if not refine(np.ascontiguousarray(image), pixels, cells, points, counts, lines):
        return None
    if to_ideal is None:
        return RefinedTag(pixels, pixels, _corner_covariance(lines, pixels))
    straight = to_ideal(np.concatenate([points[k, : counts[k]] for k in range(4)]))
    for line, edge in zip(lines, np.split(straight, np.cumsum(counts)[:-1]), strict=True):
        fit_line(np.ascontiguousarray(edge, float), len(edge), line)
    ideal = np.empty((4, 2))
    return RefinedTag(pixels, ideal, _corner_covariance(lines, ideal)) if meet(lines, ideal) else None


def _corner_covariance(lines: Array, corners: Array) -> Array:
    """Propagate the noise of each line, an offset and a slope, to the two corners at its ends."""
    root = np.zeros((8, 8))  # corners by (offset, slope) of each line
    for k in range(4):
        solve = np.linalg.inv(np.stack([lines[k - 1, 4:6], lines[k, 4:6]]))
        for column, number in enumerate(((k - 1) % 4, k)):
            sigma, spread, common = lines[number, 6:9]
            place = float((corners[k] - lines[number, :2]) @ lines[number, 2:4]) / max(spread, 1e-9)
            root[2 * k : 2 * k + 2, 2 * number] += solve[:, column] * np.hypot(sigma, common)
            root[2 * k : 2 * k + 2, 2 * number + 1] += solve[:, column] * sigma * place
    return np.asarray(root @ root.T)
