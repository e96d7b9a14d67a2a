"""Semi-autonomous completion of what was begun: in an outage the robot brings the object that it holds to its place.

Off by default, and armed by a person at the robot for each time. It begins only when the link is lost, the recognised
step of the task is one that can be completed (an object is being carried or placed), twin and reality agree, and
nothing has moved since. It rises, crosses, lowers, lets go and rises again, slowly and within bounds of way and time,
inside the geofence, and stops at once for any doubt: the link is back, a stop, the object is lost, the step is not sure
any more, the fence is in the way. After it only `discard` goes on: what the hand did meanwhile was of another world.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from twin_nodes.core.guidance.task_state import TaskEstimate, TaskState
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Vector
from twin_nodes.core.telesurgery.compensation_config import AssistanceConfig

_COMPLETES = (TaskState.TRANSPORT, TaskState.PLACE)
_LEAST_PROGRESS = 0.5  # of the speed, towards the target
_STUCK = 20  # ticks with less of it


class Step(StrEnum):
    """What the completion does."""

    OFF = 'off'
    ARMED = 'armed'
    RAISE = 'raise'
    CROSS = 'cross'
    LOWER = 'lower'
    RELEASE = 'release'
    RETREAT = 'retreat'
    DONE = 'done'
    ABORTED = 'aborted'


_RUNS = (Step.RAISE, Step.CROSS, Step.LOWER, Step.RELEASE, Step.RETREAT)


@dataclass(frozen=True)
class Goal:
    """Where what is held belongs.

    Args:
        position: Where the tip is when it does [m].
        release: Whether it is let go there; else it is held there, as for the other arm.
        up: Unit vector away from what lies below.
    """

    position: Vector
    release: bool = True
    up: Vector = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """What the local twin knows of the task now.

    Args:
        task: The recognised step.
        held: Whether the object moves with the tip.
        goal: Where it belongs; None when that is not known.
    """

    task: TaskEstimate
    held: bool
    goal: Goal | None


@dataclass(frozen=True)
class Move:
    """What the robot is to do in a tick.

    Args:
        target: Where the tip goes [m].
        speed: How fast [m/s].
        jaw: Opening; None leaves it.
    """

    target: Vector
    speed: float
    jaw: float | None = None


class Assistance:
    """The machine of the completion.

    Args:
        config: Limits, and whether it is there at all.
    """

    def __init__(self, config: AssistanceConfig) -> None:
        self._config = config
        self.step = Step.OFF
        self.reason = ''
        self.completed = 0
        self._scene: Scene | None = None
        self._scene_ns = 0
        self._goal: Goal | None = None
        self._begun_ns = 0
        self._since_ns = 0
        self._last: Vector | None = None
        self._last_ns = 0
        self._wanted: Vector | None = None
        self._stuck = 0
        self._way = 0.0

    @property
    def running(self) -> bool:
        """Whether it moves the robot."""
        return self.step in _RUNS

    def arm(self) -> bool:
        """Allow one completion; return whether it is there to be allowed."""
        if self._config.enabled and not self.running:
            self.step, self.reason = Step.ARMED, ''
        return self._config.enabled

    def disarm(self, reason: str = 'stopped') -> None:
        """Stop, or take the permission back."""
        self.reason = reason
        self.step = Step.ABORTED if self.running else Step.OFF

    def observe(self, now_ns: int, scene: Scene) -> None:
        """Take in what the local twin knows."""
        self._scene, self._scene_ns = scene, now_ns

    def move(self, now_ns: int, position: Vector, *, lost: bool, agrees: bool) -> Move | None:
        """Return what the robot is to do in this tick, None for nothing.

        Args:
            now_ns: Monotonic time [ns].
            position: Set point of the tip [m].
            lost: Whether the link is lost and the robot stands for that reason.
            agrees: Whether twin and reality are one.
        """
        if self.step is Step.ARMED and lost:
            self._begin(now_ns, position, agrees)
        if not self.running:
            return None
        why = self._doubt(now_ns, position, lost, agrees)
        if why:
            self.disarm(why)
            return None
        return self._plan(now_ns, position)

    def _begin(self, now_ns: int, position: Vector, agrees: bool) -> None:
        """Begin if the step can be completed; else the permission lapses with this outage."""
        scene = self._scene
        fits = scene is not None and scene.held and scene.goal is not None and self._sure(scene)
        if not (fits and agrees and self._fresh(now_ns)):
            self.step, self.reason = Step.OFF, 'nothing that can be completed'
            return
        assert scene is not None
        self._goal = scene.goal
        self._begun_ns, self._last_ns, self._last = now_ns, now_ns, position
        self._way, self._wanted, self._stuck = 0.0, None, 0
        self._enter(Step.RAISE, now_ns)

    def _sure(self, scene: Scene) -> bool:
        return scene.task.weight(*_COMPLETES) >= self._config.confidence

    def _fresh(self, now_ns: int) -> bool:
        return now_ns - self._scene_ns <= self._config.scene_age * NANOSECONDS

    def _enter(self, step: Step, now_ns: int) -> None:
        self.step, self._since_ns = step, now_ns

    def _doubt(self, now_ns: int, position: Vector, lost: bool, agrees: bool) -> str:
        """Return why it must stop, '' for no reason."""
        config, scene = self._config, self._scene
        assert scene is not None and self._last is not None
        last, wanted, seconds = self._last, self._wanted, (now_ns - self._last_ns) / NANOSECONDS
        self._way += math.dist(position, last)
        if wanted is not None and math.dist(last, wanted) > config.tolerance:
            nearer = math.dist(last, wanted) - math.dist(position, wanted)
            self._stuck = self._stuck + 1 if nearer < _LEAST_PROGRESS * config.speed * seconds else 0
        self._last, self._last_ns = position, now_ns
        carries = self.step in (Step.RAISE, Step.CROSS, Step.LOWER)
        doubts = (
            (not lost, 'the link is back'),
            (not agrees, 'twin and reality are apart'),
            (not self._fresh(now_ns), 'the twin is silent'),
            (carries and not scene.held, 'the object is lost'),
            (carries and not self._sure(scene), 'the step is not sure any more'),
            (now_ns - self._begun_ns > config.longest * NANOSECONDS, 'it takes too long'),
            (self._way > config.farthest, 'the way is too long'),
            (self._stuck > _STUCK, 'the geofence is in the way'),
        )
        return next((why for is_so, why in doubts if is_so), '')

    def _plan(self, now_ns: int, position: Vector) -> Move:
        """Return the move of the step that is on, and go to the next where it is done."""
        config, goal = self._config, self._goal
        assert goal is not None
        level = _along(goal.up, goal.position) + config.height
        above = _at_level(goal.position, goal.up, level)
        target, jaw = position, None
        if self.step is Step.RAISE:
            target = _at_level(position, goal.up, max(level, _along(goal.up, position)))
            self._next(position, target, Step.CROSS, now_ns)
        elif self.step is Step.CROSS:
            target = _at_level(above, goal.up, max(level, _along(goal.up, position)))
            self._next(position, target, Step.LOWER, now_ns)
        elif self.step is Step.LOWER:
            target = goal.position
            if self._next(position, target, Step.RELEASE if goal.release else Step.DONE, now_ns):
                self.completed += not goal.release
        elif self.step is Step.RELEASE:
            target, jaw = goal.position, 1.0
            if now_ns - self._since_ns >= config.release_time * NANOSECONDS:
                self._enter(Step.RETREAT, now_ns)
        else:
            target, jaw = above, 1.0
            if self._next(position, target, Step.DONE, now_ns):
                self.completed += 1
        self._wanted = target
        return Move(target, config.speed, jaw)

    def _next(self, position: Vector, target: Vector, step: Step, now_ns: int) -> bool:
        """Go on where the target is reached."""
        reached = math.dist(position, target) <= self._config.tolerance
        if reached:
            self._enter(step, now_ns)
        return reached


def _along(up: Vector, point: Vector) -> float:
    return up[0] * point[0] + up[1] * point[1] + up[2] * point[2]


def _at_level(point: Vector, up: Vector, level: float) -> Vector:
    """Return the point at this height along up [m]."""
    rise = level - _along(up, point)
    return point[0] + rise * up[0], point[1] + rise * up[1], point[2] + rise * up[2]
