"""Finding tags and ChArUco corners in an image, with OpenCV from 4.6 to 5."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.core.tracking.visual.dictionaries import FAMILIES, cv_aruco, cv_dictionary
from twin_nodes.core.tracking.visual.edges import ToIdeal, refine_corners
from twin_nodes.core.tracking.visual.markers import CharucoBoard, Refusal, SeenTag

Image = NDArray[np.uint8]
_SAME_TAG = 0.2  # of the side: two detections as near as this are one tag found twice


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in one image.

    Args:
        tags: One per id.
        refusals: What was found and must not be used.
        candidates: Squares that carry no tag of this family.
    """

    tags: tuple[SeenTag, ...]
    refusals: tuple[Refusal, ...]
    candidates: int


class TagDetector:
    """Finds the tags of one family.

    Args:
        config: Settings.
        camera: The lens, whose distortion is taken from the corners; None to leave it in.
        family: Of the tags; '' for that of the settings.
    """

    def __init__(self, config: VisualConfig, camera: CameraModel | None = None, *, family: str = '') -> None:
        self.config = config
        self.family = family or config.dictionary
        self._dictionary = cv_dictionary(self.family)
        self._cells = int(self._dictionary.markerSize) + 2
        self._detect = _detector(self._dictionary)
        self._to_ideal = ideal_of(camera) if camera is not None else None

    def raw(self, image: Image) -> tuple[Array, NDArray[np.int64], int]:
        """Return rough corners (n, 4, 2) [px], ids (n,) and the number of squares without a tag."""
        corners, ids, rejected = self._detect(image)
        if ids is None or len(ids) == 0:
            return np.empty((0, 4, 2)), np.empty(0, np.int64), len(rejected)
        stacked = np.array([np.asarray(quad, float).reshape(4, 2) for quad in corners])
        return stacked, np.asarray(ids).ravel().astype(np.int64), len(rejected)

    def find(self, image: Image) -> Detection:
        """Find the tags of a grey image (h, w).

        Raises:
            InputError: IMAGE_UNUSABLE.
        """
        check_grey(image)
        corners, ids, candidates = self.raw(image)
        tags: list[SeenTag] = []
        refusals: list[Refusal] = []
        for tag in sorted(set(ids.tolist())):
            quads = _one_of_each(corners[ids == tag])
            seen = self._take(image, tag, quads)
            (tags if isinstance(seen, SeenTag) else refusals).append(seen)  # type: ignore[arg-type]
        return Detection(tuple(tags), tuple(refusals), candidates)

    def _take(self, image: Image, tag: int, quads: Array) -> SeenTag | Refusal:
        if len(quads) > 1:
            places = ' and '.join(f'({quad[:, 0].mean():.0f}, {quad[:, 1].mean():.0f})' for quad in quads)
            return Refusal('MARKER_DUPLICATE', f'tag {tag} is {len(quads)} times in the image, at {places} px', tag)
        quad = quads[0]
        refusal = self._check_shape(tag, quad)
        if refusal is not None:
            return refusal
        refined = refine_corners(image, quad, self._cells, self._to_ideal) if self.config.refine else None
        floor = self.config.pixel_noise**2 * np.eye(8)
        if refined is not None:
            return SeenTag(tag, refined.pixels, refined.ideal, refined.covariance + floor)
        rough = sub_pixel(image, quad, window=max(2, int(0.6 * shortest_side(quad) / self._cells)))
        try:
            ideal = rough if self._to_ideal is None else self._to_ideal(rough)
        except InputError as error:
            return Refusal('MARKER_GRAZING', f'tag {tag}: {error}', tag)
        return SeenTag(tag, rough, ideal, 0.2**2 * np.eye(8) + floor)

    def _check_shape(self, tag: int, quad: Array) -> Refusal | None:
        if not np.isfinite(quad).all():
            return Refusal('NOT_FINITE', f'tag {tag}: a corner is NaN or Inf', tag)
        x, y = quad[:, 0], quad[:, 1]
        area = 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
        longest = float(np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1).max())
        shortest = shortest_side(quad)
        least = float(np.cos(self.config.max_view_angle))
        if longest >= self.config.min_side_px and area < least * longest**2:
            angle = np.arccos(min(area / longest**2, 1.0))
            return Refusal(
                'MARKER_GRAZING',
                f'tag {tag} is seen at about {angle:.2f} rad, limit max_view_angle={self.config.max_view_angle} rad',
                tag,
            )
        if shortest < self.config.min_side_px:
            return Refusal(
                'MARKER_TOO_SMALL',
                f'tag {tag}: shortest side {shortest:.1f} px, limit min_side_px={self.config.min_side_px} px',
                tag,
            )
        return None


