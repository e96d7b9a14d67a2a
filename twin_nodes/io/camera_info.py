"""Camera calibrations in files: the YAML of ROS, OpenCV's FileStorage, and matrices as plain text.

The YAML is that of `camera_calibration_parsers`, which `camera_info_manager` and every camera driver of ROS read and
write. OpenCV's own YAML, XML and JSON are read under the names that its samples and common tools use, and what other
tools write (`camera_dialects`).
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS, PLUMB_BOB, RATIONAL
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.yaml_text import parse_yaml
from twin_nodes.io.camera_dialects import ARRAYS, read_arrays, read_dialect, turned
from twin_nodes.io.camera_storage import SIDES, is_file_storage, read_storage
from twin_nodes.io.whole_files import read_text_whole, write_text_whole

_SIDED = tuple(f'#{side}' for side in SIDES)
_ROS_KEYS = ('image_width', 'camera_matrix')
_LEAST_FOCAL = 10.0  # px
_ALIKE, _OFF = 0.05, 0.15  # of the ratios of the principal point to the middle of an image of another size


def write_camera_info(path: Path | str, camera: CameraModel) -> None:
    """Write a camera as the YAML of ROS; the file appears whole or not at all.

    Raises:
        ConfigError: It cannot be written.
    """
    write_text_whole(Path(path), camera_info_text(camera))


def camera_info_text(camera: CameraModel) -> str:
    """Return a camera as the YAML of ROS, keys and layout as `camera_calibration_parsers` writes them."""
    blocks = [
        f'image_width: {camera.width}',
        f'image_height: {camera.height}',
        f'camera_name: {_plain_name(camera.name or "camera")}',
        _matrix_text('camera_matrix', camera.matrix),
        f'distortion_model: {camera.model}',
        _matrix_text('distortion_coefficients', camera.distortion[None, :]),
        _matrix_text('rectification_matrix', camera.rectification),
        _matrix_text('projection_matrix', camera.projection),
    ]
    return '\n'.join(blocks) + '\n'


def read_camera_info(
    path: Path | str, *, size: tuple[int, int] | None = None, side: str = '', distortion: Path | str | None = None
) -> CameraModel:
    """Read a camera from any of the formats of this module.

    Args:
        path: ROS YAML, OpenCV FileStorage (YAML, XML, JSON), or a 3×3 matrix as text; `FILE#left` of a stereo pair.
        size: Width and height [px], for files that do not hold them; checked against those that do.
        side: 'left' or 'right' for a file that holds a stereo pair (M1, D1, M2, D2 and so on).
        distortion: File of the coefficients that belong to a text matrix; looked for beside it when left out.

    Raises:
        ConfigError: naming the file, the key and what was expected.
    """
    path = Path(path)
    if not side and path.name.endswith(_SIDED) and not path.exists():
        named, _, side = str(path).rpartition('#')
        path = Path(named)
    try:
        if path.suffix.lower() in ARRAYS:
            values = read_arrays(path)
        else:
            values = _values(path, read_text_whole(path, 'camera calibration'), side, distortion)
        return _camera(path, values, size)
    except InputError as error:
        raise ConfigError(f'{path}: {error}', code=error.code) from None


def _values(path: Path, text: str, side: str, distortion: Path | str | None) -> dict[str, Any]:
    if side and side not in SIDES:
        raise ConfigError(f'side={side!r} is neither left nor right')
    if is_file_storage(text):
        try:
            return read_storage(path, text, side)
        except ConfigError:
            found = read_dialect(path, text, side)
            if found is None:
                raise
            return found
    if re.fullmatch(r'[\s,;0-9eE+.\-\[\]]+|[\s,;0-9eE+.\-naifNAIF\[\]]+', text):
        return _from_text(path, text, distortion)
    found = None if all(re.search(rf'^{key}\s*:', text, re.M) for key in _ROS_KEYS) else read_dialect(path, text, side)
    return found or _from_ros(path, text)


def _camera(path: Path, values: dict[str, Any], size: tuple[int, int] | None) -> CameraModel:
    found = values.pop('size', None)
    if found is None and size is None:
        raise ConfigError(f'{path} does not say the size of its image: give it, such as --size 1920x1080')
    if found is not None and size is not None and tuple(found) != tuple(size):
        raise ConfigError(f'{path} is for images of {found[0]}x{found[1]} px, not {size[0]}x{size[1]} px')
    width, height = found or size or (0, 0)
    camera = CameraModel(width, height, **values)
    _refuse_other_sizes(path, camera, is_said=found is not None)
    return camera


def _refuse_other_sizes(path: Path, camera: CameraModel, *, is_said: bool) -> None:
    """Refuse numbers that are parts of the image, and those of an image of another size where the file says none.

    Raises:
        ConfigError: with the size that the principal point tells.
    """
    focal, centre = camera.focal, camera.centre
    if max(focal) < _LEAST_FOCAL:
        raise ConfigError(
            f'{path}: focal lengths {focal[0]:g} and {focal[1]:g} px: are they parts of the width and height of the '
            'image? multiply them and the principal point by these'
        )
    ratios = 2.0 * np.asarray(centre) / (camera.width, camera.height)
    if not is_said and min(centre) > 0.0 and abs(ratios[0] - ratios[1]) < _ALIKE and abs(ratios.mean() - 1.0) > _OFF:
        raise ConfigError(
            f'{path}: principal point {centre[0]:.0f}, {centre[1]:.0f} px is that of an image of about '
            f'{2 * centre[0]:.0f}x{2 * centre[1]:.0f} px, not {camera.width}x{camera.height} px: calibrate at this '
            'size, or scale the first two rows of the matrix'
        )


def _from_ros(path: Path, text: str) -> dict[str, Any]:
    document = parse_yaml(text, str(path))
    if not isinstance(document, Mapping):
        raise ConfigError(f'{path}: expected the camera YAML of ROS, OpenCV, or a 3×3 matrix')
    for key in ('image_width', 'image_height', 'camera_matrix'):
        if key not in document:
            raise ConfigError(f'{path}: key {key!r} is missing: no camera YAML of ROS')
    coefficients = _ros_matrix(path, document, 'distortion_coefficients', None).ravel()
    model = document.get('distortion_model')
    if model in (None, ''):
        model = RATIONAL if len(coefficients) == len(COEFFICIENTS[RATIONAL]) else PLUMB_BOB
    if not isinstance(model, str):
        raise ConfigError(f'{path}: distortion_model={model!r}: expected text')
    values = {
        'size': tuple(_whole(path, key, document[key]) for key in ('image_width', 'image_height')),
        'matrix': turned(_ros_matrix(path, document, 'camera_matrix', (3, 3))),
        'distortion': coefficients,
        'model': model,
        'name': str(document.get('camera_name') or ''),
    }
    for key, field, shape in (
        ('rectification_matrix', 'rectification', (3, 3)),
        ('projection_matrix', 'projection', (3, 4)),
    ):
        if key in document:
            values[field] = _ros_matrix(path, document, key, shape)
    return values


def _ros_matrix(path: Path, document: Mapping[str, Any], key: str, shape: tuple[int, int] | None) -> Array:
    node = document.get(key)
    if node is None and shape is None:
        return np.zeros(0)
    data = node.get('data') if isinstance(node, Mapping) else node
    try:
        values = np.array(data, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'{path}: {key}.data={str(data)[:60]}: expected numbers') from None
    if isinstance(node, Mapping) and {'rows', 'cols'} <= node.keys():
        declared = (_whole(path, f'{key}.rows', node['rows']), _whole(path, f'{key}.cols', node['cols']))
        if declared[0] * declared[1] != len(values) or (shape is not None and declared != shape):
            raise ConfigError(
                f'{path}: {key} has {len(values)} values for {declared[0]}x{declared[1]}'
                + (f', expected {shape[0]}x{shape[1]}' if shape else '')
            )
    if shape is not None and len(values) != shape[0] * shape[1]:
        raise ConfigError(f'{path}: {key} has {len(values)} values, expected {shape[0]}x{shape[1]}')
    return values.reshape(shape) if shape is not None else values


def _from_text(path: Path, text: str, distortion: Path | str | None) -> dict[str, Any]:
    rows = [line for line in text.splitlines() if line.strip(' ,;[]\t')]
    own = rows[3] if len(rows) == 4 else ''  # scikit-surgery writes the coefficients below the matrix
    matrix = turned(_table(path, '\n'.join(rows[:3]) if own else text))
    if matrix.shape == (3, 4) and not matrix[:, 3].any():  # a projection without a baseline
        matrix = matrix[:, :3]
    if matrix.shape != (3, 3):
        raise ConfigError(f'{path}: {matrix.shape[0]}x{matrix.shape[1]} numbers, expected a 3×3 camera matrix')
    if matrix[2].tolist() != [0.0, 0.0, 1.0] or not min(matrix[0, 0], matrix[1, 1]) > 1.0:
        raise ConfigError(f'{path}: a 3×3 matrix of no camera; expected fx 0 cx, 0 fy cy, 0 0 1 in pixels')
    beside = Path(distortion) if distortion is not None else _beside(path)
    coefficients = np.zeros(0) if beside is None else _table(beside, read_text_whole(beside, 'list of them')).ravel()
    if own and distortion is None:
        coefficients = _table(path, own).ravel()
    model = RATIONAL if len(coefficients) > 5 and coefficients[5:].any() else PLUMB_BOB
    return {'matrix': matrix, 'distortion': coefficients, 'model': model}


def _beside(path: Path) -> Path | None:
    """Find the file of coefficients that belongs to one of intrinsics, by the name that scikit-surgery gives it."""
    for old in ('intrinsics', 'intrinsic', 'camera_matrix', 'mtx'):
        for new in ('distortion', 'distortions', 'dist'):
            other = path.with_name(path.name.replace(old, new))
            if other != path and other.is_file():
                return other
    return None


def _table(path: Path, text: str) -> Array:
    if ';' in text and '.' not in text:
        text = text.replace(',', '.')
    rows = [re.sub(r'[\[\],;]', ' ', line).split() for line in text.splitlines()]
    rows = [row for row in rows if row]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ConfigError(f'{path}: expected rows of equally many numbers')
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError:
        raise ConfigError(f'{path}: expected numbers only') from None
    if not np.isfinite(table).all():
        raise ConfigError(f'{path} has NaN or Inf', code='NOT_FINITE')
    return table


def _whole(path: Path, key: str, value: object) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value != int(value)
    ):
        raise ConfigError(f'{path}: {key}={value!r}: expected a whole number')
    return int(value)


def _matrix_text(key: str, matrix: Array) -> str:
    data = ', '.join(repr(float(value) + 0.0) for value in matrix.ravel())  # + 0.0 takes the sign off a zero
    return f'{key}:\n  rows: {matrix.shape[0]}\n  cols: {matrix.shape[1]}\n  data: [{data}]'


def _plain_name(name: str) -> str:
    """Return a name as YAML, quoted only where it must be."""
    return yaml.safe_dump(name, default_style=None, allow_unicode=True).splitlines()[0]
