"""Reduced models in the folder of a case: `reduced/NAME.npz`, with the hash of the body that each was learned from."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.elastic.reduced_basis import basis_from
from twin_nodes.core.anatomy.elastic.reduced_patch import LearnedPatch
from twin_nodes.core.errors import InputError
from twin_nodes.io.results import software_version, utc_date
from twin_nodes.io.whole_files import write_bytes_whole

FOLDER = 'reduced'
FORMAT = 1
_KIND = 'reduced patch'
_MAX_BYTES = 1 << 30
_NAME = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-')


@dataclass(frozen=True, eq=False)
class StoredPatch:
    """A reduced model as it lies in a case.

    Args:
        name: Its name.
        patch: What was learned.
        path: Its file.
        date: When it was learned.
    """

    name: str
    patch: LearnedPatch
    path: Path
    date: str


def patch_path(case: Path, name: str) -> Path:
    """Return the file of a name.

    Raises:
        InputError: REDUCED_REFUSED for a name that is none.
    """
    if not name or set(name) - _NAME:
        raise _refusal(case, f'{name!r} is no name: letters, digits, _ and - only')
    return case / FOLDER / f'{name}.npz'


def patch_names(case: Path) -> tuple[str, ...]:
    """Return the names of the reduced models of a case."""
    return tuple(sorted(path.stem for path in (case / FOLDER).glob('*.npz')))


def write_patch(case: Path, name: str, patch: LearnedPatch) -> Path:
    """Store a reduced model in the folder of its case, whole or not at all."""
    path = patch_path(case, name)
    about = {
        'kind': _KIND, 'format': FORMAT, 'body': patch.body, 'error': patch.error, 'force_error': patch.force_error,
        'checks': patch.checks, 'in_span': patch.in_span, 'date': utc_date(), 'software_version': software_version(),
    }  # fmt: skip
    whole = io.BytesIO()
    text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    np.savez(whole, about=text, **patch.basis.arrays())  # type: ignore[arg-type]
    write_bytes_whole(path, whole.getbuffer())
    return path


def read_patch(case: Path, name: str, body: str) -> StoredPatch:
    """Read a reduced model.

    Args:
        case: Folder of the case.
        name: Of the model.
        body: Hash of the body that it is to be used for (`reduced_patch.body_hash`).

    Raises:
        InputError: REDUCED_REFUSED where there is none, the file is damaged, or it was learned from another mesh, law
            or support.
    """
    path = patch_path(case, name)
    if not path.is_file():
        known = ', '.join(patch_names(case)) or 'none'
        raise _refusal(path, f'there is no such model; the case has: {known}; learn one with `twin reduce`')
    if path.stat().st_size > _MAX_BYTES:
        raise _refusal(path, f'{path.stat().st_size} bytes, at most {_MAX_BYTES}')
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        about: dict[str, Any] = json.loads(arrays.pop('about').tobytes())
        kind = (about['kind'], about['format'])
        found = LearnedPatch(
            basis_from(arrays), str(about['body']), float(about['error']), float(about['force_error']),
            int(about['checks']), int(about['in_span']),
        )  # fmt: skip
    except InputError as error:
        raise _refusal(path, str(error)) from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _refusal(path, f'not readable ({error}); learn it again with `twin reduce`') from None
    if kind != (_KIND, FORMAT):
        raise _refusal(path, f'{kind[0]!r} of format {kind[1]!r}, this version reads format {FORMAT}')
    if found.body != body:
        raise _refusal(
            path,
            f'learned from another body ({found.body[:8]}, this one is {body[:8]}): mesh, law, `fixed`, `support` or '
            'gravity differ; learn it again with `twin reduce` and the settings of the node',
        )
    return StoredPatch(name, found, path, str(about.get('date', '')))


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f'{path}: {reason}', code='REDUCED_REFUSED')
