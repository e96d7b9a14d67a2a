"""The receiving end of `removed`: a state machine that ends identical to the sender, whatever was lost."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import carving_kernels
from twin_nodes.core.anatomy.removed import RemovedMessage, check_message

KEPT_DELTAS = 4096
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class State(StrEnum):
    """How a receiver stands."""

    WAITING = 'waiting'
    CURRENT = 'current'
    BEHIND = 'behind'


class RemovedReceiver:
    """Follows a carved volume from its messages and ends identical, whatever was lost.

    WAITING before the first snapshot, BEHIND after a gap in the deltas (what arrives is taken: gone is gone) until
    a snapshot closes it, CURRENT when number and hash of the voxels agree with the sender's.

    Args:
        on_removed: Called with the linear indices of runs, their lengths and structures, whenever voxels go.
        on_reset: Called when everything came back.
    """

    def __init__(
        self,
        on_removed: Callable[[RemovedMessage, NDArray[np.uint8]], None] | None = None,
        on_reset: Callable[[], None] | None = None,
    ) -> None:
        self._on_removed, self._on_reset = on_removed, on_reset
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.state = State.WAITING
        self.session = self.sequence = 0
        self.voxels: NDArray[np.uint8] = np.zeros((0, 0, 0), np.uint8)
        self.total = self.hash = 0
        self.lost = 0
        self._chunks: dict[int, RemovedMessage] = {}
        self._ahead: dict[int, RemovedMessage] = {}

    @property
    def removed_indices(self) -> NDArray[np.int64]:
        """Linear indices of the voxels that are known to be gone, in rising order."""
        return np.flatnonzero(self.voxels.ravel())

    def take(self, message: RemovedMessage) -> State:
        """Take a message and return how the receiver stands then.

        Raises:
            InputError: ANATOMY_REFUSED for a message that does not fit its own volume.
        """
        check_message(message)
        if message.session != self.session or message.shape != self.voxels.shape:
            if self.session and message.session < self.session and self.state is not State.WAITING:
                return self.state  # an old session, kept by the middleware
            self._begin(message)
        if message.is_delta:
            self._take_delta(message)
        else:
            self._take_chunk(message)
        return self.state

    def _begin(self, message: RemovedMessage) -> None:
        again = self.session != 0
        self.reset()
        self.session = message.session
        self.voxels = np.zeros(message.shape, np.uint8)
        if again and self._on_reset is not None:
            self._on_reset()

    def _take_delta(self, message: RemovedMessage) -> None:
        if message.sequence <= self.sequence and self.state is State.CURRENT:
            return
        self._apply(message)
        self._ahead[message.sequence] = message
        while len(self._ahead) > KEPT_DELTAS:
            del self._ahead[min(self._ahead)]
        if self.state is State.CURRENT:
            if message.sequence == self.sequence + 1:
                self._advance()
            else:
                self.state = State.BEHIND
                self.lost += message.sequence - self.sequence - 1
        elif self.state is State.BEHIND:
            self._advance()  # a late delta may close the gap

    def _take_chunk(self, message: RemovedMessage) -> None:
        if self.state is State.CURRENT and message.sequence <= self.sequence:
            return
        if self._chunks and next(iter(self._chunks.values())).sequence != message.sequence:
            if message.sequence < max(chunk.sequence for chunk in self._chunks.values()):
                return
            self._chunks.clear()
        self._chunks[message.chunk] = message
        self._apply(message)
        if len(self._chunks) == message.chunks:
            whole = list(self._chunks.values())
            self._chunks.clear()
            self.sequence = max(self.sequence, message.sequence)
            self._check(message)
            self._advance()
            if self.state is not State.CURRENT and not self._ahead:
                self._rebuild(whole)

    def _rebuild(self, snapshot: list[RemovedMessage]) -> None:
        """Take the snapshot alone: what is known besides it is wrong."""
        if self.sequence != snapshot[0].sequence:
            return
        self.voxels[:] = 0
        self.total = self.hash = 0
        if self._on_reset is not None:
            self._on_reset()
        for chunk in snapshot:
            self._apply(chunk)
        self._check(snapshot[0])

    def _advance(self) -> None:
        """Follow the deltas that are at hand without a gap, and compare with what the last of them says."""
        newest = None
        while self.sequence + 1 in self._ahead:
            self.sequence += 1
            newest = self._ahead[self.sequence]
        if newest is not None:
            self._check(newest)
        self._ahead = {number: kept for number, kept in self._ahead.items() if number > self.sequence}
        if self._ahead and self.state is State.CURRENT:
            self.state = State.BEHIND

    def _check(self, message: RemovedMessage) -> None:
        """CURRENT when number and hash agree; more voxels than the message knows of come from deltas beyond it."""
        same = self.total == message.total and self.hash == message.hash
        beyond = any(number > message.sequence for number in self._ahead)
        self.state = State.CURRENT if same else State.BEHIND
        if not same and not beyond:
            self._ahead.clear()

    def _apply(self, message: RemovedMessage) -> None:
        if len(message.starts) == 0:
            return
        tally = np.zeros(2, np.int64)
        carving_kernels.take_runs(self.voxels, message.starts, message.lengths, tally)
        self.total += int(tally[0])
        self.hash = (self.hash + int(tally[1])) & _MASK
        if tally[0] and self._on_removed is not None:
            self._on_removed(message, self.voxels)
