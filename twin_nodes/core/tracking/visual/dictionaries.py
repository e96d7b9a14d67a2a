"""Families of tags by name, in the words of people and of OpenCV 4.6 to 5."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError

FAMILIES = (
    *(f'{bits}X{bits}_{count}' for bits in (4, 5, 6, 7) for count in (50, 100, 250, 1000)),
    'ARUCO_ORIGINAL', 'ARUCO_MIP_36H12', 'APRILTAG_16H5', 'APRILTAG_25H9', 'APRILTAG_36H10', 'APRILTAG_36H11',
)  # fmt: skip


def family_name(text: str) -> str:
    """Return the name in `FAMILIES` of what a person wrote, such as DICT_4X4_50, tag36h11 or original.

    Raises:
        ConfigError: with the nearest known family.
    """
    name = text.strip().upper().removeprefix('CV2.ARUCO.').removeprefix('DICT_').replace('-', '_')
    name = {'ORIGINAL': 'ARUCO_ORIGINAL', 'MIP_36H12': 'ARUCO_MIP_36H12'}.get(name, name)
    short = re.fullmatch(r'(?:APRIL)?_?(?:TAG)?_?(16H5|25H9|36H10|36H11)', name)
    if short:
        name = f'APRILTAG_{short.group(1)}'
    if name not in FAMILIES:
        raise ConfigError(f'dictionary={text!r} is none of {", ".join(FAMILIES)}{nearest(name, FAMILIES)}')
    return name


def cv_dictionary(family: str) -> Any:
    """Return OpenCV's dictionary of a family.

    Raises:
        ConfigError: an unknown family, or one that this OpenCV lacks.
    """
    aruco = cv_aruco()
    name = family_name(family)
    for candidate in (f'DICT_{name}', re.sub(r'H(\d+)$', r'h\1', f'DICT_{name}')):
        if hasattr(aruco, candidate):
            number = getattr(aruco, candidate)
            get = getattr(aruco, 'getPredefinedDictionary', None) or aruco.Dictionary_get
            return get(number)
    raise ConfigError(f'dictionary={family!r}: this OpenCV does not have it; update opencv-python-headless')


def cv_aruco() -> Any:
    """Return cv2.aruco.

    Raises:
        ConfigError: this OpenCV was built without it.
    """
    import cv2

    if not hasattr(cv2, 'aruco') or not hasattr(cv2.aruco, 'DICT_4X4_50'):
        raise ConfigError(
            f'OpenCV {cv2.__version__} has no module aruco: it is in opencv-python-headless from 4.7 on, and in '
            "Debian's python3-opencv"
        )
    return cv2.aruco


def tag_cells(family: str, tag: int) -> NDArray[np.bool_]:
    """Return which cells of a tag are white, its black border included, shape (cells, cells).

    Raises:
        ConfigError: the family has no such id.
    """
    dictionary = cv_dictionary(family)
    count = len(dictionary.bytesList)
    if not 0 <= tag < count:
        raise ConfigError(f'tag {tag}: {family_name(family)} has the ids 0 to {count - 1}')
    cells = int(dictionary.markerSize) + 2
    aruco = cv_aruco()
    if hasattr(aruco, 'generateImageMarker'):
        image = aruco.generateImageMarker(dictionary, tag, cells)
    else:
        image = aruco.drawMarker(dictionary, tag, cells)
    return np.asarray(image > 127)
