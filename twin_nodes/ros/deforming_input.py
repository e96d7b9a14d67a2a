"""What a deforming anatomy hears: tips and jaws of tools, sensors in the tissue, and clouds of its surface."""

from collections.abc import Callable
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import FluidPressure, JointState, PointCloud2
from shape_msgs.msg import Plane
from std_msgs.msg import Bool

from twin_nodes.core.anatomy.session_config import LiveDeformingConfig
from twin_nodes.core.anatomy.session_feed import (
    Cloud,
    Cut,
    Event,
    Felt,
    Grip,
    Lost,
    Outcome,
    Place,
    Pressed,
    SessionFeed,
    Tip,
    lost,
)
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.geometry.ties import Tie, TieStream
from twin_nodes.core.geometry.tip_stream import NoTip, TipPose, TipStream
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.anatomy_clouds import observed_points
from twin_nodes.ros.checked import checked_pose, checked_tie
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.conversions import MAX_AHEAD_NS, check_header, pose_from
from twin_nodes.ros.health import WARN, Health
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import REPLAY_SUBSCRIPTION, latched, measurement_subscription
from twin_nodes.ros.tip_share import follow_tip_share

_CLOUD = '\0cloud'  # no tool can have this name
_EXACT = np.eye(6) * 1e-16
_MOST_CLOUDS = 16  # of one frame: older ones have lost their patient


def force_stream(tool: str) -> str:
    """Return the name of the stream of forces of a tool."""
    return f'{tool}/measured_cf'


