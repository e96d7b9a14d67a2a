"""Which motions of a cloud its surface does not hold back: sliding along a cylinder, spinning about a sphere.

From the information matrix with rotations scaled by the size of the cloud (Gelfand et al. 2003), so that its
eigenvalues are shares of what one point can tell, and comparable.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array

_PURE = 0.05


@dataclass(frozen=True)
class FreeMotion:
    """A motion that leaves the residuals as they are, in the patient frame.

    Args:
        kind: 'slide' or 'turn'.
        axis: Unit direction of the slide or of the axis of the turn, shape (3,).
        point: A point on the axis of the turn [m], shape (3,); the centroid of the cloud for a slide.
        share: Information along it over that of the best held motion, 0 … 1.
    """

    kind: str
    axis: Array
    point: Array
    share: float

    def __str__(self) -> str:
        """Say it in words, in millimetres."""
        axis = ', '.join(f'{value:.2f}' for value in self.axis + 0.0)
        if self.kind == 'slide':
            return f'sliding along ({axis})'
        point = ', '.join(f'{1e3 * value:.1f}' for value in self.point)
        return f'turning about ({axis}) through ({point}) mm'


def free_motions(
    information: Array, patient_R_anatomy: Array, centroid: Array, length: float, limit: float
) -> tuple[FreeMotion, ...]:
    """Name the motions that are held less than a share of the best held one.

    Args:
        information: Of small motions (translation, rotation times length) in the axes of the anatomy about the
            centroid, shape (6, 6).
        patient_R_anatomy: Rotation, shape (3, 3).
        centroid: Of the cloud in the patient frame [m], shape (3,).
        length: The length that scales rotations [m].
        limit: Share below which a motion is free.
    """
    values, vectors = np.linalg.eigh(information)
    shares = np.maximum(values, 0.0) / values[-1] if values[-1] > 0.0 else np.zeros(6)
    free = vectors[:, shares < limit]
    if free.shape[1] == 0:
        return ()
    slides, turns = _separate(free)
    motions = []
    for kind, columns in (('slide', slides), ('turn', turns)):
        for column in columns.T:
            unit = column / np.linalg.norm(column)
            share = max(float(unit @ information @ unit) / float(values[-1]), 0.0) if values[-1] > 0.0 else 0.0
            shift, spin = patient_R_anatomy @ unit[:3], patient_R_anatomy @ unit[3:] / length
            axis, point = shift, centroid
            if kind == 'turn':
                axis, point = spin, centroid + np.cross(spin, shift) / (spin @ spin)
            axis = axis / np.linalg.norm(axis)
            motions.append(
                FreeMotion(kind, axis * (1.0 if axis[np.argmax(np.abs(axis))] > 0.0 else -1.0), point, share)
            )
    return tuple(motions)


def _separate(free: Array) -> tuple[Array, Array]:
    """Split the span of free motions (6, k) into pure translations and the rest, which turns."""
    _, sizes, rows = np.linalg.svd(free[3:], full_matrices=True)
    sizes = np.append(sizes, np.zeros(max(0, rows.shape[0] - len(sizes))))
    return free @ rows[sizes < _PURE].T, free @ rows[sizes >= _PURE].T
