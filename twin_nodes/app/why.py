"""`twin why TOPIC`: facts about a topic, and what they mean in words."""

from __future__ import annotations

import itertools
import json as json_module
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from twin_nodes.core.config import nearest

OK, NOTE, WRONG = 'ok', 'note', 'wrong'
STALE_S = 0.5
FUTURE_S = 0.05
RELIABLE, BEST_EFFORT = 'RELIABLE', 'BEST_EFFORT'
_LIVELINESS = {'AUTOMATIC': 0, 'MANUAL_BY_TOPIC': 1}


@dataclass(frozen=True)
class Qos:
    """The policies that decide whether two ends meet.

    Args:
        reliability: RELIABLE or BEST_EFFORT.
        durability: TRANSIENT_LOCAL or VOLATILE.
        deadline_s: Promised or required period [s]; inf for none.
        liveliness: AUTOMATIC or MANUAL_BY_TOPIC.
        lease_s: Liveliness lease [s]; inf for none.
    """

    reliability: str = RELIABLE
    durability: str = 'VOLATILE'
    deadline_s: float = float('inf')
    liveliness: str = 'AUTOMATIC'
    lease_s: float = float('inf')


@dataclass(frozen=True)
class End:
    """A publisher or subscription of the topic."""

    node: str
    type_name: str
    qos: Qos = Qos()


@dataclass(frozen=True)
class Diagnostic:
    """What a node says of itself.

    Args:
        name: '<node>: <check>'.
        level: 0 OK, 1 WARN, 2 ERROR, 3 STALE.
        code: Stable code, or ''.
        message: In words.
    """

    name: str
    level: int
    code: str
    message: str


@dataclass(frozen=True)
class Facts:
    """What was seen of a topic.

    Args:
        topic: Its full name.
        seconds: How long was listened [s].
        topics: All topics of the graph.
        publishers: Its publishers.
        subscribers: Its subscriptions, ours left out.
        stamps_ns: Stamps of the messages in order of arrival [ns]; empty for types without a header.
        arrivals_ns: Arrival of each message on the ROS clock [ns].
        frame: frame_id of the last message, or ''.
        not_finite: Field that held NaN or Inf, or ''.
        frames: Frames known to tf.
        frame_root: Top of the tree that holds `frame`, or ''.
        world: The frame that all must reach.
        world_root: Top of the tree that holds `world`, or ''.
        diagnostics: Those of the publishing nodes.
        unreadable: Why the messages could not be read, or ''.
    """

    topic: str
    seconds: float = 3.0
    topics: tuple[str, ...] = ()
    publishers: tuple[End, ...] = ()
    subscribers: tuple[End, ...] = ()
    stamps_ns: tuple[int, ...] = ()
    arrivals_ns: tuple[int, ...] = ()
    frame: str = ''
    not_finite: str = ''
    frames: frozenset[str] = frozenset()
    frame_root: str = ''
    world: str = 'world'
    world_root: str = ''
    diagnostics: tuple[Diagnostic, ...] = field(default=())
    unreadable: str = ''


@dataclass(frozen=True)
class Finding:
    """One sentence, whether it is good or bad, and what to do."""

    level: str
    text: str
    mend: str = ''

    def __str__(self) -> str:
        return f'{self.level:<5}  {self.text}{"; " + self.mend if self.mend else ""}'


def qos_mismatch(offered: Qos, wanted: Qos) -> list[str]:
    """List the policies for which a publisher does not give what a subscription wants (DDS request-offered rules)."""
    found = []
    if offered.reliability == BEST_EFFORT and wanted.reliability == RELIABLE:
        found.append('reliability: the publisher offers BEST_EFFORT, the subscription wants RELIABLE')
    if offered.durability == 'VOLATILE' and wanted.durability == 'TRANSIENT_LOCAL':
        found.append('durability: the publisher offers VOLATILE, the subscription wants TRANSIENT_LOCAL (latched)')
    if offered.deadline_s > wanted.deadline_s:
        found.append(
            f'deadline: the publisher offers {offered.deadline_s:g} s, the subscription wants {wanted.deadline_s:g} s'
        )
    if _LIVELINESS.get(offered.liveliness, 0) < _LIVELINESS.get(wanted.liveliness, 0):
        found.append(
            f'liveliness: the publisher offers {offered.liveliness}, the subscription wants {wanted.liveliness}'
        )
    if offered.lease_s > wanted.lease_s:
        found.append(
            f'liveliness lease: the publisher offers {offered.lease_s:g} s, the subscription wants {wanted.lease_s:g} s'
        )
    return found


