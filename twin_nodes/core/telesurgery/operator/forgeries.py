"""Commands as an attacker or a broken program would send them, against the guard alone, without cryptography."""

import math

import numpy as np

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command
from twin_nodes.core.telesurgery.compensation_config import GuardConfig
from twin_nodes.core.telesurgery.guard import CommandGuard

KINDS = ('foreign', 'replayed', 'future', 'stale', 'far', 'jump', 'nan', 'zero stamp', 'order', 'off twin')
_PERIOD_NS = 5_000_000


def forged_applied(count: int, seed: int) -> tuple[int, int]:
    """Return how many of the forged commands passed, and how many good ones between them were refused.

    A good command comes every 5 ms; after each comes a forged one, of all KINDS in random order.

    Args:
        count: Forged commands.
        seed: Seed.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 40)))
    kinds = rng.integers(len(KINDS), size=count)
    numbers = rng.random((count, 4))
    guard = CommandGuard(GuardConfig())
    passed = refused = 0
    for index in range(count):
        now_ns = NANOSECONDS * 1000 + index * _PERIOD_NS
        t = index * 0.005
        good = Command(2 * index + 1, now_ns, (0.05 * math.sin(t), 0.05 * math.cos(t), 0.05))
        refused += bool(guard.check(good, now_ns, publisher='leader', offset_ns=0, twin=good.position))
        forged, publisher = _forge(KINDS[kinds[index]], good, numbers[index].tolist(), now_ns)
        passed += not guard.check(forged, now_ns, publisher=publisher, offset_ns=0, twin=good.position)
    return passed, refused


def _forge(kind: str, good: Command, u: list[float], now_ns: int) -> tuple[Command, str]:
    number, x, y, z = good.sequence + 1, *good.position
    near = (x + 1e-4 * (u[0] - 0.5), y, z)
    if kind == 'foreign':
        return Command(number + int(1e6 * u[1]), now_ns + 1, near), 'other'
    if kind == 'replayed':
        return good, 'leader'
    if kind == 'future':
        return Command(number, now_ns + round((0.006 + 1e7 * u[0] ** 4) * NANOSECONDS), near), 'leader'
    if kind == 'stale':
        return Command(number, now_ns - round((121.0 + 800.0 * u[0]) * NANOSECONDS), near), 'leader'
    if kind == 'far':
        return Command(number, now_ns + 1, (x, y, 0.151 + u[0])), 'leader'
    if kind == 'jump':
        return Command(number, now_ns + 1, (x + 0.004 + 0.03 * u[0], y, z)), 'leader'
    if kind == 'nan':
        return Command(number, now_ns + 1, (x, math.nan if u[0] < 0.5 else math.inf, z)), 'leader'
    if kind == 'zero stamp':
        return Command(number, 0, near), 'leader'
    if kind == 'order':
        return Command(number, now_ns - 1 - round(u[0] * NANOSECONDS), near), 'leader'
    return Command(number, now_ns + 1, (x, y, z + 0.0505 if z < 0.06 else z - 0.0505)), 'leader'
