"""Bench `target`: clouds that are not of this organ, and whether any of them is taken for it.

Each is made from a case: mirrored along an axis, of another scale, of another organ of that size, of a flat wall,
turned by more than any registration errs, in millimetres.
"""

from collections.abc import Callable, Iterable

import numpy as np

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.observations import make_surface_points
from twin_nodes.core.anatomy.nonrigid.tracker import DeformationTracker
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, inverse, rotation_exp, transform_points
from twin_nodes.core.simulate.deforming_case import DeformingCase
from twin_nodes.core.simulate.organ import organ

_COUNT, _SEEN, _WALL = 800, 0.4, 0.06
_TURN = np.radians(60.0)

Wrong = Callable[[Array, np.random.Generator], Array]


def run(cases: Iterable[DeformingCase], compliance: Compliance) -> list[Figure]:
    """Count the wrong clouds that are not refused."""
    taken = tried = 0
    for number, case in enumerate(cases):
        seen = transform_points(inverse(case.start), case.points_patient)
        for wrong in WRONG.values():
            points = wrong(seen, np.random.default_rng(number))
            tried += 1
            taken += _is_taken(transform_points(case.start, points), case, compliance)
    return [
        judge('target_wrong_clouds', float(tried), ''),
        judge('target_wrong_clouds_accepted', float(taken), '', at_most=0.0),
    ]


def _is_taken(points_patient: Array, case: DeformingCase, compliance: Compliance) -> bool:
    try:
        found = DeformationTracker(compliance).update(case.start, make_surface_points(points_patient, case.noise))
    except (InputError, DegenerateGeometryError):
        return False
    return found.verdict is not Verdict.REFUSE


def _scaled(*factors: float) -> Wrong:
    def wrong(seen: Array, rng: np.random.Generator) -> Array:
        middle = seen.mean(axis=0)
        return np.asarray((seen - middle) * factors + middle)

    return wrong


def _turned(seen: Array, rng: np.random.Generator) -> Array:
    axis, middle = rng.normal(size=3), seen.mean(axis=0)
    turn = rotation_exp(_TURN * axis / np.linalg.norm(axis))
    return np.asarray((seen - middle) @ turn.T + middle)


def _other_organ(seen: Array, rng: np.random.Generator) -> Array:
    vertices = organ(2500)[0]
    way = rng.normal(size=3)
    order = np.argsort((vertices - vertices.mean(axis=0)) @ way)[::-1]
    points = vertices[rng.choice(order[: int(_SEEN * len(order))], _COUNT)]
    return np.asarray(points - points.mean(axis=0) + seen.mean(axis=0))


def _wall(seen: Array, rng: np.random.Generator) -> Array:
    points = np.zeros((_COUNT, 3))
    points[:, :2] = rng.uniform(-_WALL, _WALL, (_COUNT, 2))
    points[:, 2] = rng.normal(0.0, 0.001, _COUNT)
    return np.asarray(points @ rotation_exp(rng.normal(size=3)).T + seen.mean(axis=0))


WRONG: dict[str, Wrong] = {
    'mirrored along x': _scaled(-1.0, 1.0, 1.0),
    'mirrored along y': _scaled(1.0, -1.0, 1.0),
    'mirrored along z': _scaled(1.0, 1.0, -1.0),
    'too large': _scaled(1.3, 1.3, 1.3),
    'too small': _scaled(0.7, 0.7, 0.7),
    'millimetres': lambda seen, rng: 1e3 * seen,
    'turned': _turned,
    'another organ': _other_organ,
    'a wall': _wall,
}
