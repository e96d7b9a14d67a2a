"""anatomy_node: reads the patient's surfaces from files and publishes them, latched, in the anatomy frame."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.carving_config import LiveCarvingConfig
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.run import run_node

ROOM = 'room:'
MESHES = ('.ply', '.stl', '.obj', '.vtk', '.vtp')
_COLOURS = ((0.93, 0.89, 0.80), (0.95, 0.80, 0.25), (0.80, 0.20, 0.20), (0.35, 0.55, 0.85), (0.55, 0.75, 0.45))


@dataclass(frozen=True)
class AnatomyNodeConfig:
    """Settings of anatomy_node."""

    structures: tuple[str, ...] = setting('Names of the structures.')
    files: tuple[str, ...] = setting(
        'One file per structure: a mesh (PLY, STL, OBJ, VTK, VTP), a label volume (NRRD, NIfTI), or `room:NAME` for a '
        'structure of the simulated room.'
    )
    labels: tuple[int, ...] = setting('Label of each structure in its volume; 0 for meshes; empty for all meshes.', ())
    mesh_unit: str = setting('Unit of the mesh files; volumes carry their own.', 'm', choices=('m', 'mm'))
    anatomy_frame: str = setting('Frame of the anatomy (DICOM patient axes).', 'anatomy')
    carving: LiveCarvingConfig = group(LiveCarvingConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not self.structures:
            raise ConfigError('structures is empty: name at least one')
        if len(set(self.structures)) != len(self.structures):
            raise ConfigError(f'structures={list(self.structures)}: a name stands twice')
        if len(self.files) != len(self.structures):
            raise ConfigError(f'files has {len(self.files)} entries for {len(self.structures)} structures')
        if self.labels and len(self.labels) != len(self.structures):
            raise ConfigError(f'labels has {len(self.labels)} entries for {len(self.structures)} structures')
        unknown = sorted(set(self.carving.protected) - set(self.structures))
        if unknown:
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
    """Publishes `anatomy/surface`, one marker per structure."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('anatomy', **kwargs)
        self.config = declare_config(self, AnatomyNodeConfig)
        self.health = Health(self)
        surfaces, markers = self._read()
        if self.config.carving.enabled:
            from twin_nodes.ros.carving import LiveCarving

            self.carving = LiveCarving(
                self, self.health, self.config.carving, self.config.anatomy_frame, surfaces, markers,
                carvable_volume(self.config, surfaces),
            )  # fmt: skip
        else:
            self._publisher = self.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
            self._publisher.publish(MarkerArray(markers=markers))

    def _read(self) -> tuple[list[Surface], list[Marker]]:
        """Return what the files hold, with stamp 0: it has no time of measurement, and each replay gives the same."""
        config = self.config
        surfaces, markers = [], []
        labels = config.labels or (0,) * len(config.structures)
        for index, (name, file, label) in enumerate(zip(config.structures, config.files, labels, strict=True)):
            try:
                surface = read_structure(name, file, label=label, unit=config.mesh_unit)
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


def carvable_volume(config: AnatomyNodeConfig, surfaces: list[Surface]) -> LabelVolume:
    """Return the voxels to carve: those of the label volume that all structures come from, else the filled surfaces.

    Label n is the n-th of the surfaces.

    Raises:
        ConfigError: a surface that cannot be filled, or too many voxels.
    """
    from twin_nodes.core.anatomy.carving_voxels import voxelise

    labels = {name: label for name, label in zip(config.structures, config.labels, strict=False) if label}
    files = {file for name, file in zip(config.structures, config.files, strict=True)}
    if len(files) == 1 and all(surface.name in labels for surface in surfaces):
        from twin_nodes.io.volumes import read_label_volume

        volume = read_label_volume(files.pop())
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
