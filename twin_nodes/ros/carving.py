"""Carving live: the drill's poses in, what is removed and what is left out.

Everything is timed by the stamps of the poses, so that a replay gives the same messages; a silence of the streams
brings out what is still due.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Joy, PointCloud2
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.carving import Carver, CarveStep
from twin_nodes.core.anatomy.carving_config import LiveCarvingConfig
from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.drill_switch import DrillSwitch
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.removed import RemovedSender
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.tip_stream import NoTip, TipPose, TipStream
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.carved_tissue import CarvedTissue
from twin_nodes.ros.clouds import CUT, cloud_from_array, without_points
from twin_nodes.ros.conversions import check_header, pose_from
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.progress import ProgressOutput, follow_progress, is_replay
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, LATCHED, REPLAY_SUBSCRIPTION, SNAPSHOT, latched, measurement
from twin_nodes.ros.removed import removed_cloud
from twin_nodes.ros.silence import ReplaySilence
from twin_nodes.ros.ties import tie_from
from twin_nodes.ros.tip_share import follow_tip_share

SURFACE_DELTA_DTYPE = np.dtype(
    [(name, np.float32) for name in 'xyz'] + [(name, np.uint32) for name in ('structure', 'brick')]
)
_REPORT_S = 0.2
_SILENCE_NS = 2 * NANOSECONDS
_WATCH_S = 0.5


class LiveCarving:
    """Connects the streams of one drill to one `Carver`, and its results to topics.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        surfaces: The structures; label n of the volume is the n-th of them.
        markers: Their markers as they began, in the same order.
        volume: What is carved.
        tissue: Where what is carved deforms: makes what the drill has to do with it.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: LiveCarvingConfig,
        frame: str,
        surfaces: list[Surface],
        markers: list[Marker],
        volume: LabelVolume,
        tissue: Callable[[CarvedVolume], CarvedTissue] | None = None,
    ) -> None:
        self._node, self._health, self._config, self._frame = node, health, config, frame
        self._surfaces, self._markers = surfaces, markers
        self._replay = replay = is_replay(node)
        self.carver = Carver(config.carver, CarvedVolume(volume))
        bricks = self.carver.volume.surface.bricks_of
        self._bricks = [bricks(surface.vertices[surface.triangles].mean(axis=1)) for surface in surfaces]
        self._tissue = tissue(self.carver.volume) if tissue is not None else None
        self._bare = [without_points(marker) for marker in markers]
        self._sender = RemovedSender(self.carver.volume, self._first_session(), [marker.id for marker in markers])
        self._tips = TipStream(config.pairing, ordered=replay)
        self._on = not config.drill_switch
        by_stamp = replay and config.drill_switch and config.switch_stamped
        self._switch: DrillSwitch[TipPose | NoTip] | None = (
            DrillSwitch(round(config.switch_wait * NANOSECONDS)) if by_stamp else None
        )
        self._due = dict.fromkeys(('snapshot', 'surface', 'report'), 0)
        self._sent = {'snapshot': -1, 'surface': 0}
        self._newest: TipPose | None = None
        self._turns = 0  # poses that wait until the body is where it was then
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._heard_ns = self._steady.now().nanoseconds
        self._silence = ReplaySilence(node, _WATCH_S)
        create = node.create_publisher
        self._deltas = create(PointCloud2, 'anatomy/removed', measurement(replay=replay))
        self._snapshots = create(PointCloud2, 'anatomy/removed/snapshot', SNAPSHOT)
        self._progress = ProgressOutput(node, 'anatomy/removed')
        self._patches = create(PointCloud2, 'anatomy/surface/delta', measurement(replay=replay))
        if tissue is None:  # else the tissue shows itself, and what the drill has made of it
            self._surface = create(MarkerArray, 'anatomy/surface', latched(replay=replay))
            self._original = create(MarkerArray, 'anatomy/surface/original', LATCHED)
            self._original.publish(MarkerArray(markers=markers))
            self._surface.publish(MarkerArray(markers=markers))
        self._send_snapshot()
        self._subscribe()
        self._service = node.create_service(Trigger, 'anatomy/reset_carving', self._on_reset)
        self._timer = node.create_timer(_WATCH_S, self._on_timer, clock=self._steady)
        self._jump = on_jump_back(node, self._start_again)
        self._health.set('carving', OK, 'OK', 'nothing is carved yet')

    def _first_session(self) -> int:
        """Return a number greater than that of any earlier start; in a replay always the same."""
        return 1 if self._replay else max(1, int(self._node.get_clock().now().nanoseconds // NANOSECONDS) & 0xFFFF_FFFF)

    def _subscribe(self) -> None:
        config, subscribe = self._config, self._node.create_subscription
        # every pose counts: the surface takes long to send, and a path must not break meanwhile
        qos = REPLAY_SUBSCRIPTION if self._replay else COMMAND_SUBSCRIPTION
        state = latched(replay=self._replay)
        subscribe(PoseWithCovarianceStamped, f'calibration/{config.tool}', self._on_calibration, state)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, state)
        follow_progress(self._node, f'calibration/{config.tool}', self._on_calibration_progress)
        follow_progress(self._node, 'registration', self._on_registration_progress)
        follow_tip_share(self._node, self._health, {config.tool: self._tips.shares}, self._drain)
        subscribe(PoseWithCovarianceStamped, f'{config.patient}/filtered_cp', self._on_patient, qos)
        subscribe(PoseWithCovarianceStamped, f'{config.tool}/filtered_cp', self._on_tool, qos)
        if config.drill_switch and config.switch_stamped:
            subscribe(Joy, f'{config.tool}/drilling', self._on_joy, REPLAY_SUBSCRIPTION if self._replay else 10)
        elif config.drill_switch:
            subscribe(Bool, f'{config.tool}/drilling', self._on_switch, 1)

    def _now_ns(self) -> int | None:
        return None if self._replay else int(self._node.get_clock().now().nanoseconds)

    def _pose(self, message: PoseWithCovarianceStamped) -> StampedCovariance | None:
        self._heard_ns = self._steady.now().nanoseconds
        self._silence.hear()
        try:
            record = pose_from(message, frame=self._config.tracker_frame, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return None
        assert record.covariance is not None
        return StampedCovariance(record.stamp_ns, record.pose, record.covariance)

    def _on_tool(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._pose(message)
        if pose is not None:
            self._carve(self._tips.add_tool(pose))

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._pose(message)
        if pose is not None:
            self._carve(self._tips.add_patient(pose))

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        self._on_tie(message, self._config.tool, self._tips.tip)

    def _on_registration(self, message: PoseWithCovarianceStamped) -> None:
        self._on_tie(message, self._config.patient, self._tips.registration)

    def _on_tie(self, message: PoseWithCovarianceStamped, frame: str, ties: object) -> None:
        try:
            tie = tie_from(message, frame=frame, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        ties.add(tie)  # type: ignore[attr-defined]
        if not self._replay:
            self.carver.stop('calibration or registration are new')  # the anatomy moved, not the drill
        self._drain()

    def _on_calibration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._tips.tip.progress(done_ns, newest_ns)
        self._drain()

    def _on_registration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._tips.registration.progress(done_ns, newest_ns)
        self._drain()

    def _drain(self) -> None:
        self._carve(self._tips.drain())

    def _on_switch(self, message: Bool) -> None:
        self._turn(on=bool(message.data))

    def _on_joy(self, message: Joy) -> None:
        name = f'{self._config.tool}/drilling'
        try:
            stamp_ns = check_header(message.header, frame=None, name=name)
        except InputError as error:
            self._health.warn(error.code, str(error))
            return
        if not message.buttons:
            self._health.warn('DRILL_SWITCH_EMPTY', f'{name}: a Joy without buttons, expected one at least')
        elif self._switch is None:
            self._turn(on=bool(message.buttons[0]))
        elif not self._switch.say(stamp_ns, on=bool(message.buttons[0])):
            self._health.warn('REPLAY_LATE', f'{name}: poses of its stamp have counted already; it counts from now on')

    def _turn(self, *, on: bool) -> None:
        self._on = on
        if not on:
            self.carver.stop()

    def _carve(self, settled: list[TipPose | NoTip]) -> None:
        for item in settled:
            if self._switch is None:
                self._pass_on(item)
                continue
            for held, on in self._switch.add(item.stamp_ns, item):
                self._pass_on(held, on)

    def _pass_on(self, item: TipPose | NoTip, on: bool | None = None) -> None:
        act = partial(self._work, item, on)
        if self._tissue is None:
            act()
        else:  # the body must be where it was then
            self._turns += 1
            self._tissue.in_turn(item.stamp_ns, act)

    def _work(self, item: TipPose | NoTip, on: bool | None) -> None:
        self._turns = max(self._turns - 1, 0)
        if on is not None and on is not self._on:
            self._turn(on=on)
        if isinstance(item, NoTip):
            self._health.count(item.code)
            self._progress.say(item.stamp_ns)
            return
        self._newest = item
        if self._on:
            self._carve_one(item)
        self._progress.say(item.stamp_ns)
        self._publish_due(item.stamp_ns)

    def _carve_one(self, item: TipPose) -> None:
        try:
            pose, covariance = item.tip.start_T_end, item.tip.covariance
            if self._tissue is not None:
                pose, _ = self._tissue.certain_at_rest(pose, self._config.tissue_sigma)
            step = self.carver.add(item.stamp_ns, pose, covariance)
        except InputError as error:
            self._health.warn(error.code, str(error))
            if error.code == 'CARVE_UNSURE':
                self._health.set('carving', WARN, error.code, str(error))
            return
        if step.code != 'OK':
            self._health.warn(step.code, f'a new path begins: {step.reason}')
        delta = self._sender.delta(step.stamp_ns, step.removal)
        if delta is not None:
            self._deltas.publish(removed_cloud(delta, self._frame))
            if self._tissue is not None:
                self._tissue.take(step.removal.indices)
            self._progress.result(delta.stamp_ns)
            self._say_cuts(step)

    def _say_cuts(self, step: CarveStep) -> None:
        volume = self.carver.volume
        for label in step.removal.counts:
            name = self._surfaces[label - 1].name
            if name in self._config.protected:
                mm3 = float(volume.counts[label]) * volume.voxel_volume * 1e9
                message = f'{name}: the burr has covered {mm3:.2f} mm³ of it'
                self._health.set(f'cut {name}', ERROR, 'STRUCTURE_CUT', message, {'removed_mm3': mm3})

    def _publish_due(self, stamp_ns: int, *, all_due: bool = False) -> None:
        periods = {'snapshot': self._config.snapshot_period, 'surface': self._config.surface_period,
                   'report': _REPORT_S}  # fmt: skip
        for name, period in periods.items():
            if all_due or stamp_ns >= self._due[name]:
                self._due[name] = stamp_ns + round(period * NANOSECONDS)
                {'snapshot': self._send_snapshot, 'surface': self._send_surface, 'report': self._report}[name]()

    def _send_snapshot(self) -> None:
        if self._sent['snapshot'] == self._sender.sequence:
            return
        self._sent['snapshot'] = self._sender.sequence
        chunks = self._sender.snapshot()
        if len(chunks) > SNAPSHOT.depth:
            self._health.set(
                'snapshot', ERROR, 'ANATOMY_REFUSED',
                f'what is removed takes {len(chunks)} chunks, {SNAPSHOT.depth} are kept for late joiners: use larger '
                'voxels',
            )  # fmt: skip
        for chunk in chunks:
            self._snapshots.publish(removed_cloud(chunk, self._frame))

    def _send_surface(self) -> None:
        """Publish each structure with the cavity's wall where bricks were touched."""
        if self._sent['surface'] == self._sender.sequence:
            return
        self._sent['surface'] = self._sender.sequence
        surface = self.carver.volume.surface
        shown = []
        for index, (bare, whole) in enumerate(zip(self._bare, self._surfaces, strict=True)):
            keys = sorted(key for key in surface.meshes if key[0] == index + 1)
            kept = self._kept(index, keys) if keys else np.arange(len(whole.triangles))
            bare.text = CUT if keys else ''
            if self._tissue is not None:
                self._tissue.show(index, kept, keys)
            else:
                corners = whole.vertices[whole.triangles[kept].ravel()]
                shown.append((bare, np.concatenate([corners, surface.corners(keys).reshape(-1, 3)])))
        if self._tissue is None:
            self._surface.publish(marker_array_bytes(shown))

    def _kept(self, index: int, keys: list[tuple[int, tuple[int, int, int]]]) -> np.ndarray:
        """Return the triangles of a structure that lie in no brick that was touched, as numbers (k,)."""
        bricks, touched = self._bricks[index], np.array([brick for _, brick in keys])
        base = int(max(bricks.max(), touched.max())) + 2

        def number(rows: np.ndarray) -> np.ndarray:
            return ((rows[:, 0] + 1) * base + rows[:, 1] + 1) * base + rows[:, 2] + 1

        return np.flatnonzero(~np.isin(number(bricks), number(touched)))

    def _report(self) -> None:
        """Publish the bricks that changed, and say what went and what is left in front."""
        if self._tissue is not None:
            self._tissue.settle()
        surface = self.carver.volume.surface
        changed = surface.take_changes()
        if changed and self._newest is not None:
            points = [self._patch(key) for key in changed]
            cloud = cloud_from_array(self._newest.stamp_ns, self._frame, np.concatenate(points))
            self._patches.publish(cloud)
        if self._newest is not None:
            self._say_state(self._newest)

    def _patch(self, key: tuple[int, tuple[int, int, int]]) -> np.ndarray:
        """Return a brick's triangles, three points each; a brick that is empty now is one point of NaN."""
        corners = self.carver.volume.surface.corners([key]).reshape(-1, 3)
        points = np.zeros(max(1, len(corners)), SURFACE_DELTA_DTYPE)
        shape = self.carver.volume.surface.dirty.shape
        points['structure'], points['brick'] = self._markers[key[0] - 1].id, int(np.ravel_multi_index(key[1], shape))
        for axis, name in enumerate('xyz'):
            points[name] = corners[:, axis] if len(corners) else np.nan
        return points

    def _say_state(self, item: TipPose) -> None:
        volume, values = self.carver.volume, {}
        for label, surface in enumerate(self._surfaces, 1):
            values[f'removed_{surface.name}_mm3'] = float(volume.counts[label]) * volume.voxel_volume * 1e9
        pose = item.tip.start_T_end
        if self._tissue is not None:
            pose, sigma = self._tissue.at_rest(pose)
            values['tissue_sigma_mm'] = 1e3 * sigma
        for depth in self.carver.depths(pose):
            if depth.label <= len(self._surfaces):
                name = self._surfaces[depth.label - 1].name
                for word, metres in (('ahead', depth.ahead), ('nearest', depth.nearest)):
                    if np.isfinite(metres):
                        values[f'{word}_{name}_mm'] = metres * 1e3
        values |= {'sequence': self._sender.sequence, 'drilling': self._on}
        total = volume.removed * volume.voxel_volume * 1e9
        self._health.set('carving', OK, 'OK', f'{total:.1f} mm³ removed', values)

    def _on_timer(self) -> None:
        """Bring out what is due when the streams have fallen silent."""
        self._silence.tick()
        silent_ns = self._steady.now().nanoseconds - self._heard_ns
        is_silent = self._silence.has_ended if self._replay else silent_ns > _SILENCE_NS
        if is_silent:
            self._carve(self._tips.finish())
        for held, on in self._switch.flush() if self._switch is not None and is_silent else ():
            self._pass_on(held, on)
        if self._newest is not None and is_silent:
            self._publish_due(self._newest.stamp_ns, all_due=True)
            self._newest = None
        if is_silent and not self._turns:
            self._progress.end()

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        gone = self.carver.volume.removed * self.carver.volume.voxel_volume * 1e9
        self._bring_back()
        response.success, response.message = True, f'{gone:.1f} mm³ brought back'
        return response

    def _start_again(self) -> None:
        """Forget poses and bring everything back, after a jump of the clock."""
        self._tips.reset()
        if self._switch is not None:
            self._switch.reset()
        self._newest, self._turns = None, 0
        self._due = dict.fromkeys(self._due, 0)
        self._progress.reset()
        self._health.count('CLOCK_JUMP')
        self._bring_back()

    def _bring_back(self) -> None:
        self.carver.reset()
        if self._tissue is not None:
            self._tissue.reset()
        self._sender.restart()
        self._sent = {'snapshot': -1, 'surface': 0}
        for name in self._config.protected:
            self._health.clear(f'cut {name}')
        self._send_snapshot()
        if self._tissue is None:
            self._surface.publish(MarkerArray(markers=self._markers))
        self._health.set('carving', OK, 'OK', 'nothing is carved yet')
