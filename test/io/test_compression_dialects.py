"""Compression tests of other laboratories: languages, sizes beside sizes that are not meant, travel without a zero."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.material.curves import zeroed
from twin_nodes.core.anatomy.material.uniaxial import LAWS
from twin_nodes.core.errors import InputError
from twin_nodes.io.compression_tests import read_test

MU, HEIGHT, DIAMETER = 8e3, 0.03, 0.05
STRETCH = 1.0 - np.linspace(0.0, 0.6, 100)
STRESS = LAWS['neo_hookean'].stress(STRETCH, np.array([MU]))
PATH_MM, LOAD = (1.0 - STRETCH) * HEIGHT * 1e3, -STRESS * np.pi / 4 * DIAMETER**2
STRAIN, KPA = 100.0 * (1.0 - STRETCH), -STRESS / 1e3
SIZES = 'Diameter: 50 mm\nHeight: 30 mm\n'


def table(titles, columns, *, head=SIZES, divider=',', comma=False):
    rows = [divider.join(f'{value:.9g}' for value in row) for row in zip(*columns, strict=True)]
    return head + '\n'.join([titles, *([row.replace('.', ',') for row in rows] if comma else rows)]) + '\n'


def semicolons(titles, columns, head=''):
    return table(titles, columns, head=head, divider=';', comma=True)


OF_OTHERS = {
    'German': semicolons('Zeit [s];Standardweg [mm];Standardkraft [N]', (PATH_MM, PATH_MM, LOAD),
                         'Durchmesser;50;mm\nProbenhöhe;30;mm\n'),
    'German stress': semicolons('Stauchung [%];Druckspannung [kPa]', (STRAIN, KPA)),
    'German travel': semicolons('Stauchung [mm];Kraft [N]', (PATH_MM, LOAD), 'Durchmesser: 50,0 mm\nHöhe: 30 mm\n'),
    'French': semicolons('Temps (s);Déplacement (mm);Force (N)', (PATH_MM, PATH_MM, LOAD),
                         'Diamètre : 50 mm\nHauteur : 30 mm\n'),
    'French stress': semicolons('Déformation (%);Contrainte (kPa)', (STRAIN, KPA)),
    'Spanish': semicolons('Desplazamiento (mm);Fuerza (N)', (PATH_MM, LOAD), 'Diámetro: 50 mm\nAltura: 30 mm\n'),
    'Italian': semicolons('Deformazione (%);Sforzo (kPa)', (STRAIN, KPA)),
    'stretch': table('Stretch ratio (-),Nominal stress (kPa)', (STRETCH, KPA), head=''),
    'stretch and Cauchy': table('Stretch,Cauchy stress (kPa)', (STRETCH, KPA * STRETCH), head=''),
    'blanks': table('Strain Stress_kPa', (STRAIN / 100.0, KPA), head='', divider=' '),
    'short names': table('Disp_mm,Load_N', (PATH_MM, LOAD)),
    'compression in percent': table('Compression (%),Stress (kPa)', (STRAIN, KPA), head=''),
    'speed beside travel': table('Crosshead speed (mm/min),Displacement (mm),Force (N)', (LOAD, PATH_MM, LOAD)),
    'quoted sizes': table('"Time","Extension","Load"\n"(s)","(mm)","(N)"', (PATH_MM, -PATH_MM, -LOAD),
                          head='"Diameter","50.0","mm"\n"Length","30.0","mm"\n\n"Results"\n,"Peak Load (N)"\n1,9\n\n'),
    'width and thickness': table('Displacement (mm),Force (N)', (PATH_MM, LOAD),
                                 head='Width: 44.3113463 mm\nThickness: 44.3113463 mm\nHeight: 30 mm\n'),
    'other sizes': table('Displacement (mm),Force (N)', (PATH_MM, LOAD),
                         head='Specimen diameter: 50 mm\nPlaten diameter: 100 mm\nInitial height (mm): 30\n'
                              'Final height (mm): 27\n'),
}  # fmt: skip


@pytest.mark.parametrize('name', OF_OTHERS)
@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1'])
def test_reads_tables_of_others(tmp_path, name, encoding):
    (tmp_path / 'gel_A1.csv').write_bytes(OF_OTHERS[name].encode(encoding))
    test = read_test(tmp_path / 'gel_A1.csv')
    np.testing.assert_allclose(test.strain, STRETCH - 1.0, atol=1e-6)
    np.testing.assert_allclose(test.stress, STRESS, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (table('Extension (mm),Load (N)', (PATH_MM, LOAD), head='Tensile test\n' + SIZES), 'the piece was pulled'),
        (table('Extension (mm),Load (N)', (PATH_MM, LOAD)), "'Extension' with positive numbers"),
        (semicolons('Dehnung [%];Spannung [kPa]', (STRAIN, KPA), 'Zugversuch\n'), 'the piece was pulled'),
        (table('Compression (mm),Force (N)', (PATH_MM, LOAD), head=SIZES + 'Height: 28 mm\n'), r'0\.03 and as 0\.028'),
    ],
)
def test_refuses_what_would_give_another_material(tmp_path, text, reason):
    (tmp_path / 'gel_A1.csv').write_text(text)
    with pytest.raises(InputError, match=reason):
        read_test(tmp_path / 'gel_A1.csv')


def test_travel_that_nobody_set_to_zero_is_counted_from_its_first_sample(tmp_path):
    (tmp_path / 'gel_A1.csv').write_text(table('Displacement (mm),Force (N)', (7.5 + PATH_MM, LOAD)))
    test = zeroed(read_test(tmp_path / 'gel_A1.csv'))
    assert 'travel began at 0.25 of the height' in test.notes[-1]
    np.testing.assert_allclose(test.strain, STRETCH - 1.0, atol=1e-9)
    (tmp_path / 'gel_A1.csv').write_text(table('Displacement (mm),Force (N)', (PATH_MM, LOAD)))
    plain = read_test(tmp_path / 'gel_A1.csv')
    assert zeroed(plain) is plain
