"""A topic that goes to the other site: its last commands, and how many of them go into each datagram."""

import math
from collections import deque

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.loss_meter import copies_needed
from twin_nodes.core.telesurgery.bridge.records import (
    LARGEST_AGE_NS,
    Command,
    CommandFrame,
    ProbeFrame,
    channel_id,
    copies_that_fit,
    frame_bytes,
)
from twin_nodes.core.telesurgery.bridge.session import OVERHEAD

Schema = tuple[int, tuple[int, int, int], str]
_IP_UDP = 28  # head of each datagram [B]
_KNOWN_AFTER = 400  # datagrams after which the other site's report of our loss is believed


class OutgoingChannel:
    """Keeps the last commands of a topic and makes frames of them.

    Args:
        config: Settings of the bridge.
        topic: The topic.
    """

    def __init__(self, config: BridgeConfig, topic: str) -> None:
        self._config = config
        self.topic = topic
        self.number = channel_id(topic)
        self.copies = 1
        self._schema: Schema | None = None
        self._sequence = 0
        self._history: deque[Command] = deque()
        self._period_s = 0.005
        self._last_ns: int | None = None

    @property
    def rate_hz(self) -> float:
        """Commands per second, 0 before the first."""
        return 1.0 / self._period_s if self._last_ns is not None else 0.0

    def clear(self) -> None:
        """Forget the commands: nothing of before a session goes into it."""
        self._history.clear()

    def take(self, values: tuple[float, ...], schema: Schema, stamp_ns: int, now_ns: int) -> None:
        """Take in a command.

        Args:
            values: Its numbers, absolute.
            schema: Kind, numbers of positions, velocities and efforts, and label; another one clears the history.
            stamp_ns: When it was measured, on our monotonic clock.
            now_ns: Our monotonic clock.

        Raises:
            InputError: STAMP_BACKWARD.
        """
        if self._schema != schema:
            self._schema = schema
            self._history.clear()
        if self._history and stamp_ns <= self._history[0].stamp_ns:
            raise InputError(f'{self.topic}: stamp is not after that of the last command', code='STAMP_BACKWARD')
        if self._last_ns is not None and 0 < now_ns - self._last_ns < NANOSECONDS:
            self._period_s += 0.05 * ((now_ns - self._last_ns) * 1e-9 - self._period_s)
        self._last_ns = now_ns
        self._sequence += 1
        self._history.appendleft(Command(self._sequence, stamp_ns, values))
        while len(self._history) > self._config.redundancy.max_copies or (
            stamp_ns - self._history[-1].stamp_ns > LARGEST_AGE_NS
        ):
            self._history.pop()

    def frame(
        self, epoch: bytes, report: ProbeFrame | None, *, rate_hz: float, budget_bps: float
    ) -> CommandFrame | None:
        """Return what is to be sent now, None when the newest command goes with the next datagram.

        Args:
            epoch: Of this process.
            report: What the other site says of our datagrams, None before it did.
            rate_hz: Datagrams that this site sends per second.
            budget_bps: What the link carries [bit/s].
        """
        assert self._schema is not None
        self.copies = self._copies(self._schema, report, rate_hz, budget_bps)
        if self._sequence % self._stride(self._schema, budget_bps):
            return None
        kind, counts, label = self._schema
        return CommandFrame(epoch, self.number, kind, counts, label, tuple(self._history)[: self.copies])

    def _stride(self, schema: Schema, budget_bps: float) -> int:
        """Send each n-th only, with those between, when even few copies are more than the link carries."""
        size = 8.0 * (frame_bytes(self.copies, schema[1], schema[2]) + OVERHEAD + _IP_UDP)
        wanted = math.ceil(size / max(self._period_s, 1e-4) / budget_bps)
        return max(min(wanted, self._config.redundancy.max_stride, self.copies), 1)

    def _copies(self, schema: Schema, report: ProbeFrame | None, rate_hz: float, budget_bps: float) -> int:
        """How many commands go into the next datagram: as the measured loss asks, until it is known as many as may."""
        limits = self._config.redundancy
        wanted = limits.max_copies
        if report is not None and report.received >= _KNOWN_AFTER and report.loss <= limits.full_loss:
            wanted = copies_needed(
                report.loss, report.burst_s, period_s=self._period_s, rate_hz=rate_hz, target=limits.target
            )
        in_time = 1 + int(self._config.playout.max_added / max(self._period_s, 1e-4) + 0.2)
        fit = copies_that_fit(limits.datagram, schema[1], schema[2], OVERHEAD)
        most = min(limits.max_copies, in_time, fit)
        # in the budget by fewer copies first, then by sending less often
        affordable = copies_that_fit(
            int(budget_bps * limits.max_stride * self._period_s / 8.0), schema[1], schema[2], OVERHEAD + _IP_UDP
        )
        return max(min(max(wanted, limits.min_copies), most, max(affordable, limits.max_stride)), 1)
