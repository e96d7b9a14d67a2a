"""One arm within robot_node: its topics in and out, around one `ArmMirror`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped, PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import compose_covariance
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.robot.joint_reading import JointSample
from twin_nodes.core.robot.mirror import ArmMirror, Mirrored
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.nodes.robot_told import OperatingState, ToldOfArm
from twin_nodes.ros.clock import clock_ns, live_clock
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_with_covariance, transform_stamped
from twin_nodes.ros.crtk import CrtkPoseInput, take_joints
from twin_nodes.ros.edge_messages import EdgeMessages
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.qos import LATCHED, latched, measurement, measurement_subscription
from twin_nodes.ros.robot_markers import STEEL, robot_markers
from twin_nodes.ros.ties import tie_from

KEPT = 400  # joint samples that wait for the pose of the same stamp
PAIR_NS = 1_500_000  # poses are compared with joints of the same instant; at 20 mm/s this is 0.03 mm


class RobotArm:
    """Connects the topics of one arm to its mirror.

    Args:
        node: The node.
        health: Its health.
        arm: Name of the arm.
        model: Its model.
        mirror: Its mirror.
        broadcasters: For moving and for fixed edges.
        reference: Frame in which the base stands.
        base: reference_T_base with its covariance; None when somebody else places the base: `calibration/<arm>_base`
            is then taken for it.
        measured_cp: Who tells measured_cp; see the settings of robot_node.
        silent_after: Silence after which the robot is called silent [s].
        replay: Whether a recording is replayed.
        joint_topics: Where the joints are told; `<arm>/measured_js` when empty.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        arm: str,
        model: RobotModel,
        mirror: ArmMirror,
        broadcasters: tuple[TransformBroadcaster, StaticTransformBroadcaster],
        *,
        reference: str,
        base: tuple[Array, Array] | None,
        measured_cp: str,
        silent_after: float,
        replay: bool,
        joint_topics: tuple[str, ...] = (),
    ) -> None:
        self._node, self._health, self.arm, self._model, self.mirror = node, health, arm, model, mirror
        self._tf, self._fixed_tf = broadcasters
        self._reference, self._base = reference, base
        self._now_ns = live_clock(node)
        self._silent_after = silent_after
        self._heard_s = time.monotonic()
        self._refused: tuple[float, InputError | None] = (0.0, None)
        self._state = ''
        self._joints: dict[int, Array] = {}
        self._local_heard = False
        self._edges = EdgeMessages(self.frame)
        self.newest: Mirrored | None = None
        qos = measurement(replay=replay)
        self._filtered = node.create_publisher(PoseWithCovarianceStamped, f'{arm}/filtered_cp', qos)
        self._rcm_deviation = node.create_publisher(Float64, f'{arm}/rcm_deviation', qos)
        self._rcm = node.create_publisher(PointStamped, f'{arm}/rcm', LATCHED)
        self._model_output = node.create_publisher(MarkerArray, f'{arm}/model', LATCHED)
        self._model_output.publish(robot_markers(model, self.frame, colour=STEEL))
        taken = measurement_subscription(replay=replay)
        self._told: ToldOfArm | None = None
        if measured_cp == 'model' or (measured_cp == 'auto' and not replay):
            self._told = ToldOfArm(
                node, arm, mirror.chain, self.frame(model.root), reader=mirror.setpoint_reader, health=health, qos=qos,
                taken=taken, at_once=measured_cp == 'model',
            )  # fmt: skip
        self._operating = OperatingState(node, health, arm, replay=replay)
        for topic in joint_topics or (f'{arm}/measured_js',):
            node.create_subscription(JointState, topic, self._on_joints, taken)
        node.create_subscription(JointState, f'{arm}/jaw/measured_js', self._on_jaw, taken)
        if base is None:
            kind, quality = PoseWithCovarianceStamped, latched(replay=replay)
            node.create_subscription(kind, f'calibration/{arm}_base', self._on_base, quality)
        self._inputs = [
            CrtkPoseInput(node, f'{arm}/{topic}', lambda m, local=local: self._on_pose(m, local), taken)
            for topic, local in (('local/measured_cp', True), ('measured_cp', False))
        ]
        self._say_robot('ROBOT_SILENT', 'no measured_js yet')
        self._say_check()

    def frame(self, link: str) -> str:
        """Return the frame of a link: the root is <arm>_base, the tip <arm>_tip."""
        if link == self._model.root:
            return f'{self.arm}_base'
        if link == self.mirror.chain.tip and 'tip' not in self._model.links:
            return f'{self.arm}_tip'
        return f'{self.arm}_{link}'

    def reset(self) -> None:
        """Forget what was learned, after a jump of the clock or when a person asks."""
        self.mirror.reset()
        self._joints.clear()
        self.newest = None
        self._say_check()

    def _on_base(self, message: PoseWithCovarianceStamped) -> None:
        """Take the place of the base from who measured it; that node has it on tf as well."""
        try:
            tie = tie_from(message, frame=None, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', f'calibration/{self.arm}_base: {error}')
            return
        frame, check = message.header.frame_id, f'base {self.arm}'
        if tie.withdrawn:
            self._base = None
            self._health.set(check, WARN, 'NOT_CALIBRATED', f'its place in {frame} was withdrawn: told in the base')
            return
        self._reference, self._base = frame, (tie.pose, tie.covariance)
        sigma = float(np.sqrt(np.trace(tie.covariance[:3, :3]))) * 1e3
        self._health.set(check, OK, 'OK', f'placed in {frame}, σ {sigma:.2f} mm', {'position_sigma_mm': sigma})

    def send_fixed(self) -> None:
        """Publish what does not move: fixed links, and the base where its place is known."""
        now_ns = clock_ns(self._node)
        edges = [(self.frame(a), self.frame(b), pose) for a, b, pose in self.mirror.fixed_edges()]
        # the frame of the arm itself, where filtered_cp is, as for any tool
        edges.append((self.frame(self.mirror.chain.tip), self.arm, np.eye(4)))
        if self._base is not None:
            edges.append((self._reference, self.frame(self._model.root), self._base[0]))
        self._fixed_tf.sendTransform([transform_stamped(now_ns, *edge) for edge in edges])

    def watch(self) -> None:
        """Notice silence, or that all is refused; called now and then."""
        silence = time.monotonic() - self._heard_s
        if silence > self._silent_after and self._state in ('OK', 'ROBOT_INVALID'):
            self.newest = None
            since, error = self._refused
            if error is not None and since > self._heard_s:
                self._say_robot(error.code, str(error))
            else:
                why = self.mirror.joints.waits_for()
                text = f'no good measured_js for {silence:.1f} s{f": {why}" if why else ""}'
                self._say_robot('ROBOT_SILENT', text)

    def _on_joints(self, message: JointState) -> None:
        if self.mirror.others:
            self.mirror.set_others(dict(zip(message.name, message.position, strict=False)))
        try:
            samples = take_joints(message, self.mirror.joints, now_ns=self._now_ns())
        except InputError as error:
            self._refuse(error, 'measured_js')
            return
        for sample in samples:
            self._take(sample)

    def _take(self, sample: JointSample) -> None:
        self._heard_s = time.monotonic()
        self.newest = mirrored = self.mirror.update(sample)
        self._joints[sample.stamp_ns] = sample.positions
        while len(self._joints) > KEPT:
            del self._joints[next(iter(self._joints))]
        self._publish(sample, mirrored)
        if self._state != 'OK':
            self._say_robot('OK', f'{len(self.mirror.chain)} joints mirrored, {len(mirrored.edges)} moving links on tf')

    def _on_jaw(self, message: JointState) -> None:
        if len(message.position) == 1 and np.isfinite(message.position[0]):
            self.mirror.set_others({'jaw': message.position[0]})
        else:
            self._health.warn('JOINTS_WRONG', f'{self.arm}/jaw/measured_js: expected one finite position')

    def _on_pose(self, message: Any, local: bool) -> None:
        topic = 'local/measured_cp' if local else 'measured_cp'
        if not local and self._local_heard:
            return  # one pose of each instant is enough, and that in the base is the one without a doubt
        self._local_heard = local
        try:
            self.mirror.reader.check_frame(message.header.frame_id)
            record = pose_from(message, frame=None, now_ns=self._now_ns())
            base_T_tip = self._in_base(record.frame, record.pose, local)
        except InputError as error:
            if error.code != 'STAMP_ZERO':
                self._health.warn(f'{error.code}', f'{self.arm}/{topic}: {error}')
            return
        positions = self._joints.get(record.stamp_ns)
        if positions is None:
            positions = self._nearby(record.stamp_ns)
        if positions is not None and base_T_tip is not None:
            if self.mirror.check.add(record.stamp_ns, positions, base_T_tip):
                self._say_check()
        elif base_T_tip is None and not self._inputs[0].is_heard and not self.mirror.check.state.enough:
            self._say_check(
                f'measured_cp is told in {record.frame!r}, whose place against the base is not known; publish '
                'local/measured_cp'
            )

    def _in_base(self, frame: str, pose: Array, local: bool) -> Array | None:
        """Return base_T_tip, or None for a pose in a camera or another frame whose place is not known."""
        if local or frame == self.frame(self._model.root):
            return pose
        if frame == self._reference and self._base is not None:
            return np.asarray(inverse(self._base[0]) @ pose)
        return None

    def _nearby(self, stamp_ns: int) -> Array | None:
        """Return the positions at a stamp between two joint states, interpolated, or those of one next to it."""
        earlier = max((s for s in self._joints if s <= stamp_ns), default=None)
        later = min((s for s in self._joints if s >= stamp_ns), default=None)
        if earlier is not None and later is not None and later - earlier < 0.1 * NANOSECONDS:
            share = (stamp_ns - earlier) / max(later - earlier, 1)
            return np.asarray(self._joints[earlier] * (1.0 - share) + self._joints[later] * share)
        beside = earlier if earlier is not None else later
        if beside is not None and abs(beside - stamp_ns) <= PAIR_NS:
            return self._joints[beside]
        return None

    def _publish(self, sample: JointSample, mirrored: Mirrored) -> None:
        stamp_ns = mirrored.stamp_ns
        if mirrored.edges:
            self._tf.pub_tf.publish(self._edges.fill(stamp_ns, mirrored.edges))
        frame, pose, covariance = self.frame(self._model.root), mirrored.base_T_tip, mirrored.covariance
        if self._base is not None:
            covariance = compose_covariance(*self._base, pose, covariance)
            frame, pose = self._reference, self._base[0] @ pose
        self._filtered.publish(pose_with_covariance(stamp_ns, frame, pose, covariance))
        if self._told is not None:
            place = None if self._base is None else (self._reference, self._base[0])
            self._told.say(sample, mirrored.base_T_tip, place)
        self._say_rcm(mirrored)

    def _refuse(self, error: InputError, topic: str) -> None:
        if error.code == 'STAMP_ZERO':
            self.newest = None
            self._heard_s = time.monotonic()
            self._say_robot('ROBOT_INVALID', 'the robot marks its own state as invalid')
            return
        self._refused = (time.monotonic(), error)
        self._health.warn(error.code, f'{self.arm}/{topic}: {error}')
        if self._state != 'OK':
            self._say_robot(error.code, str(error))

    def _say_robot(self, code: str, message: str) -> None:
        self._state = code
        level = OK if code == 'OK' else WARN if code == 'ROBOT_INVALID' else ERROR
        self._health.set(f'arm {self.arm}', level, code, message)

    def _say_check(self, waiting: str = '') -> None:
        state, check = self.mirror.check.state, f'self-check {self.arm}'
        values: dict[str, object] = {
            'position_rms_mm': state.position_rms * 1e3,
            'rotation_rms_deg': float(np.degrees(state.rotation_rms)),
            'blocks': state.blocks,
        }
        if not state.enough:
            text = waiting or self.mirror.names.state(state)
            self._health.set(check, OK, 'SELF_CHECK_WAITS', text, values)
        elif state.causes:
            self._health.set(check, ERROR, 'ROBOT_OFFSET', self.mirror.names.state(state), values)
        elif state.unexplained:
            self._health.set(check, WARN, 'ROBOT_OFFSET', self.mirror.names.state(state), values)
        else:
            self._health.set(check, OK, 'OK', self.mirror.names.state(state), values)

    def _say_rcm(self, mirrored: Mirrored) -> None:
        watch, check = self.mirror.rcm, f'remote centre {self.arm}'
        if watch is None:
            return
        if mirrored.rcm_deviation is None or watch.estimate is None:
            if watch.estimate is None:
                self._health.set(check, OK, 'LEARNING', watch.missing)
            else:
                point = PointStamped()
                point.header.stamp = ns_to_stamp(mirrored.stamp_ns)
                point.header.frame_id = self.frame(self._model.root)
                point.point.x, point.point.y, point.point.z = (float(v) for v in watch.estimate.centre)
                self._rcm.publish(point)
            return
        self._rcm_deviation.publish(Float64(data=mirrored.rcm_deviation))
        values: dict[str, object] = {'deviation_mm': mirrored.rcm_deviation * 1e3}
        if watch.moved:
            text = f'the shaft misses the remote centre by {mirrored.rcm_deviation * 1e3:.1f} mm'
            self._health.set(check, ERROR, 'RCM_MOVED', text, values)
        else:
            self._health.set(check, OK, 'OK', 'the shaft passes its remote centre', values)
