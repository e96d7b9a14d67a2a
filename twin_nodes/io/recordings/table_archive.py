"""Tables that lie in a zip archive: read in memory, never unpacked to disk."""

import fnmatch
import zipfile
import zlib
from pathlib import Path

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError

MAX_TABLE_BYTES = 256 << 20
MAX_MEMBERS = 10_000
MAX_LISTED = 20
ENDINGS = ('.csv', '.txt', '.tum', '.tsv', '.dat')


def table_bytes(path: Path, member: str) -> tuple[Path, str, str, bytes]:
    """Return path, member, name for errors, and the bytes of a table.

    Args:
        path: A table, a zip archive that holds one, or `archive.zip/name/in/it`.
        member: Name within the archive, with or without its folders, or a pattern that only one fits; '' for the only
            table.

    Raises:
        InputError: The file is absent, too large or damaged, or no table or several fit.
    """
    path, inside = _split_archive(path)
    member = member or inside
    try:
        if path.suffix.lower() != '.npz' and (member or zipfile.is_zipfile(path)):
            member, data = _read_member(path, member)
        else:
            if path.stat().st_size > MAX_TABLE_BYTES:
                raise InputError(f'{path}: {path.stat().st_size} bytes, limit {MAX_TABLE_BYTES}')
            data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    return path, member, f'{path.name}/{member}' if member else path.name, data


def member_names(path: Path) -> tuple[str, ...]:
    """Return the names of the tables in a zip archive, at most 20; none for another file.

    Raises:
        InputError: The archive is damaged or has too many members.
    """
    if path.suffix.lower() == '.npz' or not zipfile.is_zipfile(path):
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f'{path.name}: damaged archive ({error})') from None
    if len(entries) > MAX_MEMBERS:
        raise InputError(f'{path.name}: {len(entries)} members, limit {MAX_MEMBERS}')
    tables = [entry.filename for entry in entries if entry.filename.lower().endswith(ENDINGS) and not entry.is_dir()]
    return tuple(tables[:MAX_LISTED])


def _split_archive(path: Path) -> tuple[Path, str]:
    for parent in path.parents:
        if parent.suffix.lower() == '.zip' and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, ''


def _read_member(path: Path, wanted: str) -> tuple[str, bytes]:
    """Return name and bytes of a member; never more than the limit, whatever the archive says of itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = _choose_member(path, archive, wanted)
            if info.flag_bits & 1:
                raise InputError(f'{path.name}/{info.filename} is encrypted')
            if info.file_size > MAX_TABLE_BYTES:
                raise InputError(f'{path.name}/{info.filename}: {info.file_size} bytes, limit {MAX_TABLE_BYTES}')
            with archive.open(info) as stream:
                data = stream.read(MAX_TABLE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path.name}: damaged archive ({error})') from None
    if len(data) > MAX_TABLE_BYTES:
        raise InputError(f'{path.name}/{info.filename}: more than {MAX_TABLE_BYTES} bytes')
    return info.filename, data


def _choose_member(path: Path, archive: zipfile.ZipFile, wanted: str) -> zipfile.ZipInfo:
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise InputError(f'{path.name}: {len(entries)} members, limit {MAX_MEMBERS}')
    tables = [entry for entry in entries if entry.filename.lower().endswith(ENDINGS) and not entry.is_dir()]
    names = [entry.filename for entry in tables]
    found = [entry for entry in entries if entry.filename == wanted]
    if not found and wanted:
        found = [entry for entry in tables if fnmatch.fnmatchcase(entry.filename.rsplit('/', 1)[-1], wanted)]
        found = found or [entry for entry in tables if fnmatch.fnmatchcase(entry.filename, wanted)]
    elif not wanted:
        found = tables
    if len(found) == 1:
        return found[0]
    listed = ', '.join(names[:8]) + (' …' if len(names) > 8 else '')
    if not found:
        raise InputError(f'{path.name}: no table {wanted!r} in it; it has {listed or "none"}{nearest(wanted, names)}')
    said = f'{wanted!r} fits {len(found)} of its tables' if wanted else f'name one of its {len(names)} tables'
    raise InputError(f'{path.name}: {said}: {listed}')
