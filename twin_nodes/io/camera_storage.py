"""Cameras in OpenCV's FileStorage (YAML, XML, JSON), under the names that its samples and common tools use."""

from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.core.calibration.camera_distortion import EQUIDISTANT, PLUMB_BOB, RATIONAL
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

SIDES = {'left': '1', 'right': '2'}
MATRICES = (
    'camera_matrix',
    'cameraMatrix',
    'Camera_Matrix',
    'CameraMatrix',
    'intrinsics',
    'intrinsic',
    'mtx',
    'K',
    'M',
)
DISTORTIONS = (
    'distortion_coefficients', 'Distortion_Coefficients', 'distCoeffs', 'dist_coeffs', 'dist_coeff', 'distortion',
    'dist', 'D',
)  # fmt: skip
WIDTHS = ('image_width', 'image_Width', 'imageWidth', 'width')
HEIGHTS = ('image_height', 'image_Height', 'imageHeight', 'height')
SIZES = ('image_size', 'imageSize', 'size', 'resolution')


def is_file_storage(text: str) -> bool:
    """Say whether a text is OpenCV's YAML, XML or JSON."""
    start = text.lstrip('\ufeff \r\n\t')
    return start.startswith(('%YAML:', '<?xml', '<opencv_storage', '{')) or 'opencv-matrix' in text[:100_000]


def read_storage(path: Path, text: str, side: str) -> dict[str, Any]:
    """Read OpenCV's format from memory, so that any ending of the name does.

    Args:
        path: For messages.
        text: The content.
        side: 'left', 'right' or ''.

    Returns:
        Arguments of `CameraModel`, and `size` where the file holds it.

    Raises:
        ConfigError: naming the file and what was expected.
    """
    import cv2

    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        return _of_root(path, root, list(root.keys()), side)
    except (cv2.error, SystemError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = ' '.join(str(error).split())[:160]
        raise ConfigError(f'{path}: not readable as OpenCV FileStorage: {reason}') from None


def _of_root(path: Path, root: Any, keys: list[str], side: str) -> dict[str, Any]:
    suffixes = ('',) if not side else (f'_{side}', f'_{SIDES[side]}', SIDES[side], side.capitalize(), '')
    if not side and _node(root, keys, MATRICES, ('',)) is None and _node(root, keys, MATRICES, ('1', '_left')):
        raise ConfigError(f'{path} holds a stereo pair: name one side, as {path.name}#left or #right')
    matrix = _node(root, keys, MATRICES, suffixes)
    if matrix is None or matrix.mat() is None:
        raise ConfigError(f'{path}: no camera matrix under any of {", ".join(MATRICES)}; it holds {", ".join(keys)}')
    found = _node(root, keys, DISTORTIONS, suffixes)
    coefficients = found.mat() if found is not None else None
    coefficients = np.zeros(0) if coefficients is None else np.asarray(coefficients, float).ravel()
    values: dict[str, Any] = {
        'matrix': np.asarray(matrix.mat(), float),
        'distortion': coefficients,
        'model': _storage_model(root, keys, coefficients),
    }
    size = _storage_size(root, keys)
    if size is not None:
        values['size'] = size
    number = SIDES.get(side, '1')
    rectified = [root.getNode(f'{letter}{number}') for letter in 'RP' if side]
    if rectified and all(not node.empty() and node.mat() is not None for node in rectified):
        values['rectification'], values['projection'] = (np.asarray(node.mat(), float) for node in rectified)
    return values


def _storage_model(root: Any, keys: list[str], coefficients: Array) -> str:
    named = root.getNode('distortion_model') if 'distortion_model' in keys else None
    if named is not None and named.isString():
        return str(named.string())
    fisheye = root.getNode('fisheye_model') if 'fisheye_model' in keys else None
    if fisheye is not None and fisheye.isInt() and int(fisheye.real()):
        return EQUIDISTANT
    return RATIONAL if len(coefficients) > 5 and coefficients[5:].any() else PLUMB_BOB


def _storage_size(root: Any, keys: list[str]) -> tuple[int, int] | None:
    width, height = _node(root, keys, WIDTHS, ('',)), _node(root, keys, HEIGHTS, ('',))
    if width is not None and height is not None:
        return int(width.real()), int(height.real())
    both = _node(root, keys, SIZES, ('',))
    if both is not None and both.isSeq() and both.size() == 2:
        return int(both.at(0).real()), int(both.at(1).real())
    return None


def _node(root: Any, keys: list[str], names: tuple[str, ...], suffixes: tuple[str, ...]) -> Any:
    for suffix in suffixes:
        for name in names:
            if f'{name}{suffix}' in keys:
                return root.getNode(f'{name}{suffix}')
    return None
