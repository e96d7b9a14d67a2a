"""`anatomy/removed` as PointCloud2: runs of voxels that are gone, after four points that say which grid and number.

Fields x y z (float32), i j k length structure (uint32). A run begins at voxel (i, j, k), whose centre is at x y z in
the anatomy frame, and goes on along k. The first four points have length 0:

    0  xyz: centre of voxel (0, 0, 0)   i j k: size of the volume            structure: session
    1  xyz: step along i                i: sequence, j: chunk, k: chunks     structure: version of this layout
    2  xyz: step along j                i, j: hash (low, high), k: voxels gone in all
    3  xyz: step along k                (0)
"""

import numpy as np
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.anatomy.removed import RemovedMessage, check_message
from twin_nodes.core.errors import InputError
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array
from twin_nodes.ros.conversions import check_header

VERSION = 1
_HEAD = 4
_INTEGERS = ('i', 'j', 'k', 'length', 'structure')
REMOVED_DTYPE = np.dtype([(name, np.float32) for name in 'xyz'] + [(name, np.uint32) for name in _INTEGERS])


def removed_cloud(message: RemovedMessage, frame: str) -> PointCloud2:
    """Make the PointCloud2 of a delta or of a chunk of a snapshot."""
    points = np.zeros(_HEAD + len(message.starts), REMOVED_DTYPE)
    affine = message.anatomy_T_index
    row, nj = message.shape[2], message.shape[1]
    runs = points[_HEAD:]
    runs['i'], runs['j'], runs['k'] = (
        message.starts // (nj * row),
        message.starts // row % nj,
        message.starts % row,
    )
    runs['length'], runs['structure'] = message.lengths, message.structures
    centres = np.column_stack([runs[name] for name in 'ijk']) @ affine[:3, :3].T + affine[:3, 3]
    for axis, name in enumerate('xyz'):
        runs[name] = centres[:, axis]
        points[name][:_HEAD] = affine[axis, [3, 0, 1, 2]]
    low, high = message.hash & 0xFFFF_FFFF, message.hash >> 32
    for at, values in enumerate(
        (
            (*message.shape, 0, message.session),
            (message.sequence, message.chunk, message.chunks, 0, VERSION),
            (low, high, message.total, 0, 0),
        )
    ):
        for name, value in zip(_INTEGERS, values, strict=True):
            points[name][at] = value
    return cloud_from_array(message.stamp_ns, frame, points)


def removed_from(cloud: PointCloud2, *, frame: str) -> RemovedMessage:
    """Read a message back; the affine comes with the precision of float32, the voxels exactly.

    Raises:
        InputError: ANATOMY_REFUSED or FRAME_MISMATCH, or a malformed PointCloud2.
    """
    stamp_ns = check_header(cloud.header, frame=frame, name='anatomy/removed', timeless=True)
    points = array_from_cloud(cloud)
    missing = set(REMOVED_DTYPE.names or ()) - set(points.dtype.names or ())
    if missing or len(points) < _HEAD or points['length'][:_HEAD].any():
        raise InputError(
            f'anatomy/removed: {len(points)} points, fields {sorted(missing)} missing: expected {_HEAD} points of '
            'length 0 before the runs',
            code='ANATOMY_REFUSED',
        )
    head = {name: [int(value) for value in points[name][:_HEAD]] for name in _INTEGERS}
    if head['structure'][1] != VERSION:
        raise InputError(
            f'anatomy/removed: layout {head["structure"][1]}, not {VERSION}: the sender is another version of '
            'twin_nodes',
            code='ANATOMY_REFUSED',
        )
    affine = np.eye(4)
    affine[:3] = np.stack([points[name][:_HEAD] for name in 'xyz'])[:, [1, 2, 3, 0]]
    runs = points[_HEAD:]
    shape = (head['i'][0], head['j'][0], head['k'][0])
    index = [runs[name].astype(np.int64) for name in 'ijk']
    outside = any((values >= size).any() for values, size in zip(index, shape, strict=True))
    if outside:
        raise InputError(f'anatomy/removed: runs outside its volume of {shape} voxels', code='ANATOMY_REFUSED')
    message = RemovedMessage(
        stamp_ns, head['structure'][0], head['i'][1], head['j'][1], head['k'][1], head['k'][2],
        head['i'][2] | head['j'][2] << 32, shape, affine,
        (index[0] * shape[1] + index[1]) * shape[2] + index[2],
        runs['length'].astype(np.int64), runs['structure'].astype(np.int64),
    )  # fmt: skip
    check_message(message)
    return message
