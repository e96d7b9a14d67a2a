"""The node that writes what is published into a bag: topics as they appear, each in the quality that is offered."""

import functools
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.fields import message_class
from twin_nodes.io.bags.qos import INFINITE_NS, OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.progress import is_replay

DEPTH = 10_000  # of a stall of the recorder nothing may be lost
DISCOVERY_PERIOD_S = 0.1
ROUNDS_PER_CHECK = 10  # how often topics that are recorded already are looked at again


class RecorderNode(Node):
    """Subscribes to topics as they appear and hands their bytes to a bag.

    Args:
        writer: The bag.
        topics: Full names to record; None for all that are not hidden.
        exclude: Regular expression; topics that contain a match are left out.
        kwargs: Passed to Node.

    Raises:
        ConfigError: The regular expression is not one.
    """

    def __init__(
        self, writer: BagWriter, *, topics: Sequence[str] | None = None, exclude: str = '', **kwargs: Any
    ) -> None:
        super().__init__('twin_recorder', start_parameter_services=False, **kwargs)
        self._writer = writer
        self._wanted = None if topics is None else {self.resolve_topic_name(topic) for topic in topics}
        self._exclude = compiled_pattern(exclude)
        self._sim_time = is_replay(self)
        self._recorded: dict[str, tuple[Subscription, QoSProfile]] = {}
        self._handles: dict[str, int] = {}
        self._newest_ns: dict[int, int] = {}
        self._refused: set[str] = set()
        self._rounds = 0
        self.create_timer(DISCOVERY_PERIOD_S, self.discover, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.discover()

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the topics being recorded."""
        return tuple(self._recorded)

    def discover(self) -> None:
        """Subscribe to what is new, and again where a new publisher offers less than the subscription asks for."""
        known_too = self._rounds % ROUNDS_PER_CHECK == 0
        self._rounds += 1
        for name, types in self.get_topic_names_and_types():
            skipped = name in self._refused or (name in self._recorded and not known_too)
            if skipped or not self._is_wanted(name):
                continue
            if (infos := self.get_publishers_info_by_topic(name)) and self._error_free(name, types):
                self._subscribe(name, types[0], infos)

    def _is_wanted(self, name: str) -> bool:
        if self._exclude is not None and self._exclude.search(name):
            return False
        if self._wanted is not None:
            return name in self._wanted
        return not any(part.startswith('_') for part in name.split('/'))

    def _error_free(self, name: str, types: list[str]) -> bool:
        if len(types) > 1:
            return self._refuse(name, f'it has several types at once: {", ".join(types)}')
        if message_class(types[0]) is None:
            return self._refuse(name, f'its type {types[0]} is not installed here: install its interface package')
        return True

    def _refuse(self, name: str, reason: str) -> bool:
        self._refused.add(name)
        self.get_logger().warning(f'{name} is not recorded: {reason}')
        return False

    def _subscribe(self, name: str, type_name: str, infos: list[Any]) -> None:
        before = [self._recorded[name][1]] if name in self._recorded else []
        asked = asked_qos([info.qos_profile for info in infos] + before)  # never stronger: latched would come twice
        if before == [asked]:
            return
        if name not in self._handles and not self._announce(name, type_name, infos):
            return
        if name in self._recorded:
            self.destroy_subscription(self._recorded[name][0])
        receive = functools.partial(self._on_message, self._handles[name])
        subscription = self.create_subscription(message_class(type_name), name, receive, asked, raw=True)
        self._recorded[name] = subscription, asked

    def _announce(self, name: str, type_name: str, infos: list[Any]) -> bool:
        hashes = {str(info.topic_type_hash) for info in infos} - {'INVALID'}
        offered = tuple(offered_qos(info.qos_profile) for info in infos)
        try:
            self._handles[name] = self._writer.add_topic(
                name, type_name, qos=offered, hash_text=hashes.pop() if len(hashes) == 1 else ''
            )
        except InputError as error:
            return self._refuse(name, str(error))
        return True

    def _on_message(self, handle: int, data: bytes, info: dict[str, int]) -> None:
        """Store a message with the time at which it came, but never before the last one of its topic.

        What DDS had to repeat comes later than what follows it, though it is handed over in the right order.
        """
        now_ns = self.get_clock().now().nanoseconds if self._sim_time else info['received_timestamp']
        sent_ns = now_ns if self._sim_time else info['source_timestamp']
        if not self._sim_time:
            now_ns = self._newest_ns[handle] = max(now_ns, self._newest_ns.get(handle, 0))
        self._writer.write(handle, now_ns, data, publish_time_ns=sent_ns)


def asked_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Return the strongest subscription that matches every publisher."""
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def offered_qos(profile: QoSProfile) -> OfferedQos:
    """Translate what discovery tells of a publisher; history and depth are not told over DDS."""
    return OfferedQos(
        history=profile.history.name.lower(),
        depth=profile.depth,
        reliability=profile.reliability.name.lower(),
        durability=profile.durability.name.lower(),
        deadline_ns=_finite_ns(profile.deadline.nanoseconds),
        lifespan_ns=_finite_ns(profile.lifespan.nanoseconds),
        liveliness=profile.liveliness.name.lower(),
        lease_ns=_finite_ns(profile.liveliness_lease_duration.nanoseconds),
    )


def compiled_pattern(text: str) -> re.Pattern[str] | None:
    """Return the topics that are left out as a pattern, None for none.

    Raises:
        ConfigError: no regular expression.
    """
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ConfigError(f"exclude='{text}' is not a regular expression: {error}") from error


def _finite_ns(nanoseconds: int) -> int | None:
    return nanoseconds if 0 < nanoseconds < INFINITE_NS else None
