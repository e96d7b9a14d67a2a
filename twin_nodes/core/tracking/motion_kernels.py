"""How a mode of the pose filter moves: steps on SE(3), and the prediction of state and covariance; compiled."""

# numba infers the types of the arguments
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

from twin_nodes.core.tracking.compiling import INSIDE
from twin_nodes.core.tracking.filter_layout import (
    ACROSS,
    ALPHA,
    ANGULAR_JERK,
    JERK,
    LINEAR,
    OMEGA,
    PATH_SPEED,
    PHI,
    STATES,
    TREMOR,
    TREMOR_DECAY,
    TREMOR_RATE,
    A,
    S,
    U,
    V,
)

_inner = njit(**INSIDE)


@_inner
def _exp(x, y, z, rotation, jacobian):
    """Rotation and left Jacobian of a rotation vector (Barfoot 2017, eq. 7.14 and 7.77)."""
    square = x * x + y * y + z * z
    if square < 2.5e-3:  # the next terms of the series lie below the last bit
        a = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0))
        b = 0.5 - square / 24.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0))
        c = 1.0 / 6.0 - square / 120.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))
    else:
        angle = np.sqrt(square)
        a = np.sin(angle) / angle
        b = (1.0 - np.cos(angle)) / square
        c = (1.0 - a) / square
    u = (x, y, z)
    hat = ((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0))
    for i in range(3):
        for j in range(3):
            outer = u[i] * u[j] - (square if i == j else 0.0)
            unit = 1.0 if i == j else 0.0
            rotation[i, j] = unit + a * hat[i][j] + b * outer
            jacobian[i, j] = unit + b * hat[i][j] + c * outer


@_inner
def _log(r, out):
    """Rotation vector of a rotation matrix by its quaternion (Shepperd 1978)."""
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    if trace > 0.0:
        w = 1.0 + trace
        x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    elif r[0, 0] >= r[1, 1] and r[0, 0] >= r[2, 2]:
        x = 1.0 + 2.0 * r[0, 0] - trace
        y, z, w = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]
    elif r[1, 1] >= r[2, 2]:
        y = 1.0 + 2.0 * r[1, 1] - trace
        x, z, w = r[0, 1] + r[1, 0], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]
    else:
        z = 1.0 + 2.0 * r[2, 2] - trace
        x, y, w = r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[1, 0] - r[0, 1]
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    square = x * x + y * y + z * z
    if square < 1e-4 * w * w:  # the series of the arc tangent, to the last bit
        t = square / (w * w)
        scale = 2.0 / w * (1.0 - t * (1.0 / 3.0 - t * (0.2 - t / 7.0)))
    else:
        sine = np.sqrt(square)
        scale = 2.0 * np.arctan2(sine, w) / sine
    out[0], out[1], out[2] = scale * x, scale * y, scale * z


@_inner
def relative(first, second, work, out):
    """Rotation vector that takes the second rotation (9,) to the first (9,), in the axes of the parent."""
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += first[3 * i + k] * second[3 * j + k]
            work[i, j] = total
    _log(work, out)


@_inner
def _turn(x, turn):
    """R ← turn R, then one Newton step towards orthonormal rows."""
    for j in range(3):
        a, b, c = x[3 + j], x[6 + j], x[9 + j]
        for i in range(3):
            x[3 + 3 * i + j] = turn[i, 0] * a + turn[i, 1] * b + turn[i, 2] * c
    g00 = 1.5 - 0.5 * (x[3] * x[3] + x[4] * x[4] + x[5] * x[5])
    g11 = 1.5 - 0.5 * (x[6] * x[6] + x[7] * x[7] + x[8] * x[8])
    g22 = 1.5 - 0.5 * (x[9] * x[9] + x[10] * x[10] + x[11] * x[11])
    g01 = -0.5 * (x[3] * x[6] + x[4] * x[7] + x[5] * x[8])
    g02 = -0.5 * (x[3] * x[9] + x[4] * x[10] + x[5] * x[11])
    g12 = -0.5 * (x[6] * x[9] + x[7] * x[10] + x[8] * x[11])
    for j in range(3):
        a, b, c = x[3 + j], x[6 + j], x[9 + j]
        x[3 + j] = g00 * a + g01 * b + g02 * c
        x[6 + j] = g01 * a + g11 * b + g12 * c
        x[9 + j] = g02 * a + g12 * b + g22 * c


@_inner
def move(x, delta, scale, turn, work):
    """X ← x ⊞ scale·delta."""
    for i in range(3):
        x[i] += scale * delta[i]
        x[24 + i] += scale * delta[OMEGA + i]
        x[27 + i] += scale * delta[ALPHA + i]
    for i in range(12):
        x[12 + i] += scale * delta[V + i]
    _exp(scale * delta[PHI], scale * delta[PHI + 1], scale * delta[PHI + 2], turn, work)
    _turn(x, turn)


@_inner
def difference(other, x, delta, work):
    """Delta ← other ⊟ x, shape (24,)."""
    for i in range(3):
        delta[i] = other[i] - x[i]
    for i in range(12):
        delta[V + i] = other[12 + i] - x[12 + i]
    relative(other[3:12], x[3:12], work, delta[PHI:OMEGA])
    for i in range(6):
        delta[OMEGA + i] = other[24 + i] - x[24 + i]


