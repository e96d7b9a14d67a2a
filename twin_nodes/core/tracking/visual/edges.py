"""Corners of a tag from lines fitted to its edges, with their covariance.

An edge of a tag is a straight step from black to white. Where it lies across each of many short profiles is known to a
fraction of a pixel from the area below the profile (Ghosal and Mehrotra 1993, first moment); a line through these
points and its neighbour meet in the corner. Rounding by blur, which pulls any corner found on its own inwards, does not
touch the middle of the edges.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array

ToIdeal = Callable[[Array], Array]
_MARGIN = 0.12  # of the edge left out at both corners
_MAX_SAMPLES = 24
_MIN_SAMPLES = 6
_STEP = 0.5
_PASSES = 3
_LEAST_SIGMA = 0.02  # of one profile [px]
_LEAST_CONTRAST = 10.0
_WIDTHS = 2.5  # of the blur on each side of the step, that a profile must span


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
    rough = np.asarray(corners, float)
    fits: list[_Line] = []
    narrow = 0.0
    for number in range(_PASSES):
        fits = [line for k in range(4) if (line := _fit_edge(image, rough, k, cells, narrow=narrow)) is not None]
        if len(fits) < 4:
            return None
        moved = _meet(fits)
        if moved is None or np.abs(moved - rough).max() > 0.25 * _shortest(rough):
            return None
        change, rough = float(np.abs(moved - rough).max()), moved
        if number and change < 0.02:
            break
        narrow = float(np.clip(_WIDTHS * np.median([line.width for line in fits]) + 0.5, 1.5, 4.0))
    if to_ideal is None:
        return RefinedTag(rough, rough, _corner_covariance(fits, rough))
    ends = np.cumsum([len(line.points) for line in fits])[:-1]
    every = np.split(to_ideal(np.concatenate([line.points for line in fits])), ends)
    fits = [line.through(points) for line, points in zip(fits, every, strict=True)]
    ideal = _meet(fits)
    return None if ideal is None else RefinedTag(rough, ideal, _corner_covariance(fits, ideal))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line through edge points: origin, direction and normal, noise and spread of the points, width of the step."""

    points: Array
    origin: Array
    along: Array
    normal: Array
    sigma: float
    spread: float
    common: float = 0.0
    width: float = 1.0

    def through(self, points: Array) -> '_Line':
        return replace(_line(points), common=self.common)


def _line(points: Array) -> _Line:
    """Fit a line by total least squares, once more without what lies off it."""
    keep = np.ones(len(points), bool)
    for _ in range(2):
        origin = points[keep].mean(axis=0)
        centred = points - origin
        xx, xy, yy = (centred[keep].T @ centred[keep]).ravel()[[0, 1, 3]]
        angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
        along = np.array([np.cos(angle), np.sin(angle)])
        normal = np.array([-along[1], along[0]])
        off = centred @ normal
        scale = 1.4826 * _middle(np.abs(off[keep]))
        keep = np.abs(off) <= max(3.5 * scale, 0.1)
    kept = off[keep]
    count = len(kept)
    sigma = max(float(np.sqrt(kept @ kept / max(count - 2, 1))), _LEAST_SIGMA) / np.sqrt(count)
    spread = float(np.sqrt(np.mean((centred[keep] @ along) ** 2)))
    return _Line(points[keep], origin, along, normal, sigma, spread)


