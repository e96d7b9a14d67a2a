"""Compiled steps of `edges`: edge points from profiles, lines through them, and the corners where lines meet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.geometry.covariance import TO_SIGMA

MOST_POINTS = 24  # on one edge
LINE = 10  # origin, along, normal (two each), sigma, spread, common, width
_MARGIN = 0.12  # of the edge left out at both corners
_LEAST_POINTS = 6
_STEP = 0.5
_PASSES = 3
_LEAST_SIGMA = 0.02  # of one profile [px]
_LEAST_CONTRAST = 10.0
_WIDTHS = 2.5  # of the blur on each side of the step, that a profile must span


@njit(cache=True)
def refine(image: Any, corners: Any, cells: int, points: Any, counts: Any, lines: Any) -> bool:
    """Move the corners of a tag to where lines through its edges meet.

    Args:
        image: Grey, shape (h, w).
        corners: Rough corners [px], clockwise in the image, shape (4, 2); moved.
        cells: Cells along the side of the tag, its border included.
        points: Filled with the points of each edge [px], shape (4, MOST_POINTS, 2).
        counts: Filled with their number, shape (4,).
        lines: Filled with the line of each edge, shape (4, LINE).

    Returns:
        Whether the edges carry lines.
    """
    narrow = 0.0
    moved = np.empty((4, 2))
    for number in range(_PASSES):
        for k in range(4):
            counts[k] = _fit_edge(image, corners, k, cells, narrow, points[k], lines[k])
            if counts[k] == 0:
                return False
        if not meet(lines, moved):
            return False
        change = np.abs(moved - corners).max()
        if change > 0.25 * _shortest(corners):
            return False
        corners[:] = moved
        if number > 0 and change < 0.02:
            break
        narrow = min(max(_WIDTHS * _middle(lines[:, 9].copy()) + 0.5, 1.5), 4.0)
    return True


@njit(cache=True)
def fit_line(points: Any, count: int, line: Any) -> int:
    """Fit a line by total least squares, once more without what lies off it.

    Args:
        points: The first `count` are used; those kept are moved to the front [px], shape (n, 2).
        count: How many.
        line: Origin, direction, normal, sigma and spread are filled in, shape (LINE,).

    Returns:
        How many points were kept.
    """
    keep = np.ones(count, np.bool_)
    off = np.empty(count)
    for _ in range(2):
        kept = 0
        ox = oy = 0.0
        for i in range(count):
            if keep[i]:
                kept += 1
                ox += points[i, 0]
                oy += points[i, 1]
        ox, oy = ox / kept, oy / kept
        xx = xy = yy = 0.0
        for i in range(count):
            if keep[i]:
                dx, dy = points[i, 0] - ox, points[i, 1] - oy
                xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
        angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
        ax, ay = np.cos(angle), np.sin(angle)
        inner = np.empty(kept)
        at = 0
        for i in range(count):
            off[i] = (points[i, 1] - oy) * ax - (points[i, 0] - ox) * ay
            if keep[i]:
                inner[at] = abs(off[i])
                at += 1
        limit = max(3.5 * TO_SIGMA * _middle(inner), 0.1)
        for i in range(count):
            keep[i] = abs(off[i]) <= limit
    at = 0
    squares = spread = 0.0
    for i in range(count):
        if keep[i]:
            squares += off[i] ** 2
            spread += ((points[i, 0] - ox) * ax + (points[i, 1] - oy) * ay) ** 2
            points[at] = points[i]
            at += 1
    line[0], line[1], line[2], line[3], line[4], line[5] = ox, oy, ax, ay, -ay, ax
    line[6] = max(np.sqrt(squares / max(at - 2, 1)), _LEAST_SIGMA) / np.sqrt(at)
    line[7] = np.sqrt(spread / at)
    return at


@njit(cache=True)
def meet(lines: Any, corners: Any) -> bool:
    """Fill in the corners (4, 2) where line k - 1 meets line k; false where two are nearly parallel."""
    for k in range(4):
        a, b = lines[k - 1], lines[k]
        det = a[4] * b[5] - a[5] * b[4]
        if abs(det) < 0.05:
            return False
        left, right = a[4] * a[0] + a[5] * a[1], b[4] * b[0] + b[5] * b[1]
        corners[k, 0] = (left * b[5] - right * a[5]) / det
        corners[k, 1] = (right * a[4] - left * b[4]) / det
    return True


@njit(cache=True)
def _fit_edge(image: Any, corners: Any, k: int, cells: int, narrow: float, points: Any, line: Any) -> int:
    # narrow: reach of the profiles [px] where it is known how blurred the edge is, else 0
    """Find the points of the edge from corner k to k + 1 and the line through them; returns how many, or 0."""
    start, end = corners[k], corners[(k + 1) % 4]
    length = np.hypot(end[0] - start[0], end[1] - start[1])
    if length < 4.0:
        return 0
    ax, ay = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    nx, ny = ay, -ax  # outwards: the corners run clockwise in the image, y down
    reach = max(min(0.8 * length / cells, narrow if narrow > 0.0 else 4.0), 1.5)
    count = int(min(max((1.0 - 2.0 * _MARGIN) * length, _LEAST_POINTS), MOST_POINTS))
    half = max(int(np.rint(reach / _STEP)), 3)
    profiles = np.empty((count, 2 * half + 1))
    places = np.empty((count, 2))
    for i in range(count):
        share = _MARGIN + (1.0 - 2.0 * _MARGIN) * i / (count - 1)
        places[i, 0], places[i, 1] = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
    if not _sample(image, places, nx, ny, half, profiles):
        return 0
    black, white = _middle(profiles[:, :3].copy().ravel()), _middle(profiles[:, -3:].copy().ravel())
    contrast = white - black
    if contrast < _LEAST_CONTRAST:
        return 0
    inside = 0
    step = np.zeros(2 * half + 1)
    for i in range(count):
        area = 0.0
        for j in range(2 * half + 1):
            share = (white - profiles[i, j]) / contrast
            step[j] += share / count
            area += share if 0 < j < 2 * half else 0.5 * share
        at = _STEP * (area - half)
        if abs(at) < reach:
            points[inside, 0], points[inside, 1] = places[i, 0] + at * nx, places[i, 1] + at * ny
            inside += 1
    if inside < max(_LEAST_POINTS - 2, count // 2):
        return 0
    # an error of the levels moves all points of the edge alike, so their scatter does not show it; over the ends of
    # the profiles, from which the levels come, it cancels (1.25 px, for a median with a correlation of 0.8)
    grain = TO_SIGMA * _middle(np.abs(profiles[:, -3:] - white).ravel())
    level = 1.25 * grain / np.sqrt(2.0 * count) / contrast
    kept = fit_line(points, inside, line)
    blur = _width(step, half)
    # cells so small that the blur of the next one reaches in: measured, a tenth of what the profile is too short
    crowded = 0.1 * max(_WIDTHS * blur + 0.5 - reach, 0.0)
    line[8] = np.hypot(np.sqrt(2.0) * (reach - 1.0) * level, crowded)
    line[9] = blur
    return kept


@njit(cache=True)
def _sample(image: Any, places: Any, nx: float, ny: float, half: int, profiles: Any) -> bool:
    """Interpolate the image along the normal at each place; OpenCV's remap would round to 1/32 of a pixel."""
    height, width = image.shape
    for i in range(len(places)):
        for j in range(2 * half + 1):
            x, y = places[i, 0] + (j - half) * _STEP * nx, places[i, 1] + (j - half) * _STEP * ny
            if not (0.0 <= x < width - 1 and 0.0 <= y < height - 1):
                return False
            u, v = int(x), int(y)
            fx, fy = x - u, y - v
            above = image[v, u] * (1.0 - fx) + image[v, u + 1] * fx
            below = image[v + 1, u] * (1.0 - fx) + image[v + 1, u + 1] * fx
            profiles[i, j] = above * (1.0 - fy) + below * fy
    return True


@njit(cache=True)
def _width(step: Any, half: int) -> Any:
    """Return the standard deviation [px] of the step that the profiles have in common."""
    total = mean = 0.0
    for j in range(2 * half):
        slope = max(step[j] - step[j + 1], 0.0)
        total += slope
        mean += slope * (j - half + 0.5) * _STEP
    if total <= 0.0:
        return 1.0
    mean /= total
    square = 0.0
    for j in range(2 * half):
        square += max(step[j] - step[j + 1], 0.0) * ((j - half + 0.5) * _STEP - mean) ** 2
    return np.sqrt(square / total)


@njit(cache=True)
def _middle(values: Any) -> Any:
    """Return the median of an array of one dimension, which is sorted."""
    values.sort()
    return 0.5 * (values[(len(values) - 1) // 2] + values[len(values) // 2])


@njit(cache=True)
def _shortest(corners: Any) -> float:
    """Return the length of the shortest side of a quadrilateral (4, 2)."""
    least = np.inf
    for k in range(4):
        least = min(least, np.hypot(corners[k, 0] - corners[k - 1, 0], corners[k, 1] - corners[k - 1, 1]))
    return least
