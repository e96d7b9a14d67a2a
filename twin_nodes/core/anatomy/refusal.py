"""How an anatomy is refused, and what is asked of the arrays of any mesh."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MAX_DIAGONAL = 5.0  # larger is not anatomy but millimetres [m]
MIN_DIAGONAL = 0.001


def refusal(*said: object) -> InputError:
    """Return the error: where it stands (a file, a structure), if that is known, and the reason."""
    return InputError(': '.join(map(str, said)), code='ANATOMY_REFUSED')


def check_mesh(where: str, points: Array, cells: NDArray[Any], *, words: tuple[str, str], corners: int) -> None:
    """Refuse arrays that are no mesh.

    Args:
        where: What is checked.
        points: Points [m], shape (n, 3).
        cells: Indices of points, shape (m, corners).
        words: What points and cells are called.
        corners: Of each cell.

    Raises:
        InputError: ANATOMY_REFUSED for other shapes, nothing, indices that are no integers or out of range, NaN, Inf.
    """
    name, kind = words
    if points.ndim != 2 or points.shape[1] != 3 or cells.ndim != 2 or cells.shape[1] != corners:
        said = f'expected (n, 3) {name} and (m, {corners}) {kind}, got {points.shape} and {cells.shape}'
        raise refusal(where, said)
    if len(points) == 0 or len(cells) == 0:
        raise refusal(where, f'{len(points)} {name} and {len(cells)} {kind}: nothing to use')
    if not np.issubdtype(cells.dtype, np.integer):
        raise refusal(where, f'indices of {name} are {cells.dtype}, not integers')
    broken = int(np.sum(~np.isfinite(points).all(axis=1)))
    if broken:
        raise refusal(where, f'{broken} of {len(points)} {name} have NaN or Inf')
    astray = int(np.sum(((cells < 0) | (cells >= len(points))).any(axis=1)))
    if astray:
        raise refusal(where, f'{astray} of {len(cells)} {kind} use {name} outside 0 … {len(points) - 1}')


def check_extent(where: str, points: Array) -> None:
    """Refuse a size that no anatomy has, of points [m] (…, 3).

    Raises:
        InputError: The diagonal of their box is that of another unit.
    """
    diagonal = float(np.linalg.norm(np.ptp(points.reshape(-1, 3), axis=0)))
    if diagonal > MAX_DIAGONAL:
        raise refusal(where, f'diagonal {diagonal:.4g} m is above {MAX_DIAGONAL:g} m: millimetres? set the unit')
    if diagonal < MIN_DIAGONAL:
        raise refusal(where, f'diagonal {diagonal:.3g} m is below {MIN_DIAGONAL:g} m: metres read as millimetres?')
