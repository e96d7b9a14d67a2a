"""Stiffness from points of a surface whose places on the body nobody knows: nearest places and estimate by turns.

As in the registration of surfaces (Chen, Medioni 1992), a point holds the body along the normal of the nearest triangle
alone; along the surface it may slide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.loads import Loads, Nodes, Springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.stiffness import StiffnessEstimate, estimate_stiffness
from twin_nodes.core.anatomy.material.stiffness_states import SeenState, StiffnessConfig
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

_CANDIDATES = 8
_SETTLED = 0.02  # change of a logarithm between two rounds
_FAR = 0.02  # median distance of a cloud from the body as assumed, beyond which it shows something else [m]


@dataclass(frozen=True, eq=False)
class SurfaceSight:
    """A state of rest of which surface points were seen.

    Args:
        loads: Known loads and prescribed motions.
        points: Points on the surface in the anatomy [m], shape (n, 3).
        sigma: Standard deviation of a coordinate [m].
        gripped: Nodes whose summed force was measured; none where no force was.
        force: That force, on the body [N], shape (3,).
        force_sigma: Its error by axis [N].
        marks: Points of the tissue whose places were measured by correspondence; inverse covariances [1/m²].
        rest: The shape from which the loads moved it [m], shape (n, 3); that of the model when not given.
        root: Of the covariance of the amounts of `ways` in that shape, shape (k, k); none when it is exact.
        own: Standard deviations of amounts of `ways` that came about since, shape (k,).
        group: Sights of one group have the same errors of the shape.
    """

    loads: Loads
    points: Array
    sigma: float
    gripped: Nodes = field(default_factory=lambda: np.zeros(0, np.int64))
    force: Array = field(default_factory=lambda: np.zeros(3))
    force_sigma: float = 1.0
    marks: Springs = field(default_factory=Springs)
    rest: Array | None = None
    root: Array | None = None
    own: Array | None = None
    group: int = 0


def estimate_from_surface(
    model: ElasticModel,
    materials: Mapping[int, Material],
    sights: Sequence[SurfaceSight],
    config: StiffnessConfig | None = None,
    *,
    ways: Array | None = None,
    rounds: int = 6,
) -> StiffnessEstimate:
    """Estimate factors on the stiffness of each label, and of the support; see `estimate_stiffness`.

    Args:
        model: The body.
        materials: Its laws by label, as assumed.
        sights: What was seen.
        config: Prior and limits.
        ways: How the nodes are displaced by errors that points share, shape (n, 3, k), for sights that have them.
        rounds: At most.

    Raises:
        InputError: STIFFNESS_REFUSED for clouds that show something else, or as `estimate_stiffness`.
        DegenerateGeometryError: STIFFNESS_REFUSED where the body finds no rest.
    """
    if not any(len(sight.points) or len(sight.gripped) or len(sight.marks) for sight in sights):
        raise InputError('stiffness: nothing was seen: no point and no force', code='STIFFNESS_REFUSED')
    current, before, found = model, np.zeros(0), None
    for turn in range(rounds):
        states = [
            _state(current, sight, ways, first=turn == 0, number=number) for number, sight in enumerate(sights, 1)
        ]
        found = estimate_stiffness(model, materials, states, config)
        logs = np.log(found.factor)
        if len(before) and float(np.abs(logs - before).max()) < _SETTLED:
            return found
        before = logs
        current = model.with_materials(found.materials)
        if found.support is not None:
            current = current.with_support(found.support)
    assert found is not None
    return replace(found, status='not_converged')


def _state(model: ElasticModel, sight: SurfaceSight, ways: Array | None, *, first: bool, number: int) -> SeenState:
    here = model if sight.rest is None else model.shaped(sight.rest)
    solution = here.solve(sight.loads)
    if not solution.is_converged:
        raise DegenerateGeometryError(
            f'state {number}: the body finds no rest under its loads', code='STIFFNESS_REFUSED'
        )
    seen, away = _ties(model, solution.positions, sight)
    if first and len(away) and float(np.median(away)) > _FAR:
        raise InputError(
            f'stiffness: state {number}: the points lie {1e3 * float(np.median(away)):.0f} mm from the organ (median, '
            f'limit {1e3 * _FAR:.0f} mm): another organ, another frame, or millimetres?',
            code='STIFFNESS_REFUSED',
        )
    seen = _with(seen, sight.marks)
    shared, own = _errors(sight, seen, ways)
    return SeenState(
        sight.loads, seen, sight.gripped, sight.force, sight.force_sigma, sight.rest, shared, sight.group, own
    )  # fmt: skip


def _with(seen: Springs, marks: Springs) -> Springs:
    if not len(marks):
        return seen
    pairs = ((getattr(seen, name), getattr(marks, name)) for name in ('nodes', 'weights', 'targets', 'stiffness'))
    return Springs(*(np.concatenate(pair) for pair in pairs))


def _errors(sight: SurfaceSight, seen: Springs, ways: Array | None) -> tuple[Array | None, Array | None]:
    """Return how the points are displaced by the errors of the shape, and by those that came since, (s, 3, k) each."""
    if ways is None or not len(seen):
        return None, None
    here = np.einsum('sa,saik->sik', seen.weights, ways[seen.nodes], optimize=True)
    return (
        None if sight.root is None else np.asarray(here @ sight.root),
        None if sight.own is None else np.asarray(here * sight.own),
    )


def _ties(model: ElasticModel, x: Array, sight: SurfaceSight) -> tuple[Springs, Array]:
    """Return the springs of the points along the normals of the nearest triangles, and the distances (n,) [m]."""
    points, faces = np.asarray(sight.points, float), model.mesh.outer_faces
    if not len(points):
        return Springs(), np.zeros(0)
    corners = x[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    count = min(_CANDIDATES, len(faces))
    near = np.asarray(cKDTree(corners.mean(axis=1)).query(points, k=count)[1]).reshape(len(points), count)
    shares = _shares(corners[near], points[:, None])
    places = np.einsum('nka,nkai->nki', shares, corners[near])
    away = np.linalg.norm(places - points[:, None], axis=2)
    best = np.argmin(away, axis=1)
    rows = np.arange(len(points))
    face, share, normal = near[rows, best], shares[rows, best], normals[near[rows, best]]
    nodes = faces[face].astype(np.int64)
    springs = Springs(
        np.concatenate([nodes, nodes[:, :1]], axis=1), np.pad(share, ((0, 0), (0, 1))), points,
        normal[:, :, None] * normal[:, None, :] / sight.sigma**2,
    )  # fmt: skip
    return springs, away[rows, best]


def _shares(corners: Array, points: Array) -> Array:
    """Return barycentric coordinates of about the nearest place of triangles (n, k, 3, 3) to points (n, 1, 3)."""
    first, second = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    way = points - corners[..., 0, :]
    aa, ab, bb = np.sum(first**2, -1), np.sum(first * second, -1), np.sum(second**2, -1)
    ca, cb = np.sum(way * first, -1), np.sum(way * second, -1)
    scale = np.maximum(aa * bb - ab**2, 1e-300)
    b, c = (bb * ca - ab * cb) / scale, (aa * cb - ab * ca) / scale
    found = np.maximum(np.stack([1.0 - b - c, b, c], axis=-1), 0.0)
    return np.asarray(found / found.sum(axis=-1, keepdims=True))
