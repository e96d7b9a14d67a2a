"""`twin calibrate material`: a table for each material, result files, and the published fits of real silicones."""

import json

import numpy as np
import pytest

from twin_nodes.app.cli import main
from twin_nodes.app.offline_material import calibrate_materials
from twin_nodes.core.anatomy.material.bodies import body_law
from twin_nodes.core.anatomy.material.fit import fit_law, sum_of_squares
from twin_nodes.core.anatomy.material.published import recovered_curve, square_sums
from twin_nodes.core.anatomy.material.uniaxial import LAWS
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.io.material_results import read_material
from twin_nodes.io.published_laws import read_published

STRETCH = 1.0 - np.linspace(0.0, 0.6, 300)


def write(folder, name, mu, *, noise=0.0):
    stress = LAWS['ogden_1'].stress(STRETCH, np.array([mu, 4.0]))
    stress = stress + noise * np.random.default_rng(len(name)).standard_normal(300)
    rows = '\n'.join(f'{1 - s:.8f},{-p / 1e3:.8f}' for s, p in zip(STRETCH, stress, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f'Strain [-],Stress [kPa]\n{rows}\n')


@pytest.fixture
def gels(tmp_path):
    for name, mu in (('gel_A1', 5000.0), ('gel_A2', 5010.0), ('gel_B1', 5200.0), ('jelly_A1', 900.0)):
        write(tmp_path / 'tests', f'{name}.csv', mu)
    return tmp_path / 'tests'


def test_fits_each_material_and_writes_its_file(gels, tmp_path, capsys):
    assert main(['calibrate', 'material', str(gels), '--law', 'ogden_1', '-o', str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert 'gel: 3 tests of 2 specimens (A, B)' in text and '*ogden_1' in text and 'between specimens' in text
    stored = read_material(tmp_path / 'gel.yaml', usable=True)
    # specimens count alike: (5005 + 5200) / 2
    assert stored.parameters['mu1'] == pytest.approx(5102.5, rel=1e-3)
    assert stored.interval_source == 'specimens' and stored.verdict == 'accept'
    assert stored.low['mu1'] < 5005.0 and stored.high['mu1'] > 5200.0  # Student's t of two pieces is wide
    assert body_law(stored.law, stored.vector()).shear == pytest.approx(stored.shear_pa)
    assert read_material(tmp_path / 'jelly.yaml').verdict == 'warn'  # one specimen


def test_prints_figures(gels, capsys):
    assert main(['calibrate', 'material', str(gels / 'gel_A1.csv'), '--json']) == 0
    figures = {line['figure']: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert figures['gel_shear_kpa']['value'] == pytest.approx(10.0, rel=0.01)
    assert figures['gel_ogden_1_sse_kpa2']['value'] < figures['gel_neo_hookean_sse_kpa2']['value']


def test_refuses_a_poor_law_one_file_for_two_and_unknown_laws(gels, tmp_path):
    with pytest.raises(ConfigError, match='folder'):
        calibrate_materials([gels], laws=['ogden_1'], output=tmp_path / 'one.yaml')
    with pytest.raises(ConfigError, match='no law'):
        calibrate_materials([gels], laws=['fung'])
    (report,) = calibrate_materials([gels / 'gel_A1.csv'], laws=['neo_hookean'])
    assert report.stored.verdict in ('warn', 'refuse') and 'misses the stress' in report.text


@pytest.fixture
def silicones(shared_data):
    folder = shared_data / 'tissue_phantom_silicone'
    return folder, read_published(folder / 'hyperelastic_parameters.json')


def test_published_sums_of_squares_are_reproduced_exactly(silicones):
    # 1000 equally spaced strains, equal weights: all linear laws then tell the same Σ y², which they do to 3e-7
    folder, fits = silicones
    for material in sorted({fit.material for fit in fits})[:1]:
        for measure in ('engineering', 'true'):
            own = [fit for fit in fits if (fit.material, fit.measure) == (material, measure)]
            (report,) = calibrate_materials([folder / material], laws=['yeoh_1'], measure=measure)
            curve = recovered_curve(own, report.curve)
            sums = np.array(list(square_sums(own, curve.stretch, measure).values()))
            assert np.ptp(sums) < 1e-6 * sums.mean()
            for fit in own:
                assert sum_of_squares(LAWS[fit.law], fit.parameters, curve) == pytest.approx(fit.sse, rel=1e-4)
                if fit.law not in ('ogden_2', 'ogden_3'):  # quick
                    assert fit_law(LAWS[fit.law], curve).sse <= fit.sse * (1 + 1e-4)
            # it is near the tests that were given away: closer than specimens are to each other
            change = np.sqrt(np.mean((curve.stress - report.curve.stress) ** 2))
            assert change < np.sqrt(np.mean(report.curve.between_sigma**2))


def test_fits_silicone_at_or_below_the_published_parameters(silicones):
    folder, _ = silicones
    (report,) = calibrate_materials([folder / 'EF30_0T'])
    ratios = {f.figure: f for f in report.figures if f.figure.endswith('_ratio_to_published')}
    assert len(ratios) == len(LAWS)
    for name, figure in ratios.items():
        assert figure.value <= 1.0, name
    assert report.chosen.stability.is_stable and report.stored.verdict == 'accept'
    assert report.intervals.shear_low < report.chosen.shear < report.intervals.shear_high


def test_no_law_follows_a_curve_that_overflows(gels, monkeypatch):
    monkeypatch.setattr('twin_nodes.core.anatomy.material.fit._starts', lambda law, config: np.zeros((0, 1)))
    with pytest.raises(DegenerateGeometryError, match='no ogden_1 follows'):
        calibrate_materials([gels / 'gel_A1.csv'], laws=['ogden_1'])
