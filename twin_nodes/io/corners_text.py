"""Corner files: pixels, ids and board points as text, one view per file, under names that a template tells."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from twin_nodes.core.calibration.camera_views import BoardView, LeftOut
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MAX_FILE_BYTES = 16 << 20
_MAX_FILES = 100_000
_SMALLEST, _LARGEST = 2e-3, 5.0  # of a board [m]
_SIDES = ('left', 'right')


def read_table(path: Path, *, columns: tuple[int, ...] = (), finite: bool = True) -> Array:
    """Read numbers of a text file, separated by blanks, commas, semicolons or tabs, shape (n, m).

    Args:
        path: The file.
        columns: How many there may be; any when left out.
        finite: Whether NaN and Inf are refused.

    Raises:
        InputError: naming file and line: no numbers, rows of several lengths, NaN, another number of columns.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f'{path} is above {MAX_FILE_BYTES >> 20} MiB: no table of corners or poses')
        text = path.read_bytes().decode('utf-8-sig')
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    except UnicodeDecodeError:
        raise InputError(f'{path} is no text') from None
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r'[,;\[\]]', ' ', line.split('#')[0]).split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise InputError(f'{path}, line {number}: {line[:40]!r}: expected numbers') from None
        if len(rows[-1]) != len(rows[0]):
            raise InputError(f'{path}, line {number}: {len(rows[-1])} numbers, {len(rows[0])} in the lines above')
    if not rows:
        raise InputError(f'{path} is empty')
    table = np.array(rows)
    if finite and not np.isfinite(table).all():
        raise InputError(f'{path} has NaN or Inf', code='NOT_FINITE')
    if columns and table.shape[1] not in columns:
        raise InputError(f'{path}: {table.shape[1]} columns, expected {" or ".join(str(c) for c in columns)}')
    return table


@dataclass(frozen=True)
class CornerNames:
    """How files are named, relative to a folder; an empty template means that there are none.

    `{side}` stands for left or right, `{n}` for the number of the picture, `{any}` for whatever does not matter.

    Args:
        pixels: Where corners were seen: u v, or id u v.
        ids: Which corners these are.
        board: Where they lie on the board: x y z, or x y.
        images: The pictures.
        scope: Pose of the marker on the camera in the tracker, 4×4.
        marker: Pose of the marker on the pattern in the tracker, 4×4.
        intrinsics: Camera matrix or camera calibration.
        distortion: Its coefficients.
        hand_eye: Known hand-eye, the scope marker in the camera, 4×4.
        pattern: Known pattern in its marker, 4×4.
        rig: Known left camera in the right one, 4×4.
    """

    pixels: str = '{any}.{side}.image_points.{n}.txt'
    ids: str = '{any}.{side}.ids.{n}.txt'
    board: str = '{any}.{side}.object_points.{n}.txt'
    images: str = '{any}.{side}.images.{n}.png'
    scope: str = '{any}.device_tracking.{n}.txt'
    marker: str = '{any}.calib_obj_tracking.{n}.txt'
    intrinsics: str = '{any}.{side}.intrinsics.txt'
    distortion: str = '{any}.{side}.distortion.txt'
    hand_eye: str = '{any}.{side}.handeye.txt'
    pattern: str = '{any}.{side}.pattern2marker.txt'
    rig: str = '{any}.l2r.txt'


SCIKIT_STEREO = CornerNames()
SCIKIT_MONO = CornerNames(
    pixels='{any}.image_points.{n}.txt',
    ids='{any}.ids.{n}.txt',
    board='{any}.object_points.{n}.txt',
    images='{any}.images.{n}.png',
    intrinsics='{any}.intrinsics.txt',
    distortion='{any}.distortion.txt',
    hand_eye='{any}.handeye.txt',
    pattern='{any}.pattern2marker.txt',
    rig='',
)
_PLAIN = {'ids': '', 'scope': '', 'marker': '', 'hand_eye': '', 'pattern': '', 'rig': ''}
POINTS_BY_SIDE = CornerNames(
    pixels='{side}/{any}{n}.{any}points.txt', board='{any}.txt', images='{side}/{any}{n}.png', **_PLAIN
)
TEXT_BY_SIDE = CornerNames(pixels='{side}/{any}{n}.txt', board='{any}.txt', images='{side}/{any}{n}.png', **_PLAIN)
POINTS = CornerNames(pixels='{any}{n}.{any}points.txt', board='{any}.txt', images='{any}{n}.png', **_PLAIN)
TEXT = CornerNames(pixels='{any}{n}.txt', board='{any}.txt', images='{any}{n}.png', **_PLAIN)
KNOWN = (SCIKIT_STEREO, SCIKIT_MONO, POINTS_BY_SIDE, TEXT_BY_SIDE, POINTS, TEXT)


