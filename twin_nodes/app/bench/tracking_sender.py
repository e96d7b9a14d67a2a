"""The tracker of bench `tracking`: sends TRANSFORM messages of four tools and notes when the last byte was written.

A process of its own. It reads one JSON object per line on stdin and answers each with one on stdout.
"""

import contextlib
import json
import math
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.geometry.se3 import exp, make_transform
from twin_nodes.io.openigtlink.codec import encode
from twin_nodes.io.openigtlink.fields import wire_from_ns
from twin_nodes.io.openigtlink.messages import Transform

TOOLS = ('patient', 'drill', 'pointer', 'endoscope')
STAMP_STEP_NS = 10_000  # pyigtl keeps stamps as floats: these survive it
POSITION_NOISE_M = 0.00011
ROTATION_NOISE_RAD = 0.0006
ACCEPT_S = 20.0
_STAMP_AT = 34
_STAMP = struct.Struct('>Q')
_PERIOD_S = 2.0


def packets(rate_hz: float, seed: int = 1) -> list[bytearray]:
    """Make the frames of two seconds, to be sent round and round: all tools sway, with the noise of a tracker.

    Args:
        rate_hz: Frames per second.
        seed: Of the noise.

    Returns:
        One buffer per frame: a TRANSFORM per tool, stamps still zero.
    """
    rng = np.random.default_rng(seed)
    count = round(rate_hz * _PERIOD_S)
    frames = []
    for index in range(count):
        phase = 2.0 * math.pi * index / count
        frame = bytearray()
        for number, tool in enumerate(TOOLS):
            sway = np.array([math.sin(phase), math.cos(phase), math.sin(2.0 * phase)])
            noise = rng.normal(size=6) * ([POSITION_NOISE_M / 3**0.5] * 3 + [ROTATION_NOISE_RAD / 3**0.5] * 3)
            position = (0.2 * number, 0.1, -1.5) + 0.04 * sway + noise[:3]
            rotation = exp(np.concatenate([np.zeros(3), 0.2 * sway + noise[3:]]))[:3, :3]
            frame += encode(Transform(tool, pose=make_transform(rotation, position)))
        frames.append(frame)
    return frames


@dataclass
class Sent:
    """What was sent in one stream.

    Args:
        stamps_ns: Stamp of each frame, ROS time.
        sent_ns: Monotonic time just after its last byte was written.
        accepted_ns: Monotonic time at which the receiver had connected.
    """

    stamps_ns: list[int] = field(default_factory=list)
    sent_ns: list[int] = field(default_factory=list)
    accepted_ns: int = 0


class Sender:
    """Listens on one port per receiver and streams to one of them at a time.

    Args:
        ports: How many ports to open; the system chooses them.
    """

    def __init__(self, ports: int) -> None:
        self._listeners = [socket.create_server(('127.0.0.1', 0)) for _ in range(ports)]
        self._connections: dict[int, socket.socket] = {}
        for listener in self._listeners:
            listener.settimeout(ACCEPT_S)

    @property
    def ports(self) -> list[int]:
        """The TCP ports, in order."""
        return [listener.getsockname()[1] for listener in self._listeners]

    def stream(self, index: int, rate_hz: float, seconds: float, *, fresh: bool = False) -> Sent:
        """Send frames at absolute times until the time is over or the receiver has gone.

        Args:
            index: Which port.
            rate_hz: Frames per second.
            seconds: For how long.
            fresh: Wait for a new connection, as of a node that is about to start.
        """
        frames = packets(rate_hz)
        sent = Sent()
        connection = self._connection(index, fresh=fresh)
        sent.accepted_ns = begin_ns = time.monotonic_ns()
        to_ros_ns = time.time_ns() - begin_ns
        with contextlib.suppress(ConnectionError):
            for number in range(round(rate_hz * seconds)):
                due_ns = begin_ns + round(number / rate_hz * 1e9)
                left_s = (due_ns - time.monotonic_ns()) * 1e-9
                if left_s > 0.0:
                    time.sleep(left_s)
                frame = frames[number % len(frames)]
                # of the instant of measurement, also where this process was held up
                stamp_ns = (due_ns + to_ros_ns) // STAMP_STEP_NS * STAMP_STEP_NS
                _set_stamps(frame, stamp_ns)
                connection.sendall(frame)
                sent.sent_ns.append(time.monotonic_ns())
                sent.stamps_ns.append(stamp_ns)
        return sent

    def _connection(self, index: int, *, fresh: bool) -> socket.socket:
        kept = self._connections.get(index)
        if kept is not None and not fresh:
            return kept
        if kept is not None:
            kept.close()
        connection, _ = self._listeners[index].accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[index] = connection
        return connection


def _set_stamps(frame: bytearray, stamp_ns: int) -> None:
    """Write the stamp into every header of a frame; the CRC covers the bodies only."""
    size = len(frame) // len(TOOLS)
    for at in range(_STAMP_AT, len(frame), size):
        _STAMP.pack_into(frame, at, wire_from_ns(stamp_ns))


def main() -> None:
    """Serve the commands of the bench until stdin ends."""
    sender = Sender(int(sys.argv[1]))
    print(json.dumps({'ports': sender.ports}), flush=True)
    for line in sys.stdin:
        try:
            answer = vars(sender.stream(**json.loads(line)))
        except OSError as error:
            answer = {'error': f'no receiver: {error}'}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
