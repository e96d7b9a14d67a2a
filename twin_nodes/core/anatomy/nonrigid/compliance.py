"""The ways in which an organ can deform: linear-elastic answers to smooth loads, computed once per organ.

Loads are what is not known: what pushes on the surface from outside, and, far smaller, forces inside that stand for a
stiffness other than the model's. A load has a prior, f ~ N(0, F); the stiffness turns it into a prior of displacements,
u = K⁻¹ f ~ N(0, K⁻¹ F K⁻¹): what is stiff deforms little. The main axes of that prior are the modes (after the
linearised iterative boundary reconstruction of Heiselman, Jarnagin and Miga 2020). No place of support is assumed: the
surroundings are alike soft everywhere, each load is balanced by inertia (inertia relief), and the modes hold no rigid
motion, which has six unknowns of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.exact import Tangent
from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

_TIE = 1e-6  # of the typical stiffness of a node: holds the free body without a force that matters


@dataclass(frozen=True)
class ComplianceConfig:
    """Which loads an organ is prepared for."""

    patches: int = setting('places on the surface where loads act', 80, minimum=8, maximum=2000)
    inner_patches: int = setting('places inside where the model may lack force', 40, minimum=0, maximum=2000)
    inner_share: float = setting(
        'displacement by forces inside, as a share of that by loads on the surface', 0.15, minimum=0.0, maximum=10.0
    )
    width: float = setting('width of a load over the distance of neighbouring places', 0.8, minimum=0.1, maximum=5.0)
    surroundings: float = setting(
        'stiffness of what lies around the organ, over its own', 3.0, minimum=0.0, maximum=1000.0
    )
    modes: int = setting('modes that are kept', 120, minimum=6, maximum=1000)
    amplitude: float = setting(
        'displacement that is expected beforehand, RMS over the organ', 0.005, unit='m', minimum=1e-5, maximum=0.1
    )


@dataclass(frozen=True, eq=False)
class Compliance:
    """The prior of an organ's displacement, in its main axes.

    Args:
        model: The body, which nothing holds.
        modes: Displacement [m] of each node by a mode at one standard deviation, shape (n, 3, r).
        rest_variance: Variance [m²] of the displacement of each node that the modes leave out, shape (n, 3).
        faces: Outer triangles as numbers into `outer`, outward, shape (k, 3).
        outer: Nodes on the outside, shape (b,).
        across: Triangle beyond each edge of each outer triangle, shape (k, 3).
        places: Which outer nodes bear each load of the surface, in shares that sum to 1, shape (p, b).
        mixture: Amount of each load in each mode, three loads for each place, then those inside, shape (3 p + q, r).
        centre: Centre of mass at rest [m], shape (3,).
        radius: RMS distance of the mass from it [m].
    """

    model: ElasticModel
    modes: Array
    rest_variance: Array
    faces: NDArray[np.int32]
    outer: NDArray[np.int64]
    across: NDArray[np.int32]
    places: Array
    mixture: Array
    centre: Array
    radius: float

    def spread(self, scales: Array) -> Array:
        """Return the covariance of the modes' amounts (r, r) where the places bear other loads than expected.

        Args:
            scales: Standard deviation of the load at each place over the expected one, shape (p,).
        """
        weighted = self.mixture[: 3 * len(scales)] * np.repeat(scales, 3)[:, None]
        return np.asarray(weighted.T @ weighted + self._inside)

    @cached_property
    def _inside(self) -> Array:
        inside = self.mixture[3 * len(self.places) :]
        return np.asarray(inside.T @ inside)

    @cached_property
    def rows_single(self) -> NDArray[np.float32]:
        """The modes in rows of nodes and axes, with room for the rigid motion in front, float32, shape (3 n, 6 + r)."""
        flat = self.modes.reshape(-1, self.count)
        return np.ascontiguousarray(np.pad(flat, ((0, 0), (6, 0))), np.float32)

    @cached_property
    def gram(self) -> Array:
        """Mean over the nodes of the products of the modes' displacements [m²], shape (r, r)."""
        flat = self.modes.reshape(-1, self.count)
        return np.asarray(flat.T @ flat / len(self.modes))

    @property
    def count(self) -> int:
        """Number of modes."""
        return int(self.modes.shape[2])


