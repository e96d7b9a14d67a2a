"""Which nodes of a mesh a boundary condition holds: boxes, balls, half-spaces, and what is near a structure."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.case_config import RegionConfig
from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError, InputError


def nodes_of_region(mesh: TetMesh, config: RegionConfig, surfaces: Mapping[str, Surface]) -> NDArray[np.int32]:
    """Return the nodes of a region, ascending.

    Args:
        mesh: The tetrahedra.
        config: The region.
        surfaces: Surfaces by the names of their structures.

    Raises:
        ConfigError: it names a structure that is not there.
        InputError: ANATOMY_REFUSED when no node lies in it.
    """
    nodes = mesh.nodes
    if config.kind == 'box':
        inside = ((nodes >= config.low) & (nodes <= config.high)).all(axis=1)
    elif config.kind == 'sphere':
        inside = np.linalg.norm(nodes - config.point, axis=1) <= config.radius
    elif config.kind == 'plane':
        inside = (nodes - config.point) @ np.asarray(config.normal) <= 0.0
    else:
        if config.structure not in surfaces:
            raise ConfigError(
                f'region {config.name!r}: no structure {config.structure!r}{nearest(config.structure, surfaces)}'
            )
        surface = surfaces[config.structure]
        low, high = surface.bounds[0] - config.radius, surface.bounds[1] + config.radius
        inside = ((nodes >= low) & (nodes <= high)).all(axis=1)
        inside[inside] = exact_distances(surface, nodes[inside]) <= config.radius if inside.any() else False
    if config.outer:
        outside = np.zeros(len(nodes), np.bool_)
        outside[mesh.outer_nodes] = True
        inside &= outside
    if not inside.any():
        low, high = nodes.min(axis=0).round(4).tolist(), nodes.max(axis=0).round(4).tolist()
        raise InputError(
            f'region {config.name!r}: no node lies in it; the mesh reaches from {low} to {high} m',
            code='ANATOMY_REFUSED',
        )
    return np.flatnonzero(inside).astype(np.int32)
