"""The patient's side of a simulated transfer: follower, geofence, the real task, the person who stands by the robot."""

from collections.abc import Callable
from dataclasses import replace

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.telesurgery.assistance import Step
from twin_nodes.core.telesurgery.command import FollowerState, Vector, distance
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.local_twin import LocalTwin
from twin_nodes.core.telesurgery.operator.task_kernels import OBJ, new_task, task_step
from twin_nodes.core.telesurgery.operator.trial_config import TrialConfig
from twin_nodes.core.telesurgery.operator.trial_link import Order, Report

_FLOOR = -0.003  # the geofence: the board, as deep as it may be pressed [m]


class RobotSide:
    """Follower and real object; told the follower's clock.

    Args:
        config: Settings of the trial.
        start: Where the robot stands [m].
        replays: Whether motion of an outage is kept for replay (mode `twin`).
        twin_at: Where the leader's twin had the object at a leader's time [ns], None where that is not known.
    """

    def __init__(
        self, config: TrialConfig, start: Vector, *, replays: bool, twin_at: Callable[[int], Vector | None]
    ) -> None:
        self._task = config.task.parameters()
        self._replays, self._twin_at = replays, twin_at
        self.object = new_task()
        self.fence = Geofence([HalfSpace((0.0, 0.0, _FLOOR), (0.0, 0.0, 1.0))])
        assistance = replace(config.follower.assistance, enabled=config.assisted)
        self.follower = Follower(replace(config.follower, assistance=assistance), start, fence=self.fence)
        self._local = LocalTwin(config.task.handover_time) if config.assisted else None

    def take(self, order: Order, now_ns: int) -> None:
        """Take in what has come."""
        self.follower.receive(order.live, now_ns, publisher=1)
        if order.backlog and self._replays:
            self.follower.receive(order.backlog, now_ns, publisher=1, backlog=True)

    def step(self, now_ns: int, chance: float) -> SetPoint:
        """Move the robot and what it does to the object.

        Args:
            now_ns: Follower's monotonic time [ns].
            chance: Uniform number in [0, 1).
        """
        if self._local is not None:
            self._allow(now_ns, self._local)
        point = self.follower.tick(now_ns)
        task_step(self.object, self._task, *point.position, point.jaw, chance)
        self._compare(now_ns)
        return point

    def report(self, now_ns: int, queue_s: float) -> Report:
        """Return how the follower stands and what his camera sees."""
        return Report(self.follower.state(now_ns), self.object.copy(), queue_s)

    def _allow(self, now_ns: int, local: LocalTwin) -> None:
        """Tell the assistance what the local twin knows; a person at the robot allows each completion."""
        assistance = self.follower.assistance
        if self.follower.mode in (Mode.CONNECTED, Mode.DEGRADED) and assistance.step is not Step.ARMED:
            assistance.arm()
        scene = local.look(now_ns, self.follower.state(now_ns).position, self.object)
        if scene is not None:
            assistance.observe(now_ns, scene)

    def _compare(self, now_ns: int) -> None:
        """Hold twin and reality together: an object that the twin carries and the robot does not parts them."""
        gap = 0.0
        if self._replays and self.follower.replays:
            state: FollowerState = self.follower.state(now_ns)
            then = self._twin_at(state.played_ns)
            gap = distance(then, object_at(self.object)) if then is not None else 0.0
        self.follower.monitor.update(now_ns, gap)


def object_at(task: Array) -> Vector:
    """Return where the object of a task is [m]."""
    return float(task[OBJ]), float(task[OBJ + 1]), float(task[OBJ + 2])
