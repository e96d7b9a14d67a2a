"""Whether a device computes what the compiled kernels compute: asked once, before an ensemble trusts it."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.anatomy.elastic_torch.bodies import TorchBodies
from twin_nodes.core.errors import DegenerateGeometryError

TOLERANCE = {8: 1e-9, 4: 1e-4}  # of the greatest force, by bytes of a number
_SHARE = 0.01  # by which nodes are moved, of the edge of a tetrahedron


def disagreement(bodies: TorchBodies) -> float:
    """Return the greatest error of force and energy at a seeded state near rest, as a share of them."""
    model = bodies.model
    edge = float(np.cbrt(6.0 * model.volume.mean()))
    x = model.rest + np.random.default_rng(0).normal(0.0, _SHARE * edge, model.rest.shape)
    gradient = np.zeros_like(x)
    energy = model.energy_gradient(np.ascontiguousarray(x), gradient)
    energies, forces = bodies.energies_and_forces(x[None])
    scale = max(float(np.abs(gradient).max()), 1e-300)
    found = max(
        float(np.abs(forces[0] + gradient).max()) / scale, abs(float(energies[0]) - energy) / max(energy, 1e-300)
    )
    return found if np.isfinite(found) else float('inf')


def check_agreement(bodies: TorchBodies) -> None:
    """Refuse a device that computes something else.

    Raises:
        DegenerateGeometryError: ENSEMBLE_REFUSED.
    """
    limit = TOLERANCE[bodies.rest.element_size()]
    found = disagreement(bodies)
    if found > limit:
        raise DegenerateGeometryError(
            f'ensemble: forces on {bodies.device} differ from the compiled ones by {found:.1e}, limit {limit:.0e}',
            code='ENSEMBLE_REFUSED',
        )
