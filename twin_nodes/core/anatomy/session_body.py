"""The body that a session deforms: the tetrahedra of a case with laws, what holds them, and its ways to deform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.case_config import MaterialConfig
from twin_nodes.core.anatomy.elastic.laws import Material, NeoHookean
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance, prepare_compliance
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig, TissueConfig
from twin_nodes.core.anatomy.target_kernels import locate
from twin_nodes.core.anatomy.targets import MAX_OUTSIDE, MaterialPoints
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

_HOLD = 50.0  # stiffness of a held node over that of the tissue about it: moves by a fiftieth, costs no conditioning
_MOST_ASTRAY = 0.2


@dataclass(frozen=True, eq=False)
class Body:
    """A body that can be deformed.

    Args:
        model: Its mechanics; regions that are held are tied by stiff springs, so that they may follow the organ.
        compliance: Its ways to deform, for fits.
        held: Nodes of the regions that are held, shape (k,).
        assumed: Labels to which the case gives no material.
        pressed: Outer faces on which pressure acts, as node numbers, shape (k, 3).
        laws: Of each label.
    """

    model: ElasticModel
    compliance: Compliance
    held: NDArray[np.int64]
    assumed: tuple[int, ...]
    pressed: NDArray[np.int64]
    laws: Mapping[int, Material] = field(default_factory=dict)


def make_body(
    mesh: TetMesh,
    materials: Mapping[int, MaterialConfig],
    regions: Mapping[str, NDArray[np.int32]],
    config: AnatomySessionConfig,
) -> Body:
    """Prepare a body; seconds at 20 000 tetrahedra.

    Args:
        mesh: Tetrahedra at rest, as in the scan.
        materials: Of the labels that have one.
        regions: Nodes of each region of the case.
        config: Settings.

    Raises:
        ConfigError: for a region that is not there, laws that are none, or a body that nothing holds.
        DegenerateGeometryError: where the outside is no closed surface.
    """
    model, held, assumed = make_model(mesh, materials, regions, config.tissue)
    pressed = _pressed(mesh, regions, config.tissue)
    laws = laws_of(mesh, materials, config.tissue)
    return Body(model, prepare_compliance(model, config.compliance), held, assumed, pressed, laws)


def make_model(
    mesh: TetMesh,
    materials: Mapping[int, MaterialConfig],
    regions: Mapping[str, NDArray[np.int32]],
    tissue: TissueConfig,
) -> tuple[ElasticModel, NDArray[np.int64], tuple[int, ...]]:
    """Return the mechanics of a body, the nodes that are held (k,), and the labels without a material.

    Raises:
        ConfigError: as `make_body`.
    """
    labels = [int(label) for label in np.unique(mesh.labels)]
    assumed = tuple(label for label in labels if label not in materials)
    laws = laws_of(mesh, materials, tissue)
    held = _held(regions, tissue)
    if not len(held) and tissue.support <= 0.0:
        raise ConfigError(
            'deforming.session.tissue: nothing holds the body: name regions in `fixed`, or give `support` [N/m]'
        )
    model = ElasticModel(mesh, laws, density=_density(mesh, materials))
    return model.with_support(_support(model, held, tissue.support)), held, assumed


def laws_of(mesh: TetMesh, materials: Mapping[int, MaterialConfig], tissue: TissueConfig) -> dict[int, Material]:
    """Return the law of each label: its material, else the tissue of the settings."""
    return {
        int(label): NeoHookean(materials[label].young, materials[label].poisson)
        if label in materials
        else NeoHookean(tissue.young, tissue.poisson)
        for label in np.unique(mesh.labels)
    }


def _held(regions: Mapping[str, NDArray[np.int32]], tissue: TissueConfig) -> NDArray[np.int64]:
    return _nodes_of(regions, tissue.fixed, 'fixed')


def _nodes_of(regions: Mapping[str, NDArray[np.int32]], names: tuple[str, ...], key: str) -> NDArray[np.int64]:
    for name in names:
        if name not in regions:
            known = ', '.join(regions) or 'none'
            raise ConfigError(
                f'deforming.session.tissue.{key}: no region {name!r} in the case, there are: {known}'
                f'{nearest(name, regions)}'
            )
    found = [np.asarray(regions[name], np.int64) for name in names]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _pressed(mesh: TetMesh, regions: Mapping[str, NDArray[np.int32]], tissue: TissueConfig) -> NDArray[np.int64]:
    faces = mesh.outer_faces.astype(np.int64)
    if not tissue.pressed:
        return faces
    return np.asarray(faces[np.isin(faces, _nodes_of(regions, tissue.pressed, 'pressed')).all(axis=1)])


def _support(model: ElasticModel, held: NDArray[np.int64], soft: float) -> Array:
    """Return the stiffness that ties each node to its place [N/m], shape (n,)."""
    outer = model.mesh.outer_nodes
    support = np.zeros(model.count)
    support[outer] = soft / len(outer)
    support[held] += _HOLD * float(model.shear.mean()) * edge_of(model)
    return support


def edge_of(model: ElasticModel) -> float:
    """Return the edge of a typical tetrahedron [m]."""
    return float(np.cbrt(6.0 * model.volume.mean()))


def _density(mesh: TetMesh, materials: Mapping[int, MaterialConfig]) -> float:
    default = MaterialConfig('tissue').density
    volumes = np.bincount(mesh.labels, weights=mesh.volumes)
    mass = sum(
        volume * (materials[label].density if label in materials else default) for label, volume in enumerate(volumes)
    )
    return float(mass / volumes.sum())


def embed(mesh: TetMesh, points_anatomy: Array, *, anywhere: bool = False) -> MaterialPoints | None:
    """Tie the vertices of a surface to the tetrahedra; None where it is no part of the body.

    A vertex outside follows the tetrahedron nearest to it; where more than a fifth of them lies outside by more than
    half a tetrahedron, the surface belongs to something else.

    Args:
        mesh: Tetrahedra at rest.
        points_anatomy: Vertices [m], shape (p, 3).
        anywhere: Whether it is known to be a part of the body.
    """
    points = np.ascontiguousarray(points_anatomy, np.float64)
    corners = mesh.nodes[mesh.tets]
    inverse = np.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1))
    found, shares = np.zeros(len(points), np.int64), np.zeros((len(points), 4))
    locate(points, mesh.nodes, mesh.tets, np.ascontiguousarray(inverse), found, shares)
    if not anywhere and np.mean(shares.min(axis=1) < -MAX_OUTSIDE) > _MOST_ASTRAY:
        return None
    inside = np.maximum(shares, 0.0)  # the nearest point of the tetrahedron, near enough: no stretch beyond the body
    return MaterialPoints(mesh.tets[found].astype(np.int64), inside / inside.sum(axis=1, keepdims=True))
