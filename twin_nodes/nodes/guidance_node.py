"""guidance_node: how near the tool is to each structure, how sure that is, and in which zone."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.core.guidance.advisor import Advice, Advisor, AdvisorConfig, Withheld
from twin_nodes.core.guidance.alarms import AlarmEvent
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.prediction.latency import LatencyEstimate
from twin_nodes.core.guidance.zones import ZoneEvent
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.grids import cached_grid, user_cache
from twin_nodes.ros.carved_structures import CarvedStructures
from twin_nodes.ros.checked import checked_pose, checked_tie
from twin_nodes.ros.clouds import corners_of, surface_from_marker
from twin_nodes.ros.conversions import pose_with_covariance
from twin_nodes.ros.guidance_fixtures import GuidanceFixtures
from twin_nodes.ros.guidance_markers import guidance_markers
from twin_nodes.ros.guidance_output import clearance_cloud, event_message
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import EVENTS, latched, measurement, measurement_subscription
from twin_nodes.ros.run import run_node
from twin_nodes.ros.surface_feed import SurfaceFeed

_WATCH_S = 0.05
_LATENCY_EVERY = 8  # poses between two looks at the latency
_SILENCE_NS = 2_000_000_000  # after so long without a message nothing of a replay is on its way any more
_STREAM_LATENCY_NS = 500_000_000  # stamps lag the clock; only when both streams are silent does the clock decide


@dataclass(frozen=True)
class GuidanceNodeConfig:
    """Settings of guidance_node."""

    tool: str = setting('The tool whose tip is guided.')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the structures.', 'anatomy')
    guard: tuple[str, ...] = setting('Structures to watch; empty for all.', ())
    near_distances: tuple[float, ...] = setting(
        'Limit of the zone near of each guarded structure; empty for the common one.', (), unit='m', minimum=0.0
    )
    grid_spacing: float = setting('Node distance of the distance grids.', 0.001, unit='m', minimum=1e-4, maximum=0.01)
    grid_margin: float = setting('Reach of the grids beyond the surface.', 0.03, unit='m', minimum=0.001, maximum=0.2)
    cache_dir: str = setting('Folder that keeps distance grids; empty for the user cache.', '')
    advisor: AdvisorConfig = group(AdvisorConfig)
    fixtures: FixtureConfig = group(FixtureConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if self.near_distances and len(self.near_distances) != len(self.guard):
            raise ConfigError(f'near_distances has {len(self.near_distances)} entries for {len(self.guard)} guarded')


class GuidanceNode(Node):
    """Connects poses, ties and anatomy to one `Advisor`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('guidance', **kwargs)
        self.config = declare_config(self, GuidanceNodeConfig)
        self.health = Health(self)
        self._replay = replay = is_replay(self)
        self._measurement = measurement(replay=replay)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._heard_ns = self._newest_ns = 0
        self._advisor = Advisor(self.config.advisor, ordered=replay)
        self._latency = LatencyEstimate(self.config.advisor.prediction.max_ahead)
        self._indices: dict[str, int] = {}
        self._surface: MarkerArray | None = None
        self._watched: list[tuple[object, ...]] = []
        self._state = ''
        self._clearance = self.create_publisher(PointCloud2, 'guidance/clearance', self._measurement)
        self._events = self.create_publisher(DiagnosticArray, 'guidance/events', EVENTS)
        self._markers = self.create_publisher(MarkerArray, 'guidance/markers', self._measurement)
        self._tip = self.create_publisher(PoseWithCovarianceStamped, 'guidance/tip', self._measurement)
        self._distances: dict[str, object] = {}
        self._set_state('NOT_CALIBRATED', 'waiting for tool, patient, calibration, registration and anatomy')
        tool, patient = self.config.tool, self.config.patient
        qos, state = measurement_subscription(replay=replay), latched(replay=replay)
        subscribe = self.create_subscription
        radius = self.config.advisor.guidance.tool.tip_radius
        self._fixtures = (
            GuidanceFixtures(self, self.health, self.config.fixtures, self.config.anatomy_frame, radius)
            if self.config.fixtures.enabled
            else None
        )
        self._carved = CarvedStructures(self, self.health, self.config.anatomy_frame, self._on_grid, self._on_original)
        self._surfaces = SurfaceFeed(self, self._on_surface)
        subscribe(PoseWithCovarianceStamped, f'calibration/{tool}', self._on_calibration, state)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, state)
        subscribe(DiagnosticArray, 'registration/events', self._on_registration_event, EVENTS)
        follow_progress(self, f'calibration/{tool}', self._on_calibration_progress)
        follow_progress(self, 'registration', self._on_registration_progress)
        subscribe(PoseWithCovarianceStamped, f'{patient}/filtered_cp', self._on_patient, qos)
        subscribe(PoseWithCovarianceStamped, f'{tool}/filtered_cp', self._on_tool, qos)
        self._timer = self.create_timer(_WATCH_S, self._on_timer, clock=self._steady)
        self._jump = on_jump_back(self, self._reset)

    def _reset(self) -> None:
        self._advisor.reset()
        self._latency.reset()
        if self._fixtures is not None:
            self._fixtures.reset()

    def _now_ns(self) -> int | None:
        return None if self._replay else int(self.get_clock().now().nanoseconds)

    def _checked_tie(self, message: PoseWithCovarianceStamped, frame: str) -> Tie | None:
        return checked_tie(message, frame=frame, now_ns=self._now_ns(), health=self.health)

    def _checked(self, message: PoseWithCovarianceStamped, frame: str) -> StampedCovariance | None:
        if self._replay:
            self._heard_ns = self._steady.now().nanoseconds
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

    def _note_time(self, stamp_ns: int) -> None:
        self._newest_ns, self._heard_ns = stamp_ns, self._steady.now().nanoseconds

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        tie = self._checked_tie(message, self.config.tool)
        if tie is not None:
            self._publish(self._advisor.set_tip(tie))

    def _on_calibration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._advisor.tip.progress(done_ns, newest_ns)
        self._publish(self._advisor.drain())

    def _on_registration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._advisor.registration.progress(done_ns, newest_ns)
        self._publish(self._advisor.drain())

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

    def _on_surface(self, message: MarkerArray) -> None:
        names = [marker.ns for marker in message.markers]
        if len({_topic_name(name) for name in names}) < len(names):
            self.health.warn('ANATOMY_REFUSED', f'anatomy/surface: two structures share a name or a topic: {names}')
            return
        self._surface = message
        guard = self.config.guard
        watched = [self._carved.original(marker) for marker in message.markers if not guard or marker.ns in guard]
        if None in watched:
            return  # carved already: the structures as they were are on their way
        known = [(m.ns, m.id, m.header.frame_id, corners_of(m).tobytes()) for m in watched]
        if known == self._watched:
            return  # the drill has changed what is shown, not what the grids began with
        limits = dict(zip(guard, self.config.near_distances, strict=False))
        structures = []
        for marker in watched:
            grid = self._grid(marker)
            if grid is not None:
                structures.append(Structure(marker.ns, grid, limits.get(marker.ns, float('nan'))))
                self._indices[marker.ns] = marker.id
        missing = sorted(set(self.config.guard) - {structure.name for structure in structures})
        if missing:
            message_text = f'guarded structures {", ".join(missing)} are not in anatomy/surface'
            self.health.set('anatomy', ERROR, 'ANATOMY_REFUSED', message_text)
        elif structures:
            self.health.set('anatomy', OK, 'OK', f'{len(structures)} structures watched')
        if structures:
            for name in {structure.name for structure in structures} - self._distances.keys():
                self._distances[name] = self.create_publisher(
                    Float64, f'guidance/{_topic_name(name)}/distance', self._measurement
                )
            self._watched = known
            self._carved.watch({self._indices[one.name]: (one.name, one.grid) for one in structures})
            if self._fixtures is not None:
                self._fixtures.watch(structures)
            self._publish(self._advisor.set_structures(structures))

    def _on_grid(self, name: str, grid: DistanceGrid) -> None:
        self._advisor.set_grid(name, grid)
        if self._fixtures is not None:
            self._fixtures.set_grid(name, grid)

    def _on_original(self) -> None:
        if self._surface is not None:
            self._on_surface(self._surface)

    def _grid(self, marker: Marker) -> DistanceGrid | None:
        config = self.config
        folder = Path(config.cache_dir) if config.cache_dir else user_cache()
        try:
            if marker.header.frame_id != config.anatomy_frame:
                raise InputError(f'{marker.ns}: frame is {marker.header.frame_id!r}, not {config.anatomy_frame!r}')
            surface = make_surface(marker.ns, *surface_from_marker(marker))
            return cached_grid(folder, surface, config.grid_spacing, config.grid_margin)
        except (InputError, ConfigError) as error:
            self.health.set(f'structure {marker.ns}', ERROR, 'ANATOMY_REFUSED', str(error))
            return None

    def _on_timer(self) -> None:
        """Notice that both streams have stopped; while either runs, its stamps decide.

        Live, the time of the streams goes on by the monotonic clock. The clock of a replay runs ahead of what is still
        on its way: there only a real silence counts.
        """
        steady_ns = self._steady.now().nanoseconds
        self._carved.apply(steady_ns)
        silence_ns = steady_ns - self._heard_ns
        if not self._replay:
            self._publish(self._advisor.check_stale(self._newest_ns + silence_ns))
        elif silence_ns >= _SILENCE_NS:
            self._publish(self._advisor.check_stale(int(self.get_clock().now().nanoseconds) - _STREAM_LATENCY_NS))

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
            self._distances[clearance.structure].publish(Float64(data=clearance.distance))
        frame = self.config.anatomy_frame
        self._clearance.publish(clearance_cloud(advice, frame, self._indices))
        self._tip.publish(pose_with_covariance(advice.stamp_ns, frame, advice.tip.start_T_end, advice.tip.covariance))
        if self._markers.get_subscription_count():
            self._markers.publish(guidance_markers(advice, frame))
        if self._fixtures is not None:
            self._fixtures.update(advice)
        self._report(advice)
        self._measure_latency(advice.stamp_ns)

    def _measure_latency(self, stamp_ns: int) -> None:
        """Bridge the latency that is measured; a replay bridges only what its settings say."""
        now_ns = self._now_ns()
        if now_ns is None or not self.config.advisor.prediction.measure_latency:
            return
        self._latency.add((now_ns - stamp_ns) / NANOSECONDS)
        if self._latency.count % _LATENCY_EVERY:
            return
        latency = self._latency.seconds
        self._advisor.set_latency(0.0 if latency is None else latency)
        if latency is None:
            limit = self.config.advisor.prediction.max_ahead
            text = f'poses are more than {limit:g} s old: the advice is of the time of measurement, not of now'
            self.health.set('latency', WARN, 'LATENCY_TOO_LONG', text)
        else:
            self.health.set('latency', OK, 'OK', f'advice looks {1e3 * self._advisor.ahead:.0f} ms ahead')

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


def _topic_name(structure: str) -> str:
    """Turn the name of a structure into one that a topic may have."""
    cleaned = ''.join(letter if letter.isascii() and letter.isalnum() else '_' for letter in structure)
    return cleaned if cleaned[:1].isalpha() else f's_{cleaned}'


def main() -> None:
    """Run the node."""
    sys.exit(run_node(GuidanceNode))


if __name__ == '__main__':
    main()
