"""Corners of a board in images, folders of images and videos."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.calibration.camera_board import BoardConfig, board_meant, find_board
from twin_nodes.core.calibration.camera_views import BoardView, LeftOut
from twin_nodes.core.errors import InputError

IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.pgm', '.ppm', '.webp')
_LOOKED_AT = 3  # pictures in which another board is looked for
VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.mpg', '.mpeg', '.ogv', '.webm', '.m4v')


def find_in_pictures(
    source: Path | str, board: BoardConfig, *, most: int = 60, side: str = ''
) -> tuple[dict[int, BoardView], list[LeftOut]]:
    """Find a board in an image, a folder of images, or a video.

    Args:
        source: Where.
        board: What to look for.
        most: Pictures of a video that are looked at, evenly spread; of a folder all are.
        side: Only files or folders with this word in their name, such as left.

    Returns:
        Views by the number in their name, or of the frame, and the pictures without a board.

    Raises:
        InputError: No such source, no pictures, or no board in any of them.
    """
    import cv2

    source = Path(source)
    views: dict[int, BoardView] = {}
    left: list[LeftOut] = []
    first: list[Any] = []
    count = 0
    for number, name, image in _pictures(source, most, side):
        count += 1
        if image is not None and len(first) < _LOOKED_AT:
            first.append(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        if image is None:
            left.append(LeftOut(name, 'is no image that can be read'))
            continue
        view = find_board(image, board, name=name)
        if view is None:
            left.append(LeftOut(name, 'does not show the board'))
        else:
            views[number] = view
    if not views:
        meant = board_meant(first, board)
        raise InputError(
            f'{source}: the board ({board.kind}, {board.columns}x{board.rows}) is in none of {count} pictures; columns '
            f'and rows count inner corners of a chessboard, squares of a ChArUco board{f"; {meant}" if meant else ""}'
        )
    return views, left


def has_pictures(source: Path | str) -> bool:
    """Say whether a source is an image, a video, or a folder with images."""
    source = Path(source)
    if source.is_dir():
        return any(path.suffix.lower() in IMAGES for path in source.rglob('*'))
    return source.suffix.lower() in (*IMAGES, *VIDEOS)


def _pictures(source: Path, most: int, side: str) -> Iterator[tuple[int, str, Any]]:
    import cv2

    if source.is_dir():
        files = sorted(
            path
            for path in source.rglob('*')
            if path.suffix.lower() in IMAGES and side.lower() in str(path.relative_to(source)).lower()
        )
        if not files:
            raise InputError(f'{source}: no images{f" of the {side} camera" if side else ""} in this folder')
        for number, path in _numbered(files).items():
            yield number, path.name, cv2.imread(str(path), cv2.IMREAD_COLOR)
    elif not source.is_file():
        raise InputError(f'{source}: there is no such image, folder or video')
    elif source.suffix.lower() in IMAGES:
        yield 0, source.name, cv2.imread(str(source), cv2.IMREAD_COLOR)
    else:
        yield from _frames(source, most)


def _frames(source: Path, most: int) -> Iterator[tuple[int, str, Any]]:
    import cv2

    video = cv2.VideoCapture(str(source))
    try:
        if not video.isOpened():
            raise InputError(f'{source}: no video that can be read; expected {", ".join(VIDEOS)}')
        total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        step = max(1, total // most) if total > 0 else 5
        number = 0
        while number < step * most and video.grab():
            if number % step == 0:
                read, image = video.retrieve()
                yield number, f'{source.name}:{number}', np.ascontiguousarray(image) if read else None
            number += 1
    finally:
        video.release()


def _numbered(files: list[Path]) -> dict[int, Path]:
    """Number files by the last digits in their names where these differ, else by their order."""
    digits = [re.findall(r'\d+', path.stem) for path in files]
    numbers = [int(found[-1]) for found in digits if found]
    unique = len(numbers) == len(files) == len(set(numbers))
    return dict(zip(numbers if unique else range(len(files)), files, strict=True))
