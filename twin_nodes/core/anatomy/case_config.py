"""What a case is built from and how: the settings of `twin build`."""

import math
from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError

_HUGE = 1e30
REGION_KINDS = ('box', 'sphere', 'near', 'plane')


@dataclass(frozen=True)
class StructureConfig:
    """One structure: from labels, from a threshold on images, or from a mesh file."""

    name: str = setting('Name, lower_snake.')
    labels: tuple[int, ...] = setting('Labels of the label map that make it.', ())
    label_names: tuple[str, ...] = setting('The same by the names that came with the label map.', ())
    images: tuple[str, ...] = setting('Images for a threshold, by name; several are added, as tissue maps.', ())
    above: float = setting('Lowest value of the structure (HU in CT).', -_HUGE)
    below: float = setting('Highest value of the structure.', _HUGE)
    close: float = setting('Radius of the gaps that are closed.', 0.0, unit='m', minimum=0.0, maximum=0.05)
    fill: bool = setting('Whether holes without a way out are filled.', False)
    keep: int = setting('How many pieces are kept, the largest first; 0 for all.', 0, minimum=0)
    smallest: float = setting('Smallest volume of a piece that is kept.', 0.0, unit='m³', minimum=0.0)
    file: str = setting('Mesh file of the structure, in place of labels or a threshold.', '')
    unit: str = setting('Unit of the mesh file.', 'm', choices=('m', 'mm'))
    space: str = setting('Axes of the mesh file.', 'LPS', choices=('LPS', 'RAS'))

    def __post_init__(self) -> None:
        """Check that the structure comes from one source."""
        thresholded = self.above > -_HUGE or self.below < _HUGE
        sources = (bool(self.labels or self.label_names), thresholded, bool(self.file))
        if sum(sources) != 1:
            raise ConfigError(
                f'structure {self.name!r}: give labels (or label_names), or above/below, or file: one of the three'
            )
        if self.above > self.below:
            raise ConfigError(f'structure {self.name!r}: above={self.above} is higher than below={self.below}')
        if not self.name or any(not (c.isalnum() or c in '_-') for c in self.name):
            raise ConfigError(f'structure {self.name!r}: a name has letters, digits, _ and - only')


@dataclass(frozen=True)
class MaterialConfig:
    """How a structure deforms."""

    structure: str = setting('Name of the structure.')
    young: float = setting("Young's modulus.", 3000.0, unit='Pa', minimum=1.0, maximum=1e11)
    poisson: float = setting("Poisson's ratio.", 0.49, minimum=0.0, maximum=0.4999)
    density: float = setting('Density.', 1060.0, unit='kg/m³', minimum=1.0, maximum=2e4)


@dataclass(frozen=True)
class RegionConfig:
    """A region of the mesh for a boundary condition: its nodes are stored by name."""

    name: str = setting('Name of the region.')
    kind: str = setting('How it is described.', choices=REGION_KINDS)
    low: tuple[float, ...] = setting('Lower corner of a box.', (), unit='m')
    high: tuple[float, ...] = setting('Upper corner of a box.', (), unit='m')
    point: tuple[float, ...] = setting('Centre of a sphere, or a point of a plane.', (), unit='m')
    normal: tuple[float, ...] = setting('Normal of a plane; what lies on its far side is taken.', ())
    radius: float = setting('Radius of a sphere, or largest distance to the structure.', 0.0, unit='m', minimum=0.0)
    structure: str = setting('Structure that the nodes are near to.', '')
    outer: bool = setting('Whether only nodes of the outside are taken.', True)

    def __post_init__(self) -> None:
        """Check that what the kind needs is there."""
        needed = {
            'box': {'low': self.low, 'high': self.high},
            'sphere': {'point': self.point},
            'near': {},
            'plane': {'point': self.point, 'normal': self.normal},
        }[self.kind]
        for key, value in needed.items():
            if len(value) != 3:
                raise ConfigError(f'region {self.name!r}: a {self.kind} needs {key} with 3 numbers')
        if self.kind in ('sphere', 'near') and self.radius <= 0.0:
            raise ConfigError(f'region {self.name!r}: a {self.kind} needs a radius above 0 m')
        if self.kind == 'near' and not self.structure:
            raise ConfigError(f'region {self.name!r}: near needs a structure')
        if self.kind == 'plane' and not math.hypot(*self.normal) > 0.0:
            raise ConfigError(f'region {self.name!r}: normal={list(self.normal)} has no length')


@dataclass(frozen=True)
class SurfaceStep:
    """How surfaces are made."""

    smoothing: int = setting('Rounds of smoothing; 0 for the voxels as they are.', 10, minimum=0, maximum=100)
    tolerance: float = setting(
        'Largest error of decimation; 0 for none, -1 for a quarter of the smallest side of a voxel.',
        -1.0, unit='m', minimum=-1.0, maximum=0.05,
    )  # fmt: skip


@dataclass(frozen=True)
class TetStep:
    """How tetrahedra are made."""

    count: int = setting('Number of tetrahedra; 0 for none.', 20000, minimum=0, maximum=5_000_000)
    structures: tuple[str, ...] = setting('Structures that are filled; empty for all.', ())
    mesher: str = setting(
        'What makes them: our own, the same bits each time, or pytetwild where it is installed.',
        'stuffing', choices=('stuffing', 'pytetwild'),
    )  # fmt: skip
    file: str = setting('Mesh file to take (VTK, MSH, MESH, VTU) in place of making one.', '')
    unit: str = setting('Unit of that file.', 'm', choices=('m', 'mm'))
    space: str = setting('Axes of that file.', 'LPS', choices=('LPS', 'RAS'))


@dataclass(frozen=True)
class GridStep:
    """How signed distance grids are made."""

    spacing: float = setting('Distance between nodes; 0 for no grids.', 0.002, unit='m', minimum=0.0, maximum=0.05)
    margin: float = setting('How far a grid reaches beyond the surface.', 0.01, unit='m', minimum=0.0, maximum=0.5)


@dataclass(frozen=True)
class CaseConfig:
    """The part of a recipe that is no list."""

    labels: str = setting('Label map (NRRD, NIfTI, MetaImage) or DICOM SEG.', '')
    names: str = setting('JSON or YAML with the names of the labels.', '')
    segments: tuple[str, ...] = setting(
        'Segments of a DICOM SEG by number or name; where they overlap, the first has the voxel. All when empty.', ()
    )
    series: str = setting('End of the SeriesInstanceUID where a folder holds several.', '')
    slices: str = setting('Which slices of the sorted series, such as 1-5; all when empty.', '')
    frame: int = setting(
        'Which volume, from 1, where a file or series holds several (phases); 0: it must hold one.', 0, minimum=0
    )
    surface: SurfaceStep = group(SurfaceStep)
    tets: TetStep = group(TetStep)
    grid: GridStep = group(GridStep)
