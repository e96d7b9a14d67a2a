"""tracker_node: takes in a tracker and publishes clean, time-stamped poses.

source → status → finite → rotation → unit and workspace → stamp → gate → filter → `<tool>/measured_cp`,
`<tool>/filtered_cp` and tf. A tool that the source does not see is said to be lost in that very frame.
"""

import sys
import threading
import time
from collections import Counter
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from tf_transformations import euler_matrix

from twin_nodes.core.codes import CODES
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.tracking.pipeline import TrackingPipeline
from twin_nodes.core.tracking.reading import SourceEvent, TrackerFrame
from twin_nodes.core.tracking.results import ToolHealth, ToolLost, ToolState, TrackedPose
from twin_nodes.nodes.tracker_config import TrackerNodeConfig, read_corrections, read_shift
from twin_nodes.nodes.tracker_sources import make_source, source_name
from twin_nodes.ros.conversions import transform_stamped
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.pose_output import PoseOutput
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import REPLAY_MEASUREMENT
from twin_nodes.ros.run import run_node

STATES = ('OK', 'SOURCE_FINISHED', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'DEVICE_STATUS', 'CALLBACK_FAILED')
SWITCH_S = 0.0005  # the source's thread must not wait 5 ms for a report that is being written
WATCH_S = 0.1
GONE = ('SOURCE_FINISHED', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'CALLBACK_FAILED')
ODD = ('STUCK', 'UNIT_SUSPECT')  # of a tool that is tracked all the same


