"""The simulated room behind an OpenIGTLink server, as a real tracker on the wire with a clock of its own."""

import asyncio
import threading
import time
from collections.abc import Callable

from twin_nodes.core.simulate.room import Room
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.openigtlink.server import OpenIGTLinkServer

DEVICE_EPOCH_NS = 86_400 * NANOSECONDS
DEVICE_SKEW_PPM = 30.0
_POLL_S = 0.02


def device_stamp_ns(elapsed_ns: int) -> int:
    """Return what the tracker's own clock shows: another epoch, and 30 ppm fast."""
    return DEVICE_EPOCH_NS + elapsed_ns + round(elapsed_ns * DEVICE_SKEW_PPM * 1e-6)


class SimulatedTracker:
    """Serves the frames of a room at its rate, from the moment that a client is there and `ready` says so.

    Args:
        room: The room.
        host: Address to listen on.
        port: TCP port; 0 for any.
        names: What the tracker calls the tools, by tool.
        ready: Asked until it says yes; then the room starts.
        on_listening: Called with the port.
        on_start: Called at the instant of frame 0.
    """

    def __init__(
        self,
        room: Room,
        *,
        host: str,
        port: int,
        names: dict[str, str],
        ready: Callable[[], bool],
        on_listening: Callable[[int], None],
        on_start: Callable[[], None],
    ) -> None:
        self._room = room
        self._host, self._port = host, port
        self._names = names
        self._ready = ready
        self._on_listening = on_listening
        self._on_start = on_start
        self._stopped = threading.Event()

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            OSError: when the port is taken.
        """
        asyncio.run(self._serve())

    def stop(self) -> None:
        """Make `run` return soon; callable from any thread."""
        self._stopped.set()

    async def _serve(self) -> None:
        server = OpenIGTLinkServer(device='SimulatedRoom')
        self._on_listening(await server.start(self._host, self._port))
        try:
            while not (server.clients and self._ready()):
                if self._stopped.is_set():
                    return
                await asyncio.sleep(_POLL_S)
            await self._play(server)
        finally:
            await server.close()

    async def _play(self, server: OpenIGTLinkServer) -> None:
        period_ns = NANOSECONDS / self._room.config.rate_hz
        start_ns = time.monotonic_ns()
        self._on_start()
        frame = 0
        while not self._stopped.is_set():
            elapsed_ns = round(frame * period_ns)
            await asyncio.sleep(max(0.0, (start_ns + elapsed_ns - time.monotonic_ns()) * 1e-9))
            _, measured = self._room.measure(frame)
            poses = {self._names[tool]: pose for tool, pose in measured.items()}
            server.send_frame(device_stamp_ns(elapsed_ns), poses)
            frame += 1
