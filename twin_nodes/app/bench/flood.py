"""A flood of forged datagrams, beside which benches measure."""

import socket
import threading
import time

import numpy as np

FLOOD_HZ = 4000


class Flood:
    """Sends garbage to a port, half of it with the head of the bridge's own datagrams.

    Args:
        port: UDP port of this machine.
    """

    def __init__(self, port: int) -> None:
        self._stopped, self._sent = threading.Event(), 0
        self._thread = threading.Thread(target=self._run, args=(port,), daemon=True)
        self._thread.start()

    def _run(self, port: int) -> None:
        rng = np.random.default_rng(0)
        garbage = [(b'TW1\x03' if number % 2 else b'') + rng.bytes(200) for number in range(64)]
        start = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not self._stopped.wait(0.01):
                while self._sent < FLOOD_HZ * (time.monotonic() - start) and not self._stopped.is_set():
                    out.sendto(garbage[self._sent % 64], ('127.0.0.1', port))
                    self._sent += 1

    def stop(self) -> int:
        """End, and return how many were sent."""
        self._stopped.set()
        self._thread.join()
        return self._sent
