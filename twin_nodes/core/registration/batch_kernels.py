"""Compiled kernels: the rotation that aligns paired points, many problems after one another.

Horn (1987): the rotation is the eigenvector of the greatest eigenvalue of a symmetric 4×4 matrix K. Theobald (2005):
that eigenvalue is the root of a quartic next to a known upper bound, found by Newton's method, and its eigenvector a
column of the adjugate of K − λI. Where the greatest eigenvalue is nearly double the root loses digits: such problems
are left to the caller's singular values.
"""

import math
from typing import Any

from numba import njit

SOLVED, LEFT, NOT_FINITE = 0, 1, 2
_NEWTON_STEPS = 30
_SMALL_COMPONENT = 0.0025  # squared
_ROUNDING = 1e-28  # squared
_FLAGS = {'contract', 'reassoc', 'arcp', 'nsz'}


@njit(cache=True, fastmath=_FLAGS, error_model='numpy')
def align_batch(patient: Any, anatomy: Any, small_gap: float, out: Any, status: Any) -> None:
    """Align every problem of a batch.

    Args:
        patient: Points [m], shape (b, n, 3), C-contiguous.
        anatomy: The same points in the anatomy [m], shape (b, n, 3), or (1, n, 3) for all.
        small_gap: Product of the three gaps of the greatest eigenvalue λ over λ³ below which a problem is left.
        out: Gets patient_T_anatomy, shape (b, 4, 4).
        status: Gets SOLVED, LEFT (not solved, too near to a line) or NOT_FINITE, shape (b,).
    """
    problems, count = patient.shape[0], patient.shape[1]
    shared = anatomy.shape[0] == 1
    part = 1.0 / count
    for problem in range(problems):
        other = 0 if shared else problem
        px = py = pz = ax = ay = az = 0.0
        for i in range(count):
            px += patient[problem, i, 0]
            py += patient[problem, i, 1]
            pz += patient[problem, i, 2]
            ax += anatomy[other, i, 0]
            ay += anatomy[other, i, 1]
            az += anatomy[other, i, 2]
        px, py, pz, ax, ay, az = px * part, py * part, pz * part, ax * part, ay * part, az * part
        sxx = sxy = sxz = syx = syy = syz = szx = szy = szz = power_patient = power_anatomy = 0.0
        for i in range(count):
            bx = patient[problem, i, 0] - px
            by = patient[problem, i, 1] - py
            bz = patient[problem, i, 2] - pz
            cx = anatomy[other, i, 0] - ax
            cy = anatomy[other, i, 1] - ay
            cz = anatomy[other, i, 2] - az
            power_patient += bx * bx + by * by + bz * bz
            power_anatomy += cx * cx + cy * cy + cz * cz
            sxx += cx * bx
            sxy += cx * by
            sxz += cx * bz
            syx += cy * bx
            syy += cy * by
            syz += cy * bz
            szx += cz * bx
            szy += cz * by
            szz += cz * bz
        power = power_patient * power_anatomy
        if not (power < math.inf):
            status[problem] = NOT_FINITE
            continue
        if power_patient <= _ROUNDING * (px * px + py * py + pz * pz) or power_anatomy <= _ROUNDING * (
            ax * ax + ay * ay + az * az
        ):
            status[problem] = LEFT
            continue
        # K of Horn's section 4.A, over a bound of its greatest eigenvalue (Cauchy and Schwarz), which becomes 1.
        unit = 1.0 / math.sqrt(power)
        sxx, sxy, sxz = sxx * unit, sxy * unit, sxz * unit
        syx, syy, syz = syx * unit, syy * unit, syz * unit
        szx, szy, szz = szx * unit, szy * unit, szz * unit
        k00 = sxx + syy + szz
        k01 = syz - szy
        k02 = szx - sxz
        k03 = sxy - syx
        k11 = sxx - syy - szz
        k12 = sxy + syx
        k13 = szx + sxz
        k22 = syy - sxx - szz
        k23 = syz + szy
        k33 = szz - sxx - syy
        # λ⁴ + c2 λ² + c1 λ + c0: trace 0; c2 = −2 |S|², c1 = −8 det S, c0 = det K (2×2 minors of row pairs).
        c2 = -2.0 * (
            sxx * sxx + sxy * sxy + sxz * sxz + syx * syx + syy * syy + syz * syz + szx * szx + szy * szy + szz * szz
        )
        c1 = -8.0 * (sxx * (syy * szz - syz * szy) - sxy * (syx * szz - syz * szx) + sxz * (syx * szy - syy * szx))
        u01 = k00 * k11 - k01 * k01
        u02 = k00 * k12 - k02 * k01
        u03 = k00 * k13 - k03 * k01
        u12 = k01 * k12 - k02 * k11
        u13 = k01 * k13 - k03 * k11
        u23 = k02 * k13 - k03 * k12
        v01 = k02 * k13 - k12 * k03
        v02 = k02 * k23 - k22 * k03
        v03 = k02 * k33 - k23 * k03
        v12 = k12 * k23 - k22 * k13
        v13 = k12 * k33 - k23 * k13
        v23 = k22 * k33 - k23 * k23
        c0 = u01 * v23 - u02 * v13 + u03 * v12 + u12 * v03 - u13 * v02 + u23 * v01
        root = 1.0
        slope = step = 0.0
        for _ in range(_NEWTON_STEPS):
            square = root * root
            b = (square + c2) * root
            a = b + c1
            slope = 2.0 * square * root + b + a
            if not (slope > 1e-14):
                break
            step = (a * root + c0) / slope
            root -= step
            if abs(step) < 1e-9 * abs(root):
                break
        status[problem] = SOLVED
        if not (slope > small_gap * root * root * root and abs(step) < 1e-9 * abs(root)):
            status[problem] = LEFT
            continue
        # Columns of the adjugate of K − λI by minors of its last two, then of its first two rows. Each is the
        # eigenvector times one of its components and P'(λ): at a small component digits are lost, so the next is taken.
        k00, k11, k22, k33 = k00 - root, k11 - root, k22 - root, k33 - root
        enough = _SMALL_COMPONENT * slope * slope
        v02 = k02 * k23 - k22 * k03
        v03 = k02 * k33 - k23 * k03
        v12 = k12 * k23 - k22 * k13
        v13 = k12 * k33 - k23 * k13
        v23 = k22 * k33 - k23 * k23
        w = k11 * v23 - k12 * v13 + k13 * v12
        x = -k01 * v23 + k12 * v03 - k13 * v02
        y = k01 * v13 - k11 * v03 + k13 * v01
        z = -k01 * v12 + k11 * v02 - k12 * v01
        norm = w * w + x * x + y * y + z * z
        if norm < enough:
            w, x = x, k00 * v23 - k02 * v03 + k03 * v02
            y = -k00 * v13 + k01 * v03 - k03 * v01
            z = k00 * v12 - k01 * v02 + k02 * v01
            norm = w * w + x * x + y * y + z * z
        if norm < enough:
            u01 = k00 * k11 - k01 * k01
            u02 = k00 * k12 - k02 * k01
            u03 = k00 * k13 - k03 * k01
            u12 = k01 * k12 - k02 * k11
            u13 = k01 * k13 - k03 * k11
            w = k13 * u23 - k23 * u13 + k33 * u12
            x = -k03 * u23 + k23 * u03 - k33 * u02
            y = k03 * u13 - k13 * u03 + k33 * u01
            z = -k03 * u12 + k13 * u02 - k23 * u01
            norm = w * w + x * x + y * y + z * z
            if norm < enough:
                w = -k12 * u23 + k22 * u13 - k23 * u12
                x = k02 * u23 - k22 * u03 + k23 * u02
                y = -k02 * u13 + k12 * u03 - k23 * u01
                z = k02 * u12 - k12 * u02 + k22 * u01
                norm = w * w + x * x + y * y + z * z
        scale = 2.0 / norm
        xx, yy, zz = x * x * scale, y * y * scale, z * z * scale
        xy, xz, yz = x * y * scale, x * z * scale, y * z * scale
        wx, wy, wz = w * x * scale, w * y * scale, w * z * scale
        r00, r01, r02 = 1.0 - yy - zz, xy - wz, xz + wy
        r10, r11, r12 = xy + wz, 1.0 - xx - zz, yz - wx
        r20, r21, r22 = xz - wy, yz + wx, 1.0 - xx - yy
        out[problem, 0, 0], out[problem, 0, 1], out[problem, 0, 2] = r00, r01, r02
        out[problem, 1, 0], out[problem, 1, 1], out[problem, 1, 2] = r10, r11, r12
        out[problem, 2, 0], out[problem, 2, 1], out[problem, 2, 2] = r20, r21, r22
        out[problem, 0, 3] = px - (r00 * ax + r01 * ay + r02 * az)
        out[problem, 1, 3] = py - (r10 * ax + r11 * ay + r12 * az)
        out[problem, 2, 3] = pz - (r20 * ax + r21 * ay + r22 * az)
        out[problem, 3, 0] = out[problem, 3, 1] = out[problem, 3, 2] = 0.0
        out[problem, 3, 3] = 1.0
