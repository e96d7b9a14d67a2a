"""Recordings in a zip archive or gzipped: unpacked into a folder of their own, bounded, and read from there."""

import gzip
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.matrix_folder import ENDINGS as MATRICES
from twin_nodes.io.recordings.matrix_folder import MAX_FILE_BYTES
from twin_nodes.io.recordings.recording import Recording, file_sha256

MAX_BYTES = 512 << 20
MAX_MEMBERS = 10_000
GZIP = b'\x1f\x8b'
_SINGLE = ('.mha', '.mhd', '.nrrd', '.nhdr', '.csv', '.tsv', '.tum', '.txt', '.dat', '.npy', '.npz', '.mat', '.json')
_FEW = 8  # small files of one folder: a folder of matrices


def read_packed(path: Path, read: Callable[[Path], Recording]) -> Recording:
    """Read the only recording, or the only folder of matrices, in an archive.

    Args:
        path: Zip archive or gzipped file.
        read: Reader of a recording that is not packed.

    Raises:
        InputError: Damaged, encrypted, too large, several recordings in it, or none.
    """
    try:
        with tempfile.TemporaryDirectory(prefix='twin_') as folder:
            inside = _gunzipped(path, Path(folder)) if _is_gzip(path) else _unzipped(path, Path(folder))
            recording = read(inside)
            notes = tuple(note.replace(folder, path.name) for note in recording.notes)
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f'{path.name}: damaged archive ({error})') from None
    return replace(recording, path=path, sha256=file_sha256(path), notes=notes)


def is_packed(start: bytes, path: Path) -> bool:
    """Whether a file is an archive; numpy's own `.npz` is none."""
    return path.suffix.lower() != '.npz' and start.startswith((b'PK\x03\x04', GZIP))


def _is_gzip(path: Path) -> bool:
    with path.open('rb') as stream:
        return stream.read(2) == GZIP


def _gunzipped(path: Path, folder: Path) -> Path:
    target = folder / (path.name.removesuffix('.gz') or 'recording')
    with gzip.open(path) as source, target.open('wb') as sink:
        left = MAX_BYTES
        while block := source.read(min(1 << 20, left + 1)):
            left -= len(block)
            if left < 0:
                raise InputError(f'{path.name}: more than {MAX_BYTES} bytes unpacked')
            sink.write(block)
    return target


def _unzipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and _is_wanted(entry.filename)]
        if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise InputError(f'{path.name}: {len(entries)} files, limit {MAX_MEMBERS} and {MAX_BYTES} bytes')
        if any(entry.flag_bits & 1 for entry in entries):
            raise InputError(f'{path.name} is encrypted')
        small = [entry for entry in entries if entry.file_size <= MAX_FILE_BYTES and _ends(entry, MATRICES)]
        if len(small) >= _FEW and len(small) > len(entries) // 2:
            chosen = small
        else:
            chosen = [entry for entry in entries if _ends(entry, _SINGLE)]
            if len(chosen) != 1:
                names = ', '.join(entry.filename for entry in chosen[:8]) or 'none'
                raise InputError(f'{path.name}: {len(chosen)} recordings in it ({names}): unpack it and name one')
        if len({str(Path(entry.filename).parent) for entry in chosen}) > 1:
            raise InputError(f'{path.name}: files in several folders: unpack it and name one of them')
        for entry in chosen:  # by their bare names, so that none leaves the folder
            with archive.open(entry) as source:
                data = source.read(entry.file_size + 1)
            if len(data) > entry.file_size:
                raise InputError(f'{path.name}/{entry.filename} is larger than it says')
            (folder / Path(entry.filename).name).write_bytes(data)
    return folder if len(chosen) > 1 else folder / Path(chosen[0].filename).name


def _is_wanted(name: str) -> bool:
    bare = Path(name).name.lower()
    return '__MACOSX' not in name and not bare.startswith(('.', 'readme', 'licen', 'provenance', 'changelog'))


def _ends(entry: zipfile.ZipInfo, endings: tuple[str, ...]) -> bool:
    return entry.filename.lower().endswith(endings)
