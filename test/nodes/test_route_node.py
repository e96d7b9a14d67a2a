"""route_node: a plan for what is in the anatomy, followed and planned anew."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray
from std_msgs.msg import Float64, Int32
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.core.simulate.shapes import superellipsoid, tube
from twin_nodes.nodes.route_node import RouteNode
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.conversions import pose_with_covariance, transform_stamped
from twin_nodes.ros.qos import MEASUREMENT

COVARIANCE = np.diag([1e-8] * 3 + [1e-8] * 3)
START_NS = 1_700_000_000_000_000_000


def anatomy(vessel_x=0.02):
    skin = superellipsoid(np.zeros(3), np.full(3, 0.06), exponent=1.0)
    path = np.array([[vessel_x, y, 0.03] for y in np.linspace(-0.03, 0.03, 12)])
    meshes = {'skin': skin, 'vessel': tube(path, 0.003)}
    markers = [
        surface_marker(1, 'anatomy', name, index, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
        for index, (name, (vertices, triangles)) in enumerate(meshes.items())
    ]
    return MarkerArray(markers=markers)


class Routed:
    """A route_node and what it says."""

    def __init__(self, start, probe, tmp_path, **settings):
        self.probe = probe
        self.markers = probe.listen_latched(MarkerArray, 'guidance/routes')
        self.poses = probe.listen_latched(PoseArray, 'guidance/route')
        self.deviations = probe.listen(Float64, 'guidance/route/deviation')
        self.events = probe.listen_events('guidance/events')
        self.stamp_ns = START_NS
        self.node = start(
            RouteNode, skin='skin', guard=['vessel'], grid_spacing=0.002, grid_margin=0.01, cache_dir=str(tmp_path),
            session__target=[0.0, 0.0, 0.0], session__entry_centre=[0.0, 0.0, 0.06], session__entry_radius=0.03,
            **settings,
        )  # fmt: skip

    def planned(self, message):
        count = len(self.poses)
        self.probe.say_latched('anatomy/surface', message)
        self.probe.until(lambda: len(self.poses) > count, self.node, what='a plan', deadline_s=40.0)
        return self.poses[-1].poses

    def codes(self):
        return [
            pair.value
            for message in self.events
            for status in message.status
            for pair in status.values
            if pair.key == 'code'
        ]

    def tip(self, position, condition, what):
        def say():
            self.stamp_ns += 10_000_000
            pose = make_transform(np.eye(3), position)
            self.probe.say('guidance/tip', pose_with_covariance(self.stamp_ns, 'anatomy', pose, COVARIANCE))

        self.probe.until(condition, self.node, what=what, say=say)


@pytest.fixture
def routed(start, probe, tmp_path):
    return Routed(start, probe, tmp_path)


def test_plans_follows_and_says_when_the_route_is_left(routed):
    poses = routed.planned(anatomy())
    entry = np.array([poses[0].position.x, poses[0].position.y, poses[0].position.z])
    assert np.linalg.norm(entry) == pytest.approx(0.06, abs=0.001)
    assert poses[-1].position.z == pytest.approx(0.0, abs=1e-9)
    kinds = [marker.type for marker in routed.markers[-1].markers if marker.action == Marker.ADD]
    assert kinds.count(Marker.LINE_STRIP) == 3
    routed.tip(0.5 * entry, lambda: routed.deviations and routed.deviations[-1].data < 1e-6, 'on the route')
    aside = 0.5 * entry + [0.0, 0.02, 0.0]
    routed.tip(aside, lambda: 'ROUTE_LEFT' in routed.codes(), 'ROUTE_LEFT')
    left = [status for message in routed.events for status in message.status if 'off route' in status.message]
    assert 'next best is route 2' in left[0].message


def test_plans_anew_when_the_anatomy_changes(routed):
    before = routed.planned(anatomy(0.02))[0].position.x
    after = routed.planned(anatomy(-0.02))[0].position.x
    assert np.sign(after) != np.sign(before)
    routed.probe.until(lambda: 'ROUTE_CHANGED' in routed.codes(), routed.node, what='ROUTE_CHANGED')


def test_another_route_can_be_chosen_and_nonsense_cannot(routed):
    first = routed.planned(anatomy())[0].position
    count = len(routed.poses)

    def chosen():
        routed.probe.say('guidance/route/choose', Int32(data=1), MEASUREMENT)
        return len(routed.poses) > count

    routed.probe.until(chosen, routed.node, what='the other route')
    assert routed.poses[-1].poses[0].position != first

    def refused():
        routed.probe.say('guidance/route/choose', Int32(data=99), MEASUREMENT)
        return routed.node.health.counters.get('PROTOCOL', 0) > 0

    routed.probe.until(refused, routed.node, what='a refusal')


def test_plans_anew_when_the_registration_becomes_worse(routed):
    routed.planned(anatomy())
    count, wide = len(routed.poses), COVARIANCE + np.diag([4e-6] * 3 + [0.0] * 3)

    def widened():
        routed.stamp_ns += 10_000_000
        message = pose_with_covariance(routed.stamp_ns, 'anatomy', make_transform(np.eye(3), [0.0, 0.0, 0.05]), wide)
        routed.probe.say('guidance/tip', message)
        return len(routed.poses) > count

    routed.probe.until(widened, routed.node, what='a new plan')
    words = [marker.text for marker in routed.markers[-1].markers if marker.text]
    assert any('± 2.0 mm' in text for text in words)


def test_an_arm_goes_only_where_its_joints_let_it(start, probe, tmp_path):
    routed = Routed(start, probe, tmp_path, reach__arm='PSM1')
    probe.say_latched('anatomy/surface', anatomy())
    until = lambda text: probe.until(  # noqa: E731
        lambda: text in getattr(probe.status('route: plan'), 'message', ''), routed.node, what=text, deadline_s=40.0
    )
    until('waiting for the place of PSM1')
    chain = SerialChain(published_model('psm_classic'))
    tip = make_transform(np.diag([1.0, -1.0, -1.0]), np.zeros(3))  # at the target, along the way in
    base = tip @ inverse(chain.forward(chain.middle[None])[0])
    place = lambda pose: probe.say_latched(  # noqa: E731
        '/tf_static', TFMessage(transforms=[transform_stamped(START_NS, 'anatomy', 'PSM1_base', pose)])
    )
    place(base)
    until('3 routes')
    place(make_transform(np.eye(3), [1.0, 0.0, 0.0]) @ base)
    until('the arm reaches none of')


def test_says_which_structures_are_missing(start, probe):
    node = start(
        RouteNode, skin='skin', guard=['aorta'], session__target=[0.0] * 3, session__entry_centre=[0.0, 0.0, 0.06]
    )
    probe.say_latched('anatomy/surface', anatomy())
    probe.until_code('route: anatomy', 'ANATOMY_REFUSED', node)
    assert 'aorta' in probe.status('route: anatomy').message


def test_refuses_a_configuration_that_cannot_be(start):
    with pytest.raises(ConfigError, match='name it once'):
        start(RouteNode, skin='s', guard=['a'], tissues=['a'], session__target=[0.0] * 3,
              session__entry_centre=[0.0] * 3)  # fmt: skip
    with pytest.raises(ConfigError, match="did you mean 'psm_si'"):
        start(RouteNode, skin='s', guard=['a'], session__target=[0.0] * 3, session__entry_centre=[0.0] * 3,
              reach__arm='PSM1', reach__model='psm_is')  # fmt: skip
    with pytest.raises(ConfigError, match='target'):
        start(RouteNode, skin='s', guard=['a'], session__target=[0.0], session__entry_centre=[0.0] * 3)
