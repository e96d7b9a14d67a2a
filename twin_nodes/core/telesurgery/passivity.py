"""Virtual fixtures felt at the leader without delay, passive for any delay (Hannaford and Ryu 2002).

The force comes from the predicted robot and the fixtures of the local twin, so that no delay lies in the loop; what is
left of activity (sampling, a corrected prediction, a moved fixture) is observed and damped away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twin_nodes.core.config import setting
from twin_nodes.core.telesurgery.command import Vector
from twin_nodes.core.telesurgery.geofence import Fence


@dataclass(frozen=True)
class FixtureConfig:
    """What a fixture feels like."""

    stiffness: float = setting('Force per depth.', 400.0, unit='N/m', minimum=0.0, maximum=1e4)
    damping: float = setting('Force per speed towards the fixture.', 4.0, unit='N s/m', minimum=0.0, maximum=1e3)
    max_force: float = setting('Largest force.', 6.0, unit='N', minimum=0.1, maximum=100.0)
    max_damping: float = setting(
        'Largest damping for energy that was given before.', 60.0, unit='N s/m', minimum=0.0, maximum=1e4
    )


class PassivityObserver:
    """E(k) = E(k-1) + f(k)·v(k) ΔT, and the damping α = -E/(v² ΔT) that brings it back to zero.

    What a fixture would give in a period beyond what it has taken before is taken off its force in that period: this
    damping needs no limit, since it is at most as large as the force. What is left from before is damped away within
    the limit, so that a slow hand does not meet a hard stop.

    Args:
        max_damping: Largest α for what is left from before [N s/m].
    """

    def __init__(self, max_damping: float) -> None:
        self._max_damping = max_damping
        self.energy = 0.0
        self.lowest = 0.0
        self.dissipated = 0.0
        self.steps = 0
        self.controlled = 0

    def step(self, force: Vector, velocity: Vector, dt: float) -> Vector:
        """Return the force to render [N].

        Args:
            force: What the fixture pushes the hand with [N].
            velocity: Velocity of the hand over the last period [m/s].
            dt: Period [s].
        """
        into = -(force[0] * velocity[0] + force[1] * velocity[1] + force[2] * velocity[2]) * dt
        self.energy += into
        self.steps += 1
        square = velocity[0] ** 2 + velocity[1] ** 2 + velocity[2] ** 2
        if self.energy < 0.0 and square > 1e-12:
            own = min(max(-into, 0.0), -self.energy)
            alpha = own / (square * dt) + min((-self.energy - own) / (square * dt), self._max_damping)
            self.energy += alpha * square * dt
            self.dissipated += alpha * square * dt
            self.controlled += 1
            force = (force[0] - alpha * velocity[0], force[1] - alpha * velocity[1], force[2] - alpha * velocity[2])
        self.lowest = min(self.lowest, self.energy)
        return force


class FixtureRenderer:
    """Pushes the hand out of the fixtures.

    Args:
        config: Stiffness and limits.
        fences: Regions that should not be entered.
    """

    def __init__(self, config: FixtureConfig, fences: Sequence[Fence]) -> None:
        self._config = config
        self._fences = tuple(fences)
        self.observer = PassivityObserver(config.max_damping)

    def force(self, position: Vector, velocity: Vector, dt: float) -> Vector:
        """Return the force on the hand [N].

        Args:
            position: Tip of the predicted robot [m].
            velocity: Velocity of the hand over the last period [m/s].
            dt: Period [s].
        """
        x = y = z = 0.0
        for fence in self._fences:
            gap, way = fence.clearance(position)
            if gap < 0.0:
                towards = -(velocity[0] * way[0] + velocity[1] * way[1] + velocity[2] * way[2])
                size = -self._config.stiffness * gap + self._config.damping * max(towards, 0.0)
                size = min(size, self._config.max_force)
                x, y, z = x + size * way[0], y + size * way[1], z + size * way[2]
        return self.observer.step((x, y, z), velocity, dt)
