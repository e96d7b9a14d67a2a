"""Attacks on a site of the bridge: what of 100,000 bad datagrams is applied."""

import numpy as np

from twin_nodes.app.bench import link_sites
from twin_nodes.core.telesurgery.bridge.session import OVERHEAD

KINDS = ('flip', 'truncate', 'extend', 'replay', 'foreign_key', 'other_session', 'forged')


def forged_applied(count: int, *, seed: int) -> tuple[float, float, float]:
    """Send genuine datagrams out of order and bad ones between them to a follower.

    Returns:
        Bad or repeated datagrams whose commands were taken, plus commands played out of order; bad datagrams sent;
        share of the bad ones that were counted under a code.
    """
    rng = np.random.default_rng(seed)
    pair, stranger, earlier = (link_sites.open_pair(rng) for _ in range(3))
    now_ns = pair.now_ns
    per_kind = max(count // len(KINDS) // 200, 1)
    taken, sent, played, disorder = 0, 0, [], 0
    bad_before = _refused(pair.follower)
    for _ in range(200):
        now_ns += 40_000_000
        genuine = [pair.command(now_ns + i * 5_000_000) for i in range(8)]
        foreign = [stranger.command(now_ns + i * 5_000_000) for i in range(8)]
        old = [earlier.command(now_ns + i * 5_000_000) for i in range(8)]
        now_ns += 40_000_000
        for index in rng.permutation(8):  # re-ordered ones are genuine: taken once, never played back in time
            pair.follower.receive(genuine[index], now_ns)
        received = pair.follower.received
        for kind in KINDS:
            for _ in range(per_kind + 1):
                pick = int(rng.integers(0, 8))
                pair.follower.receive(_bad(kind, genuine[pick], foreign[pick], old[pick], rng), now_ns)
                sent += 1
        taken += pair.follower.received - received
        for due in pair.follower.due(now_ns + 200_000_000):
            disorder += bool(played and due.played.command.sequence <= played[-1])
            played.append(due.played.command.sequence)
        now_ns += 200_000_000
    counted = _refused(pair.follower) - bad_before
    if not played:
        raise RuntimeError('no genuine command was played: the bench would prove nothing')
    return float(taken + disorder), float(sent), counted / sent


def _refused(site: object) -> int:
    return sum(site.refused.values())  # type: ignore[attr-defined]


def _bad(kind: str, genuine: bytes, foreign: bytes, old: bytes, rng: np.random.Generator) -> bytes:
    if kind == 'flip':
        turned = bytearray(genuine)
        turned[int(rng.integers(0, len(turned)))] ^= 1 << int(rng.integers(0, 8))
        return bytes(turned)
    if kind == 'truncate':
        return genuine[: int(rng.integers(0, len(genuine)))]
    if kind == 'extend':
        return genuine + rng.bytes(int(rng.integers(1, 64)))
    if kind == 'replay':
        return genuine
    if kind == 'foreign_key':
        return genuine[:12] + foreign[12:]  # a stranger who knows the name of our session
    if kind == 'other_session':
        return old
    head = genuine[:12] + int(rng.integers(0, 2**40)).to_bytes(8, 'little')  # a counter far ahead
    return head + rng.bytes(max(len(genuine) - len(head), OVERHEAD))