class BoardDetector:
    """Finds the inner corners of a ChArUco board.

    Args:
        board: The board.
        camera: The lens; None to leave its distortion in.
        family: Of its tags.
    """

    def __init__(self, board: CharucoBoard, camera: CameraModel | None, family: str) -> None:
        self._find = _board_detector(board, cv_dictionary(family))
        self._to_ideal = ideal_of(camera) if camera is not None else None

    def find(self, image: Image) -> tuple[NDArray[np.int64], Array, Array]:
        """Return the ids (n,) of the corners found, their pixels (n, 2) and the same without distortion (n, 2).

        Raises:
            InputError: IMAGE_UNUSABLE.
        """
        corners, ids = self._find(check_grey(image))
        if ids is None or len(ids) == 0:
            return np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 2))
        pixels = np.asarray(corners, float).reshape(-1, 2)
        good = np.isfinite(pixels).all(axis=1)
        pixels = pixels[good]
        ideal = pixels if self._to_ideal is None else self._to_ideal(pixels)
        return np.asarray(ids).ravel().astype(np.int64)[good], pixels, ideal


def recognise_families(image: Image) -> dict[str, tuple[int, ...]]:
    """Return the ids that each family finds in an image; the largest family of a size stands for those within it."""
    found: dict[str, tuple[int, ...]] = {}
    for family in (*(f'{bits}X{bits}_1000' for bits in (4, 5, 6, 7)), *FAMILIES[16:]):
        try:
            detector = _detector(cv_dictionary(family))
        except ValueError:  # this OpenCV lacks it
            continue
        _, ids, _ = detector(check_grey(image))
        if ids is not None and len(ids):
            found[family] = tuple(sorted({int(tag) for tag in np.ravel(ids)}))
    return found


def check_grey(image: Image) -> Image:
    """Return a grey image (h, w) of bytes.

    Raises:
        InputError: IMAGE_UNUSABLE for any other.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or min(image.shape) < 8:
        raise InputError(
            f'image of shape {image.shape} and type {image.dtype}: expected grey, 8 bits, at least 8x8 px',
            code='IMAGE_UNUSABLE',
        )
    return np.ascontiguousarray(image)


def sub_pixel(image: Image, corners: Array, *, window: int) -> Array:
    """Move corners (n, 2) to where the gradients around them meet (Förstner 1987)."""
    import cv2

    points = np.ascontiguousarray(corners, np.float32).reshape(-1, 1, 2)
    window = min(window, 8)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
    return np.asarray(cv2.cornerSubPix(image, points, (window, window), (-1, -1), criteria), float).reshape(-1, 2)


def shortest_side(quad: Array) -> float:
    """Return the length of the shortest side of a quadrilateral (4, 2)."""
    return float(np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1).min())


def ideal_of(camera: CameraModel) -> ToIdeal | None:
    """Return what takes the distortion of the lens from pixels (n, 2), or None where it has none."""
    if not camera.distortion.any() and camera.model != 'equidistant':
        return None
    return lambda pixels: camera.undistort(pixels) * camera.focal + camera.centre


def _one_of_each(quads: Array) -> Array:
    """Leave out quadrilaterals (n, 4, 2) that lie upon an earlier, larger one."""
    order = np.argsort([-shortest_side(quad) for quad in quads], kind='stable')
    kept: list[Array] = []
    for quad in quads[order]:
        centre = quad.mean(axis=0)
        if all(np.hypot(*(centre - other.mean(axis=0))) > _SAME_TAG * shortest_side(other) for other in kept):
            kept.append(quad)
    return np.array(kept)


def _detector(dictionary: Any) -> Any:
    """Return a function of an image that gives corners, ids and rejected squares."""
    aruco = cv_aruco()
    if hasattr(aruco, 'ArucoDetector'):
        return aruco.ArucoDetector(dictionary, aruco.DetectorParameters()).detectMarkers
    parameters = aruco.DetectorParameters_create()
    return lambda image: aruco.detectMarkers(image, dictionary, parameters=parameters)


def _board_detector(board: CharucoBoard, dictionary: Any) -> Any:
    """Return a function of an image that gives corners and their ids."""
    aruco = cv_aruco()
    if hasattr(aruco, 'CharucoDetector'):
        cv_board = aruco.CharucoBoard((board.columns, board.rows), board.square, board.marker, dictionary)
        cv_board.setLegacyPattern(board.legacy)
        detector = aruco.CharucoDetector(cv_board)
        return lambda image: detector.detectBoard(image)[:2]
    cv_board = aruco.CharucoBoard_create(board.columns, board.rows, board.square, board.marker, dictionary)
    if board.legacy and hasattr(cv_board, 'setLegacyPattern'):
        cv_board.setLegacyPattern(True)
    detect = _detector(dictionary)

    def find(image: Image) -> tuple[Any, Any]:
        corners, ids, _ = detect(image)
        if ids is None or len(ids) == 0:
            return None, None
        _, points, numbers = aruco.interpolateCornersCharuco(corners, ids, image, cv_board)
        return points, numbers

    return find
