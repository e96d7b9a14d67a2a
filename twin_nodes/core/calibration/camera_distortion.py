"""How lenses bend rays: the three models of `sensor_msgs/CameraInfo`, with their derivatives.

A ray is (x, y) = (X/Z, Y/Z) in optical axes. The polynomial models are those of Brown (1966) and Conrady (1919) as
OpenCV writes them; `equidistant` is that of Kannala and Brandt (2006), OpenCV's `fisheye`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array

Mask = NDArray[np.bool_]

PLUMB_BOB = 'plumb_bob'
RATIONAL = 'rational_polynomial'
EQUIDISTANT = 'equidistant'
COEFFICIENTS = {
    PLUMB_BOB: ('k1', 'k2', 'p1', 'p2', 'k3'),
    RATIONAL: ('k1', 'k2', 'p1', 'p2', 'k3', 'k4', 'k5', 'k6'),
    EQUIDISTANT: ('k1', 'k2', 'k3', 'k4'),
}
_TINY = 1e-9
_STEPS = 50
_CLOSE = 1e-10
_BLOCK = 2048  # rays looked at together: ten times as many, and their derivatives, stay in the cache


@dataclass(frozen=True, eq=False)
class Bent:
    """Rays behind the lens.

    Args:
        rays: Distorted (x, y), shape (n, 2).
        by_ray: Derivative by the ray before the lens, shape (n, 2, 2).
        by_coefficient: Derivative by each coefficient, shape (n, 2, k); (n, 2, 0) where nobody asks for it.
    """

    rays: Array
    by_ray: Array
    by_coefficient: Array


def bend(model: str, coefficients: Array, rays: Array, *, by_coefficient: bool = True) -> Bent:
    """Distort rays (n, 2) by a model of `COEFFICIENTS` and its coefficients (k,)."""
    lens = _fisheye if model == EQUIDISTANT else _polynomial
    return lens(coefficients, rays, by_coefficient)


def unbend(model: str, coefficients: Array, bent: Array) -> tuple[Array, Mask]:
    """Return the rays (n, 2) that a lens bends to these (n, 2), and which of them (n,) exist.

    Newton's method from the distorted ray. A polynomial that turns back has other rays with the same image; only one
    that is reached without folding counts.
    """
    if model == EQUIDISTANT:
        return _unbend_fisheye(coefficients, bent)
    rays = bent.copy()
    for _ in range(_STEPS):
        trial = _polynomial(coefficients, rays, False)
        error = trial.rays - bent
        a, b, c, d = (trial.by_ray[:, i, j] for i in (0, 1) for j in (0, 1))
        determinant = a * d - b * c
        safe = np.where(np.abs(determinant) > 1e-3, determinant, 1.0)
        step = np.stack([d * error[:, 0] - b * error[:, 1], a * error[:, 1] - c * error[:, 0]], axis=1) / safe[:, None]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        rays = rays - step * np.minimum(1.0, 0.3 / np.maximum(length, _TINY))  # a long step leaps over the fold
        if length.max(initial=0.0) < _CLOSE:
            break
    final = _polynomial(coefficients, rays, False)
    close = np.abs(final.rays - bent).max(axis=1, initial=0.0) < 1e-7
    return rays, close & is_unfolded(model, coefficients, rays)


def is_unfolded(model: str, coefficients: Array, rays: Array) -> Mask:
    """Say for which rays (n, 2) the lens keeps the order of rays along the whole way from the axis, shape (n,)."""
    shares = np.linspace(0.1, 1.0, 10)[:, None, None]
    unfolded = np.empty(len(rays), bool)
    for start in range(0, len(rays), _BLOCK):
        along = (shares * rays[start : start + _BLOCK]).reshape(-1, 2)
        by_ray = bend(model, coefficients, along, by_coefficient=False).by_ray
        determinant = by_ray[:, 0, 0] * by_ray[:, 1, 1] - by_ray[:, 0, 1] * by_ray[:, 1, 0]
        unfolded[start : start + _BLOCK] = (determinant.reshape(len(shares), -1) > 0.0).all(axis=0)
    return unfolded


def _polynomial(coefficients: Array, rays: Array, by_coefficient: bool) -> Bent:
    k1, k2, p1, p2, k3, *rational = coefficients
    k4, k5, k6 = rational or (0.0, 0.0, 0.0)
    x, y = rays[:, 0], rays[:, 1]
    r2 = x * x + y * y
    above = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = above / below
    slope = (k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3) - radial * (k4 + r2 * (2.0 * k5 + 3.0 * r2 * k6))) / below
    bent = np.stack(
        [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ],
        axis=1,
    )
    by_ray = np.empty((len(rays), 2, 2))
    by_ray[:, 0, 0] = radial + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x
    by_ray[:, 0, 1] = 2.0 * x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y
    by_ray[:, 1, 0] = by_ray[:, 0, 1]
    by_ray[:, 1, 1] = radial + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x
    if not by_coefficient:
        return Bent(bent, by_ray, np.empty((len(rays), 2, 0)))
    even = [r2 / below, r2**2 / below, r2**3 / below]
    columns = [even[0][:, None] * rays, even[1][:, None] * rays]
    columns += [np.stack([2.0 * x * y, r2 + 2.0 * y * y], axis=1), np.stack([r2 + 2.0 * x * x, 2.0 * x * y], axis=1)]
    columns.append(even[2][:, None] * rays)
    if rational:
        columns += [-(radial * term)[:, None] * rays for term in even]
    return Bent(bent, by_ray, np.stack(columns, axis=2))


def _fisheye(coefficients: Array, rays: Array, by_coefficient: bool) -> Bent:
    radius = np.linalg.norm(rays, axis=1)
    small = radius < 1e-6
    safe = np.where(small, 1.0, radius)
    angle = np.arctan(radius)
    bent_angle, slope = _fisheye_angle(coefficients, angle)
    scale = np.where(small, 1.0, bent_angle / safe)
    outward = slope / (1.0 + radius**2)
    along = rays / safe[:, None]
    tangential = scale[:, None, None] * np.eye(2)
    by_ray = tangential + (np.where(small, 0.0, outward - scale)[:, None, None]) * along[:, :, None] * along[:, None, :]
    bent = scale[:, None] * rays
    if not by_coefficient:
        return Bent(bent, by_ray, np.empty((len(rays), 2, 0)))
    powers = np.stack([angle ** (2 * order + 1) for order in range(1, 5)], axis=1)
    return Bent(bent, by_ray, along[:, :, None] * np.where(small[:, None], 0.0, powers)[:, None, :])


def _fisheye_angle(coefficients: Array, angle: Array) -> tuple[Array, Array]:
    k1, k2, k3, k4 = coefficients
    s = angle * angle
    bent = angle * (1.0 + s * (k1 + s * (k2 + s * (k3 + s * k4))))
    return bent, 1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3 + s * 9.0 * k4)))


def _unbend_fisheye(coefficients: Array, bent: Array) -> tuple[Array, Mask]:
    radius = np.linalg.norm(bent, axis=1)
    angle = np.minimum(radius, 1.5)
    for _ in range(_STEPS):
        value, slope = _fisheye_angle(coefficients, angle)
        step = (value - radius) / np.where(np.abs(slope) > 1e-3, slope, 1.0)
        angle = angle - np.clip(step, -0.2, 0.2)
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    value, _ = _fisheye_angle(coefficients, angle)
    exists = (np.abs(value - radius) < 1e-7) & (angle >= -_TINY) & (angle < 0.5 * np.pi - 1e-3)
    scale = np.where(radius > _TINY, np.tan(np.where(exists, angle, 0.0)) / np.where(radius > _TINY, radius, 1.0), 1.0)
    rays = bent * scale[:, None]
    return rays, exists & is_unfolded(EQUIDISTANT, coefficients, rays)
