"""Gathers the facts for `twin why` from the live graph."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from twin_nodes.app.frames import Tree, subscribe
from twin_nodes.app.listening import Listener, message_class
from twin_nodes.app.why import Diagnostic, End, Facts, Qos
from twin_nodes.core.errors import InputError
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.topic_names import checked_topic

DISCOVERY_S = 3.0
MAX_MESSAGES = 100_000


class _Heard:
    """What the messages of the topic told."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.stamps: list[int] = []
        self.arrivals: list[int] = []
        self.frame = ''
        self.not_finite = ''

    def take(self, message: Any) -> None:
        if len(self.arrivals) >= MAX_MESSAGES:
            return
        self.arrivals.append(self._clock.now().nanoseconds)
        header = getattr(message, 'header', None)
        if header is None and getattr(message, 'transforms', None):
            header = message.transforms[0].header
        if header is not None:
            self.stamps.append(stamp_to_ns(header.stamp))
            self.frame = header.frame_id
        self.not_finite = self.not_finite or first_not_finite(message)


def gather(topic: str, *, seconds: float, world: str) -> Facts:
    """Listen to the graph, the topic, tf and the diagnostics.

    Args:
        topic: Topic name; a relative one is taken from the root.
        seconds: How long to listen to its messages [s].
        world: The frame that all must reach.

    Raises:
        InputError: No topic can have that name.
    """
    checked_topic(topic)
    topic = topic if topic.startswith('/') else f'/{topic}'
    tree = Tree()
    statuses: dict[str, Diagnostic] = {}
    with Listener('twin_why') as listener:
        node = listener.node
        heard = _Heard(node.get_clock())
        subscribe(node, tree)
        node.create_subscription(DiagnosticArray, '/diagnostics', lambda m: _keep(m, statuses), 50)
        listener.spin(DISCOVERY_S, until=lambda: bool(node.get_publishers_info_by_topic(topic)))
        publishers = [_end(info) for info in node.get_publishers_info_by_topic(topic)]
        topics = _published(node, topic)
        unreadable = _listen(node, topic, publishers, heard.take) if publishers else ''
        listener.spin(seconds)
        listener.spin(1.0, until=lambda: all(_named(info) for info in node.get_publishers_info_by_topic(topic)))
        publishers = [_end(info) for info in node.get_publishers_info_by_topic(topic)] or publishers
        ours = node.get_fully_qualified_name()
        subscribers = [_end(info) for info in node.get_subscriptions_info_by_topic(topic)]
        topics |= _published(node, topic)
    names = {end.node.rsplit('/', 1)[-1] for end in publishers}
    return Facts(
        topic=topic,
        seconds=seconds,
        topics=tuple(sorted(topics)),
        publishers=tuple(publishers),
        subscribers=tuple(end for end in subscribers if end.node != ours),
        stamps_ns=tuple(heard.stamps) if len(heard.stamps) == len(heard.arrivals) else (),
        arrivals_ns=tuple(heard.arrivals),
        frame=heard.frame,
        not_finite=heard.not_finite,
        frames=frozenset(tree.frames),
        frame_root=tree.root(heard.frame),
        world=world,
        world_root=tree.root(world),
        diagnostics=tuple(item for item in statuses.values() if not names or item.name.split(':')[0] in names),
        unreadable=unreadable,
    )


def _published(node: Any, topic: str) -> set[str]:
    """List the other topics that have a publisher."""
    return {name for name, _ in node.get_topic_names_and_types() if name != topic and node.count_publishers(name)}


def _listen(node: Any, topic: str, publishers: list[End], take: Any) -> str:
    """Subscribe with a QoS that every publisher can serve; return why it cannot be done, or ''."""
    try:
        kind = message_class(publishers[0].type_name)
    except InputError as error:
        return str(error)
    latched = all(end.qos.durability == 'TRANSIENT_LOCAL' for end in publishers)
    reliable = all(end.qos.reliability == 'RELIABLE' for end in publishers)
    profile = QoSProfile(
        depth=1000,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
    node.create_subscription(kind, topic, take, profile)
    return ''


def _named(info: Any) -> bool:
    """Whether discovery has told the node's name yet; it comes after the end point itself."""
    return not info.node_name.startswith('_NODE_NAME_UNKNOWN')


def _end(info: Any) -> End:
    namespace = info.node_namespace.rstrip('/')
    profile = info.qos_profile
    qos = Qos(
        reliability=profile.reliability.name,
        durability=profile.durability.name,
        deadline_s=_seconds(profile.deadline),
        liveliness=profile.liveliness.name,
        lease_s=_seconds(profile.liveliness_lease_duration),
    )
    return End(f'{namespace}/{info.node_name}', info.topic_type, qos)


def _seconds(duration: Duration) -> float:
    """Convert a QoS duration; 0 and the largest value mean that none was set."""
    value = duration.nanoseconds * 1e-9
    return math.inf if value <= 0.0 or value > 1e9 else value


def _keep(message: DiagnosticArray, statuses: dict[str, Diagnostic]) -> None:
    for status in message.status:
        code = next((pair.value for pair in status.values if pair.key == 'code'), '')
        level = int.from_bytes(status.level, 'little') if isinstance(status.level, bytes) else int(status.level)
        statuses[status.name] = Diagnostic(status.name, level, code, status.message)


def first_not_finite(value: Any, path: str = '') -> str:
    """Return the path of the first NaN or Inf in a message, such as 'pose.position.x', or ''."""
    if isinstance(value, float):
        return path if not math.isfinite(value) else ''
    if hasattr(value, 'get_fields_and_field_types'):
        parts: Iterable[tuple[str, Any]] = (
            (f'{path}.{name}' if path else name, getattr(value, name)) for name in value.get_fields_and_field_types()
        )
    elif isinstance(value, (bytes, str)):
        return ''
    elif getattr(value, 'typecode', '') in ('f', 'd') or isinstance(value, np.ndarray):
        numbers = np.asarray(value)
        bad = numbers.dtype.kind == 'f' and not np.isfinite(numbers).all()
        return f'{path}[{int(np.flatnonzero(~np.isfinite(numbers))[0])}]' if bad else ''
    elif isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, str, bytes)):
        parts = ((f'{path}[{index}]', item) for index, item in enumerate(value))
    else:
        return ''
    return next((found for name, item in parts if (found := first_not_finite(item, name))), '')
