"""robot_node: mirrors the arms of a robot joint by joint, and checks what they say against their models.

`<ARM>/measured_js` → checked whole → tf of every link, `<ARM>/filtered_cp`, the self-check against
`<ARM>/local/measured_cp`, and the remote centre.
"""

import re
import sys
from dataclasses import dataclass

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.covariance import inverse_covariance
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.robot.mirror import ArmMirror, MirrorConfig
from twin_nodes.io.results import read_result
from twin_nodes.io.urdf import open_robot, rotation_from_rpy
from twin_nodes.nodes.robot_arm import RobotArm
from twin_nodes.ros.health import Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import REPLAY_MEASUREMENT
from twin_nodes.ros.run import run_node

ROS_NAME = re.compile(r'[A-Za-z_]\w*', re.ASCII)
WATCH_S = 0.1


@dataclass(frozen=True)
class RobotNodeConfig:
    """Settings of robot_node."""

    arms: tuple[str, ...] = setting('Names of the arms: their topics are `<arm>/measured_js` and so on.')
    models: tuple[str, ...] = setting(
        'Model of each arm, or one for all: a published one (psm_classic, psm_si, ecm_classic, ecm_si, mtml, mtmr, '
        'raven_left, raven_right), or a URDF or xacro file.',
        ('psm_classic',),
    )
    tips: tuple[str, ...] = setting(
        'Link that each arm reports as its tip, or one for all; empty for that of the model. PSM: tip is the control '
        'point between the jaws, tool the wrist yaw axis.',
        (),
    )
    joint_topics: tuple[str, ...] = setting(
        'Topics that tell the joints of each arm, or one for all, such as /joint_states; with a space between two '
        'where some joints are told on another. Empty for `<arm>/measured_js`.',
        (),
    )
    reference_frame: str = setting('Frame in which the bases stand.', 'world')
    bases: tuple[float, ...] = setting(
        'x y z [m] and roll pitch yaw [rad] of the base of each arm in the reference frame, 6 numbers an arm; empty '
        'when somebody else places the bases: calibration/<arm>_base is then taken, with its frame.',
        (),
    )
    base_files: tuple[str, ...] = setting(
        'Result of `twin register robot` for each arm, in place of bases; empty for none.', ()
    )
    measured_cp: str = setting(
        'Who tells measured_cp: the robot, this node from the model, or this node as long as nobody else does (auto; '
        'in a replay that is the robot, so that two replays are the same).',
        'auto',
        choices=('auto', 'robot', 'model'),
    )
    silent_after: float = setting(
        'Silence after which an arm is called silent.', 0.5, unit='s', minimum=0.02, maximum=60.0
    )
    mirror: MirrorConfig = group(MirrorConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ConfigError(f'arms={list(self.arms)} must name each arm once, and at least one')
        for arm in self.arms:
            if not ROS_NAME.fullmatch(arm):
                raise ConfigError(f'arms: {arm!r} cannot be part of a topic name')
        for key, values in (('models', self.models), ('tips', self.tips), ('joint_topics', self.joint_topics)):
            if len(values) not in ((1, len(self.arms)) if key == 'models' else (0, 1, len(self.arms))):
                raise ConfigError(f'{key} has {len(values)} entries for {len(self.arms)} arms: one, or one for each')
        if len(self.bases) not in (0, 6 * len(self.arms)):
            raise ConfigError(f'bases has {len(self.bases)} numbers, expected 6 for each of {len(self.arms)} arms')
        if len(self.base_files) not in (0, len(self.arms)):
            raise ConfigError(f'base_files has {len(self.base_files)} entries for {len(self.arms)} arms')
        if self.bases and self.base_files:
            raise ConfigError('bases and base_files are both given: one says where the bases stand')


def base_of(config: RobotNodeConfig, index: int) -> tuple[Array, Array] | None:
    """Return reference_T_base and its covariance of one arm, None when it is not known.

    Raises:
        ConfigError: A file whose frames are others.
    """
    if config.base_files and config.base_files[index]:
        result = read_result(config.base_files[index], kind='robot_world', usable=True)
        base = f'{config.arms[index]}_base'
        frames = (result.parent_frame, result.child_frame)
        if frames != (base, config.reference_frame):
            raise ConfigError(
                f'{config.base_files[index]} ties {" and ".join(frames)}, expected {base} and {config.reference_frame}'
            )
        covariance = inverse_covariance(result.parent_T_child, result.covariance)
        return inverse(result.parent_T_child), covariance
    if not config.bases:
        return None
    x, y, z, roll, pitch, yaw = config.bases[6 * index : 6 * index + 6]
    return make_transform(rotation_from_rpy(roll, pitch, yaw), [x, y, z]), np.zeros((6, 6))


class RobotNode(Node):
    """Connects the topics of each arm to its mirror."""

    hears_much = True  # 1 kHz of each arm: see `run_node`

    def __init__(self, **kwargs: object) -> None:
        super().__init__('robot', **kwargs)
        self.config = config = declare_config(self, RobotNodeConfig)
        self.health = Health(self)
        replay = is_replay(self)
        broadcasters = (
            TransformBroadcaster(self, qos=REPLAY_MEASUREMENT if replay else None),
            StaticTransformBroadcaster(self),
        )
        self.arms = [self._arm(index, broadcasters, replay) for index in range(len(config.arms))]
        for arm in self.arms:
            arm.send_fixed()
        self._service = self.create_service(Trigger, '~/reset', self._on_reset)
        self._jump = on_jump_back(self, self._reset)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._watch = None if replay else self.create_timer(WATCH_S, self._on_watch, clock=steady)

    def _arm(
        self, index: int, broadcasters: tuple[TransformBroadcaster, StaticTransformBroadcaster], replay: bool
    ) -> RobotArm:
        config = self.config
        arm, model_name = config.arms[index], config.models[index if len(config.models) > 1 else 0]
        tip = config.tips[index if len(config.tips) > 1 else 0] if config.tips else ''
        try:
            model = open_robot(model_name)
            mirror = ArmMirror(model, config.mirror, arm=arm, tip=tip)
        except InputError as error:
            raise ConfigError(f'arm {arm}: {error}', code=error.code) from None
        mirror.update(mirror.reader_sample())  # the kernels are loaded here and not with the first message
        mirror.reset()
        return RobotArm(
            self, self.health, arm, model, mirror, broadcasters, reference=config.reference_frame,
            base=base_of(config, index),
            measured_cp=config.measured_cp, silent_after=config.silent_after, replay=replay,
            joint_topics=tuple(config.joint_topics[index if len(config.joint_topics) > 1 else 0].split())
            if config.joint_topics else (),
        )  # fmt: skip

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        response.success, response.message = True, 'remote centre and self-check begin anew'
        return response

    def _reset(self) -> None:
        for arm in self.arms:
            arm.reset()

    def _on_watch(self) -> None:
        for arm in self.arms:
            arm.watch()


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RobotNode))


if __name__ == '__main__':
    main()
