"""Which step of a pick-and-place task a tool is in, from what the twin knows: reach, grasp, transport, place, follow.

A forward filter over five states (hidden Markov model, Rabiner 1989): each state expects values of the predicates
(distance to the object, jaw, object held, distance to the target, distance to the path), and tasks go on in their
order. The probability of the state is the confidence, and with it the fixtures of the state are weighed.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS


class TaskState(StrEnum):
    """A step of a task."""

    REACH = 'reach'
    GRASP = 'grasp'
    TRANSPORT = 'transport'
    PLACE = 'place'
    FOLLOW = 'follow'


_STATES = tuple(TaskState)
# what each state expects: near the object, jaw closing or closed, object held, near the target, on a path
_EXPECTED = np.array(
    [
        # near  closed  held   target  path
        [0.05, 0.05, 0.02, 0.30, 0.05],
        [0.97, 0.50, 0.10, 0.20, 0.05],
        [0.97, 0.97, 0.98, 0.05, 0.05],
        [0.90, 0.60, 0.80, 0.97, 0.05],
        [0.30, 0.50, 0.30, 0.30, 0.97],
    ]
)
# next steps that a task may take: forwards, back to a reach when something was dropped, and to a path and back
_NEXT = {
    TaskState.REACH: (TaskState.GRASP, TaskState.FOLLOW),
    TaskState.GRASP: (TaskState.TRANSPORT, TaskState.REACH, TaskState.FOLLOW),
    TaskState.TRANSPORT: (TaskState.PLACE, TaskState.REACH, TaskState.FOLLOW),
    TaskState.PLACE: (TaskState.REACH, TaskState.TRANSPORT, TaskState.FOLLOW),
    TaskState.FOLLOW: (TaskState.REACH, TaskState.GRASP, TaskState.TRANSPORT, TaskState.PLACE),
}


@dataclass(frozen=True)
class TaskConfig:
    """When a predicate holds, and how steady a task is."""

    near_object: float = setting(
        'The tip is at the object below this distance.', 0.008, unit='m', minimum=1e-4, maximum=0.1
    )
    near_target: float = setting(
        'The tip is at the target below this distance.', 0.012, unit='m', minimum=1e-4, maximum=0.1
    )
    near_path: float = setting(
        'The tip is on the path below this distance.', 0.003, unit='m', minimum=1e-4, maximum=0.1
    )
    jaw_closed: float = setting('The jaw is closed below this angle.', 0.25, unit='rad', minimum=0.0, maximum=2.0)
    softness: float = setting(
        'Width over which a predicate goes from no to yes, over its limit.', 0.15, minimum=0.01, maximum=2.0
    )
    dwell: float = setting('Mean time that a step lasts.', 2.0, unit='s', minimum=0.05, maximum=60.0)
    confident: float = setting(
        'Confidence above which another state is told; below, the last one stays.', 0.6, minimum=0.2, maximum=0.99
    )


@dataclass(frozen=True)
class TaskView:
    """What the twin knows of a task at one instant.

    Args:
        object_distance: From the tip to the nearest object that can be grasped [m]; infinite when there is none.
        jaw: Angle of the jaw [rad]; infinite for a tool without one.
        held: Whether the twin has the object move with the tip.
        target_distance: From the tip to where the object belongs [m]; infinite when there is no target.
        path_distance: From the tip to the path that is to be followed [m]; infinite when there is none.
    """

    object_distance: float
    jaw: float
    held: bool
    target_distance: float
    path_distance: float


@dataclass(frozen=True)
class TaskEstimate:
    """The step that a task is in.

    Args:
        state: The step.
        confidence: Its probability, 0 … 1.
        probabilities: Of each step by name.
        changed: Whether this view changed the step.
    """

    state: TaskState
    confidence: float
    probabilities: dict[TaskState, float]
    changed: bool

    def weight(self, *states: TaskState) -> float:
        """How much fixtures that belong to some states are wanted, 0 … 1."""
        return min(sum(self.probabilities[state] for state in states), 1.0)


def nearest_distance(point: Array, places: Array) -> float:
    """Return the distance [m] from a point (3,) to the nearest of places (n, 3); infinite where there is none."""
    return float(np.linalg.norm(places - point, axis=1).min()) if len(places) else math.inf


class TaskRecogniser:
    """Follows one tool through its task.

    Args:
        config: Limits.
    """

    def __init__(self, config: TaskConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Begin with a reach."""
        self._belief = np.full(len(_STATES), 0.1)
        self._belief[0] = 0.6
        self._state = TaskState.REACH
        self._stamp_ns: int | None = None

    def update(self, stamp_ns: int, view: TaskView) -> TaskEstimate:
        """Take in a view that follows the last.

        Raises:
            InputError: NOT_FINITE for NaN; STAMP_BACKWARD. Nothing is changed.
        """
        values = (view.object_distance, view.jaw, view.target_distance, view.path_distance)
        if any(math.isnan(value) for value in values):
            raise InputError(f'view of the task has NaN: {view}', code='NOT_FINITE')
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            raise InputError(f'stamp {stamp_ns} ns does not follow {self._stamp_ns} ns', code='STAMP_BACKWARD')
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NANOSECONDS
        self._stamp_ns = stamp_ns
        belief = (_transition(seconds / self._config.dwell) @ self._belief) * self._likelihoods(view)
        self._belief = belief / belief.sum()
        best = int(self._belief.argmax())
        changed = self._belief[best] >= self._config.confident and _STATES[best] is not self._state
        if changed:
            self._state = _STATES[best]
        probabilities = dict(zip(_STATES, self._belief.tolist(), strict=True))
        return TaskEstimate(self._state, probabilities[self._state], probabilities, changed)

    def _likelihoods(self, view: TaskView) -> Array:
        """Likelihood of the view in each state, from predicates between 0 and 1."""
        config = self._config
        seen = np.array(
            [
                self._below(view.object_distance, config.near_object),
                self._below(view.jaw, config.jaw_closed),
                0.98 if view.held else 0.02,
                self._below(view.target_distance, config.near_target),
                self._below(view.path_distance, config.near_path),
            ]
        )
        return np.asarray(np.prod(seen * _EXPECTED + (1.0 - seen) * (1.0 - _EXPECTED), axis=1))

    def _below(self, value: float, limit: float) -> float:
        if math.isinf(value):
            return 0.02
        height = (value - limit) / max(self._config.softness * limit, 1e-9)
        return 0.02 + 0.96 / (1.0 + math.exp(min(max(height, -50.0), 50.0)))


def _transition(share: float) -> Array:
    """Probability of each state (rows) after each (columns), when a share of the mean dwell has passed."""
    leave = 1.0 - math.exp(-min(share, 50.0))
    found = (1.0 - leave) * np.eye(len(_STATES))
    for column, state in enumerate(_STATES):
        for successor in _NEXT[state]:
            found[_STATES.index(successor), column] += leave / len(_NEXT[state])
    return found
