"""A small organ, prepared once for all tests of its deformation."""

from functools import cache

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance, ComplianceConfig, prepare_compliance
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.geometry.se3 import Array, random_transform
from twin_nodes.core.simulate.organ import organ

SETTINGS = ComplianceConfig(patches=30, inner_patches=10, modes=30)


@cache
def small_surface(seed: int = 3) -> Surface:
    """Return the surface of the simulated organ."""
    return make_surface('organ', *organ(600, seed=seed))


@cache
def small_compliance() -> Compliance:
    """Return the organ with about 2,500 tetrahedra."""
    mesh, _ = mesh_surface(small_surface(), tets=2500)
    return prepare_compliance(ElasticModel(mesh, NeoHookean(4e3, 0.45)), SETTINGS)


def deformed(compliance: Compliance, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw a state from the prior; return its pose (4, 4), its amounts (r,) and its nodes in the patient [m] (n, 3)."""
    pose, amounts = random_transform(rng, max_distance=0.2), rng.normal(size=compliance.count)
    places = compliance.model.rest + compliance.modes @ amounts
    return pose, amounts, places @ pose[:3, :3].T + pose[:3, 3]


def scan(
    compliance: Compliance, nodes: Array, rng: np.random.Generator, *, count: int = 500, noise: float = 0.001,
    view: Array | None = None,
) -> Array:  # fmt: skip
    """Draw points of the deformed outside [m] (count, 3), of one half of it where a direction of sight is given."""
    faces = compliance.outer[compliance.faces]
    if view is not None:
        faces = faces[compliance.model.rest[faces].mean(axis=1) @ view > compliance.centre @ view]
    chosen = faces[rng.integers(len(faces), size=count)]
    points = np.einsum('ka,kai->ki', rng.dirichlet(np.ones(3), count), nodes[chosen])
    return np.asarray(points + rng.normal(0.0, noise, points.shape))
