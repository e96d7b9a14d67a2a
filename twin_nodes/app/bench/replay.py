"""Bench `replay`: two replays of one bag through the real nodes give the same, and a killed recorder loses little.

The poses that the tracker of the simulated room measured are played twice, each time through a process tree of its
own: tracker, calibration, registration, anatomy and guidance over real DDS. All that they publish is recorded and
compared message by message, every decoded field bit for bit (raw CDR has garbage in its padding). Diagnostics follow
the wall clock and are left out.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from twin_nodes.app.bench import replay_kill
from twin_nodes.app.bench.replay_room import write_room_bag
from twin_nodes.app.bench.replay_tree import TOPICS, ReplayTree
from twin_nodes.io.bags.compare import Comparison, compare_bags

SECONDS, RATE = 28.0, 4.0
QUICK_SECONDS, QUICK_RATE = 24.0, 6.0


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Replay twice and compare, then kill recorders.

    Args:
        quick: A shorter bag, played faster; fewer kills.

    Returns:
        `replay_identical` (1 or 0), `replay_messages_compared`, `replay_topics`, `lost_on_kill_ms`.
    """
    seconds, rate = (QUICK_SECONDS, QUICK_RATE) if quick else (SECONDS, RATE)
    with tempfile.TemporaryDirectory() as folder:
        comparison = replay_twice(Path(folder), seconds=seconds, rate=rate)
    for difference in comparison.differences:
        print(f'replay differs: {difference}', file=sys.stderr)
    missing = missing_topics(comparison)
    if missing:
        print(f'replay gave nothing on {", ".join(missing)}', file=sys.stderr)
    same = not comparison.differences and not missing
    total = sum(comparison.counts.values())
    return [
        _figure('replay_identical', float(same), goal='>= 1', ok=same),
        _figure('replay_messages_compared', float(total)),
        _figure('replay_topics', float(len({key.split()[0] for key in comparison.counts}))),
        *replay_kill.run(quick),
    ]


def replay_twice(folder: Path, *, seconds: float, rate: float, seed: int = 1) -> Comparison:
    """Write the bag of a room, replay it twice, and compare what came out.

    The second replay reads the distance grids that the first one computed.
    """
    write_room_bag(folder / 'input', seconds=seconds, seed=seed)
    bags = []
    for name in ('first', 'second'):
        with ReplayTree(folder / name, cache=folder / 'cache') as tree:
            tree.play(folder / 'input', rate=rate)
        bags.append(tree.bag)
    return compare_bags(*bags)


def missing_topics(comparison: Comparison) -> list[str]:
    """Name the topics on which nothing was compared: equal because empty would prove nothing."""
    heard = {key.split()[0] for key, count in comparison.counts.items() if count}
    return sorted(set(TOPICS) - heard)


def _figure(name: str, value: float, *, goal: str = '', ok: bool = True) -> dict[str, Any]:
    return {'figure': name, 'value': value, 'unit': '', 'goal': goal, 'peer': None, 'ratio': None, 'ok': ok}
