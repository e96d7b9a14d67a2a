"""Brings the samples of several devices, each on a stream of its own, into the order of their stamps.

A replay sends each topic on its own way, so the order of arrival between two tools differs from run to run. Here a
sample leaves when every device has been heard at its stamp or later; equal stamps leave together, as one frame.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar('T')

CAPACITY = 100_000
RESTART_NS = 1_000_000_000


class StampOrder(Generic[T]):
    """The samples that wait for those of other devices.

    Args:
        devices: Names of the devices, in the order in which equal stamps leave.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._waiting: dict[str, deque[tuple[int, T]]] = {device: deque() for device in devices}
        self._silent: set[str] = set()

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self._silent.clear()
        for queue in self._waiting.values():
            queue.clear()

    @property
    def waits(self) -> bool:
        """Whether samples of one device wait for those of another."""
        return any(self._waiting.values())

    def add(self, device: str, stamp_ns: int, sample: T) -> list[tuple[int, list[T]]]:
        """Take a sample and return what can leave, frame by frame: stamp and samples.

        A stamp that runs back by more than a second means that time began again: all that waits leaves first.
        """
        queue = self._waiting[device]
        self._silent.discard(device)
        restarted = bool(queue) and stamp_ns < queue[-1][0] - RESTART_NS
        before = self.flush() if restarted else []
        queue.append((stamp_ns, sample))
        return [*before, *self._leaving()]

    def silent(self, device: str) -> list[tuple[int, list[T]]]:
        """Wait for a device no longer, until it is heard again; return what can leave."""
        self._silent.add(device)
        return self._leaving()

    def flush(self) -> list[tuple[int, list[T]]]:
        """Let all that waits leave, in order."""
        frames = []
        while any(self._waiting.values()):
            frames.append(self._next())
        return frames

    def _leaving(self) -> list[tuple[int, list[T]]]:
        frames = []
        while self._may_leave():
            frames.append(self._next())
        return frames

    def _may_leave(self) -> bool:
        if any(len(queue) > CAPACITY for queue in self._waiting.values()):
            return True
        heard = [bool(queue) for device, queue in self._waiting.items() if queue or device not in self._silent]
        return bool(heard) and all(heard)

    def _next(self) -> tuple[int, list[T]]:
        first = min(queue[0][0] for queue in self._waiting.values() if queue)
        return first, [queue.popleft()[1] for queue in self._waiting.values() if queue and queue[0][0] == first]
