"""An ensemble of bodies of one mesh on torch: energy and forces of all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import Material, per_tetrahedron
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic_torch.device import choose_device, import_torch
from twin_nodes.core.anatomy.elastic_torch.law_tensors import Tensor, stress
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array


class TorchBodies:
    """The residuals of `ElasticModel`, batched.

    Args:
        model: The body; its mesh, laws, weights and support are shared by all.
        device: 'cpu', 'cuda', …; the GPU when there is one, else the CPU, when left out.
        double: Whether to compute in f64; else f32.

    Raises:
        ConfigError: torch is not installed, or has no such device.
    """

    def __init__(self, model: ElasticModel, device: str = '', *, double: bool = True) -> None:
        torch = import_torch()
        self.model, self.device = model, choose_device(device)
        self.dtype = torch.float64 if double else torch.float32
        self.rest = self.tensor(model.rest)
        self.tets = torch.as_tensor(model.tets.astype(np.int64), device=self.device)
        self.inverse = self.tensor(model.inverse)
        self.share = self.tensor(model.volume * model.weight)
        self.parameters = self.tensor(model.parameters)[None]
        self.support = None if model.support is None else self.tensor(model.support)[None, :, None]
        self._groups = [
            (int(law), torch.as_tensor(np.flatnonzero((model.laws == law) & (model.weight > 0.0)), device=self.device))
            for law in np.unique(model.laws)
        ]

    def tensor(self, values: Any) -> Tensor:
        """Return values as a tensor of the kind and on the device that are used here."""
        return import_torch().as_tensor(np.asarray(values), dtype=self.dtype, device=self.device)

    def parameters_of(self, materials: Sequence[Material | Mapping[int, Material]]) -> Tensor:
        """Return the parameters of several sets of laws, shape (b, m, 7).

        Raises:
            ConfigError: A set has laws of other kinds than the body.
        """
        rows = []
        for number, one in enumerate(materials):
            laws, values, _ = per_tetrahedron(one, self.model.mesh.labels)
            if not np.array_equal(laws, self.model.laws):
                raise ConfigError(f'materials {number}: laws of other kinds than the body; make a body for them')
            rows.append(values)
        return self.tensor(np.stack(rows))

    def energy_gradient(self, x: Tensor, parameters: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the energy of each body [J] (b,), and ∂E/∂x [N] (b, n, 3).

        The energy is infinite where a law has no value; the tetrahedra in question then add no force.

        Args:
            x: Nodes of each body [m], shape (b, n, 3).
            parameters: Of the laws, (b, m, 7) or (1, m, 7); those of the body when left out.

        Raises:
            InputError: for shapes that do not fit.
        """
        torch = import_torch()
        if x.ndim != 3 or x.shape[1:] != self.rest.shape:
            raise InputError(f'x has shape {tuple(x.shape)}, expected (b, {self.model.count}, 3)')
        p = self.parameters if parameters is None else parameters
        if p.ndim != 3 or p.shape[0] not in (1, x.shape[0]) or p.shape[1:] != self.parameters.shape[1:]:
            raise InputError(f'parameters have shape {tuple(p.shape)}, expected ({x.shape[0]}, {len(self.tets)}, 7)')
        energy = torch.zeros(x.shape[0], dtype=self.dtype, device=self.device)
        gradient = torch.zeros_like(x)
        for law, group in self._groups:
            whole = len(group) == len(self.tets)
            tets = self.tets if whole else self.tets[group]
            inverse = self.inverse if whole else self.inverse[group]
            share = self.share if whole else self.share[group]
            corners = x[:, tets]
            edges = corners[:, :, 1:] - corners[:, :, :1]
            f = edges.transpose(-1, -2) @ inverse
            density, piola, fine = stress(law, p if whole else p[:, group], f)
            energy = energy + density @ share
            energy = torch.where(fine.all(dim=1), energy, torch.full_like(energy, torch.inf))
            force = (share[:, None, None] * piola) @ inverse.transpose(-1, -2)  # columns: nodes 1, 2, 3
            force = force.transpose(-1, -2)
            gradient.index_add_(1, tets[:, 1:].reshape(-1), force.reshape(len(x), -1, 3))
            gradient.index_add_(1, tets[:, 0], -force.sum(dim=2))
        if self.support is not None:
            moved = x - self.rest
            gradient = gradient + self.support * moved
            energy = energy + 0.5 * (self.support * moved * moved).sum((1, 2))
        return energy, gradient

    def energies_and_forces(self, positions: Array) -> tuple[Array, Array]:
        """Return energies [J] (b,) and elastic forces [N] (b, n, 3) of positions (b, n, 3), as arrays."""
        energy, gradient = self.energy_gradient(self.tensor(positions))
        return energy.cpu().numpy(), -gradient.cpu().numpy()
