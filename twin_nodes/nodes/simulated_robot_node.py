"""simulated_robot_node: arms that speak CRTK as a da Vinci with the dVRK does, and a script that moves pegs."""

import sys
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_ros import TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.simulate.arm_sweep import TrackedTip, sweep
from twin_nodes.core.simulate.peg_transfer import LEFT, RIGHT, RING_HEIGHT, Board, Operator, pegs
from twin_nodes.core.simulate.psm import SimulatedArmConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.urdf import open_robot, rotation_from_rpy
from twin_nodes.nodes.simulated_arm import SimulatedArmTopics
from twin_nodes.ros.conversions import ns_to_stamp, pose_array, pose_stamped, transform_stamped
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.peg_markers import board_markers
from twin_nodes.ros.qos import LATCHED, MEASUREMENT
from twin_nodes.ros.run import run_node

_TELL_NS = 30_000_000


@dataclass(frozen=True)
class SimulatedRobotNodeConfig:
    """Settings of simulated_robot_node."""

    arms: tuple[str, ...] = setting('Names of the arms; the first is the right one, the second the left one.')
    bases: tuple[float, ...] = setting(
        'x y z [m] and roll pitch yaw [rad] of the base of each arm in the reference frame, 6 numbers an arm.'
    )
    model: str = setting('Model of the arms: a published one, or a URDF or xacro file.', 'psm_classic')
    reference_frame: str = setting('Frame in which measured_cp is told and the bases stand.', 'world')
    rate_hz: float = setting('Messages of each kind per second.', 100.0, unit='Hz', minimum=1.0, maximum=1000.0)
    task: str = setting(
        'What the arms do: peg_transfer by themselves; sweep: all joints swing, as a calibration wants it; board and '
        'none leave them to commands, with and without rings.',
        'peg_transfer', choices=('peg_transfer', 'sweep', 'board', 'none'),
    )  # fmt: skip
    bodies: tuple[str, ...] = setting(
        'Bodies on the tips that a simulated tracker sees, one for each arm: `<body>/measured_cp`; empty for none.', ()
    )
    tracker: tuple[float, ...] = setting(
        'x y z [m] and roll pitch yaw [rad] of that tracker in the reference frame.', (0.2, -1.0, 1.2, -2.4, 0.1, 0.2)
    )
    tracker_frame: str = setting('Its frame.', 'tracker')
    tracker_position_noise: float = setting('Noise of each axis.', 0.0001, unit='m', minimum=0.0, maximum=0.1)
    tracker_rotation_noise: float = setting('Noise about each axis.', 0.001, unit='rad', minimum=0.0, maximum=0.5)
    rings: int = setting('Rings on the board.', 6, minimum=1, maximum=6)
    speed: float = setting('Pace of the operator; 1 takes about 5 s a ring.', 1.0, minimum=0.1, maximum=3.0)
    listeners: int = setting('Subscribers of measured_js to wait for before the task starts.', 0, minimum=0)
    patience: float = setting('Start without them after this time.', 15.0, unit='s', minimum=0.0, maximum=600.0)
    seed: int = setting('Seed of all noise.', 1, minimum=0)
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', False)
    command_age: float = setting(
        'Older commands are refused: the arm would go back to where a hand once was.', 1.0, unit='s', minimum=0.01,
        maximum=10.0,
    )  # fmt: skip
    unstamped_commands: bool = setting(
        'Take commands with stamp 0, as clients of CRTK before 2026 send them; how old they are is then not known.',
        False,
    )  # fmt: skip
    arm: SimulatedArmConfig = group(SimulatedArmConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ConfigError(f'arms={list(self.arms)} must name each arm once, and at least one')
        if len(self.bases) != 6 * len(self.arms):
            raise ConfigError(f'bases has {len(self.bases)} numbers, expected 6 for each of {len(self.arms)} arms')
        if self.task == 'peg_transfer' and len(self.arms) != 2:
            raise ConfigError(f"task='peg_transfer' needs two arms, arms names {len(self.arms)}; set task: none")
        if len(self.bodies) not in (0, len(self.arms)):
            raise ConfigError(f'bodies has {len(self.bodies)} entries for {len(self.arms)} arms: one for each, or none')
        if len(self.tracker) != 6:
            raise ConfigError(f'tracker has {len(self.tracker)} numbers, expected 6')
        if self.task == 'board' and len(self.arms) > 2:
            raise ConfigError(f"task='board' is for one arm or two, arms names {len(self.arms)}; set task: none")


def placed_at(numbers: tuple[float, ...]) -> Array:
    """Return the pose of x y z [m] and roll pitch yaw [rad], shape (4, 4)."""
    x, y, z, roll, pitch, yaw = numbers
    return make_transform(rotation_from_rpy(roll, pitch, yaw), [x, y, z])


class SimulatedRobotNode(Node):
    """Steps the arms, lets the script act, and publishes what a robot would."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('simulated_robot', **kwargs)
        self.config = config = declare_config(self, SimulatedRobotNodeConfig)
        self.health = Health(self, hardware_id='simulator')
        try:
            model = open_robot(config.model)
        except InputError as error:
            raise ConfigError(f'model: {error}', code=error.code) from None
        rng = np.random.default_rng(config.seed)
        self.arms = []
        for index, name in enumerate(config.arms):
            base = placed_at(config.bases[6 * index : 6 * index + 6])
            self.arms.append(
                SimulatedArmTopics(
                    self,
                    self.health,
                    name,
                    model,
                    config.arm,
                    rng,
                    config.reference_frame,
                    base,
                    takes_commands=config.task in ('board', 'none'),
                    max_age=config.command_age,
                    unstamped=config.unstamped_commands,
                )
            )
        self._tracked = TrackedTip(
            placed_at(config.tracker), position_noise=config.tracker_position_noise,
            rotation_noise=config.tracker_rotation_noise, rng=rng,
        )  # fmt: skip
        self._seen = [self.create_publisher(PoseStamped, f'{body}/measured_cp', MEASUREMENT) for body in config.bodies]
        self._homes = [arm.simulated.setpoint.copy() for arm in self.arms]
        self._tf = TransformBroadcaster(self)
        self._started_ns: int | None = None
        self._waiting_since_ns = self.get_clock().now().nanoseconds
        self._start = self.create_publisher(Header, 'task/start', LATCHED)
        self._prepare_task()
        self._timer = self.create_timer(1.0 / config.rate_hz, self._on_timer)

    @property
    def _has_board(self) -> bool:
        return self.config.task in ('peg_transfer', 'board')

    def _prepare_task(self) -> None:
        self.operator = Operator(self.config.rings, self.config.speed)
        self.board = Board(self.config.rings)
        self._told_ns = 0
        self._down = self.arms[0].simulated.true_tip()[:3, :3]
        if self._has_board:
            self._model = self.create_publisher(MarkerArray, 'task/model', LATCHED)
            self._model.publish(board_markers(self.config.reference_frame, self.config.rings))
            self._objects = self.create_publisher(PoseArray, 'task/objects', MEASUREMENT)
            self._targets = self.create_publisher(PoseArray, 'task/targets', MEASUREMENT)
            self.health.set('task', OK, 'OK', 'waiting for listeners', {'rings_transferred': 0, 'rings_dropped': 0})

    def _on_timer(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        elapsed = self._elapsed(now_ns) if self.config.task in ('peg_transfer', 'sweep') else None
        if elapsed is not None and self.config.task == 'peg_transfer':
            self._work(elapsed)
        elif elapsed is not None:
            for arm, home in zip(self.arms, self._homes, strict=True):
                arm.simulated.servo_jp(sweep(arm.simulated.chain, home, elapsed * self.config.speed))
        for arm in self.arms:
            arm.simulated.step(1.0 / self.config.rate_hz)
        if self._has_board:
            self._move_rings(now_ns)
        for arm in self.arms:
            arm.publish(now_ns)
        for arm, seen in zip(self.arms, self._seen, strict=False):
            pose = self._tracked.see(arm.base @ arm.simulated.true_tip())
            seen.publish(pose_stamped(now_ns, self.config.tracker_frame, pose))

    def _elapsed(self, now_ns: int) -> float | None:
        """Return the time since the arms began [s], once somebody listens."""
        if self._started_ns is None:
            there = min(self.count_subscribers(f'{arm.name}/measured_js') for arm in self.arms)
            late = now_ns - self._waiting_since_ns > self.config.patience * NANOSECONDS
            if there < self.config.listeners and not late:
                return None
            self._started_ns = now_ns
            self._start.publish(Header(stamp=ns_to_stamp(now_ns), frame_id=self.config.reference_frame))
        return (now_ns - self._started_ns) / NANOSECONDS

    def _work(self, elapsed: float) -> None:
        """Let the operator command both arms."""
        for side, arm in zip((RIGHT, LEFT), self.arms, strict=True):
            position, jaw = self.operator.at(side, elapsed)
            try:
                arm.simulated.servo_cp(inverse(arm.base) @ make_transform(self._down, position))
                arm.simulated.servo_jaw(jaw)
            except InputError as error:
                self.health.warn(error.code or 'UNREACHABLE', f'{arm.name}: {error}')

    def _move_rings(self, now_ns: int) -> None:
        sides = dict(zip((RIGHT, LEFT), self.arms, strict=False))
        self.board.update(
            {side: arm.base @ arm.simulated.true_tip() for side, arm in sides.items()},
            {side: arm.simulated.jaw for side, arm in sides.items()},
        )
        frame = self.config.reference_frame
        self._tf.sendTransform(
            [
                transform_stamped(now_ns, frame, f'ring_{index}', ring.pose)
                for index, ring in enumerate(self.board.rings)
            ]
        )
        if now_ns - self._told_ns >= _TELL_NS:
            self._told_ns = now_ns
            rings = np.array([ring.pose[:3, 3] for ring in self.board.rings])
            self._objects.publish(pose_array(now_ns, frame, rings))
            self._targets.publish(pose_array(now_ns, frame, pegs(RIGHT) + np.array([0.0, 0.0, 0.5 * RING_HEIGHT])))
        done = self.board.transferred()
        if self._started_ns is not None or self.config.task == 'board':
            values: dict[str, object] = {'rings_transferred': done, 'rings_dropped': self.board.dropped}
            self.health.set('task', OK, 'OK', f'{done} of {self.config.rings} rings transferred', values)


def main() -> None:
    """Run the node."""
    sys.exit(run_node(SimulatedRobotNode))


if __name__ == '__main__':
    main()
