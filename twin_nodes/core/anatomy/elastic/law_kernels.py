"""Compiled kernels of the laws: energy and stress of one deformation gradient, and derivatives by principal stretch.

A deformation gradient F is (3, 3), row-major; the nine numbers of F and P are passed one by one where speed counts.
"""

import math
from typing import Any

import numpy as np
from numba import njit

NEO_HOOKEAN, MOONEY_RIVLIN, OGDEN = 0, 1, 2


@njit(cache=True, inline='always')
def cofactor(f: Any, out: Any) -> Any:
    """Write the cofactors ∂J/∂F (3, 3); return J."""
    out[0, 0] = f[1, 1] * f[2, 2] - f[1, 2] * f[2, 1]
    out[0, 1] = f[1, 2] * f[2, 0] - f[1, 0] * f[2, 2]
    out[0, 2] = f[1, 0] * f[2, 1] - f[1, 1] * f[2, 0]
    out[1, 0] = f[2, 1] * f[0, 2] - f[2, 2] * f[0, 1]
    out[1, 1] = f[2, 2] * f[0, 0] - f[2, 0] * f[0, 2]
    out[1, 2] = f[2, 0] * f[0, 1] - f[2, 1] * f[0, 0]
    out[2, 0] = f[0, 1] * f[1, 2] - f[0, 2] * f[1, 1]
    out[2, 1] = f[0, 2] * f[1, 0] - f[0, 0] * f[1, 2]
    out[2, 2] = f[0, 0] * f[1, 1] - f[0, 1] * f[1, 0]
    return f[0, 0] * out[0, 0] + f[0, 1] * out[0, 1] + f[0, 2] * out[0, 2]


@njit(cache=True)
def svd(f: Any, u: Any, s: Any, v: Any) -> None:
    """Factor F = U diag(s) Vᵀ with rotations U and V: of an inverted F the least s is negative (Irving 2004).

    One-sided Jacobi (Hestenes 1958): exact to rounding also for small s.
    """
    for i in range(3):
        for j in range(3):
            u[i, j] = f[i, j]
            v[i, j] = 1.0 if i == j else 0.0
    for _ in range(12):
        worst = 0.0
        for p in range(2):
            for q in range(p + 1, 3):
                a = u[0, p] * u[0, p] + u[1, p] * u[1, p] + u[2, p] * u[2, p]
                b = u[0, q] * u[0, q] + u[1, q] * u[1, q] + u[2, q] * u[2, q]
                c = u[0, p] * u[0, q] + u[1, p] * u[1, q] + u[2, p] * u[2, q]
                if abs(c) <= 1e-16 * math.sqrt(a * b) or c == 0.0:
                    continue
                worst = max(worst, c * c / (a * b))
                zeta = (b - a) / (2.0 * c)
                t = math.copysign(1.0, zeta) / (abs(zeta) + math.sqrt(1.0 + zeta * zeta))
                cosine = 1.0 / math.sqrt(1.0 + t * t)
                sine = cosine * t
                for i in range(3):
                    x, y = u[i, p], u[i, q]
                    u[i, p], u[i, q] = cosine * x - sine * y, sine * x + cosine * y
                    x, y = v[i, p], v[i, q]
                    v[i, p], v[i, q] = cosine * x - sine * y, sine * x + cosine * y
        if worst < 1e-13:  # what a sweep leaves is the square of what it found
            break
    for j in range(3):
        s[j] = math.sqrt(u[0, j] ** 2 + u[1, j] ** 2 + u[2, j] ** 2)
    low = 0
    if s[1] < s[low]:
        low = 1
    if s[2] < s[low]:
        low = 2
    first, second = (low + 1) % 3, (low + 2) % 3
    scale = max(s[first], s[second])
    if s[first] < 1e-12 * scale or s[second] < 1e-12 * scale or scale == 0.0:
        _complete(u, s, first, second, scale)
    else:
        for i in range(3):
            u[i, first] /= s[first]
            u[i, second] /= s[second]
    # the third axis from the other two: U is a rotation, the sign goes into s
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        u[i, low] = u[j, first] * u[k, second] - u[k, first] * u[j, second]
    total = 0.0
    for i in range(3):
        row = f[i, 0] * v[0, low] + f[i, 1] * v[1, low] + f[i, 2] * v[2, low]
        total += u[i, low] * row
    s[low] = total


