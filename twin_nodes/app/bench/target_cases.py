"""Bench `target`: cases are kept on disk, so that a run that was ended goes on and a second one takes a minute.

A case takes seconds to make, as its truth is a hyperelastic state; each core makes some. It is kept under a name that
changes with the organ, the mesh, the ranges and the way in which cases are drawn; delete the folder after a change of
the elastic model.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from twin_nodes.core.simulate import deforming_case
from twin_nodes.core.simulate.deforming_case import CaseRange, DeformingCase, DeformingOrgan


def cases_folder() -> Path:
    """Return where cases are kept."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'twin_nodes' / 'cases'


_maker: KeptCases | None = None  # of a process that makes cases


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
        return self._make(seed)

    def prepare(self, seeds: Iterable[int]) -> None:
        """Make those cases that are not kept, on all cores that this process may use."""
        missing = [seed for seed in seeds if not (self._folder / f'{seed}.npz').exists()]
        cores = min(len(os.sched_getaffinity(0)), len(missing))
        if cores < 2:
            return  # each is made when it is asked for
        context = multiprocessing.get_context('forkserver')
        with ProcessPoolExecutor(cores, context, _begin, (self._organ, self._ranges, self._folder.parent)) as pool:
            list(pool.map(_make, missing))

    def _make(self, seed: int) -> DeformingCase:
        path = self._folder / f'{seed}.npz'
        made = self._organ.case(seed, self._ranges)
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f'.{os.getpid()}.part')
        with part.open('wb') as file:
            np.savez(file, **{field.name: getattr(made, field.name) for field in fields(made)})
        part.replace(path)
        return made


def _begin(organ: DeformingOrgan, ranges: CaseRange, folder: Path) -> None:
    """Let a process make cases of an organ."""
    global _maker
    _maker = KeptCases(organ, ranges, folder)


def _make(seed: int) -> None:
    assert _maker is not None
    _maker.case(seed)


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
