"""link_node: the link emulator between any two topics, whatever their type."""

import heapq
import sys
import threading
import time
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.bags.fields import message_class
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.run import run_node

STATE_S = 1.0


@dataclass(frozen=True)
class LinkNodeConfig:
    """Settings of link_node."""

    input: str = setting('Topic to take from.')
    output: str = setting('Topic to give to.')
    type: str = setting('Type of both, such as geometry_msgs/msg/PoseStamped.')
    scenario: str = setting('Name of a scenario (twin link list) or YAML file.', 'N7')
    direction: str = setting('Which direction of the scenario.', 'forward', choices=('forward', 'backward'))
    seed: int = setting('Seed; the same seed is the same fate.', 1, minimum=0)
    reliable: bool = setting('RELIABLE on both sides; else BEST_EFFORT.', True)
    depth: int = setting('Depth of both queues.', 1000, minimum=1, maximum=100000)

    def __post_init__(self) -> None:
        if self.input == self.output:
            raise ConfigError(f'input and output are both {self.input!r}')


class LinkNode(Node):
    """Connects two topics by one `LinkDirection`; messages pass as bytes."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('link', **kwargs)
        self.config = config = declare_config(self, LinkNodeConfig)
        self.health = Health(self)
        link = load_scenario(config.scenario).link(config.seed)
        self.direction = link.forward if config.direction == 'forward' else link.backward
        self.log: list[tuple[int, int]] = []  # time since the start and size of what came, for comparing fates
        reliability = ReliabilityPolicy.RELIABLE if config.reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(reliability=reliability, history=HistoryPolicy.KEEP_LAST, depth=config.depth)
        kind = message_class(config.type)
        if kind is None:
            raise ConfigError(f'type={config.type!r} is not installed, or not written as package/msg/Type')
        self._output = self.create_publisher(kind, config.output, qos)
        self._queue: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._start_ns: int | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self.create_subscription(kind, config.input, self._on_message, qos, raw=True)
        self._timer = self.create_timer(STATE_S, self._say)
        self._thread = threading.Thread(target=self._release, daemon=True)
        self._thread.start()

    def _on_message(self, serialised: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        sent_ns = now_ns - self._start_ns
        self.log.append((sent_ns, len(serialised)))
        del self.log[:-100_000]
        with self._changed:
            for arrival in self.direction.send(sent_ns, len(serialised)):
                self._number += 1
                heapq.heappush(self._queue, (self._start_ns + arrival, self._number, serialised))
            self._changed.notify()

    def _release(self) -> None:
        while not self._stopped:
            with self._changed:
                wait_ns = self._queue[0][0] - time.monotonic_ns() if self._queue else 100_000_000
                if wait_ns > 0:
                    self._changed.wait(wait_ns * 1e-9)
                    continue
                _, _, serialised = heapq.heappop(self._queue)
            if self.context.ok():
                self._output.publish(serialised)

    def _say(self) -> None:
        counts = self.direction.counts
        text = ', '.join(f'{name} {count}' for name, count in counts.items() if count)
        self.health.set('link', OK, 'OK', f'{self.config.scenario}: {text or "nothing came yet"}', counts)

    def destroy_node(self) -> None:
        """Stop the thread before the publisher goes."""
        if hasattr(self, '_thread'):
            self._stopped = True
            with self._changed:
                self._changed.notify()
            self._thread.join(timeout=2.0)
        super().destroy_node()


def main() -> None:
    """Run the node."""
    sys.exit(run_node(LinkNode))


if __name__ == '__main__':
    main()