@njit(cache=True)
def _complete(u: Any, s: Any, first: int, second: int, scale: float) -> None:
    """Give a collapsed F (a line or a point) two orthonormal axes."""
    big = first if s[first] >= s[second] else second
    other = second if big == first else first
    if scale == 0.0:
        for i in range(3):
            u[i, big] = 1.0 if i == 0 else 0.0
    else:
        for i in range(3):
            u[i, big] /= s[big]
    least = 0
    for i in range(1, 3):
        if abs(u[i, big]) < abs(u[least, big]):
            least = i
    length = 0.0
    for i in range(3):
        u[i, other] = (1.0 if i == least else 0.0) - u[least, big] * u[i, big]
        length += u[i, other] ** 2
    for i in range(3):
        u[i, other] /= math.sqrt(length)


@njit(cache=True)
def by_stretch(law: int, p: Any, s: Any, gradient: Any, hessian: Any) -> Any:
    """Return the energy density [J/m³] of principal stretches; write its derivatives (3,) and (3, 3) [Pa].

    Infinite, with derivatives untouched, where the law has no value (J ≤ 0 but for the neo-Hookean one).
    """
    j = s[0] * s[1] * s[2]
    if law == NEO_HOOKEAN:
        alpha = 1.0 + p[0] / p[1]
        volumetric, slope, bend = 0.5 * p[1] * (j - alpha) ** 2, p[1] * (j - alpha), p[1]
        energy = 0.5 * p[0] * (s[0] ** 2 + s[1] ** 2 + s[2] ** 2 - 3.0) + volumetric - 0.5 * p[0] ** 2 / p[1]
        for a in range(3):
            for b in range(3):
                hessian[a, b] = p[0] if a == b else 0.0
            gradient[a] = p[0] * s[a]
    else:
        if j <= 0.0 or s[0] <= 0.0 or s[1] <= 0.0 or s[2] <= 0.0:
            return math.inf
        bulk = p[2] if law == MOONEY_RIVLIN else p[6]
        slope, bend = 0.5 * bulk * (j - 1.0 / j), 0.5 * bulk * (1.0 + 1.0 / (j * j))
        energy = 0.25 * bulk * (j * j - 1.0 - 2.0 * math.log(j))
        for a in range(3):
            gradient[a] = 0.0
            for b in range(3):
                hessian[a, b] = 0.0
        root = j ** (-1.0 / 3.0)
        for k in range(2 if law == MOONEY_RIVLIN else 3):
            if law == MOONEY_RIVLIN:
                mu, alpha = (2.0 * p[0], 2.0) if k == 0 else (-2.0 * p[1], -2.0)
            else:
                mu, alpha = p[2 * k], p[2 * k + 1]
            if mu == 0.0:
                continue
            energy += _ogden_term(mu, alpha, root, s, gradient, hessian)
    for a in range(3):
        cofactor_a = s[(a + 1) % 3] * s[(a + 2) % 3]
        gradient[a] += slope * cofactor_a
        for b in range(3):
            cofactor_b = s[(b + 1) % 3] * s[(b + 2) % 3]
            hessian[a, b] += bend * cofactor_a * cofactor_b
            if a != b:
                hessian[a, b] += slope * s[3 - a - b]
    return energy


