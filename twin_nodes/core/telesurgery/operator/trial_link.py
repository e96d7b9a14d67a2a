"""The link of a simulated transfer: what each side says, on its way, and what an attacker on the way makes of it.

Where the scenario has an attacker, each datagram is sealed and opened by the sessions of the bridge, so that what he
turns, cuts, sends again, makes up and floods meets the same checks as in life. Elsewhere seals would change nothing and
cost more than the rest of the trial; the messages are then handed over as they are.
"""

import heapq
import struct
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.telesurgery.bridge.session import Sessions
from twin_nodes.core.telesurgery.command import ACTIONS, Command, FollowerState
from twin_nodes.core.telesurgery.link.attack import Attacker
from twin_nodes.core.telesurgery.link.config import AttackConfig
from twin_nodes.core.telesurgery.link.direction import LinkDirection
from twin_nodes.core.telesurgery.link.draws import stream
from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.core.telesurgery.modes import Mode

HEADER_BYTES, COMMAND_BYTES, STATE_BYTES = 64, 56, 136
_MODES = tuple(Mode)
_COUNTS = struct.Struct('<dHH')
_COMMAND = struct.Struct('<Qq8dQB')
_STATE = struct.Struct('<dqq8dBQdd')


class Order(NamedTuple):
    """What goes to the robot.

    Args:
        live: The newest commands, newest first.
        backlog: Buffered ones of an outage.
        queue_s: Standing queue that the leader measures [s].
    """

    live: tuple[Command, ...]
    backlog: tuple[Command, ...]
    queue_s: float

    @property
    def size(self) -> int:
        """Bytes of the datagram."""
        return HEADER_BYTES + COMMAND_BYTES * (len(self.live) + len(self.backlog))

    def pack(self) -> bytes:
        """Return the payload."""
        rows = [
            _COMMAND.pack(c.sequence, c.stamp_ns, *c.position, *c.quat_xyzw, c.jaw, c.request, ACTIONS.index(c.action))
            for c in (*self.live, *self.backlog)
        ]
        return _COUNTS.pack(self.queue_s, len(self.live), len(self.backlog)) + b''.join(rows)

    @classmethod
    def unpack(cls, payload: bytes) -> 'Order':
        """Return what was packed."""
        queue_s, live, _ = _COUNTS.unpack_from(payload)
        commands = tuple(
            Command(row[0], row[1], row[2:5], row[5:9], row[9], row[10], ACTIONS[row[11]])
            for row in _COMMAND.iter_unpack(payload[_COUNTS.size :])
        )
        return cls(commands[:live], commands[live:], queue_s)


class Report(NamedTuple):
    """What comes back.

    Args:
        state: How the follower stands.
        scene: What his camera sees, shape (13,).
        queue_s: Standing queue that the follower measures [s].
    """

    state: FollowerState
    scene: Array
    queue_s: float

    @property
    def size(self) -> int:
        """Bytes of the datagram."""
        return HEADER_BYTES + STATE_BYTES

    def pack(self) -> bytes:
        """Return the payload."""
        s = self.state
        mode = _MODES.index(Mode(s.mode))
        numbers = (*s.position, *s.quat_xyzw, s.jaw)
        head = _STATE.pack(self.queue_s, s.stamp_ns, s.played_ns, *numbers, mode, s.received, s.loss, s.backlog)
        return head + self.scene.tobytes()

    @classmethod
    def unpack(cls, payload: bytes) -> 'Report':
        """Return what was packed."""
        row = _STATE.unpack_from(payload)
        state = FollowerState(row[1], row[2], row[3:6], row[6:10], row[10], _MODES[row[11]].value, *row[12:15])
        return cls(state, np.frombuffer(payload[_STATE.size :]).copy(), row[0])


M = TypeVar('M', Order, Report)


