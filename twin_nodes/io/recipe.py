"""Recipes of `twin build`: YAML that says what a case is built from and how."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from twin_nodes.core.anatomy.case_config import CaseConfig, MaterialConfig, RegionConfig, StructureConfig
from twin_nodes.core.config import build_config, nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.yaml_files import read_mapping, read_yaml

_LISTS = ('structures', 'materials', 'boundary')
C = TypeVar('C')


@dataclass(frozen=True)
class Recipe:
    """What a case is built from and how.

    Args:
        folder: What relative paths start from.
        images: Path of each image by its name.
        config: Everything that is no list.
        structures: In their order; a later one lies within or over an earlier one.
        materials: Of structures.
        boundary: Regions of the mesh.
    """

    folder: Path
    images: Mapping[str, str]
    config: CaseConfig
    structures: tuple[StructureConfig, ...] = ()
    materials: tuple[MaterialConfig, ...] = ()
    boundary: tuple[RegionConfig, ...] = ()

    def __post_init__(self) -> None:
        """Check that names are unique and known."""
        names = [item.name for item in self.structures]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f'structure {name!r} stands {names.count(name)} times: each needs a name of its own')
        for item in self.structures:
            for image in item.images:
                if image not in self.images:
                    raise ConfigError(f'structure {item.name!r}: no image {image!r}{nearest(image, self.images)}')
        regions = [item.name for item in self.boundary]
        if len(set(regions)) != len(regions) or 'label' in regions:
            raise ConfigError(f'boundary names {regions}: each needs a name of its own, and not "label"')


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: naming the file, the key, the value and what was expected.
    """
    return parse_recipe(read_mapping(path, 'recipe'), path.parent, str(path))


def parse_recipe(document: dict[str, Any], folder: Path, where: str) -> Recipe:
    """Make a recipe of the values of a YAML file.

    Raises:
        ConfigError: naming the key, the value and what was expected.
    """
    values = dict(document)
    images = values.pop('images', {})
    if 'image' in values:
        images = {'image': values.pop('image'), **images}
    if not isinstance(images, dict) or not all(isinstance(path, str) for path in images.values()):
        raise ConfigError(f'{where}: images={images!r}: expected a path for each name')
    lists = {}
    for key, kind in zip(_LISTS, (StructureConfig, MaterialConfig, RegionConfig), strict=True):
        lists[key] = _items(values.pop(key, []), key, kind, where)
    config = build_config(CaseConfig, values, source=where)
    structures = tuple(_with_image(item, images) for item in lists['structures'])
    return Recipe(folder, images, config, structures, lists['materials'], lists['boundary'])


def _items(values: Any, key: str, kind: type[C], where: str) -> tuple[C, ...]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f'{where}: {key}: expected a list, each with keys and values')
    return tuple(build_config(kind, value, source=f'{where}: {key} {n + 1}') for n, value in enumerate(values))


def _with_image(item: StructureConfig, images: Mapping[str, str]) -> StructureConfig:
    """Give a threshold the only image where the recipe names none."""
    if item.labels or item.label_names or item.file or item.images:
        return item
    if len(images) != 1:
        raise ConfigError(f'structure {item.name!r}: name its images, of: {", ".join(images) or "none are given"}')
    return replace(item, images=tuple(images))


def read_names(path: Path) -> dict[int, str]:
    """Read names of labels from JSON or YAML: {1: liver}, {liver: 1}, TotalSegmentator's or a list of both.

    Raises:
        ConfigError: It holds nothing of the kind.
    """
    document = read_yaml(path, 'list of names of labels')
    if isinstance(document, dict) and len(document) == 1 and isinstance(next(iter(document.values())), dict):
        document = next(iter(document.values()))  # {"labels": {…}}
    names: dict[int, str] = {}
    for key, value in document.items() if isinstance(document, dict) else ():
        number, name = (key, value) if str(key).isdecimal() else (value, key)
        if not str(number).isdecimal() or not isinstance(name, str):
            raise ConfigError(f'{path}: {key!r}: {value!r} is no number and name of a label')
        if int(number) in names:
            raise ConfigError(f'{path}: label {number} has two names')
        names[int(number)] = name
    if not names:
        raise ConfigError(f'{path}: expected such as {{"1": "liver", "2": "tumour"}}')
    return names
