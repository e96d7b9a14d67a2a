"""The follower's side: commands in, one set point per tick out, whatever the link does. Told the time."""

from dataclasses import dataclass

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.assistance import Assistance
from twin_nodes.core.telesurgery.command import (
    IDENTITY,
    Command,
    FollowerState,
    Quaternion,
    Vector,
    distance,
)
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig
from twin_nodes.core.telesurgery.divergence import DivergenceMonitor
from twin_nodes.core.telesurgery.geofence import Geofence
from twin_nodes.core.telesurgery.guard import CommandGuard
from twin_nodes.core.telesurgery.modes import Mode, ModeMachine, Signs
from twin_nodes.core.telesurgery.player import Player
from twin_nodes.core.telesurgery.reception import Reception
from twin_nodes.core.telesurgery.speed_bounds import SpeedBounds
from twin_nodes.core.telesurgery.standing_resume import StandingResume

_MAX_TICK = 0.02  # a longer tick is a stall: motion goes on as if it had been this long [s]
_SLEW = 25.0  # growth and fall of the play rate [1/s]
_STANDS = (Mode.OUTAGE, Mode.HOLD)
_CREEP = 1e-6  # of a robot that stands, so that it has a speed [m/s]
_PATIENCE_NS = 2 * NANOSECONDS  # a replay waits this long for what is missing in front of it, then goes on across it


@dataclass(frozen=True, slots=True)
class SetPoint:
    """What the robot is told.

    Args:
        position: Tip [m].
        quat_xyzw: Orientation of the tip.
        jaw: Opening.
        mode: Mode of the follower.
        speed: Speed of the tip [m/s].
        predicted: Whether a late command is bridged by prediction.
    """

    position: Vector
    quat_xyzw: Quaternion
    jaw: float
    mode: Mode
    speed: float
    predicted: bool


