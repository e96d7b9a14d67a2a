"""`twin frames`: the tree of frames as text, with the rate and the age of each link, and what each costs at the tip."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Link:
    """What was heard of one frame.

    Args:
        child: The frame.
        parent: The frame it hangs on.
        static: Whether it came on /tf_static.
        publisher_changes: How often its parent changed while listening.
        stamps_ns: Stamps heard [ns].
        ages_s: Arrival minus stamp for each [s].
    """

    child: str
    parent: str
    static: bool
    publisher_changes: int = 0
    stamps_ns: list[int] = field(default_factory=list)
    ages_s: list[float] = field(default_factory=list)

    @property
    def rate_hz(self) -> float | None:
        """Mean rate by the stamps [Hz], or None for fewer than two."""
        stamps = sorted(set(self.stamps_ns))
        return (len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0]) if len(stamps) > 1 else None


class Tree:
    """All links heard so far."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}

    def add(self, message: Any, *, static: bool, now_ns: int) -> None:
        """Take in a tf2_msgs/TFMessage that arrived at `now_ns` [ns]."""
        for transform in message.transforms:
            child, parent = transform.child_frame_id, transform.header.frame_id
            link = self.links.setdefault(child, Link(child, parent, static))
            if link.parent != parent:
                link.publisher_changes += 1
                link.parent = parent
            stamp = transform.header.stamp.sec * 1_000_000_000 + transform.header.stamp.nanosec
            link.stamps_ns.append(stamp)
            link.ages_s.append((now_ns - stamp) * 1e-9)

    @property
    def frames(self) -> set[str]:
        """All frames, roots too."""
        return set(self.links) | {link.parent for link in self.links.values()}

    def root(self, frame: str) -> str:
        """Follow the parents of a frame to the top; a loop ends where it began."""
        seen = set()
        while frame in self.links and frame not in seen:
            seen.add(frame)
            frame = self.links[frame].parent
        return frame

    def text(self) -> str:
        """Draw the tree, a line per frame."""
        roots = sorted({self.root(frame) for frame in self.frames})
        return '\n'.join(line for root in roots for line in self._branch(root, '', set()))

    def _branch(self, frame: str, indent: str, seen: set[str]) -> list[str]:
        lines = [f'{indent}{frame}{_words(self.links.get(frame))}']
        if frame in seen:
            return [f'{indent}{frame} (a loop)']
        children = sorted(link.child for link in self.links.values() if link.parent == frame)
        for child in children:
            lines += self._branch(child, indent + '  ', seen | {frame})
        return lines


def _words(link: Link | None) -> str:
    if link is None:
        return ''
    change = f', PARENT CHANGED {link.publisher_changes} times' if link.publisher_changes else ''
    if link.static:
        return f'  (fixed{change})'
    rate = 'one sample' if link.rate_hz is None else f'{link.rate_hz:.1f} Hz'
    ages = sorted(link.ages_s)
    return f'  ({rate}, age {ages[len(ages) // 2] * 1e3:.1f} ms, oldest {ages[-1] * 1e3:.1f} ms{change})'


def as_records(tree: Tree) -> list[Mapping[str, object]]:
    """List the links for machines; ages are medians [s]."""
    return [
        {
            'frame': link.child,
            'parent': link.parent,
            'fixed': link.static,
            'rate_hz': link.rate_hz,
            'age_s': sorted(link.ages_s)[len(link.ages_s) // 2],
        }
        for link in tree.links.values()
    ]


def subscribe(node: Any, tree: Tree) -> None:
    """Feed a tree from /tf and /tf_static."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from tf2_msgs.msg import TFMessage

    clock = node.get_clock()
    moving = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    fixed = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(
        TFMessage, '/tf', lambda m: tree.add(m, static=False, now_ns=clock.now().nanoseconds), moving
    )
    node.create_subscription(
        TFMessage, '/tf_static', lambda m: tree.add(m, static=True, now_ns=clock.now().nanoseconds), fixed
    )


def _follow_chain(node: Any, chain: dict[str, str]) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    def on_diagnostics(message: Any) -> None:
        for status in message.status:
            if status.name == 'guidance: chain':
                chain.clear()
                chain.update({item.key: item.value for item in status.values})

    node.create_subscription(DiagnosticArray, '/diagnostics', on_diagnostics, 10)


def chain_text(values: Mapping[str, str]) -> str:
    """Say from the diagnostic `guidance: chain` how sure the tip is and which link costs most; '' without a chain."""
    if 'tip_sigma_mm' not in values:
        return ''
    costs = {
        key.removesuffix('_mm').replace('_', ' '): float(value)
        for key, value in values.items()
        if key.endswith('_mm') and key != 'tip_sigma_mm'
    }
    parts = ', '.join(f'{name} {cost:.2f}' for name, cost in sorted(costs.items(), key=lambda item: -item[1]))
    total = float(values['tip_sigma_mm'])
    return f'tip in the anatomy: σ {total:.2f} mm ({parts}); {values["costs_most"]} costs most'


def frames(*, seconds: float, json: bool = False) -> int:
    """Listen for some seconds and print the tree; 1 when nothing was heard."""
    from twin_nodes.app.listening import Listener

    tree = Tree()
    chain: dict[str, str] = {}
    with Listener('twin_frames') as listener:
        subscribe(listener.node, tree)
        _follow_chain(listener.node, chain)
        listener.spin(seconds)
    if json:
        for record in as_records(tree):
            print(json_module.dumps(record))
    elif tree.links:
        print(tree.text())
        if error := chain_text(chain):
            print(error)
    else:
        print(f'no transform on /tf or /tf_static within {seconds:g} s; is a launch running? (`twin launch`)')
    return 0 if tree.links else 1
