"""The floor of the prediction: a constant-velocity Kalman filter on R³ × SO(3).

Position and rotation are filtered alike, with white acceleration (Bar-Shalom, Li and Kirubarajan 2001, section 6.2.2);
all axes share one covariance, because neither noise nor process prefers a direction. The rotation error lives in the
tangent space at the estimate, so that no chart ever ends.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.se3_scalars import exp_of, log_of
from twin_nodes.core.guidance.prediction.config import PredictionConfig

_START_SPEED = 0.2


class ConstantVelocity:
    """Velocity of a pose, filtered; rotation is weighed with a lever.

    Args:
        config: Noise and process.
    """

    def __init__(self, config: PredictionConfig) -> None:
        self._density = config.acceleration**2
        self._noise = config.position_noise**2
        self._lever = config.lever
        self._started = False
        self.position = np.zeros(3)
        self.rotation = np.eye(3)
        self.velocity = np.zeros(3)
        self.angular_velocity = np.zeros(3)
        self._spread = (0.0, 0.0, 0.0)

    def reset(self) -> None:
        """Forget the motion."""
        self._started = False

    def add(self, seconds: float, position: Array, rotation: Array) -> None:
        """Take in a pose that follows the last one by some seconds: position [m] (3,), rotation (3, 3)."""
        if not self._started:
            self._started = True
            self.position, self.rotation = position.copy(), rotation.copy()
            self.velocity, self.angular_velocity = np.zeros(3), np.zeros(3)
            self._spread = (self._noise, 0.0, _START_SPEED**2)
            return
        near, slope = self._gains(seconds)
        self.position = self.position + seconds * self.velocity
        turned = exp_of(seconds * self.angular_velocity) @ self.rotation
        miss, twist = position - self.position, log_of(rotation @ turned.T)
        self.position = self.position + near * miss
        self.velocity = self.velocity + slope * miss
        self.rotation = exp_of(near * twist) @ turned
        self.angular_velocity = self.angular_velocity + slope * twist

    def surprise(self, seconds: float, position: Array, rotation: Array) -> tuple[Array, Array]:
        """How far a pose is from where it was expected after some seconds: step [m] (3,), turn (3, 3)."""
        turned = exp_of(seconds * self.angular_velocity) @ self.rotation
        return position - self.position - seconds * self.velocity, rotation @ turned.T

    def _gains(self, dt: float) -> tuple[float, float]:
        """Carry the covariance of position and velocity on by dt, and return what a miss changes in each."""
        a, b, c = self._spread
        q = self._density
        a, b, c = a + 2.0 * dt * b + dt * dt * c + q * dt**3 / 3.0, b + dt * c + 0.5 * q * dt * dt, c + q * dt
        total = a + self._noise
        near, slope = a / total, b / total
        self._spread = ((1.0 - near) * a, (1.0 - near) * b, c - slope * b)
        return near, slope
