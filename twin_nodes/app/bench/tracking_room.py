"""The room of bench `tracking`: sender, receiver and the twins between them, in a ROS domain of its own."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin_nodes.app.bench.domain import own_domain
from twin_nodes.app.bench.tracking_processes import BenchProcess, environment, module, tracker_node
from twin_nodes.app.bench.tracking_sender import TOOLS
from twin_nodes.core.errors import TwinError

OURS, PEER, HOP, START = 'ours', 'pyigtl', 'hop', 'start'
TWINS = (OURS, PEER, HOP)
MATCH_S = 20.0
SETTLE_S = 0.3
_PARAMETERS = """/**:
  ros__parameters:
    source: 'openigtlink'
    tracking:
      tools: [{tools}]
      clock:
        mode: 'device'
    openigtlink:
      port: {port}
"""


@dataclass
class Room:
    """The processes of the bench and what they share.

    Args:
        folder: For logs and parameter files.
        domain: ROS domain.
    """

    folder: Path
    domain: int

    def __post_init__(self) -> None:
        self.environment = environment(self.domain, self.folder)
        self.sender = self._helper('tracking_sender', '3')
        try:
            self.ports = self.sender.answer(MATCH_S)['ports']
            self.receiver = self._helper('tracking_receiver', *TWINS, START)
            self.receiver.answer(MATCH_S)
        except TwinError:
            self.close()
            raise

    def _helper(self, name: str, *arguments: str) -> BenchProcess:
        return BenchProcess(module(name, *arguments), self.environment, self.folder / f'{name}.log', asked=True)

    def node(self, namespace: str, index: int) -> BenchProcess:
        """Start a tracker_node on port `index` of the sender."""
        parameters = self.folder / f'{namespace}.yaml'
        parameters.write_text(_PARAMETERS.format(tools=', '.join(TOOLS), port=self.ports[index]), encoding='utf-8')
        return BenchProcess(tracker_node(namespace, parameters), self.environment, self.folder / f'{namespace}.log')

    def peer(self) -> BenchProcess:
        """Start the pyigtl twin on port 1 of the sender."""
        command = module('tracking_peer', str(self.ports[1]), '--ros-args', '-r', f'__ns:=/{PEER}')
        return BenchProcess(command, self.environment, self.folder / 'pyigtl.log')

    def hop(self) -> BenchProcess:
        """Start the bare publisher."""
        hop = self._helper('tracking_hop', '--ros-args', '-r', f'__ns:=/{HOP}')
        try:
            hop.answer(MATCH_S)
        except TwinError:
            hop.stop()
            raise
        return hop

    def stream(self, source: BenchProcess, seconds: float, command: dict[str, Any]) -> dict[str, Any]:
        """Let a source stream for some seconds and wait until all has come."""
        sent = source.ask({**command, 'seconds': seconds}, seconds + MATCH_S)
        time.sleep(SETTLE_S)
        return sent

    def take(self) -> dict[tuple[str, str], dict[int, int]]:
        """Return arrival by stamp for each namespace and tool since the last call."""
        found: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        for namespace, tool, stamp_ns, at_ns in self.receiver.ask({}, MATCH_S)['arrivals']:
            found[namespace, tool].setdefault(stamp_ns, at_ns)
        return found

    def close(self) -> None:
        """End the processes."""
        for name in ('receiver', 'sender'):
            process = getattr(self, name, None)
            if process is not None:
                process.stop()

    def __enter__(self) -> 'Room':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def open_room(folder: str) -> Iterator[Room]:
    """Start sender and receiver in a ROS domain of their own."""
    with own_domain() as domain, Room(Path(folder), domain) as room:
        yield room


@dataclass(frozen=True)
class Twin:
    """One of the twins that are compared, alive.

    Args:
        name: Its namespace.
        process: Its process, whose CPU time counts.
        source: The process that is told to stream.
        command: What the source is told besides rate and time.
    """

    name: str
    process: BenchProcess
    source: BenchProcess
    command: dict[str, Any]


def wait_for_match(room: Room, twin: Twin) -> None:
    """Stream until poses of all tools come through: discovery may take seconds and is not what is measured.

    Raises:
        TwinError: when they do not in time.
    """
    end = time.monotonic() + MATCH_S
    while time.monotonic() < end:
        sent = room.stream(twin.source, 0.5, twin.command | {'rate_hz': 60})
        arrivals = room.take()
        if all(arrivals[twin.name, tool].get(sent['stamps_ns'][-1]) for tool in TOOLS):
            return
    raise TwinError(f'no pose from {twin.name} within {MATCH_S:g} s: {twin.process.last_words()}')


def first_pose(room: Room) -> tuple[float, float, float]:
    """Start a node and wait for its first pose in another process.

    Returns:
        Times [s] from its start: until it connected to the tracker, which is when it first published, but for a
        millisecond; until the pose was received; and the processor time that it took, which no other process sways.
    """
    room.take()
    room.sender.tell({'index': 2, 'rate_hz': 60, 'seconds': MATCH_S, 'fresh': True})
    end = time.monotonic() + MATCH_S
    came: list[int] = []
    with room.node(START, 2) as node:
        while not came and time.monotonic() < end:
            time.sleep(0.1)
            arrivals = room.take()
            came = [at for (name, _), poses in arrivals.items() if name == START for at in poses.values()]
        started_ns, cpu_s = node.started_ns, node.cpu_s()
    sent = room.sender.answer(MATCH_S + 5.0)
    if not came:
        raise TwinError(f'no first pose within {MATCH_S:g} s')
    return (sent['accepted_ns'] - started_ns) * 1e-9, (min(came) - started_ns) * 1e-9, cpu_s
