"""Bench `target`: cases are kept on disk, so that a run that was ended goes on and a second one takes a minute.

A case takes seconds to make, as its truth is a hyperelastic state. It is kept under a name that changes with the organ,
the mesh, the ranges and the way in which cases are drawn; delete the folder after a change of the elastic model.
"""

import hashlib
import os
from dataclasses import astuple, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from twin_nodes.core.simulate import deforming_case
from twin_nodes.core.simulate.deforming_case import CaseRange, DeformingCase, DeformingOrgan


def cases_folder() -> Path:
    """Return where cases are kept."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'twin_nodes' / 'cases'


class KeptCases:
    """Makes cases of one organ, or reads those that were made before.

    Args:
        organ: Makes them.
        ranges: From which they are drawn.
        folder: Where they are kept.
    """

    def __init__(self, organ: DeformingOrgan, ranges: CaseRange | None = None, folder: Path | None = None) -> None:
        self._organ, self._ranges = organ, ranges if ranges is not None else CaseRange()
        self._folder = (folder if folder is not None else cases_folder()) / _name(organ, self._ranges)

    def case(self, seed: int) -> DeformingCase:
        """Return a case; a file that is cut or foreign is made anew."""
        path = self._folder / f'{seed}.npz'
        kept = _read(path)
        if kept is not None:
            return kept
        made = self._organ.case(seed, self._ranges)
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f'.{os.getpid()}.part')
        with part.open('wb') as file:
            np.savez(file, **{field.name: getattr(made, field.name) for field in fields(made)})
        part.replace(path)
        return made


def _name(organ: DeformingOrgan, ranges: CaseRange) -> str:
    digest = hashlib.sha256(Path(deforming_case.__file__).read_bytes())
    digest.update(organ.mesh.nodes.tobytes() + organ.mesh.tets.tobytes() + repr(astuple(ranges)).encode())
    return digest.hexdigest()[:16]


def _read(path: Path) -> DeformingCase | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {field.name: file[field.name] for field in fields(DeformingCase)}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile):
        return None
    return DeformingCase(**{name: float(value) if value.ndim == 0 else value for name, value in values.items()})
