"""anatomy_pose_node: where the anatomy is, from tf, as a pose that crosses a bridge and spares the guards tf."""

import sys
from dataclasses import dataclass

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformException, TransformListener

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.urdf import rotation_from_rpy
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import matrix_of, pose_stamped, stamp_to_ns, transform_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import MEASUREMENT
from twin_nodes.ros.run import run_node


@dataclass(frozen=True)
class AnatomyPoseConfig:
    """Settings of anatomy_pose_node."""

    base_frame: str = setting('Frame in which the pose is told; the one that the robot is commanded in.')
    anatomy_frame: str = setting('Frame of the anatomy.', 'anatomy')
    fixed: tuple[float, ...] = setting(
        'x y z [m] and roll pitch yaw [rad] where the anatomy does not move; it is then told to tf. Empty: from tf.', ()
    )
    rate: float = setting('Poses per second.', 20.0, unit='Hz', minimum=1.0, maximum=200.0)
    max_age: float = setting('A transform older than this is not told.', 0.3, unit='s', minimum=0.01, maximum=10.0)
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)

    def __post_init__(self) -> None:
        if len(self.fixed) not in (0, 6):
            raise ConfigError(f'fixed has {len(self.fixed)} numbers; a pose has six')


class AnatomyPoseNode(Node):
    """Publishes `anatomy/measured_cp`; silent while nobody knows."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('anatomy_pose', **kwargs)
        self.config = config = declare_config(self, AnatomyPoseConfig)
        self.health = Health(self)
        self._output = self.create_publisher(PoseStamped, 'anatomy/measured_cp', MEASUREMENT)
        self._fixed: Array | None = None
        if config.fixed:
            x, y, z, roll, pitch, yaw = config.fixed
            self._fixed = make_transform(rotation_from_rpy(roll, pitch, yaw), [x, y, z])
            self._tf = StaticTransformBroadcaster(self)
            now_ns = clock_ns(self)
            self._tf.sendTransform(transform_stamped(now_ns, config.base_frame, config.anatomy_frame, self._fixed))
        else:
            self._buffer = Buffer()
            self._listener = TransformListener(self._buffer, self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / config.rate, self._on_timer, clock=steady)

    def _on_timer(self) -> None:
        config = self.config
        now_ns = clock_ns(self)
        pose, stamp_ns = self._fixed, now_ns
        if pose is None:
            try:
                edge = self._buffer.lookup_transform(config.base_frame, config.anatomy_frame, Time())
                pose = matrix_of(edge.transform.translation, edge.transform.rotation, name=config.anatomy_frame)
            except (TransformException, InputError) as error:
                self.health.set('pose', WARN, 'ANATOMY_UNPLACED', str(error))
                return
            stamp_ns = stamp_to_ns(edge.header.stamp) or now_ns  # a chain that is fixed altogether holds now too
            age = (now_ns - stamp_ns) / NANOSECONDS
            if age > config.max_age:
                text = f'{config.base_frame} to {config.anatomy_frame} is {age:.2f} s old, limit {config.max_age:g} s'
                self.health.set('pose', WARN, 'ANATOMY_UNPLACED', text)
                return
        self._output.publish(pose_stamped(stamp_ns, config.base_frame, pose))
        self.health.set('pose', OK, 'OK', f'{config.anatomy_frame} in {config.base_frame}')


def main() -> None:
    """Run the node."""
    sys.exit(run_node(AnatomyPoseNode))


if __name__ == '__main__':
    main()
