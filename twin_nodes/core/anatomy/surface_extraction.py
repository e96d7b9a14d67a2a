"""From labelled voxels to closed surfaces: surface nets (Gibson 1998) that keep the volume of each piece.

The net starts as the faces between the voxels inside and outside, whose volume is that of the voxels. It is relaxed by
turns with a move along the normals that gives each piece its volume back, so that a nodule of one voxel or a nerve one
voxel thin is as large afterwards as before. No vertex leaves the cell around its corner, so the centre of a voxel stays
on its side.
"""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import net_kernels, net_smoothing_kernels
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

SMOOTHING = 10
MAX_SMOOTHING = 100
_ROUNDS = 2  # of relaxing between two corrections of the volume
_WEIGHT = 0.5
_REACH = 0.49  # voxels; half a cell (Gibson 1998), less a little so that no two vertices can meet
_LAST_CORRECTIONS = 4
_FILL_ROUNDS = 1000


def extract_surface(
    volume: LabelVolume, labels: int | tuple[int, ...], name: str, *, smoothing: int = SMOOTHING
) -> Surface:
    """Return the closed surface around one label, or around several as one structure.

    Args:
        volume: The voxels.
        labels: Label or labels of the structure.
        name: Name of the surface.
        smoothing: Rounds of relaxing, 0 for the voxels as they are.

    Raises:
        InputError: ANATOMY_REFUSED when no voxel has the label; what is wrong and which labels there are.
    """
    wanted = (labels,) if isinstance(labels, int) else tuple(labels)
    if not 0 <= smoothing <= MAX_SMOOTHING:
        raise InputError(f'smoothing={smoothing} rounds must lie within 0 … {MAX_SMOOTHING}', code='ANATOMY_REFUSED')
    inside, low, order = _cut_out(volume, wanted, name)
    corners, quads = _net(inside)
    points = _relaxed(corners, quads, smoothing)
    points += np.asarray(low, float) - 1.0
    affine = volume.anatomy_T_index[:3, :3][:, order]
    vertices = points @ affine.T + volume.anatomy_T_index[:3, 3]
    triangles = net_smoothing_kernels.split_quads(vertices, quads, bool(np.linalg.det(affine) < 0.0))
    return make_surface(name, vertices, triangles)


def _cut_out(
    volume: LabelVolume, wanted: tuple[int, ...], name: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[int]]:
    """Return what is inside with a border, the first voxel of its box, and the order of the axes in memory."""
    survey = volume.survey
    found = [label for label in wanted if label in survey and label != 0]
    if not found:
        known = ', '.join(f'{label} ({count} voxels)' for label, count in list(volume.counts().items())[:20])
        raise InputError(f'{name!r}: no voxel has label {wanted}; there are: {known}', code='ANATOMY_REFUSED')
    boxes = np.stack([survey[label].box for label in found])
    low, high = boxes[:, :, 0].min(axis=0), boxes[:, :, 1].max(axis=0)
    order = volume.memory_order
    labels = volume.labels.transpose(order)
    if volume.labels.dtype.itemsize <= 2:
        lookup = np.zeros(int(np.iinfo(volume.labels.dtype).max) + 1, np.bool_)
        lookup[found] = True
        inside = net_kernels.cut_out(labels, lookup, low[order], high[order])
    else:
        box = tuple(slice(first, last + 1) for first, last in zip(low[order], high[order], strict=True))
        inside = np.pad(np.isin(labels[box], found), 1).astype(np.uint8)
    return inside, low[order], order


def _net(inside: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Build the net; voxels are added where it would pass an edge twice with the same vertices."""
    for _ in range(_FILL_ROUNDS):
        holes = net_kernels.double_edges(inside, net_kernels.PIECE)
        if len(holes) == 0:
            break
        inside[tuple(holes.T)] = 1
    counts = net_kernels.count_net(inside, net_kernels.PIECES)
    corners, quads = net_kernels.build_net(inside, net_kernels.PIECE, net_kernels.PIECES, *counts)
    return corners, quads


def _relaxed(corners: NDArray[np.float32], quads: NDArray[np.int32], smoothing: int) -> Array:
    """Smooth the net by turns with a correction of the volume of each piece; index coordinates (n, 3)."""
    points = corners.astype(np.float32)
    starts, ends = net_smoothing_kernels.neighbours_of(quads, len(corners))
    part, parts = net_smoothing_kernels.parts_of_net(quads, len(corners))
    normals = np.empty((len(corners), 3), np.float32)
    target, volumes, areas = (np.empty(parts) for _ in range(3))
    net_smoothing_kernels.volumes_of_net(points, quads, part, normals, target, areas)
    weights = np.array([_WEIGHT], np.float32)
    for turn in range(smoothing + (_LAST_CORRECTIONS if smoothing else 0)):
        if turn < smoothing:
            net_smoothing_kernels.relax(points, corners, starts, ends, _ROUNDS, weights, _REACH)
        net_smoothing_kernels.volumes_of_net(points, quads, part, normals, volumes, areas)
        net_smoothing_kernels.offset(points, corners, normals, part, (target - volumes) / areas, _REACH)
    return points.astype(np.float64)
