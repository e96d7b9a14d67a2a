"""The anatomy beside the compensation: no motion without it, walls that are felt, its pose, its prediction."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.serialization import serialize_message
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view.messages import regions_of
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.nodes.anatomy_pose_node import AnatomyPoseNode
from twin_nodes.nodes.compensation_node import CompensationNode
from twin_nodes.nodes.predicted_anatomy_node import PredictedAnatomyNode
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.conversions import pose_stamped

ARM, RADIUS = 'PSM1', 0.01
START = [0.0, 0.0, 0.05]


class Room:
    """A robot above a ball, a hand, and both sites' compensation in one process."""

    def __init__(self, start, probe, tmp_path):
        self.probe = probe
        self.points = probe.listen(PoseStamped, f'{ARM}/servo_cp')
        self.forces = probe.listen(WrenchStamped, f'{ARM}/fixture')
        self.predicted = probe.listen(PoseStamped, f'{ARM}/predicted_cp')
        walls = {'anatomy__grid_spacing': 0.001, 'anatomy__cache_dir': str(tmp_path), 'anatomy__silent_after': 5.0}
        common = {'arm': ARM, 'base_frame': 'world', 'rate': 50.0, 'hand_silent': 0.09, 'robot_silent': 1.0, **walls}
        self.follower = start(CompensationNode, role='follower', anatomy__guard=['ball'], max_deviation=0.5, **common)
        self.leader = start(CompensationNode, role='leader', **common)
        self.hand, self.robot_speaks, self.placed, self.asks = [0.0, 0.0, 0.0], True, False, True

    def show_the_ball(self):
        vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
        marker = surface_marker(1, 'anatomy', 'ball', 0, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
        self.probe.say_latched('anatomy/surface', MarkerArray(markers=[marker]))

    @property
    def mode(self):
        side = self.follower.side.follower
        return side.mode.value if side is not None else ''

    def until(self, condition, what):
        def said():
            now_ns = self.probe.get_clock().now().nanoseconds
            if self.robot_speaks:
                self.probe.say(f'{ARM}/measured_cp', pose_stamped(now_ns, 'world', make_transform(np.eye(3), START)))
            self.probe.say('MTM/measured_cp', pose_stamped(now_ns, 'world', make_transform(np.eye(3), self.hand)))
            if self.placed:
                self.probe.say('anatomy/measured_cp', pose_stamped(now_ns, 'world', np.eye(4)))
            if self.asks and self.mode == 'hold':
                self.probe.say(f'{ARM}/compensation/resume', String(data='discard'))
            return condition()

        self.probe.until(said, self.follower, self.leader, what=what, deadline_s=30.0)


@pytest.fixture
def room(start, probe, tmp_path):
    return Room(start, probe, tmp_path)


def test_stands_without_the_guarded_structure_then_keeps_out_of_it(room):
    room.until(lambda: room.follower.health.counters.get('GEOFENCE_MISSING', 0) > 20, 'refused commands')
    assert room.mode in ('', 'hold', 'outage')
    assert room.probe.code('compensation: geofence') == 'GEOFENCE_MISSING'
    room.show_the_ball()
    room.placed = True
    room.until(lambda: room.mode == 'connected', 'connected')
    room.hand = [0.0, 0.0, -0.04]  # into the ball
    room.until(lambda: abs(room.points[-1].pose.position.z - 0.012) < 0.002, 'the robot at the wall')
    room.until(lambda: room.forces and room.forces[-1].wrench.force.z > 0.3, 'a force')
    assert all(point.pose.position.z > RADIUS for point in room.points)


def test_lets_a_silent_robot_go(room):
    room.show_the_ball()
    room.placed = True
    room.until(lambda: room.mode == 'connected', 'connected')
    room.robot_speaks = False
    room.until(lambda: room.follower.side.follower is None, 'the robot let go')
    count = len(room.points)
    room.until(lambda: room.probe.code('compensation: mode') == 'ROBOT_SILENT', 'ROBOT_SILENT')
    room.asks = False
    assert len(room.points) <= count + 2
    room.robot_speaks = True
    room.until(lambda: room.mode == 'hold', 'hold')  # and not back to work by itself


def test_tells_and_predicts_where_the_anatomy_is(start, probe, tmp_path):
    fixed = start(AnatomyPoseNode, base_frame='world', fixed=[0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    predicted = start(PredictedAnatomyNode, base_frame='world', grid_spacing=0.001, cache_dir=str(tmp_path))
    poses = probe.listen(PoseStamped, 'anatomy/predicted_cp')
    surfaces = probe.listen_latched(MarkerArray, 'anatomy/predicted')
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
    marker = surface_marker(1, 'anatomy', 'ball', 0, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
    probe.say_latched('anatomy/surface', MarkerArray(markers=[marker]))
    tip = make_transform(np.eye(3), [0.1, 0.0, RADIUS - 0.001])

    def dented():
        probe.say('PSM1/predicted_cp', pose_stamped(probe.get_clock().now().nanoseconds, 'world', tip))
        return poses and float(probe.values('predicted_anatomy: anatomy').get('dent_mm', 0.0)) > 1.5

    probe.until(dented, fixed, predicted, what='a dent', deadline_s=30.0)
    assert poses[-1].pose.position.x == pytest.approx(0.1, abs=1e-6)
    probe.until(lambda: surfaces and surfaces[-1].markers[0].header.frame_id == 'anatomy_predicted',
                fixed, predicted, what='the surface')  # fmt: skip
    highest = max(point.z for point in surfaces[-1].markers[0].points)
    assert highest < RADIUS - 0.0005


def test_the_page_is_told_what_the_robot_is_kept_out_of(start, probe, tmp_path):
    told = probe.listen_latched(MarkerArray, 'compensation/regions')
    node = start(CompensationNode, role='follower', arm=ARM, base_frame='world', anatomy__grid_spacing=0.001,
                 anatomy__cache_dir=str(tmp_path), anatomy__margin=0.003)  # fmt: skip
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
    ball = surface_marker(1, 'anatomy', 'ball', 7, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
    node.side.anatomy._on_surface(MarkerArray(markers=[ball]))
    probe.until(lambda: told, node, what='the regions')
    regions = regions_of(serialize_message(told[-1]))
    assert dict(regions.margins) == {7: 0.003} and not regions.shapes
    node.side.anatomy._on_surface(MarkerArray())
    probe.until(lambda: len(told) > 1, node, what='that there are none')
    assert not regions_of(serialize_message(told[-1])).margins


def test_a_structure_that_was_refused_is_no_longer_told_once_it_is_whole_or_gone(start, tmp_path):
    node = start(CompensationNode, role='leader', arm=ARM, base_frame='world', anatomy__grid_spacing=0.001,
                 anatomy__cache_dir=str(tmp_path))  # fmt: skip
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)
    feed, colour = node.side.anatomy, (1.0, 1.0, 1.0, 1.0)
    whole = surface_marker(1, 'anatomy', 'ball', 0, vertices, triangles, colour)
    wrong = [surface_marker(1, 'elsewhere', 'ball', 0, vertices, triangles, colour),
             surface_marker(2, 'elsewhere', 'cube', 0, vertices, triangles, colour)]  # fmt: skip
    feed._on_surface(MarkerArray(markers=wrong))
    assert (node.health.code('structure ball'), node.health.code('structure cube')) == ('ANATOMY_REFUSED',) * 2
    feed._on_surface(MarkerArray(markers=[whole, wrong[1]]))
    assert (node.health.code('structure ball'), node.health.code('structure cube')) == ('', 'ANATOMY_REFUSED')
    feed._on_surface(MarkerArray(markers=[whole]))
    assert node.health.code('structure cube') == ''
    assert list(feed.fences.names) == ['ball']


def test_settings(start):
    with pytest.raises(ConfigError, match='six'):
        start(AnatomyPoseNode, base_frame='world', fixed=[1.0])
    with pytest.raises(ConfigError, match='enabled'):
        start(CompensationNode, role='follower', arm=ARM, base_frame='world', anatomy__guard=['x'],
              anatomy__enabled=False)  # fmt: skip
