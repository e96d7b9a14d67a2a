"""The deformation of an organ from points of its surface: modes, fit, covariance, refusals."""

import numpy as np
import pytest
from nonrigid_organ import SETTINGS, deformed, scan, small_compliance, small_surface
from scipy.stats import chi2

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.nonrigid import nearest_kernels
from twin_nodes.core.anatomy.nonrigid.compliance import prepare_compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import Fitter, State, rigid_rows
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints, Tracked, make_surface_points, make_tracked
from twin_nodes.core.anatomy.nonrigid.tracker import DeformationTracker
from twin_nodes.core.anatomy.targets import at_nodes
from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_exp, transform_points

HONEST = NonrigidConfig(
    inflation=1.0,
    model_error=0.0,
    doubling=1e3,
    load_freedom=1e6,
    discrepancy=0.0,
    bare_load=1.0,
    turn_sigma=0.5,
    pose_sigma=0.1,
    slip_sigma=0.1,
    slip_turn_sigma=0.5,
)
VIEW = np.array([0.3, 0.2, 0.93])


def test_modes_hold_no_rigid_motion_and_need_no_scale_of_stiffness() -> None:
    compliance = small_compliance()
    mass = compliance.model.nodal_mass()
    rigid = rigid_rows(compliance.model.rest, compliance)
    share = np.einsum('n,nia,nir->ar', mass / mass.sum(), rigid, compliance.modes)
    assert np.abs(share).max() < 1e-9
    stiffer = compliance.model.with_materials(NeoHookean(4e4, 0.45))
    np.testing.assert_allclose(prepare_compliance(stiffer, SETTINGS).modes, compliance.modes, atol=1e-9)


def test_amplitude_of_the_prior_is_what_was_asked_and_amounts_have_unit_variance() -> None:
    compliance = small_compliance()
    mass = compliance.model.nodal_mass()
    variance = np.sum(compliance.modes**2, axis=(1, 2)) + compliance.rest_variance.sum(axis=1)
    wanted = SETTINGS.amplitude**2 * (1.0 + SETTINGS.inner_share**2)
    assert mass @ variance / mass.sum() == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(compliance.spread(np.ones(len(compliance.places))), np.eye(compliance.count), atol=1e-9)
    less = np.linalg.eigvalsh(compliance.spread(np.full(len(compliance.places), 0.1)))
    assert less.max() < 1.0


def test_walk_finds_the_nearest_triangle_as_a_search_over_all_does() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(1)
    nodes = deformed(compliance, rng)[2][compliance.outer]
    points = np.ascontiguousarray(nodes[rng.integers(len(nodes), size=60)] + rng.normal(0.0, 0.003, (60, 3)))
    found = np.empty(60, np.int32)
    nearest_kernels.nearest_vertices(points.astype(np.float32), np.ascontiguousarray(nodes.T, np.float32), found)
    seeds = nearest_kernels.face_of_vertex(compliance.faces, len(nodes))[found]
    places = np.empty((60, 3))
    nearest_kernels.walk(points, nodes, compliance.faces, compliance.across, seeds, places)
    feet = np.einsum('pk,pki->pi', places, nodes[compliance.faces[seeds]])
    best = [min(closest_on_triangle(*p, nodes[f])[0] for f in compliance.faces) for p in points]
    np.testing.assert_allclose(np.linalg.norm(points - feet, axis=1), np.sqrt(best), atol=2e-4)
    assert (places > -1e-9).all()


def test_jacobian_is_the_derivative_of_the_distances() -> None:
    """But for the angle between the smoothed normal, which the rows take, and the facet's, here up to 0.3 rad."""
    compliance = small_compliance()
    rng = np.random.default_rng(2)
    pose, amounts, nodes = deformed(compliance, rng)
    seen = make_surface_points(scan(compliance, nodes, rng, count=50, noise=1e-7), 0.0005)
    fitter = Fitter(compliance, HONEST)
    state = State(pose, amounts)
    rows, before, places = np.empty((50, 6 + compliance.count)), np.empty(50), np.empty((50, 3))
    fitter._rows(state, seen, before, rows, places)
    step = 1e-5 * rng.normal(size=6 + compliance.count)
    step[6:] *= 0.1 / np.linalg.norm(compliance.modes[:, :, 0], axis=1).max()
    fitter._move(state, step)
    after = np.empty(50)
    fitter._rows(state, seen, after, np.empty_like(rows), places)
    assert np.quantile(np.abs(before - after - rows @ step), 0.9) < 0.3 * np.abs(rows @ step).mean()


def test_finds_a_drawn_deformation_from_its_whole_surface() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(3)
    pose, _, nodes = deformed(compliance, rng)
    tracker = DeformationTracker(compliance, config=HONEST)
    found = tracker.update(pose, make_surface_points(scan(compliance, nodes, rng, count=1500), 0.001))
    assert found.verdict is Verdict.ACCEPT and found.is_converged
    missed = np.linalg.norm(found.positions_patient - nodes, axis=1)
    assert np.sqrt(np.mean(missed**2)) < 1.5 * np.sqrt(np.mean(found.sigma**2))
    start = np.linalg.norm(transform_points(pose, compliance.model.rest) - nodes, axis=1)
    assert missed.mean() < 0.35 * start.mean()


