"""`twin calibrate force`: strokes become a profile that the guidance can read; what is wrong with a table is said."""

import numpy as np
import pytest
import yaml

from twin_nodes.app.cli import main
from twin_nodes.app.offline_force import calibrate_force
from twin_nodes.core.errors import ConfigError, InputError, TwinError
from twin_nodes.io.force_profiles import read_force_profile, read_strokes


def strokes(path, header='t_s,depth_mm,force_n', scale=(1.0, 1e3, 1.0)):
    """Strokes into 500 N/m at 20 mm/s, half of the force on the way out."""
    way = np.arange(-0.001, 0.008, 2e-5)
    depth = np.concatenate([way, way[::-1]] * 3)
    time = 1e-3 * np.arange(len(depth))
    inwards = np.gradient(depth, time) >= 0.0
    force = 500.0 * np.maximum(depth, 0.0) * np.where(inwards, 1.0, 0.5)
    np.savetxt(path, np.column_stack([time, depth, force]) * scale, delimiter=',', header=header, comments='')
    return path


@pytest.mark.parametrize(
    ('header', 'scale'),
    [('t_s,depth_mm,force_n', (1.0, 1e3, 1.0)), ('Stamp_ns, depth_m ,Force_mN', (1e9, 1.0, 1e3))],
)
def test_a_profile_is_built_written_and_read_again(tmp_path, header, scale):
    table, out = strokes(tmp_path / 'strokes.csv', header, scale), tmp_path / 'profile.yaml'
    report = calibrate_force(table, output=out)
    read = read_force_profile(out)
    np.testing.assert_array_equal(read.entering, report.profile.entering)
    assert read.sigma == report.profile.sigma < 0.1
    assert read.force(0.004, 0.02) == pytest.approx(2.0, rel=0.05)
    assert read.force(0.004, -0.02) == pytest.approx(1.0, rel=0.05)
    assert len(read.speeds) == 1  # one pace was recorded
    document = yaml.safe_load(out.read_text())
    assert document['data_file'] == 'strokes.csv' and len(document['data_sha256']) == 64


def test_the_command_prints_text_or_figures_and_names_what_is_wrong(tmp_path, capsys):
    table = strokes(tmp_path / 'strokes.csv')
    assert main(['calibrate', 'force', str(table), '-o', str(tmp_path / 'p.yaml')]) == 0
    assert '4.0' in (text := capsys.readouterr().out) or '3.9' in text
    assert main(['calibrate', 'force', str(table), '--json']) == 0
    assert '"figure": "force_max_n"' in capsys.readouterr().out
    table.write_text('depth,force\n1,2\n')
    assert main(['calibrate', 'force', str(table)]) == 1
    assert 'no column depth_m or depth_mm' in ''.join(capsys.readouterr())


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('', 'no column'),
        ('t_s,depth_m,force_n\n0,0,0\n1,x,0\n', 'row 3, column 2'),
        ('t_s,depth_m,force_n\n0,0,0\n0,0.1,0\n', 'must ascend'),
        ('depth_m,force_n\n0,0\n', 'speed_m_s or t_s'),
    ],
)
def test_tables_that_say_nothing_are_refused(tmp_path, text, match):
    table = tmp_path / 'strokes.csv'
    table.write_text(text)
    with pytest.raises(InputError, match=match):
        read_strokes(table)
    with pytest.raises(TwinError):
        calibrate_force(tmp_path / 'none.csv')


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'kind': 'tool_tip'}, 'not a force profile'), ({'format': 2}, 'format=2'), ({'depth_m': [1]}, 'unknown key'),
        ({'entering_n': [[1.0], [2.0, 3.0]]}, 'rows of numbers'), ({'speeds_m_s': None}, 'has shape'),
        ({'sigma_n': -1.0}, 'sigma=-1'), ({'leaving_n': [[0.0]]}, 'must have shape'), ({'sigma_n': 'much'}, 'much'),
    ],
)  # fmt: skip
def test_files_that_are_no_profile_are_refused(tmp_path, change, match):
    out = tmp_path / 'profile.yaml'
    calibrate_force(strokes(tmp_path / 'strokes.csv'), output=out)
    out.write_text(yaml.safe_dump(yaml.safe_load(out.read_text()) | change))
    with pytest.raises(ConfigError, match=match):
        read_force_profile(out)
    with pytest.raises(ConfigError, match='recording itself'):
        calibrate_force(tmp_path / 'strokes.csv', output=tmp_path / 'strokes.csv')
