"""Runs transfers as the study ran them, and draws the noise of an operator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.attack import MEMORY
from twin_nodes.core.telesurgery.link.config import AttackConfig
from twin_nodes.core.telesurgery.link.direction import LinkDirection
from twin_nodes.core.telesurgery.link.draws import stream
from twin_nodes.core.telesurgery.operator.config import STEP, OperatorConfig, TaskConfig
from twin_nodes.core.telesurgery.operator.direct_kernels import direct
from twin_nodes.core.telesurgery.operator.hand_kernels import IDLE, NOISE_SIZE, new_hand, new_views
from twin_nodes.core.telesurgery.operator.task_kernels import COLLISIONS, DROPS, MISSES, new_task

STEP_NS = round(STEP * NANOSECONDS)
_FORGED = 1e-3  # largest increment that a robot takes in a step, so that an attacker stays below it [m]


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


@dataclass(frozen=True)
class Tampered:
    """What an attacker makes of commands that nothing seals.

    Args:
        forward: Step at which the command of each step arrives, -1 for never: damaged ones are dropped, shape (n,).
        again: Command that is applied once more after each, -1 for none, shape (n,).
        forged: Increment that is added after each [m], shape (n, 3).
    """

    forward: NDArray[np.int64]
    again: NDArray[np.int64]
    forged: Array

    def taken(self, steps: int) -> int:
        """Return how many commands of the attacker are applied in so many steps."""
        came = (self.forward >= 0) & (self.forward < steps)
        return int(np.count_nonzero(came & (self.again >= 0)) + np.count_nonzero(came & self.forged.any(axis=1)))


def tampered_steps(attack: AttackConfig, forward: NDArray[np.int64], seed: int) -> Tampered:
    """Return what the console of the study would apply: it has no seals, numbers or windows, only checksums.

    A replay is an old increment once more, a forged command an increment that the robot would take. Made-up packets of
    a flood are not even of the right form and are dropped.

    Args:
        attack: How often the attacker does what.
        forward: Step at which the command of each step arrives, -1 for never, shape (n,).
        seed: Seed of the link.
    """
    count = len(forward)
    rng = stream(seed, 0, 51)
    chance = rng.random((count, 4))
    behind = rng.integers(1, MEMORY, size=count)
    forged = rng.uniform(-_FORGED, _FORGED, (count, 3)) / np.sqrt(3.0)
    damaged = (chance[:, 0] < attack.flip) | (chance[:, 1] < attack.truncate)
    again = np.arange(count) - behind
    return Tampered(
        np.where(damaged, -1, forward),
        np.where((chance[:, 2] < attack.replay) & (again >= 0), again, -1),
        forged * (chance[:, 3] < attack.forge)[:, None],
    )


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
    tampered: Tampered | None = None,
) -> tuple[Transfer, Array]:
    """Run one transfer with increments; return how it went, and hand and tip of each step, shape (n, 6)."""
    if tampered is None:
        tampered = tampered_steps(AttackConfig(), forward, 0)
    hand, state, views = new_hand(), new_task(), new_views()
    tips = np.zeros((len(noise), 6))
    last = direct(
        hand, state, views, operator.parameters(), task.parameters(), noise, tampered.forward, tampered.again,
        tampered.forged, backward, tips,
    )  # fmt: skip
    count = last + 1 if last >= 0 else len(noise)
    path = float(np.linalg.norm(np.diff(tips[:count, 3:], axis=0), axis=1).sum())
    result = Transfer(
        count * STEP, last >= 0, int(state[DROPS]), int(state[COLLISIONS]), int(state[MISSES]), float(hand[IDLE]), path
    )
    return result, tips[:count]
