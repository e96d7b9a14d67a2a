"""One transfer through the compensation, in simulated time: operator, leader, link, follower, task.

Modes: `direct` is the console as people know it: increments, applied as they come. `bridge` sends absolute, stamped,
repeated commands that are played in order and held; the operator sees the real picture. `prediction` shows him the
predicted robot, but he waits while the link is down. `twin` lets him go on in the twin while the link is down, and
replays what he did when he asks for it.
"""

import heapq
from dataclasses import replace

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.assistance import Step
from twin_nodes.core.telesurgery.command import Command, FollowerState, Vector, distance
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.leader import MOVED_ALONE, Leader
from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.direct import STEP_NS, Transfer, arrival_steps, direct_transfer
from twin_nodes.core.telesurgery.operator.hand_kernels import (
    COMMAND,
    HAND,
    IDLE,
    JAW,
    PHASE,
    RING,
    VIEW_CARRY,
    VIEW_CLOSED,
    VIEW_OBJ,
    VIEW_PLACED,
    VIEW_READY,
    VIEW_STAMP,
    VIEW_TIP,
    hand_step,
    new_hand,
    new_views,
)
from twin_nodes.core.telesurgery.operator.local_twin import LocalTwin
from twin_nodes.core.telesurgery.operator.path_error import path_errors
from twin_nodes.core.telesurgery.operator.task_kernels import (
    CARRY,
    CLOSED,
    COLLISIONS,
    DROPS,
    MISSES,
    OBJ,
    PLACED,
    RETREAT,
    new_task,
    task_step,
)
from twin_nodes.core.telesurgery.operator.trial_config import MODES, TrialConfig, TrialResult
from twin_nodes.core.telesurgery.operator.trial_record import TrialRecord
from twin_nodes.core.telesurgery.operator.wire import Wire
from twin_nodes.core.telesurgery.passivity import FixtureRenderer

__all__ = ['MODES', 'TrialConfig', 'TrialResult', 'run_trial']

START_NS = NANOSECONDS
HEADER_BYTES, COMMAND_BYTES, STATE_BYTES = 64, 56, 136
_MOST_COPIES, _COPIES = 20, 8  # in each datagram, on a link that loses and on one that does not
_FLOOR = -0.003  # the geofence: the board, as deep as it may be pressed [m]
_HAND_DAMPING = 20.0  # of the arm that holds the console [N s/m]
_ASK_AGAIN = 0.5
_SEEN = 0.5  # an older state of the robot is not trusted [s]
_OFTEN = 10  # a link that went twice within this comes and goes: he lets the robot follow
Packet = tuple[Command, ...]
_FOLLOWS = (Mode.CONNECTED, Mode.DEGRADED)


def run_trial(config: TrialConfig, link: Link, mode: str, noise: Array, *, forward_only: bool = False) -> TrialResult:
    """Run one transfer.

    Args:
        config: Settings.
        link: The link of this trial, fresh.
        mode: One of MODES.
        noise: Noise of the operator, shape (n, 8).
        forward_only: Whether the picture comes back without the link, as in the study of UVA.
    """
    if mode == 'direct':
        forward = arrival_steps(link.forward, len(noise))
        backward = arrival_steps(None if forward_only else link.backward, len(noise))
        transfer, tips = direct_transfer(config.operator, config.task, noise, forward, backward)
        rms, largest = path_errors(tips[:, :3], tips[:, 3:])
        return TrialResult(transfer, rms, largest)
    return _Trial(config, link, mode, noise, forward_only).run()


