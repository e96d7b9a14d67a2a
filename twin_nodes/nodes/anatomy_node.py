"""anatomy_node: the patient's model from a case or from files, latched; carved by the drill, deformed live."""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.carving_config import LiveCarvingConfig
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.session_config import LiveDeformingConfig
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.run import run_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin_nodes.core.anatomy.learning import StiffnessNews
    from twin_nodes.core.anatomy.session_body import Body
    from twin_nodes.io.case import Case
    from twin_nodes.ros.deforming import LiveDeforming

ROOM = 'room:'
MESHES = ('.ply', '.stl', '.obj', '.vtk', '.vtp')
_COLOURS = ((0.93, 0.89, 0.80), (0.95, 0.80, 0.25), (0.80, 0.20, 0.20), (0.35, 0.55, 0.85), (0.55, 0.75, 0.45))


@dataclass(frozen=True)
class AnatomyNodeConfig:
    """Settings of anatomy_node."""

    case: str = setting('Folder of a case that `twin build` made; empty to give files. Each hash is verified.', '')
    structures: tuple[str, ...] = setting('Names of the structures; of a case all when empty.', ())
    files: tuple[str, ...] = setting(
        'Without a case, one file per structure: a mesh (PLY, STL, OBJ, VTK, VTP), a label volume (NRRD, NIfTI), or '
        '`room:NAME` for a structure of the simulated room.',
        (),
    )
    labels: tuple[int, ...] = setting('Label of each structure in its volume; 0 for meshes; empty for all meshes.', ())
    mesh_unit: str = setting('Unit of the mesh files; volumes carry their own.', 'm', choices=('m', 'mm'))
    anatomy_frame: str = setting('Frame of the anatomy (DICOM patient axes).', 'anatomy')
    carving: LiveCarvingConfig = group(LiveCarvingConfig)
    deforming: LiveDeformingConfig = group(LiveDeformingConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not self.case and not self.structures:
            raise ConfigError('give `case`, the folder that `twin build` made, or `structures` and `files`')
        if self.case and (self.files or self.labels):
            raise ConfigError('files and labels are of no use with a case: it holds them; drop one of the two')
        if self.deforming.enabled and not self.case:
            raise ConfigError('deforming needs tetrahedra: give `case`, the folder that `twin build` made')
        if len(set(self.structures)) != len(self.structures):
            raise ConfigError(f'structures={list(self.structures)}: a name stands twice')
        if not self.case and len(self.files) != len(self.structures):
            raise ConfigError(f'files has {len(self.files)} entries for {len(self.structures)} structures')
        if self.labels and len(self.labels) != len(self.structures):
            raise ConfigError(f'labels has {len(self.labels)} entries for {len(self.structures)} structures')
        unknown = sorted(set(self.carving.protected) - set(self.structures))
        if unknown and self.structures:
            raise ConfigError(f'carving.protected: {", ".join(unknown)} is none of {", ".join(self.structures)}')


def read_structure(name: str, file: str, *, label: int, unit: str) -> Surface:
    """Read one structure from a mesh or from a label volume.

    Raises:
        InputError: ANATOMY_REFUSED, with the reason.
    """
    if file.startswith(ROOM):
        return _room_structure(name, file.removeprefix(ROOM))
    path = Path(file)
    if not path.is_file():
        raise InputError(f'structure {name!r}: there is no file {path}', code='ANATOMY_REFUSED')
    if path.suffix.lower() in MESHES:
        from twin_nodes.io.meshes import read_surface

        return read_surface(path, name=name, unit=unit)
    if label < 1:
        raise InputError(
            f'structure {name!r}: label {label} is the background of {path.name}; give its label in `labels`',
            code='ANATOMY_REFUSED',
        )
    from twin_nodes.core.anatomy.surface_extraction import extract_surface
    from twin_nodes.io.volumes import read_label_volume

    return extract_surface(read_label_volume(path), label, name=name)


def _room_structure(name: str, structure: str) -> Surface:
    structures = Room(RoomConfig()).structures
    if structure not in structures:
        known = ', '.join(structures)
        raise InputError(
            f'structure {name!r}: the simulated room has {known}, not {structure!r}', code='ANATOMY_REFUSED'
        )
    return make_surface(name, *structures[structure])


class AnatomyNode(Node):
    """Publishes `anatomy/surface`, one marker per structure, and what drill, tools and sight make of it."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('anatomy', **kwargs)
        self.config = config = declare_config(self, AnatomyNodeConfig)
        self.health = Health(self)
        self.case = self._open_case() if config.case else None
        surfaces, markers = self._read()
        if config.deforming.enabled:
            assert self.case is not None
            self.deforming = deforming(self, self.case, surfaces, markers)
        if config.carving.enabled:
            from twin_nodes.ros.carving import LiveCarving

            tissue = self.deforming.tissue if config.deforming.enabled else None
            self.carving = LiveCarving(
                self, self.health, config.carving, config.anatomy_frame, surfaces, markers,
                carvable_volume(config, surfaces, self.case), tissue,
            )  # fmt: skip
            if config.deforming.enabled:
                self.deforming.drill_is_over = self.carving.hand_over
        if not (config.carving.enabled or config.deforming.enabled):
            self._publisher = self.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
            self._publisher.publish(MarkerArray(markers=markers))

    def destroy_node(self) -> None:
        """End the threads of the solvers, then the node."""
        if hasattr(self, 'deforming'):
            self.deforming.close()
        super().destroy_node()

    def _open_case(self) -> 'Case':
        from twin_nodes.io.case import read_case

        try:
            case = read_case(self.config.case)
        except InputError as error:
            self.health.set('case', ERROR, 'ANATOMY_REFUSED', str(error))
            raise ConfigError(f'case: {error}') from error
        values = {'frame_of_reference_uid': case.frame_of_reference, 'structures': ', '.join(case.structures)}
        self.health.set('case', OK, 'OK', f'{case.folder.name}: all files are as they were built', values)
        return case

    def _read(self) -> tuple[list[Surface], list[Marker]]:
        """Return what the files hold, with stamp 0: it has no time of measurement, and each replay gives the same."""
        config, case = self.config, self.case
        surfaces, markers = [], []
        names = config.structures or (case.structures if case is not None else ())
        labels = config.labels or (0,) * len(names)
        for index, name in enumerate(names):
            try:
                surface = (
                    case.surface(name)
                    if case is not None
                    else read_structure(name, config.files[index], label=labels[index], unit=config.mesh_unit)
                )
            except InputError as error:
                self.health.set(f'structure {name}', ERROR, 'ANATOMY_REFUSED', str(error))
                self.get_logger().error(f'ANATOMY_REFUSED: {error}')
                continue
            colour = (*_COLOURS[index % len(_COLOURS)], 1.0)
            surfaces.append(surface)
            markers.append(
                surface_marker(0, config.anatomy_frame, name, index, surface.vertices, surface.triangles, colour)
            )
            values = {'triangles': len(surface.triangles), 'volume_cm3': surface.volume * 1e6}
            self.health.set(f'structure {name}', OK, 'OK', f'{len(surface.triangles)} triangles', values)
        if not surfaces:
            raise ConfigError('no structure could be read: see the errors above')
        return surfaces, markers


def deforming(node: AnatomyNode, case: 'Case', surfaces: list[Surface], markers: list[Marker]) -> 'LiveDeforming':
    """Prepare the body of a case and follow it.

    Raises:
        ConfigError: what the case lacks, or settings that do not fit it.
    """
    from twin_nodes.core.anatomy.session_body import make_body
    from twin_nodes.io.stiffness_results import with_stiffness
    from twin_nodes.ros.deforming import LiveDeforming

    config = node.config.deforming
    try:
        targets = {name: _centre(case, name) for name in config.target_structures}
        targets |= dict(zip(config.targets, np.reshape(config.target_places, (-1, 3)), strict=True))
        materials, session = case.materials, config.session
        base: Mapping[str, float] = {}
        if config.stiffness:
            labels = {name: case.label_of(name) for name in case.structures}
            materials, tissue, base = with_stiffness(
                Path(config.stiffness), case.folder.name, labels, materials, session.tissue
            )  # fmt: skip
            session = replace(session, tissue=tissue)
            config = replace(config, session=session)
        body = make_body(case.tets, materials, case.regions, session)
        if body.assumed:
            young, poisson = config.session.tissue.young, config.session.tissue.poisson
            names = ', '.join(case.structures[label - 1] for label in body.assumed if label <= len(case.structures))
            node.get_logger().warning(
                f'the case gives {names} no material: {young:g} Pa, {poisson:g} (deforming.session.tissue)'
            )
        live = LiveDeforming(
            node, node.health, config, node.config.anatomy_frame, body, targets, surfaces, markers
        )  # fmt: skip
        if config.learning.enabled:
            names = {str(case.label_of(name)): name for name in case.structures}
            live.learn(names, partial(_write_stiffness, case, body, names, base))
        return live
    except (InputError, DegenerateGeometryError) as error:
        raise ConfigError(f'deforming: {error}') from error


def _write_stiffness(
    case: 'Case', body: 'Body', names: dict[str, str], base: 'Mapping[str, float]', news: 'StiffnessNews'
) -> str:
    """Write what was learned beside the case; return the path.

    Raises:
        InputError: STIFFNESS_REFUSED where the folder cannot be written.
    """
    from twin_nodes.io.stiffness_results import FILE, stiffness_text
    from twin_nodes.io.whole_files import write_text_whole

    learned = frozenset(row.name for row in news.rows if row.code in ('OK', 'STIFFNESS_RATIO'))
    extra = {'seen_stamp_ns': news.seen_ns, 'states': news.states}
    text = stiffness_text(
        case.folder.name, 'anatomy_node', body.laws, news.estimate, names, learned, base=base, extra=extra
    )  # fmt: skip
    path = case.folder / FILE
    try:
        write_text_whole(path, text)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}', code='STIFFNESS_REFUSED') from None
    return str(path)


def _centre(case: 'Case', structure: str) -> np.ndarray:
    """Return the centre of volume of a structure [m], shape (3,)."""
    surface = case.surface(structure)
    corners = surface.vertices[surface.triangles]
    volumes = np.einsum('ti,ti->t', corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    return np.asarray(volumes @ corners.sum(axis=1) / (4.0 * volumes.sum()))


def carvable_volume(config: AnatomyNodeConfig, surfaces: list[Surface], case: 'Case | None' = None) -> LabelVolume:
    """Return the voxels to carve: those of the label volume that all structures come from, else the filled surfaces.

    Label n is the n-th of the surfaces.

    Raises:
        ConfigError: a surface that cannot be filled, or too many voxels.
    """
    from twin_nodes.core.anatomy.carving_voxels import voxelise

    labels = {name: label for name, label in zip(config.structures, config.labels, strict=False) if label}
    files = set(config.files)
    volume = None
    if case is not None and case.manifest.get('labels'):
        volume, labels = case.labels, {name: case.label_of(name) for name in case.structures}
    elif len(files) == 1 and all(surface.name in labels for surface in surfaces):
        from twin_nodes.io.volumes import read_label_volume

        volume = read_label_volume(files.pop())
    if volume is not None:
        numbers = np.zeros(volume.labels.shape, np.uint8)
        for number, surface in enumerate(surfaces, 1):
            numbers[volume.labels == labels[surface.name]] = number
        return LabelVolume(numbers, volume.anatomy_T_index)
    try:
        return voxelise(surfaces, config.carving.voxel_size)
    except InputError as error:
        raise ConfigError(f'carving: {error}') from error


def main() -> None:
    """Run the node."""
    sys.exit(run_node(AnatomyNode))


if __name__ == '__main__':
    main()
