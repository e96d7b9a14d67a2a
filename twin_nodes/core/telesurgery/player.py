"""Moves the set point along the path of the commands: exact in space, never a jump, never beyond the fence."""

import math

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import (
    Quaternion,
    Vector,
    distance,
    mix_quat,
    quat_angle,
    toward,
)
from twin_nodes.core.telesurgery.compensation_config import PlaybackConfig
from twin_nodes.core.telesurgery.geofence import Geofence
from twin_nodes.core.telesurgery.playback import CommandPath

_BLEND = 0.05  # what a prediction was wrong by is taken back with this time constant [s]
_LOOK_NS = 20_000_000  # the velocity of a prediction is that of the last moments
_ROUNDS = 4
_TURN_SHARE = 0.2  # of the way to the commanded orientation per tick, when the way back has begun
_JOINED_TURN = 0.01  # rad
_JAW_SPEED = 3.0  # of the jaw at the end of the way back [1/s]


class Player:
    """The set point and where on the path it is.

    Args:
        config: Bounds of prediction and speed.
        position: Where the robot stands [m].
        quat_xyzw: Its orientation.
        jaw: Its jaw.
        fence: What must not be entered.
    """

    def __init__(
        self, config: PlaybackConfig, position: Vector, quat_xyzw: Quaternion, jaw: float, fence: Geofence
    ) -> None:
        self.path = CommandPath(config.keep)
        self.position, self.quat_xyzw, self.jaw = position, quat_xyzw, jaw
        self.playhead = 0
        self.joined = False
        self.predicts = False
        self.sequence = 0
        self._config = config
        self._fence = fence
        self._nominal = position
        self._offset: Vector = (0.0, 0.0, 0.0)

    @property
    def off(self) -> float:
        """How far the robot is from where the path has it [m]: what a way back or a mended path has left."""
        return math.hypot(*self._offset)

    def _place(self, playhead: int) -> tuple[Vector, Quaternion, float, bool]:
        """Return position, orientation and jaw of the path, predicted within bounds where it ends."""
        position, quat, command = self.path.at(playhead)
        newest = self.path.newest
        assert newest is not None
        beyond = (playhead - newest.stamp_ns) / NANOSECONDS
        if beyond <= 0.0 or self._config.bridge <= 0.0:
            return position, quat, command.jaw, False
        velocity = self.path.velocity_at_end(_LOOK_NS)
        tau = self._config.bridge
        seconds = tau * (1.0 - math.exp(-beyond / tau))
        way = seconds * math.hypot(*velocity)
        scale = seconds * min(1.0, self._config.bridge_distance / way) if way > 0.0 else 0.0
        ahead = (
            position[0] + scale * velocity[0],
            position[1] + scale * velocity[1],
            position[2] + scale * velocity[2],
        )
        return ahead, quat, command.jaw, True

    def play(self, rate: float, dt: float, *, cap: float, end_ns: int, turn: float | None = None) -> int:
        """Play the path for a tick; at rate 0 the robot stands, whatever of the way to the path is left.

        Args:
            rate: Leader's time per time.
            dt: Length of the tick [s].
            cap: Largest speed [m/s]; the tick is played in part where it would be exceeded.
            end_ns: Leader's time that the playhead does not pass [ns]; what lies beyond the newest is predicted.
            turn: Likewise for turning [rad/s]; None to let the orientation lag where it turns faster than the robot.

        Returns:
            How much less than the rate asks for was played, for the speeds [ns].
        """
        if not self.playhead:  # nothing was ever played: it begins with a way to the operator, not here
            return 0
        self._mend()
        ahead = round(rate * dt * NANOSECONDS)
        keep = math.exp(-rate * dt / _BLEND)  # in played time: where the robot stands, nothing creeps
        offset = (keep * self._offset[0], keep * self._offset[1], keep * self._offset[2])
        limit, most = cap * dt, self._config.max_turn * dt if turn is None else turn * dt
        wanted = self._ahead(ahead, end_ns)
        for _ in range(_ROUNDS):
            playhead = self._ahead(ahead, end_ns)
            nominal, quat, jaw, predicts = self._place(playhead)
            target = (nominal[0] + offset[0], nominal[1] + offset[1], nominal[2] + offset[2])
            over = distance(target, self.position) / limit
            if turn is not None and quat != self.quat_xyzw:
                over = max(over, quat_angle(quat, self.quat_xyzw) / most)
            if over <= 1.0:
                break
            ahead = int(0.95 * ahead / over)
        self.playhead, self._nominal, self._offset, self.predicts = playhead, nominal, offset, predicts
        self.path.seek(playhead)
        if rate <= 0.0:
            quat, jaw = self.quat_xyzw, self.jaw
        left = self._move(target, quat, jaw, limit, most)
        o = self._offset  # what the limit leaves is an offset too: no way that goes on when the rate has gone
        self._offset = (o[0] - left[0], o[1] - left[1], o[2] - left[2])
        return wanted - playhead

    def _ahead(self, ahead: int, end_ns: int) -> int:
        """Return the playhead some time on [ns], not beyond an end, and never back."""
        return max(min(self.playhead + ahead, end_ns), self.playhead)

    def _mend(self) -> None:
        """Take as an offset, which then fades, by how much the path under the playhead has changed.

        It does when a late command shows that a prediction was wrong, and when buffered motion fills a chord.
        """
        was, now = self._nominal, self._place(self.playhead)[0]
        if was == now:
            return
        o = self._offset
        self._offset = (o[0] + was[0] - now[0], o[1] + was[1] - now[1], o[2] + was[2] - now[2])

    def chase(self, playhead: int, step: float, *, dt: float, turn: float, near: float) -> None:
        """Set the playhead to now, and go towards the path by a step; the jaw follows at the end of the way.

        Args:
            playhead: Leader's time of now, less the lag [ns].
            step: How far [m]; with 0 the robot stands.
            dt: Length of the tick [s].
            turn: Largest turning speed [rad/s].
            near: The way is at its end when this is left [m].
        """
        self.playhead = max(playhead, self.playhead)
        self.path.seek(self.playhead)
        self._nominal, quat, command = self.path.at(self.playhead)
        self.predicts = False
        wanted, jaw = self.quat_xyzw, self.jaw
        there = distance(self.position, self._nominal) <= step + near
        if step > 0.0:
            wanted = mix_quat(self.quat_xyzw, quat, _TURN_SHARE)
            jaw += there * min(max(command.jaw - jaw, -_JAW_SPEED * dt), _JAW_SPEED * dt)
        self._move(toward(self.position, self._nominal, step), wanted, jaw, step, turn * dt)
        turned = quat_angle(quat, self.quat_xyzw) <= max(turn * dt, _JOINED_TURN)
        near_enough = distance(self.position, self._nominal) <= near and abs(command.jaw - self.jaw) < 1e-9
        self.joined = near_enough and turned
        self._rest()

    def carry(self, target: Vector, jaw: float | None, step: float, *, dt: float = 0.005) -> None:
        """Go towards a point that is not of the path by a step [m]; the path goes on from where that leads."""
        self.predicts = False
        most = self._config.max_turn * dt
        self._move(toward(self.position, target, step), self.quat_xyzw, self.jaw if jaw is None else jaw, step, most)
        self._rest()

    def stand(self, position: Vector, quat: Quaternion, jaw: float) -> None:
        """Stand there; the path goes on from that."""
        self.position, self.quat_xyzw, self.jaw = position, quat, jaw
        self._rest()

    def _rest(self) -> None:
        """Take where the robot stands as where the path has it, less an offset."""
        p, n = self.position, self._nominal
        self._offset = (p[0] - n[0], p[1] - n[1], p[2] - n[2])

    def _move(self, target: Vector, quat: Quaternion, jaw: float, limit: float, most: float) -> Vector:
        """Move by at most `limit` [m] and `most` [rad] and return what is left of the way [m]."""
        target = self._fence.keep_out(target, self.position)
        x, y, z = self.position = toward(self.position, target, limit)
        angle = 0.0 if quat == self.quat_xyzw else quat_angle(quat, self.quat_xyzw)
        self.quat_xyzw = quat if angle <= most else mix_quat(self.quat_xyzw, quat, most / angle)
        self.jaw = jaw
        return target[0] - x, target[1] - y, target[2] - z