def prepare_compliance(model: ElasticModel, config: ComplianceConfig | None = None) -> Compliance:
    """Compute the modes of a body; seconds at 20 000 tetrahedra, once per organ.

    Args:
        model: The body; nodes that it holds fixed are set free, as the pose of the organ is an unknown. Give such
            places as observations.
        config: Which loads.

    Raises:
        DegenerateGeometryError: where the outside is no closed surface.
    """
    config = config if config is not None else ComplianceConfig()
    loose = _loosened(model)
    mass = loose.nodal_mass()
    centre = mass @ loose.rest / mass.sum()
    rigid = _rigid_motions(loose.rest - centre)
    outer, faces = np.unique(model.mesh.outer_faces, return_inverse=True)
    surface_loads = _patches(loose.rest, outer, _nodal_area(model), config.patches, config.width)
    tangent = Tangent(_embedded(loose, config.surroundings), loose.rest)
    answers = _normalised(_answers(tangent, surface_loads, mass, rigid), mass)
    if config.inner_patches and config.inner_share > 0.0:
        inner = _patches(loose.rest, np.arange(loose.count), mass, config.inner_patches, config.width)
        inside = _normalised(_answers(tangent, inner, mass, rigid), mass)
        answers = np.concatenate([answers, config.inner_share * inside])
    modes, rest, mixture = _main_axes(config.amplitude * answers, mass, config.modes)
    triangles = np.ascontiguousarray(faces.reshape(-1, 3), np.int32)
    radius = float(np.sqrt(mass @ np.sum((loose.rest - centre) ** 2, axis=1) / mass.sum()))
    borne = surface_loads[:, outer]
    return Compliance(
        loose, modes, rest, triangles, outer.astype(np.int64), _across(triangles),
        borne / borne.sum(axis=1, keepdims=True), mixture, centre, radius,
    )  # fmt: skip


def _loosened(model: ElasticModel) -> ElasticModel:
    """Return the body without what holds it, tied to its place by springs far too soft to matter."""
    typical = float(model.stiffness_scale / np.cbrt(model.volume.sum()))
    mass = model.nodal_mass()
    support = _TIE * typical * len(mass) * mass / mass.sum()
    if not len(model.fixed):
        return model.with_support(support)
    loose = ElasticModel(model.mesh, NeoHookean(3.0 * float(model.shear.mean()), 0.45), support=support)
    loose.laws, loose.parameters, loose.shear = model.laws, model.parameters, model.shear
    loose.weight, loose.density = model.weight, model.density
    return loose


def _embedded(loose: ElasticModel, surroundings: float) -> ElasticModel:
    """Return the body with soft surroundings on all of its outside, as nobody knows where they are stiff."""
    assert loose.support is not None
    typical = float(loose.stiffness_scale / np.cbrt(loose.volume.sum()))
    area = _nodal_area(loose)
    return loose.with_support(loose.support + surroundings * typical * area / area.sum())


def _rigid_motions(arms: Array) -> Array:
    """Return three shifts and three turns at points (n, 3) from the centre of mass, shape (6, n, 3)."""
    motions = np.zeros((6, len(arms), 3))
    for axis in range(3):
        motions[axis, :, axis] = 1.0
        motions[3 + axis] = np.cross(np.eye(3)[axis], arms)
    return motions


def _nodal_area(model: ElasticModel) -> Array:
    faces = model.mesh.outer_faces
    corners = model.rest[faces]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray(np.bincount(faces.ravel(), weights=np.repeat(areas / 3.0, 3), minlength=model.count))


