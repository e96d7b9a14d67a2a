"""`twin build`: from images, labels or meshes to the folder of a case."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.build_inputs import Inputs, read_inputs, segmentations_in
from twin_nodes.app.build_steps import Built, build_structures, build_tets, structures_of
from twin_nodes.app.figures import Figure, print_figures
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.regions import nodes_of_region
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.io import case as cases
from twin_nodes.io.grids import save_grid
from twin_nodes.io.label_files import write_label_volume
from twin_nodes.io.meshes import READERS as MESHES
from twin_nodes.io.meshes import write_surface
from twin_nodes.io.recipe import Recipe, parse_recipe
from twin_nodes.io.results import software_version
from twin_nodes.io.tet_meshes import READERS as TETS
from twin_nodes.io.tet_meshes import write_tets
from twin_nodes.io.whole_files import write_bytes_whole
from twin_nodes.io.yaml_files import read_mapping

RECIPES = ('case.yaml', 'recipe.yaml', 'case.yml', 'recipe.yml')
NOTED_PERCENT = 2.0
HUGE_ML = 2e5  # more than most whole patients have
_OF_PATIENT = ('labels', 'names', 'segments', 'series', 'file', 'slices')  # paths and numbers that may name a person


def build(source: Path, *, output: Path, options: dict[str, Any], json: bool = False) -> int:
    """Build a case and say what came of it.

    Args:
        source: A recipe, a folder with one, a DICOM folder, a volume or a mesh.
        output: Folder of the case; one that was built before is replaced.
        options: Recipe keys from the command line, dotted; they win over the recipe.
        json: Figures as JSON and no progress.

    Raises:
        TwinError: what was expected, what was seen, what to type.
    """
    _check_output(output)
    say = _silent if json else _progress()
    recipe = recipe_for(source, options)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{output.name}.', dir=output.parent) as temporary:
        folder = Path(temporary) / 'case'
        folder.mkdir()
        figures = build_into(folder, recipe, say)
        if output.exists():
            shutil.rmtree(output)
        folder.replace(output)
    good = print_figures(figures, as_json=json)
    if not json:
        _say_next(output, figures)
    return 0 if good else 1


def _say_next(output: Path, figures: list[Figure]) -> None:
    """Say where the case is, what of it needs a look, and what to type next."""
    values = {figure.figure: figure.value or 0.0 for figure in figures}
    dropped, parts = values.get('tets_dropped_volume_percent', 0.0), values.get('tets_dropped_parts_count', 0.0)
    if dropped > NOTED_PERCENT:
        print(
            f'note: the tetrahedra fill the largest part only; {parts:.0f} others, {dropped:.1f} % of the volume, do '
            'not hang together with it: name what belongs together in tets.structures'
        )
    for name in (name for name, value in values.items() if name.endswith('_volume_ml') and value > HUGE_ML):
        print(f'note: {name} is {values[name]:.3g}: if the file is in millimetres, say so (--unit mm)')
    if abs(values.get('tets_volume_error_percent', 0.0) + dropped) > NOTED_PERCENT:
        print('note: the tetrahedra miss details of the surface: ask for more of them (--tets)')
    print(f'case: {output}')
    print(f'next: twin check {output}; in anatomy.yaml: case: {output.resolve()}, structures: [], files: []')


def build_into(folder: Path, recipe: Recipe, say: Callable[[str], None]) -> list[Figure]:
    """Build a case into an empty folder and return its figures."""
    say('reading')
    inputs = read_inputs(recipe)
    for note in inputs.notes:
        say(note)
    _, recipe = structures_of(recipe, inputs)
    say(f'surfaces of {len(recipe.structures)} structures')
    built, labels = build_structures(recipe, inputs)
    tets = None
    if recipe.config.tets.count or recipe.config.tets.file:
        say('tetrahedra')
        tets = build_tets(recipe, built, labels)
    say('writing')
    entries = [_write_structure(folder, item) for item in built]
    if labels is not None:
        write_label_volume(folder / cases.LABELS, labels)
    mesh_entry, regions = _write_tets(folder, recipe, built, tets)
    if recipe.config.grid.spacing > 0.0:
        for item, entry in zip(built, entries, strict=True):
            say(f'distance grid of {item.config.name}')
            entry.update(_write_grid(folder, recipe, item))
    manifest = _manifest(recipe, inputs, entries, mesh_entry, regions, labels is not None)
    manifest['files'] = {
        str(path.relative_to(folder)): {'bytes': path.stat().st_size, 'sha256': cases.sha256_of(path)}
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
    write_bytes_whole(folder / cases.MANIFEST, cases.manifest_bytes(manifest))
    return _figures(built, tets)


def recipe_for(source: Path, options: dict[str, Any]) -> Recipe:
    """Read a recipe, or make one for a volume, a DICOM folder or a mesh.

    Raises:
        ConfigError: There is nothing of the kind.
    """
    if not source.exists():
        near = nearest(source.name, [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else [])
        raise ConfigError(f'{source} does not exist{near}')
    found = next((source / name for name in RECIPES if (source / name).is_file()), None) if source.is_dir() else None
    if found or source.suffix.lower() in ('.yaml', '.yml'):
        if any(key.startswith('structure.') for key in options):
            raise ConfigError(f'{found or source}: --above, --below, --name and --unit are for a file without a recipe')
        path = found or source
        return parse_recipe(_merged(read_mapping(path, 'recipe'), options), path.parent, str(path))
    structure = {key.partition('.')[2]: value for key, value in options.items() if key.startswith('structure.')}
    rest = {key: value for key, value in options.items() if not key.startswith('structure.')}
    name = str(structure.pop('name', 'structure'))
    absolute = str(source.resolve())
    if source.suffix.lower() in MESHES:
        document: dict[str, Any] = {'structures': [{'name': name, 'file': absolute, **structure}]}
    elif source.suffix.lower() in TETS:  # its outside is the surface, its elements are the tetrahedra
        same = {key: value for key, value in structure.items() if key in ('unit', 'space')}
        document = {
            'structures': [{'name': name, 'file': absolute, **structure}],
            'tets': {'file': absolute, **same},
        }
    elif 'above' in structure or 'below' in structure:
        document = {'image': absolute, 'structures': [{'name': name, **structure}]}
    else:
        document = {'labels': absolute}
        if source.is_dir() and len(segmentations_in(source)) == 1:
            pass  # its segments, whatever images lie beside it
        elif source.is_dir() or _is_dicom_image(source):
            document = {'image': absolute}  # images without a threshold are refused with the mend, after their checks
    return parse_recipe(_merged(document, rest), Path.cwd(), str(source))


def _is_dicom_image(source: Path) -> bool:
    from twin_nodes.io.dicom_files import is_dicom
    from twin_nodes.io.dicom_seg import is_segmentation

    return is_dicom(source) and not is_segmentation(source)


def _merged(document: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Put dotted options over the values of a recipe."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
    for key, value in options.items():
        group, _, name = key.rpartition('.')
        target = merged.setdefault(group, {}) if group else merged
        target[name] = value
    return merged


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not (output / cases.MANIFEST).is_file())):
        raise ConfigError(f'{output} is there and no case: name another folder with --output')


def _progress() -> Callable[[str], None]:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f'{time.monotonic() - started:6.1f} s  {text}', flush=True)

    return say


def _silent(text: str) -> None:
    del text


def _write_structure(folder: Path, item: Built) -> dict[str, Any]:
    path = f'surfaces/{item.config.name}.ply'
    (folder / 'surfaces').mkdir(exist_ok=True)
    write_surface(folder / path, item.surface)
    return {
        'name': item.config.name,
        'label': item.label,
        'surface': path,
        'voxel_volume_m3': item.voxel_volume,
        'surface_volume_m3': item.surface.volume,
        'triangles': len(item.surface.triangles),
        'decimation_m': {'hausdorff': item.report.hausdorff, 'rms': item.report.rms},
    }


def _write_tets(
    folder: Path, recipe: Recipe, built: list[Built], tets: tuple[TetMesh, dict[str, Any]] | None
) -> tuple[dict[str, Any], dict[str, int]]:
    if tets is None:
        if recipe.boundary:
            raise ConfigError('boundary regions need tetrahedra: set tets.count or tets.file')
        return {}, {}
    mesh, report = tets
    surfaces = {item.config.name: item.surface for item in built}
    regions = {item.name: nodes_of_region(mesh, item, surfaces) for item in recipe.boundary}
    write_tets(folder / cases.TETS, mesh, regions=regions)
    quality = mesh.quality
    entry = {
        'file': cases.TETS,
        'nodes': len(mesh.nodes),
        'tets': len(mesh.tets),
        'volume_m3': mesh.volume,
        'volume_by_label_m3': {str(n): mesh.volume_of(n) for n in np.unique(mesh.labels).tolist()},
        'min_dihedral_rad': quality.min_dihedral,
        'max_dihedral_rad': quality.max_dihedral,
        **report,
    }
    return entry, {name: len(nodes) for name, nodes in regions.items()}


def _write_grid(folder: Path, recipe: Recipe, item: Built) -> dict[str, Any]:
    step = recipe.config.grid
    grid = DistanceGrid.from_surface(item.surface, step.spacing, step.margin)
    path = f'grids/{item.config.name}.npz'
    (folder / 'grids').mkdir(exist_ok=True)
    save_grid(folder / path, grid)
    return {'grid': path, 'grid_spacing_m': grid.spacing, 'grid_error_m': grid.near_error}


def _manifest(
    recipe: Recipe,
    inputs: Inputs,
    structures: list[dict[str, Any]],
    tets: dict[str, Any],
    regions: dict[str, int],
    labels: bool,
) -> dict[str, Any]:
    for item in recipe.materials:
        if item.structure not in {entry['name'] for entry in structures}:
            raise ConfigError(f'material of {item.structure!r}: there is no such structure')
    return {
        'kind': 'twin_nodes case',
        'format': cases.FORMAT,
        'units': {'length': 'm', 'pressure': 'Pa', 'density': 'kg/m3', 'axes': 'LPS (DICOM patient)'},
        'frame_of_reference_uid': inputs.frame_of_reference,
        'inputs': inputs.record,
        'structures': structures,
        'labels': cases.LABELS if labels else '',
        'tets': tets,
        'materials': [asdict(item) for item in recipe.materials],
        'boundary': regions,
        'recipe': {
            'config': _without_paths(asdict(recipe.config)),
            'structures': [_without_paths(asdict(item)) for item in recipe.structures],
            'boundary': [asdict(item) for item in recipe.boundary],
        },
        'versions': {'twin_nodes': software_version(), **{name: metadata.version(name) for name in ('numpy', 'scipy')}},
    }


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if key not in _OF_PATIENT}
    return {key: _without_paths(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _figures(built: list[Built], tets: tuple[TetMesh, dict[str, Any]] | None) -> list[Figure]:
    figures = []
    for item in built:
        name = item.config.name
        change = 100.0 * (item.surface.volume / item.voxel_volume - 1.0)
        figures += [
            Figure(f'{name}_volume_ml', item.surface.volume * 1e6, 'ml'),
            Figure(f'{name}_volume_change_percent', change, '%'),
            Figure(f'{name}_triangles_count', len(item.surface.triangles), ''),
            Figure(f'{name}_decimation_hausdorff_mm', item.report.hausdorff * 1e3, 'mm'),
        ]
    if tets is not None:
        mesh, report = tets
        figures += [
            Figure('tets_count', len(mesh.tets), ''),
            Figure('tets_min_dihedral_deg', float(np.degrees(mesh.quality.min_dihedral)), '°'),
        ]
        if 'volume_error' in report:
            figures.append(Figure('tets_volume_error_percent', 100.0 * report['volume_error'], '%'))
        if 'surface_error' in report:
            figures.append(Figure('tets_surface_error_mm', 1e3 * report['surface_error'], 'mm'))
            figures.append(Figure('tets_dropped_parts_count', report['dropped_parts'], ''))
            figures.append(Figure('tets_dropped_volume_percent', 100.0 * report['dropped_volume'], '%'))
    return figures