def explain(facts: Facts) -> list[Finding]:
    """Turn facts into sentences, the first broken link first."""
    if not facts.publishers:
        return [_no_publisher(facts), *_diagnostics(facts)]
    findings = _ends(facts) + _types(facts) + _mismatches(facts)
    if facts.unreadable:
        findings.append(Finding(NOTE, facts.unreadable))
    elif not facts.arrivals_ns:
        names = ', '.join(sorted({end.node for end in facts.publishers}))
        text = f'{names} publishes {facts.topic}, but sent nothing within {facts.seconds:g} s'
        findings.append(Finding(WRONG, text, _silent_mend(facts)))
    else:
        findings += _messages(facts)
    return [*findings, *_diagnostics(facts)]


def _no_publisher(facts: Facts) -> Finding:
    known = [topic for topic in facts.topics if topic != facts.topic]
    tail = facts.topic.rsplit('/', 1)[-1]
    same = sorted(topic for topic in known if topic.rsplit('/', 1)[-1] == tail)
    hint = f'; did you mean {same[0]!r}?' if same else nearest(facts.topic, known)
    readers = ', '.join(sorted({end.node for end in facts.subscribers}))
    waiting = f' ({readers} waits for it)' if readers else ''
    mend = 'start the node that makes it (`twin launch`); all must share ROS_DOMAIN_ID and the discovery range'
    return Finding(WRONG, f'no node publishes {facts.topic}{waiting}{hint}', mend)


def _silent_mend(facts: Facts) -> str:
    if all(end.qos.durability == 'TRANSIENT_LOCAL' for end in facts.publishers):
        return 'it is latched: nothing has been determined yet'
    return 'see what its node says below' if facts.diagnostics else 'look at the log of that node'


def _ends(facts: Facts) -> list[Finding]:
    publishers = ', '.join(sorted({end.node for end in facts.publishers}))
    if facts.subscribers:
        readers = ', '.join(sorted({end.node for end in facts.subscribers}))
        found = [Finding(OK, f'{publishers} publishes {facts.topic}, {readers} subscribes')]
    else:
        found = [Finding(NOTE, f'{publishers} publishes {facts.topic}, but no node subscribes to it')]
    if len(facts.publishers) > 1:
        found.append(Finding(NOTE, f'{len(facts.publishers)} publishers share {facts.topic}: {publishers}'))
    return found


def _types(facts: Facts) -> list[Finding]:
    offered = {end.type_name for end in facts.publishers}
    found = []
    for end in facts.subscribers:
        if end.type_name not in offered:
            text = f'{end.node} expects {end.type_name}, but {facts.topic} carries {", ".join(sorted(offered))}'
            found.append(Finding(WRONG, text, 'they never meet: remap one of them or change its type'))
    return found


def _mismatches(facts: Facts) -> list[Finding]:
    found = []
    for publisher in facts.publishers:
        for subscriber in facts.subscribers:
            for text in qos_mismatch(publisher.qos, subscriber.qos):
                mend = 'they never meet: change the QoS of one side'
                found.append(Finding(WRONG, f'{publisher.node} and {subscriber.node} do not match in {text}', mend))
    return found


