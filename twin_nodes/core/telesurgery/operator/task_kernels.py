"""The peg transfer itself: what the tip and the jaw do to the object, and what the operator aims at in each phase."""

import numpy as np
from numba import njit

from twin_nodes.core.geometry.se3 import Array

# the board: object, peg and where the hand starts [m]; z up
START = np.array([0.0, 0.0, 0.05])
OBJECT = np.array([0.09, 0.02, 0.0])
MEETING = np.array([0.045, 0.05, 0.045])
PEG = np.array([-0.05, 0.03, 0.0])
ABOVE = 0.02

# state of the task
OBJ, CARRY, PLACED, DROPS, COLLISIONS, PRESSED, CLOSED, MISSES, OFFSET = 0, 3, 4, 5, 6, 7, 8, 9, 10
TASK_SIZE = 13

# phases of the operator
APPROACH, DESCEND, GRASP, LIFT, TO_MEETING, HANDOVER, TO_PEG, INSERT, RELEASE, RETREAT, DONE = range(11)

GRASP_TIME, HANDOVER_TIME, RELEASE_TIME, SETTLE, COARSE, FINE, REACH, PRESS, SLIP, LONGEST = range(10)


def new_task() -> Array:
    """Return the state of a task that has not begun, shape (13,)."""
    state = np.zeros(TASK_SIZE)
    state[OBJ : OBJ + 3] = OBJECT
    return state


@njit(cache=True)
def task_step(task: Array, config: Array, x: float, y: float, z: float, jaw: float, chance: float) -> None:
    """Move the object with the tip, grasp it, let it go, drop it; count what goes wrong.

    Args:
        task: State, changed in place, shape (13,).
        config: TaskConfig.parameters().
        x: Tip [m].
        y: Tip [m].
        z: Tip [m].
        jaw: 1 open, 0 closed.
        chance: Uniform number in [0, 1).
    """
    closed = jaw < 0.5
    was_closed = task[CLOSED] > 0.5
    task[CLOSED] = 1.0 if closed else 0.0
    if task[CARRY] > 0.5:
        task[OBJ] = x + task[OFFSET]
        task[OBJ + 1] = y + task[OFFSET + 1]
        task[OBJ + 2] = z + task[OFFSET + 2]
    dx, dy, dz = x - task[OBJ], y - task[OBJ + 1], z - task[OBJ + 2]
    if closed and not was_closed:
        if dx * dx + dy * dy + dz * dz <= config[REACH] ** 2:
            task[CARRY] = 1.0
            task[OFFSET], task[OFFSET + 1], task[OFFSET + 2] = -dx, -dy, -dz
        else:
            task[MISSES] += 1.0
    elif was_closed and not closed and task[CARRY] > 0.5:
        task[CARRY] = 0.0
        px, py = task[OBJ] - PEG[0], task[OBJ + 1] - PEG[1]
        if px * px + py * py <= config[REACH] ** 2:
            task[PLACED] = 1.0
            task[OBJ], task[OBJ + 1] = PEG[0], PEG[1]
        else:
            task[DROPS] += 1.0
        task[OBJ + 2] = 0.0
    pressed = z < -config[PRESS]
    if pressed and task[PRESSED] < 0.5:
        task[COLLISIONS] += 1.0
        task[PRESSED] = 1.0
        if task[CARRY] > 0.5 and chance < config[SLIP]:
            task[CARRY] = 0.0
            task[DROPS] += 1.0
            task[OBJ + 2] = 0.0
    elif z > 0.0:
        task[PRESSED] = 0.0


@njit(cache=True)
def target(phase: int, ox: float, oy: float, oz: float) -> tuple[float, float, float]:
    """Return where the tip should be in a phase [m], the object seen at (ox, oy, oz)."""
    if phase == APPROACH:
        return ox, oy, oz + ABOVE
    if phase in (DESCEND, GRASP):
        return ox, oy, oz
    if phase == LIFT:
        return OBJECT[0], OBJECT[1], ABOVE
    if phase in (TO_MEETING, HANDOVER):
        return MEETING[0], MEETING[1], MEETING[2]
    if phase == TO_PEG:
        return PEG[0], PEG[1], ABOVE
    if phase in (INSERT, RELEASE):
        return PEG[0], PEG[1], 0.0
    return START[0], START[1], START[2]