def _fit_edge(image: NDArray[np.uint8], corners: Array, k: int, cells: int, *, narrow: float) -> _Line | None:
    # narrow: reach of the profiles [px] where it is known how blurred the edge is, else 0
    """Find the points of the edge from corner k to k + 1 and the line through them."""
    start, end = corners[k], corners[(k + 1) % 4]
    length = float(np.hypot(*(end - start)))
    if length < 4.0:
        return None
    along = (end - start) / length
    outward = np.array([along[1], -along[0]])  # the corners run clockwise in the image, y down
    reach = max(min(0.8 * length / cells, narrow or 4.0), 1.5)
    count = int(np.clip((1.0 - 2.0 * _MARGIN) * length, _MIN_SAMPLES, _MAX_SAMPLES))
    places = start + np.linspace(_MARGIN, 1.0 - _MARGIN, count)[:, None] * (end - start)
    half = max(round(reach / _STEP), 3)
    offsets = np.arange(-half, half + 1) * _STEP
    grid = places[:, None, :] + offsets[None, :, None] * outward
    height, width = image.shape
    if grid.min() < 0.0 or grid[..., 0].max() >= width - 1 or grid[..., 1].max() >= height - 1:
        return None
    profiles = _sample(image, grid)
    black, white = _middle(profiles[:, :3]), _middle(profiles[:, -3:])
    contrast = white - black
    if contrast < _LEAST_CONTRAST:
        return None
    share = (white - profiles) / contrast
    weights = np.ones(len(offsets))
    weights[[0, -1]] = 0.5
    at = offsets[0] + _STEP * (share @ weights)
    inside = np.abs(at) < reach
    if np.count_nonzero(inside) < max(_MIN_SAMPLES - 2, count // 2):
        return None
    # an error of the levels moves all points of the edge alike, so their scatter does not show it; over the ends of
    # the profiles, from which the levels come, it cancels (1.25 px, for a median with a correlation of 0.8)
    grain = 1.4826 * _middle(np.abs(profiles[:, -3:] - white))
    level = 1.25 * grain / np.sqrt(2.0 * count) / contrast
    line = _line(places[inside] + at[inside, None] * outward)
    blur = _width(np.asarray(share), np.asarray(offsets, float))
    # cells so small that the blur of the next one reaches in: measured, a tenth of what the profile is too short
    crowded = 0.1 * max(_WIDTHS * blur + 0.5 - reach, 0.0)
    return replace(line, common=float(np.hypot(np.sqrt(2.0) * (reach - 1.0) * level, crowded)), width=blur)


def _middle(values: Array) -> float:
    """Return the median; numpy's own takes longer than all the rest of an edge."""
    flat = np.sort(values, axis=None)
    return float(0.5 * (flat[(len(flat) - 1) // 2] + flat[len(flat) // 2]))


def _width(share: Array, offsets: Array) -> float:
    """Return the standard deviation [px] of the step that the profiles have in common."""
    slope = np.maximum(-np.diff(share.mean(axis=0)), 0.0)
    middle = offsets[:-1] + 0.5 * _STEP
    total = float(slope.sum())
    if total <= 0.0:
        return 1.0
    mean = float(slope @ middle) / total
    return float(np.sqrt(slope @ (middle - mean) ** 2 / total))


def _sample(image: NDArray[np.uint8], grid: Array) -> Array:
    """Interpolate an image at places (…, 2) inside it; OpenCV's remap would round them to 1/32 of a pixel."""
    whole = grid.astype(np.int64)
    x, y = np.moveaxis(grid - whole, -1, 0)
    flat = image.reshape(-1)
    at = whole[..., 1] * image.shape[1] + whole[..., 0]
    above = flat[at] * (1.0 - x) + flat[at + 1] * x
    below = flat[at + image.shape[1]] * (1.0 - x) + flat[at + image.shape[1] + 1] * x
    return np.asarray(above * (1.0 - y) + below * y)


def _meet(lines: list[_Line]) -> Array | None:
    """Return the corners (4, 2) where line k - 1 meets line k."""
    corners = np.empty((4, 2))
    for k in range(4):
        normals = np.stack([lines[k - 1].normal, lines[k].normal])
        if abs(float(normals[0, 0] * normals[1, 1] - normals[0, 1] * normals[1, 0])) < 0.05:
            return None
        heights = np.array([lines[k - 1].normal @ lines[k - 1].origin, lines[k].normal @ lines[k].origin])
        corners[k] = np.linalg.solve(normals, heights)
    return corners


def _corner_covariance(lines: list[_Line], corners: Array) -> Array:
    """Propagate the noise of each line, an offset and a slope, to the two corners at its ends."""
    root = np.zeros((8, 8))  # corners by (offset, slope) of each line
    for k in range(4):
        before, after = lines[k - 1], lines[k]
        solve = np.linalg.inv(np.stack([before.normal, after.normal]))
        for column, (number, line) in enumerate((((k - 1) % 4, before), (k, after))):
            place = float((corners[k] - line.origin) @ line.along) / max(line.spread, 1e-9)
            root[2 * k : 2 * k + 2, 2 * number] += solve[:, column] * np.hypot(line.sigma, line.common)
            root[2 * k : 2 * k + 2, 2 * number + 1] += solve[:, column] * line.sigma * place
    return np.asarray(root @ root.T)


def _shortest(corners: Array) -> float:
    return float(np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).min())
