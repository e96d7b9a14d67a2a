"""wan_bulk_node: meshes, clouds, states and images between two sites, in a process that commands do not pass."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.bags.fields import message_class
from twin_nodes.io.link_key import read_key
from twin_nodes.io.wan_bulk import BulkLink
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION
from twin_nodes.ros.run import run_node

SAY_S = 1.0


@dataclass(frozen=True)
class WanBulkConfig:
    """Settings of wan_bulk_node."""

    key_file: str = setting('File with the shared key, mode 0600, from `twin link key FILE`; the same at both sites.')
    role: str = setting('The follower listens, the leader connects.', choices=('leader', 'follower'))
    endpoint: str = setting('Zenoh endpoint, such as tcp/0.0.0.0:47810 at the follower; tls/… for TLS too.')
    send: tuple[str, ...] = setting('What goes to the other site, each `topic package/msg/Type`.', ())
    receive: tuple[str, ...] = setting('What comes from it, each `topic package/msg/Type`.', ())
    latched: tuple[str, ...] = setting('Which of these topics are latched.', ())
    max_bps: float = setting('Most that is sent.', 5e6, unit='bit/s', minimum=1e4, maximum=1e11)
    min_bps: float = setting('Least that is sent while the link lives.', 5e4, unit='bit/s', minimum=1e3, maximum=1e11)
    queue: float = setting('Queue in front of the link (link/state) above which the rate is halved.', 0.03, unit='s',
                           minimum=0.001, maximum=10.0)  # fmt: skip
    tls_ca: str = setting("File with the certificate that signs the other site's, for tls/ endpoints.", '')
    tls_certificate: str = setting('File with our own certificate.', '')
    tls_private_key: str = setting('File with its key.', '')

    def __post_init__(self) -> None:
        for entry in (*self.send, *self.receive):
            if len(entry.split()) != 2:
                raise ConfigError(f'{entry!r}: expected `topic package/msg/Type`')
        unknown = set(self.latched) - {entry.split()[0] for entry in (*self.send, *self.receive)}
        if unknown:
            raise ConfigError(f'latched names {", ".join(sorted(unknown))}, which are neither sent nor received')


class WanBulkNode(Node):
    """Connects topics, as bytes, to one `BulkLink`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('wan_bulk', **kwargs)
        self.config = config = declare_config(self, WanBulkConfig)
        self.health = Health(self)
        key = read_key(Path(config.key_file).expanduser())
        sends, receives = ([tuple(entry.split()) for entry in entries] for entries in (config.send, config.receive))
        self._outputs = {
            topic: self.create_publisher(_kind(kind), topic, self._qos(topic, MEASUREMENT)) for topic, kind in receives
        }
        names = ('root_ca_certificate', 'connect_certificate', 'connect_private_key')
        if config.role == 'follower':
            names = ('root_ca_certificate', 'listen_certificate', 'listen_private_key')
        files = (config.tls_ca, config.tls_certificate, config.tls_private_key)
        self.link = BulkLink(
            key,
            role=config.role,
            endpoint=config.endpoint,
            outgoing=tuple(topic for topic, _ in sends),
            incoming=tuple(topic for topic, _ in receives),
            rate_bps=config.max_bps,
            on_message=self._on_bulk,
            tls={name: file for name, file in zip(names, files, strict=True) if file},
        )
        for topic, kind in sends:
            qos = self._qos(topic, MEASUREMENT_SUBSCRIPTION)
            self.create_subscription(_kind(kind), topic, self._callback(topic), qos, raw=True)
        self.create_subscription(DiagnosticArray, 'link/state', self._on_state, MEASUREMENT_SUBSCRIPTION)
        self._timer = self.create_timer(SAY_S, self._say, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _qos(self, topic: str, other: QoSProfile) -> QoSProfile:
        return LATCHED if topic in self.config.latched else other

    def _callback(self, topic: str) -> Callable[[bytes], None]:
        return partial(self.link.offer, topic)

    def _on_bulk(self, topic: str, serialised: bytes) -> None:
        if self.context.ok():
            self._outputs[topic].publish(serialised)

    def _on_state(self, message: DiagnosticArray) -> None:
        """Halve the rate while a queue stands in front of the link or it is out, else raise it by a twentieth."""
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            if 'mode' not in values:
                continue
            queue_ms = float(values.get('queue_sent_ms') or 0.0)
            crowded = queue_ms > 1e3 * self.config.queue or values['mode'] == 'outage'
            rate = self.link.rate_bps * (0.5 if crowded else 1.05)
            self.link.rate_bps = min(max(rate, self.config.min_bps), self.config.max_bps)

    def _say(self) -> None:
        counts = self.link.counts
        text = ', '.join(f'{name} {count}' for name, count in counts.items())
        self.health.set('bulk', OK, 'OK', text, {**counts, 'rate_bps': self.link.rate_bps})

    def destroy_node(self) -> None:
        """Close the connection before the publishers go."""
        if hasattr(self, 'link'):
            self.link.stop()
        super().destroy_node()


def _kind(name: str) -> type:
    kind = message_class(name)
    if kind is None:
        raise ConfigError(f'type {name!r} is not installed, or not written as package/msg/Type')
    return kind


def main() -> None:
    """Run the node."""
    sys.exit(run_node(WanBulkNode))


if __name__ == '__main__':
    main()
