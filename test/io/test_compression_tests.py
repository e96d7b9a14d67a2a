"""Tables of compression tests in the dialects of testing machines, and what is refused."""

import json

import numpy as np
import pytest

from twin_nodes.core.anatomy.material.curves import pool
from twin_nodes.core.anatomy.material.fit import fit_law
from twin_nodes.core.anatomy.material.uniaxial import LAWS
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.compression_tests import find_tests, read_test
from twin_nodes.io.material_results import StoredMaterial, read_material, write_material
from twin_nodes.io.published_laws import read_published

MU, HEIGHT, DIAMETER = 8e3, 0.03, 0.05
STRETCH = 1.0 - np.linspace(0.0, 0.6, 200)
STRESS = LAWS['neo_hookean'].stress(STRETCH, np.array([MU]))
PATH, LOAD = (1.0 - STRETCH) * HEIGHT, -STRESS * np.pi / 4 * DIAMETER**2
HEAD = 'gel_A_sample_1\nCompression test;\nCylinder Diameter: 50mm;\nCylinder Height: 30mm;\nLoad cell: 1kN;\n'


def table(titles, columns, *, head=HEAD, divider=',', comma=False, ends='\n'):
    rows = [divider.join(f'{value:.9g}' for value in row) for row in zip(*columns, strict=True)]
    if comma:
        rows = [row.replace('.', ',') for row in rows]
    return ends.join([*(head.splitlines()), titles, *rows]) + ends


def shear(path):
    return fit_law(LAWS['neo_hookean'], pool([read_test(path)])).shear


DIALECTS = {
    'as published': table(
        'Time (s),Compression (mm),Load (N),Engineering Strain [-],Engineering Stress (kPa),True Strain [-],'
        'True Stress (kPa)',
        (np.arange(200.0), PATH * 1e3, LOAD, STRETCH - 1, STRESS / 1e3, np.log(STRETCH), STRESS * STRETCH / 1e3),
    ),
    'megapascal and percent': table('strain [%],stress [N/mm²]', ((1 - STRETCH) * 100, -STRESS / 1e6), head=''),
    'units behind the names': table('Strain,Stress_Pa', (STRETCH - 1, STRESS), head=''),
    'load and path alone': table('Extension (mm);Force (kN)', (-PATH * 1e3, -LOAD / 1e3), divider=';'),
    'decimal comma': table('Weg Displacement (mm);Load (N)', (PATH * 1e3, LOAD), divider=';', comma=True),
    'a row of units': table('Time,Displacement,Force\n(s),(mm),(N)', (np.arange(200.0), PATH * 1e3, LOAD)),
    'quoted, tabs and CRLF': table(
        '"Strain [mm/mm]"\t"Stress [kPa]"', (STRETCH - 1, STRESS / 1e3), divider='\t', ends='\r\n'
    ),
    'true alone': table('True strain [-],True stress (kPa)', (np.log(STRETCH), STRESS * STRETCH / 1e3), head=''),
    'area in place of a diameter': table(
        'Compression (m),Load (N)', (PATH, LOAD), head=f'Area: {np.pi / 4 * 2500:.6f} mm^2\nThickness (mm): 30\n'
    ),
    'cut in the last row': table('Strain [-],Stress [kPa]', (STRETCH - 1, STRESS / 1e3))[:-14],
}  # fmt: skip


@pytest.mark.parametrize('dialect', DIALECTS)
def test_reads_dialects(tmp_path, dialect):
    path = tmp_path / 'gel_A1.csv'
    path.write_bytes(('\ufeff' if 'tabs' in dialect else '').encode() + DIALECTS[dialect].encode())
    test = read_test(path)
    assert test.greatest == pytest.approx(0.6, abs=0.01) and (test.strain <= 0.0).all()
    assert shear(path) == pytest.approx(MU, rel=1e-3)


def test_reads_utf_16(tmp_path):
    path = tmp_path / 'gel_A1.csv'
    path.write_bytes(DIALECTS['as published'].encode('utf-16'))
    assert shear(path) == pytest.approx(MU, rel=1e-3)


def test_a_column_without_a_unit_is_not_needed_where_load_and_size_are_there(tmp_path):
    path = tmp_path / 'gel_A1.csv'
    columns = (STRETCH - 1, STRESS / 1e3, PATH * 1e3, LOAD)
    path.write_text(table('Engineering Strain,Engineering Stress,Compression (mm),Load (N)', columns))
    test = read_test(path)
    assert test.notes == ("column 'Engineering Stress' states no unit: left out",)
    assert shear(path) == pytest.approx(MU, rel=1e-3)


def test_reads_latin_1(tmp_path):
    path = tmp_path / 'gel_A1.csv'
    path.write_bytes(DIALECTS['megapascal and percent'].encode('latin-1'))
    assert shear(path) == pytest.approx(MU, rel=1e-3)


@pytest.mark.parametrize(
    ('name', 'folder', 'material', 'piece'),
    [
        ('EF10_50T_B1.csv', 'x', 'EF10_50T', 'B'),
        ('EF10_50T_B_sample_2.csv', 'x', 'EF10_50T', 'B'),
        ('sample_A_05_processed.csv', 'EF30_10T', 'EF30_10T', 'A'),
        ('liver-7.csv', 'pig', 'pig', 'liver-7'),
    ],
)
def test_takes_material_and_piece_from_names(tmp_path, name, folder, material, piece):
    path = tmp_path / folder / name
    path.parent.mkdir()
    path.write_text(DIALECTS['as published'])
    test = read_test(path)
    assert (test.material, test.specimen) == (material, piece)
    assert read_test(path, material='other').material == 'other'


