"""One transfer through the compensation, in simulated time: operator, leader, link, follower, task.

Modes: `direct` is the console as people know it: increments, applied as they come. `bridge` sends absolute, stamped,
repeated commands that are played in order and held; the operator sees the real picture. `prediction` shows him the
predicted robot, but he waits while the link is down. `twin` lets him go on in the twin while the link is down, and
replays what he did when he asks for it.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.follower import SetPoint
from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.direct import (
    STEP_NS,
    Transfer,
    arrival_steps,
    direct_transfer,
    tampered_steps,
)
from twin_nodes.core.telesurgery.operator.hand_kernels import COMMAND, IDLE, PHASE, RING, hand_step, new_hand, new_views
from twin_nodes.core.telesurgery.operator.path_error import path_errors
from twin_nodes.core.telesurgery.operator.task_kernels import COLLISIONS, DROPS, MISSES, PLACED, RETREAT
from twin_nodes.core.telesurgery.operator.trial_config import MODES, TrialConfig, TrialResult
from twin_nodes.core.telesurgery.operator.trial_console import ConsoleSide, vector
from twin_nodes.core.telesurgery.operator.trial_link import COMMAND_BYTES, STATE_BYTES, SealedWay, Way, make_ways
from twin_nodes.core.telesurgery.operator.trial_record import TrialRecord
from twin_nodes.core.telesurgery.operator.trial_robot import RobotSide
from twin_nodes.core.telesurgery.operator.wire import Wire

__all__ = ['MODES', 'TrialConfig', 'TrialResult', 'run_trial']

START_NS = NANOSECONDS
_REACH = 400  # steps before what the robot plays, and half as many after it, that its path is sought in


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
        tampered = tampered_steps(link.scenario.config.attack, forward, link.seed)
        transfer, tips = direct_transfer(config.operator, config.task, noise, forward, backward, tampered)
        rms, largest = path_errors(tips[:, :3], tips[:, 3:])
        return TrialResult(transfer, rms, largest, forged_applied=tampered.taken(round(transfer.seconds / STEP)))
    return _Trial(config, link, mode, noise, forward_only).run()


class _Trial:
    """Both sides and the link between them, wired."""

    def __init__(self, config: TrialConfig, link: Link, mode: str, noise: Array, forward_only: bool) -> None:
        self.config, self.link, self.noise, self.forward_only = config, link, noise, forward_only
        self.hand, self.views = new_hand(), new_views()
        start = vector(self.hand, COMMAND)
        x, y, z = (config.registration * noise[0, :3]).tolist()
        self.console = ConsoleSide(config, start, mode, (x, y, z), START_NS)
        self.robot = RobotSide(config, start, replays=mode == 'twin', twin_at=self.console.twin_at)
        self.down, self.up = make_ways(link, START_NS)
        if forward_only:
            self.up = Way(link.backward, START_NS)
        self.down_wire, self.up_wire = Wire(), Wire()
        self.record = TrialRecord()

    def run(self) -> TrialResult:
        """Run until the transfer is done or takes too long."""
        operator, task = self.config.operator.parameters(), self.config.task.parameters()
        done, last = False, len(self.noise) - 1
        for index in range(len(self.noise)):
            now_ns = START_NS + index * STEP_NS
            done = hand_step(self.hand, operator, task, self.views, index, self.noise[index])
            self._lead(now_ns)
            point = self._follow(now_ns, index)
            clocks = self._follower_ns(now_ns), self._leader_ns(now_ns)
            self.record.add(*clocks, self.console.leader, self.robot.follower, point, self.robot.fence.touches)
            self._see(now_ns, index)
            done = done and self.robot.object[PLACED] > 0.5
            if done:
                last = index
                break
            if self.hand[PHASE] > RETREAT:  # done in the twin; the robot has yet to do it, or has not managed
                self.hand[PHASE] = RETREAT
        return self._result(last + 1, done)

    def _leader_ns(self, now_ns: int) -> int:
        """What the leader's monotonic clock shows at a true time."""
        return START_NS + self.link.leader_clock.monotonic_ns(now_ns - START_NS)

    def _follower_ns(self, now_ns: int) -> int:
        """What the follower's monotonic clock shows at a true time."""
        return START_NS + self.link.follower_clock.monotonic_ns(now_ns - START_NS)

    def _lead(self, now_ns: int) -> None:
        """Send the command of now, or let it go with the next."""
        self.console.lead(self.hand, now_ns, self._leader_ns(now_ns))
        share = self.down_wire.share(COMMAND_BYTES)
        if share:
            self.down.send(now_ns, self.console.order(share, self.up_wire.queue_s))

    def _follow(self, now_ns: int, index: int) -> SetPoint:
        """Take what has come, move the robot and the real object, send the picture."""
        here_ns = self._follower_ns(now_ns)
        for arrival, order in self.down.arrived(now_ns):
            self.down_wire.arrived(order.live[0].stamp_ns, arrival)
            self.up_wire.reported(order.queue_s, 0.0, arrival)
            self.robot.take(order, here_ns)
        point = self.robot.step(here_ns, float(self.noise[index, 7]))
        if self.forward_only:
            self.up.put(now_ns, self.robot.report(here_ns, self.down_wire.queue_s))
        elif self.up_wire.share(STATE_BYTES):
            self.up.send(now_ns, self.robot.report(here_ns, self.down_wire.queue_s))
        return point

    def _see(self, now_ns: int, index: int) -> None:
        """Show the operator what has come back."""
        came = False
        for arrival, report in self.up.arrived(now_ns):
            self.up_wire.arrived(report.state.stamp_ns, arrival)
            self.down_wire.reported(report.queue_s, report.state.loss, arrival)
            came = self.console.hear(report, now_ns) or came
        row = self.views[(index + 1) % RING]
        row[:] = self.views[index % RING]
        self.console.show(row, now_ns, self._leader_ns(now_ns), came=came)

    def _result(self, count: int, done: bool) -> TrialResult:
        record, real, follower = self.record, self.robot.object, self.robot.follower
        robot = np.array(record.robot)
        way = float(np.linalg.norm(np.diff(robot, axis=0), axis=1).sum())
        transfer = Transfer(
            count * STEP, done, int(real[DROPS]), int(real[COLLISIONS]), int(real[MISSES]), float(self.hand[IDLE]), way
        )
        follows = np.flatnonzero(record.follows)
        ends = np.minimum(np.array(record.played)[follows] + _REACH // 2, follows)
        rms, largest = path_errors(np.array(record.said), robot[follows], ends, reach=_REACH + _REACH // 2)
        ways = [way for way in (self.down, self.up) if isinstance(way, SealedWay)]
        observer = self.console.fixture.observer
        return TrialResult(
            transfer, rms, largest, record.step, record.speed, record.reconnections, tuple(record.holds),
            observer.lowest, {name: n / count for name, n in record.modes.items()},
            record.lag / max(record.lagged, 1), follower.assistance.completed,
            hold_longest=record.longest, felt=observer.steps,
            forged_refused=sum(way.refused for way in ways), forged_applied=sum(way.applied for way in ways),
        )  # fmt: skip
