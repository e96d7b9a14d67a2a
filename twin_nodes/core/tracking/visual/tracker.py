"""All bodies in the images of one camera: image in, poses with covariance or reasons out. It reads no clock."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.visual.ambiguity import Branch, BranchChooser
from twin_nodes.core.tracking.visual.body_pose import solve_body, view_angle
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.core.tracking.visual.detection import BoardDetector, Image, TagDetector, check_grey, recognise_families
from twin_nodes.core.tracking.visual.dictionaries import cv_dictionary, family_name
from twin_nodes.core.tracking.visual.markers import MarkerBody, Refusal, SeenTag, single_tag
from twin_nodes.core.tracking.visual.noise import VarianceFactor
from twin_nodes.core.tracking.visual.reprojection import CornerView, FittedPose, covariance_of, whitening_of

_LEAST_CORNERS = 4
_LOOK_AFTER = 5  # images without a tag, after which the other families are tried once


@dataclass(frozen=True, slots=True, eq=False)
class BodyPose:
    """A body that was seen.

    Args:
        body: Its name.
        pose: camera_T_body in optical axes [m], shape (4, 4).
        covariance: Of the pose, convention of `core.geometry.covariance`, shape (6, 6).
        tags: The tags used, or the corners of a board.
        reprojection: RMS distance of the corners from where the pose puts them [px].
        probability: That this, and not the second solution, is the true one.
        second: The other solution and its reprojection [px], or None.
        pixel_sigma: Standard deviation of a corner on each axis, as estimated so far [px].
    """

    body: str
    pose: Array
    covariance: Array
    tags: tuple[int, ...]
    reprojection: float
    probability: float
    second: tuple[Array, float] | None
    pixel_sigma: float


@dataclass(frozen=True, slots=True)
class BodyMissing:
    """A body without a pose in this image.

    Args:
        body: Its name.
        code: TOOL_LOST where no tag of it was seen, else MARKER_… .
        reason: One line.
    """

    body: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class VisualFrame:
    """What one image says.

    Args:
        bodies: One result per body, in the order of the bodies.
        tags: All tags that were found and believed.
        refusals: What was found and not used.
    """

    bodies: tuple[BodyPose | BodyMissing, ...]
    tags: tuple[SeenTag, ...]
    refusals: tuple[Refusal, ...]


class VisualTracker:
    """Finds the poses of marker bodies.

    Args:
        config: Settings.
        camera: The calibrated camera.
        bodies: What to look for; with `config.tag_size`, tags of no body are bodies of their own.

    Raises:
        ConfigError: an unknown family, an id it lacks, a tag on two bodies, or nothing to look for.
    """

    def __init__(self, config: VisualConfig, camera: CameraModel, bodies: Iterable[MarkerBody] = ()) -> None:
        self.config = config
        self.camera = camera
        self.counts: Counter[str] = Counter()
        self._bodies: dict[str, _BodyTracker] = {}
        self._owner: dict[tuple[str, int], str] = {}
        self._detectors: dict[str, TagDetector] = {}
        self._empty = 0
        for body in bodies:
            self._add(body)
        if not self._bodies and not config.tag_size:
            raise ConfigError('nothing to look for: give body files, or tag_size for tags that stand alone')
        if config.tag_size and (family := family_name(config.dictionary)) not in self._detectors:
            self._detectors[family] = TagDetector(config, camera)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bodies known so far."""
        return tuple(self._bodies)

    def reset(self) -> None:
        """Forget what was seen: time jumped."""
        for body in self._bodies.values():
            body.reset()
        self._empty = 0

    def observe(self, stamp_ns: int, image: Image) -> VisualFrame:
        """Take one grey image (h, w).

        Raises:
            InputError: IMAGE_UNUSABLE for an image of another size than the calibration's, or of another type.
        """
        height, width = check_grey(image).shape
        if (width, height) != (self.camera.width, self.camera.height):
            raise InputError(
                f'image of {width}x{height} px, but the camera is calibrated for {self.camera.width}x'
                f'{self.camera.height} px: calibrate it at this size, or set the camera to that one',
                code='IMAGE_UNUSABLE',
            )
        seen, refusals = self._find(image)
        results: list[BodyPose | BodyMissing] = []
        for body in self._bodies.values():
            try:
                result, more = body.observe(stamp_ns, seen, image, refusals)
            except DegenerateGeometryError as error:
                result, more = BodyMissing(body.body.name, error.code or 'MARKER_REPROJECTION', str(error)), []
            results.append(result)
            refusals += more
        self.counts.update(refusal.code for refusal in refusals)
        tags = tuple(tag for found in seen.values() for tag in found.values())
        return VisualFrame(tuple(results), tags, tuple(refusals))

    def _add(self, body: MarkerBody) -> None:
        family = family_name(body.dictionary or self.config.dictionary)
        if body.name in self._bodies:
            raise ConfigError(f'two bodies are named {body.name!r}')
        count = len(cv_dictionary(family).bytesList)
        for tag in body.tags:
            if not 0 <= tag < count:
                raise ConfigError(f'body {body.name!r}: {family} has the ids 0 to {count - 1}, not {tag}')
            if (family, tag) in self._owner:
                raise ConfigError(f'tag {tag} of {family} is on body {self._owner[family, tag]!r} and on {body.name!r}')
            self._owner[family, tag] = body.name
        if body.board is None and family not in self._detectors:
            self._detectors[family] = TagDetector(self.config, self.camera, family=family)
        self._bodies[body.name] = _BodyTracker(body, family, self.config, self.camera)

    def _find(self, image: Image) -> tuple[dict[str, dict[int, SeenTag]], list[Refusal]]:
        seen: dict[str, dict[int, SeenTag]] = {}
        refusals: list[Refusal] = []
        for family, detector in self._detectors.items():
            found = detector.find(image)
            refusals += found.refusals
            seen[family] = {tag.tag: tag for tag in found.tags}
            for tag in found.tags:
                if (family, tag.tag) not in self._owner:
                    refusals += self._stranger(family, tag.tag)
        if self._detectors:
            refusals += self._other_family(image, found=any(seen.values()) or bool(refusals))
        return seen, refusals

    def _stranger(self, family: str, tag: int) -> list[Refusal]:
        if self.config.tag_size and family == family_name(self.config.dictionary):
            self._add(single_tag(tag, self.config.tag_size))
            return []
        return [Refusal('MARKER_UNKNOWN', f'tag {tag} of {family} is on no body that is looked for', tag)]

    def _other_family(self, image: Image, *, found: bool) -> list[Refusal]:
        """Say once that the tags in the image are of another family."""
        self._empty = -1 if found or self._empty < 0 else self._empty + 1
        if self._empty != _LOOK_AFTER:
            return []
        others = {name: ids for name, ids in recognise_families(image).items() if name not in self._detectors}
        if not others:
            return []
        best = max(others, key=lambda name: len(others[name]))
        ids = ', '.join(map(str, others[best][:10]))
        wanted = ', '.join(self._detectors)
        return [
            Refusal('MARKER_DICTIONARY', f'no tag of {wanted} in the image, but {best} finds {ids}: set dictionary')
        ]