class TrackerNode(Node):
    """Connects one source to one tracking pipeline."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('tracker', **kwargs)
        self.config = declare_config(self, TrackerNodeConfig)
        self.health = Health(self, hardware_id=source_name(self.config))
        self._lock = threading.Lock()  # the source delivers from a thread of its own
        replay = is_replay(self)
        self._outputs = {
            tool: PoseOutput(self, tool, self.config.tracker_frame, replay=replay)
            for tool in self.config.tracking.tools
        }
        self._tf = TransformBroadcaster(self, qos=REPLAY_MEASUREMENT if replay else None)
        self._fixed_tf = StaticTransformBroadcaster(self)
        if self.config.world_frame:
            self._fixed_tf.sendTransform(self._mount())
        # after the publishers: their discovery goes on while the kernels load, a third of a second
        shift_ns, sigma = read_shift(self.config.offset_file)
        self._pipeline = TrackingPipeline(
            self.config.tracking, read_corrections(self.config.distortion), shift_ns, sigma
        )
        self._said: dict[str, str] = {}
        self._source_state = SourceEvent('SOURCE_DISCONNECTED', 'not connected yet')
        for tool in self.config.tracking.tools:
            self._say(tool, 'TOOL_NEVER_SEEN', 'no reading yet')
        self._heard_s = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._report, clock=steady)
        self._progress = [ProgressOutput(self, f'{tool}/filtered_cp') for tool in self._outputs]
        # in a replay a pause is no silence
        self._watch_timer = self.create_timer(WATCH_S, self._watch_end if replay else self._watch, clock=steady)
        self._jump = on_jump_back(self, self._on_clock_jump)
        self._source = make_source(self, self.config)
        self._thread = threading.Thread(target=self._run_source, name='source', daemon=True)
        self._thread.start()

    def _mount(self) -> TransformStamped:
        mount = self.config.mount
        world_T_tracker = make_transform(euler_matrix(*mount.rpy)[:3, :3], mount.xyz)
        # a setting, not a measurement: it has no time, and a replay must give the same each time
        return transform_stamped(0, self.config.world_frame, self.config.tracker_frame, world_T_tracker)

    def _run_source(self) -> None:
        try:
            self._source.run(self._on_frame, self._on_event)
        except Exception as error:  # a source never raises for bad data: this is a bug, said and not hidden
            if not self.context.ok():
                return
            self._on_event(SourceEvent('CALLBACK_FAILED', f'the source stopped: {error!r}'))
            self.get_logger().error(f'CALLBACK_FAILED: {error!r}')

    def _on_frame(self, frame: TrackerFrame) -> None:
        if not self.context.ok():  # the source may deliver once more while the node goes down
            self._source.stop()
            return
        self._heard_s = time.monotonic()
        if self._source_state.code == 'SOURCE_STALLED':
            self._on_event(SourceEvent('OK', 'frames come again', healthy=True))
        edges = []
        for progress in self._progress:
            progress.begin(frame.arrival_ns)
        with self._lock:
            for result in self._pipeline.results(frame):
                if isinstance(result, TrackedPose):
                    output = self._outputs[result.tool]
                    edges.append(output.publish_filtered(result.stamp_ns, result.filtered, result.covariance))
                    output.publish_measured(result.stamp_ns, result.measured)
                    self._say(result.tool, 'OK', 'tracked')
                elif isinstance(result, ToolLost) or self._is_lost(result.tool):
                    self._say(result.tool, result.code, result.reason)
            if edges:
                self._tf.sendTransform(edges)

    def _is_lost(self, tool: str) -> bool:
        return self._pipeline.tools[tool].state is not ToolState.TRACKED

    def _say(self, tool: str, code: str, reason: str) -> None:
        """Say at once that a tool is seen or not, and once only; `_report` adds the figures each second."""
        if self._said.get(tool) != code:
            self._said[tool] = code
            self.health.set(f'tool {tool}', OK if code == 'OK' else WARN, code, reason, {'tool': tool})

    def _on_event(self, event: SourceEvent) -> None:
        if event.code not in STATES:
            self.health.warn(event.code, event.message)
            return
        self._source_state = event
        self._heard_s = time.monotonic()
        if event.code in GONE:
            self._lose_all(event.message)
        level = OK if event.healthy else ERROR
        self.health.set('source', level, event.code, event.message)
        if event.healthy:
            self.get_logger().info(f'{event.code}: {event.message}')
        else:
            self.get_logger().warning(f'{event.code}: {event.message}')

    def _lose_all(self, reason: str) -> None:
        with self._lock:
            for result in self._pipeline.silence(reason):
                self._say(result.tool, result.code, result.reason)

    def _watch(self) -> None:
        """Notice a source that sends nothing: then no frame can say that a tool is lost."""
        silent = time.monotonic() - self._heard_s
        if self._source_state.code in GONE or silent <= self.config.stale_after:
            return
        reason = f'no frame for {silent:.1f} s, limit stale_after={self.config.stale_after} s'
        if self._source_state.healthy:
            self._on_event(SourceEvent('SOURCE_STALLED', reason))
        else:  # what the device said of itself is worth more
            self._lose_all(reason)

    def _watch_end(self) -> None:
        """Tell those after this node that a replay has ended: by themselves they see only that nothing comes."""
        if getattr(self._source, 'has_ended', True):
            for progress in self._progress:
                progress.end()

    def _on_clock_jump(self) -> None:
        with self._lock:
            self._pipeline.clear()
        for progress in self._progress:
            progress.reset()
        self.health.warn('CLOCK_JUMP', 'time jumped back: all buffers were cleared')

    def _report(self) -> None:
        """Say once a second how tools, clock and source are."""
        with self._lock:
            tools = self._pipeline.health()
            settled, clock_values = self._pipeline.clock.settled, self._clock_values()
            sigma = {name: self._sigma_mm(name) for name in tools}
            totals = sum((Counter(health.counts) for health in tools.values()), Counter(self._pipeline.counts))
        for name, health in tools.items():
            self._report_tool(name, health, sigma[name])
        # the source tells of a fault at most twice a second, but counts each one
        totals |= {code: total for code, total in getattr(self._source, 'counters', {}).items() if code in CODES}
        for code, total in totals.items():
            if code != 'OK':
                self.health.set_count(code, total)
        message = f'offset {clock_values["offset_s"]} s ± {clock_values["sigma_ms"]:.2f} ms'
        code = 'OK' if settled else 'CLOCK_UNSETTLED'
        self.health.set('clock', OK if settled else WARN, code, message, clock_values)
        state = self._source_state
        self.health.set('source', OK if state.healthy else ERROR, state.code, state.message)

    def _report_tool(self, name: str, health: ToolHealth, sigma_mm: float) -> None:
        tracked = health.state is ToolState.TRACKED
        code = health.code if health.code in ODD or not tracked else 'OK'
        self._said[name] = 'OK' if tracked else code
        values = {
            'tool': name,
            'rate_hz': health.rate.rate_hz,
            'jitter_ms': health.rate.jitter_rms_s * 1e3,
            'gaps': health.rate.gaps,
            'sigma_mm': sigma_mm,
            'listeners': ' '.join(map(str, self._outputs[name].listeners())),
            **health.counts,
        }
        self.health.set(f'tool {name}', OK if code == 'OK' else WARN, code, health.reason, values)

    def _clock_values(self) -> dict[str, Any]:
        clock = self._pipeline.clock
        return {
            'mode': clock.config.mode,
            'offset_s': f'{clock.offset_s:.6f}',
            'sigma_ms': clock.sigma_s * 1e3,
            'skew_ppm': clock.skew_ppm,
            'latency_ms': clock.config.latency * 1e3,
            'steps': clock.steps,
        }

    def _sigma_mm(self, tool: str) -> float:
        return self._outputs[tool].sigma * 1e3

    def destroy_node(self) -> None:
        """Stop the source before the publishers go."""
        if hasattr(self, '_thread'):  # else the configuration was refused before there was anything to stop
            self._source.stop()
            self._thread.join(timeout=2.0)
            self._jump.unregister()
        super().destroy_node()


def main() -> None:
    """Run the node."""
    sys.setswitchinterval(SWITCH_S)
    sys.exit(run_node(TrackerNode))


if __name__ == '__main__':
    main()
