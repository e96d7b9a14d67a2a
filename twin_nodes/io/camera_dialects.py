"""Cameras as other tools write them: messages of ROS, Kalibr, EuRoC, RealSense, Open3D, COLMAP, numpy and Matlab.

All of them hold the same numbers under other names. A camera matrix whose principal point stands in its last row is
written column by column (Matlab, Open3D) and is turned; it can mean nothing else.
"""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from twin_nodes.core.calibration.camera_distortion import PLUMB_BOB, RATIONAL
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.yaml_text import parse_yaml
from twin_nodes.io.camera_storage import DISTORTIONS, HEIGHTS, MATRICES, SIDES, SIZES, WIDTHS
from twin_nodes.io.whole_files import read_bytes_whole

ARRAYS = ('.npz', '.npy', '.mat')
_MATRIX_NAMES = (*MATRICES, 'k', 'intrinsic_matrix', 'IntrinsicMatrix', 'camMatrix', 'cam_matrix', 'A')
_DISTORTION_NAMES = (*DISTORTIONS, 'd', 'coeffs', 'distortion_coeffs', 'distCoeff', 'kc', 'distortion_params')
_CENTRES = (('ppx', 'ppy'), ('cx', 'cy'), ('u0', 'v0'))
_MODELS = {
    'radial-tangential': PLUMB_BOB, 'radtan': PLUMB_BOB, 'none': PLUMB_BOB, 'distortion.brown_conrady': PLUMB_BOB,
    'brown_conrady': PLUMB_BOB, 'distortion.none': PLUMB_BOB, 'opencv': PLUMB_BOB, 'equi': 'equidistant',
}  # fmt: skip
_PROJECTIONS = ('pinhole', 'perspective', '')
_COLMAP = {  # order of the parameters: f or fx fy, then cx cy, then coefficients
    'SIMPLE_PINHOLE': (1, 0, PLUMB_BOB),
    'PINHOLE': (2, 0, PLUMB_BOB),
    'SIMPLE_RADIAL': (1, 1, PLUMB_BOB),
    'RADIAL': (1, 2, PLUMB_BOB),
    'OPENCV': (2, 4, PLUMB_BOB),
    'OPENCV_FISHEYE': (2, 4, 'equidistant'),
    'FULL_OPENCV': (2, 8, RATIONAL),
}
_FEW = 12  # numbers of a longest list of coefficients


