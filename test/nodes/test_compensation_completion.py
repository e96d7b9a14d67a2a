"""An outage while a ring is carried: allowed by a person at the robot, compensation_node brings it to its peg."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.nodes.compensation_node import CompensationNode
from twin_nodes.ros.conversions import pose_array, pose_stamped

ARM = 'PSM1'
GRIP = np.array([0.006, 0.0, 0.0])
PEG = np.array([0.02, 0.0, 0.004])
ON = {'follower__assistance__enabled': True, 'follower__assistance__begin_after': 0.3,
      'follower__assistance__speed': 0.05, 'follower__assistance__release_time': 0.1}  # fmt: skip


class Robot:
    """A robot that is where it is told to be, a ring in its jaw, a hand that carries it, and both nodes."""

    def __init__(self, start, probe, **more):
        self.probe = probe
        self.points = probe.listen(PoseStamped, f'{ARM}/servo_cp')
        self.jaws = probe.listen(JointState, f'{ARM}/jaw/servo_jp')
        common = {'arm': ARM, 'base_frame': 'base', 'rate': 50.0, 'hand_silent': 0.09}
        self.follower = start(CompensationNode, role='follower', **common, **more)
        self.leader = start(CompensationNode, role='leader', **common)
        self.tip, self.hand = np.array([0.0, 0.0, 0.03]), np.zeros(3)
        self.ring = self.tip - GRIP
        self.linked, self.lets_go = True, False

    def say(self):
        now_ns = self.probe.get_clock().now().nanoseconds
        if self.points:
            at = self.points[-1].pose.position
            self.tip = np.array([at.x, at.y, at.z])
        if not self.linked:  # it begins with an open jaw, before the hand says what it wants
            self.lets_go = self.lets_go or self.jaws[-1].position[0] > 0.9
        if not self.lets_go:
            self.ring = self.tip - GRIP
        self.probe.say(f'{ARM}/measured_cp', pose_stamped(now_ns, 'base', make_transform(np.eye(3), self.tip)))
        jaw = JointState(name=['jaw'], position=[0.6 if self.lets_go else 0.0])
        self.probe.say(f'{ARM}/jaw/measured_js', jaw)
        for topic, places in (('task/objects', [self.ring]), ('task/targets', [PEG])):
            self.probe.say(topic, pose_array(now_ns, 'base', np.array(places)))
        if self.linked:
            self.probe.say('MTM/measured_cp', pose_stamped(now_ns, 'base', make_transform(np.eye(3), self.hand)))
            self.probe.say('MTM/gripper/measured_js', JointState(name=['jaw'], position=[0.0]))

    def until(self, condition, what):
        def said():
            self.say()
            return condition()

        self.probe.until(said, self.follower, self.leader, what=what, deadline_s=30.0)

    @property
    def mode(self):
        side = self.follower.side.follower
        return side.mode.value if side is not None else ''

    def carry(self):
        """Connect, and let the hand carry the ring for a centimetre."""

        def connected():
            if self.mode == 'hold':
                self.probe.say(f'{ARM}/compensation/resume', String(data='discard'))
            return self.mode == 'connected'

        self.until(connected, 'connected')

        def carried():
            self.hand[0] = min(self.hand[0] + 0.0002, 0.01)
            return self.tip[0] > 0.0095

        self.until(carried, 'a centimetre')

    def allow(self):
        client = self.probe.create_client(SetBool, f'{ARM}/compensation/allow_completion')
        self.until(client.service_is_ready, 'the service')
        future = client.call_async(SetBool.Request(data=True))
        self.until(future.done, 'an answer')
        return future.result()

    def assistance(self):
        return self.follower.side.follower.assistance


def test_brings_the_ring_to_its_peg_and_lets_go(start, probe):
    robot = Robot(start, probe, **ON)
    robot.carry()
    assert robot.allow().success
    robot.linked = False
    robot.until(lambda: robot.mode == 'outage', 'outage')
    robot.until(lambda: robot.assistance().completed == 1, 'the completion')
    assert robot.ring == pytest.approx(PEG, abs=5e-4)
    assert max(message.pose.position.z for message in robot.points) > 0.02
    stood = robot.tip.copy()
    robot.linked = True

    def back():
        if robot.mode == 'hold':
            probe.say(f'{ARM}/compensation/resume', String(data='discard'))
        return robot.mode == 'connected'

    robot.until(back, 'the link')
    assert np.linalg.norm(robot.tip - stood) < 0.003  # the hand goes on from where the robot is: nothing is undone


def test_without_leave_it_stands(start, probe):
    robot = Robot(start, probe, **ON)
    robot.carry()
    robot.linked = False
    robot.until(lambda: robot.mode == 'outage', 'outage')
    stood, since = robot.tip.copy(), probe.get_clock().now().nanoseconds
    robot.until(lambda: probe.get_clock().now().nanoseconds - since > 600_000_000, 'the time in which it would begin')
    assert np.linalg.norm(robot.tip - stood) < 0.001


def test_is_off_by_default(start, probe):
    robot = Robot(start, probe)
    assert not [name for name, _ in robot.follower.get_service_names_and_types_by_node('compensation', '/')
                if 'allow_completion' in name]  # fmt: skip
