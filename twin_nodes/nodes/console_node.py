"""console_node: a simulated surgeon's console: a hand that works by what the screen shows, and asks for resumption."""

import sys
import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, String

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.peg_transfer import OPEN
from twin_nodes.core.simulate.servo_hand import Goal, ServoHand, ServoHandConfig, circle_goals, peg_goals
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_stamped
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION
from twin_nodes.ros.run import run_node

MOVES_IN = ('connected', 'degraded', 'outage', 'hold', 'catch-up')
TRIES = 3
_AGAIN_NS = 2 * NANOSECONDS  # longer than any link takes to answer
_SAY_S = 1.0


@dataclass(frozen=True)
class ConsoleNodeConfig:
    """Settings of console_node."""

    arm: str = setting('Name of the arm that is worked with; its topics lie under it.')
    shown: str = setting('Topic of the tip that the screen shows, *_cp.', 'PSM1/predicted_cp')
    hand: str = setting('Topic of the hand, CRTK *_cp.', 'MTM/measured_cp')
    hand_jaw: str = setting('Topic of the jaw that the hand asks for, CRTK *_js.', 'MTM/gripper/measured_js')
    frame: str = setting('Frame of the poses.', 'world')
    rate: float = setting('Poses of the hand per second.', 200.0, unit='Hz', minimum=20.0, maximum=1000.0)
    task: str = setting('What he does: moves rings, or goes round and round.', 'pegs', choices=('pegs', 'circle'))
    centre: tuple[float, ...] = setting('Centre of the circle.', (0.0, -0.02, 0.045), unit='m')
    radius: float = setting('Its radius.', 0.02, unit='m', minimum=0.001, maximum=0.2)
    rings: int = setting('Rings to move from the left pegs to the right ones.', 6, minimum=0, maximum=6)
    rounds: int = setting('How often all of it, one after the other.', 1, minimum=1, maximum=100000)
    touch: tuple[float, ...] = setting('A point that he tries to reach after each ring; none when empty.', (), unit='m')
    resume: str = setting(
        'What he asks for when the link is back.', 'replay', choices=('replay', 'follow', 'discard', 'none')
    )
    decide: float = setting('How long he takes to ask.', 0.5, unit='s', minimum=0.0, maximum=60.0)
    through_outages: bool = setting('Whether he goes on in the twin while the link is lost.', True)
    seed: int = setting('Seed of the tremor.', 1, minimum=0)
    realtime: bool = setting('Run with SCHED_FIFO where the system allows it: other work does not delay it.', True)
    operator: ServoHandConfig = group(ServoHandConfig)

    def __post_init__(self) -> None:
        if len(self.touch) not in (0, 3) or len(self.centre) != 3:
            raise ConfigError(f'touch={list(self.touch)} and centre={list(self.centre)}: a point has three numbers')


class ConsoleNode(Node):
    """Publishes the hand; works once the robot follows."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('console', **kwargs)
        self.config = config = declare_config(self, ConsoleNodeConfig)
        self.health = Health(self, hardware_id='simulator')
        goals = self._goals()
        self._count = len(goals)
        self.hand = ServoHand(goals, config.operator, np.random.default_rng(config.seed))
        self._force, self._force_ns = np.zeros(3), 0
        self._mode, self._mode_ns, self._asked_ns, self._asked = '', 0, 0, 0
        self._begun = False
        self._pose = self.create_publisher(PoseStamped, config.hand, MEASUREMENT)
        self._jaw = self.create_publisher(JointState, config.hand_jaw, MEASUREMENT)
        self._resume = self.create_publisher(String, f'{config.arm}/compensation/resume', MEASUREMENT)
        self._start = self.create_publisher(Header, 'task/start', LATCHED)
        listen = self.create_subscription
        listen(PoseStamped, config.shown, self._on_shown, MEASUREMENT_SUBSCRIPTION)
        listen(WrenchStamped, f'{config.arm}/fixture', self._on_force, MEASUREMENT_SUBSCRIPTION)
        listen(String, f'{config.arm}/compensation/mode', self._on_mode, LATCHED)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / config.rate, self.tick, clock=steady)
        self._say_timer = self.create_timer(_SAY_S, self._say, clock=steady)

    def _goals(self) -> list[Goal]:
        if self.config.task == 'circle':
            return circle_goals(self.config.centre, self.config.radius) * self.config.rounds
        goals = []
        for number, goal in enumerate(peg_goals(self.config.rings)):
            goals.append(goal)
            if self.config.touch and number % 8 == 7:
                goals.append(Goal(np.array(self.config.touch), OPEN, 1.0))
                goals.append(goal)
        return goals * self.config.rounds

    def _on_shown(self, message: PoseStamped) -> None:
        try:
            pose = pose_from(message, frame=self.config.frame).pose
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self.hand.see(time.monotonic_ns(), pose[:3, 3])

    def _on_force(self, message: WrenchStamped) -> None:
        force = message.wrench.force
        found = np.array([force.x, force.y, force.z])
        if np.isfinite(found).all():
            self._force, self._force_ns = found, time.monotonic_ns()
        else:
            self.health.warn('NOT_FINITE', f'{self.config.arm}/fixture has NaN or Inf')

    def _on_mode(self, message: String) -> None:
        if message.data != self._mode:
            self._mode, self._mode_ns = message.data, time.monotonic_ns()
            if self._mode in ('connected', 'degraded', 'catch-up'):
                self._asked = 0

    def tick(self) -> None:
        """Move the hand, and ask for resumption where that is needed."""
        now_ns = time.monotonic_ns()
        self._ask(now_ns)
        if not self._begun and self._mode in ('connected', 'degraded'):
            self._begun = True
            self._start.publish(Header(stamp=self.get_clock().now().to_msg(), frame_id=self.config.frame))
        moves = self._mode in (MOVES_IN if self.config.through_outages else MOVES_IN[:2])
        if self._begun and moves:
            fresh = now_ns - self._force_ns < 100_000_000
            self.hand.step(now_ns, self._force if fresh else np.zeros(3))
        else:
            self.hand.rest(now_ns)
        ros_ns = clock_ns(self)
        hand = make_transform(np.eye(3), self.hand.position)  # he does not turn it; only its changes count
        self._pose.publish(pose_stamped(ros_ns, self.config.frame, hand))
        jaw = JointState(name=['jaw'], position=[self.hand.jaw])
        jaw.header.stamp = ns_to_stamp(ros_ns)
        self._jaw.publish(jaw)

    def _ask(self, now_ns: int) -> None:
        """Ask to resume when the robot holds.

        At first for the robot to come to the hand; later as the settings say, and again to come when that is refused.
        """
        wait_ns = round(self.config.decide * NANOSECONDS)
        if self._mode != 'hold' or now_ns - self._mode_ns < wait_ns:
            return
        if self._asked_ns > self._mode_ns and now_ns - self._asked_ns < _AGAIN_NS:  # in this hold
            return
        wanted = self.config.resume if self._begun and (self._asked < TRIES) else 'discard'
        if self.config.resume != 'none' or not self._begun:
            self._asked_ns, self._asked = now_ns, self._asked + 1
            self._resume.publish(String(data=wanted))

    def _say(self) -> None:
        done, count = self.hand.done, self._count
        values: dict[str, object] = {'goals_reached': done, 'goals': count, 'mode': self._mode}
        self.health.set('task', OK, 'OK', f'{done} of {count} points reached', values)


def main() -> None:
    """Run the node."""
    sys.exit(run_node(ConsoleNode))


if __name__ == '__main__':
    main()
