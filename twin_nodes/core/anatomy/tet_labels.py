"""Which structure each tetrahedron belongs to."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array

_WEIGHTS = np.vstack([np.full((1, 4), 0.25), 0.5 * np.eye(4) + 0.125])  # the middle, and halfway to each corner


def label_by_volume(mesh: TetMesh, volume: LabelVolume) -> TetMesh:
    """Give each element the label that most of five points in it have; in none: its neighbour's."""
    index_T_anatomy = np.linalg.inv(volume.anatomy_T_index)
    votes = np.empty((len(mesh.tets), len(_WEIGHTS)), np.int64)
    corners = mesh.nodes[mesh.tets]
    top = np.array(volume.labels.shape) - 1
    for column, weights in enumerate(_WEIGHTS):
        points = np.einsum('c,tcx->tx', weights, corners)
        index = np.round(points @ index_T_anatomy[:3, :3].T + index_T_anatomy[:3, 3]).astype(np.int64)
        inside = ((index >= 0) & (index <= top)).all(axis=1)
        index = np.clip(index, 0, top)
        votes[:, column] = np.where(inside, volume.labels[tuple(index.T)], 0)
    return replace(mesh, labels=_nearest_where_none(mesh, _majority(votes)))


def label_by_surfaces(mesh: TetMesh, surfaces: Sequence[tuple[int, Surface]]) -> TetMesh:
    """Give each element the label of the last surface that holds its middle, else the first one's."""
    from twin_nodes.core.anatomy.distance_grid import exact_distances

    centres = mesh.nodes[mesh.tets].mean(axis=1)
    labels = np.full(len(centres), surfaces[0][0], np.int32)
    for label, surface in surfaces[1:]:
        low, high = surface.bounds
        near = np.flatnonzero(((centres >= low) & (centres <= high)).all(axis=1))
        if len(near):
            labels[near[exact_distances(surface, centres[near]) < 0.0]] = label
    return replace(mesh, labels=labels)


def _majority(votes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the label with the most votes but 0, the first of equals; 0 where all are."""
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    best = np.argmax(np.where(votes > 0, counts, 0), axis=1)
    return np.asarray(votes[np.arange(len(votes)), best], np.int32)


def _nearest_where_none(mesh: TetMesh, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    from scipy.spatial import cKDTree

    none = labels == 0
    if not none.any():
        return labels
    if none.all():
        return np.ones_like(labels)
    centres: Array = mesh.nodes[mesh.tets].mean(axis=1)
    _, place = cKDTree(centres[~none]).query(centres[none])
    labels[none] = labels[~none][place]
    return labels