class _Trial:
    """The parts of a compensated transfer, wired."""

    def __init__(self, config: TrialConfig, link: Link, mode: str, noise: Array, forward_only: bool) -> None:
        self.config, self.link, self.mode, self.noise = config, link, mode, noise
        self.forward_only = forward_only
        self.hand, self.views = new_hand(), new_views()
        self.real, self.twin = new_task(), new_task()
        start = _vector(self.hand, COMMAND)
        off = (config.registration * noise[0, :3]).tolist()
        self.error: Vector = (off[0], off[1], off[2])
        self.leader = Leader(config.leader, start)
        assistance = replace(config.follower.assistance, enabled=config.assisted)
        self.local = LocalTwin(config.task.handover_time) if config.assisted else None
        self.fence = Geofence([HalfSpace((0.0, 0.0, _FLOOR), (0.0, 0.0, 1.0))])
        self.follower = Follower(
            replace(config.follower, assistance=assistance),
            start,
            fence=self.fence,
        )
        board = HalfSpace((0.0, 0.0, -0.5 * config.task.press), (0.0, 0.0, 1.0))
        self.fixture = FixtureRenderer(config.fixture, [board])
        self.down: list[tuple[int, int, Packet, Packet, float]] = []
        self.up: list[tuple[int, int, FollowerState, Array, float]] = []
        self.down_wire, self.up_wire = Wire(), Wire()
        self.count = 0
        self.asked = -10 * _OFTEN * NANOSECONDS
        self.last_feedback = 0
        self.scene: Array = self.real.copy()
        self.heard: FollowerState | None = None
        self.twin_log: dict[int, tuple[float, float, float, float]] = {}
        self.said: dict[int, Vector] = {}
        self.record = TrialRecord()

    def run(self) -> TrialResult:
        """Run until the transfer is done or takes too long."""
        operator, task = self.config.operator.parameters(), self.config.task.parameters()
        parameters = (operator, task)
        last = len(self.noise) - 1
        for index in range(len(self.noise)):
            now_ns = START_NS + index * STEP_NS
            done = hand_step(self.hand, *parameters, self.views, index, self.noise[index])
            self._lead(now_ns, index)
            point = self._follow(now_ns, index)
            clocks = self._follower_ns(now_ns), self._leader_ns(now_ns)
            self.record.add(*clocks, self.leader, self.follower, point, self.fence.touches)
            self._see(now_ns, index)
            if done and self.real[PLACED] > 0.5:
                last = index
                break
            if done:  # in the twin; the robot has yet to do it, or has not managed
                self.hand[PHASE] = RETREAT
        else:
            done = False
        return self._result(last + 1, done)

    def _leader_ns(self, now_ns: int) -> int:
        """What the leader's monotonic clock shows at a true time."""
        return START_NS + self.link.leader_clock.monotonic_ns(now_ns - START_NS)

    def _follower_ns(self, now_ns: int) -> int:
        """What the follower's monotonic clock shows at a true time."""
        return START_NS + self.link.follower_clock.monotonic_ns(now_ns - START_NS)

    def _lead(self, now_ns: int, index: int) -> None:
        """Send the command of now, with what the fixtures do to the hand and what the operator asks for."""
        self._feel()
        leader = self.leader
        command = leader.command(self._leader_ns(now_ns), _vector(self.hand, COMMAND), jaw=float(self.hand[JAW]))
        self._ask(now_ns)
        tip = leader.predicted()
        task_step(self.twin, self.config.task.parameters(), *tip, command.jaw, 1.0)
        self.said[command.stamp_ns // STEP_NS] = command.position
        self.twin_log[command.stamp_ns // STEP_NS] = (self.twin[CARRY], *_vector(self.twin, OBJ))
        share = self.down_wire.share(COMMAND_BYTES)
        if not share:
            return  # goes with the next
        lossy = self.heard is None or self.heard.loss > 0.001
        live, backlog = leader.packet(min(share, _MOST_COPIES if lossy else _COPIES))
        backlog = backlog[-max(share - len(live), 0) :] if share > len(live) else ()
        size = HEADER_BYTES + COMMAND_BYTES * (len(live) + len(backlog))
        for arrival in self.link.forward.send(now_ns - START_NS, size):
            self.count += 1
            heapq.heappush(self.down, (arrival + START_NS, self.count, live, backlog, self.up_wire.queue_s))

    def _feel(self) -> None:
        """Push the hand out of the fixtures; the arm gives way like a damper."""
        tip = self.leader.predicted()
        rates = ((self.hand[HAND : HAND + 3] - self.record.hand) / STEP).tolist()
        velocity = (rates[0], rates[1], rates[2])
        self.record.hand = self.hand[HAND : HAND + 3].copy()
        if tip[2] < 0.0 or self.fixture.observer.energy < 0.0:
            force = self.fixture.force(tip, velocity, STEP)
            for axis in range(3):
                push = STEP * force[axis] / _HAND_DAMPING
                self.hand[HAND + axis] += push
                self.hand[COMMAND + axis] += push

    def _ask(self, now_ns: int) -> None:
        """Press resume when the follower waits for it."""
        state = self.heard
        seen = state is not None and now_ns - self.last_feedback < _SEEN * NANOSECONDS
        if state is None or not seen or state.mode not in (Mode.HOLD, Mode.OUTAGE):
            self.record.waiting_ns = None
            return
        if self.record.waiting_ns is None:
            if state.mode == Mode.OUTAGE:
                return
            self.record.waiting_ns = now_ns
        pause = self.config.operator.reaction + self.config.operator.ask
        if (now_ns - self.record.waiting_ns) < pause * NANOSECONDS or now_ns - self.asked < _ASK_AGAIN * NANOSECONDS:
            return
        alone = self.config.assisted and state is not None and self._went_alone(state)
        if alone and state is not None:
            self.leader.rebase(state.position)
        often = now_ns - self.asked < _OFTEN * NANOSECONDS
        replays = self.mode == 'twin' and (self.record.begun or often) and self._same() and not alone
        self.asked = now_ns
        self.leader.request('discard' if not replays else 'follow' if often else 'replay')
        if not replays:
            self.twin[:] = self.scene

    def _went_alone(self, state: FollowerState) -> bool:
        """Whether the robot is not where the commands that it has reached would have it."""
        said = self.said.get(state.played_ns // STEP_NS)
        return said is not None and distance(said, state.position) > MOVED_ALONE

    def _same(self) -> bool:
        """Whether the twin, at what the robot has reached, agrees with what is seen there."""
        assert self.heard is not None
        then = self.twin_log.get(self.heard.played_ns // STEP_NS)
        if then is None:
            return True
        divergence = self.config.follower.divergence
        apart = distance((then[1], then[2], then[3]), _vector(self.scene, OBJ))
        near = apart <= divergence.agree_share * divergence.tolerance  # else the follower would refuse it, or stop
        return near and (then[0] > 0.5) == (self.scene[CARRY] > 0.5)

    def _follow(self, now_ns: int, index: int) -> SetPoint:
        """Take what has come, move the robot and the real object, send the picture."""
        here_ns = self._follower_ns(now_ns)
        while self.down and self.down[0][0] <= now_ns:
            arrival, _, live, backlog, queue_s = heapq.heappop(self.down)
            self.down_wire.arrived(live[0].stamp_ns, arrival)
            self.up_wire.reported(queue_s, 0.0, arrival)
            self.follower.receive(live, here_ns, publisher=1)
            if backlog and self.mode == 'twin':
                self.follower.receive(backlog, here_ns, publisher=1, backlog=True)
        if self.local is not None:
            self._allow(here_ns, self.local)
        point = self.follower.tick(here_ns)
        x, y, z = point.position
        task_step(self.real, self.config.task.parameters(), x, y, z, point.jaw, float(self.noise[index, 7]))
        state = self.follower.state(here_ns)
        self._compare(here_ns, state)
        self._report(now_ns, state)
        return point

    def _allow(self, now_ns: int, local: LocalTwin) -> None:
        """Tell the assistance what the local twin knows; a person at the robot allows each completion."""
        assistance = self.follower.assistance
        if self.follower.mode in (Mode.CONNECTED, Mode.DEGRADED) and assistance.step is not Step.ARMED:
            assistance.arm()
        scene = local.look(now_ns, self.follower.state(now_ns).position, self.real)
        if scene is not None:
            assistance.observe(now_ns, scene)

    def _report(self, now_ns: int, state: FollowerState) -> None:
        """Send back how the follower stands and what his camera sees."""
        if self.forward_only:
            arrivals: tuple[int, ...] = (now_ns - START_NS,)
        elif self.up_wire.share(STATE_BYTES):
            arrivals = self.link.backward.send(now_ns - START_NS, HEADER_BYTES + STATE_BYTES)
        else:
            return
        for arrival in arrivals:
            self.count += 1
            heapq.heappush(self.up, (arrival + START_NS, self.count, state, self.real.copy(), self.down_wire.queue_s))

    def _compare(self, now_ns: int, state: FollowerState) -> None:
        """Hold twin and reality together: an object that the twin carries and the robot does not parts them."""
        if self.mode != 'twin' or self.follower.mode is not Mode.CATCH_UP:
            self.follower.monitor.update(now_ns, 0.0)
            return
        then = self.twin_log.get(state.played_ns // STEP_NS)
        gap = distance((then[1], then[2], then[3]), _vector(self.real, OBJ)) if then is not None else 0.0
        self.follower.monitor.update(now_ns, gap)

    def _see(self, now_ns: int, index: int) -> None:
        """Show the operator what his mode lets him see."""
        came = False
        while self.up and self.up[0][0] <= now_ns:
            arrival, _, state, scene, queue_s = heapq.heappop(self.up)
            self.up_wire.arrived(state.stamp_ns, arrival)
            self.down_wire.reported(queue_s, state.loss, arrival)
            if self.heard is None or state.stamp_ns > self.heard.stamp_ns:
                self.heard, self.scene, came = state, scene, True
                self.last_feedback = now_ns
        if came and self.heard is not None:
            self.leader.feedback(self.heard, self._leader_ns(now_ns))
            self.record.begun = self.record.begun or self.heard.mode in _FOLLOWS
        row = self.views[(index + 1) % RING]
        row[:] = self.views[index % RING]
        follows = self.heard is not None and self.heard.mode in _FOLLOWS
        fresh = now_ns - self.last_feedback < 0.2 * NANOSECONDS
        if self.mode == 'bridge':
            self._real_view(row, now_ns, follows)
        else:
            self._twin_view(row, now_ns, follows and fresh)

    def _real_view(self, row: Array, now_ns: int, follows: bool) -> None:
        state = self.heard
        row[VIEW_READY] = float(follows or not self.record.begun)
        if state is None:
            return
        row[VIEW_TIP : VIEW_TIP + 3] = state.position
        if state.played_ns:
            lag_ns = self._leader_ns(now_ns) - state.played_ns
            row[VIEW_STAMP] = (now_ns - START_NS - lag_ns) / NANOSECONDS
        row[VIEW_CARRY], row[VIEW_PLACED], row[VIEW_CLOSED] = self.scene[CARRY], self.scene[PLACED], self.scene[CLOSED]
        row[VIEW_OBJ : VIEW_OBJ + 3] = self.scene[OBJ : OBJ + 3]

    def _twin_view(self, row: Array, now_ns: int, linked: bool) -> None:
        """Show the predicted robot; objects as the twin has them, made real by what comes back."""
        alone = self.mode == 'twin' and not linked and self.record.begun
        row[VIEW_READY] = float(linked or alone or not self.record.begun)
        row[VIEW_TIP : VIEW_TIP + 3] = self.leader.predicted()
        row[VIEW_STAMP] = (now_ns - START_NS) / NANOSECONDS
        if alone:
            source = self.twin
        else:
            source = self.scene
            self._make_real()
        row[VIEW_CARRY], row[VIEW_PLACED], row[VIEW_CLOSED] = source[CARRY], source[PLACED], source[CLOSED]
        at = _vector(self.twin, OBJ) if self.twin[CARRY] > 0.5 else _vector(source, OBJ)
        for axis in range(3):
            row[VIEW_OBJ + axis] = at[axis] + self.error[axis]

    def _make_real(self) -> None:
        """Correct the twin's object where the picture of what it did has come back and says otherwise."""
        if self.heard is None or not self.heard.played_ns:
            return
        then = self.twin_log.get(self.heard.played_ns // STEP_NS)
        if then is None or (then[0] > 0.5) == (self.scene[CARRY] > 0.5):
            if self.twin[CARRY] < 0.5 and self.scene[CARRY] < 0.5:
                self.twin[OBJ : OBJ + 3] = self.scene[OBJ : OBJ + 3]
                self.twin[PLACED] = self.scene[PLACED]
            return
        self.twin[CARRY], self.twin[PLACED] = self.scene[CARRY], self.scene[PLACED]
        self.twin[OBJ : OBJ + 3] = self.scene[OBJ : OBJ + 3]

    def _result(self, count: int, done: bool) -> TrialResult:
        record, real = self.record, self.real
        robot = np.array(record.robot)
        way = float(np.linalg.norm(np.diff(robot, axis=0), axis=1).sum())
        transfer = Transfer(
            count * STEP, done and real[PLACED] > 0.5, int(real[DROPS]), int(real[COLLISIONS]), int(real[MISSES]),
            float(self.hand[IDLE]), way,
        )  # fmt: skip
        follows = np.flatnonzero(record.follows)
        rms, largest = path_errors(np.array(record.said), robot[follows], follows)
        return TrialResult(
            transfer, rms, largest, record.step, record.speed, record.reconnections, tuple(record.holds),
            self.fixture.observer.lowest, {name: n / count for name, n in record.modes.items()},
            record.lag / max(record.lagged, 1), self.follower.assistance.completed,
        )  # fmt: skip


def _vector(state: Array, at: int) -> Vector:
    return float(state[at]), float(state[at + 1]), float(state[at + 2])