@dataclass(frozen=True)
class CornerFolder:
    """A folder of corner files.

    Args:
        folder: Where.
        names: How its files are named.
        files: Its files, relative.
    """

    folder: Path
    names: CornerNames
    files: tuple[str, ...] = field(repr=False)

    def numbers(self, side: str = '') -> dict[int, Path]:
        """Return the corner files of one side, or of the only camera, by the number of the picture."""
        return self.numbered(self.names.pixels, side)

    def numbered(self, template: str, side: str = '') -> dict[int, Path]:
        """Return the files of a template by number.

        Raises:
            InputError: Two files of one number.
        """
        found: dict[int, Path] = {}
        for name in self.files if template else ():
            matched = _pattern(template, side).fullmatch(name)
            if matched:
                number = int(matched['n'])
                if number in found:
                    raise InputError(f'{self.folder / name} and {found[number].name} are both number {number}')
                found[number] = self.folder / name
        return dict(sorted(found.items()))

    def single(self, template: str, side: str = '') -> Path | None:
        """Return the one file of a template without a number, or None.

        Raises:
            InputError: Several files fit.
        """
        found = [name for name in self.files if template and _pattern(template, side).fullmatch(name)]
        if len(found) > 1:
            raise InputError(f'{self.folder}: {", ".join(found[:3])} all fit {template!r}: name one of them')
        return self.folder / found[0] if found else None

    @property
    def sides(self) -> tuple[str, ...]:
        """Which cameras there are: ('left', 'right'), one of them, or ('',)."""
        if '{side}' not in self.names.pixels:
            return ('',)
        return tuple(side for side in _SIDES if self.numbers(side))


