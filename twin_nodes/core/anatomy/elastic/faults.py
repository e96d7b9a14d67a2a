"""Says when a solver's answer is no state of the body, so that the last good one stands."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.anatomy.elastic.model import Solution
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.geometry.se3 import Array

FARTHEST = 1.0  # of the size of the body: no tissue is displaced by more
NEARLY = 10.0  # times the tolerance: a residual that matters
NOTHING = 1e-5  # forces that move a node by less than this [m] do not matter either


def fault(objective: Objective, found: Solution, start: Array, tolerance: float) -> str:
    """Return why an answer must not be believed, or nothing.

    An answer that is not at rest yet is still the best so far; not so where it is not finite, turned inside out,
    farther off than the body is large, or less balanced than the state it started from.

    Args:
        objective: Body and loads.
        found: The answer.
        start: Where the frame began [m], shape (n, 3).
        tolerance: Residual of a state at rest.
    """
    if found.status == 'failed':
        return 'no step brings the held nodes nearer to their places'
    most = max(float(found.displacement.max()), -float(found.displacement.min()))
    if not (np.isfinite(most) and np.isfinite(found.energy)):
        return 'the solver diverged'
    model = objective.model
    if found.min_volume_ratio <= 0.0:
        count = int(np.sum(model.volume_ratios(found.positions)[model.weight > 0.0] <= 0.0))
        return f'{count} tetrahedra would be turned inside out'
    if most > FARTHEST * np.cbrt(model.volume.sum()):  # else it cannot be: this is asked in each frame
        size = float(np.linalg.norm(np.ptp(model.rest, axis=0)))
        away = float(np.linalg.norm(found.displacement, axis=1).max())
        if away > FARTHEST * size:
            return f'tissue would be displaced by {away:.3g} m, the body measures {size:.3g} m'
    if found.is_converged or found.residual <= NEARLY * tolerance:
        return ''
    return _worse(objective, found, start)


def _worse(objective: Objective, found: Solution, start: Array) -> str:
    """Return by how much an answer is less balanced than its start with held nodes at their places, if it is."""
    norms = []
    for x in (start, found.positions):
        at = x.copy()
        at[objective.loads.held] = objective.loads.held_at
        _, gradient = objective(at)
        norms.append(float(np.linalg.norm(gradient)))
    before, after = norms
    model = objective.model
    if after < NOTHING * float(model.shear.mean() * np.cbrt(6.0 * model.volume.mean())):
        return ''  # where nothing acts, rounding is out of balance
    return f'forces of {after:.3g} N are out of balance, {before:.3g} N before' if not after <= before else ''
