"""Frames between the sites: bytes ↔ records. Absolute commands, numbered and stamped, the newest first."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s

from twin_nodes.core.errors import InputError

POSE, JOINTS = 1, 2
COMMANDS, PROBE = 1, 2
LARGEST_AGE_NS = 2**32 - 1
MAX_NUMBERS = 96
_COMMANDS = struct.Struct('<B8sIQqBBBBBB')
_PROBE = struct.Struct('<B8sqqqffffI')
_LARGEST_STAMP_NS = 2**62  # 146 years of a monotonic clock
_LARGEST = 1e6  # metres, radians, newtons: beyond any command, below where squares overflow


@dataclass(frozen=True, slots=True)
class Command:
    """One absolute command or measurement.

    Args:
        sequence: Number in its channel, from 1.
        stamp_ns: When it was measured, on the monotonic clock of the site that sent it.
        values: Position x y z [m] and quaternion xyzw; or joints: positions, velocities, efforts.
    """

    sequence: int
    stamp_ns: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CommandFrame:
    """The last commands of one channel.

    Args:
        epoch: Random name of the process that sent it, 8 bytes.
        channel: `channel_id` of the topic.
        kind: POSE or JOINTS.
        counts: Numbers of positions, velocities and efforts; (7, 0, 0) for a pose.
        label: frame_id, or the joint names parted by newlines.
        commands: Newest first, sequences falling by one each.
    """

    epoch: bytes
    channel: int
    kind: int
    counts: tuple[int, int, int]
    label: str
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class ProbeFrame:
    """Times for the clock offset, and what the sender of the probe has received.

    Args:
        epoch: Random name of the process that sent it, 8 bytes.
        sent_ns: Its monotonic clock at sending.
        echo_ns: `sent_ns` of the last probe it got; 0 for none.
        hold_ns: How long it had that one.
        loss: Share of datagrams that it missed.
        burst_s: Mean length of the gaps [s].
        jitter_s: RFC 3550 jitter [s].
        queue_s: Standing queue in front of it [s].
        received: Datagrams it got, modulo 2³².
    """

    epoch: bytes
    sent_ns: int
    echo_ns: int
    hold_ns: int
    loss: float
    burst_s: float
    jitter_s: float
    queue_s: float
    received: int


def channel_id(topic: str) -> int:
    """Return the number of a topic, the same at both sites."""
    return int.from_bytes(blake2s(topic.encode(), digest_size=4).digest(), 'little')


def encode_commands(frame: CommandFrame) -> bytes:
    """Encode a frame; commands whose age does not fit into 4.29 s must not be in it."""
    label = frame.label.encode()
    newest = frame.commands[0]
    head = _COMMANDS.pack(
        COMMANDS, frame.epoch, frame.channel, newest.sequence, newest.stamp_ns, frame.kind, *frame.counts,
        len(frame.commands), len(label),
    )  # fmt: skip
    body = struct.Struct(f'<I{sum(frame.counts)}d')
    records = [body.pack(newest.stamp_ns - command.stamp_ns, *command.values) for command in frame.commands]
    return b''.join((head, label, *records))


def copies_that_fit(size: int, counts: Sequence[int], label: str, overhead: int) -> int:
    """Return how many commands go into a datagram of `size` bytes with `overhead` bytes of envelope; at least 1."""
    room = size - overhead - _COMMANDS.size - len(label.encode())
    return max(room // (4 + 8 * sum(counts)), 1)


def frame_bytes(copies: int, counts: Sequence[int], label: str) -> int:
    """Return the size of a frame with so many commands [B]."""
    return _COMMANDS.size + len(label.encode()) + copies * (4 + 8 * sum(counts))


def encode_probe(frame: ProbeFrame) -> bytes:
    """Encode a probe."""
    return _PROBE.pack(
        PROBE, frame.epoch, frame.sent_ns, frame.echo_ns, frame.hold_ns, frame.loss, frame.burst_s, frame.jitter_s,
        frame.queue_s, frame.received & 0xFFFFFFFF,
    )  # fmt: skip


def decode(payload: bytes) -> CommandFrame | ProbeFrame:
    """Decode a payload that the envelope has vouched for; still checked, as its sender may be broken.

    Raises:
        InputError: PROTOCOL for a wrong length, NOT_FINITE, OUT_OF_WORKSPACE or NOT_A_ROTATION for the values.
    """
    if payload[:1] == bytes([PROBE]):
        return _decode_probe(payload)
    if payload[:1] == bytes([COMMANDS]):
        return _decode_commands(payload)
    raise InputError(f'frame of {len(payload)} B and unknown kind', code='PROTOCOL')


def _decode_probe(payload: bytes) -> ProbeFrame:
    if len(payload) != _PROBE.size:
        raise InputError(f'probe of {len(payload)} B, expected {_PROBE.size}', code='PROTOCOL')
    _, *fields = _PROBE.unpack(payload)
    frame = ProbeFrame(*fields)
    times = (frame.burst_s, frame.jitter_s, frame.queue_s)
    if not (0.0 <= frame.loss <= 1.0 and all(0.0 <= time < _LARGEST for time in times)):
        raise InputError('probe with a loss, burst or jitter that cannot be', code='NOT_FINITE')
    return frame


def _decode_commands(payload: bytes) -> CommandFrame:
    if len(payload) < _COMMANDS.size:
        raise InputError(f'command frame of {len(payload)} B, at least {_COMMANDS.size}', code='PROTOCOL')
    _, epoch, channel, newest, stamp_ns, kind, *rest = _COMMANDS.unpack_from(payload)
    counts, (copies, label_size) = (rest[0], rest[1], rest[2]), rest[3:]
    body = struct.Struct(f'<I{sum(counts)}d')
    expected = _COMMANDS.size + label_size + copies * body.size
    if len(payload) != expected or copies == 0 or not 0 < sum(counts) <= MAX_NUMBERS:
        raise InputError(f'command frame of {len(payload)} B, expected {expected}', code='PROTOCOL')
    if abs(stamp_ns) > _LARGEST_STAMP_NS:
        raise InputError(f'command frame with the stamp {stamp_ns} ns', code='PROTOCOL')
    if kind not in (POSE, JOINTS) or (kind == POSE and counts != (7, 0, 0)) or newest < copies:
        raise InputError(f'command frame of kind {kind}, counts {counts}, sequence {newest}', code='PROTOCOL')
    start = _COMMANDS.size + label_size
    try:
        label = payload[_COMMANDS.size : start].decode()
    except UnicodeDecodeError:
        raise InputError('label of a command frame is no UTF-8', code='PROTOCOL') from None
    commands = []
    for i, (age_ns, *values) in enumerate(body.iter_unpack(payload[start:])):
        _check_values(kind, values)
        commands.append(Command(newest - i, stamp_ns - age_ns, tuple(values)))
    return CommandFrame(epoch, channel, kind, counts, label, tuple(commands))


def _check_values(kind: int, values: Sequence[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise InputError('command has NaN or Inf', code='NOT_FINITE')
    if max(map(abs, values)) > _LARGEST:
        raise InputError(f'command has values beyond {_LARGEST:g}', code='OUT_OF_WORKSPACE')
    if kind == POSE and abs(math.sqrt(sum(value * value for value in values[3:])) - 1.0) > 1e-2:
        raise InputError('quaternion of a command is no unit quaternion', code='NOT_A_ROTATION')
