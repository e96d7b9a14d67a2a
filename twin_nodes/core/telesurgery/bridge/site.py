"""One site of the bridge: what it takes in, sends, plays and says of the link, told the time."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.clock_offset import ClockOffset, Offset
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.jitter_buffer import JitterBuffer, Played
from twin_nodes.core.telesurgery.bridge.loss_meter import LossEstimate, LossMeter, copies_needed
from twin_nodes.core.telesurgery.bridge.rate_budget import RateBudget
from twin_nodes.core.telesurgery.bridge.records import (
    LARGEST_AGE_NS,
    Command,
    CommandFrame,
    ProbeFrame,
    channel_id,
    copies_that_fit,
    decode,
    encode_commands,
    encode_probe,
    frame_bytes,
)
from twin_nodes.core.telesurgery.bridge.session import OVERHEAD, Opened, Sessions


@dataclass(frozen=True, slots=True)
class Due:
    """A command to publish.

    Args:
        topic: Where.
        kind: POSE or JOINTS.
        counts: Numbers of positions, velocities and efforts.
        label: frame_id, or joint names parted by newlines.
        played: The command, with its times.
        stamp_ns: When it was measured, on our monotonic clock, as far as the offset is known; else its arrival.
    """

    topic: str
    kind: int
    counts: tuple[int, int, int]
    label: str
    played: Played
    stamp_ns: int


@dataclass(frozen=True)
class ChannelState:
    """How a channel that we receive stands.

    Args:
        topic: Its topic.
        silent_s: Since the last valid, new command; None before the first.
        age_s: Age of the last command when it was played; None before the first.
        added_s: What the jitter buffer waits.
        jitter_s: RFC 3550 jitter.
        backlog: Commands that wait.
        counts: Of played, recovered, late, superseded, stale, future, never.
        hold: Whether nothing valid has been played for `hold_after`.
    """

    topic: str
    silent_s: float | None
    age_s: float | None
    added_s: float
    jitter_s: float
    backlog: int
    counts: dict[str, int]
    hold: bool


@dataclass(frozen=True)
class LinkState:
    """How the link stands.

    Args:
        mode: waiting (no session yet), connected, degraded, or outage (nothing valid for `hold_after`).
        silent_s: Since the last authentic datagram; None before the first.
        offset: Clock offset with its interval, or None.
        receives: What we lose of theirs.
        sends: Loss, burst and jitter of ours, as the other site says; None before it did.
        delay_s: One way, from them to us; None before it is known. Wrong by half of the interval at most.
        copies: Commands in each datagram that we send, by topic.
        channels: What we receive.
        refused: Datagrams refused, by code.
        sent: Datagrams sent.
        received: Authentic datagrams received.
    """

    mode: str
    silent_s: float | None
    offset: Offset | None
    receives: LossEstimate
    sends: ProbeFrame | None
    delay_s: float | None
    copies: dict[str, int]
    channels: tuple[ChannelState, ...]
    refused: dict[str, int]
    sent: int
    received: int


@dataclass
class _Outgoing:
    topic: str
    number: int
    schema: tuple[int, tuple[int, int, int], str] | None = None
    sequence: int = 0
    history: deque[Command] = field(default_factory=deque)
    period_s: float = 0.005
    copies: int = 1
    last_ns: int | None = None


@dataclass
class _Incoming:
    topic: str
    buffer: JitterBuffer
    schemas: dict[int, tuple[int, tuple[int, int, int], str]] = field(default_factory=dict)
    arrived_ns: int | None = None
    played_ns: int | None = None
    age_s: float | None = None


class Site:
    """One end of the bridge.

    Args:
        config: Settings.
        key: The shared key.
        outgoing: Topics that go to the other site.
        incoming: Topics that come from it; others are refused.
        entropy: Random bytes, such as os.urandom.
    """

    def __init__(
        self,
        config: BridgeConfig,
        key: bytes,
        *,
        outgoing: Sequence[str],
        incoming: Sequence[str],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.config = config
        self._leads = config.role == 'leader'
        self._sessions = Sessions(key, initiator=self._leads, entropy=entropy, replay_window=config.replay_window)
        self._epoch = entropy(8)
        self._theirs: bytes | None = None
        self._outgoing = {topic: _Outgoing(topic, channel_id(topic)) for topic in outgoing}
        self._incoming = {channel_id(topic): _Incoming(topic, JitterBuffer(config.playout)) for topic in incoming}
        self._clock = ClockOffset(window=config.clock_window, max_skew_ppm=config.max_skew_ppm)
        self._meter = LossMeter()
        self._report: ProbeFrame | None = None
        self._budget = RateBudget(config.redundancy)
        self._probe_at_ns = 0
        self._try_at_ns = 0
        self._heard_ns: int | None = None
        self._echo: tuple[int, int] | None = None
        self.refused: dict[str, int] = {}
        self.sent = 0
        self.received = 0

    def offer(
        self,
        topic: str,
        values: tuple[float, ...],
        *,
        kind: int,
        counts: tuple[int, int, int],
        label: str,
        age_ns: int,
        now_ns: int,
    ) -> bytes | None:
        """Take a message of this site and return the datagram that carries it and those before it.

        Args:
            topic: One of `outgoing`.
            values: Its numbers, absolute.
            kind: POSE or JOINTS.
            counts: Numbers of positions, velocities and efforts.
            label: frame_id, or joint names parted by newlines.
            age_ns: Our ROS time minus its stamp.
            now_ns: Our monotonic clock.

        Returns:
            The datagram; None while there is no session. Then nothing is kept for later either.

        Raises:
            InputError: STAMP_FUTURE or STAMP_OLD, by the limits in the config.
        """
        config = self.config
        if age_ns < -config.max_stamp_ahead * NANOSECONDS:
            ahead = f'{-age_ns * 1e-9:.3f} s ahead of the clock, limit {config.max_stamp_ahead} s'
            raise InputError(f'{topic}: stamp lies {ahead}; synchronise the clocks', code='STAMP_FUTURE')
        if age_ns > config.max_stamp_age * NANOSECONDS:
            old = f'{age_ns * 1e-9:.3f} s old, limit max_stamp_age={config.max_stamp_age} s'
            raise InputError(f'{topic}: command is {old}', code='STAMP_OLD')
        out = self._outgoing[topic]
        if out.schema != (kind, counts, label):
            out.schema = (kind, counts, label)
            out.history.clear()
        if not self._sessions.is_open:
            out.history.clear()
            return None
        stamp_ns = now_ns - max(age_ns, 0)
        if out.history and stamp_ns <= out.history[0].stamp_ns:
            raise InputError(f'{topic}: stamp is not after that of the last command', code='STAMP_BACKWARD')
        if out.last_ns is not None and 0 < now_ns - out.last_ns < NANOSECONDS:
            out.period_s += 0.05 * ((now_ns - out.last_ns) * 1e-9 - out.period_s)
        out.last_ns = now_ns
        out.sequence += 1
        out.history.appendleft(Command(out.sequence, stamp_ns, values))
        out.copies = self._copies(out)
        while len(out.history) > self.config.redundancy.max_copies or (
            stamp_ns - out.history[-1].stamp_ns > LARGEST_AGE_NS
        ):
            out.history.pop()
        commands = tuple(out.history)[: out.copies]
        if out.sequence % self._stride(out):
            return None  # goes with the next datagram
        return self._seal(encode_commands(CommandFrame(self._epoch, out.number, kind, counts, label, commands)))

    def _stride(self, out: _Outgoing) -> int:
        """Send each n-th only, with those between, when even few copies are more than the link carries."""
        assert out.schema is not None
        size = 8.0 * (frame_bytes(out.copies, out.schema[1], out.schema[2]) + OVERHEAD + 28)
        wanted = math.ceil(size / max(out.period_s, 1e-4) / self._budget.bps)
        return max(min(wanted, self.config.redundancy.max_stride, out.copies), 1)

    def _copies(self, out: _Outgoing) -> int:
        """How many commands go into the next datagram: as the measured loss asks, until it is known as many as may."""
        assert out.schema is not None
        limits = self.config.redundancy
        wanted = limits.max_copies
        report = self._report
        if report is not None and report.received >= 400 and report.loss <= limits.full_loss:
            wanted = copies_needed(
                report.loss, report.burst_s, period_s=out.period_s, rate_hz=self._rate_hz(), target=limits.target
            )
        in_time = 1 + int(self.config.playout.max_added / max(out.period_s, 1e-4) + 0.2)
        fit = copies_that_fit(limits.datagram, out.schema[1], out.schema[2], OVERHEAD)
        most = min(limits.max_copies, in_time, fit)
        # in the budget by fewer copies first, then by sending less often (each datagram has 28 B of IP and UDP)
        affordable = copies_that_fit(
            int(self._budget.bps * limits.max_stride * out.period_s / 8.0), out.schema[1], out.schema[2], OVERHEAD + 28
        )
        return max(min(max(wanted, limits.min_copies), most, max(affordable, limits.max_stride)), 1)

    def _rate_hz(self) -> float:
        """Datagrams that we send per second."""
        commands = sum(1.0 / out.period_s for out in self._outgoing.values() if out.last_ns is not None)
        return commands + 1.0 / self.config.probe_period

    def _seal(self, payload: bytes) -> bytes | None:
        datagram = self._sessions.seal(payload)
        self.sent += datagram is not None
        return datagram

    def tick(self, now_ns: int) -> list[bytes]:
        """Return the datagrams that are due of themselves: probes, and the opening of a session."""
        out = []
        silence = None if self._heard_ns is None else now_ns - self._heard_ns
        quiet = silence is None or silence > self.config.session_silence * NANOSECONDS
        if self._leads and quiet and now_ns >= self._try_at_ns:
            self._try_at_ns = now_ns + round(self.config.session_retry * NANOSECONDS)
            out.append(self._sessions.initiate(now_ns))
        if now_ns >= self._probe_at_ns:
            self._probe_at_ns = now_ns + round(self.config.probe_period * NANOSECONDS)
            probe = self._seal(self._probe(now_ns))
            out += [probe] if probe is not None else []
        return out

    def _probe(self, now_ns: int) -> bytes:
        estimate = self._meter.estimate()
        echo_ns, hold_ns = (self._echo[0], now_ns - self._echo[1]) if self._echo is not None else (0, 0)
        jitter = max((channel.buffer.jitter_s for channel in self._incoming.values()), default=0.0)
        queue = max((channel.buffer.queue_s for channel in self._incoming.values()), default=0.0)
        return encode_probe(
            ProbeFrame(
                self._epoch,
                now_ns,
                echo_ns,
                hold_ns,
                estimate.loss,
                estimate.burst_s,
                jitter,
                max(queue, 0.0),
                self.received,
            )
        )

    def receive(self, datagram: bytes, now_ns: int) -> list[bytes]:
        """Take a datagram from the network and return what is to be sent back; never raises, whatever the bytes."""
        opened = self._sessions.open(datagram, now_ns)
        if opened.refused:
            self._refuse(opened.refused)
        if opened.opened:
            self._meter.reset()
            self._probe_at_ns = now_ns  # proves at once that we know the new keys
        if opened.payload is not None:
            self._take(opened, now_ns)
        replies = [opened.reply] if opened.reply is not None else []
        return replies + (self.tick(now_ns) if opened.opened else [])

    def _take(self, opened: Opened, now_ns: int) -> None:
        assert opened.payload is not None
        try:
            frame = decode(opened.payload)
        except InputError as error:
            self._refuse(error.code)
            return
        self.received += 1
        self._heard_ns = now_ns
        self._meter.add(opened.counter, now_ns)
        if frame.epoch != self._theirs:
            self._begin_anew(frame.epoch)
        if isinstance(frame, ProbeFrame):
            self._take_probe(frame, now_ns)
        else:
            self._take_commands(frame, now_ns)

    def _begin_anew(self, epoch: bytes) -> None:
        """The other process is a new one: its clock and its numbers begin anew, what waits is of the old."""
        self._theirs = epoch
        self._clock.reset()
        self._report = self._echo = None
        for channel in self._incoming.values():
            channel.buffer.reset()
            channel.schemas.clear()

    def _take_probe(self, frame: ProbeFrame, now_ns: int) -> None:
        if self._echo is not None and frame.sent_ns <= self._echo[0]:
            return  # overtaken by a newer one
        self._clock.add(sent_ns=frame.sent_ns, arrived_ns=now_ns, echo_ns=frame.echo_ns, hold_ns=frame.hold_ns)
        self._echo = (frame.sent_ns, now_ns)
        self._report = frame
        self._budget.update(frame.queue_s, frame.loss, now_ns)

    def _take_commands(self, frame: CommandFrame, now_ns: int) -> None:
        channel = self._incoming.get(frame.channel)
        if channel is None:
            self._refuse('UNKNOWN_DEVICE')
            return
        offset = self._clock.estimate(now_ns)
        if offset is not None:
            ahead = frame.commands[0].stamp_ns - offset.high_ns - now_ns
            if ahead > self.config.max_stamp_ahead * NANOSECONDS:
                self._refuse('STAMP_FUTURE')
                return
        if channel.buffer.push(frame.commands, now_ns, self._mend_ns(channel.buffer)):
            channel.arrived_ns = now_ns
            for command in frame.commands:
                channel.schemas.setdefault(command.sequence, (frame.kind, frame.counts, frame.label))
            while len(channel.schemas) > 2 * self.config.playout.capacity:
                channel.schemas.pop(next(iter(channel.schemas)))

    def _mend_ns(self, buffer: JitterBuffer) -> int | None:
        """How long copies are worth waiting for; None for all of them: losses that are large, or not known yet."""
        lost = self._meter.estimate()
        if not lost.known or lost.loss > self.config.redundancy.full_loss:
            return None
        copies = copies_needed(
            lost.loss, lost.burst_s, period_s=buffer.period_s, rate_hz=lost.rate_hz,
            target=self.config.redundancy.target,
        )  # fmt: skip
        return round((copies - 1) * buffer.period_s * NANOSECONDS)

    def _refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def due(self, now_ns: int) -> list[Due]:
        """Return the commands that are to be published now, in order."""
        out = []
        offset = self._clock.estimate(now_ns)
        for channel in self._incoming.values():
            for played in channel.buffer.pop(now_ns):
                stamp_ns = played.arrived_ns
                if offset is not None:
                    stamp_ns = min(played.command.stamp_ns - offset.offset_ns, now_ns)
                channel.played_ns = now_ns
                channel.age_s = (now_ns - stamp_ns) / NANOSECONDS
                kind, counts, label = channel.schemas[played.command.sequence]
                out.append(Due(channel.topic, kind, counts, label, played, stamp_ns))
            self._forget_schemas(channel)
        return out

    @staticmethod
    def _forget_schemas(channel: _Incoming) -> None:
        """Sequences up to the last one played are done with; they were put in roughly in order."""
        while channel.schemas and next(iter(channel.schemas)) <= channel.buffer.played:
            channel.schemas.pop(next(iter(channel.schemas)))

    def next_ns(self) -> int:
        """Return when `tick` or `due` has something to do next."""
        times = [self._probe_at_ns]
        times += [due for channel in self._incoming.values() if (due := channel.buffer.next_due_ns) is not None]
        return min(times)

    def holds(self, now_ns: int) -> tuple[bool, ...]:
        """Return what must be said at once when it changes: outage of the link, then hold of each channel; cheap."""
        limit = now_ns - round(self.config.hold_after * NANOSECONDS)
        times = [self._heard_ns, *(channel.played_ns for channel in self._incoming.values())]
        return tuple(time is None or time < limit for time in times)

    def state(self, now_ns: int) -> LinkState:
        """Return how the link stands."""
        offset = self._clock.estimate(now_ns)
        silent = None if self._heard_ns is None else (now_ns - self._heard_ns) / NANOSECONDS
        delay = None
        if offset is not None and self._echo is not None:
            delay = (self._echo[1] - (self._echo[0] - offset.offset_ns)) / NANOSECONDS
        receives = self._meter.estimate()
        return LinkState(
            self._mode(silent, delay, receives),
            silent,
            offset,
            receives,
            self._report,
            delay,
            {out.topic: out.copies for out in self._outgoing.values()},
            tuple(self._channel_state(channel, now_ns) for channel in self._incoming.values()),
            dict(self.refused),
            self.sent,
            self.received,
        )

    def _mode(self, silent: float | None, delay: float | None, receives: LossEstimate) -> str:
        if silent is None:
            return 'waiting'
        if silent > self.config.hold_after:
            return 'outage'
        losses = [receives.loss, self._report.loss if self._report is not None else 0.0]
        slow = delay is not None and delay > self.config.degraded_delay
        return 'degraded' if max(losses) > self.config.degraded_loss or slow else 'connected'

    def _channel_state(self, channel: _Incoming, now_ns: int) -> ChannelState:
        def since(time_ns: int | None) -> float | None:
            return None if time_ns is None else (now_ns - time_ns) / NANOSECONDS

        played = since(channel.played_ns)
        buffer = channel.buffer
        return ChannelState(
            channel.topic, since(channel.arrived_ns), channel.age_s, buffer.added_s, buffer.jitter_s, buffer.backlog,
            dict(buffer.counts), played is None or played > self.config.hold_after,
        )  # fmt: skip
