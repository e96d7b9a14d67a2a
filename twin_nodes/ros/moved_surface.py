"""`anatomy/surface/moved` as PointCloud2: where the vertices of deforming structures are now, in full resolution.

Fields x y z sigma (float32), structure vertex count (uint32). The vertices of a structure are numbered in the order of
the distinct corners of its marker in `anatomy/surface/original`, sorted by x, then y, then z; `count` is their number.
`sigma` is the standard deviation of the place along any one axis [m], 0 where it is not known. One instant may come in
several messages of the same stamp.

Once a plane has cut the body (`anatomy/resect`) there is a field `beyond` (float32): how far the vertex lay beyond the
cut when it was made, negative where it is left [m]; of several cuts the greatest. What is beyond is not there any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.anatomy_clouds import MAX_BYTES
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array
from twin_nodes.ros.conversions import check_header

MOVED = 'anatomy/surface/moved'
NOTHING: Mapping[int, Array] = {}
_LEFT = -1.0  # m, of a vertex that no cut came near
MOVED_DTYPE = np.dtype(
    [(name, np.float32) for name in ('x', 'y', 'z', 'sigma')]
    + [(name, np.uint32) for name in ('structure', 'vertex', 'count')]
)
CUT_DTYPE = np.dtype([*MOVED_DTYPE.descr, ('beyond', np.float32)])
MAX_ROWS = MAX_BYTES // CUT_DTYPE.itemsize


@dataclass(frozen=True, eq=False)
class MovedPart:
    """What one message says of one structure.

    Args:
        stamp_ns: Of the instant; 0 at rest.
        structure: Number of the structure.
        count: Vertices of the structure in all.
        vertices: Which of them these are, shape (k,).
        places: Where they are [m], shape (k, 3).
        sigma: Standard deviation of each place along any one axis [m], shape (k,).
        beyond: How far each lay beyond what was cut off, negative where it is left [m], shape (k,); None: whole.
    """

    stamp_ns: int
    structure: int
    count: int
    vertices: NDArray[np.int64]
    places: Array
    sigma: Array
    beyond: Array | None = None


def numbering(surface: Surface) -> NDArray[np.int64]:
    """Return the vertices of a surface, as they stand in it, in the order in which messages number them, (count,)."""
    used = surface.triangles.ravel().astype(np.int64)
    _, first = np.unique(surface.vertices[used], axis=0, return_index=True)
    return np.asarray(used[first])


def moved_clouds(
    stamp_ns: int, frame: str, structures: list[tuple[int, Array, Array]], beyond: Mapping[int, Array] = NOTHING
) -> list[PointCloud2]:
    """Make the messages of one instant, each below 0.5 MB.

    Args:
        stamp_ns: Of the newest measurement behind it; 0 at rest.
        frame: Of the anatomy.
        structures: For each its number, places [m] (n, 3) in the order of `numbering`, and sigma [m] (n,).
        beyond: Of structures that were cut, by number, how far each vertex lay beyond [m], shape (n,); once there is
            one, the others count as left.
    """
    rows = []
    dtype = CUT_DTYPE if beyond else MOVED_DTYPE
    for number, places, sigma in structures:
        part = np.empty(len(places), dtype)
        if beyond:
            part['beyond'] = beyond.get(number, _LEFT)
        part['x'], part['y'], part['z'], part['sigma'] = *places.T, sigma
        part['structure'], part['vertex'], part['count'] = number, np.arange(len(places)), len(places)
        rows.append(part)
    table = np.concatenate(rows) if rows else np.empty(0, dtype)
    return [cloud_from_array(stamp_ns, frame, table[at : at + MAX_ROWS]) for at in range(0, len(table), MAX_ROWS)]


def moved_from(cloud: PointCloud2, *, frame: str) -> Iterator[MovedPart]:
    """Read a message, structure by structure.

    Raises:
        InputError: FRAME_MISMATCH; fields that are missing, numbers that do not agree; NOT_FINITE.
    """
    stamp_ns = check_header(cloud.header, frame=frame, name=MOVED, timeless=True)
    table = array_from_cloud(cloud)
    missing = sorted(set(MOVED_DTYPE.names or ()) - set(table.dtype.names or ()))
    if missing:
        raise InputError(f'{MOVED}: no field {", ".join(missing)}', code='ANATOMY_REFUSED')
    for number in np.unique(table['structure']).tolist():
        part = table[table['structure'] == number]
        places = np.stack([part[name].astype(np.float64) for name in 'xyz'], axis=1)
        sigma = part['sigma'].astype(np.float64)
        if not (np.isfinite(places).all() and np.isfinite(sigma).all()):
            raise InputError(f'{MOVED}: NaN or Inf in structure {number}', code='NOT_FINITE')
        beyond = part['beyond'].astype(np.float64) if 'beyond' in (table.dtype.names or ()) else None
        if beyond is not None and not np.isfinite(beyond).all():
            raise InputError(f'{MOVED}: NaN or Inf in what was cut off of structure {number}', code='NOT_FINITE')
        vertices, count = part['vertex'].astype(np.int64), int(part['count'][0])
        if (part['count'] != count).any() or (vertices >= count).any() or (sigma < 0.0).any():
            raise InputError(f'{MOVED}: the numbers of structure {number} do not agree', code='ANATOMY_REFUSED')
        yield MovedPart(stamp_ns, number, count, vertices, places, sigma, beyond)
