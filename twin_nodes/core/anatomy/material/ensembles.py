"""Ensembles: one body with many materials, so that what is not known of them shows in the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.bodies import scaled
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

NUMBA = 'numba'


@dataclass(frozen=True, eq=False)
class EnsembleSolution:
    """States of rest of an ensemble.

    Args:
        positions: Nodes of each member [m], shape (b, n, 3).
        residual: Unbalanced forces as a share of those that act, shape (b,).
        is_converged: Which met the tolerance, shape (b,); the others' positions are their last ones.
        iterations: Of the slowest.
        device: Where it was computed: 'numba', or a device of torch.
        fallback: Why the GPU that there is did not do it; '' otherwise.
    """

    positions: Array
    residual: Array
    is_converged: NDArray[np.bool_]
    iterations: int
    device: str = NUMBA
    fallback: str = ''

    def mean_and_covariance(self) -> tuple[Array, Array]:
        """Return the mean of the converged members [m] (n, 3), and each node's covariance [m²] (n, 3, 3).

        Raises:
            DegenerateGeometryError: ENSEMBLE_REFUSED where fewer than two converged.
        """
        good = self.positions[self.is_converged]
        if len(good) < 2:
            raise DegenerateGeometryError(
                f'{len(good)} of {len(self.positions)} members converged: no spread', code='ENSEMBLE_REFUSED'
            )
        mean = good.mean(axis=0)
        gap = good - mean
        return np.asarray(mean), np.einsum('bni,bnj->nij', gap, gap) / (len(good) - 1)


def solve_ensemble(
    model: ElasticModel,
    materials: Sequence[Material | Mapping[int, Material]],
    loads: Loads,
    *,
    device: str = '',
    tolerance: float = 1e-8,
) -> EnsembleSolution:
    """Find the states of rest of a body for each of several sets of materials, under the same loads.

    Args:
        model: The body, with materials in the middle of the others.
        materials: One set for each member.
        loads: What acts.
        device: 'numba' for one member after the other on the CPU; a device of torch, such as 'cuda' or 'cpu', for all
            at once; when left out a GPU where torch finds one that computes what the compiled kernels do, else numba,
            which is quicker than torch on a CPU; `fallback` says why a GPU was left out.
        tolerance: Residual to reach.

    Raises:
        ConfigError: torch is not installed, has no such device, or laws are of other kinds than the body's.
        InputError: ENSEMBLE_REFUSED for no member, or what torch cannot do.
        DegenerateGeometryError: ENSEMBLE_REFUSED where the body itself finds no rest.
    """
    if not materials:
        raise InputError('ensemble: no member', code='ENSEMBLE_REFUSED')
    if device == NUMBA or (not device and not _has_gpu()):
        return _one_by_one(model, materials, loads, tolerance)
    from twin_nodes.core.anatomy.elastic_torch.ensemble import solve_on_torch

    try:
        return solve_on_torch(model, materials, loads, device=device, tolerance=tolerance)
    except (InputError, DegenerateGeometryError, RuntimeError) as error:  # torch tells of its memory by RuntimeError
        if device:
            raise
        found = _one_by_one(model, materials, loads, tolerance)
        return replace(found, fallback=str(error).splitlines()[0])


def _has_gpu() -> bool:
    from twin_nodes.core.anatomy.elastic_torch.device import has_gpu

    return has_gpu()


def _one_by_one(
    model: ElasticModel, materials: Sequence[Material | Mapping[int, Material]], loads: Loads, tolerance: float
) -> EnsembleSolution:
    centre = model.solve(loads, tolerance=tolerance)
    if not centre.is_converged:
        raise DegenerateGeometryError('ensemble: the body itself finds no rest', code='ENSEMBLE_REFUSED')
    found = [model.with_materials(one).solve(loads, centre.positions, tolerance=tolerance) for one in materials]
    return EnsembleSolution(
        np.stack([one.positions for one in found]),
        np.array([one.residual for one in found]),
        np.array([one.is_converged for one in found]),
        max(one.iterations for one in found),
    )


def sample_materials(
    materials: Mapping[int, Material], log_covariance: Array, labels: Sequence[int], count: int, seed: int = 0
) -> list[dict[int, Material]]:
    """Draw sets of materials whose stiffness has errors by label, for an ensemble.

    Args:
        materials: The laws by label.
        log_covariance: Of the logarithms of their stiffness, in the order of `labels`, shape (k, k).
        labels: Which labels vary.
        count: Number of sets.
        seed: Of the draws.

    Raises:
        ConfigError: The covariance does not fit the labels.
    """
    covariance = np.asarray(log_covariance, float)
    if covariance.shape != (len(labels), len(labels)):
        raise ConfigError(f'log_covariance has shape {covariance.shape}, expected {len(labels)} by {len(labels)}')
    draws = np.random.default_rng(seed).multivariate_normal(np.zeros(len(labels)), covariance, count)
    return [
        {**materials, **{k: scaled(materials[k], float(np.exp(z))) for k, z in zip(labels, draw, strict=True)}}
        for draw in draws
    ]
