"""From labelled voxels to closed surfaces."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import InputError

SMOOTHING = 0.6
_CLEAR_OF_LEVEL = 0.01


def extract_surface(
    volume: LabelVolume, labels: int | tuple[int, ...], name: str, *, smoothing: float = SMOOTHING
) -> Surface:
    """Return the closed surface around one label, or around several as one structure.

    The indicator is smoothed against staircases and cut at 0.5 by marching cubes (Lewiner 2003). The centre of a voxel
    stays on its side whatever the smoothing: a nerve one voxel thin does not vanish.

    Args:
        volume: The voxels.
        labels: Label or labels of the structure.
        name: Name of the surface.
        smoothing: σ of the Gaussian in voxels, 0 for none.

    Raises:
        InputError: ANATOMY_REFUSED when no voxel has the label; what is wrong and which labels there are.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    wanted = (labels,) if isinstance(labels, int) else tuple(labels)
    if not 0.0 <= smoothing <= 3.0:
        raise InputError(f'smoothing={smoothing} voxels must lie within 0 … 3', code='ANATOMY_REFUSED')
    inside = np.isin(volume.labels, wanted)
    if not inside.any():
        known = ', '.join(f'{label} ({count} voxels)' for label, count in list(volume.counts().items())[:20])
        raise InputError(f'{name!r}: no voxel has label {wanted}; there are: {known}', code='ANATOMY_REFUSED')
    border = 2 + int(np.ceil(4.0 * smoothing))
    low = [int(index.min()) for index in np.nonzero(inside)]
    high = [int(index.max()) + 1 for index in np.nonzero(inside)]
    inside = np.pad(inside[low[0] : high[0], low[1] : high[1], low[2] : high[2]], border)
    field = inside.astype(np.float32)
    if smoothing > 0.0:
        field = gaussian_filter(field, smoothing)
        field = _keep_voxels(field, inside)
    indices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
        field, 0.5, gradient_direction='ascent'
    )
    indices = indices + (np.array(low) - border)
    affine = volume.anatomy_T_index
    if np.linalg.det(affine[:3, :3]) < 0.0:
        faces = faces[:, ::-1]
    return make_surface(name, indices @ affine[:3, :3].T + affine[:3, 3], faces)


def _keep_voxels(field: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Undo the smoothing where it would drop a voxel (to its full value, so that thin parts keep their width)."""
    field = np.where(inside & (field < 0.5), np.float32(1.0), field)
    low, high = np.float32(0.5 - _CLEAR_OF_LEVEL), np.float32(0.5 + _CLEAR_OF_LEVEL)
    return np.where(inside, np.maximum(field, high), np.minimum(field, low))