def test_answer_does_not_depend_on_the_frame_of_the_patient() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(4)
    pose, _, nodes = deformed(compliance, rng)
    points, other = scan(compliance, nodes, rng, view=VIEW), random_transform(rng)
    targets = compliance.model.rest[::50]
    here = DeformationTracker(compliance, targets).update(pose, make_surface_points(points, 0.001))
    there = DeformationTracker(compliance, targets).update(
        other @ pose, make_surface_points(transform_points(other, points), 0.001)
    )
    np.testing.assert_allclose(there.targets_patient, transform_points(other, here.targets_patient), atol=1e-4)
    turned = other[:3, :3] @ here.target_covariances @ other[:3, :3].T
    np.testing.assert_allclose(there.target_covariances, turned, rtol=0.05, atol=2e-8)
    np.testing.assert_allclose(there.displacement, here.displacement, atol=1e-4)


def test_covariance_covers_the_truth_when_the_prior_is_true() -> None:
    """Of states drawn from the prior, 95 % of targets lie within their 95 % region, as far as chance allows.

    Targets of one case share their error; with 40 cases of about two independent targets the share has a deviation of
    about 2.5 %, and three of these are allowed.
    """
    compliance = small_compliance()
    rng = np.random.default_rng(5)
    targets = compliance.model.rest[:: compliance.model.count // 6]
    inside = []
    for _ in range(40):
        pose, amounts, nodes = deformed(compliance, rng)
        truth = transform_points(pose, targets + (compliance.modes @ amounts)[:: compliance.model.count // 6])
        seen = make_surface_points(scan(compliance, nodes, rng, view=VIEW), 0.001)
        found = DeformationTracker(compliance, targets, HONEST).update(pose, seen)
        missed = found.targets_patient - truth
        inside.append(np.einsum('ti,tij,tj->t', missed, np.linalg.inv(found.target_covariances), missed)
                      < chi2.ppf(0.95, 3))  # fmt: skip
    assert np.mean(inside) > 0.95 - 0.075


def test_covariances_agree_with_samples_and_with_the_sigma_of_nodes() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(6)
    pose, _, nodes = deformed(compliance, rng)
    found = DeformationTracker(compliance, config=HONEST).update(
        pose, make_surface_points(scan(compliance, nodes, rng, view=VIEW), 0.001)
    )
    points = at_nodes([5, 50, 100])
    covariances = found.posterior.covariances(points)
    drawn = found.posterior.sample(points, 4000, rng)
    left_out = compliance.rest_variance[[5, 50, 100]].sum(axis=1) * found.amplitude**2
    for k in range(3):
        sampled = np.trace(np.cov(drawn[:, k].T)) + left_out[k]
        assert np.trace(covariances[k]) == pytest.approx(sampled, rel=0.1)
    np.testing.assert_allclose(found.sigma[[5, 50, 100]] ** 2, np.trace(covariances, axis1=1, axis2=2), rtol=1e-4)


def test_a_tracked_implant_pulls_its_surroundings_to_where_it_is_seen_and_makes_them_surer() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(7)
    pose, _, nodes = deformed(compliance, rng)
    seen = make_surface_points(scan(compliance, nodes, rng, view=VIEW), 0.001)
    deep = int(np.argmin(compliance.model.rest @ VIEW))
    implant = make_tracked(at_nodes([deep]), nodes[[deep]], 0.0005)
    without = DeformationTracker(compliance, config=HONEST).update(pose, seen)
    found = DeformationTracker(compliance, config=HONEST).update(pose, seen, implant)
    before = np.linalg.norm(without.positions_patient[deep] - nodes[deep])
    assert np.linalg.norm(found.positions_patient[deep] - nodes[deep]) < 0.3 * before
    assert found.sigma[deep] < 0.3 * without.sigma[deep]
    assert (found.sigma <= 1.05 * without.sigma).mean() > 0.9


def test_outliers_do_not_move_the_answer() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(8)
    pose, _, nodes = deformed(compliance, rng)
    points = scan(compliance, nodes, rng, count=600)
    clean = DeformationTracker(compliance).update(pose, make_surface_points(points, 0.001))
    points[::12] += 0.02 * rng.normal(size=points[::12].shape)
    found = DeformationTracker(compliance).update(pose, make_surface_points(points, 0.001))
    assert np.linalg.norm(found.positions_patient - clean.positions_patient, axis=1).mean() < 0.0007


def test_normals_keep_points_of_the_other_side_away() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(9)
    pose, _, nodes = deformed(compliance, rng)
    points = scan(compliance, nodes, rng, count=200)
    away = points - nodes.mean(axis=0)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    fitter, start = Fitter(compliance, HONEST), State(pose.copy(), np.zeros(compliance.count))
    inward = fitter.fit(start, pose, make_surface_points(points, 0.001, normals_patient=-away), Tracked())
    assert (inward.weights > 0.0).mean() < 0.2
    start = State(pose.copy(), np.zeros(compliance.count))
    outward = fitter.fit(start, pose, make_surface_points(points, 0.001, normals_patient=away), Tracked())
    assert (outward.weights > 0.0).mean() > 0.9


def test_next_frame_starts_where_the_last_one_ended_and_the_inside_comes_to_rest() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(10)
    pose, _, nodes = deformed(compliance, rng)
    seen = make_surface_points(scan(compliance, nodes, rng, view=VIEW), 0.001)
    with DeformationTracker(compliance, config=NonrigidConfig(interior=True)) as tracker:
        first = tracker.update(pose, seen)
        second = tracker.update(pose, seen)
    assert second.iterations < first.iterations
    assert second.interior is not None and second.interior.is_converged and second.interior.min_volume_ratio > 0.0
    outer = compliance.outer
    linear = compliance.model.rest[outer] + compliance.modes[outer] @ second.posterior.state.amounts
    np.testing.assert_allclose(second.interior.positions[outer], linear, atol=1e-12)
    assert abs(second.volume_change) < 0.25


def test_clouds_of_another_organ_or_mirrored_are_refused_with_the_reason_and_the_last_state_stays() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(11)
    pose, _, nodes = deformed(compliance, rng)
    seen = make_surface_points(scan(compliance, nodes, rng), 0.001)
    tracker = DeformationTracker(compliance, surface=small_surface())
    good = tracker.update(pose, seen)
    assert good.verdict is Verdict.ACCEPT
    for seed in (5, 17):
        other = transform_points(pose, small_surface(seed).vertices)
        wrong = tracker.update(pose, make_surface_points(other, 0.001))
        assert wrong.verdict is Verdict.REFUSE and wrong.reasons
    rest = scan(compliance, compliance.model.rest, rng, noise=0.0005)
    mirrored = transform_points(pose, rest * [-1.0, 1.0, 1.0])
    flipped = tracker.update(pose, make_surface_points(mirrored, 0.001), explain=True)
    assert flipped.verdict is Verdict.REFUSE and 'mirrored' in ' '.join(flipped.reasons)
    again = tracker.update(pose, seen)
    np.testing.assert_allclose(again.positions_patient, good.positions_patient, atol=1e-3)


def test_what_no_fit_can_be_made_from_is_refused() -> None:
    compliance = small_compliance()
    tracker = DeformationTracker(compliance)
    points = compliance.model.rest[compliance.outer]
    with pytest.raises(InputError, match='unit') as unit:
        tracker.update(np.eye(4), make_surface_points(1e3 * points, 1.0))
    assert unit.value.code == 'UNIT_SUSPECT'
    with pytest.raises(DegenerateGeometryError, match='12 surface points') as few:
        tracker.update(np.eye(4), make_surface_points(points[:12], 0.001))
    assert few.value.code == 'DEFORMATION_REFUSED'
    with pytest.raises(InputError, match='1 of 3 surface points'):
        make_surface_points([[0, 0, 0], [1, 1, np.nan], [0, 1, 0]], 0.001)
    with pytest.raises(InputError, match='sigma must be'):
        make_surface_points(points, 0.0)
    with pytest.raises(InputError, match='not positive definite'):
        make_tracked(at_nodes([1]), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    with pytest.raises(InputError):
        tracker.update(np.diag([1.0, 1.0, -1.0, 1.0]), make_surface_points(points, 0.001))
    with pytest.raises(ConfigError, match='refuse_inliers'):
        NonrigidConfig(refuse_inliers=0.9, warn_inliers=0.5)


def test_a_start_that_is_off_is_mended_by_the_points() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(12)
    pose, _, nodes = deformed(compliance, rng)
    seen = make_surface_points(scan(compliance, nodes, rng, count=800), 0.001)
    off = pose @ make_transform(rotation_exp([0.03, -0.04, 0.02]), [0.004, 0.003, -0.004])
    found = DeformationTracker(compliance).update(off, seen)
    near = DeformationTracker(compliance).update(pose, seen)
    apart = np.linalg.norm(found.positions_patient - near.positions_patient, axis=1)
    assert apart.mean() < 0.5 * near.sigma.mean()


def test_tracked_points_alone_suffice() -> None:
    compliance = small_compliance()
    rng = np.random.default_rng(13)
    pose, _, nodes = deformed(compliance, rng)
    sensors = np.arange(0, compliance.model.count, 40)
    none = SurfacePoints(np.zeros((0, 3)), np.zeros(0))
    tracked = make_tracked(at_nodes(sensors), nodes[sensors], 0.0003)
    found = DeformationTracker(compliance, config=HONEST).update(pose, none, tracked)
    assert np.linalg.norm(found.positions_patient - nodes, axis=1).mean() < 0.002
