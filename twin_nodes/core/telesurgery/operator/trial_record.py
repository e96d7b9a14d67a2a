"""What is measured on the way of a simulated transfer: where it was, in which mode, how it came back, how it held."""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Vector, distance
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.direct import STEP_NS

MOVES = 5e-4  # a robot below this stands [m/s]


class TrialRecord:
    """What is measured on the way."""

    def __init__(self) -> None:
        self.said: list[Vector] = []
        self.robot: list[Vector] = []
        self.follows: list[bool] = []
        self.played: list[int] = []  # step of the command that the robot has reached
        self.modes: dict[str, int] = {}
        self.holds: list[float] = []
        self.step = self.speed = self.lag = self.longest = 0.0
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
        if mode is Mode.CATCH_UP and self._before in (Mode.HOLD, Mode.OUTAGE):
            self._since_ns = now_ns
            self.reconnections += 1
        if now_ns - self._since_ns <= NANOSECONDS:  # whatever the mode: also what follows a short way back
            if self.robot:
                self.step = max(self.step, distance(self.robot[-1], point.position))
            self.speed = max(self.speed, point.speed)
        if point.speed >= MOVES:
            self._moved_ns = now_ns
            if follower.valid_ns is not None and not follower.assistance.running:
                self.longest = max(self.longest, (now_ns - follower.valid_ns) / NANOSECONDS)
        if mode is Mode.OUTAGE and self._before in (Mode.CONNECTED, Mode.DEGRADED, Mode.CATCH_UP):
            assert follower.valid_ns is not None
            self.holds.append(max(self._moved_ns + STEP_NS - follower.valid_ns, 0) / NANOSECONDS)
        self._before = mode
        self.said.append(leader.last)
        self.robot.append(point.position)
        free, self._touches = touches == self._touches, touches
        state = follower.state(now_ns)
        lag_ns = leader_ns - state.played_ns if state.played_ns else 0
        self.follows.append(follower.on_path and free)
        self.played.append(len(self.played) - lag_ns // STEP_NS)
        if mode in (Mode.CONNECTED, Mode.DEGRADED):
            self.lag += lag_ns / NANOSECONDS
            self.lagged += 1
