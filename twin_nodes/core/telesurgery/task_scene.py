"""What the follower's own twin knows of a pick-and-place task, from the places of objects and targets near the tip."""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.task_state import TaskConfig, TaskRecogniser, TaskView, nearest_distance
from twin_nodes.core.telesurgery.assistance import Goal, Scene
from twin_nodes.core.telesurgery.command import Vector


@dataclass(frozen=True)
class TaskSceneConfig:
    """When an object is held, and where it belongs."""

    slip: float = setting(
        'An object is held that stays this near to its place in the closed jaw while the tip moves by more.', 0.003,
        unit='m', minimum=1e-4, maximum=0.05,
    )  # fmt: skip
    taken: float = setting(
        'A target with another object this near is taken.', 0.005, unit='m', minimum=1e-4, maximum=0.1
    )
    up: tuple[float, ...] = setting('Unit vector of the base frame away from what lies below.', (0.0, 0.0, 1.0))
    recogniser: TaskConfig = group(TaskConfig)

    def __post_init__(self) -> None:
        if len(self.up) != 3 or not math.isclose(math.hypot(*self.up), 1.0, abs_tol=1e-3):
            raise ConfigError(f'up={list(self.up)} must be a unit vector of 3 numbers')


class TaskScene:
    """Tells whether something is held, where it belongs, and which step of the task this is.

    Args:
        config: Settings.
    """

    def __init__(self, config: TaskSceneConfig) -> None:
        self._config = config
        self._up: Vector = (config.up[0], config.up[1], config.up[2])
        self._recogniser = TaskRecogniser(config.recogniser)
        self._offset: Array | None = None
        self._gripped_at: Array | None = None
        self._carried = False

    def look(self, now_ns: int, tip: Array, jaw: float, objects: Array, targets: Array) -> Scene:
        """Take in one instant, which follows the last.

        Args:
            now_ns: Monotonic time [ns].
            tip: Tip in the base frame [m], shape (3,).
            jaw: Angle of the jaw [rad].
            objects: What can be grasped [m], shape (n, 3).
            targets: Where objects belong [m], shape (m, 3).

        Raises:
            InputError: NOT_FINITE, STAMP_BACKWARD; nothing is changed in the recogniser.
        """
        held = self._hold(tip, jaw, objects)
        goal = self._goal(tip, objects, targets)
        away = math.dist(tip, goal.position) if goal is not None else math.inf
        view = TaskView(nearest_distance(tip, objects), jaw, held, away, math.inf)
        return Scene(self._recogniser.update(now_ns, view), held, goal if held else None)

    def _hold(self, tip: Array, jaw: float, objects: Array) -> bool:
        """Whether an object moves with the tip: it is where it was in the jaw when that closed, and the tip is not."""
        limits = self._config.recogniser
        if not jaw < limits.jaw_closed:
            self._offset, self._carried = None, False
            return False
        if self._offset is None and nearest_distance(tip, objects) < limits.near_object:
            self._offset = objects[int(np.linalg.norm(objects - tip, axis=1).argmin())] - tip
            self._gripped_at = tip.copy()
        if self._offset is None or self._gripped_at is None:
            return False
        if not nearest_distance(tip + self._offset, objects) <= self._config.slip:
            self._offset, self._carried = None, False
            return False
        self._carried = self._carried or float(np.linalg.norm(tip - self._gripped_at)) > self._config.slip
        return self._carried

    def _goal(self, tip: Array, objects: Array, targets: Array) -> Goal | None:
        """Where the tip is when what it holds, or would hold, lies at the nearest target that is free."""
        offset = self._offset if self._offset is not None else np.zeros(3)
        here = tip + offset
        others = objects[np.linalg.norm(objects - here, axis=1) > self._config.slip] if len(objects) else objects
        free = [target for target in targets if nearest_distance(target, others) > self._config.taken]
        if not free:
            return None
        x, y, z = (min(free, key=lambda target: float(np.linalg.norm(target - here))) - offset).tolist()
        return Goal((x, y, z), up=self._up)
