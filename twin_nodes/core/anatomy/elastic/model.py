"""A hyperelastic body on tetrahedra: its energy, forces and stiffness, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twin_nodes.core.anatomy.elastic import assembly_kernels, load_kernels, pressure_kernels
from twin_nodes.core.anatomy.elastic.laws import Material, per_tetrahedron
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.pattern import BlockPattern, make_pattern
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array

DENSITY = 1060.0
_WORKED_OUT = ('_lines', 'stiffness_scale')  # from other attributes


@dataclass(frozen=True, eq=False)
class Solution:
    """The state of rest that a solver found.

    Args:
        positions: Where each node is [m], shape (n, 3).
        displacement: Where each node is less where it was at rest [m], shape (n, 3).
        status: 'converged'; 'not_converged' when the iterations ended before; 'out_of_time' when time did; 'failed'
            when what came of it is no state of this body (`faults`): the positions are the last good ones.
        residual: Norm of the forces that are not balanced, as a share of those that act; 0 is exact.
        iterations: Number of iterations.
        energy: Elastic energy and that of all loads [J].
        volume_change: Change of the volume of what is left, as a share of it.
        min_volume_ratio: Least J of all tetrahedra that are left; at or below 0 one is inverted.
        step: Greatest movement of a node in the last iteration [m].
        frozen: Number of nodes that nothing holds (parts cut off), which stay where they were.
        reason: Why it failed.
    """

    positions: Array
    displacement: Array
    status: str
    residual: float
    iterations: int
    energy: float
    volume_change: float
    min_volume_ratio: float
    step: float
    frozen: int = 0
    reason: str = ''

    @property
    def is_converged(self) -> bool:
        """Whether the residual met the tolerance."""
        return self.status == 'converged'


class ElasticModel:
    """A hyperelastic body.

    Args:
        mesh: Tetrahedra at rest.
        materials: One law for all, or one for each label.
        fixed: Nodes that never move, shape (k,).
        support: Stiffness that ties each node to its place at rest [N/m], shape (n,): soft surroundings; none if not
            given.
        density: For gravity [kg/m³].

    Raises:
        ConfigError: MATERIAL_MISSING, or a law that is not stable at rest.
        InputError: ANATOMY_REFUSED where fixed nodes or support do not fit the mesh.
    """

    def __init__(
        self,
        mesh: TetMesh,
        materials: Material | Mapping[int, Material],
        fixed: ArrayLike = (),
        *,
        support: ArrayLike | None = None,
        density: float = DENSITY,
    ) -> None:
        self.mesh = mesh
        self.rest = np.ascontiguousarray(mesh.nodes, np.float64)
        self.tets: NDArray[np.int32] = np.ascontiguousarray(mesh.tets, np.int32)
        self.laws, self.parameters, self.shear = per_tetrahedron(materials, mesh.labels)
        self.inverse, self.volume = assembly_kernels.shape_matrices(self.rest, self.tets)
        self.weight = np.ones(len(self.tets))
        self.fixed = _fixed(fixed, len(self.rest))
        self.support = _support(support, len(self.rest))
        self.density = density
        self.free = np.ones(len(self.rest), bool)
        self.free[self.fixed] = False
        self.free_nodes = np.flatnonzero(self.free)
        self.number = np.where(self.free, np.cumsum(self.free) - 1, -1)
        self.pattern: BlockPattern = make_pattern(self.rest, self.tets, self.free)
        self.part = _parts(self.tets, len(self.rest))

    @property
    def count(self) -> int:
        """Number of nodes."""
        return len(self.rest)

    @cached_property
    def stiffness_scale(self) -> float:
        """Shear modulus times the area of the body, its force for strains of about 1 [N]."""
        return float(self.shear.mean() * np.cbrt(self.volume.sum()) ** 2)

    def with_materials(self, materials: Material | Mapping[int, Material]) -> ElasticModel:
        """Return the same body of other materials; it shares what does not depend on them."""
        laws, parameters, shear = per_tetrahedron(materials, self.mesh.labels)
        return self.changed(laws=laws, parameters=parameters, shear=shear)

    def with_weight(self, weight: ArrayLike) -> ElasticModel:
        """Return the same body with a share of the stiffness of each tetrahedron: 1 as is, 0 removed (m,).

        Resection and carving: nothing is numbered anew, and a factor of this body serves the other one meanwhile.

        Raises:
            InputError: for a wrong shape or shares outside 0 … 1.
        """
        share = np.ascontiguousarray(weight, np.float64)
        if share.shape != self.weight.shape or not ((share >= 0.0) & (share <= 1.0)).all():
            raise InputError(f'weight: expected {self.weight.shape} values within 0 … 1', code='ANATOMY_REFUSED')
        return self.changed(weight=share, part=_parts(self.tets[share > 0.0], self.count))

    def with_support(self, support: ArrayLike) -> ElasticModel:
        """Return the same body with other soft surroundings [N/m], shape (n,)."""
        return self.changed(support=_support(support, self.count))

    def shaped(self, positions: ArrayLike) -> ElasticModel:
        """Return the same body at rest in another shape (n, 3) [m]; its elements must have positive volumes."""
        rest = np.ascontiguousarray(positions, np.float64)
        inverse, volume = assembly_kernels.shape_matrices(rest, self.tets)
        return self.changed(rest=rest, inverse=inverse, volume=volume)

    def changed(self, **attributes: object) -> ElasticModel:
        """Return a body with other values of some attributes; it shares all others."""
        other = object.__new__(ElasticModel)
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name not in _WORKED_OUT})
        other.__dict__.update(attributes)
        return other

    @cached_property
    def _lines(self) -> tuple[Array, NDArray[np.int64]]:
        return assembly_kernels.in_blocks(self.inverse, self.volume, self.weight, self.laws, self.parameters)

    def nodal_mass(self) -> Array:
        """Return the mass that each node carries [kg], shape (n,)."""
        share = np.repeat(self.density * self.volume * self.weight / 4.0, 4)
        return np.asarray(np.bincount(self.tets.ravel(), weights=share, minlength=self.count), np.float64)

    def solve(
        self, loads: Loads, start: Array | None = None, *, tolerance: float = 1e-8, max_iterations: int = 60
    ) -> Solution:
        """Find the state of rest under loads by Newton's method; see `exact.solve`."""
        from twin_nodes.core.anatomy.elastic import exact

        return exact.solve(self, loads, start, tolerance=tolerance, max_iterations=max_iterations)

    def tangent_solve(self, forces: Array, x: Array, loads: Loads | None = None) -> Array:
        """Return the small displacements [m] under small forces [N] at a state; `exact.Tangent` keeps the factor.

        Args:
            forces: Right sides, shape (n, 3) or (k, n, 3).
            x: Nodes [m], shape (n, 3).
            loads: Whose springs and held nodes take part.
        """
        from twin_nodes.core.anatomy.elastic import exact

        return exact.Tangent(self, x, loads).solve(forces)

    def energy(self, x: Array) -> float:
        """Return the elastic energy with that of the support [J]; infinite where a law has no value."""
        return self.energy_gradient(x, np.zeros_like(x))

    def force(self, x: Array) -> Array:
        """Return the elastic force on each node [N], shape (n, 3)."""
        gradient = np.zeros_like(x)
        self.energy_gradient(x, gradient)
        return -gradient

    def energy_gradient(self, x: Array, gradient: Array) -> float:
        """Add ∂E/∂x [N] to `gradient` (n, 3); return E [J], infinite where a law has no value."""
        total: float = assembly_kernels.energy_gradient(
            x, self.tets, *self._lines, self.inverse, self.volume, self.weight, self.laws, self.parameters, gradient
        )
        if self.support is not None:
            moved = x - self.rest
            pull = self.support[:, None] * moved
            gradient += pull
            total += 0.5 * float(np.vdot(pull, moved))
        return total

    def blocks(self, x: Array, *, project: float, loads: Loads | None = None) -> Array:
        """Return the stiffness of the free nodes in blocks of the pattern [N/m], shape (b, 3, 3).

        Args:
            x: Nodes [m], shape (n, 3).
            project: Share of the negative eigenvalues of each tetrahedron that is taken away: 0 for the stiffness as it
                is, 1 for a positive semi-definite one.
            loads: Whose springs are added.

        Raises:
            InputError: LOADS_REFUSED where a spring ties nodes of different tetrahedra; ANATOMY_REFUSED where x is a
                state that the law forbids.
        """
        blocks = np.zeros((len(self.pattern.indices), 3, 3))
        bad = assembly_kernels.hessian_blocks(
            x, self.tets, self.inverse, self.volume, self.weight, self.laws, self.parameters, float(project),
            self.pattern.slots, blocks,
        )  # fmt: skip
        if bad:
            raise InputError(f'{bad} tetrahedra are inverted, which their law forbids', code='ANATOMY_REFUSED')
        if self.support is not None:
            blocks[self.pattern.diagonal] += self.support[self.free][:, None, None] * np.eye(3)
        if loads is not None and len(loads.springs):
            springs = loads.springs
            if load_kernels.spring_blocks(
                springs.nodes, springs.weights, springs.stiffness, self.number, self.pattern.indptr,
                self.pattern.indices, blocks,
            ):  # fmt: skip
                raise InputError('springs: the nodes of a point are not of one tetrahedron', code='LOADS_REFUSED')
        return blocks

    def add_couplings(self, pairs: NDArray[np.int64], arms: Array, blocks: Array) -> None:
        """Add to blocks (b, 3, 3) [N/m] the turning of a pressure; see `FollowedPressure.couplings`.

        Raises:
            InputError: LOADS_REFUSED where it acts on a triangle that is no face of a tetrahedron.
        """
        pattern = self.pattern
        if pressure_kernels.cross_blocks(pairs, arms, self.number, pattern.indptr, pattern.indices, blocks):
            raise InputError('pressure: a triangle is no face of a tetrahedron', code='LOADS_REFUSED')

    def hessian(self, x: Array, *, project: float = 0.0, loads: Loads | None = None) -> sparse.csr_matrix:
        """Return the stiffness of the free nodes [N/m] as a sparse matrix (3 f, 3 f); see `blocks`."""
        blocks = self.blocks(x, project=project, loads=loads)
        size = 3 * len(self.pattern.points)
        matrix = sparse.bsr_matrix((blocks, self.pattern.indices, self.pattern.indptr), shape=(size, size))
        return matrix.tocsr()

    def volume_ratios(self, x: Array) -> Array:
        """Return J of each tetrahedron, shape (m,)."""
        ratio = np.empty(len(self.tets))
        assembly_kernels.volumes(x, self.tets, ratio)
        return np.asarray(ratio / self.volume)

    def frozen(self, loads: Loads) -> NDArray[np.bool_]:
        """Return which nodes nothing holds, as in a part that was cut off, shape (n,)."""
        tied = np.zeros(self.count, bool)
        tied[self.fixed] = True
        tied[loads.held] = True
        tied[loads.springs.nodes[loads.springs.weights != 0.0]] = True
        if self.support is not None:
            tied |= self.support > 0.0
        alive = np.zeros(int(self.part.max()) + 1, bool)
        alive[self.part[tied]] = True
        return np.asarray(~alive[self.part])


def _parts(tets: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([tets[:, [0, k]] for k in (1, 2, 3)]) if len(tets) else np.zeros((0, 2), np.int32)
    graph = sparse.coo_matrix((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _fixed(fixed: ArrayLike, count: int) -> NDArray[np.int64]:
    nodes = np.unique(np.asarray(fixed, np.int64))
    if nodes.size and (nodes[0] < 0 or nodes[-1] >= count):
        raise InputError(f'fixed: a node outside 0 … {count - 1}', code='ANATOMY_REFUSED')
    if len(nodes) == count:
        raise ConfigError('all nodes are fixed: nothing is left to solve')
    return nodes


def _support(support: ArrayLike | None, count: int) -> Array | None:
    if support is None:
        return None
    values = np.array(support, np.float64)
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0.0).any():
        raise InputError(f'support: expected {count} finite values at or above 0 N/m', code='ANATOMY_REFUSED')
    return values
