"""The deforming anatomy as PointCloud2: `anatomy/nodes`, `anatomy/targets`, and the points of `anatomy/observed`."""

import numpy as np
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array
from twin_nodes.ros.conversions import stamp_to_ns

MAX_BYTES = 480_000

COVARIANCE_FIELDS = ('cxx', 'cxy', 'cxz', 'cyy', 'cyz', 'czz')


def _floats(*names: str, last: str) -> np.dtype:
    return np.dtype([(name, np.float32) for name in names] + [(last, np.uint32)])


NODES_DTYPE = _floats('x', 'y', 'z', 'dx', 'dy', 'dz', 'sigma', last='node')
TARGETS_DTYPE = _floats('x', 'y', 'z', *COVARIANCE_FIELDS, last='id')
TOUCHED_DTYPE = np.dtype(
    [(name, np.float32) for name in ('x', 'y', 'z', 'dx', 'dy', 'dz')] + [('node', np.uint32), ('in_span', np.uint8)]
)
_UPPER = np.triu_indices(3)


def nodes_clouds(stamp_ns: int, frame: str, positions: Array, displacement: Array, sigma: Array) -> list[PointCloud2]:
    """Make the messages of `anatomy/nodes`: where each node is, by how much it moved since the scan, and its σ.

    Args:
        stamp_ns: Of the newest measurement behind it.
        frame: Of the anatomy.
        positions: Nodes [m], shape (n, 3).
        displacement: Of each [m], shape (n, 3).
        sigma: Root of the trace of the covariance of each [m], shape (n,).

    Returns:
        As many messages as keep each below 0.5 MB, nodes in order; `node` is the number in the mesh of the case.
    """
    points = np.empty(len(positions), NODES_DTYPE)
    for axis in range(3):
        points['xyz'[axis]], points[f'd{"xyz"[axis]}'] = positions[:, axis], displacement[:, axis]
    points['sigma'], points['node'] = sigma, np.arange(len(positions))
    most = MAX_BYTES // NODES_DTYPE.itemsize
    return [cloud_from_array(stamp_ns, frame, points[start : start + most]) for start in range(0, len(points), most)]


def nodes_from(message: PointCloud2) -> tuple[int, np.ndarray, Array, Array]:
    """Read a message of `anatomy/nodes`: stamp, nodes (k,), where they are [m] and their displacement [m], (k, 3).

    Raises:
        InputError: a field is missing, or NOT_FINITE.
    """
    points = array_from_cloud(message)
    missing = sorted(set(NODES_DTYPE.names or ()) - set(points.dtype.names or ()))
    if missing:
        raise InputError(f'anatomy/nodes: no field {", ".join(missing)}')
    positions, moved = (
        np.stack([points[name].astype(float) for name in names], axis=1) for names in ('xyz', ('dx', 'dy', 'dz'))
    )
    if not (np.isfinite(positions).all() and np.isfinite(moved).all()):
        raise InputError('anatomy/nodes: NaN or Inf', code='NOT_FINITE')
    return stamp_to_ns(message.header.stamp), points['node'], positions, moved


def touched_cloud(
    stamp_ns: int, frame: str, nodes: np.ndarray, positions: Array, displacement: Array, *, in_span: bool
) -> PointCloud2:
    """Make a message of `haptics/<tool>/touched`: where nodes about the jaws are, and what told it.

    Args:
        stamp_ns: Of the pose of the tip, or of the frame of the full model.
        frame: Of the anatomy.
        nodes: Numbers in the mesh of the case, shape (s,).
        positions: Where they are [m], shape (s, 3).
        displacement: Of each from the scan [m], shape (s, 3).
        in_span: Whether the reduced model told it; else the full one.
    """
    points = np.empty(len(nodes), TOUCHED_DTYPE)
    for axis in range(3):
        points['xyz'[axis]], points[f'd{"xyz"[axis]}'] = positions[:, axis], displacement[:, axis]
    points['node'], points['in_span'] = nodes, in_span
    return cloud_from_array(stamp_ns, frame, points)


def targets_cloud(
    stamp_ns: int, frame: str, places: Array, covariances: Array, ids: np.ndarray | None = None
) -> PointCloud2:
    """Make the message of `anatomy/targets`: places [m] (t, 3), covariances [m²] (t, 3, 3), ids (t,), else from 0."""
    points = np.empty(len(places), TARGETS_DTYPE)
    for axis in range(3):
        points['xyz'[axis]] = places[:, axis]
    for name, row, column in zip(COVARIANCE_FIELDS, *_UPPER, strict=True):
        points[name] = covariances[:, row, column]
    points['id'] = np.arange(len(places)) if ids is None else ids
    return cloud_from_array(stamp_ns, frame, points)


def targets_from(message: PointCloud2) -> tuple[np.ndarray, Array, Array]:
    """Read `anatomy/targets`: ids (t,), places [m] (t, 3) and covariances [m²] (t, 3, 3).

    Raises:
        InputError: a field is missing, or a value is not finite.
    """
    points = array_from_cloud(message)
    missing = sorted(set(TARGETS_DTYPE.names or ()) - set(points.dtype.names or ()))
    if missing:
        raise InputError(f'anatomy/targets: no field {", ".join(missing)}')
    places = np.stack([points[name].astype(float) for name in 'xyz'], axis=1)
    covariances = np.empty((len(points), 3, 3))
    for name, row, column in zip(COVARIANCE_FIELDS, *_UPPER, strict=True):
        covariances[:, row, column] = covariances[:, column, row] = points[name]
    if not (np.isfinite(places).all() and np.isfinite(covariances).all()):
        raise InputError('anatomy/targets: NaN or Inf', code='NOT_FINITE')
    return points['id'], places, covariances


def observed_points(message: PointCloud2, sigma: float) -> tuple[Array, Array]:
    """Read a cloud of surface points: points [m] (n, 3) in its own frame, and σ of a coordinate of each [m] (n,).

    A cloud that is not dense marks what it did not see by NaN: those points are left out.

    Args:
        message: The cloud, with fields x, y, z and perhaps sigma.
        sigma: For clouds without the field.

    Raises:
        InputError: no x, y, z; NOT_FINITE for NaN in a cloud that calls itself dense.
    """
    points = array_from_cloud(message)
    names = points.dtype.names or ()
    if not {'x', 'y', 'z'} <= set(names):
        raise InputError(f'cloud: fields {", ".join(names)}, expected x, y and z', code='OBSERVED_REFUSED')
    places = np.stack([points[name].astype(float) for name in 'xyz'], axis=1)
    spread = points['sigma'].astype(float) if 'sigma' in names else np.full(len(places), sigma)
    good = np.isfinite(places).all(axis=1) & np.isfinite(spread)
    if message.is_dense and not good.all():
        raise InputError(
            f'cloud: {int((~good).sum())} of {len(good)} points have NaN or Inf, though is_dense says none has',
            code='NOT_FINITE',
        )
    return np.ascontiguousarray(places[good]), spread[good]
