"""robot_node with robots of users: every link on tf as pinocchio has it, from joint states of other stacks."""

import numpy as np
import pinocchio as pin
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage

from twin_nodes.io.urdf import read_robot
from twin_nodes.nodes.robot_node import RobotNode
from twin_nodes.ros.conversions import matrix_of, ns_to_stamp, stamp_to_ns

DEEP = QoSProfile(depth=2000)
HALF = '1.5707963267948966'
LIMITS = '<limit lower="-2.9" upper="2.9" effort="1" velocity="1"/>'


def joint(name, kind, parent, child, *, xyz='0 0 0', rpy='0 0 0', axis='0 0 1', inner=LIMITS):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>{inner}</joint>'
    )


def robot(*joints):
    links = {word for one in joints for word in one.split('link="')[1:]}
    names = sorted({word.split('"')[0] for word in links})
    mesh = '<link name="{0}"><visual><geometry><mesh filename="package://my_arm/{0}.dae"/></geometry></visual></link>'
    return f'<robot name="mine">{"".join(mesh.format(name) for name in names)}{"".join(joints)}</robot>'


SIX = robot(  # as Universal Robots describe theirs: fixed frames before and behind, names without an arm
    joint('base_fixed', 'fixed', 'world', 'base_link', rpy='0 0 3.14159265'),
    joint('shoulder_pan_joint', 'revolute', 'base_link', 'shoulder', xyz='0 0 0.1625'),
    joint('shoulder_lift_joint', 'revolute', 'shoulder', 'upper_arm', rpy=f'{HALF} 0 0'),
    joint('elbow_joint', 'revolute', 'upper_arm', 'forearm', xyz='-0.425 0 0'),
    joint('wrist_1_joint', 'revolute', 'forearm', 'wrist_1', xyz='-0.3922 0 0.1333'),
    joint('wrist_2_joint', 'revolute', 'wrist_1', 'wrist_2', xyz='0 -0.0997 0', rpy=f'{HALF} 0 0'),
    joint('wrist_3_joint', 'continuous', 'wrist_2', 'wrist_3', xyz='0 0.0996 0', rpy=f'{HALF} 3.14 3.14', inner=''),
    joint('flange', 'fixed', 'wrist_3', 'tool0', rpy=f'0 -{HALF} -{HALF}'),
)
SEVEN = robot(  # as Franka: fingers of which one follows the other
    *(
        joint(f'panda_joint{k}', 'revolute', f'panda_link{k - 1}', f'panda_link{k}', xyz=xyz, rpy=f'{turn} 0 0')
        for k, xyz, turn in (
            (1, '0 0 0.333', '0'), (2, '0 0 0', f'-{HALF}'), (3, '0 -0.316 0', HALF), (4, '0.0825 0 0', HALF),
            (5, '-0.0825 0.384 0', f'-{HALF}'), (6, '0 0 0', HALF), (7, '0.088 0 0', HALF),
        )
    ),
    joint('hand_joint', 'fixed', 'panda_link7', 'panda_hand', xyz='0 0 0.107', rpy='0 0 -0.785398'),
    joint('tcp_joint', 'fixed', 'panda_hand', 'panda_hand_tcp', xyz='0 0 0.1034'),
    joint('panda_finger_joint1', 'prismatic', 'panda_hand', 'finger_a', xyz='0 0 0.0584', axis='0 1 0'),
    joint(
        'panda_finger_joint2', 'prismatic', 'panda_hand', 'finger_b', xyz='0 0 0.0584', axis='0 -1 0',
        inner=f'{LIMITS}<mimic joint="panda_finger_joint1" multiplier="1.0" offset="0.001"/>',
    ),
)  # fmt: skip
GANTRY = robot(
    joint('rail', 'prismatic', 'floor', 'carriage', axis='2 0 0'),
    joint('lift', 'prismatic', 'carriage', 'column', xyz='0 0 0.3'),
    joint('swing', 'continuous', 'column', 'boom', xyz='0.1 0 0', rpy='0.1 0.2 0.3', axis='1 1 0', inner=''),
    joint('tilt', 'revolute', 'boom', 'needle', xyz='0 0.2 0', axis='0 -1 0'),
)


def truth_of(path, values):
    """Pose of each link in the root, by pinocchio; followers are set by hand."""
    model = pin.buildModelFromUrdf(str(path))
    q = pin.neutral(model)
    for name, value in values.items():
        one = model.joints[model.getJointId(name)]
        q[one.idx_q : one.idx_q + one.nq] = [np.cos(value), np.sin(value)] if one.nq == 2 else [value]
    data = model.createData()
    pin.framesForwardKinematics(model, data, q)
    return lambda link: data.oMf[model.getFrameId(link)].homogeneous