@njit(cache=True)
def _ogden_term(mu: float, alpha: float, root: float, s: Any, gradient: Any, hessian: Any) -> Any:
    """Add one isochoric term: with wₐ = (J^(-1/3) sₐ)^α and W = Σ w, ψ = μ/α (W - 3), sₐ ∂ψ/∂sₐ = μ (wₐ - W/3)."""
    w0, w1, w2 = (root * s[0]) ** alpha, (root * s[1]) ** alpha, (root * s[2]) ** alpha
    total = w0 + w1 + w2
    for a in range(3):
        wa = w0 if a == 0 else (w1 if a == 1 else w2)
        ta = mu * (wa - total / 3.0)
        gradient[a] += ta / s[a]
        for b in range(3):
            wb = w0 if b == 0 else (w1 if b == 1 else w2)
            change = -(wa + wb) / 3.0 + total / 9.0
            if a == b:
                change += wa
            hessian[a, b] += (mu * alpha * change - (ta if a == b else 0.0)) / (s[a] * s[b])
    return mu / alpha * (total - 3.0)


@njit(cache=True)
def stress(law: int, p: Any, f: Any, out: Any, work: Any) -> Any:
    """Return the energy density [J/m³] and write the first Piola stress (3, 3) [Pa]; infinite where there is none.

    Args:
        law: Number of the law.
        p: Its parameters, shape (7,).
        f: Deformation gradient, shape (3, 3).
        out: Receives the stress.
        work: Room of (6, 3, 3).
    """
    cof = work[0]
    j = cofactor(f, cof)
    if law == NEO_HOOKEAN:
        alpha = 1.0 + p[0] / p[1]
        slope = p[1] * (j - alpha)
        square = 0.0
        for a in range(3):
            for b in range(3):
                square += f[a, b] * f[a, b]
                out[a, b] = p[0] * f[a, b] + slope * cof[a, b]
        return 0.5 * p[0] * (square - 3.0) + 0.5 * slope * (j - alpha) - 0.5 * p[0] * p[0] / p[1]
    if not j > 0.0:
        return math.inf
    if law == MOONEY_RIVLIN:
        return _mooney_rivlin(p, f, cof, j, out, work[1])
    return _from_stretches(law, p, f, out, work)


@njit(cache=True)
def _mooney_rivlin(p: Any, f: Any, cof: Any, j: float, out: Any, right: Any) -> Any:
    root = j ** (-2.0 / 3.0)
    first, second = 0.0, 0.0
    for a in range(3):
        for b in range(3):
            right[a, b] = f[0, a] * f[0, b] + f[1, a] * f[1, b] + f[2, a] * f[2, b]
            second += right[a, b] ** 2
        first += right[a, a]
    second = 0.5 * (first * first - second)
    on_f = 2.0 * p[0] * root + 2.0 * p[1] * root * root * first
    on_cof = -(2.0 * p[0] * root * first + 4.0 * p[1] * root * root * second) / (3.0 * j) + 0.5 * p[2] * (j - 1.0 / j)
    for a in range(3):
        for b in range(3):
            product = f[a, 0] * right[0, b] + f[a, 1] * right[1, b] + f[a, 2] * right[2, b]
            out[a, b] = on_f * f[a, b] - 2.0 * p[1] * root * root * product + on_cof * cof[a, b]
    return (
        p[0] * (root * first - 3.0)
        + p[1] * (root * root * second - 3.0)
        + 0.25 * p[2] * (j * j - 1.0 - 2.0 * math.log(j))
    )


@njit(cache=True)
def _from_stretches(law: int, p: Any, f: Any, out: Any, work: Any) -> Any:
    u, v, s, slope, bend = work[1], work[2], work[3, 0], work[3, 1], work[4]
    svd(f, u, s, v)
    energy = by_stretch(law, p, s, slope, bend)
    for a in range(3):
        for b in range(3):
            out[a, b] = u[a, 0] * slope[0] * v[b, 0] + u[a, 1] * slope[1] * v[b, 1] + u[a, 2] * slope[2] * v[b, 2]
    return energy


