"""A volume of measured values (CT, MR) in the anatomy frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class ImageVolume:
    """What a scanner measured; HU in CT, numbers without a unit in MR.

    Args:
        values: Value of each voxel, after rescaling; padding is replaced, see `padded`; shape (ni, nj, nk).
        anatomy_T_index: Maps voxel indices (centres) to the anatomy frame [m], shape (4, 4).
        padded: Voxels that held padding and were set to the lowest value that was measured (in CT to -1024 HU).
        frame_of_reference: DICOM frame of reference UID, '' where the file has none.
        left_out: Slices of the same series that do not belong to the volume, as localisers, each with the reason.
    """

    values: NDArray[Any]
    anatomy_T_index: Array
    padded: int = 0
    frame_of_reference: str = ''
    left_out: tuple[str, ...] = ()

    @property
    def spacing(self) -> Array:
        """Size of a voxel along each axis [m], shape (3,)."""
        return np.asarray(np.linalg.norm(self.anatomy_T_index[:3, :3], axis=0))
