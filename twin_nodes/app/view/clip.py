"""Cuts meshes along a plane, so that one sees inside."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array

AXES = {'left – right': 0, 'front – back': 1, 'foot – head': 2}  # of the anatomy frame, LPS
TIP_STEP = 0.00025


@dataclass(frozen=True)
class ClipPlane:
    """What is on the far side is cut away: points p of the anatomy with sign · p[axis] > sign · offset.

    Args:
        axis: 0, 1 or 2 of the anatomy frame.
        offset: Where the plane is on that axis [m].
        sign: 1 keeps what is below the offset, -1 what is above.
    """

    axis: int
    offset: float
    sign: int = 1

    def depth(self, points: Array) -> Array:
        """How far points (n, 3) are behind the plane [m], shape (n,)."""
        return np.asarray(self.sign * (points[:, self.axis] - self.offset))


def cut(vertices: Array, faces: np.ndarray, plane: ClipPlane) -> tuple[Array, np.ndarray, Array]:
    """Cut a mesh along a plane; triangles across it are cut exactly.

    Args:
        vertices: Shape (n, 3) [m].
        faces: Shape (m, 3).
        plane: The plane; what is not behind it stays.

    Returns:
        Vertices (n + k, 3), of which the first n are those given; faces that are left, shape (j, 3); and the rim as
        line segments, shape (i, 2, 3).
    """
    depth = plane.depth(vertices)
    kept = depth <= 0.0
    count = kept[faces].sum(axis=1)
    points, triangles, rim = [vertices], [faces[count == 3]], []
    start = len(vertices)
    for alone_kept in (True, False):
        crossing = faces[count == (1 if alone_kept else 2)]
        if not len(crossing):
            continue
        corner = np.argmax(kept[crossing] == alone_kept, axis=1)
        a, b, c = (np.take_along_axis(crossing, ((corner + turn) % 3)[:, None], axis=1)[:, 0] for turn in range(3))
        to_b, to_c = _on_plane(vertices, depth, a, b), _on_plane(vertices, depth, a, c)
        ab = np.arange(start, start + len(crossing))
        ac = ab + len(crossing)
        pieces = [[a, ab, ac]] if alone_kept else [[ab, b, c], [ab, c, ac]]
        triangles += [np.stack(piece, axis=1) for piece in pieces]
        points += [to_b, to_c]
        rim.append(np.stack([to_b, to_c], axis=1))
        start += 2 * len(crossing)
    edges = np.concatenate(rim) if rim else np.empty((0, 2, 3))
    return np.concatenate(points), np.concatenate(triangles).astype(np.uint32), edges


def _on_plane(vertices: Array, depth: Array, start: np.ndarray, end: np.ndarray) -> Array:
    """Where edges meet the plane, for edges whose ends are on its two sides."""
    share = depth[start] / (depth[start] - depth[end])
    return np.asarray(vertices[start] + share[:, None] * (vertices[end] - vertices[start]))
