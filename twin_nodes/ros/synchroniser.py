"""Several pose topics at one instant, for any node: ours and a user's own.

self.health = Health(self)
topics = ('patient/filtered_cp', 'probe/filtered_cp')
self.streams = Synchroniser(self, 'drill/filtered_cp', topics, self.on_poses, health=self.health)

def on_poses(self, together: Together) -> None:
    patient_T_drill = inverse(together.references['patient/filtered_cp'].pose) @ together.sample.pose
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from twin_nodes.core.geometry.pairing import PairingConfig, Unpaired
from twin_nodes.core.geometry.synchroniser import StreamSynchroniser, Together
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.checked import checked_pose
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.health import Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import DIAGNOSTICS, measurement_subscription

_WATCH_S = 0.02


@dataclass(frozen=True)
class StreamClock:
    """How the clock of a stream lies to that of the samples.

    Args:
        offset_s: Added to its stamps, as `twin calibrate time` tells it [s].
        sigma_s: Its standard deviation [s].
        follows: Check of a tracker_node whose σ of its clock is added, such as 'tracker: clock'; '' for none. Streams
            of one tracker share its clock, and so its error: leave it empty there.
    """

    offset_s: float = 0.0
    sigma_s: float = 0.0
    follows: str = ''


class Synchroniser:
    """Subscribes to a sampled stream and others, and calls back with all of them at the instant of each sample.

    A pose that cannot be used is dropped and counted under its code; a sample that finds no partner within `max_wait`
    (by stamps, and live by the monotonic clock too) is counted under NO_TRANSFORM.

    Args:
        node: The node.
        sample: Topic whose instants count.
        references: The other topics.
        on_together: Called with each settled instant.
        health: Counts what is dropped.
        frame: Frame that all poses must be in.
        config: How long to wait and how far to interpolate.
        clocks: Offsets of the other topics' clocks, where they have clocks of their own.
        on_unpaired: Called with each sample that is given up.
    """

    def __init__(
        self,
        node: Node,
        sample: str,
        references: tuple[str, ...],
        on_together: Callable[[Together], None],
        *,
        health: Health,
        frame: str = 'tracker',
        config: PairingConfig | None = None,
        clocks: Mapping[str, StreamClock] | None = None,
        on_unpaired: Callable[[Unpaired], None] | None = None,
    ) -> None:
        self._node, self._health, self._frame = node, health, frame
        self._on_together, self._on_unpaired = on_together, on_unpaired
        self._replay = replay = is_replay(node)
        self._now_ns = live_clock(node)
        self._config = config or PairingConfig()
        self._core = StreamSynchroniser(references, self._config, replay=replay)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._arrivals: list[tuple[int, int]] = []  # monotonic instant and stamp of samples that may wait
        self._clocks = dict(clocks or {})
        for name, clock in self._clocks.items():
            self._core.set_offset(name, round(clock.offset_s * NANOSECONDS), clock.sigma_s)
        qos = measurement_subscription(replay=replay)
        self._subscriptions = [
            node.create_subscription(PoseWithCovarianceStamped, name, partial(self.add_reference, name), qos)
            for name in references
        ]
        self._subscriptions.append(node.create_subscription(PoseWithCovarianceStamped, sample, self.add_sample, qos))
        if any(clock.follows for clock in self._clocks.values()):
            self._subscriptions.append(
                node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, DIAGNOSTICS)
            )
        self._timer = None if replay else node.create_timer(_WATCH_S, self._watch, clock=self._steady)
        self._jump = on_jump_back(node, self.reset)

    def reset(self) -> None:
        """Forget all poses."""
        self._core.reset()
        self._arrivals.clear()

    def newest_ns(self, reference: str) -> int | None:
        """Return the newest stamp of another topic, None before the first."""
        return self._core.newest_ns(reference)

    def add_sample(self, message: PoseWithCovarianceStamped) -> None:
        """Take a pose of the sampled stream."""
        pose = checked_pose(message, frame=self._frame, now_ns=self._now_ns(), health=self._health)
        if pose is not None:
            if not self._replay:
                self._arrivals.append((int(self._steady.now().nanoseconds), pose.stamp_ns))
            self._hand_on(self._core.add_sample(pose))

    def add_reference(self, name: str, message: PoseWithCovarianceStamped) -> None:
        """Take a pose of another stream."""
        pose = checked_pose(message, frame=self._frame, now_ns=self._now_ns(), health=self._health)
        if pose is not None:
            self._hand_on(self._core.add_reference(name, pose))

    def _watch(self) -> None:
        """Give up what has waited too long by the monotonic clock: a stream that has stopped brings no stamps."""
        limit_ns = int(self._steady.now().nanoseconds) - 2 * round(self._config.max_wait * NANOSECONDS)
        late = [stamp_ns for arrived_ns, stamp_ns in self._arrivals if arrived_ns < limit_ns]
        if late:
            self._hand_on(self._core.give_up(max(late)))
        waiting_ns = self._core.waiting_ns
        self._arrivals = [] if waiting_ns is None else [item for item in self._arrivals if item[1] >= waiting_ns]

    def _hand_on(self, settled: list[Together | Unpaired]) -> None:
        for item in settled:
            if isinstance(item, Together):
                self._on_together(item)
                continue
            self._health.count('NO_TRANSFORM')
            if self._on_unpaired is not None:
                self._on_unpaired(item)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Take over the σ that a tracker_node states for its clock."""
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            for name, clock in self._clocks.items():
                if clock.follows == status.name and 'sigma_ms' in values:
                    sigma = (clock.sigma_s**2 + (1e-3 * float(values['sigma_ms'])) ** 2) ** 0.5
                    if sigma < 1e3:  # a clock that is not settled states no number
                        self._core.set_offset(name, round(clock.offset_s * NANOSECONDS), sigma)