@njit(cache=True)
def principal_moduli(law: int, p: Any, s: Any, project: float, slope: Any, stretch: Any, plane: Any, work: Any) -> bool:
    """Write ∂P/∂F in the axes of the stretches (Smith, de Goes and Kim 2019; Zhu 2021).

    dP̂ₐₐ = Σ_b stretch[a, b] dF̂_bb; for a ≠ b dP̂_ab = plane[0, a, b] dF̂_ab + plane[1, a, b] dF̂_ba.

    Args:
        law: Number of the law.
        p: Its parameters, shape (7,).
        s: Principal stretches, shape (3,).
        project: Share of negative eigenvalues that is taken away; with 1 the matrix is positive semi-definite.
        slope: Receives ∂ψ/∂s, shape (3,).
        stretch: Receives the moduli on the diagonal, shape (3, 3).
        plane: Receives the moduli off the diagonal, shape (2, 3, 3).
        work: Room of (3, 3, 3).

    Returns:
        Whether the law has a value there.
    """
    if by_stretch(law, p, s, slope, stretch) == math.inf:
        return False
    for a in range(2):
        for b in range(a + 1, 3):
            gap, total = s[a] - s[b], s[a] + s[b]
            if abs(gap) < 1e-5 * (abs(s[a]) + abs(s[b])):
                flat = 0.5 * (stretch[a, a] + stretch[b, b]) - stretch[a, b]
            else:
                flat = (slope[a] - slope[b]) / gap
            turn = (slope[a] + slope[b]) / (total if abs(total) > 1e-6 else math.copysign(1e-6, total))
            flat, turn = flat - project * min(flat, 0.0), turn - project * min(turn, 0.0)
            plane[0, a, b] = plane[0, b, a] = 0.5 * (flat + turn)
            plane[1, a, b] = plane[1, b, a] = 0.5 * (flat - turn)
    if project > 0.0:
        _clamp(stretch, project, work)
    return True


@njit(cache=True)
def _is_positive(m: Any) -> bool:
    """Return whether a symmetric (3, 3) matrix is positive definite (Sylvester)."""
    if not (m[0, 0] > 0.0 and m[0, 0] * m[1, 1] > m[0, 1] * m[0, 1]):
        return False
    first = m[1, 1] * m[2, 2] - m[1, 2] * m[1, 2]
    second = m[0, 1] * m[2, 2] - m[0, 2] * m[1, 2]
    third = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
    return bool(m[0, 0] * first - m[0, 1] * second + m[0, 2] * third > 0.0)


@njit(cache=True)
def _clamp(matrix: Any, share: float, work: Any) -> None:
    """Take a share of negative eigenvalues off a symmetric (3, 3) matrix, by cyclic Jacobi rotations."""
    if _is_positive(matrix):
        return
    m, v = work[0], work[1]
    for i in range(3):
        for j in range(3):
            m[i, j] = matrix[i, j]
            v[i, j] = 1.0 if i == j else 0.0
    for _ in range(10):
        off = m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2
        if off <= 1e-28 * (m[0, 0] ** 2 + m[1, 1] ** 2 + m[2, 2] ** 2):
            break
        for p in range(2):
            for q in range(p + 1, 3):
                if m[p, q] == 0.0:
                    continue
                theta = (m[q, q] - m[p, p]) / (2.0 * m[p, q])
                t = math.copysign(1.0, theta) / (abs(theta) + math.sqrt(1.0 + theta * theta))
                c = 1.0 / math.sqrt(1.0 + t * t)
                sine = t * c
                for k in range(3):
                    x, y = m[k, p], m[k, q]
                    m[k, p], m[k, q] = c * x - sine * y, sine * x + c * y
                for k in range(3):
                    x, y = m[p, k], m[q, k]
                    m[p, k], m[q, k] = c * x - sine * y, sine * x + c * y
                    x, y = v[k, p], v[k, q]
                    v[k, p], v[k, q] = c * x - sine * y, sine * x + c * y
    if m[0, 0] >= 0.0 and m[1, 1] >= 0.0 and m[2, 2] >= 0.0:
        return
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += (m[k, k] - share * min(m[k, k], 0.0)) * v[i, k] * v[j, k]
            matrix[i, j] = total


@njit(cache=True)
def room() -> Any:
    """Return the workspace of `stress`."""
    return np.zeros((6, 3, 3))
