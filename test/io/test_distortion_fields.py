import numpy as np
import pytest
import yaml

from twin_nodes.app.check import check
from twin_nodes.core.calibration.distortion_fit import DistortionConfig, fit_distortion
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.distortion import draw_metal, sweep
from twin_nodes.io.distortion_fields import StoredDistortion, read_distortion, write_distortion


@pytest.fixture(scope='module')
def stored():
    rng, centre = np.random.default_rng(3), np.array([0.0, 0.0, -0.25])
    truth = sweep(rng, centre, 0.1, 400)
    measured = draw_metal(rng, centre, 0.1).measure(rng, truth, 3e-4, 2e-3)
    result = fit_distortion(measured, truth, DistortionConfig(max_degree=3, max_intervals=2))
    errors = {'raw_m': result.raw, 'held_out_m': result.held_out}
    return StoredDistortion(result.field, errors, 'accept', '2026-01-01T00:00:00+00:00', sensor='probe')


def test_what_is_written_is_read(stored, tmp_path):
    path = tmp_path / 'field.yaml'
    write_distortion(path, stored)
    again = read_distortion(path, usable=True)
    pose = np.eye(4)
    pose[:3, 3] = [0.02, -0.03, -0.24]
    one, other = stored.field.correct(pose), again.field.correct(pose)
    np.testing.assert_allclose(other.pose, one.pose, atol=1e-14)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-12)
    assert again.errors == stored.errors and again.sensor == 'probe'


def test_twin_check_knows_it(stored, tmp_path, capsys):
    path = tmp_path / 'field.yaml'
    write_distortion(path, stored)
    check(path)
    assert 'distortion field, accept' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'kind': 'tool_tip'}, 'expected format 1 and kind distortion'),
        ({'shift_m': [[0.0, 0.0, 0.0]]}, r'shift_m has shape \(1, 3\)'),
        ({'covariance': [[float('nan')] * 6] * 6}, 'covariance has NaN'),
        ({'covariance': (-np.eye(6)).tolist()}, 'negative eigenvalue'),
        ({'hull': [[2.0, 0.0, 0.0, 1.0]]}, 'no unit vectors'),
        ({'hull': []}, 'hull has shape'),
        ({'spread': 'AAAA'}, 'spread'),
        ({'spread': '§'}, 'spread is no base64'),
        ({'degree': 1.5}, 'whole numbers'),
        ({'degree': 99}, 'degree 1 … 7'),
        ({'verdict': 'fine'}, 'verdict'),
        ({'errors': {'raw_m': 'x'}}, 'finite numbers'),
        ({'high_m': [-1.0, -1.0, -1.0]}, 'low_m must be below'),
        ({'shift': 1}, "unknown key 'shift'"),
        ({'reach_m': None}, 'reach_m'),
    ],
)
def test_a_wrong_value_is_named(stored, tmp_path, changes, words):
    path = tmp_path / 'field.yaml'
    write_distortion(path, stored)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=words) as caught:
        read_distortion(path)
    assert 'field.yaml' in str(caught.value)


def test_a_refused_field_is_not_used(stored, tmp_path):
    path = tmp_path / 'field.yaml'
    write_distortion(path, StoredDistortion(**(vars(stored) | {'verdict': 'refuse', 'reasons': ('gains nothing',)})))
    with pytest.raises(ConfigError, match='gains nothing'):
        read_distortion(path, usable=True)
    with pytest.raises(ConfigError, match='cannot be read'):
        read_distortion(tmp_path / 'nowhere.yaml')
