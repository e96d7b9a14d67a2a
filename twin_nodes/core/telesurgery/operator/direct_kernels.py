"""The transfer as the study ran it: increments of the hand, applied when they arrive, lost when they are lost.

numba keeps compiled kernels by the date of their own file: when hand_kernels or task_kernels change, so must this one.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.hand_kernels import (
    COMMAND,
    JAW,
    RING,
    VIEW_CARRY,
    VIEW_CLOSED,
    VIEW_OBJ,
    VIEW_PLACED,
    VIEW_READY,
    VIEW_STAMP,
    VIEW_TIP,
    hand_step,
)
from twin_nodes.core.telesurgery.operator.task_kernels import CARRY, CLOSED, OBJ, PLACED, task_step


@njit(cache=True)
def direct(
    hand: Array,
    task: Array,
    views: Array,
    config: Array,
    task_config: Array,
    noise: Array,
    forward: NDArray[np.int64],
    again: NDArray[np.int64],
    forged: Array,
    backward: NDArray[np.int64],
    tips: Array,
) -> int:
    """Run one transfer and return the number of steps, -1 when it does not end.

    Args:
        hand: State of the operator, changed in place.
        task: State of the task, changed in place.
        views: What he sees, changed in place.
        config: OperatorConfig.parameters().
        task_config: TaskConfig.parameters().
        noise: Shape (n, 8).
        forward: Step at which the command of each step arrives, -1 for never, shape (n,).
        again: Command that an attacker lets be applied once more after each, -1 for none, shape (n,).
        forged: Increment that he adds after each [m], shape (n, 3).
        backward: Step at which the picture of each step arrives, -1 for never, shape (n,).
        tips: Filled with the hand and the tip of each step, shape (n, 6).
    """
    count = len(noise)
    order = np.argsort(forward, kind='mergesort')
    back_order = np.argsort(backward, kind='mergesort')
    steps = np.zeros((count, 4))  # increment and jaw of each command
    pictures = np.zeros((count, 10))
    tip = hand[COMMAND : COMMAND + 3].copy()
    before = tip.copy()
    at, back_at, newest, jaw, jaw_stamp, shown = 0, 0, 0.0, 1.0, -1, -1
    while at < count and forward[order[at]] < 0:
        at += 1
    while back_at < count and backward[back_order[back_at]] < 0:
        back_at += 1
    for i in range(count):
        done = hand_step(hand, config, task_config, views, i, noise[i])
        for axis in range(3):
            steps[i, axis] = hand[COMMAND + axis] - before[axis]
            before[axis] = hand[COMMAND + axis]
            tips[i, axis] = hand[COMMAND + axis]
        steps[i, 3] = hand[JAW]
        while at < count and forward[order[at]] <= i:
            sent = order[at]
            at += 1
            for axis in range(3):
                tip[axis] += steps[sent, axis] + forged[sent, axis]
                if again[sent] >= 0:
                    tip[axis] += steps[again[sent], axis]
            newest = sent * STEP
            if sent > jaw_stamp:
                jaw, jaw_stamp = steps[sent, 3], sent
        task_step(task, task_config, tip[0], tip[1], tip[2], jaw, noise[i, 7])
        picture = pictures[i]
        picture[VIEW_TIP : VIEW_TIP + 3] = tip
        picture[VIEW_STAMP] = newest
        picture[VIEW_CARRY], picture[VIEW_PLACED], picture[VIEW_CLOSED] = task[CARRY], task[PLACED], task[CLOSED]
        picture[VIEW_OBJ : VIEW_OBJ + 3] = task[OBJ : OBJ + 3]
        tips[i, 3:] = tip
        while back_at < count and backward[back_order[back_at]] <= i:
            shown = max(shown, back_order[back_at])
            back_at += 1
        row = views[(i + 1) % RING]
        row[:] = views[i % RING]
        if shown >= 0:
            row[:10] = pictures[shown]
        row[VIEW_READY] = 1.0
        if done:
            return i
    return -1
