"""Carving live: the drill's poses in; what is removed and what is left is told by `carving_output`.

Everything is timed by the stamps of the poses, so that a replay gives the same messages; a silence of the streams
brings out what is still due.
"""

from collections.abc import Callable
from functools import partial

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.carving import Carver
from twin_nodes.core.anatomy.carving_config import LiveCarvingConfig
from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.drill_switch import DrillSwitch
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.tip_stream import NoTip, TipPose, TipStream
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.carved_tissue import CarvedTissue
from twin_nodes.ros.carving_output import CarvingOutput
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.conversions import check_header, pose_from
from twin_nodes.ros.health import WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.progress import ProgressOutput, follow_progress, is_replay
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, REPLAY_SUBSCRIPTION, latched
from twin_nodes.ros.silence import ReplaySilence
from twin_nodes.ros.ties import tie_from
from twin_nodes.ros.tip_share import follow_tip_share

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
        self._node, self._health, self._config = node, health, config
        self._replay = replay = is_replay(node)
        self._now_ns = live_clock(node)
        self.carver = Carver(config.carver, CarvedVolume(volume))
        self._tissue = tissue(self.carver.volume) if tissue is not None else None
        self._tips = TipStream(config.pairing, ordered=replay)
        self._on = not config.drill_switch
        by_stamp = replay and config.drill_switch and config.switch_stamped
        self._switch: DrillSwitch[TipPose | NoTip] | None = (
            DrillSwitch(round(config.switch_wait * NANOSECONDS)) if by_stamp else None
        )
        self._newest: TipPose | None = None
        self._turns = 0  # poses that wait until the body is where it was then
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._heard_ns = self._steady.now().nanoseconds
        self._silence = ReplaySilence(node, _WATCH_S)
        self._silence.follow(f'{config.tool}/filtered_cp', f'{config.patient}/filtered_cp')
        self._progress = ProgressOutput(node, 'anatomy/removed')
        self._output = CarvingOutput(node, health, config, frame, self.carver, surfaces, markers, self._tissue)
        self._subscribe()
        self._service = node.create_service(Trigger, 'anatomy/reset_carving', self._on_reset)
        self._timer = node.create_timer(_WATCH_S, self._on_timer, clock=self._steady)
        self._jump = on_jump_back(node, self._start_again)

    def _subscribe(self) -> None:
        config, subscribe = self._config, self._node.create_subscription
        # every pose counts: the surface takes long to send, and a path must not break meanwhile
        qos = REPLAY_SUBSCRIPTION if self._replay else COMMAND_SUBSCRIPTION
        state = latched(replay=self._replay)
        subscribe(PoseWithCovarianceStamped, f'calibration/{config.tool}', self._on_calibration, state)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, state)
        follow_progress(self._node, f'calibration/{config.tool}', self._on_calibration_progress)
        follow_progress(self._node, 'registration', self._on_registration_progress)
        follow_tip_share(self._node, self._health, {config.tool: self._tips.shares}, self._hear_maker)
        subscribe(PoseWithCovarianceStamped, f'{config.patient}/filtered_cp', self._on_patient, qos)
        subscribe(PoseWithCovarianceStamped, f'{config.tool}/filtered_cp', self._on_tool, qos)
        if config.drill_switch and config.switch_stamped:
            subscribe(Joy, f'{config.tool}/drilling', self._on_joy, REPLAY_SUBSCRIPTION if self._replay else 10)
        elif config.drill_switch:
            subscribe(Bool, f'{config.tool}/drilling', self._on_switch, 1)

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
        self._hear_maker()

    def _on_registration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._tips.registration.progress(done_ns, newest_ns)
        self._hear_maker()

    def _hear_maker(self) -> None:
        self._silence.hear()
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
        self._output.publish_due(item, drilling=self._on)

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
        stamp_ns = self._output.removed(step)
        if stamp_ns is not None:
            if self._tissue is not None:
                self._tissue.take(step.removal.indices)
            self._progress.result(stamp_ns)

    def hand_over(self) -> bool:
        """Let go what waits for more of streams that have ended; return whether nothing of them is still to be done.

        What waits for the maker of a tie that has not come so far is none of that: its turn comes.
        """
        silent_ns = self._steady.now().nanoseconds - self._heard_ns
        if not (self._silence.has_ended if self._replay else silent_ns > _SILENCE_NS):
            return False
        self._carve(self._tips.finish())
        if self._tips.awaits_makers and not self._silence.is_long:
            return False
        for held, on in self._switch.flush() if self._switch is not None else ():
            self._pass_on(held, on)
        return True

    def _on_timer(self) -> None:
        """Bring out what is due when the streams have fallen silent and all of them is worked in."""
        self._silence.tick()
        if not self.hand_over() or self._turns:
            return
        if self._newest is not None:
            self._output.publish_due(self._newest, drilling=self._on, all_due=True)
            self._newest = None
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
        self._progress.reset()
        self._health.count('CLOCK_JUMP')
        self._bring_back()

    def _bring_back(self) -> None:
        self.carver.reset()
        if self._tissue is not None:
            self._tissue.reset()
        self._output.restart()
