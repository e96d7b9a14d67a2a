"""Laws fitted to compression curves: truth recovered, intervals that cover, Drucker's postulate, published sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.bodies import BODIES, body_law, scaled
from twin_nodes.core.anatomy.material.curves import make_test, pool, zeroed
from twin_nodes.core.anatomy.material.fit import FitConfig, fit_law, sum_of_squares
from twin_nodes.core.anatomy.material.intervals import intervals_of, profile_interval
from twin_nodes.core.anatomy.material.published import PublishedFit, recovered_curve, square_sums
from twin_nodes.core.anatomy.material.stability import check_stability
from twin_nodes.core.anatomy.material.uniaxial import LAWS, find_law
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.simulate.tet_box import tet_box

TRUTH = {
    'neo_hookean': [12e3],
    'mooney_rivlin_2': [3e3, 2e3],
    'mooney_rivlin_3': [5e3, 1e3, 400.0],
    'yeoh_1': [6e3],
    'yeoh_2': [5e3, 900.0],
    'yeoh_3': [6e3, 100.0, 150.0],
    'ogden_1': [6e3, 4.5],
    'ogden_2': [200.0, 9e3, 9.0, 2.5],
    'ogden_3': [-900.0, 8e3, 150.0, -3.0, 2.0, 9.0],
    'veronda_westmann': [40e3, 0.3],
    'humphrey': [20e3, 0.25],
}


def make(law, parameters, *, name='a', specimen='A', end=0.66, noise=0.0, seed=0, count=400):
    stretch = 1.0 - np.linspace(0.0, end, count)
    stress = LAWS[law].stress(stretch, np.array(parameters))
    stress = stress + noise * np.random.default_rng(seed).standard_normal(count)
    return make_test(name, 'gel', specimen, stretch - 1.0, stress)


def sorted_terms(law, parameters):
    if not law.startswith('ogden'):
        return np.array(parameters)
    count = len(parameters) // 2
    order = np.argsort(parameters[count:])
    return np.concatenate([np.array(parameters[:count])[order], np.array(parameters[count:])[order]])


@pytest.mark.parametrize('measure', ['engineering', 'true'])
@pytest.mark.parametrize('law', TRUTH)
def test_recovers_each_law_from_a_curve_without_noise(law, measure):
    # pooled on other points than it was sampled on: linear interpolation at 1/2000 leaves 1e-5 of the stress
    fit = fit_law(LAWS[law], pool([make(law, TRUTH[law], count=4000)], measure))
    assert np.sqrt(fit.sse / 1000) < 2e-5 * np.abs(fit.curve.stress).max()
    assert fit.parameters == pytest.approx(sorted_terms(law, TRUTH[law]), rel=0.05)
    assert fit.shear == pytest.approx(LAWS[law].shear(np.array(TRUTH[law], float)), rel=0.01)


@pytest.mark.parametrize('law', TRUTH)
def test_stress_is_the_slope_of_the_energy_that_the_tangent_bends(law):
    # along uniaxial load d²Ψ/dε² = d(P λ)/dε = (1, -½) H (1, -½)ᵀ, with ε = ln λ
    parameters, log = np.array(TRUTH[law], float), np.linspace(-1.0, 0.5, 31)
    step = 1e-5
    tau = [np.exp(e) * LAWS[law].stress(np.exp(e), parameters) for e in (log - step, log + step)]
    tangent = LAWS[law].tangent(log[:, None] * [1.0, -0.5], parameters)
    along = np.einsum('nij,i,j->n', tangent, [1.0, -0.5], [1.0, -0.5])
    assert (tau[1] - tau[0]) / (2 * step) == pytest.approx(along, rel=1e-6, abs=1e-3)


def test_a_neo_hookean_law_is_an_ogden_law_of_power_two():
    stretch = np.linspace(0.3, 2.0, 50)
    assert LAWS['ogden_1'].stress(stretch, np.array([5e3, 2.0])) == pytest.approx(
        LAWS['neo_hookean'].stress(stretch, np.array([5e3]))
    )


def test_free_terms_fit_no_worse_than_those_that_add_energy():
    curve = pool([make('humphrey', TRUTH['humphrey'])], points=200)
    for law in ('ogden_2', 'mooney_rivlin_3', 'yeoh_3'):
        forced = fit_law(LAWS[law], curve, FitConfig(stable=True))
        assert fit_law(LAWS[law], curve).sse <= forced.sse * (1 + 1e-9)
        assert forced.stability.is_stable


def test_one_more_term_never_fits_worse():
    curve = pool([make('veronda_westmann', TRUTH['veronda_westmann'], noise=50.0)], points=200)
    for family in ('yeoh', 'ogden'):
        sums = [fit_law(LAWS[f'{family}_{k}'], curve).sse for k in (1, 2, 3)]
        assert sums[0] >= sums[1] * (1 - 1e-9) >= sums[2] * (1 - 1e-9) ** 2


def test_says_where_a_law_is_unstable():
    stable = check_stability(LAWS['mooney_rivlin_2'], np.array([1e3, 1e3]), 1.0)
    assert stable.is_stable and stable.text() == 'stable'
    broken = check_stability(LAWS['mooney_rivlin_2'], np.array([-1e3, 2e3]), 1.5)
    assert not broken.is_stable and 'unstable' in broken.text()
    assert check_stability(LAWS['neo_hookean'], np.array([-1.0]), 1.0).text() == 'unstable at rest'
    # along compression alone Hill's condition is that the tangent there is positive: a curve that falls breaks it
    falling = check_stability(LAWS['yeoh_2'], np.array([1e3, -400.0]), 1.0)
    at = falling.until['compression']
    assert 0.0 < at < 1.0
    fine = LAWS['yeoh_2'].tangent(np.array([[-at, 0.5 * at]]), np.array([1e3, -400.0]))
    assert np.linalg.eigvalsh(fine[0]).min() > 0.0


def specimens(rng, count, sigma, repeats=1):
    tests = []
    for k in range(count):
        mu = 10e3 * np.exp(sigma * rng.standard_normal())
        for r in range(repeats):
            tests.append(make('neo_hookean', [mu], name=f'{k}{r}', specimen=str(k), noise=20.0, seed=1000 * k + r))
    return tests


def test_intervals_between_specimens_cover_the_mean_material():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(200):
        curve = pool(specimens(rng, 4, 0.1), points=60)
        found = intervals_of(fit_law(LAWS['neo_hookean'], curve))
        assert found.source == 'specimens'
        # the mean of exp(0.1 N) is exp(0.005)
        hits += bool(found.low[0] <= 10e3 * np.exp(0.005) <= found.high[0])
    assert 0.91 <= hits / 200 <= 0.985  # 95 % within 2.2 σ of 200 draws


def test_scatter_between_specimens_is_recovered_and_one_specimen_says_so():
    curve = pool(specimens(np.random.default_rng(0), 60, 0.1))
    found = intervals_of(fit_law(LAWS['neo_hookean'], curve))
    assert found.between_sigma == pytest.approx([1e3], rel=0.25)
    assert found.shear_low < 10e3 < found.shear_high
    repeats = pool(specimens(np.random.default_rng(0), 1, 0.1, repeats=3))
    assert intervals_of(fit_law(LAWS['neo_hookean'], repeats)).source == 'repeats'
    single = pool(specimens(np.random.default_rng(0), 1, 0.1))
    found = intervals_of(fit_law(LAWS['neo_hookean'], single))
    assert found.source == 'residuals' and found.between_sigma is None
    with pytest.raises(ConfigError, match='two specimens'):
        fit_law(LAWS['neo_hookean'], single, FitConfig(weights='spread'))


def test_profile_agrees_with_the_linear_interval_where_the_law_is_linear_and_noise_is_white():
    curve = pool([make('yeoh_2', TRUTH['yeoh_2'], noise=300.0, count=1000)])
    fit = fit_law(LAWS['yeoh_2'], curve)
    found = intervals_of(fit)
    low, high = profile_interval(fit, 1)
    # white noise resampled onto its own points: both estimate the same, one from squares of single residuals
    assert high - low == pytest.approx(found.high[1] - found.low[1], rel=0.15)
    assert low < TRUTH['yeoh_2'][1] < high


def test_profile_bounds_an_exponent_and_holds_the_truth():
    fit = fit_law(LAWS['ogden_1'], pool([make('ogden_1', TRUTH['ogden_1'], noise=200.0)]))
    low, high = profile_interval(fit, 1)
    assert low < fit.parameters[1] < high and low - 0.05 < 4.5 < high + 0.05
    assert high - low < 0.5


def test_weights_change_what_is_met():
    curve = pool([make('humphrey', TRUTH['humphrey'])])
    equal, relative = (fit_law(LAWS['yeoh_1'], curve, FitConfig(weights=how)) for how in ('equal', 'relative'))
    assert equal.sse < relative.sse
    assert abs(relative.shear / LAWS['humphrey'].shear(np.array([20e3, 0.25])) - 1) < abs(
        equal.shear / LAWS['humphrey'].shear(np.array([20e3, 0.25])) - 1
    )


def test_published_sums_agree_on_one_curve_and_bring_it_back():
    curve = pool([make('humphrey', TRUTH['humphrey'], noise=100.0)], points=300)
    fits = []
    for law in LAWS.values():
        fit = fit_law(law, curve)
        fits.append(PublishedFit('gel', 'engineering', law.name, fit.parameters, fit.sse, fit.aic(), 1e3))
    total = float(curve.stress @ curve.stress)
    assert list(square_sums(fits, curve.stretch, 'engineering').values()) == pytest.approx([total] * 6, rel=1e-9)
    other = pool([make('humphrey', [21e3, 0.24], noise=100.0, seed=5)], points=300)
    back = recovered_curve(fits, other)
    for fit in fits:
        assert sum_of_squares(LAWS[fit.law], fit.parameters, back) == pytest.approx(fit.sse, rel=1e-4)


@given(st.floats(0.02, 0.27), st.floats(1e3, 1e5))
def test_preload_is_taken_out(preload, mu):
    stretch = np.linspace(1.0 - preload, 0.35, 600)  # pressed already when the recording starts
    stress = LAWS['neo_hookean'].stress(stretch, np.array([mu]))
    test = make_test('a', 'gel', 'A', stretch - stretch[0], stress)
    mended = zeroed(test)
    if stress[0] < -0.011 * np.abs(stress).max():
        assert 'preload' in mended.notes[0]
        # the slope is that over the first 2 %, a little steeper than at the first sample
        assert -mended.strain[0] == pytest.approx(preload, rel=0.06)
        assert abs(fit_law(LAWS['neo_hookean'], pool([mended])).shear / mu - 1) < abs(
            fit_law(LAWS['neo_hookean'], pool([test])).shear / mu - 1
        )


def test_slack_and_the_zero_of_the_load_cell_are_taken_out():
    gap = np.linspace(0.0, 0.08, 80)
    stretch = 1.0 - np.linspace(0.0, 0.6, 600)
    strain = np.r_[-gap, stretch[1:] - 1.0 - gap[-1]]
    stress = np.r_[np.zeros(80), LAWS['neo_hookean'].stress(stretch[1:], np.array([8e3]))] + 150.0
    mended = zeroed(make_test('a', 'gel', 'A', strain, stress))
    assert 'slack' in mended.notes[0]
    assert fit_law(LAWS['neo_hookean'], pool([mended])).shear == pytest.approx(8e3, rel=0.03)


def test_a_good_test_stays_as_it_is():
    test = make('yeoh_3', TRUTH['yeoh_3'], noise=20.0)
    assert zeroed(test) is test


def test_turns_signs_and_leaves_unloading_out():
    stretch = 1.0 - np.linspace(0.0, 0.6, 300)
    stress = LAWS['neo_hookean'].stress(stretch, np.array([8e3]))
    there, back = np.r_[1.0 - stretch, (1.0 - stretch)[::-1]], np.r_[-stress, -0.7 * stress[::-1]]
    for strain_sign, stress_sign in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        test = make_test('a', 'gel', 'A', strain_sign * there, stress_sign * back)
        assert (test.strain <= 0.0).all() and fit_law(LAWS['neo_hookean'], pool([test])).shear == pytest.approx(
            8e3, rel=1e-3
        )
        assert any('unloading' in note for note in test.notes)


def test_repeats_of_other_lengths_are_pooled_where_all_have_been():
    tests = [make('yeoh_2', TRUTH['yeoh_2'], name=str(k), end=end) for k, end in enumerate((0.5, 0.6, 0.66))]
    curve = pool(tests)
    assert 1.0 - curve.stretch.min() == pytest.approx(0.5)
    # specimens count alike, whatever number of repeats each has
    a, b = make('neo_hookean', [1e3]), make('neo_hookean', [2e3], specimen='B')
    assert fit_law(LAWS['neo_hookean'], pool([a, a, a, b])).shear == pytest.approx(1500.0, rel=1e-3)


@pytest.mark.parametrize(
    ('strain', 'stress', 'reason'),
    [
        (np.zeros(5), np.zeros(5), '5 samples'),
        (np.linspace(0, -0.5, 50), np.full(50, np.nan), 'NaN'),
        (np.linspace(0, -66.7, 50), np.linspace(0, -1e3, 50), 'wrong unit'),
        (np.linspace(0, -0.001, 50), np.linspace(0, -1e3, 50), 'greatest compression'),
        (np.linspace(0, -0.5, 50), np.zeros(50), 'no stress'),
        (np.linspace(0, -0.5, 50), np.zeros(40), 'do not agree'),
    ],
)
def test_refuses_what_is_no_test(strain, stress, reason):
    with pytest.raises(InputError, match=reason) as caught:
        make_test('a.csv', 'gel', 'A', strain, stress)
    assert caught.value.code == 'MATERIAL_TEST_REFUSED'


def test_refuses_to_pool_two_materials_and_an_unknown_law():
    other = make_test('b', 'jelly', 'B', np.linspace(0, -0.5, 50), np.linspace(0, -1e3, 50))
    with pytest.raises(InputError, match='one material'):
        pool([make('yeoh_1', [1e3]), other])
    with pytest.raises(InputError, match='measure'):
        pool([other], 'logarithmic')
    with pytest.raises(ConfigError, match="did you mean 'ogden_2'"):
        find_law('ogden2')


@pytest.mark.parametrize('law', BODIES)
def test_the_law_of_the_body_presses_as_the_fit_says(law):
    # a box at 60 % of its height, as wide as makes its sides free of load: a Poisson's ratio of 0.498 gives way by
    # less than 3 (1 - 2ν) = 1.2 % of the stress
    parameters, stretch = np.array(TRUTH[law], float), 0.6
    mesh = tet_box((1, 1, 1), (0.02, 0.02, 0.02))
    model = ElasticModel(mesh, body_law(law, parameters, 0.498), [0])

    def stress(wide, axis):
        force = -model.force(mesh.nodes * [wide, wide, stretch])
        return force[mesh.nodes[:, axis] > 0.019, axis].sum() / 0.02**2

    wide = brentq(lambda w: stress(w, 0), 1.1, 1.5)
    assert stress(wide, 2) == pytest.approx(LAWS[law].stress(np.array([stretch]), parameters)[0], rel=0.012)


def test_body_laws_scale_and_others_are_refused():
    law = body_law('ogden_2', np.array(TRUTH['ogden_2'], float))
    assert scaled(law, 2.0).shear == pytest.approx(2.0 * law.shear)
    assert scaled(NeoHookean(1e3, 0.45), 3.0) == NeoHookean(3e3, 0.45)
    with pytest.raises(ConfigError, match='no law for tetrahedra'):
        body_law('humphrey', np.array(TRUTH['humphrey']))
    with pytest.raises(ConfigError, match='shear modulus'):
        body_law('neo_hookean', np.array([-1.0]))