def read_dialect(path: Path, text: str, side: str) -> dict[str, Any] | None:
    """Read a camera from a text of another tool.

    Args:
        path: For messages.
        text: The content.
        side: 'left', 'right' or ''; the first and the second camera of a chain.

    Returns:
        Arguments of `CameraModel`, and `size` where the file holds it; None for a text of none of these tools.

    Raises:
        ConfigError: Such a text, but several cameras, or a lens model that is not known.
    """
    if '[image]' in text[:4096] and 'camera matrix' in text:
        return _of_ini(path, text)
    if re.search(rf'^\s*\d+\s+({"|".join(_COLMAP)})\s', text, re.M):
        return _of_colmap(path, text, side)
    document = _mapping(path, text)
    if document is None:
        return None
    cameras = {name: of for name, of in document.items() if re.fullmatch(r'cam\d+', str(name)) and _is_camera(of)}
    if cameras:
        return _of_mapping(path, cast(Mapping[str, Any], _chosen(path, cameras, side)))
    return _of_mapping(path, document)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read a camera from a numpy or Matlab file.

    Raises:
        ConfigError: It cannot be read, or holds no camera matrix.
    """
    data = read_bytes_whole(path, 'camera calibration')
    try:
        if path.suffix.lower() == '.mat':
            from scipy.io import loadmat

            held = {name: of for name, of in loadmat(cast(Any, io.BytesIO(data)), simplify_cells=True).items()}
        else:
            loaded = np.load(io.BytesIO(data), allow_pickle=False)
            held = {'K': loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # damaged files raise many kinds, in numpy and scipy
        raise ConfigError(f'{path}: cannot be read ({type(error).__name__}: {error})') from None
    for value in list(held.values()):  # the structure in which Matlab's calibrator keeps them
        if isinstance(value, Mapping):
            held.update({name: of for name, of in value.items() if name not in held})
    radial, tangential = (np.ravel(held.get(name, ())) for name in ('RadialDistortion', 'TangentialDistortion'))
    if radial.size:
        held['distortion'] = [*radial[:2], *(tangential if tangential.size else (0.0, 0.0)), *radial[2:]]
    values = _of_mapping(path, held)
    if values is not None and ('IntrinsicMatrix' in held or radial.size):
        values['matrix'][:2, 2] -= 1.0  # Matlab's first pixel is 1, 1
    if values is None:
        names = ', '.join(name for name in held if not name.startswith('__'))
        raise ConfigError(f'{path}: no 3×3 camera matrix under any of {", ".join(_MATRIX_NAMES)}; it holds {names}')
    size = np.ravel(held.get('ImageSize', ()))
    if 'size' not in values and size.size == 2:  # rows, columns
        values['size'] = (int(size[1]), int(size[0]))
    return values


def turned(matrix: Array) -> Array:
    """Return a camera matrix by rows, also where it was written by columns."""
    by_column = matrix.shape == (3, 3) and not matrix[:2, 2].any() and matrix[2, :2].all()
    return matrix.T.copy() if by_column else matrix


def _mapping(path: Path, text: str) -> Mapping[str, Any] | None:
    """Return the first document of a JSON or YAML text; None where it is neither."""
    bare = text.lstrip('\ufeff \r\n\t')
    try:
        if bare.startswith('{'):
            document = json.loads(bare)
        else:
            first = re.split(
                r'^---\s*$', re.sub(r'^%YAML.*$', '', bare, flags=re.M).strip().removeprefix('---'), flags=re.M
            )
            document = parse_yaml(first[0], str(path))
    except (ConfigError, ValueError, RecursionError):
        return None
    return document if isinstance(document, Mapping) else None


def _is_camera(node: object) -> bool:
    return isinstance(node, Mapping) and 'intrinsics' in node


def _chosen(path: Path, cameras: Mapping[str, Any], side: str) -> object:
    names = sorted(cameras)
    if len(names) == 1:
        return cameras[names[0]]
    if not side or len(names) != len(SIDES):
        raise ConfigError(f'{path} holds {len(names)} cameras ({", ".join(names)}): name one, as {path.name}#left')
    return cameras[names[list(SIDES).index(side)]]


def _of_mapping(path: Path, held: Mapping[str, Any]) -> dict[str, Any] | None:
    matrix = _matrix(held)
    if matrix is None:
        return None
    kind = str(held.get('camera_model') or '').lower()
    if kind not in _PROJECTIONS:
        raise ConfigError(f'{path}: camera_model {kind!r} is not known; expected pinhole')
    coefficients = _numbers(next((held[name] for name in _DISTORTION_NAMES if name in held), []))
    if coefficients is None or len(coefficients) > 14:
        return None
    values: dict[str, Any] = {'matrix': matrix, 'distortion': coefficients, 'model': _model(path, held, coefficients)}
    size = _size(held)
    if size is not None:
        values['size'] = size
    for field, names, shape in (('rectification', 'rR', (3, 3)), ('projection', 'pP', (3, 4))):
        found = next((_numbers(held[name]) for name in names if name in held), None)
        if found is not None and found.size == shape[0] * shape[1] and found.any():
            values[field] = found.reshape(shape)
    return values


def _matrix(held: Mapping[str, Any]) -> Array | None:
    for name in _MATRIX_NAMES:
        found = _numbers(held.get(name))
        if found is not None and found.size == 9:
            return turned(found.reshape(3, 3))
        if found is not None and found.size == 4 and name == 'intrinsics':  # fx, fy, cx, cy
            return _pinhole(found)
    for across, down in _CENTRES:
        found = _numbers([held.get(name) for name in ('fx', 'fy', across, down)])
        if found is not None and found.size == 4:
            return _pinhole(found)
    return None


def _pinhole(values: Array) -> Array:
    return np.array([[values[0], 0.0, values[2]], [0.0, values[1], values[3]], [0.0, 0.0, 1.0]])


def _numbers(node: Any) -> Array | None:
    """Return numbers (n,) of a list, nested or not, of rows with `data`, or of an array; None for anything else."""
    if isinstance(node, Mapping):
        node = node.get('data')
    if node is None or isinstance(node, str):
        return None
    try:
        values = np.array(node, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    return values if np.isfinite(values).all() else None


def _model(path: Path, held: Mapping[str, Any], coefficients: Array) -> str:
    named = held.get('distortion_model') or (held.get('model') if 'coeffs' in held else None)
    if isinstance(named, str) and named:
        plain = _MODELS.get(named.lower(), named.lower())
        if plain.endswith('inverse_brown_conrady'):
            if not coefficients.any():
                return PLUMB_BOB
            raise ConfigError(f'{path}: the distortion model {named!r} goes from the image to the ray: not supported')
        return plain
    return RATIONAL if len(coefficients) > 5 and coefficients[5:].any() else PLUMB_BOB


def _size(held: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = (next((held[name] for name in names if name in held), None) for names in (WIDTHS, HEIGHTS))
    both = next((_numbers(held[name]) for name in SIZES if name in held), None)
    found = _numbers([width, height]) if width is not None and height is not None else both
    return (int(found[0]), int(found[1])) if found is not None and found.size == 2 else None


def _of_ini(path: Path, text: str) -> dict[str, Any]:
    """Read the `ost.txt` that `cameracalibrator` of ROS writes beside its YAML."""

    def block(title: str, count: int) -> Array:
        found = re.search(rf'^\s*{title}\s*$((?:\s+[-+.\deE]+)+)', text, re.M)
        values = np.array([float(word) for word in found[1].split()]) if found else np.zeros(0)
        if values.size < count:
            raise ConfigError(f'{path}: {values.size} numbers below {title!r}, expected {count}')
        return values

    width, height = block('width', 1)[0], block('height', 1)[0]
    coefficients = block('distortion', 4)
    return {
        'size': (int(width), int(height)),
        'matrix': block('camera matrix', 9)[:9].reshape(3, 3),
        'distortion': coefficients,
        'model': RATIONAL if len(coefficients) > 5 and coefficients[5:].any() else PLUMB_BOB,
        'rectification': block('rectification', 9)[:9].reshape(3, 3),
        'projection': block('projection', 12)[:12].reshape(3, 4),
    }


def _of_colmap(path: Path, text: str, side: str) -> dict[str, Any]:
    found = {
        words[0]: words[1:]
        for line in text.splitlines()
        if len(words := line.split()) > 4 and not line.lstrip().startswith('#')
    }
    if len(found) > 1 and (not side or len(found) != len(SIDES)):
        raise ConfigError(
            f'{path} holds {len(found)} cameras: name one of two, as {path.name}#left, or leave only one in it'
        )
    model, width, height, *rest = list(found.values())[list(SIDES).index(side) if side and len(found) > 1 else 0]
    focals, count, bend = _COLMAP.get(model, (0, 0, ''))
    if not bend or len(rest) != focals + 2 + count:
        raise ConfigError(f'{path}: {model} with {len(rest)} parameters; known are {", ".join(_COLMAP)}')
    values = np.array([float(word) for word in rest])
    focal = [values[0], values[focals - 1]]
    coefficients = values[focals + 2 :]
    if model in ('SIMPLE_RADIAL', 'RADIAL'):
        coefficients = np.concatenate([coefficients, np.zeros(4 - count)])
    matrix = _pinhole(np.array([*focal, *values[focals : focals + 2]]))
    return {'size': (int(width), int(height)), 'matrix': matrix, 'distortion': coefficients, 'model': bend}