def open_corner_folder(folder: Path | str, names: CornerNames | None = None) -> CornerFolder:
    """Open a folder of corner files, and find out how they are named.

    Raises:
        InputError: No such folder, or no corner files in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f'{folder}: there is no such folder of corner files')
    files = tuple(_listing(folder))
    for candidate in (names,) if names is not None else KNOWN:
        opened = CornerFolder(folder, candidate, files)
        if any(opened.numbers(side) for side in opened.sides):
            return opened
    wanted = names.pixels if names is not None else ' or '.join(f'{known.pixels}' for known in KNOWN[:3])
    raise InputError(
        f'{folder}: no corner files named {wanted} among {len(files)} files; tell their names with --names'
    )


def read_views(
    opened: CornerFolder,
    side: str = '',
    *,
    unit: float = 1e-3,
    board: Array | None = None,
    size: tuple[int, int] = (0, 0),
) -> tuple[dict[int, BoardView], list[LeftOut]]:
    """Read the views of one camera.

    Args:
        opened: The folder.
        side: left, right, or '' for the only camera.
        unit: Metres in a unit of the board's points.
        board: Board points [m], shape (n, 3), of every view; else from the folder.
        size: Of the images [px], where known.

    Returns:
        Views by number, and those that could not be used.

    Raises:
        InputError: No board points are found.
    """
    ids, boards = opened.numbered(opened.names.ids, side), {}
    if board is None:
        if '{n}' in opened.names.board:
            boards = opened.numbered(opened.names.board, side)
        else:
            board = _find_board(opened, unit)
    size = size if size != (0, 0) else _image_size(opened, side)
    views, left = {}, []
    for number, path in opened.numbers(side).items():
        try:
            views[number] = _view(str(number), path, ids.get(number), boards.get(number), board, unit, size)
        except InputError as error:
            left.append(LeftOut(str(number), f'cannot be read: {error}'))
    if not views:
        why = f': {left[0].reason}' if left else ''
        raise InputError(f'{opened.folder}: no view of the {side or "only"} camera can be used{why}')
    return views, left


def sha256_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of files, one after the other in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _view(
    name: str, path: Path, ids_path: Path | None, board_path: Path | None, board: Array | None, unit: float,
    size: tuple[int, int],
) -> BoardView:  # fmt: skip
    table = read_table(path, columns=(2, 3))
    pixels = table[:, -2:]
    ids = table[:, 0] if table.shape[1] == 3 else None
    if ids_path is not None:
        ids = read_table(ids_path).ravel()
    points = board if board_path is None else board_points(read_table(board_path, columns=(2, 3)), unit)
    if points is None:
        raise InputError(f'{path}: no file of board points belongs to it')
    if ids is None:
        ids = np.arange(len(pixels), dtype=float)
    if (ids != np.round(ids)).any():
        raise InputError(f'{ids_path or path}: ids must be whole numbers')
    if board_path is None and len(points) != len(ids):
        whole = ids.astype(np.int64)
        if whole.min() < 0 or whole.max() >= len(points) or (table.shape[1] == 2 and ids_path is None):
            raise InputError(f'{path}: {len(pixels)} corners, but the board has {len(points)} points')
        points = points[whole]
    if len({len(ids), len(points), len(pixels)}) > 1:
        raise InputError(f'{path}: {len(pixels)} corners, {len(ids)} ids and {len(points)} board points')
    return BoardView(name, ids.astype(np.int64), points, pixels, size)


def board_points(table: Array, unit: float) -> Array:
    """Return board points [m] (n, 3) of a table (n, 2) or (n, 3).

    Raises:
        InputError: A board of a size that none has: the unit is another.
    """
    flat = np.zeros((len(table), 3 - table.shape[1]))
    points = np.concatenate([table, flat], axis=1) * unit
    across = float(np.ptp(points, axis=0).max())
    if not _SMALLEST < across < _LARGEST:
        raise InputError(f'the points of the board are {across * 1e3:.4g} mm across: give their --unit, mm, cm or m')
    return np.asarray(points)


def _find_board(opened: CornerFolder, unit: float) -> Array:
    """Find the one file beside the corner files, or above them, that holds board points."""
    counts = {len(read_table(path)) for side in opened.sides for path in list(opened.numbers(side).values())[:1]}
    corners = {path for side in opened.sides for path in opened.numbers(side).values()}
    found = {}
    for folder in (opened.folder, opened.folder.parent):
        for path in sorted(folder.glob('*.txt')):
            try:
                table = read_table(path, columns=(3,)) if path not in corners else None
            except InputError:
                continue
            if table is not None and len(table) in counts:
                found[path] = table
        if found:
            break
    if len(found) != 1:
        seen = ', '.join(path.name for path in found) or 'none'
        raise InputError(
            f'{opened.folder}: expected one file of {" or ".join(str(c) for c in sorted(counts))} board points x y z, '
            f'found {seen}: give it with --object-points'
        )
    return board_points(next(iter(found.values())), unit)


def _image_size(opened: CornerFolder, side: str) -> tuple[int, int]:
    """Return the size of the first picture that lies beside the corner files, or (0, 0)."""
    first = next(iter(opened.numbered(opened.names.images, side).values()), None)
    if first is None:
        return 0, 0
    import cv2

    image = cv2.imread(str(first), cv2.IMREAD_GRAYSCALE)
    return (0, 0) if image is None else (int(image.shape[1]), int(image.shape[0]))


def _listing(folder: Path) -> list[str]:
    names = []
    for path in folder.rglob('*'):
        relative = path.relative_to(folder)
        if len(relative.parts) <= 2 and path.is_file():
            names.append(relative.as_posix())
        if len(names) > _MAX_FILES:
            raise InputError(f'{folder} holds above {_MAX_FILES} files: no folder of corner files')
    return sorted(names)


def _pattern(template: str, side: str) -> re.Pattern[str]:
    """Turn a template into an expression; `{n}` takes all digits that stand together."""
    parts = re.split(r'(\{any\}|\{side\}|\{n\})', template)
    known = {'{any}': '[^/]*?', '{side}': re.escape(side) if side else '(?:left|right)', '{n}': r'(?<!\d)(?P<n>\d+)'}
    return re.compile(''.join(known.get(part, re.escape(part)) for part in parts), re.IGNORECASE)
