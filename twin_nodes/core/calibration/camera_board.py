"""Calibration boards and their corners in an image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.camera_views import LEAST_POINTS, BoardView, Ids
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.detection import recognise_families
from twin_nodes.core.tracking.visual.dictionaries import cv_dictionary

Image = NDArray[np.uint8]
CHESSBOARD, CHARUCO = 'chessboard', 'charuco'


@dataclass(frozen=True)
class BoardConfig:
    """What the board looks like."""

    columns: int = setting(
        'Inner corners in a row of a chessboard; squares in a row of a ChArUco board.', minimum=2, maximum=200
    )
    rows: int = setting(
        'Inner corners in a column of a chessboard; squares in a column of ChArUco.', minimum=2, maximum=200
    )
    square: float = setting('Side of a square.', unit='m', minimum=1e-5, maximum=1.0)
    kind: str = setting('Kind of board.', CHESSBOARD, choices=(CHESSBOARD, CHARUCO))
    marker: float = setting('Side of a ChArUco marker; 0 for a chessboard.', 0.0, unit='m', minimum=0.0, maximum=1.0)
    dictionary: str = setting('ArUco dictionary of the markers.', 'DICT_4X4_250')
    legacy: bool = setting('ChArUco boards printed by OpenCV before 4.6 begin with a marker in even rows.', False)

    def __post_init__(self) -> None:
        if self.kind == CHARUCO and not 0.0 < self.marker < self.square:
            raise ConfigError(
                f'marker={self.marker} m must be above 0 and below square={self.square} m for a ChArUco board'
            )

    @property
    def points(self) -> Array:
        """All inner corners on the board [m], shape (n, 3), row by row; z points away from who looks at it."""
        columns, rows = self.inner
        grid = np.mgrid[0:columns, 0:rows].T.reshape(-1, 2).astype(np.float64)
        offset = 1.0 if self.kind == CHARUCO else 0.0  # OpenCV puts the origin of ChArUco at the outer corner
        return np.column_stack([(grid + offset) * self.square, np.zeros(len(grid))])

    @property
    def inner(self) -> tuple[int, int]:
        """Inner corners in a row and in a column."""
        less = 1 if self.kind == CHARUCO else 0
        return self.columns - less, self.rows - less

    @property
    def is_ambiguous(self) -> bool:
        """Whether the board looks the same when turned by half a turn."""
        return self.kind == CHESSBOARD and (self.columns + self.rows) % 2 == 0


def find_board(image: Image, config: BoardConfig, *, name: str = '') -> BoardView | None:
    """Find a board in an image; None where it is not seen.

    Chessboards by `findChessboardCornersSB` (Duda and Frese 2018), ChArUco by OpenCV's detector.

    Args:
        image: Grey (h, w) or BGR (h, w, 3).
        config: The board.
        name: Of the view.

    Raises:
        InputError: No image.
        ConfigError: No such dictionary, or one with too few markers for the board.
    """
    if image.ndim not in (2, 3) or image.dtype != np.uint8 or min(image.shape[:2]) < 16:
        raise InputError(f'view {name}: expected an 8-bit image, got {image.dtype} of shape {image.shape}')
    import cv2

    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    found = _charuco(grey, config) if config.kind == CHARUCO else _chessboard(grey, config)
    if found is None or len(found[0]) < LEAST_POINTS:
        return None
    ids, pixels = found
    points = config.points[ids]
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < 1e-3 * spread[0]:  # one row of a ChArUco board is no view
        return None
    return BoardView(name, ids, points, pixels, (grey.shape[1], grey.shape[0]))


def board_meant(images: Sequence[Image], config: BoardConfig) -> str:
    """Return what board is in images that do not show the one that was asked for, as what to type; '' for none.

    Args:
        images: A few grey images (h, w).
        config: The board that is in none of them.
    """
    families: Counter[str] = Counter()
    for image in images:
        families.update({name: len(ids) for name, ids in recognise_families(image).items()})
    if families and config.kind == CHESSBOARD:
        return (
            f'tags of {families.most_common(1)[0][0]} are in them: a ChArUco board? give --marker-mm and --dictionary'
        )
    for other, told in _others(config, [name for name, _ in families.most_common(2)]):
        if any(_seen(image, other) for image in images):
            return f'it is there with {told}'
    return ''


def _seen(image: Image, config: BoardConfig) -> bool:
    try:
        return find_board(image, config) is not None
    except ConfigError:  # a family with too few tags for the board
        return False


def _others(config: BoardConfig, families: Sequence[str]) -> Iterator[tuple[BoardConfig, str]]:
    """Yield boards that people mean when they say another, and what to type."""
    turned = replace(config, columns=config.rows, rows=config.columns)
    if config.kind == CHESSBOARD:
        for board in (turned, *(replace(one, columns=one.columns - 1, rows=one.rows - 1) for one in (config, turned)
                                if min(one.columns, one.rows) > 3)):  # fmt: skip
            yield board, f'--columns {board.columns} --rows {board.rows}'
        return
    for family in (config.dictionary, *families):
        for board in (config, turned):
            for legacy in (config.legacy, not config.legacy):
                told = [
                    f'--dictionary {family}' if family != config.dictionary else '',
                    f'--columns {board.columns} --rows {board.rows}' if board is turned else '',
                    ('--legacy' if legacy else 'no --legacy') if legacy != config.legacy else '',
                ]
                yield replace(board, dictionary=family, legacy=legacy), ' '.join(filter(None, told))


def turned_alike(left: BoardView, right: BoardView, config: BoardConfig) -> BoardView:
    """Return the right view with its corners numbered as the left ones are, where half a turn would not be seen.

    Args:
        left: Seen by the left camera.
        right: Seen by the right camera at the same instant; both cameras stand about upright to one another.
        config: The board.
    """
    if not config.is_ambiguous:
        return right
    along = [view.pixels[-1] - view.pixels[0] for view in (left, right)]
    if float(along[0] @ along[1]) >= 0.0:
        return right
    return BoardView(right.name, right.ids, right.points_board, right.pixels[::-1].copy(), right.size)


def _chessboard(grey: Image, config: BoardConfig) -> tuple[Ids, Array] | None:
    """Find a chessboard; one amid other patterns is found by the classic detector first, then measured in its part."""
    import cv2

    size = (config.columns, config.rows)
    corners = _sharp(grey, size)
    if corners is None:
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        seen, rough = cv2.findChessboardCorners(grey, size, flags=flags)
        if not seen:
            return None
        corners = _within(grey, np.asarray(rough, np.float64).reshape(-1, 2), size)
    return np.arange(len(corners), dtype=np.int64), corners


def _sharp(grey: Image, size: tuple[int, int]) -> Array | None:
    import cv2

    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
    seen, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
    return np.asarray(corners, np.float64).reshape(-1, 2) if seen else None


def _within(grey: Image, rough: Array, size: tuple[int, int]) -> Array:
    """Measure corners that are known roughly (n, 2), in the part of the image around them."""
    import cv2

    square = float(np.median(np.linalg.norm(np.diff(rough.reshape(size[1], size[0], 2), axis=1), axis=2)))
    low = np.maximum(np.floor(rough.min(axis=0) - 2.5 * square), 0).astype(int)
    high = np.ceil(rough.max(axis=0) + 2.5 * square).astype(int)
    part = _sharp(np.ascontiguousarray(grey[low[1] : high[1], low[0] : high[0]]), size)
    if part is not None:
        # the two detectors may begin at opposite corners
        apart = [np.median(np.linalg.norm(part + low - order, axis=1)) for order in (rough, rough[::-1])]
        if min(apart) < 0.25 * square:
            return np.asarray(part + low)
    half = max(2, int(0.3 * square))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    start = np.ascontiguousarray(rough.reshape(-1, 1, 2), np.float32)
    fine = cv2.cornerSubPix(grey, start, (half, half), (-1, -1), stop)
    return np.asarray(fine, np.float64).reshape(-1, 2)


def _charuco(grey: Image, config: BoardConfig) -> tuple[Ids, Array] | None:
    import cv2

    dictionary = cv_dictionary(config.dictionary)
    if len(dictionary.bytesList) < config.columns * config.rows // 2:
        raise ConfigError(
            f'{config.dictionary} has {len(dictionary.bytesList)} markers, a board of {config.columns}x{config.rows} '
            f'squares needs {config.columns * config.rows // 2}'
        )
    board = cv2.aruco.CharucoBoard((config.columns, config.rows), config.square, config.marker, dictionary)
    board.setLegacyPattern(config.legacy)
    found: Any = cv2.aruco.CharucoDetector(board).detectBoard(grey)  # its stubs do not know that there may be none
    corners, ids = found[:2]
    if ids is None:
        return None
    return np.asarray(ids, np.int64).ravel(), np.asarray(corners, np.float64).reshape(-1, 2)
