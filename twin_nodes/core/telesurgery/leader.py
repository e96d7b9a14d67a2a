"""The leader's side: the hand becomes absolute commands, the twin answers at once, what comes back corrects it."""

import math
from bisect import bisect_left, bisect_right

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import (
    IDENTITY,
    Command,
    FollowerState,
    Quaternion,
    Vector,
    mix,
)
from twin_nodes.core.telesurgery.compensation_config import LeaderConfig
from twin_nodes.core.telesurgery.scaling import MotionScaler

_CORRECTS = ('connected', 'degraded')
_MAX_STEP = 0.02
MOVED_ALONE = 0.002  # farther from what was commanded than losses and prediction explain [m]


class Leader:
    """Makes commands, keeps those that the follower has not got, predicts the robot.

    Args:
        config: Settings.
        position: Where the robot stands [m].
        first: Commands and requests are numbered from above this; a leader that begins anew goes on above the old ones.
    """

    def __init__(self, config: LeaderConfig, position: Vector, *, first: int = 0) -> None:
        self._config = config
        self._first = first
        self.scaler = MotionScaler(config.scaling)
        self._history: list[Command] = []
        self._stamps: list[int] = []
        self._position = position
        self._velocity: Vector = (0.0, 0.0, 0.0)
        self._goal = position
        self._hand: Vector | None = None
        self._correction: Vector = (0.0, 0.0, 0.0)
        self._request, self._action = first, ''
        self._sent_back = 0
        self._corrected_ns = 0
        self.state: FollowerState | None = None
        self.delay = 0.0
        self.at_wall = False

    @property
    def sequence(self) -> int:
        """Number of the last command."""
        return self._history[-1].sequence if self._history else self._first

    @property
    def last(self) -> Vector:
        """Position of the last command [m]."""
        return self._position

    def rebase(self, position: Vector) -> None:
        """Let the hand hold another place from now on (a clutch): commands go there, shaped, and on with the hand.

        For when the robot has moved by itself, so that `discard` does not undo what it did.

        Args:
            position: Where the robot is [m].
        """
        self._goal = self._inside(position)

    def release(self) -> None:
        """Let go of the hand (a clutch): wherever it speaks again, it holds the place that the commands have now.

        For a hand that was silent: what it did meanwhile was not commanded, and a console that begins anew begins
        elsewhere.
        """
        self._hand = None
        self._goal, self._velocity = self._position, (0.0, 0.0, 0.0)

    def apart(self) -> float:
        """Return how far the robot is from where the commands that it has reached would have it [m]; 0 if not known."""
        if self.state is None or not self.state.played_ns:
            return 0.0
        said = self._said(self.state.played_ns)
        return math.dist(said, self.state.position) if said is not None else 0.0

    def request(self, action: str) -> None:
        """Ask the follower for 'replay', 'follow', 'discard' or 'stop', with the next command."""
        self._request += 1
        self._action = action

    def command(self, now_ns: int, hand: Vector, *, quat_xyzw: Quaternion = IDENTITY, jaw: float = 1.0) -> Command:
        """Make the command of now; the change of the hand is scaled and shaped to speed and acceleration.

        Args:
            now_ns: Monotonic time [ns].
            hand: Where the operator's hand is [m].
            quat_xyzw: Orientation.
            jaw: Opening.
        """
        if self._hand is not None:
            scale, goal, last = self.scaler.scale, self._goal, self._hand
            wanted = (
                goal[0] + scale * (hand[0] - last[0]),
                goal[1] + scale * (hand[1] - last[1]),
                goal[2] + scale * (hand[2] - last[2]),
            )
            self._goal = self._inside(wanted)
            self.at_wall = self._goal != wanted
        self._hand = hand
        seconds = (now_ns - self._stamps[-1]) / NANOSECONDS if self._stamps else 0.0
        self._shape(min(seconds, _MAX_STEP))
        made = Command(self.sequence + 1, now_ns, self._position, quat_xyzw, jaw, self._request, self._action)
        self._history.append(made)
        self._stamps.append(now_ns)
        self._forget(now_ns)
        return made

    def _shape(self, dt: float) -> None:
        if dt <= 0.0:
            return
        config, goal, at = self._config, self._goal, self._position
        wish = ((goal[0] - at[0]) / dt, (goal[1] - at[1]) / dt, (goal[2] - at[2]) / dt)
        speed = math.hypot(*wish)
        if speed > config.max_speed:
            share = config.max_speed / speed
            wish = (share * wish[0], share * wish[1], share * wish[2])
        change = math.dist(wish, self._velocity)
        most = config.max_acceleration * dt
        velocity = wish if change <= most else mix(self._velocity, wish, most / change)
        self._velocity = velocity
        self._position = self._inside((at[0] + dt * velocity[0], at[1] + dt * velocity[1], at[2] + dt * velocity[2]))

    def _inside(self, p: Vector) -> Vector:
        """Keep the hand within its walls; `at_wall` says when it meets one."""
        (a, b, c), (d, e, f) = self._config.low, self._config.high
        return min(max(p[0], a), d), min(max(p[1], b), e), min(max(p[2], c), f)

    def _forget(self, now_ns: int) -> None:
        oldest = now_ns - round(self._config.keep * NANOSECONDS)
        if self._stamps[0] < oldest and len(self._stamps) % 256 == 0:
            count = bisect_left(self._stamps, oldest)
            del self._stamps[:count], self._history[:count]

    def packet(self, copies: int | None = None) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
        """Return the newest commands, newest first, and buffered ones of an outage that the follower lacks.

        Args:
            copies: How many of the newest; None for `redundancy` where the follower misses some, else one.
        """
        lossy = self.state is None or self.state.loss > 0.001
        count = (self._config.redundancy if lossy else 1) if copies is None else copies
        live = tuple(reversed(self._history[-count:]))
        return live, self._backlog(len(live))

    def _backlog(self, live: int) -> tuple[Command, ...]:
        if self.state is None or not self._history or not self._config.backlog_per_packet:
            return ()
        first = self._history[0].sequence
        start = max(self._sent_back, self.state.received + 1, first)
        behind = self.sequence - live - start
        if behind < 0 or self.state.mode in _CORRECTS:
            self._sent_back = 0
            return ()
        count = min(self._config.backlog_per_packet, behind + 1)
        part = self._history[start - first : start - first + count]
        self._sent_back = start + len(part)
        if self._sent_back >= self.sequence - live:
            self._sent_back = 0  # once more from the start of what is still missing
        return tuple(reversed(part))

    def feedback(self, state: FollowerState, now_ns: int) -> None:
        """Take in what the follower says: correct the predicted robot, measure the delay."""
        if self.state is not None and state.stamp_ns <= self.state.stamp_ns:
            return
        self.state = state
        if state.mode not in _CORRECTS or not state.played_ns:
            return
        delay = (now_ns - state.played_ns) / NANOSECONDS
        self.delay += 0.02 * (delay - self.delay)
        self.scaler.update(now_ns, self.delay)
        said = self._said(state.played_ns)
        seconds = min((now_ns - self._corrected_ns) / NANOSECONDS, 0.1)
        self._corrected_ns = now_ns
        if said is not None:
            self._correct(said, state.position, seconds)

    def _said(self, stamp_ns: int) -> Vector | None:
        """Return what was commanded for a time."""
        index = bisect_right(self._stamps, stamp_ns)
        if index == 0 or index > len(self._stamps) - 1:
            return self._history[-1].position if index and self._history else None
        first, second = self._history[index - 1], self._history[index]
        share = (stamp_ns - first.stamp_ns) / (second.stamp_ns - first.stamp_ns)
        return mix(first.position, second.position, share)

    def _correct(self, said: Vector, measured: Vector, seconds: float) -> None:
        config, now = self._config, self._correction
        error = (measured[0] - said[0], measured[1] - said[1], measured[2] - said[2])
        share = 1.0 - math.exp(-seconds / config.correction_time)
        step = share * math.dist(error, now)
        if step > config.correction_speed * seconds:
            share *= config.correction_speed * seconds / step
        self._correction = mix(now, error, share)

    def predicted(self) -> Vector:
        """Return the predicted tip [m]: the twin advanced by the operator's own commands, corrected smoothly."""
        p, c = self._position, self._correction
        return p[0] + c[0], p[1] + c[1], p[2] + c[2]
