"""The corners of faces, sorted by the vertex that they are at."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def corners_at(faces: Any, vertices: int) -> Any:
    """Return the corners at each vertex, in the order of the faces.

    Args:
        faces: Vertices of triangles or quads, shape (f, k).
        vertices: How many vertices there are.

    Returns:
        Starts (vertices + 1,) and corners (f · k,): corner c of face f bears the number k f + c.
    """
    sides = faces.shape[1]
    starts = np.zeros(vertices + 1, np.int32)
    for f in range(len(faces)):
        for c in range(sides):
            starts[faces[f, c] + 1] += 1
    for v in range(vertices):
        starts[v + 1] += starts[v]
    place = starts[:-1].copy()
    corners = np.empty(sides * len(faces), np.int32)
    for f in range(len(faces)):
        for c in range(sides):
            v = faces[f, c]
            corners[place[v]] = sides * f + c
            place[v] += 1
    return starts, corners
