"""A volume of labels in the anatomy frame."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import net_kernels
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class LabelBox:
    """How many voxels have a label, and where.

    Args:
        count: Number of voxels.
        box: First and last index along each axis, shape (3, 2).
    """

    count: int
    box: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """Which structure each voxel belongs to.

    Args:
        labels: Label of each voxel, 0 for none; uint8, uint16 or uint32, shape (ni, nj, nk).
        anatomy_T_index: Maps voxel indices (centres) to the anatomy frame [m], shape (4, 4); its axes are square, but
            may be left-handed and of different length.
        left_out: What the file has beside, as voxels that two segments claim.
    """

    labels: NDArray[Any]
    anatomy_T_index: Array
    left_out: tuple[str, ...] = ()

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [m³]."""
        return abs(float(np.linalg.det(self.anatomy_T_index[:3, :3])))

    @property
    def memory_order(self) -> list[int]:
        """The axes in the order in which they lie in memory, the quickest last."""
        strides = [abs(stride) for stride in self.labels.strides]
        return sorted(range(3), key=lambda axis: (-strides[axis], axis))

    @cached_property
    def survey(self) -> dict[int, LabelBox]:
        """Count and box of each label that is there, 0 included, in ascending order."""
        order = self.memory_order
        labels = self.labels.transpose(order)
        names: NDArray[Any]
        if labels.dtype.itemsize <= 2 and labels.dtype.kind == 'u':
            names = np.arange(int(np.iinfo(labels.dtype).max) + 1)
        else:
            names, labels = np.unique(labels, return_inverse=True)
            labels = labels.reshape([self.labels.shape[axis] for axis in order])
        counts, boxes = np.empty(len(names), np.int64), np.empty((len(names), 3, 2), np.int64)
        net_kernels.survey(labels, counts, boxes)
        place = np.argsort(order)
        return {int(names[row]): LabelBox(int(counts[row]), boxes[row][place]) for row in np.flatnonzero(counts)}

    def counts(self) -> dict[int, int]:
        """Number of voxels of each label but 0."""
        return {label: entry.count for label, entry in self.survey.items() if label != 0}