class Follower:
    """Plays commands, bridges, slows, holds, and goes on when the operator says so.

    Args:
        config: Settings.
        position: Where the robot stands [m].
        quat_xyzw: Its orientation.
        jaw: Its jaw.
        fence: The geofence of the local twin.
    """

    def __init__(
        self,
        config: FollowerConfig,
        position: Vector,
        *,
        quat_xyzw: Quaternion = IDENTITY,
        jaw: float = 1.0,
        fence: Geofence | None = None,
    ) -> None:
        self.config = config
        self.guard = CommandGuard(config.guard)
        self.monitor = DivergenceMonitor(config.divergence)
        self.machine = ModeMachine(config.playback, config.outage)
        self.assistance = Assistance(config.assistance)
        self.standing = StandingResume(config.outage.follow_gap)
        self._player = Player(config.playback, position, quat_xyzw, jaw, fence if fence is not None else Geofence())
        self._reception = Reception(config.playback, self.guard, self._player.path)
        self._clock = self._reception.clock
        self._bounds = SpeedBounds(config.outage, config.playback.max_turn)
        self._slow_ns = round(config.playback.slow_after * NANOSECONDS)
        self._hold_ns = round(config.playback.hold_after * NANOSECONDS)
        self._bridge_ns = round(config.playback.bridge * NANOSECONDS)
        self._rate = 0.0
        self._chase = 0.0
        self._speed = 0.0
        self._tick_ns: int | None = None
        self._asked = ''
        self._told = (position, quat_xyzw, jaw)
        self._shaped_ns = 0  # how much of the lateness is made by our own bound on the speed after a return
        self._whole_from_ns = 0
        self._waits_ns = 0
        self._joins = True
        self._went_alone = False
        self._alone_ns = round(config.assistance.begin_after * NANOSECONDS)

    @property
    def mode(self) -> Mode:
        """The mode."""
        return self.machine.mode

    @property
    def valid_ns(self) -> int | None:
        """When the last valid command came [ns], None before the first."""
        return self._reception.valid_ns

    @property
    def replays(self) -> bool:
        """Whether motion of before is being played."""
        return self.mode is Mode.CATCH_UP and self._asked != 'discard'

    @property
    def on_path(self) -> bool:
        """Whether the robot is to be on the path of the commands: it follows or replays, and has come back to it."""
        return (self.mode in (Mode.CONNECTED, Mode.DEGRADED) or self.replays) and not self._joins

    @property
    def lag(self) -> float:
        """Between the leader's stamp and the time of playing, clock offset in it [s]."""
        return self._clock.lag_ns / NANOSECONDS

    def receive(
        self,
        commands: tuple[Command, ...],
        now_ns: int,
        *,
        publisher: object = None,
        backlog: bool = False,
        offset_ns: int | None = None,
        twin: Vector | None = None,
    ) -> int:
        """Take in the commands of a packet, newest first, and return how many were new and valid.

        Args:
            commands: The commands.
            now_ns: Monotonic time [ns].
            publisher: Who sent them.
            backlog: Whether they are motion of an outage, sent later; they tell nothing about the link.
            offset_ns: Leader's minus follower's clock [ns], None when not known.
            twin: Where the twin of the leader is [m], None for no such check.
        """
        stalled = self._tick_ns is not None and now_ns - self._tick_ns > self._hold_ns  # we, not the link
        reception = self._reception
        taken = reception.take(
            commands, now_ns, publisher=publisher, backlog=backlog, stalled=stalled, offset_ns=offset_ns, twin=twin
        )
        if reception.begun_anew:
            reception.begun_anew = False
            self._player.path.overflowed = bool(self._player.playhead)
            self.standing.lapse()
        return taken

    def tick(self, now_ns: int) -> SetPoint:
        """Return the set point of now; call it at the rate of the robot."""
        elapsed_ns = now_ns - self._tick_ns if self._tick_ns is not None else 0
        if elapsed_ns > self._hold_ns:  # we were stopped ourselves: what came in between was not watched
            self._rate = self._chase = 0.0
            self.standing.lapse()
            self._reception.distrust(now_ns, self._hold_ns)
        self._tick_ns = now_ns
        dt = min(elapsed_ns / NANOSECONDS, _MAX_TICK)
        self._reception.settle(plays=bool(self._player.playhead))
        mode = self._decide(now_ns)
        player = self._player
        before, self._told = player.position, (player.position, player.quat_xyzw, player.jaw)
        if dt > 0.0 and player.path.newest is not None:
            if self._assist(now_ns, dt, mode):
                self._went_alone = True
            elif mode is Mode.CATCH_UP and self._asked == 'discard':
                self._return(now_ns, dt)
            elif not (self._went_alone and mode in (Mode.OUTAGE, Mode.HOLD)):  # else it would take the jaw back
                self._play(now_ns, dt, mode)
        if not (mode is Mode.CATCH_UP and self._asked == 'discard'):
            self._joins = self._joins and (not player.playhead or player.off > self.config.outage.joined_distance)
        self._speed = distance(before, player.position) / dt if dt > 0.0 else 0.0
        return SetPoint(player.position, player.quat_xyzw, player.jaw, mode, self._speed, player.predicts)

    def withdraw(self) -> None:
        """Stand where the robot was told to be before the last tick, whose set point came too late to be told."""
        self._player.stand(*self._told)
        self._speed = 0.0

    def _assist(self, now_ns: int, dt: float, mode: Mode) -> bool:
        """Let the assistance move the robot where it is allowed to; it never is while the link is there."""
        lost = mode is Mode.OUTAGE and self._rate == 0.0 and now_ns - self.machine.since_ns >= self._alone_ns
        move = self.assistance.move(now_ns, self._player.position, lost=lost, agrees=self.monitor.agrees)
        if move is None:
            return False
        self._player.carry(move.target, move.jaw, move.speed * dt, dt=dt)
        return True

    def _decide(self, now_ns: int) -> Mode:
        gap = now_ns - self.valid_ns if self.valid_ns is not None else 1 << 60
        before = self.machine.mode
        late = self._late_ns(now_ns)
        caught_up = before is Mode.CATCH_UP and self._is_caught_up(now_ns, late)
        request = self._reception.request()
        far = self._joins and not self._went_alone  # the way to the hand has not been made yet: `follow` begins with it
        served = self.monitor.agrees and (far or self._can_replay())
        self.standing.ask(request, now_ns, served=served and before is not Mode.OUTAGE)
        self.standing.watch(now_ns, before, gap, served=served)
        comes = far and self.standing.stands
        mode = self.machine.step(
            now_ns,
            Signs(
                gap_ns=gap,
                flow_ns=now_ns - self._reception.flow_ns if gap < self._slow_ns else 0,
                late_ns=late - self._shaped_ns,
                caught_up=caught_up,
                request=request,
                agrees=self.monitor.agrees,
                allowed=request == 'discard' or comes or self._can_replay(),
                standing=self.standing.stands and (comes or before not in _STANDS or self._is_whole()),
            ),
        )
        if mode is Mode.CATCH_UP and before is not Mode.CATCH_UP:
            self._begin(now_ns, 'discard' if comes else request, before)
        if mode in _STANDS and before not in _STANDS and self._player.path.newest is not None:
            self._whole_from_ns = self._player.path.newest.stamp_ns
        if request == 'stop':
            self.assistance.disarm()
        return mode

    def _begin(self, now_ns: int, request: str, before: Mode) -> None:
        """Begin to catch up: from standstill slowly, from motion as fast as it was."""
        self._asked, self._waits_ns = request, now_ns
        self._chase, self._shaped_ns = 0.0, 0
        if before in _STANDS:
            self._bounds.stood(now_ns)
        self._bounds.begin(now_ns, 0.0 if before in _STANDS else self._speed)
        if request == 'discard':
            self._player.path.overflowed = self._went_alone = False
            self._joins = True

    def _is_whole(self) -> bool:
        """Whether all that was commanded in the silence has come; what is lost beyond that lies within one hold."""
        return self._player.path.widest(self._whole_from_ns) <= self._hold_ns

    def _can_replay(self) -> bool:
        """Whether what waits is whole and begins where the robot stands."""
        return bool(self._player.playhead) and not (self._player.path.overflowed or self._went_alone)

    def _late_ns(self, now_ns: int) -> int:
        if not self._clock.known or not self._player.playhead:
            return 0
        return now_ns - self._clock.lag_ns - self._player.playhead

    def _is_caught_up(self, now_ns: int, late_ns: int) -> bool:
        outage = self.config.outage
        if self._asked == 'discard':
            self._joins = not (now_ns > self.machine.since_ns and self._player.joined)
            return not self._joins
        back = self._player.off <= outage.joined_distance  # else the rest of a way back would be made at full speed
        return self._bounds.first_is_over(now_ns) and back and late_ns <= outage.joined * NANOSECONDS

    def _fade(self, now_ns: int) -> float:
        """Return the share of speed that is left this long after the last valid command."""
        gap = now_ns - self.valid_ns if self.valid_ns is not None else self._hold_ns
        if gap <= self._slow_ns:
            return 1.0
        return max(self._hold_ns - gap, 0) / (self._hold_ns - self._slow_ns)

    def _play(self, now_ns: int, dt: float, mode: Mode) -> None:
        """Let the play rate follow the mode and the clock, and play."""
        goal, cap, turn = 0.0, self.config.playback.max_speed, None
        path = self._player.path
        assert path.newest is not None
        end_ns = path.newest.stamp_ns
        late = max(self._late_ns(now_ns), 0) / NANOSECONDS
        if mode is Mode.CATCH_UP:
            end_ns = path.whole_until(self._hold_ns)
            cap = self._bounds.catch_up(now_ns)
            turn = self._bounds.turn(cap)
            if not self._waits_at_hole(now_ns, end_ns):
                goal = min(self.config.outage.time_scale, 1.0 + late / 0.1)
        elif mode in (Mode.CONNECTED, Mode.DEGRADED):
            end_ns += self._bridge_ns
            goal = 1.0 + min(max(self._late_ns(now_ns) / NANOSECONDS / 0.3, -0.5), 0.25)
            if self._bounds.ceiling(now_ns) < cap:
                cap = self._bounds.ceiling(now_ns)
                turn = self._bounds.turn(cap)
        else:
            cap = min(cap, max(self._speed, _CREEP))  # brakes: a replay at three times the pace may not run on at that
        self._rate += min(max(goal - self._rate, -_SLEW * dt), _SLEW * dt)
        self._rate = min(self._rate, goal * self._fade(now_ns) + (0.0 if goal else self._rate))
        slowed_ns = self._player.play(self._rate, dt, cap=cap, end_ns=end_ns, turn=turn)
        returns = mode is not Mode.CATCH_UP and turn is not None
        self._shaped_ns = max(min(self._shaped_ns + returns * slowed_ns, self._late_ns(now_ns)), 0)

    def _waits_at_hole(self, now_ns: int, end_ns: int) -> bool:
        """Whether a replay stands at a hole that is being filled; after some time it is played across."""
        path = self._player.path
        assert path.newest is not None
        if end_ns == path.newest.stamp_ns or self._player.playhead < end_ns:
            self._waits_ns = now_ns
            return False
        if now_ns - self._waits_ns > _PATIENCE_NS:
            path.give_up_hole()
        if now_ns - self._waits_ns > self._hold_ns:
            self._bounds.stood(now_ns)  # it goes on as after any other stand
        return True

    def _return(self, now_ns: int, dt: float) -> None:
        """Go back to the operator on the straight way; what he did in between is not played."""
        outage = self.config.outage
        limit = self._bounds.catch_up(now_ns)
        goal = limit * self._fade(now_ns)
        self._chase = min(self._chase + outage.acceleration * dt, goal)
        newest = self._player.path.newest
        assert newest is not None
        playhead = min(now_ns - self._clock.lag_ns, newest.stamp_ns)  # not beyond what has come
        near, turn = outage.joined_distance, self._bounds.turn(limit)
        self._player.chase(playhead, self._chase * dt, dt=dt, turn=turn, near=near)

    def state(self, now_ns: int) -> FollowerState:
        """Return what is sent back to the leader."""
        player = self._player
        backlog = max(self._late_ns(now_ns), 0) / NANOSECONDS
        return FollowerState(
            now_ns, player.playhead, player.position, player.quat_xyzw, player.jaw, self.mode.value,
            self._reception.received, self._reception.loss, backlog,
        )  # fmt: skip
