"""What travels between the sites: absolute, stamped, numbered commands, and what the follower says back."""

import math
from typing import NamedTuple

ACTIONS = ('', 'replay', 'discard', 'stop', 'follow')
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)


class Command(NamedTuple):
    """Where the leader wants the tip: absolute, never an increment.

    Args:
        sequence: Number, rising by one with each command.
        stamp_ns: When it was meant, in the leader's monotonic time [ns].
        position: Tip in the follower's base frame [m].
        quat_xyzw: Orientation of the tip.
        jaw: Opening, 1 open, 0 closed.
        request: Number of the operator's newest request; a higher one than before is a new request.
        action: What he asks for, one of ACTIONS; `follow` is a replay that stands for short silences to come.
    """

    sequence: int
    stamp_ns: int
    position: Vector
    quat_xyzw: Quaternion = IDENTITY
    jaw: float = 1.0
    request: int = 0
    action: str = ''


class FollowerState(NamedTuple):
    """What the follower says back.

    Args:
        stamp_ns: When it was measured, follower's monotonic time [ns].
        played_ns: Leader's time of the command that the robot has reached [ns], 0 before the first.
        position: Measured tip [m].
        quat_xyzw: Measured orientation.
        jaw: Measured opening.
        mode: Name of the mode.
        received: Number of the command up to which none is missing that could still be played.
        loss: Share of the packets that were lost of late.
        backlog: How much waits to be played beyond the usual lag [s].
    """

    stamp_ns: int
    played_ns: int
    position: Vector
    quat_xyzw: Quaternion
    jaw: float
    mode: str
    received: int
    loss: float
    backlog: float


def distance(a: Vector, b: Vector) -> float:
    """Return the distance of two points [m]."""
    return math.dist(a, b)


def toward(a: Vector, b: Vector, step: float) -> Vector:
    """Return the point on the way from a to b that is step [m] from a, b when it is nearer."""
    gap = math.dist(a, b)
    if gap <= step:
        return b
    share = step / gap
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2])


def mix(a: Vector, b: Vector, share: float) -> Vector:
    """Return a + share (b - a)."""
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2])


def mix_quat(a: Quaternion, b: Quaternion, share: float) -> Quaternion:
    """Interpolate on the shorter arc (slerp); exact, with the chord for small angles."""
    dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    sign = 1.0 if dot >= 0.0 else -1.0
    dot = min(abs(dot), 1.0)
    if dot > 0.999999:
        w0, w1 = 1.0 - share, share * sign
    else:
        angle = math.acos(dot)
        w0, w1 = math.sin((1.0 - share) * angle) / math.sin(angle), sign * math.sin(share * angle) / math.sin(angle)
    x, y, z, w = (w0 * p + w1 * q for p, q in zip(a, b, strict=True))
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return x / norm, y / norm, z / norm, w / norm


def quat_angle(a: Quaternion, b: Quaternion) -> float:
    """Return the angle between two orientations [rad]."""
    dot = abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3])
    return 2.0 * math.acos(min(dot, 1.0))
