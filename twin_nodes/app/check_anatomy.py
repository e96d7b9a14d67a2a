"""What `twin check` says of cases, recipes and tetrahedral meshes."""

import math
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import InputError

TETS = ('.msh', '.mesh', '.meshb', '.vtu', '.inp', '.avs', '.bdf', '.nas', '.fem', '.ele', '.node', '.vol', '.su2',
        '.xdmf', '.med')  # fmt: skip


def is_case(folder: Path) -> bool:
    """Whether a folder holds a case of `twin build`."""
    from twin_nodes.io.case import MANIFEST

    return (folder / MANIFEST).is_file()


def is_recipe(content: dict[str, Any]) -> bool:
    """Whether a YAML file is a recipe of `twin build`: it lists structures, or names images or labels."""
    structures = content.get('structures')
    listed = isinstance(structures, list) and all(isinstance(item, dict) and 'name' in item for item in structures)
    return bool(structures and listed) or any(isinstance(content.get(key), str) for key in ('image', 'labels'))


def inspect_case(folder: Path) -> str:
    """Verify each hash of a case and say what it holds."""
    from twin_nodes.io.case import read_case

    case = read_case(folder)
    tets = case.manifest['tets']
    mesh = f', {tets["tets"]} tetrahedra' if tets else ''
    regions = f', regions {", ".join(case.manifest["boundary"])}' if case.manifest['boundary'] else ''
    return f'case, good: {len(case.manifest["files"])} files as built; {", ".join(case.structures)}{mesh}{regions}'


def inspect_recipe(file: Path) -> str:
    """Read a recipe and look whether its files are there."""
    from twin_nodes.io.recipe import read_recipe

    recipe = read_recipe(file)
    named = [*recipe.images.values(), recipe.config.labels, recipe.config.names, recipe.config.tets.file]
    named += [item.file for item in recipe.structures]
    for name in named:
        if name and not (recipe.folder / name).exists():
            raise InputError(f'{file}: {recipe.folder / name} does not exist')
    what = ', '.join(item.name for item in recipe.structures) or 'one structure for each label'
    return f'recipe, good: {what}; type `twin build {file}`'


def holds_vtk_tets(file: Path) -> bool:
    """Whether a .vtk file has tetrahedra that can be read."""
    from twin_nodes.io.tet_formats import read_vtk_tets

    try:
        return len(read_vtk_tets(file)[1]) > 0
    except (InputError, ValueError, IndexError, KeyError, OverflowError):
        return False  # a surface, or a broken file: the reader of surfaces says what is wrong


def inspect_tets(file: Path) -> str:
    """Read tetrahedra in metres, or in millimetres where that gives no anatomy's size."""
    from twin_nodes.io.tet_meshes import read_tets

    try:
        unit, mesh = 'mm', read_tets(file, unit='mm')
    except InputError as refusal:
        try:
            unit, mesh = 'm', read_tets(file, unit='m')
        except InputError as other:
            raise (other if 'read as millimetres?' in str(refusal) else refusal) from None
    quality = mesh.quality
    angle = math.degrees(quality.min_dihedral)
    return (
        f'tetrahedra, good: {len(mesh.nodes)} nodes, {len(mesh.tets)} elements, {mesh.volume * 1e6:.4g} ml when read '
        f'in {unit}, smallest dihedral angle {angle:.1f}°'
    )


def inspect_mesh(file: Path) -> str:
    """Read a surface in millimetres, and in metres where that gives no anatomy's size; tetrahedra in VTK as such."""
    from twin_nodes.io.meshes import read_surface

    refused = ''
    if file.suffix.lower() == '.vtk' and holds_vtk_tets(file):
        try:
            return inspect_tets(file)
        except InputError as refusal:
            refused = f'; as tetrahedra it is refused: {refusal}'

    try:
        unit, surface = 'mm', read_surface(file, unit='mm')
    except InputError as refusal:
        try:
            unit, surface = 'm', read_surface(file, unit='m')
        except InputError:
            raise refusal from None
    extent = (surface.bounds[1] - surface.bounds[0]) * 1e3
    size = ' × '.join(f'{length:.1f}' for length in extent)
    closed = 'closed' if surface.is_watertight else 'not closed: no signed distance can be computed'
    verdict = 'good' if surface.is_watertight else 'with a warning'
    counts = f'{len(surface.vertices)} vertices, {len(surface.triangles)} triangles'
    return f'surface, {verdict}: {counts}, {size} mm when read in {unit}, {closed}{refused}'
