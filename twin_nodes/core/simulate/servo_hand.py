"""A simulated hand at a console: it moves what the screen shows towards the next point, and yields to forces.

A visual servo with a reaction time, x_m' = K (target - view(t - 0.2 s)), K = 2 /s, a cap of the speed, and tremor as a
first-order noise; the force of the console moves it as it does a relaxed arm, by a viscous mobility.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.peg_transfer import CLOSED, LEFT, LIFT, OPEN, RIGHT, RING_HEIGHT, RING_RADIUS, pegs
from twin_nodes.core.stamps import NANOSECONDS

_TREMOR_S = 0.05


@dataclass(frozen=True)
class ServoHandConfig:
    """How the simulated operator moves."""

    gain: float = setting('Speed per distance that he sees.', 4.0, unit='1/s', minimum=0.1, maximum=20.0)
    reaction: float = setting('Age of what he sees when he acts.', 0.12, unit='s', minimum=0.0, maximum=2.0)
    max_speed: float = setting('Fastest motion.', 0.06, unit='m/s', minimum=0.001, maximum=1.0)
    near: float = setting('He takes a point for reached from here.', 0.0008, unit='m', minimum=1e-5, maximum=0.05)
    patience: float = setting('Then he goes on to the next, reached or not.', 8.0, unit='s', minimum=0.1, maximum=600.0)
    tremor: float = setting('Standard deviation of his tremor.', 0.00005, unit='m', minimum=0.0, maximum=0.005)
    mobility: float = setting('How a force moves his hand.', 0.005, unit='m/s/N', minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class Goal:
    """A point that he moves the tip to.

    Args:
        position: Tip, shape (3,), metres.
        jaw: Angle of the jaw on the way there and while he stays [rad].
        stay: How long he stays [s].
    """

    position: Array
    jaw: float
    stay: float = 0.0


class ServoHand:
    """The hand; it starts at zero, and only its changes count, as with a clutch.

    Args:
        goals: What he does, in order.
        config: How he moves.
        rng: Draws the tremor.
    """

    def __init__(self, goals: Sequence[Goal], config: ServoHandConfig, rng: np.random.Generator) -> None:
        self._goals, self._config, self._rng = list(goals), config, rng
        self.position = np.zeros(3)
        self._tremor = np.zeros(3)
        self._shown: deque[tuple[int, Array]] = deque()
        self._last_ns: int | None = None
        self._since_ns: int | None = None
        self._reached_ns: int | None = None
        self.done = 0

    @property
    def jaw(self) -> float:
        """Angle of the jaw that he wants [rad]."""
        return self._goals[min(self.done, len(self._goals) - 1)].jaw if self._goals else OPEN

    @property
    def finished(self) -> bool:
        """Whether all goals are behind him."""
        return self.done >= len(self._goals)

    def see(self, now_ns: int, tip: Array) -> None:
        """Take in where the screen shows the tip [m], shape (3,)."""
        self._shown.append((now_ns, tip))

    def rest(self, now_ns: int) -> None:
        """Let time pass without moving."""
        self._last_ns = now_ns

    def step(self, now_ns: int, force: Array) -> Array:
        """Move on and return the hand [m], shape (3,).

        Args:
            now_ns: Time [ns].
            force: What the console pushes the hand with [N], shape (3,).
        """
        dt = min((now_ns - self._last_ns) / NANOSECONDS, 0.05) if self._last_ns is not None else 0.0
        self._last_ns = now_ns
        seen = self._seen(now_ns)
        velocity = self._config.mobility * force
        if seen is not None and not self.finished:
            way = self._goals[self.done].position - seen
            gap = float(np.linalg.norm(way))
            velocity = velocity + way * min(self._config.gain, self._config.max_speed / max(gap, 1e-9))
            self._look(now_ns, gap)
        share = math.exp(-dt / _TREMOR_S)
        spread = self._config.tremor * math.sqrt(1.0 - share * share)
        before, self._tremor = self._tremor, share * self._tremor + self._rng.normal(0.0, 1.0, 3) * spread
        self.position = self.position + dt * velocity + (self._tremor - before)
        return self.position

    def _seen(self, now_ns: int) -> Array | None:
        """Return the picture that he acts on: the newest that is as old as his reaction."""
        latest = now_ns - round(self._config.reaction * NANOSECONDS)
        while len(self._shown) > 1 and self._shown[1][0] <= latest:
            self._shown.popleft()
        return self._shown[0][1] if self._shown and self._shown[0][0] <= latest else None

    def _look(self, now_ns: int, gap: float) -> None:
        """Go on to the next goal when this one was reached and stayed at, or patience is over."""
        config = self._config
        self._since_ns = now_ns if self._since_ns is None else self._since_ns
        if gap <= config.near and self._reached_ns is None:
            self._reached_ns = now_ns
        stay_ns = round(self._goals[self.done].stay * NANOSECONDS)
        reached = self._reached_ns is not None and now_ns - self._reached_ns >= stay_ns
        if reached or now_ns - self._since_ns >= round(config.patience * NANOSECONDS):
            self.done += 1
            self._since_ns = self._reached_ns = None


def peg_goals(rings: int, *, grip: float = 0.4) -> list[Goal]:
    """Return what one arm does to move rings from the left pegs to the right ones.

    Args:
        rings: How many, at most six.
        grip: How long the jaw is given to open or close [s].
    """
    goals = []
    for index in range(rings):
        for point, before, after in (
            (pegs(LEFT)[index], OPEN, CLOSED),
            (pegs(RIGHT)[index], CLOSED, OPEN),
        ):
            low = point + np.array([RING_RADIUS, 0.0, 0.5 * RING_HEIGHT])
            high = np.array([low[0], low[1], LIFT])
            goals += [Goal(high, before), Goal(low, before), Goal(low, after, grip), Goal(high, after)]
    return goals


def circle_goals(centre: Sequence[float], radius: float, *, points: int = 24) -> list[Goal]:
    """Return a round of a circle at one height, for a hand that passes by its points without a rest.

    Args:
        centre: Its centre [m].
        radius: Its radius [m].
        points: How many points.
    """
    angles = 2.0 * np.pi * np.arange(1, points + 1) / points
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(points)], axis=1)
    return [Goal(np.asarray(centre) + radius * point, OPEN) for point in ring]
