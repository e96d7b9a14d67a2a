"""Both sites of telesurgery as the view knows them: the twin's robot, the robot as seen, and the time between."""

from dataclasses import dataclass, field

import numpy as np

from twin_nodes.app.view.picture import RegionsPicture, SitePicture, SiteTool
from twin_nodes.app.view.records import Moment, Regions, Surface
from twin_nodes.app.view.streams import Stream
from twin_nodes.core.geometry.se3 import Array

MEASURED, PREDICTED = 'measured_cp', 'predicted_cp'


@dataclass(frozen=True, eq=False)
class _Pose:
    """A pose with where and when it is from, and when it was heard."""

    frame: str
    pose: Array
    stamp_ns: int
    heard_ns: int


@dataclass
class _Arm:
    """What is known of one arm at one site."""

    poses: dict[str, _Pose] = field(default_factory=dict)
    mode: str = ''


class SiteState:
    """One site.

    Args:
        name: Its namespace.
        arms: Names of its arms.
        anatomy_frame: Frame of its structures.
        offset: Where its room stands beside that of the other [m], in the fixed frame, shape (3,).
        stale_after_ns: Longest silence of a pose that is still drawn [ns].
    """

    def __init__(
        self, name: str, arms: tuple[str, ...], anatomy_frame: str, offset: Array, stale_after_ns: int
    ) -> None:
        self._name, self._offset, self._stale_after_ns = name, offset, stale_after_ns
        self._anatomy_frame = anatomy_frame
        self._told: dict[str, Regions] = {}
        self._regions = Regions()
        self._arms = {arm: _Arm() for arm in arms}
        self._anatomy: _Pose | None = None
        self._surfaces: tuple[Surface, ...] = ()
        self._version = 0
        self._link = ''
        self.stream = Stream()

    @property
    def frames(self) -> set[str]:
        """The frames that its poses are in."""
        found = {pose.frame for arm in self._arms.values() for pose in arm.poses.values()}
        return found | ({self._anatomy.frame} if self._anatomy is not None else set())

    def on_pose(self, arm: str, kind: str, frame: str, pose: Array, stamp_ns: int, moment: Moment) -> None:
        """Take a pose of an arm, MEASURED or PREDICTED."""
        self._arms[arm].poses[kind] = _Pose(frame, pose, stamp_ns, moment.steady_ns)
        self.stream.on_message(moment, stamp_ns)

    def on_mode(self, arm: str, mode: str) -> None:
        """Take the mode of the compensation."""
        self._arms[arm].mode = mode

    def on_link(self, text: str) -> None:
        """Take one line about the link."""
        self._link = text

    def on_anatomy(self, frame: str, pose: Array, stamp_ns: int, moment: Moment) -> None:
        """Take where the anatomy is."""
        self._anatomy = _Pose(frame, pose, stamp_ns, moment.steady_ns)

    def on_surfaces(self, surfaces: tuple[Surface, ...], version: int) -> None:
        """Take the structures."""
        if surfaces != self._surfaces:
            self._surfaces, self._version = surfaces, version

    def on_regions(self, source: str, regions: Regions) -> None:
        """Take what one source forbids, in place of what it did; where two have a structure, the wider counts."""
        self._told[source] = regions
        margins: dict[int, float] = {}
        for one in self._told.values():
            margins |= {index: max(margin, margins.get(index, 0.0)) for index, margin in one.margins.items()}
        self._regions = Regions(tuple(shape for one in self._told.values() for shape in one.shapes), margins)

    def picture(self, poses: dict[str, Array], moment: Moment) -> SitePicture:
        """Return the site as it is shown; poses by frame, in the fixed frame (4, 4)."""
        beside = np.eye(4)
        beside[:3, 3] = self._offset
        anatomy = self._placed(self._anatomy, poses, beside)
        return SitePicture(
            name=self._name,
            fixed_T_site=beside,
            tools=tuple(self._tool(name, arm, poses, beside, moment) for name, arm in self._arms.items()),
            surfaces=self._surfaces,
            surfaces_version=self._version,
            fixed_T_anatomy=anatomy,
            link=self._link,
            regions=RegionsPicture(self._regions, {} if anatomy is None else {self._anatomy_frame: anatomy}),
        )

    def _tool(self, name: str, arm: _Arm, poses: dict[str, Array], beside: Array, moment: Moment) -> SiteTool:
        """The twin's robot where there is one, else the measured one; the other of the two as what was seen."""
        measured, predicted = arm.poses.get(MEASURED), arm.poses.get(PREDICTED)
        shown, seen = (predicted, measured) if predicted is not None else (measured, None)
        fixed_T_tip, fixed_T_seen = self._placed(shown, poses, beside), self._placed(seen, poses, beside)
        gap = None
        if fixed_T_tip is not None and fixed_T_seen is not None:
            gap = float(np.linalg.norm(fixed_T_tip[:3, 3] - fixed_T_seen[:3, 3]))
        silent = [moment.steady_ns - pose.heard_ns > self._stale_after_ns for pose in (shown, seen) if pose is not None]
        last = seen if seen is not None else shown
        return SiteTool(
            name=name,
            fixed_T_tip=fixed_T_tip,
            fixed_T_seen=fixed_T_seen,
            live=bool(silent) and not silent[0],
            seen_live=bool(silent) and not silent[-1],
            delay_s=None if last is None else (moment.ros_ns - last.stamp_ns) / 1e9,
            gap=gap,
            mode=arm.mode,
            is_twin=predicted is not None,
        )

    @staticmethod
    def _placed(pose: _Pose | None, poses: dict[str, Array], beside: Array) -> Array | None:
        if pose is None or pose.frame not in poses:
            return None
        return np.asarray(beside @ poses[pose.frame] @ pose.pose)
