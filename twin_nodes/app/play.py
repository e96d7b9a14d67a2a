"""Plays a bag back onto its topics at the recorded pace; `twin play`.

Every message has a fixed place in time, start + (log time - first log time) / rate, so a late one never delays those
after it. Bytes are sent as recorded. Before a loop begins again all is let run out and /clock goes back, so that nodes
which clear their state at the jump lose nothing and mix nothing.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from twin_nodes.app.launch.environment import complete_environment
from twin_nodes.app.record import ended_by_signals
from twin_nodes.core.errors import ConfigError, TwinError
from twin_nodes.io.bags.fields import message_class
from twin_nodes.io.bags.metadata import Topic
from twin_nodes.io.bags.part import BagMessage
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.qos import REPLAY_DEPTH
from twin_nodes.ros.topic_names import checked_topic

CLOCK_PERIOD_NS = 10_000_000
CLOCK_TOPIC = '/clock'
LATCHED_DEPTH = 100
REWIND_S = 4.0  # what was delivered may still wait in a loaded node; the jump of /clock overtakes it there
REWIND_TICKS = 50
POLL_S = 0.01
ACK_S = 2.0


@dataclass(frozen=True)
class PlayConfig:
    """How a bag is played.

    Args:
        rate: Speed relative to the recording, above 0.
        loop: Whether to begin again at the end.
        start_offset_s: What to leave out at the beginning [s]; latched messages from there are sent at once.
        duration_s: How much to play [s of the recording]; 0 for all.
        topics: Full names to play; None for all.
        exclude: Full names to leave out.
        remap: New names by recorded name.
        clock: Whether to publish /clock, at 100 Hz and with each message; a recorded /clock is then left out.
        wait_for_subscribers_s: Longest wait, before the first message, until every topic has a subscriber [s].
        settle_s: How long after that no other subscriber must have come [s]: the other side of a match knows of it
            later than this one, and nodes find each other as late.
    """

    rate: float = 1.0
    loop: bool = False
    start_offset_s: float = 0.0
    duration_s: float = 0.0
    topics: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    remap: Mapping[str, str] = field(default_factory=dict)
    clock: bool = True
    wait_for_subscribers_s: float = 0.0
    settle_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < float('inf'):
            raise ConfigError(f'rate={self.rate} must be above 0: 1.0 plays at the recorded speed')
        if not self.start_offset_s >= 0.0 or not self.duration_s >= 0.0:
            raise ConfigError(f'start_offset={self.start_offset_s} s and duration={self.duration_s} s must not be < 0')


class Player:
    """Publishes the messages of a bag from a node.

    Args:
        reader: The bag.
        node: Carries the publishers.
        config: How to play.

    Raises:
        ConfigError: A topic that was asked for is not in the bag, or nothing is left to play.
    """

    def __init__(self, reader: BagReader, node: Node, config: PlayConfig) -> None:
        self._reader, self._node, self._config = reader, node, config
        self._chosen = self._choose()
        self._publishers = {name: self._publisher(reader.topics[name]) for name in self._chosen}
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, 10) if config.clock else None
        self._latched = {name for name in self._chosen if any(qos.latched for qos in reader.topics[name].qos)}
        self.published = 0

    def wait_for_subscribers(self, stop: threading.Event) -> list[str]:
        """Wait until every topic has a subscriber and for a moment no other one came, or until the wait is over.

        What has no second message, such as a plane or a switch, would be lost to who is matched after it.

        Returns:
            The topics that have none.
        """
        begun = since = time.monotonic()
        known: list[int] = []
        while True:
            counts = [publisher.get_subscription_count() for publisher in self._publishers.values()]
            now = time.monotonic()
            since, known = (since, known) if counts == known else (now, counts)
            settled = all(counts) and now - since >= self._config.settle_s
            if settled or now - begun >= self._config.wait_for_subscribers_s or stop.wait(POLL_S):
                return [name for name, count in zip(self._publishers, counts, strict=True) if not count]

    def play(self, stop: threading.Event) -> None:
        """Send every message once, each at its time; end early when the event is set."""
        first_ns = self._reader.start_ns + round(self._config.start_offset_s * 1e9)
        last_ns = first_ns + round(self._config.duration_s * 1e9) if self._config.duration_s else 2**63 - 1
        self._send_clock(first_ns)
        for message in self._before(first_ns):
            self._publishers[message.topic].publish(message.data)
            self.published += 1
        begun_ns = time.monotonic_ns()
        next_tick_ns = first_ns + CLOCK_PERIOD_NS
        for message in self._reader.messages(self._chosen):
            if message.log_time_ns < first_ns:
                continue
            if message.log_time_ns > last_ns or stop.is_set():
                break
            while next_tick_ns <= message.log_time_ns and self._clock is not None:
                if self._wait_until(next_tick_ns, first_ns, begun_ns, stop):
                    return
                self._send_clock(next_tick_ns)
                next_tick_ns += CLOCK_PERIOD_NS
            if self._wait_until(message.log_time_ns, first_ns, begun_ns, stop):
                return
            self._send(message)

    def rewind(self, stop: threading.Event) -> None:
        """Let what was sent take effect, then tell by /clock, without messages, that time begins again."""
        self.wait_until_delivered()
        first_ns = self._reader.start_ns + round(self._config.start_offset_s * 1e9)
        stop.wait(REWIND_S)
        for _ in range(REWIND_TICKS if self._clock is not None else 0):
            self._send_clock(first_ns)
            if stop.wait(CLOCK_PERIOD_NS * 1e-9):
                return

    def wait_until_delivered(self) -> None:
        """Wait until reliable subscribers have acknowledged everything, for a limited time."""
        end = time.monotonic() + ACK_S
        for publisher in self._publishers.values():
            left_s = max(0.0, end - time.monotonic())
            publisher.wait_for_all_acked(Duration(nanoseconds=round(left_s * 1e9)))

    def _choose(self) -> list[str]:
        config, known = self._config, self._reader.topics
        unknown = sorted({*(config.topics or ()), *config.exclude, *config.remap} - known.keys())
        if unknown:
            raise ConfigError(
                f'{", ".join(unknown)}: not in the bag, which holds {", ".join(sorted(known)) or "nothing"}'
            )
        for name in config.remap.values():
            checked_topic(name)
        chosen = [name for name in known if (config.topics is None or name in config.topics)]
        chosen = [name for name in chosen if name not in config.exclude and not (config.clock and name == CLOCK_TOPIC)]
        return [name for name in chosen if self._can_publish(known[name])]

    def _can_publish(self, topic: Topic) -> bool:
        if message_class(topic.type_name) is not None:
            return True
        self._node.get_logger().warning(f'{topic.name} is not played: its type {topic.type_name} is not installed here')
        return False

    def _publisher(self, topic: Topic) -> Publisher:
        name = self._config.remap.get(topic.name, topic.name)
        return self._node.create_publisher(message_class(topic.type_name), name, publisher_qos(topic.qos))

    def _before(self, first_ns: int) -> Iterator[BagMessage]:
        """Yield what was latched before the part that is played."""
        if first_ns <= self._reader.start_ns or not self._latched:
            return
        for message in self._reader.messages(self._latched):
            if message.log_time_ns >= first_ns:
                return
            yield message

    def _send(self, message: BagMessage) -> None:
        self._send_clock(message.log_time_ns)
        self._publishers[message.topic].publish(message.data)
        self.published += 1

    def _send_clock(self, now_ns: int) -> None:
        if self._clock is not None:
            self._clock.publish(Clock(clock=ns_to_stamp(now_ns)))

    def _wait_until(self, log_ns: int, first_ns: int, begun_ns: int, stop: threading.Event) -> bool:
        """Wait for the moment of a log time; return whether to stop."""
        due_ns = begun_ns + int((log_ns - first_ns) / self._config.rate)
        left_ns = due_ns - time.monotonic_ns()
        return stop.wait(left_ns * 1e-9) if left_ns > 0 else stop.is_set()


def publisher_qos(offered: Sequence[OfferedQos]) -> QoSProfile:
    """Return the publisher that stands for all those that were recorded on a topic.

    Each policy is the strongest that any of them offered: so every subscriber that matched one of them matches it.
    """
    reliable = not offered or any(qos.reliability != 'best_effort' for qos in offered)
    latched = any(qos.latched for qos in offered)
    # a subscriber may match seconds after this side has: what is sent meanwhile must still be there for it
    profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=LATCHED_DEPTH if latched else REPLAY_DEPTH)
    profile.reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    profile.durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    if deadlines := [qos.deadline_ns for qos in offered if qos.deadline_ns]:
        profile.deadline = Duration(nanoseconds=min(deadlines))
    lifespans = [qos.lifespan_ns for qos in offered]
    if lifespans and all(lifespans):
        profile.lifespan = Duration(nanoseconds=max(lifespans))
    if leases := [qos.lease_ns for qos in offered if qos.lease_ns]:
        profile.liveliness_lease_duration = Duration(nanoseconds=min(leases))
    manual = any(qos.liveliness == 'manual_by_topic' for qos in offered)
    profile.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC if manual else LivelinessPolicy.AUTOMATIC
    return profile


def play(
    path: Path | str, *, config: PlayConfig | None = None, quiet: bool = False, stop: threading.Event | None = None
) -> int:
    """Play a bag until its end, Ctrl-C, SIGTERM or the event.

    Args:
        path: The bag's folder, or its MCAP file, whole or cut.
        config: How to play; at the recorded speed, once, all topics, when None.
        quiet: Whether to print nothing but errors.
        stop: Ends the playing when set, for callers in other threads.

    Returns:
        0 when something was played, 1 for a wrong setting or a bag with nothing to play.
    """
    stop = stop or threading.Event()
    config = config or PlayConfig()
    try:
        with BagReader(path) as reader, ended_by_signals(stop):
            return _play_bag(reader, config, quiet=quiet, stop=stop)
    except (TwinError, OSError) as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return 1


def _play_bag(reader: BagReader, config: PlayConfig, *, quiet: bool, stop: threading.Event) -> int:
    complete_environment()
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node('twin_player', context=context, start_parameter_services=False, enable_rosout=False)
    try:
        player = Player(reader, node, config)
        _announce(reader, config, quiet=quiet)
        missing = player.wait_for_subscribers(stop) if config.wait_for_subscribers_s else []
        if missing and not quiet:
            print(f'nobody listens to {", ".join(missing)}', file=sys.stderr, flush=True)
        again = True
        while again and not stop.wait(0.001):
            player.play(stop)
            again = config.loop and player.published > 0
            if again:
                player.rewind(stop)
        player.wait_until_delivered()
        if not quiet:
            print(f'played {player.published} messages', flush=True)
        return 0 if player.published or stop.is_set() else 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _announce(reader: BagReader, config: PlayConfig, *, quiet: bool) -> None:
    if reader.loss:
        print(f'{reader.path} is damaged or cut; what is whole is played: {reader.loss}', file=sys.stderr, flush=True)
    if not quiet:
        span_s = (reader.end_ns - reader.start_ns) * 1e-9
        print(f'playing {reader.path}: {reader.message_count} messages, {span_s:.1f} s at ×{config.rate:g}', flush=True)
