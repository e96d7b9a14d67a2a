"""Commands and follower states ↔ JointState, which the bridge carries whole; the requests of the operator among them.

A command is ten numbers: number, position, orientation xyzw, jaw, and request · 5 + action. Buffered ones come eight to
a message, each with its age before them. A state is what `FollowerState` holds, times as ages [s]. Numbers of commands
and requests are divided by 2²², without loss: the bridge refuses what is beyond 10⁶.
"""

import math

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import ACTIONS, Command, FollowerState
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.ros.conversions import ns_to_stamp, stamp_to_ns

MODES = tuple(Mode)
BACKLOG_PER_MESSAGE = 8
_WIDTH = 10
_UNIT = 2.0**22
_STATE = 13


def command_message(command: Command, now_ns: int) -> JointState:
    """Make the message of a command, stamped with the ROS time of now [ns]."""
    message = JointState()
    message.header.stamp = ns_to_stamp(now_ns)
    message.position = _numbers(command)
    return message


def _numbers(command: Command) -> list[float]:
    asked = (len(ACTIONS) * command.request + ACTIONS.index(command.action)) / _UNIT
    return [command.sequence / _UNIT, *command.position, *command.quat_xyzw, command.jaw, asked]


def backlog_message(commands: tuple[Command, ...], now_ns: int, leader_ns: int) -> JointState:
    """Make the message of buffered commands.

    Args:
        commands: At most BACKLOG_PER_MESSAGE.
        now_ns: ROS time [ns].
        leader_ns: The time of the commands' clock now [ns].
    """
    message = JointState()
    message.header.stamp = ns_to_stamp(now_ns)
    for command in commands:
        message.position.extend([(leader_ns - command.stamp_ns) / NANOSECONDS, *_numbers(command)])
    return message


def commands_from(message: JointState, steady_ns: int, ros_ns: int, *, backlog: bool) -> tuple[Command, ...]:
    """Return the commands of a message, newest first as they came, stamped in our monotonic time.

    Args:
        message: From the topic of commands, or of the backlog.
        steady_ns: Our monotonic time of now [ns].
        ros_ns: Our ROS time of now [ns].
        backlog: Which of both it is.

    Raises:
        InputError: PROTOCOL or NOT_FINITE.
    """
    width = _WIDTH + backlog
    values = list(message.position)
    if not values or len(values) % width or (not backlog and len(values) != width):
        raise InputError(f'{len(values)} numbers are no commands of {width}', code='PROTOCOL')
    if not all(map(math.isfinite, values)):
        raise InputError('a command has NaN or Inf', code='NOT_FINITE')
    stamp_ns = stamp_to_ns(message.header.stamp) + steady_ns - ros_ns
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    return tuple(_command(row[backlog:], stamp_ns - round(backlog * row[0] * NANOSECONDS)) for row in rows)


def _command(row: list[float], stamp_ns: int) -> Command:
    request, action = divmod(round(row[9] * _UNIT), len(ACTIONS))
    return Command(
        round(row[0] * _UNIT), stamp_ns, (row[1], row[2], row[3]), (row[4], row[5], row[6], row[7]), row[8], request,
        ACTIONS[action],
    )  # fmt: skip


def state_message(state: FollowerState, ros_ns: int) -> JointState:
    """Make the message of a follower's state, stamped with the ROS time of now [ns]."""
    message = JointState()
    message.header.stamp = ns_to_stamp(ros_ns)
    age = (state.stamp_ns - state.played_ns) / NANOSECONDS if state.played_ns else -1.0
    message.position = [
        float(MODES.index(Mode(state.mode))), *state.position, *state.quat_xyzw, state.jaw, age,
        state.received / _UNIT, state.loss, state.backlog,
    ]  # fmt: skip
    return message


def state_from(message: JointState, steady_ns: int, ros_ns: int) -> FollowerState:
    """Return the state of the follower, in our monotonic time.

    Raises:
        InputError: PROTOCOL or NOT_FINITE.
    """
    values = list(message.position)
    if len(values) != _STATE:
        raise InputError(f'{len(values)} numbers are no state of {_STATE}', code='PROTOCOL')
    if not all(map(math.isfinite, values)) or not 0 <= values[0] < len(MODES):
        raise InputError('a state has NaN, Inf or an unknown mode', code='NOT_FINITE')
    stamp_ns = stamp_to_ns(message.header.stamp) + steady_ns - ros_ns
    played_ns = stamp_ns - round(values[9] * NANOSECONDS) if values[9] >= 0.0 else 0
    x, y, z, qx, qy, qz, qw = values[1:8]
    mode = MODES[int(values[0])].value
    received = round(values[10] * _UNIT)
    return FollowerState(
        stamp_ns, played_ns, (x, y, z), (qx, qy, qz, qw), values[8], mode, received, values[11], values[12]
    )


def pose_message(ros_ns: int, frame: str, position: tuple[float, ...], quat_xyzw: tuple[float, ...]) -> PoseStamped:
    """Make a PoseStamped of a position [m] and a unit quaternion, with w ≥ 0."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = ns_to_stamp(ros_ns), frame
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = map(float, position)
    sign = math.copysign(1.0, quat_xyzw[3])
    turn.x, turn.y, turn.z, turn.w = (sign * float(value) for value in quat_xyzw)
    return message
