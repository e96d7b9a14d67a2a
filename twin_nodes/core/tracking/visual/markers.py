"""Tags, boards and bodies: what is looked for, and what was seen of it in one image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

SQUARE_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class CharucoBoard:
    """A chessboard with tags in its white squares.

    Args:
        columns: Squares along x.
        rows: Squares along y.
        square: Side of a square [m].
        marker: Side of a tag [m].
        legacy: Whether a board of even rows starts with a tag, as boards printed with OpenCV before 4.6 do.
    """

    columns: int
    rows: int
    square: float
    marker: float
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.columns < 2 or self.rows < 2:
            raise InputError(f'ChArUco board of {self.columns}x{self.rows} squares: expected at least 2x2')
        if not 0.0 < self.marker < self.square:
            raise InputError(
                f'ChArUco board: marker {self.marker} m and square {self.square} m: expected 0 < marker < square'
            )

    def corners(self) -> Array:
        """Return the inner corners in the order of their ids [m], from the outer corner of the board, shape (n, 3)."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
        return np.asarray(flat * self.square, float)


@dataclass(frozen=True, eq=False)
class MarkerBody:
    """A rigid body with tags, or a board.

    Args:
        name: Name of the device.
        tags: Corners of each tag in the frame of the body [m], by id, shape (4, 3), in the order of OpenCV: the
            top left one of the printed tag first, then clockwise.
        board: A ChArUco board instead of tags.
        dictionary: Family of its tags; '' for that of the settings.
    """

    name: str
    tags: Mapping[int, Array] = field(default_factory=dict)
    board: CharucoBoard | None = None
    dictionary: str = ''

    def __post_init__(self) -> None:
        if bool(self.tags) == (self.board is not None):
            raise InputError(f'body {self.name!r}: expected tags or a ChArUco board, one of the two')
        object.__setattr__(self, 'tags', {key: check_square(self.name, key, tag) for key, tag in self.tags.items()})


def check_square(body: str, tag: int, corners: Array) -> Array:
    """Return the corners (4, 3) [m] of a tag after seeing that they are a flat square.

    Raises:
        InputError: NaN, another shape, sides or diagonals that differ, corners out of their plane.
    """
    points = np.array(corners, dtype=np.float64)
    label = f'body {body!r}, tag {tag}'
    if points.shape != (4, 3):
        raise InputError(f'{label}: corners of shape {points.shape}, expected (4, 3)')
    if not np.isfinite(points).all():
        raise InputError(f'{label}: corners with NaN or Inf', code='NOT_FINITE')
    sides = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    side = float(sides.mean())
    if side <= 0.0 or np.abs(sides - side).max() > SQUARE_TOLERANCE * side:
        listed = ', '.join(f'{length * 1e3:.2f}' for length in sides)
        raise InputError(f'{label}: sides of {listed} mm: expected four corners of a square, in order around it')
    diagonals = np.linalg.norm(points[:2] - points[2:], axis=1)
    if np.abs(diagonals - np.sqrt(2.0) * side).max() > SQUARE_TOLERANCE * side:
        raise InputError(f'{label}: the corners are not those of a square in order around it')
    return points


def square_tag(size: float) -> Array:
    """Return the corners (4, 3) [m] of a tag in its own frame: origin in its centre, x right, y down, z into it."""
    half = 0.5 * size
    return np.array([[-half, -half, 0.0], [half, -half, 0.0], [half, half, 0.0], [-half, half, 0.0]])


def single_tag(tag: int, size: float) -> MarkerBody:
    """Return the body tag_<id> of one tag of a size [m]."""
    return MarkerBody(f'tag_{tag}', {tag: square_tag(size)})


@dataclass(frozen=True, slots=True, eq=False)
class SeenTag:
    """A tag in an image.

    Args:
        tag: Its id.
        pixels: Corners in the image [px], pixel centres at whole numbers, shape (4, 2).
        ideal: The same corners without the distortion of the lens [px]: focal length × ray + centre, shape (4, 2).
        covariance: Of the ideal corners (u0, v0, u1, …) [px²], shape (8, 8).
    """

    tag: int
    pixels: Array
    ideal: Array
    covariance: Array


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something in an image that must not be used.

    Args:
        code: Entry of `core.codes.CODES`, MARKER_… .
        message: What, the value, the limit.
        tag: Id of the tag, or None.
    """

    code: str
    message: str
    tag: int | None = None
