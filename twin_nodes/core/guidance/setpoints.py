"""Where a robot is told to bring the tool, each set point counted from its own stamp on.

Live, what has arrived counts. In replay the moment of arrival must not decide: there a set point waits for the first
pose that is not older than it, and a pose waits until the set points have come as far as its stamp. So a replay sees
what a live twin sees to which all messages come in the order of their stamps.
"""

from collections import deque

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import REPLAY_CAPACITY, REPLAY_WAIT_S
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

WAIT_NS = round(REPLAY_WAIT_S * NANOSECONDS)  # of stamps, after which set points are not waited for any more


class SetpointStream:
    """Holds the set points of a replay until a pose asks for them.

    Args:
        expected: Whether set points are to come; without any nothing waits.
    """

    def __init__(self, *, expected: bool) -> None:
        self._expected = expected
        self.reset()

    def reset(self) -> None:
        """Forget all, as after a jump of the clock."""
        self._waiting: deque[tuple[int, Array]] = deque(maxlen=REPLAY_CAPACITY)
        self._newest_ns = 0

    def add(self, stamp_ns: int, pose: Array) -> None:
        """Take a set point (4, 4), newer than the last.

        Raises:
            InputError: STAMP_BACKWARD; NOT_FINITE. Nothing is changed.
        """
        if not np.isfinite(pose).all():
            raise InputError('set point has NaN or Inf', code='NOT_FINITE')
        if stamp_ns <= self._newest_ns:
            raise InputError(f'stamp {stamp_ns} ns does not follow {self._newest_ns} ns', code='STAMP_BACKWARD')
        self._newest_ns = stamp_ns
        self._waiting.append((stamp_ns, pose))

    def settled(self, stamp_ns: int, streams_ns: int) -> bool:
        """Whether all set points up to the stamp of a pose are here; streams_ns is the newest stamp of the poses."""
        return not self._expected or self._newest_ns >= stamp_ns or streams_ns >= stamp_ns + WAIT_NS

    def take(self, stamp_ns: int) -> list[tuple[int, Array]]:
        """Return the set points that are not newer than a stamp, each once, in the order of their stamps."""
        found = []
        while self._waiting and self._waiting[0][0] <= stamp_ns:
            found.append(self._waiting.popleft())
        return found
