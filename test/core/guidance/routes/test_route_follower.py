"""A tool on its route: how far, how deep, left and found again, and the next best."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.follower import RouteFollower, RouteState
from twin_nodes.core.guidance.routes.route import Route

CONFIG = RouteConfig()


def straight(x):
    points = np.array([[x, 0.0, 0.07], [x, 0.0, -0.03]])
    return Route(points[0], points[1], points, 0.1, (), {}, 0.005, 0.0)


@pytest.fixture
def follower():
    return RouteFollower(CONFIG, (straight(0.0), straight(0.02)))


def test_tells_depth_and_deviation(follower):
    progress = follower.update(np.array([0.001, 0.0, 0.03]))
    assert progress.state is RouteState.ON_ROUTE
    assert progress.deviation == pytest.approx(0.001)
    assert progress.depth == pytest.approx(0.04)
    assert progress.left == pytest.approx(0.06)
    np.testing.assert_allclose(progress.direction, [0.0, 0.0, -1.0])


def test_free_outside_the_body_and_arrived_at_the_target(follower):
    assert follower.update(np.array([0.05, 0.0, 0.1])).state is RouteState.APPROACHING
    assert follower.update(np.array([0.0, 0.0, -0.0295])).state is RouteState.ARRIVED


def test_leaving_has_hysteresis_and_names_the_next_best(follower):
    assert follower.update(np.array([0.0035, 0.0, 0.0])).state is RouteState.ON_ROUTE
    left = follower.update(np.array([0.0045, 0.0, 0.0]))
    assert left.state is RouteState.LEFT and left.next_best == 1
    assert follower.update(np.array([0.0035, 0.0, 0.0])).state is RouteState.LEFT
    assert follower.update(np.array([0.0025, 0.0, 0.0])).state is RouteState.ON_ROUTE


def test_bad_input_is_refused(follower):
    with pytest.raises(InputError, match='three finite numbers'):
        follower.update(np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(InputError, match='there is none'):
        RouteFollower(CONFIG, (), 0)
