"""Deformation of an organ of another shape and size: a bean of 11 cm that tapers and is bent to one side."""

from functools import cache

import numpy as np
import pytest
from nonrigid_organ import scan

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.nonrigid.compliance import Compliance, prepare_compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.observations import make_surface_points
from twin_nodes.core.anatomy.nonrigid.seen_part import motion_of_part, outer_area
from twin_nodes.core.anatomy.nonrigid.tracker import DeformationTracker
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.anatomy.tet_mesher import mesh_surface
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import transform_points
from twin_nodes.core.simulate.deforming_case import CaseRange, DeformingCase, DeformingOrgan
from twin_nodes.core.simulate.organ import organ

RANGES = CaseRange(start_error=(0.003, 0.005), points=(300, 500), targets=6, depth=0.005)
CASES = 24


@cache
def kidney() -> Surface:
    """Return the bean: an ellipsoid whose one pole is thicker, bent in its plane and a little out of it."""
    vertices, triangles = organ(600)
    x, y, z = (vertices / np.linalg.norm(vertices, axis=1, keepdims=True)).T
    thick = 1.0 + 0.35 * x
    bean = np.stack([0.055 * x, 0.028 * thick * y + 0.022 * x**2, 0.019 * thick * z + 0.008 * x * y], axis=1)
    return make_surface('kidney', bean, triangles)


@cache
def body() -> Compliance:
    return prepare_compliance(ElasticModel(mesh_surface(kidney(), tets=3000)[0], NeoHookean(8e3, 0.45)))


@cache
def cases() -> tuple[DeformingCase, ...]:
    truth = DeformingOrgan(kidney(), tets=4000)
    return tuple(truth.case(seed, RANGES) for seed in range(CASES))


def test_hidden_targets_of_a_kidney_are_found_better_than_by_the_rigid_registration() -> None:
    """Noise of 1 to 2 mm is much on so small and smooth an organ; without what is known of its slip nothing is won.

    Regions hold 95 % of targets; those of one case err together: with 24 cases the share has a σ of 3 to 4 %.
    """
    missed, inside, refused = [], [], 0
    for case in cases():
        found = DeformationTracker(body(), case.targets_anatomy).update(
            case.start, make_surface_points(case.points_patient, case.noise)
        )
        refused += found.verdict is Verdict.REFUSE
        miss = found.targets_patient - case.targets_patient
        missed.append(np.linalg.norm(miss, axis=1).mean())
        inside.append(np.einsum('ti,tij,tj->t', miss, np.linalg.inv(found.target_covariances), miss) < 7.814728)
    assert np.mean(missed) < 0.9 * np.mean([case.start_error for case in cases()])
    assert np.mean(inside) > 0.95 - 0.12
    assert refused <= 3


def test_a_part_moves_as_a_whole_as_its_nodes_do() -> None:
    """A small rigid motion is returned as it is; that of modes leaves what no rigid motion of the part can explain."""
    compliance, rng = body(), np.random.default_rng(4)
    rest = compliance.model.rest[compliance.outer]
    seen = rest[:, 2] > np.quantile(rest[:, 2], 0.6)
    area = outer_area(compliance)
    part = motion_of_part(compliance, area, seen)
    middle = area[seen] @ rest[seen] / area[seen].sum()
    shift, turn = rng.normal(0.0, 0.003, 3), rng.normal(0.0, 0.05, 3)
    whole = np.concatenate([shift, turn * compliance.radius, np.zeros(compliance.count)])
    np.testing.assert_allclose(part[:3] @ whole, shift + np.cross(turn, middle - compliance.centre), atol=1e-12)
    np.testing.assert_allclose(part[3:] @ whole, turn * compliance.radius, atol=1e-12)
    amounts = rng.normal(size=compliance.count)
    moved = (compliance.modes[compliance.outer] @ amounts)[seen]
    motion = part @ np.concatenate([np.zeros(6), amounts])
    left = moved - motion[:3] - np.cross(motion[3:] / compliance.radius, rest[seen] - middle)
    weights = area[seen][:, None]
    np.testing.assert_allclose((weights * left).sum(axis=0), 0.0, atol=1e-12 * weights.sum())
    np.testing.assert_allclose((weights * np.cross(rest[seen] - middle, left)).sum(axis=0), 0.0, atol=1e-14)


def test_a_point_or_a_line_says_nothing_of_a_part() -> None:
    compliance = body()
    area, seen = outer_area(compliance), np.zeros(len(compliance.outer), bool)
    assert not len(motion_of_part(compliance, area, seen))
    seen[:2] = True
    assert not len(motion_of_part(compliance, area, seen))


def test_what_slid_along_a_smooth_surface_is_where_the_registration_puts_it() -> None:
    """Without deformation but with noise, a registration without error is not made worse than by the noise."""
    compliance, pose = body(), np.eye(4)
    rng = np.random.default_rng(5)
    seen = scan(compliance, compliance.model.rest, rng, count=300, noise=0.002, view=np.array([0.0, 0.0, 1.0]))
    found = DeformationTracker(compliance).update(pose, make_surface_points(seen, 0.002))
    free = NonrigidConfig(slip_sigma=0.05, slip_turn_sigma=0.5)
    loose = DeformationTracker(compliance, config=free).update(pose, make_surface_points(seen, 0.002))
    missed, worse = (np.linalg.norm(each.displacement, axis=1).mean() for each in (found, loose))
    assert missed < 0.002 and missed < worse
    assert found.sigma.mean() < loose.sigma.mean()


def test_clouds_that_are_not_of_this_kidney_are_refused() -> None:
    case, surface = cases()[0], kidney()
    tracker = DeformationTracker(body(), case.targets_anatomy, surface=surface)
    assert tracker.update(case.start, make_surface_points(case.points_patient, case.noise)).verdict is Verdict.ACCEPT
    rest = scan(body(), body().model.rest, np.random.default_rng(2), noise=0.0005)
    mirrored = transform_points(case.start, rest * [-1.0, 1.0, 1.0])
    liver = transform_points(case.start, organ(600)[0])
    for other in (mirrored, liver):
        assert tracker.update(case.start, make_surface_points(other, 0.001)).verdict is Verdict.REFUSE
    with pytest.raises(InputError, match='unit') as refused:
        tracker.update(case.start, make_surface_points(1e3 * case.points_patient, 1.0))
    assert refused.value.code == 'UNIT_SUSPECT'
    again = tracker.update(case.start, make_surface_points(case.points_patient, case.noise))
    assert again.verdict is Verdict.ACCEPT
