"""Bodies and laws that the tests of the elastic model share."""

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import MooneyRivlin, NeoHookean, Ogden, bulk_modulus
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.simulate.tet_box import tet_box

LAWS = {
    'neo_hookean': NeoHookean(5e3, 0.45),
    'nearly_incompressible': NeoHookean(5e3, 0.49),
    'mooney_rivlin': MooneyRivlin(400.0, 100.0, bulk_modulus(1000.0, 0.45)),
    'ogden': Ogden((700.0, -200.0, 30.0), (2.0, -2.0, 5.5), bulk_modulus(975.0, 0.45)),
}


def lobe(law='neo_hookean', cells=(6, 5, 5)):
    """A box held on half its underside, and the nodes of a grasp on its far upper edge."""
    mesh = tet_box(cells, (0.12, 0.1, 0.06), jitter=0.2)
    fixed = np.flatnonzero((mesh.nodes[:, 2] < 1e-9) & (mesh.nodes[:, 0] < 0.061))
    grasp = np.flatnonzero(np.linalg.norm(mesh.nodes - [0.12, 0.05, 0.06], axis=1) < 0.025)
    return ElasticModel(mesh, LAWS[law], fixed), grasp


def pull(model, grasp, amount):
    """The grasp moved by an amount [m] along a slanted line."""
    return Loads(held=grasp, held_at=model.rest[grasp] + amount * np.array([0.5, 0.3, 0.8]))
