"""An electromagnetic tracker beside metal, with known truth: each piece of metal answers with a dipole of its own.

Eddy currents make metal a secondary dipole (Kindratenko 2000); to first order the tracker takes its field for motion of
the sensor, so the position errs by the field of the dipole and the rotation by its curl-free turn of the same size.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp


@dataclass(frozen=True, eq=False)
class MetalField:
    """Pieces of metal around a volume.

    Args:
        places: Where they are in the tracker [m], shape (m, 3).
        moments: Their dipoles: displacement [m] at 100 mm, shape (m, 3).
        turning: Rotation [rad] per displacement [m].
    """

    places: Array
    moments: Array
    turning: float = 4.0

    def error(self, points_tracker: Array) -> Array:
        """Return the error (n, 6) = (position [m], rotation vector [rad]) of sensors at points [m], shape (n, 3)."""
        position, rotation = np.zeros((len(points_tracker), 3)), np.zeros((len(points_tracker), 3))
        for place, moment in zip(self.places, self.moments, strict=True):
            away = points_tracker - place
            distance = np.linalg.norm(away, axis=1, keepdims=True)
            unit, scale = away / distance, (0.1 / distance) ** 3
            position += scale * (3.0 * (unit @ moment)[:, None] * unit - moment)
            rotation += self.turning * scale * np.cross(unit, moment)
        return np.hstack([position, rotation])

    def measure(self, rng: np.random.Generator, truth: Array, position: float, rotation: float) -> Array:
        """Return the poses (n, 4, 4) that the tracker says, with noise per axis [m] and [rad]."""
        error = self.error(truth[:, :3, 3])
        error = error + np.hstack(
            [rng.normal(0.0, position, (len(truth), 3)), rng.normal(0.0, rotation, (len(truth), 3))]
        )
        return make_transform(rotation_exp(error[:, 3:]) @ truth[:, :3, :3], truth[:, :3, 3] + error[:, :3])


def draw_metal(rng: np.random.Generator, centre: Array, reach: float) -> MetalField:
    """Draw three pieces of metal at 2.4 to 3 times the reach [m] from the centre [m], shape (3,)."""
    directions = rng.normal(size=(3, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places = centre + reach * rng.uniform(2.4, 3.0, (3, 1)) * directions
    moments = rng.normal(size=(3, 3))
    moments *= rng.uniform(0.02, 0.04, (3, 1)) * (reach / 0.1) ** 3 / np.linalg.norm(moments, axis=1, keepdims=True)
    return MetalField(places, moments)


def sweep(rng: np.random.Generator, centre: Array, reach: float, count: int) -> Array:
    """Return true poses (count, 4, 4) of a sensor moved row by row through a cube of half-side `reach` [m]."""
    time = np.linspace(0.0, 1.0, count)[:, None]
    rates = 0.5 * np.array([1.0, *(rng.uniform(0.7, 1.0, 2) * [np.cbrt(count), np.cbrt(count) ** 2])])
    phase = rates * time + np.array([0.0, *rng.uniform(0.0, 1.0, 2)])  # to and fro, row by row
    points = centre + reach * (4.0 * np.abs(phase - np.floor(phase + 0.5)) - 1.0)
    turns = 0.6 * np.sin(2.0 * np.pi * (rng.uniform(2.0, 9.0, 3) * time + rng.uniform(0.0, 1.0, 3)))
    return make_transform(rotation_exp(turns), points)
