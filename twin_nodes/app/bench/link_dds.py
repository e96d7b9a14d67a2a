"""Stock DDS over the emulated link: two participants in two processes, every RTPS datagram through the emulator.

The same commands go out best-effort (depth 10), RELIABLE with KEEP_LAST 10, and RELIABLE with KEEP_LAST 1000. Fast DDS
of the wheels with its defaults, but for UDPv4 with fixed ports, so that what is announced can be led through the relay.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from twin_nodes.app.bench.link_dds_peer import DEADLINE_S, DRAIN_S, TOPICS
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.telesurgery.link.scenario import Scenario
from twin_nodes.io.precise_wait import sharpened
from twin_nodes.io.rtps_relay import HOST, RtpsRelay, participant_profile

Times = dict[str, dict[str, float]]


def dds_figures(scenario: Scenario, seconds: float, *, percent: int) -> Iterator[Figure]:
    """Give commands for some time and yield what of them came, and how late."""
    sent, came = _run(scenario, seconds)
    base = 1e3 * scenario.config.forward.delay.base
    for name in TOPICS:
        if not came[name]:
            raise RuntimeError(f'stock DDS, {name}: nothing came through the relay; see the output of the processes')
        loss = 100.0 * (1.0 - len(came[name]) / len(sent[name]))
        yield judge(f'dds_{name}_loss_at_{percent}_percent', loss, '%')
        late = 1e3 * np.array([at - sent[name][number] for number, at in came[name].items()]) - base
        for share in (50, 99):
            yield judge(f'dds_{name}_added_p{share}_ms', float(np.percentile(late, share)), 'ms')


def _run(scenario: Scenario, seconds: float) -> tuple[Times, Times]:
    own = ((_free_port(), _free_port()), (_free_port(), _free_port()))
    relay = RtpsRelay(scenario.link(3), own)
    thread = threading.Thread(target=_relay, args=(relay,), daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.callback(thread.join, 5.0)
        stack.callback(relay.stop)
        peers = []
        for side, words in enumerate((['near', str(seconds)], ['far'])):
            profile = Path(folder) / f'{words[0]}.xml'
            profile.write_text(participant_profile(*own[side], relay.ports[1 - side][0]), encoding='utf-8')
            peers.append(_peer(words, profile))
            stack.callback(_end, peers[-1])
        near, far = peers
        sent = near.communicate(timeout=seconds + DRAIN_S + 2.0 * DEADLINE_S)[0]
        far.send_signal(signal.SIGINT)
        return json.loads(sent), json.loads(far.communicate(timeout=DEADLINE_S)[0])


def _relay(relay: RtpsRelay) -> None:
    with sharpened():
        relay.run()


def _peer(words: list[str], profile: Path) -> 'subprocess.Popen[str]':
    settings = {
        'FASTDDS_DEFAULT_PROFILES_FILE': str(profile),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT',  # any other would replace the peers of the profile
        'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp',
    }
    module = 'twin_nodes.app.bench.link_dds_peer'
    return subprocess.Popen(
        [sys.executable, '-m', module, *words], stdout=subprocess.PIPE, text=True, env=os.environ | settings
    )


def _end(peer: 'subprocess.Popen[str]') -> None:
    if peer.poll() is None:
        peer.kill()
    peer.wait()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
