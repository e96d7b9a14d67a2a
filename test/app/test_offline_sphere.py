"""`twin register sphere`: the centre of a fiducial sphere from a file."""

import numpy as np
import pytest

from twin_nodes.app.offline_sphere import sphere_of
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError


def write(tmp_path, points):
    path = tmp_path / 'ball.xyz'
    np.savetxt(path, points)
    return path


def ball(rng, count=500, cap=-1.0):
    directions = rng.normal(size=(10 * count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions[:, 2] > cap][:count]
    return np.array([136.5, 152.0, -95.5]) + 8.1 * directions


def test_finds_the_centre_in_millimetres_and_says_the_unit(tmp_path):
    rng = np.random.default_rng(0)
    report = sphere_of(write(tmp_path, ball(rng) + rng.normal(0.0, 0.05, (500, 3))))
    np.testing.assert_allclose(1e3 * report.fit.centre, [136.5, 152.0, -95.5], atol=0.02)
    assert 'in mm, as it measures' in report.text
    assert {figure.figure for figure in report.figures} >= {'centre_x_mm', 'radius_mm', 'centre_sigma_mm'}


def test_refuses_a_cap_that_is_too_small_and_a_unit_that_is_none(tmp_path):
    rng = np.random.default_rng(1)
    cap = ball(rng, cap=0.995)
    with pytest.raises(DegenerateGeometryError, match='too small a part'):
        sphere_of(write(tmp_path, cap + rng.normal(0.0, 0.05, cap.shape)), unit='mm')
    with pytest.raises(ConfigError, match="must be 'm' or 'mm'"):
        sphere_of(write(tmp_path, cap), unit='inch')


def test_fiducials_in_ct_and_ultrasound(shared_data):
    folder = shared_data / 'fiducial_spheres'
    ct = sphere_of(folder / 'CT_Level_1.vtp')
    np.testing.assert_allclose(1e3 * ct.fit.centre, [136.571, 151.973, -95.518], atol=0.01)
    assert 1e3 * ct.fit.radius == pytest.approx(8.119, abs=0.01)
    ultrasound = sphere_of(folder / 'US_Sphere_2.vtp')
    assert 1e3 * ultrasound.fit.radius == pytest.approx(5.27, abs=0.05)
