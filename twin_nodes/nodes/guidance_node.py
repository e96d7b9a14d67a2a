"""guidance_node: how near the tool is to each structure, how sure that is, and in which zone."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.core.guidance.advice import Advice, Withheld
from twin_nodes.core.guidance.advisor import Advisor, AdvisorConfig
from twin_nodes.core.guidance.alarms import AlarmEvent
from twin_nodes.core.guidance.clearance import Field, Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.zones import ZoneEvent
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.force_profiles import read_force_profile
from twin_nodes.io.grids import cached_grid, user_cache
from twin_nodes.ros.checked import checked_pose, checked_tie
from twin_nodes.ros.clock import clock_ns, live_clock
from twin_nodes.ros.conversions import pose_from, pose_stamped, pose_with_covariance
from twin_nodes.ros.guarded_structures import GuardedStructures, topic_name
from twin_nodes.ros.guidance_fixtures import GuidanceFixtures
from twin_nodes.ros.guidance_force import ForceGuideConfig, GuidanceForce
from twin_nodes.ros.guidance_latency import AdviceLatency
from twin_nodes.ros.guidance_markers import guidance_markers
from twin_nodes.ros.guidance_output import clearance_cloud, event_message
from twin_nodes.ros.guidance_plan import GuidancePlan, PlanConfig
from twin_nodes.ros.guidance_task import GuidanceTask, TaskGuideConfig
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.prompt_process import unhurried
from twin_nodes.ros.qos import EVENTS, latched, measurement, measurement_subscription
from twin_nodes.ros.run import run_node
from twin_nodes.ros.silence import ReplaySilence
from twin_nodes.ros.tip_share import follow_tip_share

_WATCH_S = 0.05
_STREAM_LATENCY_NS = 500_000_000  # stamps lag the clock; only when both streams are silent does the clock decide


@dataclass(frozen=True)
class GuidanceNodeConfig:
    """Settings of guidance_node."""

    tool: str = setting('The tool whose tip is guided.')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the structures.', 'anatomy')
    setpoint_topic: str = setting(
        'Where the robot is told to bring the tool, in tracker_frame (PoseStamped, as `<ARM>/setpoint_cp`): the '
        'prediction is then better; empty for a tool that is moved by hand. In a replay the advice waits for it.',
        '',
    )  # fmt: skip
    guard: tuple[str, ...] = setting('Structures to watch; empty for all.', ())
    near_distances: tuple[float, ...] = setting(
        'Limit of the zone near of each guarded structure; empty for the common one.', (), unit='m', minimum=0.0
    )
    grid_spacing: float = setting('Node distance of the distance grids.', 0.001, unit='m', minimum=1e-4, maximum=0.01)
    grid_margin: float = setting('Reach of the grids beyond the surface.', 0.03, unit='m', minimum=0.001, maximum=0.2)
    cache_dir: str = setting('Folder that keeps distance grids; empty for the user cache.', '')
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)
    advisor: AdvisorConfig = group(AdvisorConfig)
    fixtures: FixtureConfig = group(FixtureConfig)
    plan: PlanConfig = group(PlanConfig)
    task: TaskGuideConfig = group(TaskGuideConfig)
    force: ForceGuideConfig = group(ForceGuideConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if self.near_distances and len(self.near_distances) != len(self.guard):
            raise ConfigError(f'near_distances has {len(self.near_distances)} entries for {len(self.guard)} guarded')
        if self.plan.structure in self.guard:
            raise ConfigError(f'{self.plan.structure!r} is guarded and the planned surface: a plan is to be reached')
        if self.guard and self.force.structure and self.force.structure not in self.guard:
            raise ConfigError(f'force.structure={self.force.structure!r} is none of guard={list(self.guard)}: add it')


class GuidanceNode(Node):
    """Connects poses, ties and anatomy to one `Advisor`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('guidance', **kwargs)
        self.config = config = declare_config(self, GuidanceNodeConfig)
        self.health = Health(self)
        self._replay = replay = is_replay(self)
        self._now_ns = live_clock(self)
        self._measurement = measurement(replay=replay)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._heard_ns = self._newest_ns = 0
        self._silence = ReplaySilence(self, _WATCH_S)
        self._silence.follow(f'{config.tool}/filtered_cp', f'{config.patient}/filtered_cp')
        self._advisor = Advisor(config.advisor, ordered=replay, steered=bool(config.setpoint_topic))
        self._advisor.changes.listen(self._on_change)
        self._latency = AdviceLatency(self.health, self._advisor, config.advisor.prediction)
        self._state = ''
        self._clearance = self.create_publisher(PointCloud2, 'guidance/clearance', self._measurement)
        self._events = self.create_publisher(DiagnosticArray, 'guidance/events', EVENTS)
        self._markers = self.create_publisher(MarkerArray, 'guidance/markers', self._measurement)
        self._tip = self.create_publisher(PoseWithCovarianceStamped, 'guidance/tip', self._measurement)
        self._predicted = self.create_publisher(PoseStamped, 'guidance/predicted_tip', self._measurement)
        self._distances: dict[str, object] = {}
        self._set_state('NOT_CALIBRATED', 'waiting for tool, patient, calibration, registration and anatomy')
        self._fixtures = self._make_fixtures() if config.fixtures.enabled else None
        self._task = self._make_task() if config.task.enabled else None
        self._force = self._make_force() if config.force.profile else None
        self._guarded = GuardedStructures(
            self, self.health, config, self._grid, self._advisor.changes, self._on_structures, self._on_field,
            self._on_plan,
        )  # fmt: skip
        self._plan = GuidancePlan(
            self, config.plan, config.anatomy_frame, self._tip_radius, self._guarded.carved, self._events
        )
        self._subscribe()
        self._timer = self.create_timer(_WATCH_S, self._on_timer, clock=self._steady)
        self._jump = on_jump_back(self, self._reset)

    @property
    def _tip_radius(self) -> float:
        return self.config.advisor.guidance.tool.tip_radius

    def _make_fixtures(self) -> GuidanceFixtures:
        config = self.config
        return GuidanceFixtures(self, self.health, config.fixtures, config.anatomy_frame, self._tip_radius)

    def _make_task(self) -> GuidanceTask:
        config = self.config
        return GuidanceTask(
            self, self.health, config.task, config.tool, config.anatomy_frame, self._advisor.changes
        )  # fmt: skip

    def _make_force(self) -> GuidanceForce:
        config = self.config
        return GuidanceForce(
            self, self.health, config.force, read_force_profile(config.force.profile), config.tool,
            config.anatomy_frame, self._tip_radius, self._advisor.changes, self._events,
        )  # fmt: skip

    def _subscribe(self) -> None:
        config, subscribe = self.config, self.create_subscription
        tool, patient = config.tool, config.patient
        qos, state = measurement_subscription(replay=self._replay), latched(replay=self._replay)
        subscribe(PoseWithCovarianceStamped, f'calibration/{tool}', self._on_calibration, state)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, state)
        subscribe(DiagnosticArray, 'registration/events', self._on_registration_event, EVENTS)
        follow_progress(self, f'calibration/{tool}', self._on_calibration_progress)
        follow_progress(self, 'registration', self._on_registration_progress)
        follow_tip_share(self, self.health, {tool: self._advisor.shares}, self._hear_maker)
        subscribe(PoseWithCovarianceStamped, f'{patient}/filtered_cp', self._on_patient, qos)
        subscribe(PoseWithCovarianceStamped, f'{tool}/filtered_cp', self._on_tool, qos)
        if config.setpoint_topic:
            subscribe(PoseStamped, config.setpoint_topic, self._on_setpoint, qos)

    def _reset(self) -> None:
        for part in (self._advisor, self._guarded, self._plan, self._latency, self._task, self._force, self._fixtures):
            if part is not None:
                part.reset()

    def _checked_tie(self, message: PoseWithCovarianceStamped, frame: str) -> Tie | None:
        return checked_tie(message, frame=frame, now_ns=self._now_ns(), health=self.health)

    def _checked(self, message: PoseWithCovarianceStamped, frame: str) -> StampedCovariance | None:
        self._silence.hear()
        return checked_pose(message, frame=frame, now_ns=self._now_ns(), health=self.health)

    def _on_tool(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message, self.config.tracker_frame)
        if pose is not None:
            self._note_time(pose.stamp_ns)
            self._publish(self._advisor.add_tool(pose))

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._checked(message, self.config.tracker_frame)
        if pose is not None:
            self._note_time(pose.stamp_ns)
            self._publish(self._advisor.add_patient(pose))

    def _on_setpoint(self, message: PoseStamped) -> None:
        self._silence.hear()
        try:
            record = pose_from(message, frame=self.config.tracker_frame, now_ns=self._now_ns())
            self._advisor.steer(record.stamp_ns, record.pose)
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', f'{self.config.setpoint_topic}: {error}')
            return
        self._drain()

    def _hear_maker(self) -> None:
        """Go on when a maker of ties has come further; while it works, the replay has not ended."""
        self._silence.hear()
        self._drain()

    def _on_change(self) -> None:
        if not self._advisor.changes.have_ended:
            self._silence.hear()
        self._drain()

    def _drain(self) -> None:
        self._publish(self._advisor.drain())

    def _note_time(self, stamp_ns: int) -> None:
        self._newest_ns, self._heard_ns = stamp_ns, self._steady.now().nanoseconds

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        tie = self._checked_tie(message, self.config.tool)
        if tie is not None:
            self._publish(self._advisor.set_tip(tie))

    def _on_calibration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._advisor.tip.progress(done_ns, newest_ns)
        self._hear_maker()

    def _on_registration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._advisor.registration.progress(done_ns, newest_ns)
        self._hear_maker()

    def _on_registration(self, message: PoseWithCovarianceStamped) -> None:
        tie = self._checked_tie(message, self.config.patient)
        if tie is not None:
            self._publish(self._advisor.set_registration(tie))

    def _on_registration_event(self, message: DiagnosticArray) -> None:
        """Say in the guidance's own name that the registration has drifted; the advice goes on, as it is."""
        for status in message.status:
            code = next((pair.value for pair in status.values if pair.key == 'code'), '')
            if code not in ('OK', 'REGISTRATION_SUSPECT', 'REGISTRATION_DRIFTED'):
                self.health.warn('PROTOCOL', f'registration/events: {status.name} has no code that is known: {code!r}')
                continue
            self.health.set('registration', status.level, code, status.message)
            if not self._replay:  # in a replay the order of two topics would decide; the event is in the bag already
                event = DiagnosticStatus(name='guidance: registration', level=status.level, message=status.message)
                event.values = status.values
                self._events.publish(DiagnosticArray(header=message.header, status=[event]))

    def _grid(self, surface: Surface) -> DistanceGrid:
        config = self.config
        folder = Path(config.cache_dir) if config.cache_dir else user_cache()
        with unhurried():  # a new grid takes seconds: no other process is to wait for it
            return cached_grid(folder, surface, config.grid_spacing, config.grid_margin)

    def _on_structures(self, structures: list[Structure]) -> None:
        for name in {structure.name for structure in structures} - self._distances.keys():
            self._distances[name] = self.create_publisher(
                Float64, f'guidance/{topic_name(name)}/distance', self._measurement
            )
        if self._fixtures is not None:
            self._fixtures.watch(structures, self._guarded.indices)
        if self._force is not None:
            self._force.watch({structure.name: structure.grid for structure in structures})
        self._publish(self._advisor.set_structures(structures))

    def _on_plan(self, planned: Field) -> None:
        self._plan.set_plan(planned)

    def _on_field(self, name: str, field: Field) -> None:
        self._advisor.set_grid(name, field)
        if self._fixtures is not None:
            self._fixtures.set_grid(name, field)

    def _on_timer(self) -> None:
        """Notice that both streams have stopped; while either runs, its stamps decide.

        Live, the time of the streams goes on by the monotonic clock. The clock of a replay runs ahead of what is still
        on its way: there only a real silence counts.
        """
        if not self._replay:
            silence_ns = int(self._steady.now().nanoseconds) - self._heard_ns
            self._publish(self._advisor.check_stale(self._newest_ns + silence_ns))
            return
        self._silence.tick()
        if not self._silence.has_ended:
            self._say_setpoints()
            return
        if self._silence.is_long or not self._advisor.awaits_makers:
            self._publish(self._advisor.finish())
        if self._silence.is_long:
            self._publish(self._advisor.check_stale(clock_ns(self) - _STREAM_LATENCY_NS))

    def _say_setpoints(self) -> None:
        """Say that the advice of a replay waits for set points, as when the topic is not in the recording."""
        if self._advisor.awaits_setpoints:
            text = f'waiting for set points on {self.config.setpoint_topic}; is it in the recording?'
            self.health.set('set points', WARN, 'SETPOINTS_SILENT', text)
        elif self.config.setpoint_topic:
            self.health.set('set points', OK, 'OK', f'on {self.config.setpoint_topic}')

    def _publish(self, results: list[Advice | Withheld]) -> None:
        for result in results:
            self._publish_events(result.events)
            if isinstance(result, Withheld):
                self.health.count(result.code)
                self._set_state(result.code, result.reason)
                if self._fixtures is not None and result.code == 'GUIDANCE_STALE':
                    self._fixtures.stop(result.stamp_ns)
            else:
                self._publish_advice(result)

    def _publish_advice(self, advice: Advice) -> None:
        for clearance in advice.clearances:
            distance = self._distances[clearance.structure]
            if distance.get_subscription_count():
                distance.publish(Float64(data=clearance.distance))
        frame = self.config.anatomy_frame
        self._clearance.publish(clearance_cloud(advice, frame, self._guarded.indices))
        self._tip.publish(pose_with_covariance(advice.stamp_ns, frame, advice.tip.start_T_end, advice.tip.covariance))
        if self._predicted.get_subscription_count():
            then_ns = advice.stamp_ns + round(advice.ahead * NANOSECONDS)
            self._predicted.publish(pose_stamped(then_ns, frame, advice.predicted))
        if self._markers.get_subscription_count():
            self._markers.publish(guidance_markers(advice, frame))
        self._follow_task(advice)
        if self._fixtures is not None:
            self._fixtures.update(advice)
        self._plan.update(advice)
        if self._force is not None:
            self._force.update(advice)
        self._report(advice)
        self._latency.measure(advice.stamp_ns, self._now_ns())

    def _follow_task(self, advice: Advice) -> None:
        if self._task is None:
            return
        fixtures = self._fixtures
        away = math.inf if fixtures is None else fixtures.route_distance(advice.tip.start_T_end[:3, 3].copy())
        found = self._task.update(advice, away)
        if found is not None and fixtures is not None:
            fixtures.follow_task(found)

    def _report(self, advice: Advice) -> None:
        worst = advice.tip.worst
        values = {
            'tip_sigma_mm': advice.tip.sigma * 1e3,
            **{f'{cost.name.replace(" ", "_")}_mm': cost.sigma * 1e3 for cost in advice.tip.costs},
            'costs_most': worst.name,
        }
        self._state = 'OK'
        message = f'tip σ {advice.tip.sigma * 1e3:.2f} mm, most from {worst.name}'
        self.health.set('chain', OK, 'OK', message, values)

    def _set_state(self, code: str, reason: str) -> None:
        if self._state != code:
            self._state = code
            self.health.set('chain', WARN, code, reason)

    def _publish_events(self, events: Iterable[ZoneEvent | AlarmEvent]) -> None:
        for event in events:
            self._events.publish(event_message(event, self.config.anatomy_frame))


def main() -> None:
    """Run the node."""
    sys.exit(run_node(GuidanceNode))


if __name__ == '__main__':
    main()