def test_a_wrong_unit_in_the_title_is_found_by_load_and_size(tmp_path):
    path = tmp_path / 'gel_A1.csv'
    wrong = table('Compression (mm),Load (N),Strain [-],Stress (N/mm^2)', (PATH * 1e3, LOAD, STRETCH - 1, STRESS / 1e3))
    path.write_text(wrong)
    test = read_test(path)
    assert 'its unit is wrong' in test.notes[0]
    assert shear(path) == pytest.approx(MU, rel=1e-3)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'no line of titles'),
        ('hello\nworld\n', 'no line of titles'),
        (table('Strain [-],Stress [furlong]', (STRETCH, STRESS)), "unit 'furlong'"),
        (table('Strain [-],Stress', (STRETCH - 1, STRESS)), "column 'Stress' states no unit"),
        (table('Compression (mm),Load (N)', (PATH, LOAD), head=''), 'no strain'),
        (table('Compression (mm),Load (N)', (PATH, LOAD), head='Height: 30 mm\n'), 'no stress'),
        (table('Strain [-],Stress [Pa]', (STRETCH - 1, np.where(STRETCH < 0.8, np.nan, STRESS))), 'NaN'),
        (table('Strain [-],Stress [Pa]', (STRETCH - 1, STRESS)).replace('\n-0.3', '\nx', 1), 'expected 2 numbers'),
        ('Strain [-],Stress [Pa]\n', 'no row of numbers'),
        (table('Compression (mm),Load (N),Stress (kPa)', (PATH * 1e3, LOAD, STRESS * 1.3e-3)), '1.3 times load'),
    ],
)
def test_refuses_with_the_reason(tmp_path, text, reason):
    path = tmp_path / 'gel_A1.csv'
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read_test(path)
    assert caught.value.code == 'MATERIAL_TEST_REFUSED' and 'gel_A1.csv' in str(caught.value)


def test_finds_tables_below_folders(tmp_path):
    (tmp_path / 'a').mkdir()
    for name in ('a/2.csv', 'a/1.CSV', 'readme.txt'):
        (tmp_path / name).write_text('')
    assert [path.name for path in find_tests([tmp_path])] == ['1.CSV', '2.csv']
    with pytest.raises(InputError, match='no such file'):
        find_tests([tmp_path / 'nowhere'])
    (tmp_path / 'b').mkdir()
    with pytest.raises(InputError, match='no table'):
        find_tests([tmp_path / 'b'])


def entry(**changes):
    return {'parameters': [2.0, 3.0], 'SSE': 4.0, 'AIC': 1.0, 'stress_unit': 'kPa'} | changes


def test_published_parameters_become_pascals(tmp_path):
    path = tmp_path / 'p.json'
    path.write_text(json.dumps({'true': {'gel': {'Ogden_o1': entry(), 'Fung': entry()}}, 'notes': 'x'}))
    (fit,) = read_published(path)
    assert fit.law == 'ogden_1' and fit.parameters.tolist() == [2e3, 3.0] and fit.sse == 4e6
    for bad in (entry(parameters=[1.0]), entry(SSE=-1.0), entry(stress_unit='bar'), 7, entry(parameters=['x', 1])):
        path.write_text(json.dumps({'true': {'gel': {'Ogden_o1': bad}}}))
        with pytest.raises(InputError, match='true/gel/Ogden_o1'):
            read_published(path)
    path.write_text('{')
    with pytest.raises(InputError, match='JSON'):
        read_published(path)


def stored(**changes):
    values = {
        'material': 'gel', 'law': 'ogden_1', 'parameters': {'mu1': 1e3, 'alpha1': 3.0},
        'low': {'mu1': 9e2, 'alpha1': 2.0}, 'high': {'mu1': 2e3, 'alpha1': 4.0}, 'interval_source': 'specimens',
        'shear_pa': 1500.0, 'shear_low_pa': 1e3, 'shear_high_pa': 2e3, 'measure': 'engineering',
        'greatest_compression_ratio': 0.6, 'standard_error_pa': 10.0, 'stability': 'stable', 'verdict': 'accept',
        'date': '2026-01-01T00:00:00+00:00',
    }  # fmt: skip
    return StoredMaterial(**(values | changes))


def test_a_material_survives_its_file(tmp_path):
    path = tmp_path / 'gel.yaml'
    write_material(path, stored(reasons=('a',), data_file=('x.csv',)))
    back = read_material(path, usable=True)
    assert back == stored(reasons=('a',), data_file=('x.csv',)) and back.vector().tolist() == [1e3, 3.0]


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'law': 'ogden_9'}, 'no law'),
        ({'parameters': {'mu1': 1e3}}, 'expected mu1, alpha1'),
        ({'parameters': {'mu1': 5e3, 'alpha1': 3.0}}, 'outside low'),
        ({'shear_pa': float('nan')}, 'finite'),
        ({'verdict': 'fine'}, 'none of'),
        ({'measure': 'log'}, 'none of'),
    ],
)
def test_refuses_a_material_that_is_none(tmp_path, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        write_material(tmp_path / 'gel.yaml', stored(**changes))
    assert not list(tmp_path.iterdir())


def test_refuses_a_refused_material_and_unknown_keys(tmp_path):
    path = tmp_path / 'gel.yaml'
    write_material(path, stored(verdict='refuse', reasons=('bad',)))
    with pytest.raises(ConfigError, match='redo'):
        read_material(path, usable=True)
    path.write_text(path.read_text() + 'colour: red\n')
    with pytest.raises(ConfigError, match='colour'):
        read_material(path)
