"""Forbidden regions as markers: each triangle lies where the fixture begins to push."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from twin_nodes.app.view.messages import regions_of
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.fixtures.shapes import planned_shapes
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.ros.region_markers import STOP_RADIUS, region_markers

CONFIG = FixtureConfig(cone_half_angle=0.4, stop_depth=0.015)
PLANNED = {
    'planes': np.array([[0.01, 0.0, 0.02, 0.0, 0.6, 0.8]]),
    'cones': np.array([[0.0, 0.01, 0.0, 0.0, 0.0, -2.0], [0.05, 0.0, 0.0, 1.0, 1.0, 0.0]]),
    'stops': np.array([[0.0, 0.0, 0.03, 0.0, 0.0, -1.0]]),
}


def structures():
    surface = make_surface('nerve', *superellipsoid([0.03, 0.0, 0.0], np.full(3, 0.01), exponent=1.0))
    grid = DistanceGrid.from_surface(surface, 0.002, 0.01)
    moving = MovingSurface(make_surface('liver', *superellipsoid([0.0, 0.05, 0.0], np.full(3, 0.02), exponent=1.0)))
    return [Structure('nerve', grid), Structure('liver', moving)]


def read():
    message = region_markers('anatomy', PLANNED, structures(), {'nerve': 4, 'liver': 1}, CONFIG, 0.0035)
    return message, regions_of(serialize_message(message))


def test_each_shape_is_drawn_where_its_fixture_begins_to_push():
    _, regions = read()
    assert [shape.name for shape in regions.shapes] == ['plane 0', 'cone 0', 'cone 1', 'stop 0']
    assert {shape.frame for shape in regions.shapes} == {'anatomy'}
    fixtures = {
        name: shape for kind, rows in PLANNED.items() for name, shape in planned_shapes(kind, rows, CONFIG).items()
    }
    spike = {'plane 0': 48, 'stop 0': 48}  # triangles at the end that tell the side
    for shape in regions.shapes:
        triangles = shape.corners.reshape(-1, 3, 3)
        border = triangles[: len(triangles) - spike.get(shape.name, 0)]
        for point in border.mean(axis=1):
            found = np.zeros(4)
            fixtures[shape.name].violation(point, found)
            assert abs(found[0]) < 1e-4, f'{shape.name}: a flat facet of 48 lies so near'
        for point in triangles[len(border) :].reshape(-1, 3)[::3]:  # the points of the spikes are where the tip may be
            found = np.zeros(4)
            fixtures[shape.name].violation(point, found)
            assert found[0] < 0.0 or found[0] == pytest.approx(0.0, abs=1e-9)
    stop = regions.shapes[-1].corners
    np.testing.assert_allclose(stop[0], [0.0, 0.0, 0.015], atol=1e-12)
    assert np.linalg.norm(stop[1] - stop[0]) == pytest.approx(STOP_RADIUS)
    assert stop[:, 2].max() == pytest.approx(0.03), 'the spike reaches back to the entry'


def test_structures_are_told_with_their_number_their_margin_and_their_middle():
    message, regions = read()
    assert regions.margins == pytest.approx({4: 0.0035, 1: 0.0035})
    places = {marker.text: marker.pose.position for marker in message.markers if marker.ns == 'structure'}
    assert set(places) == {'nerve + 3.5 mm', 'liver + 3.5 mm'}
    assert places['nerve + 3.5 mm'].x == pytest.approx(0.03, abs=1e-3)
    assert places['liver + 3.5 mm'].y == pytest.approx(0.05, abs=1e-3)


def test_a_message_that_is_none_is_refused():
    message, _ = read()
    message.markers[1].points[0].x = float('nan')
    with pytest.raises(InputError, match=r"'plane 0' has no whole and finite triangles"):
        regions_of(serialize_message(message))
    message, _ = read()
    message.markers[-1].scale.x = float('nan')
    with pytest.raises(InputError, match=r"'liver \+ 3.5 mm' reaches nan m"):
        regions_of(serialize_message(message))
    with pytest.raises(InputError, match='plain CDR'):
        regions_of(b'no markers')
