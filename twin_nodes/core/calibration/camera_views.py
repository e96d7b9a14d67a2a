"""Views of a calibration board: its points, where they were seen, and the traps in such data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'CALIBRATION_REFUSED'
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
LEAST_POINTS = 6
_LARGEST_BOARD = 5.0  # m: a board above this was read in another unit
_SAME_VIEW = 1.0  # px RMS: a board that moved less adds nothing


@dataclass(frozen=True, eq=False)
class BoardView:
    """One picture of a board.

    Args:
        name: Such as the file.
        ids: Of the points, shape (n,).
        points_board: Where they lie on the board [m], shape (n, 3).
        pixels: Where they were seen, shape (n, 2).
        size: Width and height of the image [px]; (0, 0) where it is not known.
    """

    name: str
    ids: Ids
    points_board: Array
    pixels: Array
    size: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, keep: Mask) -> 'BoardView':
        """Return the view with some of its points, by a mask."""
        return replace(self, ids=self.ids[keep], points_board=self.points_board[keep], pixels=self.pixels[keep])


@dataclass(frozen=True)
class LeftOut:
    """A view, or corners of one, that was not used.

    Args:
        name: Of the view.
        reason: Why, as the rest of a sentence that begins with the name.
        whole: Whether the whole view was left out.
    """

    name: str
    reason: str
    whole: bool = True


def check_view(view: BoardView) -> BoardView:
    """Return a view that can be used.

    Raises:
        InputError: naming the view: NaN, shapes, ids that repeat, too few points, or a board of another unit.
    """
    count = len(view.ids)
    where = f'view {view.name}'
    if view.points_board.shape != (count, 3) or view.pixels.shape != (count, 2):
        raise InputError(
            f'{where}: {count} ids, board points {view.points_board.shape}, pixels {view.pixels.shape}: as many of '
            'each are expected',
            code=REFUSED,
        )
    if not (np.isfinite(view.points_board).all() and np.isfinite(view.pixels).all()):
        raise InputError(f'{where} has NaN or Inf', code='NOT_FINITE')
    if count < LEAST_POINTS:
        raise InputError(f'{where} has {count} points, at least {LEAST_POINTS} are needed', code=REFUSED)
    values, counts = np.unique(view.ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(f'{where}: id {values[counts > 1][0]} stands twice', code=REFUSED)
    if len(np.unique(view.points_board, axis=0)) < count:
        raise InputError(f'{where}: two points lie at one place of the board', code=REFUSED)
    extent = float(np.ptp(view.points_board, axis=0).max())
    if extent > _LARGEST_BOARD:
        raise InputError(f'{where}: the board is {extent:.3g} m wide: is its unit given?', code='UNIT_SUSPECT')
    spread = np.linalg.svd(view.points_board - view.points_board.mean(axis=0), compute_uv=False)
    if spread[1] < 1e-3 * spread[0]:
        raise InputError(f'{where}: its points lie on one line', code=REFUSED)
    return view


def common_size(views: Sequence[BoardView], size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the one size [px] that all images have.

    Raises:
        InputError: They differ, none is known, or a corner lies outside.
    """
    known: dict[tuple[int, int], list[str]] = {}
    for view in views:
        if view.size != (0, 0):
            known.setdefault(view.size, []).append(view.name)
    if len(known) > 1:
        listed = ', '.join(f'{w}x{h} ({len(names)}, such as {names[0]})' for (w, h), names in known.items())
        raise InputError(f'images of several sizes: {listed}; a calibration holds for one', code=REFUSED)
    found = next(iter(known), None)
    if found is not None and size is not None and found != tuple(size):
        raise InputError(f'images of {found[0]}x{found[1]} px, but {size[0]}x{size[1]} was given', code=REFUSED)
    chosen = found or size
    if chosen is None:
        raise InputError(
            'corner files do not say the size of the image: give it, such as --size 1920x1080', code=REFUSED
        )
    for view in views:
        outside = ((view.pixels < -1.0) | (view.pixels > np.array(chosen))).any(axis=1)
        if outside.any():
            raise InputError(
                f'view {view.name}: {int(outside.sum())} corners lie outside {chosen[0]}x{chosen[1]} px, such as '
                f'{np.round(view.pixels[outside][0], 1).tolist()}',
                code=REFUSED,
            )
    return chosen


def without_repeats(views: Sequence[BoardView]) -> tuple[list[BoardView], list[LeftOut]]:
    """Leave out views that show the board where an earlier one did: they add confidence, but no knowledge."""
    kept: list[BoardView] = []
    left: list[LeftOut] = []
    for view in views:
        same = next((other for other in kept if _same(view, other)), None)
        if same is None:
            kept.append(view)
        else:
            left.append(LeftOut(view.name, f'shows the board just where {same.name} does'))
    return kept, left


def without_mirrored(views: Sequence[BoardView], *, facing: int = 0) -> tuple[list[BoardView], list[LeftOut]]:
    """Leave out views in which the board is seen mirrored: no turn brings a board to its mirror image.

    Args:
        views: Of a flat board.
        facing: 1 when the board's x, y are to run as x right, y down do; −1 when they run the other way round; 0 when
            that is not known, and the majority counts.
    """
    signs = np.array([handedness(view) for view in views])
    expected = facing or (1 if (signs > 0).sum() >= (signs < 0).sum() else -1)
    kept = [view for view, sign in zip(views, signs, strict=True) if sign * expected >= 0]
    reason = 'its corners are mirrored: the image is flipped, or rows and columns were swapped'
    left = [LeftOut(view.name, reason) for view, sign in zip(views, signs, strict=True) if sign * expected < 0]
    return kept, left


def is_flat(view: BoardView) -> bool:
    """Whether all points of a view lie in a plane, to a thousandth of their extent."""
    spread = np.linalg.svd(view.points_board - view.points_board.mean(axis=0), compute_uv=False)
    return bool(spread[2] < 1e-3 * spread[0])


def handedness(view: BoardView) -> int:
    """Return 1 when x, y of the board run in the image as x right, y down do, −1 mirrored, 0 for a board in depth."""
    if not is_flat(view) or np.ptp(view.points_board[:, 2]) > 1e-9:
        return 0
    board = np.column_stack([view.points_board[:, :2], np.ones(len(view))])
    affine, *_ = np.linalg.lstsq(board, view.pixels, rcond=None)
    return int(np.sign(np.linalg.det(affine[:2])))


def _same(view: BoardView, other: BoardView) -> bool:
    _, first, second = np.intersect1d(view.ids, other.ids, return_indices=True)
    if len(first) < max(LEAST_POINTS, 0.5 * len(view)):
        return False
    moved = view.pixels[first] - other.pixels[second]
    return bool(np.sqrt(np.mean(np.sum(moved**2, axis=1))) < _SAME_VIEW)
