"""room_node: a simulated operating room that speaks OpenIGTLink and says when it started."""

import os
import sys
import threading
import time
from dataclasses import dataclass

from rclpy.node import Node
from std_msgs.msg import Header

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.room import DRILL, PATIENT, Room, RoomConfig
from twin_nodes.io.simulated_tracker import SimulatedTracker
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.run import run_node


@dataclass(frozen=True)
class RoomNodeConfig:
    """Settings of room_node."""

    port: int = setting('TCP port of the OpenIGTLink server.', minimum=1, maximum=65535)
    host: str = setting('Address to listen on.', '127.0.0.1')
    drill_device: str = setting('What the tracker calls the drill.', 'DrillToTracker')
    patient_device: str = setting('What the tracker calls the reference on the patient.', 'ReferenceToTracker')
    listeners: int = setting('Subscribers of the poses to wait for before the room starts.', 0, minimum=0)
    patience: float = setting('Start without them after this time.', 15.0, unit='s', minimum=0.0)
    room: RoomConfig = group(RoomConfig)

    def __post_init__(self) -> None:
        """Check that the tools can be told apart."""
        if self.drill_device == self.patient_device:
            raise ConfigError(f'drill_device and patient_device are both {self.drill_device!r}')


class RoomNode(Node):
    """Connects the simulated tracker to ROS: `room/start` holds the ROS time of its frame 0."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('room', **kwargs)
        self.config = declare_config(self, RoomNodeConfig)
        self.health = Health(self, hardware_id='simulator')
        self._start = self.create_publisher(Header, 'room/start', LATCHED)
        self._give_up_at: float | None = None
        self._tracker = SimulatedTracker(
            Room(self.config.room),
            host=self.config.host,
            port=self.config.port,
            names={DRILL: self.config.drill_device, PATIENT: self.config.patient_device},
            ready=self._ready,
            on_listening=self._on_listening,
            on_start=self._on_start,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._tracker.run()
        except OSError as error:
            message = f'{self.config.host}:{self.config.port} cannot be listened on: {os.strerror(error.errno or 0)}'
            self.health.set('server', ERROR, 'SOURCE_DISCONNECTED', message)
            self.get_logger().error(message)

    def _ready(self) -> bool:
        """Whether all listeners are there; asked only once a client is connected."""
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + self.config.patience
        there = min(self.count_subscribers(f'{tool}/filtered_cp') for tool in (DRILL, PATIENT))
        return there >= self.config.listeners or time.monotonic() > self._give_up_at

    def _on_listening(self, port: int) -> None:
        self.health.set('server', OK, 'OK', f'OpenIGTLink on {self.config.host}:{port}')
        self.get_logger().info(f'OpenIGTLink on {self.config.host}:{port}, waiting for a client')

    def _on_start(self) -> None:
        header = Header(stamp=ns_to_stamp(clock_ns(self)), frame_id='room')
        self._start.publish(header)
        self.get_logger().info('the room starts: pivot, landmarks, drilling')

    def destroy_node(self) -> None:
        """Stop the server before the publishers go."""
        if hasattr(self, '_thread'):  # else the configuration was refused before there was anything to stop
            self._tracker.stop()
            self._thread.join(timeout=2.0)
        super().destroy_node()


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RoomNode))


if __name__ == '__main__':
    main()