class Robot:
    """A robot of a user: a file, a node, and what both say."""

    def __init__(self, start, probe, folder, text, arm, **settings):
        self.probe, self.arm, self.path = probe, arm, folder / 'mine.urdf'
        self.path.write_text(text)
        self.model = read_robot(self.path)
        self.edges = probe.listen(TFMessage, '/tf', DEEP)
        self.fixed = probe.listen_latched(TFMessage, '/tf_static')
        self.poses = probe.listen(PoseWithCovarianceStamped, f'{arm}/filtered_cp', DEEP)
        self.node = start(RobotNode, arms=[arm], models=[str(self.path)], **settings)
        self.truth = {}

    def values(self, tick):
        swing = np.sin(0.05 * tick + np.arange(len(self.model.moving)))
        return {one.name: 0.9 * float(value) for one, value in zip(self.model.moving, swing, strict=True)}

    def say(self, topic, names, values, stamp_ns, **extra):
        message = JointState(name=[*names, *extra], position=[*(values[name] for name in names), *extra.values()])
        message.header.stamp = ns_to_stamp(stamp_ns)
        self.probe.say(topic, message)

    def until_mirrored(self, speak):
        """Speak on until a pose of a known moment is out, and hold every link of that moment against the truth."""
        tick = [0]

        def told():
            tick[0] += 1
            stamp_ns, values = self.node.get_clock().now().nanoseconds, self.values(tick[0])
            self.truth[stamp_ns] = values
            speak(tick[0], stamp_ns, values)
            return len(self.poses) > 5 and bool(self.fixed)

        self.probe.until(told, self.node, what='poses')
        stamp_ns = stamp_to_ns(self.poses[-1].header.stamp)
        self.probe.until(lambda: self.moved(stamp_ns), self.node, what='the edges of that pose')
        return stamp_ns

    def moved(self, stamp_ns):
        return [edge for m in self.edges for edge in m.transforms if stamp_to_ns(edge.header.stamp) == stamp_ns]

    def check(self, stamp_ns, values):
        fixed = [edge for message in self.fixed for edge in message.transforms]
        found = {f'{self.arm}_base': np.eye(4)}
        for _ in range(len(self.model.links)):
            for edge in (*fixed, *self.moved(stamp_ns)):
                if edge.header.frame_id in found:
                    pose = matrix_of(edge.transform.translation, edge.transform.rotation)
                    found[edge.child_frame_id] = found[edge.header.frame_id] @ pose
        truth = truth_of(self.path, values)
        for link in self.model.links[1:]:
            frame = f'{self.arm}_tip' if link == self.model.leaf() else f'{self.arm}_{link}'
            expected = np.linalg.inv(truth(self.model.root)) @ truth(link)
            assert found[frame] == pytest.approx(expected, abs=1e-9), link


def test_six_axes_whose_joints_come_reordered_with_others_among_them(start, probe, tmp_path):
    robot_ = Robot(start, probe, tmp_path, SIX, 'ur', joint_topics=['/joint_states'])
    names = [one.name for one in robot_.model.moving][::-1]
    stamp_ns = robot_.until_mirrored(
        lambda tick, stamp, values: robot_.say('/joint_states', names, values, stamp, gripper_knuckle=0.1)
    )
    robot_.check(stamp_ns, robot_.truth[stamp_ns])
    assert robot_.node.arms[0].mirror.chain.tip == 'tool0'


def test_seven_axes_and_fingers_of_which_one_follows(start, probe, tmp_path):
    robot_ = Robot(start, probe, tmp_path, SEVEN, 'panda', joint_topics=['joint_states'])
    names = [one.name for one in robot_.model.moving]

    def speak(tick, stamp_ns, values):
        if tick % 2:  # the hand speaks for itself, on the same topic
            robot_.say('joint_states', ['panda_finger_joint1'], {'panda_finger_joint1': 0.03}, stamp_ns)
        else:
            robot_.say('joint_states', names[:7], values, stamp_ns)

    stamp_ns = robot_.until_mirrored(speak)
    robot_.check(stamp_ns, robot_.truth[stamp_ns] | {'panda_finger_joint1': 0.03, 'panda_finger_joint2': 0.031})
    assert robot_.node.arms[0].mirror.chain.tip == 'panda_hand_tcp'
    assert probe.code('robot: arm panda') in ('', 'OK')


def test_joints_told_on_two_topics_are_brought_to_one_instant(start, probe, tmp_path):
    robot_ = Robot(start, probe, tmp_path, GANTRY, 'gantry', joint_topics=['rail/joint_states boom/joint_states'])

    def at(stamp_ns):  # steady motion, which interpolation keeps
        return dict(
            zip(('rail', 'lift', 'swing', 'tilt'), 1e-10 * ((stamp_ns - began_ns) * np.arange(1, 5)), strict=True)
        )

    def speak(tick, stamp_ns, values):
        robot_.say('rail/joint_states', ['lift', 'rail'], at(stamp_ns), stamp_ns)
        robot_.say('boom/joint_states', ['swing', 'tilt'], at(stamp_ns + 3_000_000), stamp_ns + 3_000_000)

    began_ns = robot_.node.get_clock().now().nanoseconds
    stamp_ns = robot_.until_mirrored(speak)
    robot_.check(stamp_ns, at(stamp_ns))


def test_says_which_of_two_topics_is_silent(start, probe, tmp_path):
    topics = ['rail/joint_states boom/joint_states']
    robot_ = Robot(start, probe, tmp_path, GANTRY, 'gantry', joint_topics=topics, silent_after=0.2)

    def both(boom):
        stamp_ns, values = robot_.node.get_clock().now().nanoseconds, robot_.values(1)
        if boom:
            robot_.say('boom/joint_states', ['swing', 'tilt'], values, stamp_ns)
        robot_.say('rail/joint_states', ['lift', 'rail'], values, stamp_ns)
        status = probe.status('robot: arm gantry')
        return '' if status is None else f'{probe.code("robot: arm gantry")} {status.message}'

    probe.until(lambda: "'swing' is missing" in both(False), robot_.node, what='the missing joint')
    probe.until(lambda: both(True).startswith('OK'), robot_.node, what='OK')
    probe.until(lambda: 'swing, tilt are' in both(False), robot_.node, what='the silent part')
    assert probe.code('robot: arm gantry') == 'ROBOT_SILENT'
