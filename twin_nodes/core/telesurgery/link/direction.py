"""One direction of a link: the fate of each packet, from its time and size alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.bottleneck import Bottleneck
from twin_nodes.core.telesurgery.link.config import DirectionConfig
from twin_nodes.core.telesurgery.link.delays import DelayLaw
from twin_nodes.core.telesurgery.link.draws import Uniforms, stream
from twin_nodes.core.telesurgery.link.losses import LossLaw, Outages
from twin_nodes.core.telesurgery.link.trace import DelayTrace, Opportunities

LOST = -1
REASONS = ('arrived', 'loss', 'outage', 'queue')


@dataclass(frozen=True)
class Fates:
    """The fates of packets, in the order of sending.

    Args:
        sent_ns: When each was sent, since the start of the link, shape (n,).
        arrival_ns: When each arrives, LOST for never, shape (n,).
        second_ns: When its duplicate arrives, LOST for none, shape (n,).
        reason: Index in REASONS, shape (n,).
    """

    sent_ns: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    second_ns: NDArray[np.int64]
    reason: NDArray[np.int8]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which packets never arrive, shape (n,)."""
        return np.asarray(self.arrival_ns == LOST)

    @property
    def delay_s(self) -> NDArray[np.float64]:
        """Delays of those that arrive [s], shape (m,)."""
        arrived = ~self.lost
        return (self.arrival_ns[arrived] - self.sent_ns[arrived]) / NANOSECONDS


class LinkDirection:
    """Emulates one direction; the i-th packet takes the i-th random numbers, spells are drawn in time.

    Args:
        config: Settings.
        seed: Seed of the link.
        direction: 0 forward, 1 backward: independent numbers, but outages of the same law at the same times.
        trace: Measured delays, for delay.law=trace.
        opportunities: A mahimahi trace, for bandwidth.trace_file.
    """

    def __init__(
        self,
        config: DirectionConfig,
        *,
        seed: int,
        direction: int = 0,
        trace: DelayTrace | None = None,
        opportunities: Opportunities | None = None,
    ) -> None:
        self.config = config
        self._delay = DelayLaw(config.delay, seed=seed, direction=direction, trace=trace)
        self._loss = LossLaw(config.loss, seed=seed, direction=direction)
        self._trace = trace if config.delay.law == 'trace' and trace is not None and trace.loss > 0.0 else None
        self._outages = None
        if config.outage.down.law != 'none':
            self._outages = Outages(config.outage, seed=seed, direction=0)
        self._bottleneck = None
        if config.bandwidth.rate_bps > 0.0 or opportunities is not None:
            self._bottleneck = Bottleneck(config.bandwidth, opportunities)
        self._extra = None
        if config.reorder_probability > 0.0 or config.duplicate_probability > 0.0:
            self._extra = Uniforms(stream(seed, direction, 8))
        self._last_sent = 0
        self._last_arrival = 0
        self.reason = 0
        self.counts = dict.fromkeys((*REASONS, 'duplicated', 'reordered'), 0)

    @property
    def backlog_bytes(self) -> int:
        """Bytes in the queue of the bottleneck at the last packet."""
        return self._bottleneck.backlog_bytes if self._bottleneck is not None else 0

    def send(self, t_ns: int, size: int = 100) -> tuple[int, ...]:
        """Return the times of arrival [ns] of a packet: none when it is lost, two when it is duplicated.

        Args:
            t_ns: Time of sending since the start of the link, not before that of the last packet.
            size: Payload of the datagram [B].

        Raises:
            InputError: for a time that goes back.
        """
        if t_ns < self._last_sent:
            raise InputError(f'packet at {t_ns} ns comes after one at {self._last_sent} ns: times must not fall')
        self._last_sent = t_ns
        delay, lost = self._delay(t_ns), self._loss.loses(t_ns)  # always drawn: what others suffer changes no fate
        held, twice = (self._extra(), self._extra()) if self._extra is not None else (1.0, 1.0)
        if self._outages is not None and self._outages.is_down(t_ns):
            return self._drop(2)
        if lost or (self._trace is not None and self._trace.loses(t_ns / NANOSECONDS)):
            return self._drop(1)
        left = t_ns if self._bottleneck is None else self._bottleneck.leave(t_ns, size)
        if left is None:
            return self._drop(3)
        arrival = left + delay
        if self.config.delay.fifo:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        self.reason = 0
        self.counts['arrived'] += 1
        if held < self.config.reorder_probability:
            self.counts['reordered'] += 1
            arrival += round(self.config.reorder_delay * NANOSECONDS)
        if twice < self.config.duplicate_probability:
            self.counts['duplicated'] += 1
            return arrival, arrival + round(self.config.duplicate_delay * NANOSECONDS)
        return (arrival,)

    def _drop(self, reason: int) -> tuple[int, ...]:
        self.reason = reason
        self.counts[REASONS[reason]] += 1
        return ()

    def fates(self, times_ns: Sequence[int] | NDArray[np.int64], sizes: int | Sequence[int] = 100) -> Fates:
        """Return the fates of the next packets.

        Args:
            times_ns: Times of sending, not falling, shape (n,).
            sizes: Payload [B], one for all or shape (n,).
        """
        times = np.asarray(times_ns, dtype=np.int64)
        each = [sizes] * len(times) if isinstance(sizes, int) else sizes
        first = np.full(len(times), LOST, dtype=np.int64)
        second = np.full(len(times), LOST, dtype=np.int64)
        reason = np.zeros(len(times), dtype=np.int8)
        for i, (t_ns, size) in enumerate(zip(times.tolist(), each, strict=True)):
            arrivals = self.send(t_ns, size)
            reason[i] = self.reason
            if arrivals:
                first[i] = arrivals[0]
                if len(arrivals) > 1:
                    second[i] = arrivals[1]
        return Fates(times, first, second, reason)
