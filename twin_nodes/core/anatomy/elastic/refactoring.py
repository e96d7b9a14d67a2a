"""Factors the stiffness anew on another thread, for where the body will be by the time that the factor serves.

A factor that takes n frames serves from n to 2 n frames after it was asked for. The body goes on meanwhile; so it is
made for the state 3/2 n frames ahead, along the movement of the last n, as far as that was steady.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.preconditioner import Preconditioner
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

_SOUND = 0.5  # of the least volume ratio of now: a state ahead that is pressed more than that will not come
_SHARES = (1.0, 0.5)
_LEAST_FRAMES, _MOST_FRAMES = 2, 30  # from which the movement is told
_FIRST_GUESS = 5  # frames that a factor takes, until one was made


class Refactoring:
    """One factor at a time, made on a thread of its own.

    Args:
        lag: Frames after which a factor is taken, waited for if need be; 0 takes it when it is there.
        ahead: How far ahead of the body it is made, in times that a factor takes; 0 for where the body is.
    """

    def __init__(self, lag: int, ahead: float) -> None:
        self._lag, self._ahead = lag, ahead
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[Preconditioner] | None = None
        self._objective: Objective | None = None
        self._took, self._age = lag or _FIRST_GUESS, 0
        self._past: deque[Array] = deque(maxlen=_MOST_FRAMES + 1)

    @property
    def is_pending(self) -> bool:
        """Whether a factor is on its way."""
        return self._pending is not None

    def close(self) -> None:
        """End the thread; the next factor starts a new one."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread = self._pending = None
        self.forget()

    def drop(self) -> None:
        """Leave the factor that is on its way."""
        if self._pending is not None and not self._pending.cancel():
            self._pending.exception()
        self._pending = None
        self.forget()

    def forget(self) -> None:
        """Forget how the body moved, as where it jumped."""
        self._past.clear()

    def take(self) -> tuple[Preconditioner, Objective] | None:
        """Count a frame; return the factor and what it was asked for, when it is there or due.

        Raises:
            DegenerateGeometryError: NOT_POSITIVE_DEFINITE; there is no factor then.
            InputError: LOADS_REFUSED; there is no factor then.
        """
        self._age += 1
        pending = self._pending
        if pending is None or not (self._age >= self._lag if self._lag else pending.done()):
            return None
        self._pending, self._took = None, self._age
        found = pending.result()
        assert self._objective is not None
        return found, self._objective

    def see(self, at: Array) -> None:
        """Hear where the body is after a frame [m], shape (n, 3)."""
        self._past.append(at)

    def ask(self, objective: Objective, at: Array) -> None:
        """Begin a factor for a body that is at [m] (n, 3) now."""
        way = self._way()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, 'refactor')
        self._age, self._objective = 0, objective
        self._pending = self._thread.submit(_make, objective, at, way)

    def _way(self) -> Array | None:
        """Return how far the body will move [m] (n, 3): as in the last frames, less where the halves are unlike.

        A jump tells nothing of what will come.
        """
        past = list(self._past)[-(self._took + 1) :]
        count = len(past) - 1
        if self._ahead == 0.0 or count < _LEAST_FRAMES:
            return None
        middle = past[count // 2]
        first, second = middle - past[0], past[-1] - middle
        strength = float(np.vdot(second, second))
        steady = float(np.vdot(first, second)) / strength if strength > 0.0 else 0.0
        if not steady > 0.0:
            return None
        return np.asarray(min(steady, 1.0) * self._ahead * self._took / count * (past[-1] - past[0]))


def _make(objective: Objective, at: Array, way: Array | None) -> Preconditioner:
    """Return a factor for where the body will be, else for where it is."""
    if way is None:
        return Preconditioner(objective, at)
    model, there = objective.model, objective.model.weight > 0.0
    least = _SOUND * float(model.volume_ratios(at)[there].min(initial=1.0))
    for share in _SHARES:
        ahead = at + share * way
        if float(model.volume_ratios(ahead)[there].min(initial=1.0)) > max(least, 0.0):
            try:
                return Preconditioner(objective, ahead)
            except DegenerateGeometryError:
                break
    return Preconditioner(objective, at)
