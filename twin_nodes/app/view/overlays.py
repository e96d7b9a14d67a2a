"""What the view knows of targets, routes, fixtures and predictions. No ROS, no clock of its own."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from twin_nodes.app.view.picture import FixturePicture, GhostPicture, Overlays, RegionsPicture, TargetPicture
from twin_nodes.app.view.records import Moment, Regions, Route, Target
from twin_nodes.core.geometry.se3 import Array, transform_points

MAX_TARGETS = 64
MAX_ROUTES = 16

Poses = Mapping[str, Array]


class OverlayState:
    """The last word on each overlay; what streams and falls silent is not shown any more.

    Args:
        stale_after_ns: Longest silence of a stream [ns].
    """

    def __init__(self, stale_after_ns: int) -> None:
        self._stale_after_ns = stale_after_ns
        self._targets: dict[str, tuple[Target, ...]] = {}
        self._routes: tuple[Route, ...] = ()
        self._regions: Regions | None = None
        self._ghosts: dict[str, tuple[str, Array, int, int]] = {}
        self._fixture: tuple[str, Array, int] | None = None

    def clear(self) -> None:
        """Forget what streams, as after a jump of the clock."""
        self._ghosts.clear()
        self._fixture = None

    def on_targets(self, source: str, targets: Iterable[Target]) -> None:
        """Take all targets of a source in place of those that it had."""
        self._targets[source] = tuple(targets)[:MAX_TARGETS]

    def rename(self, source: str, names: Mapping[int, str]) -> None:
        """Give the targets of a source names by id, which may be told after the targets were."""
        self._targets[source] = tuple(
            dataclasses.replace(target, name=names.get(target.index, target.name))
            for target in self._targets.get(source, ())
        )

    def on_routes(self, routes: Iterable[Route]) -> None:
        """Take all routes in place of those before."""
        self._routes = tuple(routes)[:MAX_ROUTES]

    def on_regions(self, regions: Regions) -> None:
        """Take all that is forbidden in place of what was before."""
        self._regions = regions

    def on_prediction(self, tool: str, frame: str, frame_T_tip: Array, stamp_ns: int, moment: Moment) -> None:
        """Take where the tip of a tool will be at the stamp."""
        self._ghosts[tool] = (frame, frame_T_tip, stamp_ns, moment.steady_ns)

    def on_fixture(self, frame: str, force: Array, moment: Moment) -> None:
        """Take the force of the fixture [N], in the axes of a frame."""
        self._fixture = (frame, force, moment.steady_ns)

    @property
    def frames(self) -> set[str]:
        """The frames that these need."""
        found = {target.frame for targets in self._targets.values() for target in targets}
        found |= {route.frame for route in self._routes} | {frame for frame, *_ in self._ghosts.values()}
        found |= {shape.frame for shape in self._regions.shapes} if self._regions is not None else set()
        return found | ({self._fixture[0]} if self._fixture is not None else set())

    def largest_target_sigma(self) -> float | None:
        """The largest σ of a target [m], None without targets."""
        sigmas = [_sigma(target.covariance) for targets in self._targets.values() for target in targets]
        return max(sigmas, default=None)

    def picture(self, poses: Poses, tips: Mapping[str, tuple[Array | None, float | None]], moment: Moment) -> Overlays:
        """Return what is drawn.

        Args:
            poses: By frame, its pose in the fixed frame (4, 4).
            tips: By tool, its tip in the fixed frame (4, 4) or None, and the age of that [s]; the first is guided.
            moment: Now.
        """
        return Overlays(
            targets=tuple(
                _target(target, poses[target.frame])
                for targets in self._targets.values()
                for target in targets
                if target.frame in poses
            ),
            routes=tuple((route, poses[route.frame]) for route in self._routes if route.frame in poses),
            fixture=self._fixture_picture(poses, tips, moment),
            ghosts=tuple(self._ghost_pictures(poses, tips, moment)),
            regions=None if self._regions is None else RegionsPicture(self._regions, poses),
        )

    def _fixture_picture(
        self, poses: Poses, tips: Mapping[str, tuple[Array | None, float | None]], moment: Moment
    ) -> FixturePicture | None:
        tip = next(iter(tips.values()))[0] if tips else None
        if self._fixture is None or tip is None:
            return None
        frame, force, heard_ns = self._fixture
        if frame not in poses or moment.steady_ns - heard_ns > self._stale_after_ns:
            return None
        return FixturePicture(tip[:3, 3], poses[frame][:3, :3] @ force)

    def _ghost_pictures(
        self, poses: Poses, tips: Mapping[str, tuple[Array | None, float | None]], moment: Moment
    ) -> Iterable[GhostPicture]:
        for tool, (frame, frame_T_tip, stamp_ns, heard_ns) in self._ghosts.items():
            tip, age_s = tips.get(tool, (None, None))
            if tip is None or frame not in poses or moment.steady_ns - heard_ns > self._stale_after_ns:
                continue
            newest_ns = moment.ros_ns - round(1e9 * (age_s or 0.0))
            yield GhostPicture(tool, poses[frame] @ frame_T_tip, (stamp_ns - newest_ns) / 1e9)


def _target(target: Target, fixed_T_frame: Array) -> TargetPicture:
    rotation = fixed_T_frame[:3, :3]
    return TargetPicture(
        target.name,
        np.asarray(transform_points(fixed_T_frame, target.place)),
        rotation @ target.covariance @ rotation.T,
        _sigma(target.covariance),
    )


def _sigma(covariance: Array) -> float:
    return float(np.sqrt(max(np.trace(covariance), 0.0)))


def ellipsoid(covariance: Array, scale: float) -> tuple[Array, Array]:
    """Return the axes of an error ellipsoid: rotation (3, 3), right-handed, and half lengths [m], shape (3,).

    Args:
        covariance: Shape (3, 3) [m²].
        scale: Standard deviations that the ellipsoid reaches; 2.7955 holds 95 % in three dimensions.
    """
    values, vectors = np.linalg.eigh(covariance)
    if np.linalg.det(vectors) < 0.0:
        vectors[:, 0] = -vectors[:, 0]
    return vectors, scale * np.sqrt(np.maximum(values, 0.0))
