"""Where the tags sit on a body: our YAML, and the text files of scikit-surgeryarucotracker.

Text: one tag a line, its id, optionally its centre, and its four corners, all x y z in millimetres. YAML:

    unit: mm                      # or m
    dictionary: APRILTAG_36H11    # optional
    bodies:
      drill:
        tags:
          12: {size: 20, centre: [0, 0, 5], rpy_deg: [0, 0, 90]}
          13: {corners: [[0, 0, 0], [20, 0, 0], [20, 20, 0], [0, 20, 0]]}
      board:
        charuco: {columns: 5, rows: 7, square: 30, marker: 22}
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, rotation_exp
from twin_nodes.core.tracking.visual.dictionaries import family_name
from twin_nodes.core.tracking.visual.markers import CharucoBoard, MarkerBody, square_tag
from twin_nodes.core.yaml_text import parse_yaml
from twin_nodes.io.whole_files import read_text_whole

UNITS = {'m': 1.0, 'mm': 1e-3}
MM = 1e-3
_CENTRE_TOLERANCE = 0.1  # of the side


def read_marker_bodies(path: Path | str) -> tuple[MarkerBody, ...]:
    """Read the bodies of a file; a text file holds one, named as the file.

    Raises:
        ConfigError: naming the file, the line or key, and what was expected.
    """
    path = Path(path)
    text = read_text_whole(path, 'file of marker bodies')
    try:
        if path.suffix.lower() in ('.yaml', '.yml'):
            return _from_yaml(path, text)
        return (_from_text(path, text),)
    except InputError as error:
        raise ConfigError(f'{path}: {error}', code=error.code) from None


def read_bodies(paths: Iterable[Path | str]) -> tuple[MarkerBody, ...]:
    """Read the bodies of several files.

    Raises:
        ConfigError: a file cannot be read, or a name comes twice.
    """
    bodies: dict[str, MarkerBody] = {}
    for path in paths:
        for body in read_marker_bodies(path):
            if body.name in bodies:
                raise ConfigError(f'{path}: body {body.name!r} is in another file too')
            bodies[body.name] = body
    return tuple(bodies.values())


def _from_text(path: Path, text: str) -> MarkerBody:
    tags: dict[int, Array] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split('#')[0].replace(',', ' ').replace(';', ' ').split()
        if not words:
            continue
        where = f'{path}:{number}'
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            raise ConfigError(f'{where}: expected numbers, got {line.strip()[:60]!r}') from None
        if len(values) not in (13, 16):
            raise ConfigError(
                f'{where}: {len(values)} numbers, expected an id and 12 (corners) or 15 (centre, corners)'
            )
        if not np.isfinite(values).all() or values[0] != int(values[0]) or values[0] < 0:
            raise ConfigError(f'{where}: expected an id of 0 or above and finite numbers, got {line.strip()[:60]!r}')
        tag = int(values[0])
        if tag in tags:
            raise ConfigError(f'{where}: tag {tag} twice')
        corners = values[-12:].reshape(4, 3) * MM
        if len(values) == 16:
            off = float(np.linalg.norm(values[1:4] * MM - corners.mean(axis=0)))
            side = float(np.linalg.norm(corners[1] - corners[0]))
            if off > _CENTRE_TOLERANCE * side:
                raise ConfigError(f'{where}: tag {tag}: the centre lies {off * 1e3:.2f} mm from that of its corners')
        tags[tag] = corners
    if not tags:
        raise ConfigError(f'{path}: no tag in it; expected lines of an id and four corners [mm]')
    return MarkerBody(path.stem, tags)


def _from_yaml(path: Path, text: str) -> tuple[MarkerBody, ...]:
    document = parse_yaml(text, str(path))
    if not isinstance(document, Mapping) or not isinstance(document.get('bodies'), Mapping) or not document['bodies']:
        raise ConfigError(f'{path}: expected `bodies:` with tags or charuco for each name')
    _known(path, 'file', document, ('unit', 'dictionary', 'bodies'))
    unit = document.get('unit')
    if unit not in UNITS:
        raise ConfigError(f'{path}: unit={unit!r}: expected m or mm')
    family = str(document.get('dictionary') or '')
    family = family_name(family) if family else ''
    return tuple(_body(path, str(name), node, UNITS[unit], family) for name, node in document['bodies'].items())


def _body(path: Path, name: str, node: Any, unit: float, family: str) -> MarkerBody:
    if not isinstance(node, Mapping):
        raise ConfigError(f'{path}: body {name!r}: expected `tags:` or `charuco:`')
    _known(path, f'body {name!r}', node, ('tags', 'charuco', 'dictionary'))
    family = family_name(str(node['dictionary'])) if node.get('dictionary') else family
    if 'charuco' in node:
        board = node['charuco']
        if not isinstance(board, Mapping):
            raise ConfigError(f'{path}: body {name!r}: charuco: expected columns, rows, square, marker')
        _known(path, f'body {name!r}: charuco', board, ('columns', 'rows', 'square', 'marker', 'legacy'))
        counts = [_number(path, f'{name}.charuco.{key}', board.get(key)) for key in ('columns', 'rows')]
        sizes = [_number(path, f'{name}.charuco.{key}', board.get(key)) * unit for key in ('square', 'marker')]
        if any(count != int(count) for count in counts):
            raise ConfigError(f'{path}: body {name!r}: columns and rows must be whole numbers')
        return MarkerBody(
            name,
            board=CharucoBoard(int(counts[0]), int(counts[1]), *sizes, legacy=bool(board.get('legacy', False))),
            dictionary=family,
        )
    tags = node.get('tags')
    if not isinstance(tags, Mapping) or not tags:
        raise ConfigError(f'{path}: body {name!r}: expected `tags:` with an entry for each id')
    return MarkerBody(name, {_id(path, name, key): _corners(path, name, key, tag, unit) for key, tag in tags.items()},
                      dictionary=family)  # fmt: skip


def _id(path: Path, name: str, key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int) or key < 0:
        raise ConfigError(f'{path}: body {name!r}: tag {key!r}: expected an id of 0 or above')
    return key


def _corners(path: Path, name: str, tag: Any, node: Any, unit: float) -> Array:
    where = f'{name}.tags.{tag}'
    if not isinstance(node, Mapping):
        raise ConfigError(f'{path}: {where}: expected corners, or size and centre')
    _known(path, where, node, ('corners', 'size', 'centre', 'rpy_deg'))
    if 'corners' in node:
        return _vector(path, f'{where}.corners', node['corners'], (4, 3)) * unit
    size = _number(path, f'{where}.size', node.get('size')) * unit
    centre = _vector(path, f'{where}.centre', node.get('centre', [0, 0, 0]), (3,)) * unit
    roll, pitch, yaw = np.radians(_vector(path, f'{where}.rpy_deg', node.get('rpy_deg', [0, 0, 0]), (3,)))
    body_R_tag = rotation_exp([0, 0, yaw]) @ rotation_exp([0, pitch, 0]) @ rotation_exp([roll, 0, 0])
    return np.asarray(square_tag(size) @ body_R_tag.T + centre)


def _vector(path: Path, key: str, value: Any, shape: tuple[int, ...]) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise ConfigError(f'{path}: {key}={str(value)[:60]}: expected {" x ".join(map(str, shape))} finite numbers')
    return array


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ConfigError(f'{path}: {key}={value!r}: expected a number above 0')
    return float(value)


def _known(path: Path, where: str, node: Mapping[Any, Any], keys: tuple[str, ...]) -> None:
    for key in node:
        if key not in keys:
            raise ConfigError(f'{path}: {where}: unknown key {key!r}{nearest(str(key), keys)}')
