"""The folder of a case: a manifest with hashes, and what it lists; written once, verified when it is read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.case_config import MaterialConfig
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import InputError
from twin_nodes.io.grids import load_grid
from twin_nodes.io.meshes import read_surface
from twin_nodes.io.tet_formats import read_vtk_node_fields
from twin_nodes.io.tet_meshes import read_tets
from twin_nodes.io.volumes import read_label_volume

FORMAT = 1
MANIFEST = 'manifest.json'
LABELS = 'labels.nrrd'
TETS = 'tets.vtk'
_MAX_MANIFEST = 4 << 20


@dataclass(frozen=True, eq=False)
class Case:
    """A patient model that was built by `twin build`; each part is read when it is first asked for.

    Args:
        folder: Where it lies.
        manifest: What the manifest says: format, units, frame, structures, materials, boundary, inputs, files, reports.
    """

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures; the label of each is its place, from 1."""
        return tuple(item['name'] for item in self.manifest['structures'])

    @property
    def frame_of_reference(self) -> str:
        """DICOM frame of reference UID, or ''."""
        return str(self.manifest['frame_of_reference_uid'])

    def label_of(self, structure: str) -> int:
        """Return the label of a structure in the label volume and in the tetrahedra."""
        return self._of(structure)['label']  # type: ignore[no-any-return]

    def surface(self, structure: str) -> Surface:
        """Read the surface of a structure, watertight, in the anatomy frame."""
        return read_surface(self.folder / self._of(structure)['surface'], unit='m', name=structure)

    def grid(self, structure: str) -> DistanceGrid:
        """Read the signed distance grid of a structure.

        Raises:
            InputError: ANATOMY_REFUSED when the case was built without.
        """
        return load_grid(self._file(self._of(structure).get('grid', ''), 'distance grids (grid.spacing)'), structure)

    @cached_property
    def tets(self) -> TetMesh:
        """The tetrahedra; their labels are those of the structures."""
        return read_tets(self._file(self.manifest['tets'].get('file', ''), 'tetrahedra (tets.count)'), unit='m')

    @cached_property
    def labels(self) -> LabelVolume:
        """The label volume."""
        return read_label_volume(self._file(self.manifest.get('labels', ''), 'a label volume'))

    @cached_property
    def regions(self) -> dict[str, NDArray[np.int32]]:
        """Nodes of the tetrahedra in each boundary region, ascending."""
        path = self._file(self.manifest['tets'].get('file', ''), 'tetrahedra (tets.count)')
        marks = read_vtk_node_fields(path)
        return {name: np.flatnonzero(marks[name]).astype(np.int32) for name in self.manifest['boundary']}

    @cached_property
    def materials(self) -> dict[int, MaterialConfig]:
        """Material of each label that has one."""
        return {self.label_of(item['structure']): MaterialConfig(**item) for item in self.manifest['materials']}

    def _of(self, structure: str) -> dict[str, Any]:
        for item in self.manifest['structures']:
            if item['name'] == structure:
                return dict(item)
        raise InputError(
            f'{self.folder}: no structure {structure!r}; there are: {", ".join(self.structures)}',
            code='ANATOMY_REFUSED',
        )

    def _file(self, name: str, what: str) -> Path:
        if not name:
            raise InputError(f'{self.folder}: the case was built without {what}', code='ANATOMY_REFUSED')
        return self.folder / name


def read_case(folder: Path | str, *, verify: bool = True) -> Case:
    """Open the folder of a case.

    Args:
        folder: Its folder.
        verify: Whether the hash of each file is compared with the manifest.

    Raises:
        InputError: ANATOMY_REFUSED when it is no case, of another format, or a file is missing or was changed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _MAX_MANIFEST:
        raise refusal(folder, f'no {MANIFEST}: no case (make one with `twin build`)')
    try:
        manifest = json.loads(path.read_bytes())
        files = dict(manifest['files'])
        kind = (manifest['kind'], manifest['format'])
    except (ValueError, KeyError, TypeError) as error:
        raise refusal(folder, f'{MANIFEST} is not readable ({error})') from None
    if kind != ('twin_nodes case', FORMAT):
        raise refusal(folder, f'{kind[0]!r} of format {kind[1]!r}, this version reads format {FORMAT}')
    for name, entry in files.items() if verify else ():
        _verify(folder, name, entry)
    return Case(folder, manifest)


def _verify(folder: Path, name: str, entry: Any) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise refusal(folder, f'{name!r} lies outside of the case')
    if not path.is_file():
        raise refusal(folder, f'{name} is missing: build it anew')
    size = path.stat().st_size
    if size != entry['bytes'] or sha256_of(path) != entry['sha256']:
        raise refusal(folder, f'{name} is not what was built ({size} bytes of {entry["bytes"]}): build it anew')


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Return the manifest as text that is the same for the same content."""
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + '\n').encode()
