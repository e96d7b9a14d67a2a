"""Landmarks: our YAML, the phantom of a PLUS configuration, Slicer's markups, tables, or the simulated room's."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.io.landmark_tables import ENDINGS, read_landmark_table
from twin_nodes.io.whole_files import write_text_whole
from twin_nodes.io.yaml_files import read_yaml

ROOM = 'room'
_SHORT = reprlib.Repr()  # a value of aliases of aliases would fill the memory when written out
_SHORT.maxlevel = 2


def read_landmarks(source: str, *, minimum: int = 3) -> tuple[tuple[str, ...], Array]:
    """Read names and positions in the anatomy frame [m], shape (n, 3), in the order in which they are to be touched.

    Args:
        source: A file, or 'room' for the simulated room.
        minimum: Fewer are refused: a registration needs three, a list of targets one.

    Raises:
        ConfigError: naming file, landmark and what is wrong.
    """
    if source == ROOM:
        room = Room(RoomConfig())
        return tuple(room.landmarks), np.array(list(room.landmarks.values()))
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f'landmarks_file: there is no file {path}')
    if path.suffix.lower() == '.xml':
        from twin_nodes.io.recordings.plus_config import read_plus_config

        try:
            config = read_plus_config(path)
        except InputError as error:
            raise ConfigError(str(error)) from None
        named = list(zip(config.landmark_names, config.landmarks_phantom.tolist(), strict=True))
        return _checked(path, named, minimum)
    if path.suffix.lower() in ENDINGS:
        try:
            named = read_landmark_table(path)
        except InputError as error:
            raise ConfigError(f'{path}: {error}') from None
        return _checked(path, named, minimum)
    content = read_yaml(path, 'landmark file')
    if not isinstance(content, Mapping) or not isinstance(content.get('landmarks'), Mapping):
        raise ConfigError(f'{path}: expected `landmarks:` with one `name: [x, y, z]` in metres per line')
    return _checked(path, list(content['landmarks'].items()), minimum)


def _checked(path: Path, landmarks: Sequence[tuple[object, object]], minimum: int) -> tuple[tuple[str, ...], Array]:
    names = tuple(str(name) for name, _ in landmarks)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f'{path}: landmark {twice!r} stands twice')
    positions = []
    for name, value in landmarks:
        numbers = value if isinstance(value, list) else []
        if len(numbers) != 3 or not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in numbers
        ):
            raise ConfigError(f'{path}: landmark {name}={_SHORT.repr(value)} must be three finite numbers [m]')
        if max(abs(float(v)) for v in numbers) > 5.0:
            raise ConfigError(
                f'{path}: landmark {name}={_SHORT.repr(value)} is metres away: is the file in millimetres?'
            )
        positions.append([float(v) for v in numbers])
    if len(positions) < minimum:
        raise ConfigError(f'{path}: {len(positions)} landmarks, at least {minimum} are needed')
    return names, np.array(positions)


def write_landmarks(path: Path, landmarks: Mapping[str, Array]) -> None:
    """Write landmarks in the anatomy frame [m] as YAML."""
    content = {'landmarks': {name: [float(v) for v in position] for name, position in landmarks.items()}}
    write_text_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
