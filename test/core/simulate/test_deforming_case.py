"""Simulated cases of a deformed organ."""

import dataclasses
from functools import cache

import numpy as np

from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.se3 import transform_points
from twin_nodes.core.simulate.deforming_case import CaseRange, DeformingOrgan
from twin_nodes.core.simulate.organ import organ

RANGES = CaseRange(points=(200, 300), targets=5)


@cache
def _organ() -> DeformingOrgan:
    return DeformingOrgan(make_surface('organ', *organ(600)), tets=4000)


def test_the_same_seed_gives_the_same_case() -> None:
    first, second = _organ().case(3, RANGES), _organ().case(3, RANGES)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_cases_lie_in_their_ranges() -> None:
    for seed in range(4):
        case = _organ().case(seed, RANGES)
        assert 0.8 * 0.0038 < case.start_error < 1.2 * 0.0077
        assert 0.15 < case.coverage <= 0.44
        assert 0.001 <= case.noise <= 0.002
        assert 200 <= len(case.points_patient) <= 300 and case.targets_patient.shape == (5, 3)
        missed = transform_points(case.start, case.targets_anatomy) - case.targets_patient
        assert np.isclose(np.linalg.norm(missed, axis=1).mean(), case.start_error)
