"""What is measured on the way of a simulated transfer: where it was, in which mode, how it came back, how it held."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Vector, distance
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.direct import STEP_NS


class TrialRecord:
    """What is measured on the way."""

    def __init__(self) -> None:
        self.begun = False
        self.waiting_ns: int | None = None
        self.hand: Array = np.array([0.0, 0.0, 0.05])
        self.said: list[Vector] = []
        self.robot: list[Vector] = []
        self.follows: list[bool] = []
        self.modes: dict[str, int] = {}
        self.holds: list[float] = []
        self.step = self.speed = self.lag = 0.0
        self.reconnections = self.lagged = 0
        self._before: Mode | None = None
        self._since_ns = -10 * NANOSECONDS
        self._moved_ns = 0
        self._touches = 0

    def add(
        self, now_ns: int, leader_ns: int, leader: Leader, follower: Follower, point: SetPoint, touches: int
    ) -> None:
        """Take in one step.

        Args:
            now_ns: Follower's clock [ns].
            leader_ns: Leader's clock [ns].
            leader: The leader's side.
            follower: The follower's side.
            point: What the robot was told.
            touches: How often the geofence has kept it out; then it is not on the path, as it should not be.
        """
        mode = point.mode
        self.modes[mode.value] = self.modes.get(mode.value, 0) + 1
        if mode is Mode.CATCH_UP and self._before is not Mode.CATCH_UP:
            self._since_ns = now_ns
            self.reconnections += 1
        if mode is Mode.CATCH_UP and now_ns - self._since_ns <= NANOSECONDS:
            if self.robot:
                self.step = max(self.step, distance(self.robot[-1], point.position))
            self.speed = max(self.speed, point.speed)
        if point.speed >= 5e-4:
            self._moved_ns = now_ns
        if mode is Mode.OUTAGE and self._before in (Mode.CONNECTED, Mode.DEGRADED, Mode.CATCH_UP):
            assert follower.valid_ns is not None
            self.holds.append(max(self._moved_ns + STEP_NS - follower.valid_ns, 0) / NANOSECONDS)
        self._before = mode
        self.said.append(leader.last)
        self.robot.append(point.position)
        free, self._touches = touches == self._touches, touches
        self.follows.append(mode in (Mode.CONNECTED, Mode.DEGRADED) and free)
        state = follower.state(now_ns)
        if self.follows[-1] and state.played_ns:
            self.lag += (leader_ns - state.played_ns) / NANOSECONDS
            self.lagged += 1
