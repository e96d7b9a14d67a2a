"""Where camera calibration gets its views from: images, videos, folders of images, or corner files."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from twin_nodes.core.calibration.camera_board import BoardConfig, turned_alike
from twin_nodes.core.calibration.camera_views import BoardView, LeftOut
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.corners_images import find_in_pictures, has_pictures
from twin_nodes.io.corners_text import (
    CornerFolder,
    CornerNames,
    board_points,
    open_corner_folder,
    read_table,
    read_views,
    sha256_of,
)
from twin_nodes.io.yaml_files import read_mapping


@dataclass(frozen=True)
class ViewSource:
    """How views are read.

    Args:
        board: What is looked for in images; None for corner files.
        object_points: File of board points for corner files, or None.
        names: How corner files are named; None to find out.
        unit: Metres in a unit of text files.
        size: Of the images [px], where the files do not say it.
        most: Pictures of a video that are looked at.
    """

    board: BoardConfig | None = None
    object_points: Path | None = None
    names: CornerNames | None = None
    unit: float = 1e-3
    size: tuple[int, int] | None = None
    most: int = 60

    @property
    def facing(self) -> int:
        """Which way round a board that was found in images must be seen; corner files may use either."""
        return 1 if self.board is not None else 0


@dataclass(frozen=True)
class ViewsFound:
    """Views of one or two cameras by the number of the picture, what was left out, and the hash of the files."""

    views: tuple[dict[int, BoardView], ...]
    left_out: tuple[LeftOut, ...]
    sha256: str


def find_views(source: Path, how: ViewSource, *, side: str = '') -> ViewsFound:
    """Read the views of one camera.

    Raises:
        InputError: Nothing that can be used.
    """
    if how.board is not None:
        views, left = find_in_pictures(source, how.board, most=how.most, side=side)
        return ViewsFound((views,), tuple(left), '')
    opened = open_views(source, how)
    sides = opened.sides
    if side and side not in sides:
        raise InputError(
            f'{source}: no {side} camera here, but {" and ".join(s or "one without a side" for s in sides)}'
        )
    if not side and len(sides) > 1:
        raise InputError(f'{source} holds left and right: say which with --side, or use twin calibrate stereo')
    chosen = side or sides[0]
    views, left = read_views(opened, chosen, unit=how.unit, board=_board(how), size=how.size or (0, 0))
    return ViewsFound((views,), tuple(left), sha256_of(opened.numbers(chosen).values()))


def find_pairs(left_source: Path, right_source: Path | None, how: ViewSource) -> ViewsFound:
    """Read the views of two cameras, from one folder that holds both or from one for each.

    Raises:
        InputError: Nothing that can be used.
    """
    if right_source is not None:
        parts = [find_views(source, how) for source in (left_source, right_source)]
    else:
        parts = [find_views(left_source, how, side=side) for side in ('left', 'right')]
    left, right = parts[0].views[0], parts[1].views[0]
    if how.board is not None:
        right = {n: turned_alike(left[n], view, how.board) if n in left else view for n, view in right.items()}
    alone = [LeftOut(str(n), 'was seen by one camera only') for n in sorted(left.keys() ^ right.keys())]
    return ViewsFound((left, right), (*parts[0].left_out, *parts[1].left_out, *alone), parts[0].sha256)


def open_views(source: Path, how: ViewSource) -> CornerFolder:
    """Open a folder of corner files; for pictures, say that the board must be told."""
    try:
        return open_corner_folder(source, how.names)
    except InputError:
        if has_pictures(source):
            raise InputError(
                f'{source} holds pictures: tell what the board looks like, such as --columns 9 --rows 6 --square-mm '
                '10, and for ChArUco --marker-mm and --dictionary too'
            ) from None
        raise


def read_names(path: Path | None) -> CornerNames | None:
    """Read templates of file names from YAML; None for None.

    Raises:
        ConfigError: An unknown key, or no text.
    """
    if path is None:
        return None
    known = [field.name for field in fields(CornerNames)]
    document = read_mapping(path, f'list of file names by {", ".join(known)}')
    for key, value in document.items():
        if key not in known:
            raise ConfigError(f'{path}: unknown key {key!r}{nearest(str(key), known)}')
        if not isinstance(value, str):
            raise ConfigError(f'{path}: {key}={value!r}: expected a name with {{n}}, such as left/{{n}}.txt')
    if '{n}' not in document.get('pixels', '{n}'):
        raise ConfigError(f'{path}: pixels={document["pixels"]!r} needs {{n}} where the number of the picture stands')
    return CornerNames(**{**dict.fromkeys(known, ''), **document})


def read_size(text: str) -> tuple[int, int] | None:
    """Read 1920x1080; None for ''.

    Raises:
        ConfigError: Something else.
    """
    if not text:
        return None
    words = text.lower().replace('×', 'x').split('x')
    if len(words) != 2 or not all(word.strip().isdigit() for word in words):
        raise ConfigError(f'size={text!r}: expected width and height in pixels, such as 1920x1080')
    return int(words[0]), int(words[1])


def _board(how: ViewSource) -> Any:
    if how.object_points is None:
        return None
    return board_points(read_table(how.object_points, columns=(2, 3)), how.unit)
