"""`twin frames`: the tree of frames, with rate, age, clock and error of each link, and what each costs at a point."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twin_nodes.ros.conversions import stamp_to_ns

if TYPE_CHECKING:
    from twin_nodes.app.frames_errors import Errors


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
        self._extra = _Extra(None, '', (0.0, 0.0, 0.0))

    def add(self, message: Any, *, static: bool, now_ns: int) -> None:
        """Take in a tf2_msgs/TFMessage that arrived at `now_ns` [ns]."""
        for transform in message.transforms:
            child, parent = transform.child_frame_id, transform.header.frame_id
            link = self.links.setdefault(child, Link(child, parent, static))
            if link.parent != parent:
                link.publisher_changes += 1
                link.parent = parent
            stamp = stamp_to_ns(transform.header.stamp)
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

    def text(self, errors: Errors | None = None, at: str = '', point: Any = (0.0, 0.0, 0.0)) -> str:
        """Draw the tree, a line per frame; with errors, their sigma at a point [m] (3,) of a frame."""
        self._extra = _Extra(errors, at, point)
        roots = sorted({self.root(frame) for frame in self.frames})
        return '\n'.join(line for root in roots for line in self._branch(root, '', set()))

    def _branch(self, frame: str, indent: str, seen: set[str]) -> list[str]:
        lines = [f'{indent}{frame}{_words(self.links.get(frame), self._extra.words(frame))}']
        if frame in seen:
            return [f'{indent}{frame} (a loop)']
        children = sorted(link.child for link in self.links.values() if link.parent == frame)
        for child in children:
            lines += self._branch(child, indent + '  ', seen | {frame})
        return lines


@dataclass
class _Extra:
    """What is said of a link besides its rate and age."""

    errors: Errors | None
    at: str
    point: Any

    def words(self, child: str) -> str:
        if self.errors is None:
            return ''
        offset = self.errors.offset(child)
        sigma = self.errors.sigma_at(child, self.at, self.point)
        said = '' if sigma is None else f'σ {sigma[0] * 1e3:.3f} mm {sigma[1] * 57.29578:.3f}°'
        return ''.join(f', {word}' for word in (offset, said) if word)


def _words(link: Link | None, extra: str = '') -> str:
    if link is None:
        return ''
    change = f', PARENT CHANGED {link.publisher_changes} times' if link.publisher_changes else ''
    if link.static:
        return f'  (fixed{extra}{change})'
    rate = 'one sample' if link.rate_hz is None else f'{link.rate_hz:.1f} Hz'
    ages = sorted(link.ages_s)
    return f'  ({rate}, age {ages[len(ages) // 2] * 1e3:.1f} ms, oldest {ages[-1] * 1e3:.1f} ms{extra}{change})'


def as_records(
    tree: Tree, errors: Errors | None = None, at: str = '', point: Any = (0.0, 0.0, 0.0)
) -> list[Mapping[str, object]]:
    """List the links for machines; ages are medians [s], of fixed links None; sigma in m and rad at a point."""
    sigmas = {c: errors.sigma_at(c, at, point) if errors is not None else None for c in tree.links}
    return [
        {
            'frame': link.child,
            'parent': link.parent,
            'fixed': link.static,
            'rate_hz': link.rate_hz,
            'age_s': None if link.static else sorted(link.ages_s)[len(link.ages_s) // 2],
            'sigma_m': (sigmas[link.child] or (None, None))[0],
            'sigma_rad': (sigmas[link.child] or (None, None))[1],
            'clock': errors.offset(link.child) if errors is not None else '',
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


def follow_errors(node: Any, errors: Errors) -> None:
    """Feed the errors from tf, the diagnostics and every topic of poses with covariance, also those that come later."""
    import numpy as np
    from diagnostic_msgs.msg import DiagnosticArray
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from tf2_msgs.msg import TFMessage

    from twin_nodes.core.errors import InputError
    from twin_nodes.ros.conversions import matrix_of, stamp_to_ns

    def on_tf(message: Any) -> None:
        for edge in message.transforms:
            try:
                pose = matrix_of(edge.transform.translation, edge.transform.rotation)
            except InputError:
                continue
            errors.add_edge(edge.header.frame_id, edge.child_frame_id, stamp_to_ns(edge.header.stamp), pose)

    def on_pose(message: Any) -> None:
        try:
            pose = matrix_of(message.pose.pose.position, message.pose.pose.orientation)
        except InputError:
            return
        covariance = np.array(message.pose.covariance, float).reshape(6, 6)
        errors.add_pose(message.header.frame_id, stamp_to_ns(message.header.stamp), pose, covariance)

    def on_diagnostics(message: Any) -> None:
        for status in message.status:
            errors.add_status(status.name, {item.key: item.value for item in status.values})

    heard: set[tuple[str, bool]] = set()

    def look() -> None:
        for topic, types in node.get_topic_names_and_types():
            if 'geometry_msgs/msg/PoseWithCovarianceStamped' not in types:
                continue
            for info in node.get_publishers_info_by_topic(topic):
                latched = info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
                if (topic, latched) not in heard:
                    heard.add((topic, latched))
                    node.create_subscription(PoseWithCovarianceStamped, topic, on_pose, fixed if latched else moving)

    moving = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    fixed = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(TFMessage, '/tf', on_tf, moving)
    node.create_subscription(TFMessage, '/tf_static', on_tf, fixed)
    node.create_subscription(DiagnosticArray, '/diagnostics', on_diagnostics, 10)
    node.create_timer(0.1, look)


def frames(*, seconds: float, json: bool = False, at: str = '', inside: str = '', point_mm: str = '') -> int:
    """Listen for some seconds and print the tree; 1 when nothing was heard.

    Args:
        seconds: How long to listen [s].
        json: Whether to print one JSON object per line.
        at: Frame of the point at which errors are told; a tip when left out.
        inside: Frame in which it is told; the anatomy when left out.
        point_mm: The point in that frame, as x,y,z in millimetres; its origin when left out.

    Raises:
        InputError: No such frame, or no such point.
    """
    import numpy as np

    from twin_nodes.app.frames_errors import Errors, chain_lines, chain_record, default_point
    from twin_nodes.app.listening import Listener

    point = _point(point_mm)
    tree, errors = Tree(), Errors()
    with Listener('twin_frames') as listener:
        subscribe(listener.node, tree)
        follow_errors(listener.node, errors)
        listener.spin(seconds)
    errors.settle()
    if not tree.links:
        print(f'no transform on /tf or /tf_static within {seconds:g} s; is a launch running? (`twin launch`)')
        return 1
    usual = default_point(tree.frames)
    start, end = inside or usual[0], at or usual[1]
    told = bool(start and end)
    if told:
        errors.tell(start, end, np.array(point))
    if json:
        for record in as_records(tree, errors, end, np.array(point)):
            print(json_module.dumps(record))
        if told:
            print(json_module.dumps(chain_record(errors, start, end, np.array(point))))
        return 0
    print(tree.text(errors, end, np.array(point)))
    if told:
        print('\n'.join(chain_lines(errors, start, end, np.array(point))))
    return 0


def _point(text: str) -> tuple[float, float, float]:
    """Read x,y,z in millimetres as metres."""
    from twin_nodes.core.errors import InputError

    try:
        values = [float(part) * 1e-3 for part in text.replace(' ', ',').split(',') if part]
    except ValueError:
        values = [float('nan')]
    if text and (len(values) != 3 or not all(abs(value) < 1e3 for value in values)):
        raise InputError(f'point {text!r}: expected x,y,z in millimetres, such as 0,0,-12.5')
    return (values[0], values[1], values[2]) if text else (0.0, 0.0, 0.0)
