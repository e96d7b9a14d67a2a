"""What `twin check` says of a folder: one thing that many files make, or each thing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twin_nodes.app.check_anatomy import inspect_case, is_case
from twin_nodes.app.check_images import holds_dicom, inspect_dicom
from twin_nodes.app.check_recordings import inspect_bag, inspect_recording, inspect_video
from twin_nodes.core.errors import InputError, TwinError
from twin_nodes.io.bags.reader import is_bag
from twin_nodes.io.recordings.matrix_folder import ENDINGS as MATRICES
from twin_nodes.io.recordings.matrix_folder import matrix_files
from twin_nodes.io.video.frames import IMAGES

MOST_FILES = 400  # that are looked at
_MOST_LINES = 60
_DEEPEST = 6
_MATRIX_ROWS = 4  # of a matrix; pictures of a board have more corners
_VAGUE = ('', '.txt', '.md', '.dat', '.json', '.npy', '.npz', '.mat', '.xml', '.log')  # such a file may be anything


class UnknownKindError(InputError):
    """A file of a kind that nothing here reads."""


@dataclass
class _Found:
    """What lies in a folder.

    Args:
        usable: Lines on what can be used.
        refused: Lines on what cannot, with the reason.
        unknown: Names of files of no known kind.
        left: Whether there were more files than are looked at.
    """

    usable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    left: bool = False


def inspect_folder(folder: Path, look: Callable[[Path], str]) -> str:
    """Say what a folder is, or, where it is no one thing, what each file in it is.

    Args:
        folder: A bag, a case, a series of slices or of matrices, pictures; else anything.
        look: Says what a file is.

    Raises:
        TwinError: It is one thing, and that cannot be used; or nothing in it can.
    """
    whole = _as_one(folder)
    if whole is not None:
        return whole(folder)
    found = _Found()
    for index, (path, one) in enumerate(_things(folder)):
        if index == MOST_FILES:
            found.left = True
            break
        _add(found, path, path.relative_to(folder), one or look)
    if not found.usable:
        why = f': {found.refused[0]}' if found.refused else ''
        raise InputError(f'{folder}: nothing in it can be used; {_counts(found)}{why}')
    lines = [*found.usable, *found.refused]
    shown = lines[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f'… and {len(lines) - len(shown)} more; name a folder in it')
    if found.unknown:
        shown.append(f'of no known kind: {", ".join(found.unknown[:12])}{", …" if len(found.unknown) > 12 else ""}')
    return '\n  '.join([f'folder, {_counts(found)}', *shown])


def _as_one(folder: Path) -> Callable[[Path], str] | None:
    """Return what inspects a folder that is one thing; None where it is not."""
    if is_case(folder):
        return inspect_case
    if is_bag(folder) or (folder / 'metadata.yaml').is_file():
        return inspect_bag
    corners = _corners(folder)
    if corners:
        return lambda _: corners
    kinds = {path.suffix.lower() for path in folder.iterdir() if path.is_file()} - set(_VAGUE)
    if kinds and kinds <= set(IMAGES):
        return inspect_video
    if kinds <= set(MATRICES) and len(matrix_files(folder)) > 1:
        return inspect_recording
    return inspect_dicom if holds_dicom(folder) else None


def _corners(folder: Path) -> str:
    """Return what is said of a folder of corner files, '' where it is none."""
    from twin_nodes.io.corners_text import open_corner_folder, read_table

    try:
        opened = open_corner_folder(folder)
        pictures = {side: opened.numbers(side) for side in opened.sides}
        for files in pictures.values():
            if files and len(read_table(next(iter(files.values())), columns=(2, 3))) <= _MATRIX_ROWS:
                return ''
    except InputError:
        return ''
    told = ', '.join(f'{len(files)} {side}'.strip() for side, files in pictures.items() if files)
    return f'corners of a board in pictures, good: {told}; type `twin calibrate --help` for camera, stereo and scope'


def _things(folder: Path, depth: int = 0) -> Iterator[tuple[Path, Callable[[Path], str] | None]]:
    """Yield the files of a folder, and folders that are one thing with what inspects them, in order."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith('.'):
            continue
        if not path.is_dir():
            yield path, None
        elif not path.is_symlink() and depth < _DEEPEST:
            whole = _as_one(path)
            if whole is not None:
                yield path, whole
            else:
                yield from _things(path, depth + 1)


def _add(found: _Found, path: Path, name: Path, look: Callable[[Path], str]) -> None:
    try:
        found.usable.append(f'{name}: {look(path)}')
    except UnknownKindError:
        found.unknown.append(str(name))
    except TwinError as error:
        if path.suffix.lower() in _VAGUE and path.is_file():
            found.unknown.append(str(name))
        else:
            found.refused.append(f'{name}: refused: {str(error).removeprefix(f"{path}: ")}')


def _counts(found: _Found) -> str:
    more = f', only the first {MOST_FILES} looked at' if found.left else ''
    return (
        f'{len(found.usable)} that can be used, {len(found.refused)} refused, '
        f'{len(found.unknown)} of no known kind{more}'
    )