class _BodyTracker:
    """One body: its noise and its branches."""

    def __init__(self, body: MarkerBody, family: str, config: VisualConfig, camera: CameraModel) -> None:
        self.body = body
        self._family = family
        self._config = config
        self._camera = camera
        self._noise = VarianceFactor()
        self._chooser = BranchChooser(config)
        self._board = BoardDetector(body.board, camera, family) if body.board is not None else None
        self._corners = body.board.corners() if body.board is not None else np.empty((0, 3))

    def reset(self) -> None:
        self._noise.reset()
        self._chooser.reset()

    def observe(
        self, stamp_ns: int, seen: dict[str, dict[int, SeenTag]], image: Image, refused: list[Refusal]
    ) -> tuple[BodyPose | BodyMissing, list[Refusal]]:
        name = self.body.name
        ids, view, covariances = self._view(seen.get(self._family, {}), image)
        if view is None:
            why = [refusal for refusal in refused if refusal.tag in self.body.tags]
            if why:
                return BodyMissing(name, why[0].code, why[0].message), []
            what = 'corners of the board' if self._board else 'tags'
            return BodyMissing(name, 'TOOL_LOST', f'{len(ids)} {what} in the image'), []
        factor = self._noise.value
        solved = solve_body(view, variance_factor=factor, outlier=self._config.outlier)
        if solved is None:
            return BodyMissing(name, 'MARKER_BEHIND', 'no pose lies in front of the camera'), []
        kept = tuple(tag for tag, keep in zip(ids, solved.kept, strict=True) if keep)
        refusals = self._left_out(ids, solved.kept)
        best = solved.solutions[0]
        limit = self._config.max_reprojection
        if best.reprojection > limit:
            text = f'{name}: corners lie {best.reprojection:.2f} px RMS off the pose, limit max_reprojection={limit} px'
            hint = '; one of its tags is not where the body file says' if len(ids) > 1 else ''
            return BodyMissing(name, 'MARKER_REPROJECTION', text + hint), refusals
        self._noise.add(best.misfit, view.part(solved.kept).freedom)
        return self._believed(stamp_ns, solved.solutions, kept, covariances), refusals

    def _believed(
        self, stamp_ns: int, solutions: tuple[FittedPose, ...], kept: tuple[int, ...], covariances: Array
    ) -> BodyPose | BodyMissing:
        factor = self._noise.value
        sigma = float(np.sqrt(factor * np.trace(covariances.mean(axis=0)) / covariances.shape[1]))
        branches = tuple(
            Branch(one.pose, covariance_of(one, factor), one.misfit * sigma**2 / factor) for one in solutions
        )
        choice = self._chooser.choose(stamp_ns, branches, sigma)
        name = self.body.name
        chosen = solutions[choice.number]
        if not choice.certain:
            errors = ' and '.join(f'{one.reprojection:.3f}' for one in solutions)
            return BodyMissing(
                name,
                'MARKER_AMBIGUOUS',
                f'{name}: two poses fit, {errors} px, the better one with probability {choice.probability:.2f}, '
                f'limit certainty={self._config.certainty}; tilt or move it',
            )
        angle = min(
            (view_angle(chosen.pose, self.body.tags[tag]) for tag in kept if tag in self.body.tags), default=0.0
        )
        if angle > self._config.max_view_angle:
            limit = self._config.max_view_angle
            return BodyMissing(
                name, 'MARKER_GRAZING', f'{name} is seen at {angle:.2f} rad, limit max_view_angle={limit} rad'
            )
        other = solutions[1 - choice.number] if len(solutions) == 2 else None
        return BodyPose(
            name,
            chosen.pose,
            choice.covariance,
            kept,
            chosen.reprojection,
            choice.probability,
            None if other is None else (other.pose, other.reprojection),
            sigma,
        )

    def _view(self, seen: dict[int, SeenTag], image: Image) -> tuple[tuple[int, ...], CornerView | None, Array]:
        if self._board is not None:
            numbers, _, ideal = self._board.find(image)
            ids = tuple(int(number) for number in numbers)
            points = self._corners[numbers][:, None]
            pixels = ideal[:, None]
            covariances = np.broadcast_to(self._config.board_noise**2 * np.eye(2), (len(ids), 2, 2))
            enough = len(ids) >= _LEAST_CORNERS and not _in_line(points[:, 0])
        else:
            ids = tuple(tag for tag in self.body.tags if tag in seen)
            points = np.array([self.body.tags[tag] for tag in ids]).reshape(-1, 4, 3)
            pixels = np.array([seen[tag].ideal for tag in ids]).reshape(-1, 4, 2)
            covariances = np.array([seen[tag].covariance for tag in ids]).reshape(-1, 8, 8)
            enough = bool(ids)
        if not enough:
            return ids, None, covariances
        camera = self._camera
        return ids, CornerView(points, pixels, whitening_of(covariances), camera.focal, camera.centre), covariances

    def _left_out(self, ids: tuple[int, ...], kept: Array) -> list[Refusal]:
        what = 'corner' if self._board is not None else 'tag'
        return [
            Refusal(
                'MARKER_INCONSISTENT',
                f'{self.body.name}: {what} {tag} does not fit the others and was left out',
                tag if self._board is None else None,
            )
            for tag, keep in zip(ids, kept, strict=True)
            if not keep
        ]


def _in_line(points: Array) -> bool:
    sizes = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(sizes[1] < 0.05 * sizes[0])
