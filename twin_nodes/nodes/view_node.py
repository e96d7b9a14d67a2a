"""The live view as a node: takes tf, poses, distances and diagnostics, and draws them on a page of this machine."""

import sys
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from tf2_ros import TransformListener

from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.feed import Input, ViewFeed
from twin_nodes.app.view.page import ViserView
from twin_nodes.app.view.records import Moment
from twin_nodes.app.view.server import is_loopback
from twin_nodes.core.errors import InputError
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.run import run_node


class ViewNode(Node):
    """Serves the live view; publishes nothing but its own health."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('view', **kwargs)
        self._config = config = declare_config(self, ViewConfig)
        self.feed = ViewFeed(config)
        self.view = ViserView(config)
        self.health = Health(self, hardware_id=self.view.url)
        self.health.set('page', OK, 'OK', f'served on {self.view.url}')
        self.get_logger().info(f'live view on {self.view.url}')
        if not is_loopback(config.host):
            self.get_logger().warning(f'host {config.host}: anyone on that network can see the view')
        self._listener = TransformListener(self.feed.buffer, self)
        for one in self.feed.inputs:
            self._listen(one)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # the page lives on when simulated time stands
        self.create_timer(1.0 / config.update_rate_hz, self._on_timer, clock=steady)

    def destroy_node(self) -> None:
        """Stop serving, then end the node."""
        if hasattr(self, 'view'):
            self.view.stop()
        super().destroy_node()

    def _listen(self, one: Input) -> None:
        def on_message(message: Any) -> None:
            try:
                one.take(message, self._moment())
            except InputError as error:
                self.feed.state.count_dropped()
                self.health.warn(error.code or 'CALLBACK_FAILED', f'{one.topic}: {error}')

        self.create_subscription(one.kind, one.topic, on_message, one.qos, raw=one.raw)

    def _moment(self) -> Moment:
        return Moment(self.get_clock().now().nanoseconds, time.monotonic_ns())

    def _on_timer(self) -> None:
        self.view.render(self.feed.picture(self._moment()))


def main() -> int:
    """Run the node."""
    return run_node(ViewNode)


if __name__ == '__main__':
    sys.exit(main())