@_inner
def _rows_linear(p, dt, cosine, sine, first, last):
    """Rows of F p for position, velocity, acceleration and tremor, in the columns from first to last."""
    half = 0.5 * dt * dt
    for i in range(3):
        for c in range(first, last):
            p[i, c] += dt * p[V + i, c] + half * p[A + i, c]
        for c in range(first, last):
            p[V + i, c] += dt * p[A + i, c]
        for c in range(first, last):
            s, u = p[S + i, c], p[U + i, c]
            p[S + i, c] = cosine * s + sine * u
            p[U + i, c] = cosine * u - sine * s


@_inner
def _rows_angular(p, dt, turn, left, first, last):
    """Rows of F p for rotation, its velocity and its acceleration, in the columns from first to last."""
    half = 0.5 * dt * dt
    for c in range(first, last):
        a, b, d = p[PHI, c], p[PHI + 1, c], p[PHI + 2, c]
        e = dt * p[OMEGA, c] + half * p[ALPHA, c]
        f = dt * p[OMEGA + 1, c] + half * p[ALPHA + 1, c]
        g = dt * p[OMEGA + 2, c] + half * p[ALPHA + 2, c]
        for i in range(3):
            p[PHI + i, c] = (
                turn[i, 0] * a + turn[i, 1] * b + turn[i, 2] * d + left[i, 0] * e + left[i, 1] * f + left[i, 2] * g
            )
            p[OMEGA + i, c] += dt * p[ALPHA + i, c]


@_inner
def _mirror(p, first, last):
    """Copy the lower triangle of a block to the upper one."""
    for i in range(first, last):
        for j in range(first, i):
            p[j, i] = p[i, j]


@_inner
def _transpose(p, first, last):
    """Transpose a block in place."""
    for i in range(first, last):
        for j in range(first, i):
            p[i, j], p[j, i] = p[j, i], p[i, j]


@_inner
def _add_noise(x, p, dt, mode, decay, settings):
    """Add what white jerk, weaker across the path than along it, and the renewal of the tremor do in dt [s]."""
    d1, d2, d3, d4, d5, d6 = dt, dt * dt / 2.0, dt**3 / 3.0, dt**4 / 8.0, dt**5 / 20.0, dt**3 / 6.0
    square = x[12] * x[12] + x[13] * x[13] + x[14] * x[14]
    bend = (1.0 - settings[ACROSS] ** 2) / (square + settings[PATH_SPEED] ** 2)
    jerk = settings[JERK + mode] ** 2
    angular = settings[ANGULAR_JERK + mode] ** 2
    tremor = settings[TREMOR + mode] ** 2 * (1.0 - decay * decay)
    for i in range(3):
        for j in range(3):
            q = jerk * (bend * x[12 + i] * x[12 + j] + (1.0 - bend * square if i == j else 0.0))
            p[i, j] += q * d5
            p[i, V + j] += q * d4
            p[V + i, j] += q * d4
            p[i, A + j] += q * d6
            p[A + i, j] += q * d6
            p[V + i, V + j] += q * d3
            p[V + i, A + j] += q * d2
            p[A + i, V + j] += q * d2
            p[A + i, A + j] += q * d1
        p[S + i, S + i] += tremor
        p[U + i, U + i] += tremor
        a, b, c = PHI + i, OMEGA + i, ALPHA + i
        p[a, a] += angular * d5
        p[a, b] += angular * d4
        p[b, a] += angular * d4
        p[a, c] += angular * d6
        p[c, a] += angular * d6
        p[b, b] += angular * d3
        p[b, c] += angular * d2
        p[c, b] += angular * d2
        p[c, c] += angular * d1


@_inner
def predict(x, p, dt, mode, coupled, settings, turn, left):
    """Move one mode dt [s] ahead in place: constant acceleration, and a tremor that rings and fades."""
    half = 0.5 * dt * dt
    decay = np.exp(-settings[TREMOR_DECAY] * dt)
    cosine, sine = decay * np.cos(settings[TREMOR_RATE] * dt), decay * np.sin(settings[TREMOR_RATE] * dt)
    _exp(x[24] * dt + x[27] * half, x[25] * dt + x[28] * half, x[26] * dt + x[29] * half, turn, left)
    _turn(x, turn)
    for i in range(3):
        x[i] += dt * x[12 + i] + half * x[15 + i]
        x[12 + i] += dt * x[15 + i]
        s, u = x[18 + i], x[21 + i]
        x[18 + i], x[21 + i] = cosine * s + sine * u, cosine * u - sine * s
        x[24 + i] += dt * x[27 + i]
    if coupled:  # F p Fᵀ = F (F p)ᵀ, as p is symmetric
        _rows_linear(p, dt, cosine, sine, 0, STATES)
        _rows_angular(p, dt, turn, left, 0, STATES)
        _transpose(p, 0, STATES)
        _rows_linear(p, dt, cosine, sine, 0, STATES)
        _rows_angular(p, dt, turn, left, 0, STATES)
        _mirror(p, 0, STATES)
    else:
        _rows_linear(p, dt, cosine, sine, 0, LINEAR)
        _transpose(p, 0, LINEAR)
        _rows_linear(p, dt, cosine, sine, 0, LINEAR)
        _mirror(p, 0, LINEAR)
        _rows_angular(p, dt, turn, left, LINEAR, STATES)
        _transpose(p, LINEAR, STATES)
        _rows_angular(p, dt, turn, left, LINEAR, STATES)
        _mirror(p, LINEAR, STATES)
    _add_noise(x, p, dt, mode, decay, settings)
