"""relay_node: the link emulator between two bridges, as a UDP relay on this machine; its cable can be cut."""

import sys
import threading
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Bool

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.io.udp_relay import UdpRelay
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.run import run_node

SAY_S = 1.0


@dataclass(frozen=True)
class RelayNodeConfig:
    """Settings of relay_node."""

    scenario: str = setting('Name of a scenario (twin link list), its title, or a YAML file.')
    seed: int = setting('Seed; the same seed is the same fate.', 1, minimum=0)
    host: str = setting('Address to listen on.', '127.0.0.1')
    leader_port: int = setting('UDP port that the leader sends to; 0 for any.', 47801, minimum=0, maximum=65535)
    follower_port: int = setting('UDP port towards the follower; 0 for any.', 0, minimum=0, maximum=65535)
    to_host: str = setting('Address of the follower.', '127.0.0.1')
    to_port: int = setting('UDP port of the follower.', 47800, minimum=1, maximum=65535)
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)

    def __post_init__(self) -> None:
        if self.leader_port and self.leader_port == self.to_port and self.host == self.to_host:
            raise ConfigError(f'leader_port={self.leader_port} is the port of the follower: it would send to itself')


class RelayNode(Node):
    """Runs one `UdpRelay` in a thread; `relay/cut` (latched) cuts its cable and mends it."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('relay', **kwargs)
        self.config = config = declare_config(self, RelayNodeConfig)
        self.health = Health(self)
        self._name = load_scenario(config.scenario).config.title
        self.relay = UdpRelay(
            load_scenario(config.scenario).link(config.seed),
            host=config.host,
            ports=(config.leader_port, config.follower_port),
            follower=(config.to_host, config.to_port),
        )
        self._thread = threading.Thread(target=self.relay.run, daemon=True, name='relay')
        self.create_subscription(Bool, 'relay/cut', self._on_cut, LATCHED)
        self._timer = self.create_timer(SAY_S, self._say, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._thread.start()
        self._say()

    def _on_cut(self, message: Bool) -> None:
        self.relay.cut = message.data
        self._say()

    def _say(self) -> None:
        forward, backward = self.relay.counts
        values: dict[str, object] = {f'forward_{name}': count for name, count in forward.items()}
        values |= {f'backward_{name}': count for name, count in backward.items()}
        values |= {'lost_to_cut': self.relay.lost_to_cut, 'no_peer': self.relay.no_peer}
        if self.relay.cut:
            self.health.set('link', WARN, 'LINK_CUT', f'{self._name}: cut', values)
        else:
            self.health.set('link', OK, 'OK', self._name, values)

    def destroy_node(self) -> None:
        """Stop the thread before the node goes."""
        if hasattr(self, '_thread'):
            self.relay.stop()
            self._thread.join(timeout=2.0)
        super().destroy_node()


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RelayNode))


if __name__ == '__main__':
    main()