class DeformingInput:
    """Subscribes, brings all into the anatomy at its stamp, and feeds a session.

    Args:
        node: The node.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        feed: Takes the samples.
        handle: Takes what comes of them.
        start_again: Called with the reason when the anatomy was registered anew.
        hear: Called when the place of a tool or sensor is known, or the maker of a tie has come further.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: LiveDeformingConfig,
        frame: str,
        feed: SessionFeed,
        handle: Callable[[list[Outcome]], None],
        start_again: Callable[[str], None],
        hear: Callable[[], None],
    ) -> None:
        self._node, self._health, self._config, self._frame = node, health, config, frame
        self._feed, self._handle, self._start_again, self._hear = feed, handle, start_again, hear
        self._replay = replay = is_replay(node)
        self._now_ns = live_clock(node)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._streams = {
            name: TipStream(config.pairing, ordered=replay) for name in (*config.tools, *config.sensors, _CLOUD)
        }
        for name in (*config.sensors, _CLOUD):  # they have no tip: what is tracked is the point itself
            self._streams[name].tip.add(Tie(0, np.eye(4), _EXACT))
        self._registration = TieStream(ordered=replay)
        self._used: Array | None = None
        self._clouds: dict[int, tuple[Array, Array]] = {}
        self._heard = dict.fromkeys(self._streams, 0)
        self._forces = config.learning.forces if config.learning.enabled else ()
        self._closed: dict[str, bool] = {}  # jaws as last heard
        self._newest_ns = self._watched_ns = 0
        self._subscribe()

    def _subscribe(self) -> None:
        config, subscribe = self._config, self._node.create_subscription
        qos, state = measurement_subscription(replay=self._replay), latched(replay=self._replay)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, state)
        follow_progress(self._node, 'registration', self._on_registration_progress)
        shares = {tool: self._streams[tool].shares for tool in config.tools}
        follow_tip_share(self._node, self._health, shares, self._hear_maker)
        subscribe(PoseWithCovarianceStamped, f'{config.patient}/filtered_cp', self._on_patient, qos)
        for name in (*config.tools, *config.sensors):
            subscribe(PoseWithCovarianceStamped, f'{name}/filtered_cp', partial(self._on_pose, name), qos)
        for tool in config.tools:
            subscribe(PoseWithCovarianceStamped, f'calibration/{tool}', partial(self._on_calibration, tool), state)
            follow_progress(self._node, f'calibration/{tool}', partial(self._on_calibration_progress, tool))
            if config.grip == 'jaw':
                subscribe(JointState, f'{tool}/jaw/measured_js', partial(self._on_jaw, tool), qos)
            else:
                subscribe(Bool, f'{tool}/grasp', partial(self._on_switch, tool), 1)
        for tool in self._forces:
            subscribe(WrenchStamped, f'{tool}/measured_cf', partial(self._on_force, tool), qos)
        subscribe(FluidPressure, 'anatomy/pressure', self._on_pressure, qos)
        subscribe(Plane, 'anatomy/resect', self._on_plane, 10)
        stamped = REPLAY_SUBSCRIPTION if self._replay else 10
        subscribe(PoseStamped, 'anatomy/resect/stamped', self._on_stamped_plane, stamped)
        # a cloud that came while the last one was fitted is still there; older ones are of no use
        subscribe(PointCloud2, 'anatomy/observed', self._on_cloud, REPLAY_SUBSCRIPTION if self._replay else 1)

    def reset(self) -> None:
        """Forget all poses, after a jump of the clock."""
        for stream in self._streams.values():
            stream.reset()
        self._registration.reset()
        self._clouds.clear()
        self._closed.clear()
        self._used, self._newest_ns = None, 0

    def finish(self) -> bool:
        """Tell poses for which no tie was ever heard; return whether none waits for the maker of one, in replay."""
        self._settle({name: stream.finish() for name, stream in reversed(self._streams.items())})
        return not any(stream.awaits_makers for stream in self._streams.values())

    def give_up(self) -> list[Outcome]:
        """Wait for no stream any longer, in replay."""
        found: list[Outcome] = []
        for name in (*self._config.tools, *self._config.sensors, *map(force_stream, self._forces)):
            found += self._feed.give_up(name)
        return found

    def watch(self) -> None:
        """Let go what a tool held that is not seen any more; in replay the stamps tell that, in the feed."""
        if self._replay:
            return
        now_ns = int(self._steady.now().nanoseconds)
        limit_ns, busy_ns = round(self._config.max_age * NANOSECONDS), now_ns - self._watched_ns
        self._watched_ns = now_ns
        if busy_ns > limit_ns // 2:
            return  # this node was busy: what came meanwhile has not been read yet
        for name in (*self._config.tools, *self._config.sensors):
            if self._heard[name] and now_ns - self._heard[name] > limit_ns:
                self._heard[name] = 0
                self._handle([*self._feed.add(name, self._newest_ns, Lost(name)), lost(self._newest_ns, name)])

    def _checked(self, message: PoseWithCovarianceStamped) -> StampedCovariance | None:
        frame = self._config.tracker_frame
        return checked_pose(message, frame=frame, now_ns=self._now_ns(), health=self._health)

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message)
        if pose is not None:
            self._settle({name: stream.add_patient(pose) for name, stream in reversed(self._streams.items())})

    def _on_pose(self, name: str, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message)
        if pose is not None:
            self._settle({name: self._streams[name].add_tool(pose)})

    def _on_calibration(self, tool: str, message: PoseWithCovarianceStamped) -> None:
        tie = checked_tie(message, frame=tool, now_ns=self._now_ns(), health=self._health)
        if tie is not None:
            self._streams[tool].tip.add(tie)
            if not self._replay:
                self._feed.add(tool, self._newest_ns, Lost(tool))  # the tip has moved, not the tool
            self._settle({tool: self._streams[tool].drain()})

    def _on_calibration_progress(self, tool: str, done_ns: int, newest_ns: int) -> None:
        self._streams[tool].tip.progress(done_ns, newest_ns)
        self._hear()
        self._settle({tool: self._streams[tool].drain()})

    def _on_registration(self, message: PoseWithCovarianceStamped) -> None:
        tie = checked_tie(message, frame=self._config.patient, now_ns=self._now_ns(), health=self._health)
        if tie is not None:
            for ties in (self._registration, *(stream.registration for stream in self._streams.values())):
                ties.add(tie)
            self._drain()

    def _on_registration_progress(self, done_ns: int, newest_ns: int) -> None:
        for ties in (self._registration, *(stream.registration for stream in self._streams.values())):
            ties.progress(done_ns, newest_ns)
        self._hear_maker()

    def _hear_maker(self) -> None:
        self._hear()
        self._drain()

    def _drain(self) -> None:
        self._settle({name: stream.drain() for name, stream in reversed(self._streams.items())})

    def _settle(self, settled: dict[str, list[TipPose | NoTip]]) -> None:
        """Hand on what has found its place; clouds first, so that they are there when their turn comes."""
        for name, items in settled.items():
            for item in items:
                if isinstance(item, NoTip):
                    self._health.count(item.code)
                    self._clouds.pop(item.stamp_ns, None)
                    continue
                self._check_registration(item.stamp_ns)
                self._take(name, item)

    def _take(self, name: str, item: TipPose) -> None:
        pose, covariance = item.tip.start_T_end, item.tip.covariance
        if name == _CLOUD:
            points, sigma = self._clouds.pop(item.stamp_ns)
            self._event(item.stamp_ns, Cloud(partial(transform_points, pose, points), sigma))
            return
        self._heard[name] = int(self._steady.now().nanoseconds)
        self._hear()
        self._newest_ns = max(self._newest_ns, item.stamp_ns)
        sample = (
            Tip(name, pose, float(np.trace(covariance[:3, :3])) / 3.0)
            if name in self._config.tools
            else Place(name, pose[:3, 3], covariance[:3, :3])
        )
        self._handle(self._feed.add(name, item.stamp_ns, sample))

    def _check_registration(self, stamp_ns: int) -> None:
        """What was seen by an older registration lies elsewhere now: begin anew."""
        tie = self._registration.at(stamp_ns)
        if tie is None:
            return
        if self._used is not None and not np.array_equal(self._used, tie.pose):
            self._start_again('the anatomy was registered anew')
        self._used = tie.pose

    def _event(self, stamp_ns: int, event: Event) -> None:
        self._handle(self._feed.add_event(stamp_ns, event))

    def _on_force(self, tool: str, message: WrenchStamped) -> None:
        name, frame = f'{tool}/measured_cf', message.header.frame_id
        try:
            stamp_ns = check_header(message.header, frame=None, name=name)
            if frame not in (self._frame, f'{tool}_tip'):
                text = f'{name} is in {frame!r}, not in {self._frame!r} or {tool + "_tip"!r}'
                raise InputError(text, code='FRAME_MISMATCH')
            wrench = message.wrench.force
            force = np.array([wrench.x, wrench.y, wrench.z])
            if not np.isfinite(force).all():
                raise InputError(f'{name}: force {force.tolist()} has NaN or Inf', code='NOT_FINITE')
        except InputError as error:
            self._health.warn(error.code or 'PROTOCOL', str(error))
            return
        sign = 1.0 if self._config.learning.force_on_tissue else -1.0
        felt = Felt(tool, sign * force, frame != self._frame)
        self._handle(self._feed.add(force_stream(tool), stamp_ns, felt))

    def _on_pressure(self, message: FluidPressure) -> None:
        try:
            stamp_ns = check_header(message.header, frame=None, name='anatomy/pressure')
        except InputError as error:
            self._health.warn(error.code, str(error))
            return
        self._health.clear('pressure')  # said again where it is refused
        self._event(stamp_ns, Pressed(message.fluid_pressure))

    def _on_plane(self, message: Plane) -> None:
        """A plane has no stamp: it cuts what is there when it comes."""
        self._event(self._newest_ns, Cut(np.array(message.coef[:3], float), float(message.coef[3])))

    def _on_stamped_plane(self, message: PoseStamped) -> None:
        """A plane by its origin and z axis, which points to what goes; in a replay it cuts at its stamp."""
        try:
            record = pose_from(message, frame=self._frame, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', f'anatomy/resect/stamped: {error}')
            return
        normal = record.pose[:3, 2]
        self._event(record.stamp_ns, Cut(normal, -float(normal @ record.pose[:3, 3])))

    def _on_switch(self, tool: str, message: Bool) -> None:
        """A Bool has no stamp: it holds from the newest pose on."""
        self._say_grip(tool, closed=bool(message.data))
        self._event(self._newest_ns, Grip(tool, bool(message.data)))

    def _on_jaw(self, tool: str, message: JointState) -> None:
        name = f'{tool}/jaw/measured_js'
        if len(message.position) != 1 or not np.isfinite(message.position[0]):
            self._health.warn('JOINTS_WRONG', f'{name}: expected one finite position')
            return
        try:
            stamp_ns = check_header(message.header, frame=None, name=name)
        except InputError as error:
            self._health.warn(error.code, str(error))
            return
        closed = message.position[0] <= self._config.jaw_closed
        if closed is not self._closed.get(tool):
            self._closed[tool] = closed
            self._say_grip(tool, closed=closed)
            self._event(stamp_ns, Grip(tool, closed))

    def _say_grip(self, tool: str, *, closed: bool) -> None:
        if not closed:
            self._health.clear(f'grasp {tool}')

    def _on_cloud(self, message: PointCloud2) -> None:
        try:
            stamp_ns = check_header(message.header, frame=None, name='anatomy/observed')
            now_ns = self._now_ns()
            if now_ns is not None and stamp_ns - now_ns > MAX_AHEAD_NS:
                raise InputError('anatomy/observed: the stamp lies ahead of the clock', code='STAMP_FUTURE')
            points, sigma = observed_points(message, self._config.session.observed.sigma)
            self._place_cloud(message.header.frame_id, stamp_ns, points, sigma)
        except InputError as error:
            code = error.code or 'OBSERVED_REFUSED'
            self._health.warn(code, str(error))
            self._health.set('observed', WARN, code, str(error))

    def _place_cloud(self, frame: str, stamp_ns: int, points: Array, sigma: Array) -> None:
        config = self._config
        if frame == self._frame:
            self._event(stamp_ns, Cloud(lambda: points, sigma))
        elif frame == config.patient:
            if not (self._replay and self._heard.keys() - {_CLOUD}):  # else it is checked when its turn comes
                self._check_registration(stamp_ns)
            self._event(stamp_ns, Cloud(partial(self._from_patient, stamp_ns, points), sigma))
        elif frame == config.tracker_frame:
            self._clouds[stamp_ns] = (points, sigma)
            while len(self._clouds) > _MOST_CLOUDS:
                self._clouds.pop(min(self._clouds))
            origin = StampedCovariance(stamp_ns, np.eye(4), _EXACT)
            self._settle({_CLOUD: self._streams[_CLOUD].add_tool(origin)})
        else:
            raise InputError(
                f'anatomy/observed: frame is {frame!r}, expected {self._frame!r}, {config.patient!r} or '
                f'{config.tracker_frame!r}',
                code='FRAME_MISMATCH',
            )

    def _from_patient(self, stamp_ns: int, points: Array) -> Array:
        tie = self._registration.at(stamp_ns)
        if tie is None:
            text = 'a cloud in the frame of the patient, but patient and anatomy are not tied'
            raise InputError(text, code='NOT_REGISTERED')
        return np.asarray(transform_points(inverse(tie.pose), points))
