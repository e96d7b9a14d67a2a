"""The scales of the loads: what a few places bear is found as such, and what is bent too far is refused."""

import numpy as np
import pytest
from nonrigid_organ import small_compliance

from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.load_scales import inverse_of, precision_of, scales_given
from twin_nodes.core.anatomy.nonrigid.observations import make_surface_points
from twin_nodes.core.anatomy.nonrigid.tracker import DeformationTracker
from twin_nodes.core.calibration.verdict import Verdict


def estimated(amounts: np.ndarray, freedom: float, known: float = 1e-3, rounds: int = 30) -> np.ndarray:
    """Return the scales that amounts known with so small an error lead to."""
    compliance = small_compliance()
    expected = np.ones(len(compliance.places))
    scales, covariance = expected, known**2 * np.eye(compliance.count)
    for _ in range(rounds):
        precision = precision_of(compliance, scales)
        scales = scales_given(compliance, expected, scales, precision, amounts, covariance, freedom)
    return scales


def amounts_of(place: int, load: float) -> np.ndarray:
    """Return the amounts of the modes by one load."""
    compliance = small_compliance()
    loads = np.zeros(len(compliance.mixture))
    loads[3 * place : 3 * place + 3] = load * np.array([0.6, -0.3, 0.74])
    return compliance.mixture.T @ loads


@pytest.mark.parametrize('place', [0, 7, 15])
def test_one_large_load_is_found_where_it_acts(place: int) -> None:
    scales = estimated(amounts_of(place, 8.0), freedom=2.0)
    assert int(np.argmax(scales)) == place
    assert scales[place] > 2.0
    assert np.median(scales) < 0.9


def test_nothing_that_was_learned_leaves_the_expected_scales() -> None:
    compliance = small_compliance()
    expected = np.linspace(0.1, 1.0, len(compliance.places))
    precision = precision_of(compliance, expected)
    told_nothing = np.linalg.inv(precision)  # what is known afterwards is what was known before
    scales = scales_given(compliance, expected, expected, precision, np.zeros(compliance.count), told_nothing, 2.0)
    np.testing.assert_allclose(scales, expected, rtol=1e-3)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    scales = estimated(amounts_of(3, 4.0), freedom=1e9)
    np.testing.assert_allclose(scales, 1.0, atol=1e-6)


def test_scales_stay_bounded_however_large_the_loads_are() -> None:
    scales = estimated(amounts_of(3, 1e4), freedom=0.5)
    assert np.isfinite(scales).all()
    assert np.linalg.eigvalsh(precision_of(small_compliance(), scales)).min() > 0.0


def test_inverse_of_a_factor_is_that_of_the_matrix() -> None:
    rows = np.random.default_rng(4).normal(size=(9, 9))
    matrix = rows @ rows.T + np.eye(9)
    np.testing.assert_allclose(inverse_of(np.linalg.cholesky(matrix)), np.linalg.inv(matrix), atol=1e-10)


def test_loads_of_a_few_places_are_followed_inside_better_than_by_loads_everywhere() -> None:
    compliance = small_compliance()
    rest, seen = compliance.model.rest, compliance.outer[compliance.model.rest[compliance.outer][:, 2] > 0.0]
    errors: dict[float, list[float]] = {2.0: [], 1e6: []}
    for place in range(0, len(compliance.places), 2):
        moved = rest + compliance.modes @ amounts_of(place, 5.0)
        noise = np.random.default_rng(place).normal(0.0, 0.0005, (len(seen), 3))
        for freedom, found in errors.items():
            config = NonrigidConfig(load_freedom=freedom, bare_load=1.0)
            points = make_surface_points(moved[seen] + noise, 0.0005)
            placed = DeformationTracker(compliance, config=config).update(np.eye(4), points).positions_patient
            found.append(float(np.linalg.norm(placed - moved, axis=1).mean()))
    assert np.mean(errors[2.0]) < 0.93 * np.mean(errors[1e6])


def test_a_cloud_that_bends_the_organ_farther_than_tissue_bends_is_refused() -> None:
    compliance = small_compliance()
    rest = compliance.model.rest[compliance.outer]
    free = make_surface_points(rest, 0.0005)
    strict = DeformationTracker(compliance, config=NonrigidConfig(refuse_bend=0.1))
    assert strict.update(np.eye(4), free).verdict is Verdict.ACCEPT
    bent = rest + (compliance.modes @ amounts_of(4, 5.0))[compliance.outer]
    found = strict.update(np.eye(4), make_surface_points(bent, 0.0005))
    assert found.verdict is Verdict.REFUSE
    assert any('times as far as expected, limit 0.1' in reason for reason in found.reasons)
