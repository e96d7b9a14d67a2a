"""The laws of `elastic.law_kernels` on tensors: energy density and first Piola stress of many deformation gradients."""

from __future__ import annotations

from typing import Any

from twin_nodes.core.anatomy.elastic.laws import MOONEY_RIVLIN, NEO_HOOKEAN
from twin_nodes.core.anatomy.elastic_torch.device import import_torch

SWEEPS = {8: 6, 4: 4}  # of Jacobi rotations by bytes of a number: off-diagonals reach rounding
Tensor = Any


def cofactors(f: Tensor) -> Tensor:
    """Return ∂J/∂F (…, 3, 3); its rows are cross products of those of F."""
    torch = import_torch()
    a, b, c = f[..., 0, :], f[..., 1, :], f[..., 2, :]
    cross = torch.linalg.cross
    return torch.stack([cross(b, c, dim=-1), cross(c, a, dim=-1), cross(a, b, dim=-1)], dim=-2)


def stress(law: int, p: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return energy density [J/m³], first Piola stress [Pa] and whether the law has a value there.

    Where it has none, density and stress are 0.

    Args:
        law: Number of the law.
        p: Its parameters, shape (…, 7).
        f: Deformation gradients, shape (…, 3, 3).
    """
    torch = import_torch()
    cof = cofactors(f)
    j = (f[..., 0, :] * cof[..., 0, :]).sum(-1)
    if law == NEO_HOOKEAN:
        mu, lam = p[..., 0], p[..., 1]
        square = (f * f).sum((-2, -1))
        density = 0.5 * mu * (square - 3.0) + (j - 1.0) * (0.5 * lam * (j - 1.0) - mu)
        slope = lam * (j - 1.0) - mu
        return density, mu[..., None, None] * f + slope[..., None, None] * cof, torch.ones_like(j, dtype=torch.bool)
    fine = j > 0.0
    eye = torch.eye(3, dtype=f.dtype, device=f.device)
    f = torch.where(fine[..., None, None], f, eye)
    cof = torch.where(fine[..., None, None], cof, eye)
    j = torch.where(fine, j, torch.ones_like(j))
    density, piola = (_mooney_rivlin if law == MOONEY_RIVLIN else _ogden)(p, f, cof, j)
    keep = fine.to(f.dtype)
    return density * keep, piola * keep[..., None, None], fine


def _mooney_rivlin(p: Tensor, f: Tensor, cof: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    c10, c01, bulk = p[..., 0], p[..., 1], p[..., 2]
    right = f.transpose(-1, -2) @ f
    first = right.diagonal(dim1=-2, dim2=-1).sum(-1)
    second = 0.5 * (first * first - (right * right).sum((-2, -1)))
    root = j ** (-2.0 / 3.0)
    on_f = 2.0 * c10 * root + 2.0 * c01 * root * root * first
    on_cof = -(2.0 * c10 * root * first + 4.0 * c01 * root * root * second) / (3.0 * j) + 0.5 * bulk * (j - 1.0 / j)
    piola = on_f[..., None, None] * f + on_cof[..., None, None] * cof
    piola = piola - (2.0 * c01 * root * root)[..., None, None] * (f @ right)
    density = c10 * (root * first - 3.0) + c01 * (root * root * second - 3.0)
    return density + 0.25 * bulk * (j * j - 1.0 - 2.0 * j.log()), piola


def _ogden(p: Tensor, f: Tensor, cof: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    torch = import_torch()
    columns, v = _one_sided_jacobi(f)
    s = columns.norm(dim=-2)  # stretches: J > 0, so all are above 0
    w_root = j[..., None] ** (-1.0 / 3.0) * s
    bulk = p[..., 6]
    density = 0.25 * bulk * (j * j - 1.0 - 2.0 * j.log())
    slope = torch.zeros_like(s)
    for k in range(3):
        mu, alpha = p[..., 2 * k], p[..., 2 * k + 1]
        used = mu != 0.0
        alpha = torch.where(used, alpha, torch.ones_like(alpha))
        w = w_root ** alpha[..., None]
        total = w.sum(-1)
        density = density + mu / alpha * (total - 3.0)
        slope = slope + mu[..., None] * (w - total[..., None] / 3.0) / s
    # P = Σ slope_a u_a v_aᵀ with u_a = (F v_a) / s_a, and the volume along the cofactors
    piola = (columns * (slope / s)[..., None, :]) @ v.transpose(-1, -2)
    return density, piola + (0.5 * bulk * (j - 1.0 / j))[..., None, None] * cof


def _one_sided_jacobi(f: Tensor) -> tuple[Tensor, Tensor]:
    """Return F V with orthogonal columns, and the rotation V (Hestenes 1958): no branch, the same steps for all."""
    torch = import_torch()
    a = list(f.unbind(-1))
    eye = torch.eye(3, dtype=f.dtype, device=f.device).expand(f.shape)
    v = list(eye.unbind(-1))
    tiny = torch.finfo(f.dtype).tiny
    for _ in range(SWEEPS[f.element_size()]):
        for m, n in ((0, 1), (0, 2), (1, 2)):
            aa, bb, c = (a[m] * a[m]).sum(-1), (a[n] * a[n]).sum(-1), (a[m] * a[n]).sum(-1)
            safe = torch.where(c.abs() > tiny, c, torch.full_like(c, tiny))
            zeta = (bb - aa) / (2.0 * safe)
            t = torch.copysign(1.0 / (zeta.abs() + torch.hypot(zeta, torch.ones_like(zeta))), zeta)
            t = torch.where(c.abs() > tiny, t, torch.zeros_like(t))
            cosine = torch.rsqrt(1.0 + t * t)[..., None]
            sine = cosine * t[..., None]
            a[m], a[n] = cosine * a[m] - sine * a[n], sine * a[m] + cosine * a[n]
            v[m], v[n] = cosine * v[m] - sine * v[n], sine * v[m] + cosine * v[n]
    return torch.stack(a, -1), torch.stack(v, -1)