def _messages(facts: Facts) -> list[Finding]:
    count = len(facts.arrivals_ns)
    rate = (count - 1) * 1e9 / (facts.arrivals_ns[-1] - facts.arrivals_ns[0]) if count > 1 and _spans(facts) else None
    heard = f'{count} message(s) in {facts.seconds:g} s' + (f', {rate:.1f} Hz' if rate is not None else '')
    found = [Finding(OK, heard)]
    if facts.not_finite:
        text = f'{facts.not_finite} holds NaN or Inf'
        found.append(Finding(WRONG, text, 'receivers drop such messages (twin explain NOT_FINITE)'))
    latched = all(end.qos.durability == 'TRANSIENT_LOCAL' for end in facts.publishers)
    if facts.stamps_ns:
        found += _stamps(facts.stamps_ns, facts.arrivals_ns, latched=latched)
    return found + _frame(facts)


def _spans(facts: Facts) -> bool:
    return facts.arrivals_ns[-1] > facts.arrivals_ns[0]


def _stamps(stamps: Sequence[int], arrivals: Sequence[int], *, latched: bool) -> list[Finding]:
    if not any(stamps) and latched:
        return [Finding(OK, 'stamp 0 on a latched topic: known beforehand, it holds at all times')]
    if any(stamp == 0 for stamp in stamps):
        return [Finding(WRONG, 'stamp 0: the sender marks its data as invalid (CRTK)', 'see its diagnostics')]
    found = []
    age = statistics.median((at - stamp) * 1e-9 for stamp, at in zip(stamps, arrivals, strict=True))
    sync = 'synchronise the clocks (chrony, PTP), or set use_sim_time in replay'
    if age < -FUTURE_S:
        found.append(Finding(WRONG, f'stamps lie {-age:.3f} s in the future (limit {FUTURE_S} s)', sync))
    elif age > STALE_S and not latched:
        found.append(Finding(WRONG, f'data are {age:.3f} s old on arrival (limit {STALE_S} s)', sync))
    else:
        found.append(Finding(OK, f'data are {age * 1e3:.1f} ms old on arrival'))
    back = [(b - a) * 1e-9 for a, b in itertools.pairwise(stamps) if b < a]
    if back:
        text = f'stamps jump back {len(back)} time(s), by {-min(back):.3f} s at most'
        found.append(Finding(WRONG, text, 'a bag that loops or two senders do this (twin explain CLOCK_JUMP)'))
    if len(stamps) > 2 and len(set(stamps)) == 1:
        found.append(Finding(WRONG, 'every message carries the same stamp', 'the sender repeats old data'))
    return found


def _frame(facts: Facts) -> list[Finding]:
    if not facts.frame:
        return []
    if facts.frame not in facts.frames:
        text = f'frame {facts.frame!r} is not in tf{nearest(facts.frame, facts.frames)}'
        return [Finding(WRONG, text, '`twin frames` draws what is there')]
    if facts.world not in facts.frames:
        return [
            Finding(NOTE, f'frame {facts.frame!r} is in tf below {facts.frame_root!r}; there is no {facts.world!r}')
        ]
    if facts.frame_root != facts.world_root:
        text = f'no tf path from {facts.world!r} to {facts.frame!r}: it hangs below {facts.frame_root!r}'
        return [Finding(WRONG, text, f'publish the transform {facts.world_root!r} → {facts.frame_root!r}')]
    return [Finding(OK, f'frame {facts.frame!r} reaches {facts.world!r} in tf')]


def _diagnostics(facts: Facts) -> list[Finding]:
    found = []
    for item in facts.diagnostics:
        if item.level > 0:
            mend = f'twin explain {item.code}' if item.code else ''
            found.append(Finding(WRONG, f'{item.name} says: {item.message or item.code}', mend))
    return found


def why(topic: str, *, seconds: float = 3.0, world: str = 'world', json: bool = False) -> int:
    """Listen to a topic and print what is wrong with it; 1 when something is."""
    from twin_nodes.app.why_gather import gather

    findings = explain(gather(topic, seconds=seconds, world=world))
    for finding in findings:
        print(json_module.dumps(finding.__dict__) if json else finding)
    return 1 if any(finding.level == WRONG for finding in findings) else 0
