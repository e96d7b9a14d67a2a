"""An organ whose deformations are known: for tests of what follows it live."""

import numpy as np

from twin_nodes.core.anatomy.case_config import MaterialConfig
from twin_nodes.core.anatomy.nonrigid.compliance import ComplianceConfig
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.anatomy.session_body import make_body
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig, TissueConfig
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.simulate.organ import organ

MS = 1_000_000
TARGETS = np.array([[0.0, 0.0, 0.0], [0.03, 0.01, 0.01], [-0.03, -0.02, 0.01]])
CONFIG = AnatomySessionConfig(
    tissue=TissueConfig(fixed=('back',)), compliance=ComplianceConfig(patches=50, inner_patches=16, modes=50)
)


def organ_mesh(tets, vertices=2000):
    """Return tetrahedra of the organ."""
    return mesh_surface(make_surface('organ', *organ(vertices)), tets=tets)[0]


def back_of(mesh):
    """Return the nodes that lie behind."""
    return np.flatnonzero(mesh.nodes[:, 1] > 0.07).astype(np.int32)


def organ_body(tets=2500, *, young=3000.0, poisson=0.45, config=CONFIG):
    mesh = organ_mesh(tets)
    materials = {1: MaterialConfig('organ', young=young, poisson=poisson)}
    return make_body(mesh, materials, {'back': back_of(mesh)}, config)


def session_of(body, *, targets=TARGETS, sensors=None, config=CONFIG, replay=False):
    return AnatomySession(body, targets, sensors or {}, config, replay=replay)


def front_of(body):
    """Return the foremost place of the surface [m], shape (3,)."""
    outer = body.model.mesh.outer_nodes
    return body.model.rest[outer[np.argmin(body.model.rest[outer, 1])]]


def tip(place):
    pose = np.eye(4)
    pose[:3, 3] = place
    return pose


def scan(mesh, x, rng, *, count=1200, noise=0.001, share=0.4):
    """Draw points on the front of a deformed mesh [m], shape (count, 3), with noise."""
    middles = mesh.nodes[mesh.outer_faces].mean(axis=1)
    front = mesh.outer_faces[middles[:, 1] < np.quantile(middles[:, 1], share)]
    shares = rng.dirichlet(np.ones(3), count)
    points = np.einsum('ka,kai->ki', shares, x[front[rng.integers(len(front), size=count)]])
    return points + rng.normal(0.0, noise, points.shape)
