"""What the follower's own twin knows of the transfer, for the semi-autonomous completion of what was begun."""

import math

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.task_state import TaskConfig as StepConfig
from twin_nodes.core.guidance.task_state import TaskRecogniser, TaskView
from twin_nodes.core.telesurgery.assistance import Goal, Scene
from twin_nodes.core.telesurgery.command import Vector
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.task_kernels import CARRY, CLOSED, MEETING, OBJ, OFFSET, PEG

_EVERY = 4  # steps between two views
_AT_MEETING = 0.006  # m
_HANDED = 0.9  # share of the time of a hand-over after which it has been done
_CLOSED_RAD, _OPEN_RAD = 0.0, 1.0


class LocalTwin:
    """Recognises the step of the transfer, and knows where the object belongs next.

    Args:
        handover_time: How long a hand-over takes [s].
    """

    def __init__(self, handover_time: float) -> None:
        self._recogniser = TaskRecogniser(StepConfig())
        self._handover_time = handover_time
        self._meeting = (float(MEETING[0]), float(MEETING[1]), float(MEETING[2]))
        self._peg = (float(PEG[0]), float(PEG[1]), float(PEG[2]))
        self._met = 0.0
        self._steps = 0
        self._scene: Scene | None = None

    def look(self, now_ns: int, tip: Vector, task: Array) -> Scene | None:
        """Take in the state of the task and return what is known of it.

        Args:
            now_ns: Monotonic time [ns].
            tip: Tip of the robot [m].
            task: State of the task, shape (13,).
        """
        held = bool(task[CARRY] > 0.5)
        if not held:
            self._met = 0.0
        elif math.dist(tip, self._meeting) < _AT_MEETING:
            self._met += STEP
        self._steps += 1
        if self._steps % _EVERY == 1:
            goal = self._goal(task)
            here = (float(task[OBJ]), float(task[OBJ + 1]), float(task[OBJ + 2]))
            jaw = _CLOSED_RAD if task[CLOSED] > 0.5 else _OPEN_RAD
            view = TaskView(math.dist(tip, here), jaw, held, math.dist(tip, goal.position), math.inf)
            self._scene = Scene(self._recogniser.update(now_ns, view), held, goal)
        return self._scene

    def _goal(self, task: Array) -> Goal:
        """To the other arm first, then to the peg; the tip stands beside the peg as it stands beside the object."""
        if self._met < _HANDED * self._handover_time:
            return Goal(self._meeting, release=False)
        x, y, _ = self._peg
        return Goal((x - float(task[OFFSET]), y - float(task[OFFSET + 1]), 0.0))