class Way(Generic[M]):
    """One direction.

    Args:
        direction: Its fates.
        begin_ns: When the link begins, in the time of the trial [ns].
    """

    def __init__(self, direction: LinkDirection, begin_ns: int) -> None:
        self._direction = direction
        self._begin_ns = begin_ns
        self._waiting: list[tuple[int, int, Any]] = []
        self._count = 0

    def send(self, now_ns: int, message: M) -> None:
        """Send at a time [ns]."""
        for arrival in self._direction.send(now_ns - self._begin_ns, message.size):
            self.put(arrival + self._begin_ns, message)

    def put(self, arrival_ns: int, message: Any) -> None:
        """Let a message arrive at a time [ns]."""
        self._count += 1
        heapq.heappush(self._waiting, (arrival_ns, self._count, message))

    def arrived(self, now_ns: int) -> Iterator[tuple[int, M]]:
        """Return what has arrived, with its times [ns], in order."""
        while self._waiting and self._waiting[0][0] <= now_ns:
            arrival, _, message = heapq.heappop(self._waiting)
            yield arrival, message


class SealedWay(Way[M]):
    """One direction with an attacker on it, and sealed datagrams.

    Args:
        direction: Its fates.
        begin_ns: When the link begins, in the time of the trial [ns].
        attacker: Works on what passes.
        ends: The sessions of the sender and of the receiver.
        unpack: Makes a message of a payload.

    `refused` counts datagrams that were not taken, `applied` those that were and should not have been.
    """

    def __init__(
        self,
        direction: LinkDirection,
        begin_ns: int,
        attacker: Attacker,
        ends: tuple[Sessions, Sessions],
        unpack: Callable[[bytes], M],
    ) -> None:
        super().__init__(direction, begin_ns)
        self._attacker = attacker
        self._sender, self._receiver = ends
        self._unpack: Callable[[bytes], M] = unpack
        self._made: set[bytes] = set()
        self.refused = self.applied = 0

    def send(self, now_ns: int, message: M) -> None:
        """Seal and send; the attacker adds what he likes to what passes."""
        datagram = self._sender.seal(message.pack())
        assert datagram is not None
        self._made.add(datagram)
        for arrival in self._direction.send(now_ns - self._begin_ns, message.size):
            for changed in self._attacker.act(datagram):
                self.put(arrival + self._begin_ns, changed)

    def arrived(self, now_ns: int) -> Iterator[tuple[int, M]]:
        """Return what has arrived and is authentic and new, with its times [ns], in order."""
        for arrival, item in super().arrived(now_ns):
            datagram = cast(bytes, item)
            payload = self._receiver.open(datagram, arrival).payload
            if payload is None:
                self.refused += 1
                continue
            self.applied += datagram not in self._made  # nobody sent it, or it was taken before
            self._made.discard(datagram)
            yield arrival, self._unpack(payload)


def make_ways(link: Link, begin_ns: int) -> tuple[Way[Order], Way[Report]]:
    """Return the way to the robot and the way back; sealed where there is an attacker.

    Args:
        link: The link, fresh.
        begin_ns: When it begins, in the time of the trial [ns].
    """
    attack = link.scenario.config.attack
    if attack == AttackConfig():
        return Way(link.forward, begin_ns), Way(link.backward, begin_ns)
    leader, follower = _open_session(link.seed)
    attackers = (Attacker(attack, seed=link.seed), Attacker(attack, seed=link.seed, direction=1))
    return (
        SealedWay(link.forward, begin_ns, attackers[0], (leader, follower), Order.unpack),
        SealedWay(link.backward, begin_ns, attackers[1], (follower, leader), Report.unpack),
    )


def _open_session(seed: int) -> tuple[Sessions, Sessions]:
    """Return both ends of a session that has been opened before the trial begins."""
    entropy = stream(seed, 50).bytes
    key = entropy(32)
    leader = Sessions(key, initiator=True, entropy=entropy)
    follower = Sessions(key, initiator=False, entropy=entropy)
    reply = follower.open(leader.initiate(0), 0).reply
    assert reply is not None
    leader.open(reply, 0)
    proof = leader.seal(b'')
    assert proof is not None
    follower.open(proof, 0)
    return leader, follower
