"""simulated_liver_node: a liver-like organ with tracked tools and a camera, for demos; it also says the truth."""

import sys
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool, Header
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.liver_scene import (
    DURATION,
    GRASPER,
    PROBE,
    TOOL_SIGMA,
    LiverScene,
    LiverSceneConfig,
    LiverState,
    tool_T_tip,
)
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.anatomy_clouds import targets_cloud
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.clouds import cloud_from_array
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, transform_stamped
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.pose_output import PoseOutput
from twin_nodes.ros.qos import LATCHED, MEASUREMENT
from twin_nodes.ros.run import run_node

TRUTH = 'truth/targets'
_SETTLE_NS = 3 * NANOSECONDS  # what is sent in the first two seconds after a match may come late or never
_POSE = np.diag([TOOL_SIGMA**2] * 3 + [1e-7] * 3)
_TIE = np.diag([1e-8] * 3 + [1e-8] * 3)


@dataclass(frozen=True)
class SimulatedLiverNodeConfig:
    """Settings of simulated_liver_node."""

    patient: str = setting('Name of the reference body on the patient.')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the anatomy.', 'anatomy')
    rate_hz: float = setting('Poses of each tool per second.', 30.0, unit='Hz', minimum=5.0, maximum=100.0)
    listeners: int = setting('Subscribers of the tools to wait for before the scene starts.', 0, minimum=0)
    patience: float = setting('Start without them after this time.', 60.0, unit='s', minimum=0.0, maximum=600.0)
    scene: LiverSceneConfig = group(LiverSceneConfig)


class SimulatedLiverNode(Node):
    """Plays the scene once its listeners are there, and publishes what an operating room would."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('simulated_liver', **kwargs)
        self.config = config = declare_config(self, SimulatedLiverNodeConfig)
        if config.patient in (GRASPER, PROBE):
            raise ConfigError(f'patient={config.patient!r} is the name of a tool of the scene')
        self.health = Health(self, hardware_id='simulator')
        self.scene = LiverScene(config.scene)
        create = self.create_publisher
        self._poses = {
            name: PoseOutput(self, name, config.tracker_frame) for name in (config.patient, GRASPER, PROBE)
        }  # fmt: skip
        self._grasp = create(Bool, f'{GRASPER}/grasp', 1)
        self._cloud = create(PointCloud2, 'anatomy/observed', MEASUREMENT)
        self._truth = create(PointCloud2, TRUTH, MEASUREMENT)
        self._start = create(Header, 'liver/start', LATCHED)
        self._tf, self._fixed = TransformBroadcaster(self), StaticTransformBroadcaster(self)
        self._ties = self._say_ties()
        self._waiting_ns = self._started_ns = self._ready_ns = 0
        self._elapsed, self._closed = 0.0, False
        self._sent = {'clouds': 0, 'wrong_clouds': 0}
        self.health.set('scene', OK, 'OK', 'waiting for listeners')
        self._timer = self.create_timer(1.0 / config.rate_hz, self._on_timer)

    def destroy_node(self) -> None:
        """End the thread of the solver, then the node."""
        if hasattr(self, 'scene'):
            self.scene.close()
        super().destroy_node()

    def _say_ties(self) -> list[object]:
        """Publish what is known beforehand: the tips of the tools, and where the anatomy is by a rigid registration."""
        config, scene, said = self.config, self.scene, []
        ties = {f'calibration/{tool}': (tool, tool_T_tip(), _TIE) for tool in (GRASPER, PROBE)}
        ties['registration'] = (config.patient, scene.registration, scene.registration_covariance)
        for topic, (frame, pose, covariance) in ties.items():
            publisher = self.create_publisher(PoseWithCovarianceStamped, topic, LATCHED)
            publisher.publish(pose_with_covariance(0, frame, pose, covariance))
            said.append(publisher)
        now_ns = self._now_ns()
        self._fixed.sendTransform(
            [
                transform_stamped(now_ns, config.patient, config.anatomy_frame, scene.registration),
                *(transform_stamped(now_ns, tool, f'{tool}_tip', tool_T_tip()) for tool in (GRASPER, PROBE)),
            ]
        )
        return said

    def _now_ns(self) -> int:
        return clock_ns(self)

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        if not self._started_ns and not self._is_ready(now_ns):
            return
        elapsed = (now_ns - self._started_ns) / NANOSECONDS
        if elapsed <= self._elapsed or elapsed > DURATION:
            return
        state = self.scene.step(elapsed)
        self._say(now_ns, state)
        self._look(now_ns, state, self._elapsed, elapsed)
        self._elapsed = elapsed

    def _is_ready(self, now_ns: int) -> bool:
        """Whether the listeners have been there for a while; then the scene starts."""
        self._waiting_ns = self._waiting_ns or now_ns
        there = min(self._poses[tool].listeners()[1] for tool in (GRASPER, PROBE))
        late = now_ns - self._waiting_ns > self.config.patience * NANOSECONDS
        if there < self.config.listeners and not late:
            return False
        self._ready_ns = self._ready_ns or now_ns
        if now_ns - self._ready_ns < _SETTLE_NS:
            return False
        self._started_ns = now_ns
        self._start.publish(Header(stamp=ns_to_stamp(now_ns), frame_id=self.config.anatomy_frame))
        self.health.set('scene', OK, 'OK', 'the scene starts', dict(self._sent))
        return True

    def _say(self, now_ns: int, state: LiverState) -> None:
        scene, poses = self.scene, {self.config.patient: self.scene.tracker_T_patient}
        poses |= {tool: scene.tool_pose(state, tool) for tool in (GRASPER, PROBE)}
        edges = []
        for name, pose in poses.items():
            self._poses[name].publish_measured(now_ns, pose)
            edges.append(self._poses[name].publish_filtered(now_ns, pose, _POSE))
        self._tf.sendTransform(edges)
        places = scene.in_patient(state.targets)
        self._truth.publish(targets_cloud(now_ns, self.config.patient, places, np.zeros((len(places), 3, 3))))
        if state.closed is not self._closed:
            self._closed = state.closed
            self._grasp.publish(Bool(data=state.closed))

    def _look(self, now_ns: int, state: LiverState, since: float, until: float) -> None:
        """Publish a cloud when one is due, good or wrong."""
        wrong = self.scene.wrong(since, until)
        if not wrong and not self.scene.is_due(since, until):
            return
        points = self.scene.cloud(state, wrong)
        self._cloud.publish(cloud_from_array(now_ns, self.config.tracker_frame, _packed(points)))
        self._sent['wrong_clouds' if wrong else 'clouds'] += 1
        text = f'the cloud at {until:.1f} s is wrong: {wrong}' if wrong else 'the scene runs'
        self.health.set('scene', OK, 'OK', text, dict(self._sent))


def _packed(points: Array) -> np.ndarray:
    packed = np.zeros(len(points), [(name, np.float32) for name in 'xyz'])
    for axis, name in enumerate('xyz'):
        packed[name] = points[:, axis]
    return packed


def main() -> None:
    """Run the node."""
    sys.exit(run_node(SimulatedLiverNode))


if __name__ == '__main__':
    main()
