"""Corners from the edges of a tag: lines against a singular value decomposition, corners against known truth."""

import numpy as np
import pytest
from visual_scenes import CLEAN, image_of, pose

from twin_nodes.core.simulate.marker_trial import FAMILY, trial_camera
from twin_nodes.core.tracking.visual.dictionaries import cv_dictionary
from twin_nodes.core.tracking.visual.edge_kernels import LINE, fit_line, meet
from twin_nodes.core.tracking.visual.edges import refine_corners
from twin_nodes.core.tracking.visual.markers import single_tag

CELLS = int(cv_dictionary(FAMILY).markerSize) + 2


@pytest.mark.parametrize('turn', [0.0, 0.4, 1.5707963, 3.0])
def test_a_line_is_that_of_the_svd_without_the_point_off_it(turn):
    rng = np.random.default_rng(1)
    along, normal = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    points = 300.0 + np.linspace(-20.0, 20.0, 20)[:, None] * along + rng.normal(0.0, 0.05, (20, 1)) * normal
    line, spoiled = np.zeros(LINE), points.copy()
    spoiled[7] += 5.0 * normal
    assert fit_line(spoiled, 20, line) == 19
    kept = np.delete(points, 7, axis=0)
    np.testing.assert_allclose(spoiled[:19], kept)
    np.testing.assert_allclose(line[:2], kept.mean(axis=0))
    assert abs(line[2:4] @ np.linalg.svd(kept - kept.mean(axis=0))[2][0]) == pytest.approx(1.0, abs=1e-12)
    assert abs(line[2:4] @ line[4:6]) < 1e-15


def test_parallel_lines_do_not_meet():
    lines = np.zeros((4, LINE))
    lines[:, 4] = 1.0
    assert not meet(lines, np.empty((4, 2)))


def rough(seed=0):
    """An image of a tag, its true corners and corners that are off by a pixel or so."""
    body, camera_T_body = single_tag(3, 0.04), pose()
    truth = trial_camera().project(body.tags[3] @ camera_T_body[:3, :3].T + camera_T_body[:3, 3])
    return image_of((body, camera_T_body), optics=CLEAN), truth, np.random.default_rng(seed).normal(0.0, 0.7, (4, 2))


def test_corners_are_found_from_rough_ones_wherever_these_lie():
    image, truth, off = rough()
    found = refine_corners(image, truth + off, CELLS, None)
    np.testing.assert_allclose(found.pixels, truth, atol=0.15)
    again = refine_corners(image, truth - off, CELLS, None)
    np.testing.assert_allclose(again.pixels, found.pixels, atol=0.05)
    assert np.linalg.eigvalsh(found.covariance).min() >= -1e-12


def test_a_lens_that_does_nothing_changes_nothing():
    image, truth, off = rough()
    plain, lens = (refine_corners(image, truth + off, CELLS, f) for f in (None, lambda pixels: pixels))
    np.testing.assert_allclose(lens.ideal, plain.pixels, atol=1e-9)
    np.testing.assert_allclose(lens.pixels, plain.pixels, atol=1e-12)


def test_edges_that_leave_the_image_or_show_nothing_carry_no_line():
    image, truth, _ = rough()
    low = np.floor(truth.min(axis=0)).astype(int)
    cut = image[low[1] + 1 :, low[0] + 1 :]
    assert refine_corners(cut, truth - low - 1.0, CELLS, None) is None
    assert refine_corners(np.full_like(image, 128), truth, CELLS, None) is None