def _patches(rest: Array, among: NDArray[np.integer], measure: Array, count: int, width: float) -> Array:
    """Spread Gaussian bumps evenly over some nodes; return what each node carries of each, shape (p, n)."""
    points = rest[among]
    chosen = _spread_out(points, count)
    apart = np.linalg.norm(points[chosen][:, None] - points[chosen][None], axis=2)
    np.fill_diagonal(apart, np.inf)
    sigma = width * float(np.median(apart.min(axis=1))) if len(chosen) > 1 else float(np.ptp(points, axis=0).max())
    loads = np.zeros((len(chosen), len(rest)))
    squared = np.sum((points[chosen][:, None] - points[None]) ** 2, axis=2)
    loads[:, among] = measure[among] * np.exp(-0.5 * squared / sigma**2)
    return loads


def _spread_out(points: Array, count: int) -> NDArray[np.int64]:
    """Choose points far from one another (Gonzalez 1985), starting with the one farthest from the middle."""
    away = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen = [int(np.argmax(away))]
    near = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(np.argmax(near)))
        near = np.minimum(near, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _answers(tangent: Tangent, loads: Array, mass: Array, rigid: Array) -> Array:
    """Return the displacements by loads along each axis, without rigid motion, shape (3 p, n, 3)."""
    forces = np.zeros((len(loads), 3, loads.shape[1], 3))
    for axis in range(3):
        forces[:, axis, :, axis] = loads
    many = forces.reshape(-1, loads.shape[1], 3)
    inertia = np.einsum('n,anc,bnc->ab', mass, rigid, rigid)
    balance = np.linalg.solve(inertia, np.einsum('anc,knc->ak', rigid, many))
    many -= np.einsum('ak,n,anc->knc', balance, mass, rigid, optimize=True)
    moved = tangent.solve(many)
    spare = np.linalg.solve(inertia, np.einsum('n,anc,knc->ak', mass, rigid, moved, optimize=True))
    moved -= np.einsum('ak,anc->knc', spare, rigid, optimize=True)
    return np.asarray(moved)


def _normalised(answers: Array, mass: Array) -> Array:
    """Scale all answers alike, so that together they displace the mass by 1 m RMS."""
    total = float(np.einsum('n,knc,knc->', mass, answers, answers, optimize=True) / mass.sum())
    if not total > 0.0:
        raise DegenerateGeometryError('no load deforms the body', code='ANATOMY_REFUSED')
    return np.asarray(answers / np.sqrt(total))


def _main_axes(answers: Array, mass: Array, count: int) -> tuple[Array, Array, Array]:
    """Return the main axes of Σ a aᵀ in the metric of mass (n, 3, r), the variance they leave out, what they mix."""
    flat = answers.reshape(len(answers), -1)
    weights = np.repeat(mass / mass.sum(), 3)
    values, vectors = np.linalg.eigh((flat * weights) @ flat.T)
    kept = np.argsort(values)[::-1][: min(count, len(values))]
    modes = flat.T @ vectors[:, kept]
    signs = np.sign(modes[np.argmax(np.abs(modes), axis=0), np.arange(modes.shape[1])])
    modes *= signs  # that of an eigenvector is chance
    left = np.maximum(np.sum(flat**2, axis=0) - np.sum(modes**2, axis=1), 0.0)
    return np.ascontiguousarray(modes.reshape(-1, 3, len(kept))), left.reshape(-1, 3), vectors[:, kept] * signs


def _across(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangle beyond each edge ab, bc, ca, shape (k, 3)."""
    start, end = triangles.ravel().astype(np.int64), np.roll(triangles, -1, axis=1).ravel().astype(np.int64)
    size = int(triangles.max()) + 1
    keys, twins = start * size + end, end * size + start
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], twins), len(keys) - 1)
    if not (keys[order][place] == twins).all():
        raise DegenerateGeometryError('the outside of the mesh is no closed surface', code='ANATOMY_REFUSED')
    return np.ascontiguousarray((order[place] // 3).reshape(-1, 3), np.int32)
