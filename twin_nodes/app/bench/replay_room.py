"""The input of a replay: what the tracker of the simulated room measured, written as a bag without a running graph."""

from pathlib import Path

from rclpy.serialization import serialize_message

from twin_nodes.core.simulate.room import DRILL, PATIENT, Room, RoomConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.conversions import pose_stamped

START_NS = 1_750_000_000 * NANOSECONDS
DELAY_NS = 3_000_000  # from measurement to reception


def write_room_bag(directory: Path, *, seconds: float, seed: int = 1) -> int:
    """Write `measured_cp` of both tools, hidden frames left out, and return the number of messages.

    Args:
        directory: The bag's folder; must not exist yet.
        seconds: Length in time of the room [s].
        seed: Of the noise.
    """
    room = Room(RoomConfig(seed=seed))
    written = 0
    with BagWriter(directory) as writer:
        handles = {
            tool: writer.add_topic(f'/{tool}/measured_cp', 'geometry_msgs/msg/PoseStamped', qos=(OfferedQos(),))
            for tool in (PATIENT, DRILL)
        }
        for frame in range(round(seconds * room.config.rate_hz)):
            stamp_ns = START_NS + round(frame * NANOSECONDS / room.config.rate_hz)
            for tool, pose in room.measure(frame)[1].items():
                if pose is not None:
                    data = serialize_message(pose_stamped(stamp_ns, 'tracker', pose))
                    writer.write(handles[tool], stamp_ns + DELAY_NS, data, publish_time_ns=stamp_ns)
                    written += 1
    return written
