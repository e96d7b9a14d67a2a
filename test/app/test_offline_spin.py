import numpy as np
import pytest
from typer.testing import CliRunner

from twin_nodes.app.cli import app
from twin_nodes.app.offline_spin import calibrate_spin
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.io.results import StoredResult, read_result, write_result

TIP = np.array([0.02, 0.15, -0.03])
AXIS = -TIP / np.linalg.norm(TIP)


@pytest.fixture
def folder(tmp_path):
    """A folder of matrices in millimetres of a probe that turns about its shaft, 10 Hz."""
    rng = np.random.default_rng(2)
    path = tmp_path / 'spin'
    path.mkdir()
    for index in range(120):
        pose = make_transform(rotation_exp([0.4, -0.2, 0.1]), [0.1, 0.2, -1.2])
        turned = make_transform(rotation_exp(2.5 * np.sin(index / 19.0) * AXIS + rng.normal(0.0, 1e-3, 3)), np.zeros(3))
        about_tip = make_transform(np.eye(3), TIP)
        pose = pose @ about_tip @ turned @ inverse(about_tip)
        pose[:3, 3] *= 1e3
        np.savetxt(path / f'{1378476417000000000 + index * 100_000_000}.txt', pose)
    return path


@pytest.fixture
def tip(tmp_path):
    path = tmp_path / 'tip.yaml'
    covariance = np.diag([1e-8] * 3 + [0.0] * 3)
    result = StoredResult(
        'tool_tip', 'tool', 'tool_tip', make_transform(np.eye(3), TIP), covariance, {'tip_sigma_m': 1e-4}, 'accept',
        '2026-01-01T00:00:00+00:00', tool='tool',
    )  # fmt: skip
    write_result(path, result)
    return path


def test_tip_and_axis_make_the_whole_frame(folder, tip, tmp_path):
    output = tmp_path / 'frame.yaml'
    done = CliRunner().invoke(app, ['calibrate', 'spin', str(folder), '--tip', str(tip), '--output', str(output)])
    assert done.exit_code == 0 and 'accept' in done.output, done.output
    stored = read_result(output, kind='tool_tip', usable=True)
    # 120 poses with 1 mrad across two axes: 0.1 mrad or so
    np.testing.assert_allclose(stored.parent_T_child[:3, 2], AXIS, atol=1e-3)
    np.testing.assert_allclose(stored.parent_T_child[:3, 3], TIP)
    assert 0.0 < np.trace(stored.covariance[3:, 3:]) < 1e-6
    assert stored.errors['tip_sigma_m'] == 1e-4 and stored.errors['spin_rad'] > 4.0


def test_an_axis_alone_is_told_but_not_written(folder, tmp_path):
    report = calibrate_spin(folder)
    assert report.stored is None and 'arbitrary' in report.text
    with pytest.raises(ConfigError, match='twin calibrate pivot'):
        calibrate_spin(folder, output=tmp_path / 'frame.yaml')


def test_the_tip_of_another_tool_is_refused(folder, tip):
    with pytest.raises(ConfigError, match="that of 'drill'"):
        calibrate_spin(folder, tip=StoredResult(**(vars(read_result(tip)) | {'parent_frame': 'drill'})))


def test_a_pivot_is_no_spin(shared_data):
    from twin_nodes.core.errors import DegenerateGeometryError

    with pytest.raises(DegenerateGeometryError, match='swung, not spun'):
        calibrate_spin(shared_data / 'pivot_optical')
