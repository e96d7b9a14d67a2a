"""Runs transfers as the study ran them, and draws the noise of an operator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.direction import LinkDirection
from twin_nodes.core.telesurgery.link.draws import stream
from twin_nodes.core.telesurgery.operator.config import STEP, OperatorConfig, TaskConfig
from twin_nodes.core.telesurgery.operator.direct_kernels import direct
from twin_nodes.core.telesurgery.operator.hand_kernels import IDLE, NOISE_SIZE, new_hand, new_views
from twin_nodes.core.telesurgery.operator.task_kernels import COLLISIONS, DROPS, MISSES, new_task

STEP_NS = round(STEP * NANOSECONDS)


@dataclass(frozen=True)
class Transfer:
    """How a transfer went.

    Args:
        seconds: How long it took; the longest allowed when it failed.
        success: Whether it ended.
        drops: Objects dropped.
        collisions: Contacts of the tip with the board.
        misses: Grasps that took nothing.
        idle: Time that the operator waited for the link [s].
        path: Way of the tip [m].
    """

    seconds: float
    success: bool
    drops: int
    collisions: int
    misses: int
    idle: float
    path: float


def operator_noise(seed: int, steps: int) -> Array:
    """Draw the noise of an operator: normal numbers, the last column uniform, shape (steps, 8)."""
    rng = stream(seed, 20)
    noise = rng.normal(size=(steps, NOISE_SIZE))
    noise[:, -1] = rng.random(steps)
    return noise


def arrival_steps(direction: LinkDirection | None, steps: int) -> NDArray[np.int64]:
    """Return the step at which the packet of each step arrives, -1 for never, shape (steps,); None is no link."""
    if direction is None:
        return np.arange(steps, dtype=np.int64)
    fates = direction.fates(np.arange(steps, dtype=np.int64) * STEP_NS)
    return np.where(fates.lost, -1, -(-fates.arrival_ns // STEP_NS))


def direct_transfer(
    operator: OperatorConfig,
    task: TaskConfig,
    noise: Array,
    forward: NDArray[np.int64],
    backward: NDArray[np.int64],
) -> tuple[Transfer, Array]:
    """Run one transfer with increments; return how it went, and hand and tip of each step, shape (n, 6)."""
    hand, state, views = new_hand(), new_task(), new_views()
    tips = np.zeros((len(noise), 6))
    last = direct(hand, state, views, operator.parameters(), task.parameters(), noise, forward, backward, tips)
    count = last + 1 if last >= 0 else len(noise)
    path = float(np.linalg.norm(np.diff(tips[:count, 3:], axis=0), axis=1).sum())
    result = Transfer(
        count * STEP, last >= 0, int(state[DROPS]), int(state[COLLISIONS]), int(state[MISSES]), float(hand[IDLE]), path
    )
    return result, tips[:count]
