"""One edge of the tree: where a frame lies in its parent, over time or for good."""

import json
from bisect import bisect_left

from .exceptions import ExtrapolationException, InvalidArgumentException
from .rigid import Pose, interpolate

COMPACT_AFTER = 256


def seconds(stamp: int) -> str:
    """Nanoseconds as text in seconds, exactly."""
    return f'{stamp // 1_000_000_000}.{stamp % 1_000_000_000:09d}'


class StaticEdge:
    """A frame fixed in its parent.

    Args:
        parent: Name of the parent frame.
        child: Name of the frame.
        authority: Who said so.
        pose: parent_T_child.
    """

    __slots__ = ('authority', 'child', 'parent', 'pose')

    def __init__(self, parent: str, child: str, authority: str, pose: Pose) -> None:
        self.parent = parent
        self.child = child
        self.authority = authority
        self.pose = pose

    is_static = True
    latest = None
    earliest = None

    def __len__(self) -> int:
        return 1

    def at(self, stamp: int) -> Pose:
        """parent_T_child, the same at every time."""
        return self.pose


class MovingEdge:
    """A frame that moves in its parent: samples sorted by stamp, over the last `cache_ns`.

    Args:
        parent: Name of the parent frame.
        child: Name of the frame.
        authority: Who sent the newest sample.
        cache_ns: How far before the newest sample the others may lie, in nanoseconds.
    """

    __slots__ = ('authority', 'cache_ns', 'child', 'parent', 'poses', 'stamps', 'start')

    is_static = False

    def __init__(self, parent: str, child: str, authority: str, cache_ns: int) -> None:
        self.parent = parent
        self.child = child
        self.authority = authority
        self.cache_ns = cache_ns
        self.stamps: list[int] = []
        self.poses: list[Pose] = []
        self.start = 0  # samples before this index have expired and wait to be deleted together

    def __len__(self) -> int:
        return len(self.stamps) - self.start

    @property
    def latest(self) -> int:
        """Stamp of the newest sample, in nanoseconds."""
        return self.stamps[-1]

    @property
    def earliest(self) -> int:
        """Stamp of the oldest sample, in nanoseconds."""
        return self.stamps[self.start]

    def insert(self, stamp: int, pose: Pose) -> None:
        """Keep a sample; a second one with the same stamp takes the place of the first.

        Args:
            stamp: Time of measurement, in nanoseconds.
            pose: parent_T_child.

        Raises:
            InvalidArgumentException: The sample is older than everything that may be kept.
        """
        stamps = self.stamps
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
            self.poses.append(pose)
            self._expire()
            return
        if stamp < stamps[-1] - self.cache_ns:
            raise InvalidArgumentException(
                f'the transform of "{self.child}" at time {seconds(stamp)} is too old: the newest is of '
                f'{seconds(stamps[-1])} and only {self.cache_ns * 1e-9:g} s are kept; clear() starts again'
            )
        index = bisect_left(stamps, stamp, self.start)
        if stamps[index] == stamp:
            self.poses[index] = pose
        else:
            stamps.insert(index, stamp)
            self.poses.insert(index, pose)

    def _expire(self) -> None:
        stamps = self.stamps
        limit = stamps[-1] - self.cache_ns
        start = self.start
        while stamps[start] < limit:
            start += 1
        if start > COMPACT_AFTER and 2 * start > len(stamps):
            del stamps[:start]
            del self.poses[:start]
            start = 0
        self.start = start

    def at(self, stamp: int) -> Pose:
        """parent_T_child at a time.

        Args:
            stamp: The time, in nanoseconds.

        Returns:
            The sample of that time, or what lies between its neighbours.

        Raises:
            ExtrapolationException: The time lies before the oldest or after the newest sample.
        """
        stamps = self.stamps
        newest = stamps[-1]
        if stamp > newest:
            raise self._beyond(stamp, 'into the future', 'latest', newest)
        index = bisect_left(stamps, stamp, self.start)
        after = stamps[index]
        if after == stamp:
            return self.poses[index]
        if index == self.start:
            raise self._beyond(stamp, 'into the past', 'earliest', after)
        before = stamps[index - 1]
        poses = self.poses
        return interpolate(poses[index - 1], poses[index], (stamp - before) / (after - before))

    def _beyond(self, stamp: int, where: str, which: str, available: int) -> ExtrapolationException:
        only = ' (the only one)' if len(self) == 1 else ''
        return ExtrapolationException(
            f'Lookup would require extrapolation {where}.  Requested time {seconds(stamp)} but the {which} data is at '
            f'time {seconds(available)}{only}, for frame [{self.child}] in [{self.parent}]'
        )


def as_yaml(edge: MovingEdge | StaticEdge) -> str:
    """What is known of an edge, as one entry of a YAML mapping; times in seconds, rate in hertz."""
    latest, earliest = edge.latest or 0, edge.earliest or 0
    span = latest - earliest
    return (
        f'{json.dumps(edge.child)}:\n'
        f'  parent: {json.dumps(edge.parent)}\n'
        f'  broadcaster: {json.dumps(edge.authority)}\n'
        f'  rate: {len(edge) * 1e9 / max(span, 100_000):.3f}\n'
        f'  most_recent_transform: {seconds(latest)}\n'
        f'  oldest_transform: {seconds(earliest)}\n'
        f'  buffer_length: {span * 1e-9:.3f}\n'
    )
