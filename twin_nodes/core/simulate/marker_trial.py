"""Trials of visual tracking with known truth: random poses, and a small flat tag that passes in front of the camera."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp
from twin_nodes.core.stamps import NANOSECONDS

FAMILY = 'APRILTAG_36H11'
START_NS = 1000 * NANOSECONDS
RATE_HZ = 30.0


def trial_camera(*, distorted: bool = False) -> CameraModel:
    """Return a camera of 640x480 px with 56° of view."""
    distortion = np.array([-0.25, 0.08, 0.001, -0.001, 0.0]) if distorted else np.zeros(5)
    return CameraModel(640, 480, np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]), distortion)


def tilted_pose(rng: np.random.Generator, *, tilt: tuple[float, float] = (0.4, 0.9)) -> Array:
    """Draw a pose in view at 0.25 to 0.4 m, its normal tilted by an angle [rad] from the axis of the camera."""
    direction = rng.uniform(0.0, 2.0 * np.pi)
    axis = np.array([np.cos(direction), np.sin(direction), 0.0])
    rotation = rotation_exp(axis * rng.uniform(*tilt)) @ rotation_exp([0.0, 0.0, rng.uniform(-np.pi, np.pi)])
    return make_transform(rotation, [rng.uniform(-0.07, 0.07), rng.uniform(-0.05, 0.05), rng.uniform(0.25, 0.4)])


@dataclass(frozen=True)
class Passage:
    """A nearly frontal tag that sways and turns while it passes.

    Args:
        seed: Of directions and phases.
        tilt: Mean tilt [rad].
        distance: From the camera [m].
    """

    seed: int
    tilt: float
    distance: float

    def poses(self, count: int) -> Iterator[tuple[int, Array]]:
        """Yield stamps [ns] and poses camera_T_tag (4, 4) at 30 Hz."""
        rng = np.random.default_rng(self.seed)
        direction, *phases = rng.uniform(0.0, 2.0 * np.pi, 4)
        axis = np.array([np.cos(direction), np.sin(direction), 0.0])
        for number in range(count):
            t = number / RATE_HZ
            sway = [0.12 * np.sin(1.5 * t + phases[0]), 0.12 * np.sin(1.9 * t + phases[1]), 0.2 * np.sin(t)]
            rotation = rotation_exp(axis * self.tilt) @ rotation_exp(sway)
            place = [0.15 * np.sin(0.8 * t + phases[2]), 0.1 * np.cos(0.7 * t), self.distance]
            yield START_NS + round(t * NANOSECONDS), make_transform(rotation, place)
