"""compensation_node: one per site, beside the bridge; the leader's predicts, the follower's plays."""

import sys
from dataclasses import dataclass

from rclpy.node import Node

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.passivity import FixtureConfig
from twin_nodes.core.telesurgery.task_scene import TaskSceneConfig
from twin_nodes.nodes.compensation_anatomy import AnatomyFeedConfig
from twin_nodes.nodes.compensation_follower import FollowerSide
from twin_nodes.nodes.compensation_leader import LeaderSide
from twin_nodes.ros.health import Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.run import run_node


@dataclass(frozen=True)
class CompensationNodeConfig:
    """Settings of compensation_node."""

    role: str = setting('Which site this is.', choices=('leader', 'follower'))
    arm: str = setting('Name of the arm; the topics lie under it.')
    base_frame: str = setting('Frame of the poses of the arm.')
    hand: str = setting('Leader: topic of the hand, CRTK *_cp.', 'MTM/measured_cp')
    hand_jaw: str = setting('Leader: topic of the jaw that the hand asks for, CRTK *_js.', 'MTM/gripper/measured_js')
    rate: float = setting('Commands and set points per second.', 200.0, unit='Hz', minimum=20.0, maximum=1000.0)
    hand_silent: float = setting(
        'Leader: a hand that says nothing this long commands nothing.', 0.05, unit='s', minimum=0.01, maximum=0.09
    )
    planes: tuple[float, ...] = setting(
        'Follower: fences; a point [m] and the unit normal to the allowed side of each, six numbers.', ()
    )
    replay_blind: bool = setting('Follower: replay although nobody says how far twin and reality are apart.', False)
    robot_silent: float = setting(
        'Follower: a robot that says nothing for this long is let go; it begins anew where it then stands.', 0.08,
        unit='s', minimum=0.02, maximum=1.0,
    )  # fmt: skip
    max_deviation: float = setting(
        'Follower: a robot this far from where it was told to be gets no more commands.', 0.01, unit='m', minimum=1e-4,
        maximum=0.5,
    )  # fmt: skip
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)
    anatomy: AnatomyFeedConfig = group(AnatomyFeedConfig)
    fixture: FixtureConfig = group(FixtureConfig)
    leader: LeaderConfig = group(LeaderConfig)
    follower: FollowerConfig = group(FollowerConfig)
    task: TaskSceneConfig = group(TaskSceneConfig)

    def __post_init__(self) -> None:
        if not self.arm or not self.base_frame:
            raise ConfigError('arm and base_frame must be named')
        if len(self.planes) % 6:
            raise ConfigError(f'planes has {len(self.planes)} numbers; each plane needs six')


class CompensationNode(Node):
    """One side of the compensation."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('compensation', **kwargs)
        self.config = config = declare_config(self, CompensationNodeConfig)
        self.health = Health(self)
        self.side = LeaderSide(self, config) if config.role == 'leader' else FollowerSide(self, config)
        for kind, topic, callback, qos in self.side.inputs():
            self.create_subscription(kind, topic, callback, qos)


def main() -> None:
    """Run the node."""
    sys.exit(run_node(CompensationNode))


if __name__ == '__main__':
    main()
