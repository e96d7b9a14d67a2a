"""wan_bridge_node: one per site; DDS inside the site, sealed UDP datagrams between the sites."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.records import channel_id
from twin_nodes.core.telesurgery.bridge.site import Due
from twin_nodes.io.link_key import read_key
from twin_nodes.io.wan_socket import WanSocket
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import Health
from twin_nodes.ros.link_state import MODES, link_array
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, MEASUREMENT, command
from twin_nodes.ros.run import run_node
from twin_nodes.ros.wan_messages import message_of, message_type, numbers_of, stamp_of


@dataclass(frozen=True)
class WanBridgeConfig:
    """Settings of wan_bridge_node."""

    key_file: str = setting('File with the shared key, mode 0600, from `twin link key FILE`; the same at both sites.')
    send: tuple[str, ...] = setting('Topics that go to the other site: …_cp, …_jp or …_js.')
    receive: tuple[str, ...] = setting('Topics that come from it; nothing else is published.')
    bind_host: str = setting('Own address to listen on.', '0.0.0.0')  # noqa: S104 - what comes in must be sealed
    bind_port: int = setting('Own UDP port; 0 for any.', 0, minimum=0, maximum=65535)
    peer_host: str = setting("Address of the other site; '' to answer where authentic datagrams come from.", '')
    peer_port: int = setting('UDP port of the other site.', 47800, minimum=1, maximum=65535)
    state_period: float = setting('Period of link/state; changes are said at once.', 0.1, unit='s', minimum=0.01,
                                  maximum=10.0)  # fmt: skip
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)
    bridge: BridgeConfig = group(BridgeConfig)

    def __post_init__(self) -> None:
        for topic in (*self.send, *self.receive):
            message_type(topic)
        topics = [*self.send, *self.receive]
        if len({channel_id(topic) for topic in topics}) < len(topics):
            raise ConfigError(f'send and receive name a topic twice: {", ".join(topics)}')
        if self.bridge.role == 'leader' and not self.peer_host:
            raise ConfigError('the leader opens the session and must know peer_host')


class WanBridgeNode(Node):
    """Connects the topics of a site to one `Site` behind a UDP socket."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('wan_bridge', **kwargs)
        self.config = config = declare_config(self, WanBridgeConfig)
        self.health = Health(self)
        key = read_key(Path(config.key_file).expanduser())
        self._state = self.create_publisher(DiagnosticArray, 'link/state', MEASUREMENT)
        qos = command(config.bridge.hold_after / 2.0)
        self._outputs = {topic: self.create_publisher(message_type(topic), topic, qos) for topic in config.receive}
        self._wan = WanSocket(
            config.bridge,
            key,
            outgoing=config.send,
            incoming=config.receive,
            bind=(config.bind_host, config.bind_port),
            peer=(config.peer_host, config.peer_port) if config.peer_host else None,
            on_due=self._on_due,
            on_change=self._say_state,
        )
        for topic in config.send:
            self.create_subscription(message_type(topic), topic, self._callback(topic), COMMAND_SUBSCRIPTION)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(config.state_period, self._say_state, clock=steady)
        self._wan.start()
        self.get_logger().info(f'{config.bridge.role} on UDP {config.bind_host}:{self.port}')

    @property
    def port(self) -> int:
        """UDP port that is listened on."""
        return self._wan.port

    def _callback(self, topic: str) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            try:
                stamp_ns = stamp_of(message, topic)
                values, kind, counts, label = numbers_of(message, topic)
                age_ns = clock_ns(self) - stamp_ns
                self._wan.offer(topic, values, kind=kind, counts=counts, label=label, age_ns=age_ns)
            except InputError as error:
                self.health.warn(error.code or 'NOT_FINITE', str(error))

        return on_message

    def _on_due(self, due: Due) -> None:
        """Publish a command, from the thread of the socket; its stamp is its time of measurement in our ROS time."""
        if not self.context.ok():
            return
        ros_minus_steady = clock_ns(self) - time.monotonic_ns()
        self._outputs[due.topic].publish(message_of(due, due.stamp_ns + ros_minus_steady))

    def _say_state(self) -> None:
        if not self.context.ok():  # the thread may still speak while the node goes down
            return
        state = self._wan.state()
        array = link_array(state, self.get_name())
        array.header.stamp = ns_to_stamp(clock_ns(self))
        self._state.publish(array)
        level, code, message = MODES[state.mode]
        self.health.set('link', level, code, message)
        for refused, total in state.refused.items():
            self.health.set_count(refused, total)

    def destroy_node(self) -> None:
        """Stop the socket before the publishers go."""
        if hasattr(self, '_wan'):
            self._wan.stop()
        super().destroy_node()


def main() -> None:
    """Run the node."""
    sys.exit(run_node(WanBridgeNode))


if __name__ == '__main__':
    main()
