"""One site of the bridge: what it takes in, sends, plays and says of the link, told the time."""

from collections.abc import Callable, Sequence

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.clock_offset import ClockOffset, SteadyOffset
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.incoming import Due, IncomingChannel
from twin_nodes.core.telesurgery.bridge.link_state import ChannelState, LinkState, link_mode
from twin_nodes.core.telesurgery.bridge.loss_meter import LossMeter
from twin_nodes.core.telesurgery.bridge.outgoing import OutgoingChannel
from twin_nodes.core.telesurgery.bridge.rate_budget import RateBudget
from twin_nodes.core.telesurgery.bridge.records import CommandFrame, ProbeFrame, decode, encode_commands, encode_probe
from twin_nodes.core.telesurgery.bridge.session import Opened, Sessions

__all__ = ['ChannelState', 'Due', 'LinkState', 'Site']


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
        self._outgoing = {topic: OutgoingChannel(config, topic) for topic in outgoing}
        self._incoming = {channel.number: channel for channel in (IncomingChannel(config, topic) for topic in incoming)}
        self._clock = ClockOffset(window=config.clock_window, max_skew_ppm=config.max_skew_ppm)
        self._carries = SteadyOffset()
        self._meter = LossMeter()
        self._report: ProbeFrame | None = None
        self._budget = RateBudget(config.redundancy)
        self._probe_at_ns = 0
        self._try_at_ns = 0
        self._heard_ns: int | None = None
        self._opened_ns: int | None = None
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
        if not self._sessions.is_open:
            out.clear()
            return None
        out.take(values, (kind, counts, label), now_ns - max(age_ns, 0), now_ns)
        frame = out.frame(self._epoch, self._report, rate_hz=self._rate_hz(), budget_bps=self._budget.bps)
        return None if frame is None else self._seal(encode_commands(frame))

    def _rate_hz(self) -> float:
        """Datagrams that we send per second."""
        return sum(out.rate_hz for out in self._outgoing.values()) + 1.0 / self.config.probe_period

    def _seal(self, payload: bytes) -> bytes | None:
        datagram = self._sessions.seal(payload)
        self.sent += datagram is not None
        return datagram

    def tick(self, now_ns: int) -> list[bytes]:
        """Return the datagrams that are due of themselves: probes, and the opening of a session."""
        out = []
        known = [at for at in (self._heard_ns, self._opened_ns) if at is not None]  # one just opened has yet to answer
        quiet = not known or now_ns - max(known) > self.config.session_silence * NANOSECONDS
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
            self._opened_ns = now_ns
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
        self._carries = SteadyOffset()
        self._report = self._echo = None
        for channel in self._incoming.values():
            channel.reset()

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
        channel.take(frame, self._meter.estimate(), now_ns)

    def _refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def due(self, now_ns: int) -> list[Due]:
        """Return the commands that are to be published now, in order."""
        offset_ns = self._carries.follow(self._clock.estimate(now_ns), now_ns)
        return [due for channel in self._incoming.values() for due in channel.due(offset_ns, now_ns)]

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
            mode=link_mode(self.config, silent=silent, delay=delay, receives=receives, sends=self._report),
            silent_s=silent,
            offset=offset,
            receives=receives,
            sends=self._report,
            delay_s=delay,
            copies={out.topic: out.copies for out in self._outgoing.values()},
            channels=tuple(channel.state(now_ns) for channel in self._incoming.values()),
            refused=dict(self.refused),
            sent=self.sent,
            received=self.received,
        )
