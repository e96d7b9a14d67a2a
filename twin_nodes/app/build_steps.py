"""The steps of `twin build`, from voxels or meshes to surfaces, tetrahedra, grids and regions."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from twin_nodes.app.build_inputs import Inputs
from twin_nodes.core.anatomy.case_config import StructureConfig, TetStep
from twin_nodes.core.anatomy.decimation import DecimationReport, decimate
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.segmentation import refine, segment
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.surface_extraction import extract_surface
from twin_nodes.core.anatomy.tet_labels import label_by_surfaces, label_by_volume
from twin_nodes.core.anatomy.tet_mesh import TetMesh, make_tet_mesh
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.meshes import READERS as SURFACES
from twin_nodes.io.meshes import read_surface
from twin_nodes.io.recipe import Recipe
from twin_nodes.io.tet_meshes import READERS as TETS
from twin_nodes.io.tet_meshes import read_tets

_AUTO = 0.25  # of the smallest side of a voxel: the tolerance of decimation where none is given
_BORDER = 2  # voxels around what is stored of the labels


@dataclass(frozen=True, eq=False)
class Built:
    """One structure.

    Args:
        config: What it was made from.
        label: Its place, from 1.
        surface: Its surface.
        report: What decimation did.
        voxel_volume: Volume of its voxels [m³], or of the surface where it has none.
    """

    config: StructureConfig
    label: int
    surface: Surface
    report: DecimationReport
    voxel_volume: float


def structures_of(recipe: Recipe, inputs: Inputs) -> tuple[tuple[StructureConfig, ...], Recipe]:
    """Return the structures of a recipe; where it has none, one for each label of the label map.

    Raises:
        InputError: ANATOMY_REFUSED when there is nothing, or a label map looks like an image.
    """
    if recipe.structures:
        return recipe.structures, recipe
    if inputs.labels is None:
        raise InputError(
            'no structures: give a threshold (--above 300 for bone in CT), or a recipe with structures',
            code='ANATOMY_REFUSED',
        )
    counts = inputs.labels.counts()
    if not counts:
        raise InputError('the label map is empty: all voxels are 0', code='ANATOMY_REFUSED')
    if len(counts) > 255 and not inputs.names:
        raise InputError(
            f'{len(counts)} labels: this looks like an image; give a threshold (--above VALUE) or names',
            code='ANATOMY_REFUSED',
        )
    made = [StructureConfig(name=_name(inputs.names.get(n, f'label_{n}')), labels=(n,)) for n in counts]
    return tuple(made), replace(recipe, structures=tuple(made))


def _name(text: str) -> str:
    kept = ''.join(c if c.isalnum() else '_' for c in text.strip().lower())
    return '_'.join(part for part in kept.split('_') if part) or 'structure'


def build_structures(recipe: Recipe, inputs: Inputs) -> tuple[list[Built], LabelVolume | None]:
    """Make the surface of each structure and the label volume of all that have voxels.

    Raises:
        ConfigError: A structure names what is not there.
        InputError: ANATOMY_REFUSED when one cannot be made.
    """
    built: list[Built] = []
    grid = next(iter(inputs.images.values()), None)
    like = inputs.labels or grid
    combined = None
    if like is not None:
        voxels = like.labels if isinstance(like, LabelVolume) else like.values
        kind = np.uint8 if len(recipe.structures) < 256 else np.uint16
        combined = LabelVolume(np.zeros_like(voxels, kind), like.anatomy_T_index)
    for number, config in enumerate(recipe.structures, start=1):
        if config.file:
            surface, volume = _from_file(recipe, config), 0.0
        else:
            assert combined is not None
            surface, volume = _from_voxels(config, inputs, combined, number, recipe.config.surface.smoothing)
        tolerance = recipe.config.surface.tolerance
        if tolerance < 0.0:
            side = math.inf if combined is None or config.file else float(_spacing(combined).min())
            tolerance = _AUTO * side if math.isfinite(side) else 0.0
        surface, report = decimate(surface, tolerance)
        built.append(Built(config, number, surface, report, volume or surface.volume))
    return built, None if combined is None or not combined.labels.any() else _cropped(combined)


def _from_file(recipe: Recipe, config: StructureConfig) -> Surface:
    path = recipe.folder / config.file
    if path.suffix.lower() in TETS and path.suffix.lower() not in SURFACES:
        return read_tets(path, unit=config.unit, space=config.space).surface(config.name)
    surface = read_surface(path, unit=config.unit, space=config.space, name=config.name)  # type: ignore[arg-type]
    if not surface.is_watertight:
        raise InputError(
            f'structure {config.name!r}: its surface is not closed ({surface.report.open_edges} open and '
            f'{surface.report.bad_edges} inconsistent edges): repair it first',
            code='ANATOMY_REFUSED',
        )
    return surface


def _from_voxels(
    config: StructureConfig, inputs: Inputs, combined: LabelVolume, number: int, smoothing: int
) -> tuple[Surface, float]:
    labels = _wanted_labels(config, inputs)
    spacing = _spacing(combined)
    refined = config.close > 0.0 or config.fill or config.keep or config.smallest > 0.0
    if labels and not refined:
        assert inputs.labels is not None
        surface = extract_surface(inputs.labels, labels, config.name, smoothing=smoothing)
        count = sum(inputs.labels.counts().get(label, 0) for label in labels)
        _mark(inputs.labels, labels, combined, number)
        return surface, count * combined.voxel_volume
    if labels:
        assert inputs.labels is not None
        mask = np.isin(inputs.labels.labels, labels)
        if not mask.any():
            extract_surface(inputs.labels, labels, config.name)  # says which labels there are
        mask = refine(mask, spacing, config)
    else:
        values = sum(inputs.images[name].values.astype(np.float32) for name in config.images)
        mask = segment(np.asarray(values), spacing, config)
    combined.labels[mask] = number
    volume = LabelVolume(mask.view(np.uint8), combined.anatomy_T_index)
    surface = extract_surface(volume, 1, config.name, smoothing=smoothing)
    return surface, int(mask.sum()) * combined.voxel_volume


def _mark(source: LabelVolume, labels: tuple[int, ...], combined: LabelVolume, number: int) -> None:
    """Write a number where the source has one of the labels, box by box."""
    for label in labels:
        if label in source.survey:
            box = tuple(slice(int(first), int(last) + 1) for first, last in source.survey[label].box)
            combined.labels[box][source.labels[box] == label] = number


def _wanted_labels(config: StructureConfig, inputs: Inputs) -> tuple[int, ...]:
    if not (config.labels or config.label_names):
        return ()
    if inputs.labels is None:
        raise ConfigError(f'structure {config.name!r} names labels, but the recipe has no label map (labels: FILE)')
    numbers = {name: number for number, name in inputs.names.items()}
    for name in config.label_names:
        if name not in numbers:
            raise ConfigError(f'structure {config.name!r}: no label is called {name!r}{nearest(name, numbers)}')
    return (*config.labels, *(numbers[name] for name in config.label_names))


def _spacing(volume: LabelVolume) -> Any:
    return np.linalg.norm(volume.anatomy_T_index[:3, :3], axis=0)


def _cropped(volume: LabelVolume) -> LabelVolume:
    """Return the box of what has a label, with a border."""
    boxes = np.stack([entry.box for label, entry in volume.survey.items() if label != 0])
    low = np.maximum(boxes[:, :, 0].min(axis=0) - _BORDER, 0)
    high = np.minimum(boxes[:, :, 1].max(axis=0) + _BORDER + 1, volume.labels.shape)
    affine = volume.anatomy_T_index.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return LabelVolume(np.asfortranarray(volume.labels[box]), affine)


def build_tets(recipe: Recipe, built: list[Built], labels: LabelVolume | None) -> tuple[TetMesh, dict[str, Any]] | None:
    """Fill the structures with tetrahedra, or take those of the user; None where none are asked for.

    Raises:
        ConfigError: A structure is not there.
        InputError: ANATOMY_REFUSED when the mesh cannot be made or used.
    """
    step = recipe.config.tets
    if step.file:
        mesh = read_tets(recipe.folder / step.file, unit=step.unit, space=step.space)
        return mesh, {'made_by': 'user'}
    if step.count == 0:
        return None
    names = {item.config.name: item for item in built}
    for name in step.structures:
        if name not in names:
            raise ConfigError(f'tets.structures: no structure {name!r}{nearest(name, names)}')
    chosen = [names[name] for name in step.structures] or built
    voxels = labels is not None and not any(item.config.file for item in chosen)
    if len(chosen) == 1 or not voxels:
        outside = chosen[0].surface
    else:
        assert labels is not None
        outside = extract_surface(labels, tuple(item.label for item in chosen), 'tets')
        outside, _ = decimate(outside, _AUTO * float(_spacing(labels).min()))
    mesh, made = _filled(outside, step)
    if len(chosen) == 1:
        mesh = replace(mesh, labels=np.full(len(mesh.tets), chosen[0].label, np.int32))
    elif voxels:
        assert labels is not None
        wanted = [item.label for item in chosen]
        inside = np.where(np.isin(labels.labels, wanted), labels.labels, 0)
        mesh = label_by_volume(mesh, LabelVolume(inside, labels.anatomy_T_index))
    else:
        mesh = label_by_surfaces(mesh, [(item.label, item.surface) for item in chosen])
    return mesh, made


def _filled(outside: Surface, step: TetStep) -> tuple[TetMesh, dict[str, Any]]:
    """Fill a surface with the mesher that the recipe names."""
    if step.mesher == 'stuffing':
        mesh, report = mesh_surface(outside, tets=step.count)
        return mesh, {'made_by': 'isosurface stuffing', **asdict(report)}
    try:
        from pytetwild import tetrahedralize
    except ModuleNotFoundError:
        raise ConfigError(
            "tets.mesher=pytetwild needs it: pip install 'twin_nodes[tetwild]'; or take stuffing"
        ) from None
    edge = (6.0 * math.sqrt(2.0) * outside.volume / step.count) ** (1.0 / 3.0)  # of regular tetrahedra
    share = edge / outside.diagonal
    nodes, tets = tetrahedralize(outside.vertices, outside.triangles, edge_length_fac=share)[:2]
    mesh = make_tet_mesh('pytetwild', nodes, np.asarray(tets, np.int64))
    return mesh, {'made_by': 'pytetwild', 'volume_error': mesh.volume / outside.volume - 1.0, 'edge': edge}
