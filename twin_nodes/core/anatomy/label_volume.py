"""A volume of labels in the anatomy frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """Which structure each voxel belongs to.

    Args:
        labels: Label of each voxel, 0 for none; uint8, uint16 or uint32, shape (ni, nj, nk).
        anatomy_T_index: Maps voxel indices (centres) to the anatomy frame [m], shape (4, 4); its axes are square, but
            may be left-handed and of different length.
    """

    labels: NDArray[Any]
    anatomy_T_index: Array

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [m³]."""
        return abs(float(np.linalg.det(self.anatomy_T_index[:3, :3])))

    def counts(self) -> dict[int, int]:
        """Number of voxels of each label but 0."""
        values, counts = np.unique(self.labels, return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value != 0}
