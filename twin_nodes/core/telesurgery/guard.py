"""The last check before a command may move a robot: who, in what order, when, where, how fast, does it fit the twin."""

import math
from collections import Counter

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command, Vector, quat_angle
from twin_nodes.core.telesurgery.compensation_config import GuardConfig

MEMORY = 4096
REASONS = (
    'COMMAND_PUBLISHER', 'COMMAND_NOT_FINITE', 'COMMAND_FUTURE', 'COMMAND_STALE', 'COMMAND_REPEATED', 'COMMAND_ORDER',
    'COMMAND_WORKSPACE', 'COMMAND_SPEED', 'COMMAND_TWIN', 'COMMAND_FROZEN',
)  # fmt: skip


class CommandGuard:
    """Passes or refuses commands; what it refuses changes nothing of what it knows.

    Sequence and stamp must rise together: a command that fills a gap lies between its neighbours in both. Stamps are
    the leader's; where the follower's clock is known to differ, `offset_ns` is leader minus follower.

    Args:
        config: Limits.
    """

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._publisher: object = None
        self._known: dict[int, Command] = {}
        self._newest: Command | None = None
        self._repeats = 0
        self.counts: Counter[str] = Counter()

    @property
    def newest(self) -> Command | None:
        """The passed command with the highest number."""
        return self._newest

    def knows(self, sequence: int) -> bool:
        """Whether the command of this number has passed."""
        return sequence in self._known

    def is_bound_to(self, publisher: object) -> bool:
        """Whether this is the publisher whose commands pass."""
        return self._publisher is None or publisher == self._publisher

    def release(self) -> None:
        """Forget the publisher and all that came: a new session begins."""
        self._publisher, self._newest, self._repeats = None, None, 0
        self._known.clear()

    def check(
        self,
        command: Command,
        now_ns: int,
        *,
        publisher: object,
        offset_ns: int | None = None,
        twin: Vector | None = None,
    ) -> str:
        """Return '' when the command may be used, else the code of the reason.

        Args:
            command: The command.
            now_ns: Follower's monotonic time [ns].
            publisher: Who sent it; the first one is bound until `release`.
            offset_ns: Leader's minus follower's clock [ns], None when it is not known.
            twin: Where the twin of the leader is [m], None when there is none.
        """
        reason = self._reason(command, now_ns, publisher, offset_ns, twin)
        if reason:
            self.counts[reason] += 1
        else:
            self._take(command, publisher)
        return reason

    def _reason(
        self, command: Command, now_ns: int, publisher: object, offset_ns: int | None, twin: Vector | None
    ) -> str:
        config = self._config
        if not self.is_bound_to(publisher):
            return 'COMMAND_PUBLISHER'
        if not all(map(math.isfinite, (*command.position, *command.quat_xyzw, command.jaw))):
            return 'COMMAND_NOT_FINITE'
        if abs(sum(q * q for q in command.quat_xyzw) - 1.0) > 2e-2:
            return 'COMMAND_NOT_FINITE'
        if command.sequence in self._known:
            return 'COMMAND_REPEATED'
        if offset_ns is not None:
            age = (now_ns + offset_ns - command.stamp_ns) / NANOSECONDS
            if age < -config.max_ahead:
                return 'COMMAND_FUTURE'
            if age > config.max_age:
                return 'COMMAND_STALE'
        if command.stamp_ns <= 0:
            return 'COMMAND_FROZEN'
        if any(not low <= p <= high for low, p, high in zip(config.low, command.position, config.high, strict=True)):
            return 'COMMAND_WORKSPACE'
        if twin is not None and math.dist(twin, command.position) > config.twin_tolerance:
            return 'COMMAND_TWIN'
        return self._order(command)

    def _order(self, command: Command) -> str:
        newest = self._newest
        if newest is None:
            return ''
        if command.sequence > newest.sequence:
            if command.stamp_ns < newest.stamp_ns:
                return 'COMMAND_ORDER'
            if command.stamp_ns == newest.stamp_ns:
                return 'COMMAND_FROZEN' if self._repeats >= self._config.max_repeats else self._motion(newest, command)
            return self._motion(newest, command)
        if newest.sequence - command.sequence > MEMORY or command.stamp_ns >= newest.stamp_ns:
            return 'COMMAND_ORDER'
        before = self._known.get(command.sequence - 1)
        after = self._known.get(command.sequence + 1)
        if (before is not None and command.stamp_ns <= before.stamp_ns) or (
            after is not None and command.stamp_ns >= after.stamp_ns
        ):
            return 'COMMAND_ORDER'
        return self._motion(command, after) if after is not None else ''

    def _motion(self, first: Command, second: Command) -> str:
        config = self._config
        seconds = max((second.stamp_ns - first.stamp_ns) / NANOSECONDS, 0.005)
        if math.dist(first.position, second.position) > config.max_speed * seconds:
            return 'COMMAND_SPEED'
        if first.quat_xyzw == second.quat_xyzw:
            return ''
        turned = quat_angle(first.quat_xyzw, second.quat_xyzw)
        return 'COMMAND_SPEED' if turned > config.max_turn * seconds + 1e-6 else ''

    def _take(self, command: Command, publisher: object) -> None:
        self._publisher = publisher
        self._known[command.sequence] = command
        newest = self._newest
        if newest is None or command.sequence > newest.sequence:
            same = newest is not None and command.stamp_ns == newest.stamp_ns
            self._repeats = self._repeats + 1 if same else 0
            self._newest = command
        while len(self._known) > MEMORY:
            del self._known[next(iter(self._known))]
