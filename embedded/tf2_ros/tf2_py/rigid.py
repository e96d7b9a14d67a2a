"""Poses as seven floats (x, y, z, qx, qy, qz, qw): for single poses ten times faster than arrays.

The pose of b in a, `a_T_b`: `p_a = a_T_b @ p_b`; metres, unit quaternion xyzw.
"""

from math import acos, sin, sqrt

Pose = tuple[float, float, float, float, float, float, float]

IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
# Above this cosine, sin(s θ)/sin(θ) is s to 1e-13.
NEARLY_PARALLEL = 1.0 - 1e-13


def compose(a_T_b: Pose, b_T_c: Pose) -> Pose:
    """Chain two poses: a_T_c = a_T_b @ b_T_c."""
    ax, ay, az, ai, aj, ak, aw = a_T_b
    bx, by, bz, bi, bj, bk, bw = b_T_c
    # p + 2 w (v × p) + 2 v × (v × p), with t = 2 v × p
    tx = 2.0 * (aj * bz - ak * by)
    ty = 2.0 * (ak * bx - ai * bz)
    tz = 2.0 * (ai * by - aj * bx)
    return (
        ax + bx + aw * tx + aj * tz - ak * ty,
        ay + by + aw * ty + ak * tx - ai * tz,
        az + bz + aw * tz + ai * ty - aj * tx,
        aw * bi + ai * bw + aj * bk - ak * bj,
        aw * bj - ai * bk + aj * bw + ak * bi,
        aw * bk + ai * bj - aj * bi + ak * bw,
        aw * bw - ai * bi - aj * bj - ak * bk,
    )


def inverse(a_T_b: Pose) -> Pose:
    """Turn a pose round: b_T_a."""
    x, y, z, i, j, k, w = a_T_b
    tx = 2.0 * (k * y - j * z)
    ty = 2.0 * (i * z - k * x)
    tz = 2.0 * (j * x - i * y)
    # the conjugate (-v, w) turns p; the minus of the result is written into every term
    return (
        -(x + w * tx + k * ty - j * tz),
        -(y + w * ty + i * tz - k * tx),
        -(z + w * tz + j * tx - i * ty),
        -i,
        -j,
        -k,
        w,
    )


def interpolate(one: Pose, two: Pose, ratio: float) -> Pose:
    """Between two poses: straight line for the position, slerp along the shorter arc for the rotation.

    Args:
        one: Pose at ratio 0.
        two: Pose at ratio 1.
        ratio: 0 to 1.

    Returns:
        The pose between.
    """
    ax, ay, az, ai, aj, ak, aw = one
    bx, by, bz, bi, bj, bk, bw = two
    cosine = ai * bi + aj * bj + ak * bk + aw * bw
    sign = 1.0
    if cosine < 0.0:
        cosine, sign = -cosine, -1.0
    if cosine < NEARLY_PARALLEL:
        angle = acos(cosine)
        scale = 1.0 / sqrt(1.0 - cosine * cosine)
        a = sin((1.0 - ratio) * angle) * scale
        b = sign * sin(ratio * angle) * scale
    else:
        a, b = 1.0 - ratio, sign * ratio
    return (
        ax + ratio * (bx - ax),
        ay + ratio * (by - ay),
        az + ratio * (bz - az),
        a * ai + b * bi,
        a * aj + b * bj,
        a * ak + b * bk,
        a * aw + b * bw,
    )
