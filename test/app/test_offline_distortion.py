import numpy as np
import pytest
from typer.testing import CliRunner

from twin_nodes.app.cli import app
from twin_nodes.core.geometry.se3 import inverse, make_transform, quat_from_rotation, rotation_exp
from twin_nodes.core.simulate.distortion import draw_metal, sweep
from twin_nodes.io.distortion_fields import read_distortion

CENTRE = np.array([0.0, 0.0, -0.25])


def write_table(path, times, poses):
    rows = np.column_stack([times, poses[:, :3, 3], quat_from_rotation(poses[:, :3, :3])])
    path.write_text('\n'.join(','.join(f'{value:.9f}' for value in row) for row in rows))
    return str(path)


@pytest.fixture(scope='module')
def recorded():
    rng = np.random.default_rng(4)
    truth = sweep(rng, CENTRE, 0.1, 600)
    measured = draw_metal(rng, CENTRE, 0.1).measure(rng, truth, 3e-4, 2e-3)
    marker_T_sensor = make_transform(rotation_exp([0.3, 0.2, -0.5]), [0.03, -0.08, 0.02])
    optical_T_em = make_transform(rotation_exp([1.0, 0.4, 0.2]), [0.3, -0.2, 1.4])
    return truth, measured, optical_T_em @ truth @ inverse(marker_T_sensor)


def run(*arguments):
    return CliRunner().invoke(app, ['calibrate', 'distortion', *map(str, arguments)])


@pytest.mark.parametrize('ties', ['solve', 'same', 'points'])
def test_from_two_tables_to_a_file_that_a_tracker_reads(recorded, tmp_path, ties):
    truth, measured, marker = recorded
    times = 1000.0 + 0.05 * np.arange(len(truth))
    a = write_table(tmp_path / 'em.csv', times, measured)
    b = write_table(tmp_path / 'optical.csv', times, marker if ties == 'solve' else truth)
    output = tmp_path / 'field.yaml'
    done = run(a, b, '--ties', ties, '--model', 'bernstein', '--output', output, '--sensor', 'probe')
    assert done.exit_code == 0, done.output
    assert 'after, held out' in done.output and 'row by row' in done.output
    stored = read_distortion(output, usable=True)
    assert stored.errors['held_out_m'] < 0.5 * stored.errors['raw_m'] and stored.sensor == 'probe'
    assert (stored.field.turn is None) == (ties == 'points')


def test_streams_with_clocks_of_their_own_are_paired_by_motion(tmp_path):
    rng = np.random.default_rng(5)
    metal = draw_metal(rng, CENTRE, 0.1)
    clock = np.arange(0.0, 60.0, 0.02)
    waves = np.sin(clock[:, None, None] * rng.uniform(0.3, 2.6, (6, 5)) + rng.uniform(0.0, 6.0, (6, 5))).sum(axis=2)
    truth = make_transform(rotation_exp(0.3 * waves[:, 3:]), CENTRE + 0.035 * waves[:, :3])
    measured = metal.measure(rng, truth, 3e-4, 2e-3)
    a = write_table(tmp_path / 'em.csv', clock[::2] - 7.5, measured[::2])
    b = write_table(tmp_path / 'optical.csv', clock, truth)
    done = run(a, b, '--model', 'bernstein')
    assert done.exit_code == 0, done.output
    assert 'offset 7' in done.output and 'row by row' not in done.output


def test_wrong_words_are_said(recorded, tmp_path):
    _, measured, _ = recorded
    a = write_table(tmp_path / 'em.csv', np.arange(600) * 0.05, measured)
    done = run(a, a, '--ties', 'none')
    assert done.exit_code != 0 and 'solve, same, points' in str(done.exception)
    b = write_table(tmp_path / 'optical.csv', np.arange(600) * 0.05, measured)
    done = run(a, b, '--ties', 'same')
    assert done.exit_code == 1 and 'gains nothing' in done.output
