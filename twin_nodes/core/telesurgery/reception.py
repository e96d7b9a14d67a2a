"""What comes from the leader: checked, put on the path, timed, counted. Told the time."""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command, Vector
from twin_nodes.core.telesurgery.compensation_config import PlaybackConfig
from twin_nodes.core.telesurgery.guard import MEMORY, CommandGuard
from twin_nodes.core.telesurgery.playback import CommandPath, PlayoutClock

_LOSS_BLEND = 0.005  # of one packet
_MOST_MISSING = 200  # a longer gap in the numbers is an outage, and tells nothing about the loss


class Reception:
    """Takes commands in, and knows since when they flow, which are missing and what was asked for.

    Args:
        config: Times of the watch, and of the clock of playing.
        guard: Passes commands or refuses them.
        path: Where those that pass are put.
    """

    def __init__(self, config: PlaybackConfig, guard: CommandGuard, path: CommandPath) -> None:
        self.clock = PlayoutClock(config)
        self._guard, self._path = guard, path
        self._slow_ns = round(config.slow_after * NANOSECONDS)
        self._late_ns = 5 * round(config.bridge * NANOSECONDS)  # what the lag makes room for
        self.valid_ns: int | None = None
        self.flow_ns = 0
        self.received = 0
        self.loss = 0.0
        self.begun_anew = False
        self._packet = 0
        self._request: int | None = None  # what was asked of another before us is not asked of us
        self._action = ''

    def take(
        self,
        commands: tuple[Command, ...],
        now_ns: int,
        *,
        publisher: object,
        backlog: bool,
        stalled: bool,
        offset_ns: int | None,
        twin: Vector | None,
    ) -> int:
        """Take in the commands of a packet, newest first, and return how many were new and valid.

        Args:
            commands: The commands.
            now_ns: Monotonic time [ns].
            publisher: Who sent them.
            backlog: Whether they are motion of an outage, sent later; they tell nothing about the link.
            stalled: Whether we were stopped ourselves; then the times of arrival tell nothing either.
            offset_ns: Leader's minus follower's clock [ns], None when not known.
            twin: Where the twin of the leader is [m], None for no such check.
        """
        if not commands:
            return 0
        taken, newest = 0, commands[0]
        # the backlog has no buffer to wait in and may bring a command before its own message, which is no less valid
        before = not backlog and newest.sequence > self._packet and self._guard.knows(newest.sequence)
        before = before and self._guard.is_bound_to(publisher)
        if before and not stalled:
            self.clock.add(newest.stamp_ns, now_ns)
        for command in commands:
            if command.sequence <= self.received:
                break
            if command.sequence <= self._packet and self._guard.knows(command.sequence):
                continue
            if self._guard.check(command, now_ns, publisher=publisher, offset_ns=offset_ns, twin=twin):
                continue
            taken += 1
            self._path.add(command)
            self._ask(command)
            if not (backlog or stalled) and (command is newest or self._is_in_time(command, now_ns)):
                self.clock.add(command.stamp_ns, now_ns)
        if (taken or before) and not backlog:
            self._count(newest.sequence)
            if self.valid_ns is None or now_ns - self.valid_ns > self._slow_ns:
                self.flow_ns = now_ns
            self.valid_ns = now_ns
        return taken

    def _is_in_time(self, command: Command, now_ns: int) -> bool:
        """Whether a repeated command came so that it is worth waiting for its like."""
        return self.clock.known and now_ns - command.stamp_ns - self.clock.floor_ns < self._late_ns

    def _ask(self, command: Command) -> None:
        if self._request is None:
            self._request = command.request
        elif command.request > self._request:
            self._request, self._action = command.request, command.action

    def request(self) -> str:
        """Return what was asked for since the last call, '' for nothing."""
        action, self._action = self._action, ''
        return action

    def _count(self, sequence: int) -> None:
        """Measure the loss of packets; a jump of the numbers is a leader that began anew."""
        if sequence - self._packet > MEMORY:  # the first, too: what was before never comes
            self.received = sequence - 1
            self.begun_anew = True
        for _ in range(min(max(sequence - self._packet, 0), _MOST_MISSING)):
            self.loss *= 1.0 - _LOSS_BLEND
        missing = sequence - self._packet - 1
        if 0 < missing < _MOST_MISSING and self._packet:
            self.loss += _LOSS_BLEND * missing
        self._packet = max(self._packet, sequence)

    def settle(self, *, plays: bool) -> None:
        """Find up to where nothing is missing that could still be played; else one early loss is asked for for ever.

        Args:
            plays: Whether anything was played yet.
        """
        if plays:
            self.received = max(self.received, self._path.reached)
        while self._guard.knows(self.received + 1):
            self.received += 1

    def distrust(self, now_ns: int, hold_ns: int) -> None:
        """Take the time in which we were stopped ourselves as silence: what came in it was not watched.

        Args:
            now_ns: Monotonic time [ns].
            hold_ns: The silence to take it as, at least [ns].
        """
        self.flow_ns = now_ns
        if self.valid_ns is not None:
            self.valid_ns = min(self.valid_ns, now_ns - hold_ns)
