"""The tree of frames over time: what set_transform() puts in and lookups read."""

import threading

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time

from .checks import check_name, checked_pose, frame_names, nanoseconds
from .edges import MovingEdge, StaticEdge, as_yaml
from .exceptions import ConnectivityException, InvalidArgumentException, LookupException, TransformException
from .messages import build_transform
from .rigid import IDENTITY, Pose, compose, inverse

Edge = MovingEdge | StaticEdge
Path = tuple[tuple[Edge, ...], tuple[Edge, ...]]

DEFAULT_CACHE_S = 10.0
MAX_DEPTH = 1000
MAX_CACHED_PATHS = 4096


class BufferCore:
    """A tree of frames, each at rest or moving in its one parent, with the samples of the last seconds.

    Unlike the C++ tf2, which takes what comes last, it refuses a second parent, a loop, and a frame that is at rest
    and moving: `clear()` forgets the moving frames, and with them their parents.

    Args:
        cache_time: How long samples are kept before the newest one of the same frame; 10 s when not given.
    """

    def __init__(self, cache_time: Duration | None = None) -> None:
        self._cache_ns = int(DEFAULT_CACHE_S * 1e9) if cache_time is None else nanoseconds(cache_time)
        self._edges: dict[str, Edge] = {}
        self._names: set[str] = set()
        self._parents: set[str] = set()
        self._paths: dict[tuple[str, str], Path] = {}
        self._lock = threading.RLock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Put in where a moving frame was.

        Args:
            transform: header.frame_id is the parent, child_frame_id the frame; metres, unit quaternion.
            authority: Who says so.

        Raises:
            InvalidArgumentException: Empty or equal names, NaN or Inf, not a rotation, a second parent, a loop, a
                frame that is at rest, or a sample older than what is kept.
        """
        self._insert(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Put in where a frame is, for all times; a later call with the same parent replaces it.

        Args:
            transform: header.frame_id is the parent, child_frame_id the frame; metres, unit quaternion.
            authority: Who says so.

        Raises:
            InvalidArgumentException: Empty or equal names, NaN or Inf, not a rotation, a second parent, a loop, or a
                frame that moves.
        """
        self._insert(transform, authority, is_static=True)

    def _insert(self, transform: TransformStamped, authority: str, *, is_static: bool) -> None:
        parent, child = frame_names(transform, authority)
        pose = checked_pose(transform.transform, child, authority)
        with self._lock:
            edge = self._edges.get(child)
            if edge is None:
                edge = self._new_edge(parent, child, authority, pose, is_static)
            elif edge.parent != parent:
                raise InvalidArgumentException(
                    f'"{child}" already has the parent "{edge.parent}" (from {edge.authority}); {authority} gives it '
                    f'the parent "{parent}". A frame has one parent'
                )
            elif edge.is_static != is_static:
                was, now = ('static', 'moving') if edge.is_static else ('moving', 'static')
                raise InvalidArgumentException(
                    f'"{child}" in "{parent}" is {was} (from {edge.authority}); {authority} sends it as {now}. '
                    'A frame comes on /tf or on /tf_static, not on both'
                )
            if is_static:
                edge.pose = pose
            else:
                edge.insert(nanoseconds(transform.header.stamp), pose)
            edge.authority = authority

    def _new_edge(self, parent: str, child: str, authority: str, pose: Pose, is_static: bool) -> Edge:
        self._refuse_loop(parent, child, authority)
        edge = (
            StaticEdge(parent, child, authority, pose)
            if is_static
            else MovingEdge(parent, child, authority, self._cache_ns)
        )
        self._edges[child] = edge
        self._names.update((parent, child))
        self._parents.add(parent)
        self._paths.clear()
        return edge

    def _refuse_loop(self, parent: str, child: str, authority: str) -> None:
        if child not in self._parents:
            return  # nothing hangs below the child, so the parent does not either
        chain = [parent]
        while edge := self._edges.get(chain[-1]):
            chain.append(edge.parent)
            if edge.parent == child:
                ring = ' → '.join([child, *chain])
                raise InvalidArgumentException(f'{authority} would close a loop of frames: {ring}')
            if len(chain) > MAX_DEPTH:
                raise InvalidArgumentException(f'"{child}" would lie more than {MAX_DEPTH} frames below the root')

    def clear(self) -> None:
        """Forget the moving frames. The static ones stay: they hold at all times, and nobody sends them again."""
        with self._lock:
            self._edges = {child: edge for child, edge in self._edges.items() if edge.is_static}
            self._parents = {edge.parent for edge in self._edges.values()}
            self._names = self._parents | self._edges.keys()
            self._paths.clear()

    def lookup_transform_core(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """The pose of the source frame in the target frame, target_T_source.

        Args:
            target_frame: The frame in which the answer is given.
            source_frame: The frame whose pose is wanted.
            time: When; 0 means the newest time for which the whole chain is known.

        Returns:
            The transform with the time for which it holds.

        Raises:
            InvalidArgumentException: A name is empty or begins with a slash.
            LookupException: A frame is not known.
            ConnectivityException: No chain ties the frames.
            ExtrapolationException: A link of the chain has no data around that time.
        """
        stamp, pose = self._lookup(target_frame, source_frame, nanoseconds(time))
        return build_transform(target_frame, source_frame, stamp, pose)

    def lookup_transform_full_core(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str
    ) -> TransformStamped:
        """The pose that the source frame had at one time, in the target frame of another time.

        Args:
            target_frame: The frame in which the answer is given.
            target_time: The time of the target frame; 0 for the newest.
            source_frame: The frame whose pose is wanted.
            source_time: The time of the source frame; 0 for the newest.
            fixed_frame: The frame that is taken to be at rest between both times.

        Returns:
            target_T_source, stamped with the target's time.

        Raises:
            TransformException: As `lookup_transform_core`, for either half.
        """
        with self._lock:
            _, fixed_T_source = self._lookup(fixed_frame, source_frame, nanoseconds(source_time))
            stamp, target_T_fixed = self._lookup(target_frame, fixed_frame, nanoseconds(target_time))
        return build_transform(target_frame, source_frame, stamp, compose(target_T_fixed, fixed_T_source))

    def can_transform_core(self, target_frame: str, source_frame: str, time: Time) -> tuple[bool, str]:
        """Whether `lookup_transform_core` would answer, and if not, why."""
        try:
            self._lookup(target_frame, source_frame, nanoseconds(time))
        except TransformException as error:
            return False, str(error)
        return True, ''

    def can_transform_full_core(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str
    ) -> tuple[bool, str]:
        """Whether `lookup_transform_full_core` would answer, and if not, why."""
        try:
            self.lookup_transform_full_core(target_frame, target_time, source_frame, source_time, fixed_frame)
        except TransformException as error:
            return False, str(error)
        return True, ''

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> Time:
        """The newest time for which the whole chain between two frames is known; 0 when all of it is static."""
        with self._lock:
            return Time(nanoseconds=_latest(self._path(target_frame, source_frame)))

    def _lookup(self, target: str, source: str, stamp: int) -> tuple[int, Pose]:
        """target_T_source at a stamp in nanoseconds, with the stamp for which it holds."""
        with self._lock:
            path = self._paths.get((target, source)) or self._path(target, source)
            if not stamp:
                stamp = _latest(path)
            rising, falling = path
            top_T_source = _chain(rising, stamp)
            if not falling:
                return stamp, top_T_source
            target_T_top = inverse(_chain(falling, stamp))
            return stamp, compose(target_T_top, top_T_source) if rising else target_T_top

    def _path(self, target: str, source: str) -> Path:
        """The edges from the source up, and from the target up, to where both meet."""
        for frame in (target, source):
            check_name(frame)
        if target == source:
            return (), ()
        for frame in (target, source):
            if frame not in self._names:
                raise LookupException(f'"{frame}" does not exist; known frames: {self._some_names()}')
        above_source = self._ancestry(source)
        above_target = self._ancestry(target)
        shared = 0
        for one, other in zip(reversed(above_source), reversed(above_target), strict=False):
            if one is not other:
                break
            shared += 1
        rising = tuple(above_source[: len(above_source) - shared])
        falling = tuple(above_target[: len(above_target) - shared])
        source_root = above_source[-1].parent if above_source else source
        target_root = above_target[-1].parent if above_target else target
        if source_root != target_root:
            raise ConnectivityException(
                f'Could not find a connection between "{target}" and "{source}" because they are not part of the same '
                f'tree: the roots are "{target_root}" and "{source_root}"'
            )
        if len(self._paths) >= MAX_CACHED_PATHS:
            self._paths.clear()
        self._paths[target, source] = rising, falling
        return rising, falling

    def _ancestry(self, frame: str) -> list[Edge]:
        edges = []
        while edge := self._edges.get(frame):
            edges.append(edge)
            frame = edge.parent
            if len(edges) > MAX_DEPTH:
                raise LookupException(f'"{edges[0].child}" lies more than {MAX_DEPTH} frames below the root')
        return edges

    def _some_names(self) -> str:
        names = sorted(self._names)
        return (', '.join(names[:10]) + (f' … ({len(names)} in all)' if len(names) > 10 else '')) or 'none'

    def all_frames_as_yaml(self) -> str:
        """The frames with parent, broadcaster, rate, newest and oldest stamp and span in seconds, as YAML."""
        with self._lock:
            return ''.join(as_yaml(edge) for edge in self._edges.values()) or '[]'

    def all_frames_as_string(self) -> str:
        """One line per frame: its name and its parent's."""
        with self._lock:
            return ''.join(f'Frame {edge.child} exists with parent {edge.parent}.\n' for edge in self._edges.values())

    def _getFrameStrings(self) -> list[str]:
        """The names of all frames, as tf2_py gives them."""
        with self._lock:
            return sorted(self._names)

    def _frameExists(self, frame: str) -> bool:
        """Whether a frame is known, as tf2_py says it."""
        return frame in self._names


def _latest(path: Path) -> int:
    """The newest stamp that every moving edge reaches, in nanoseconds; 0 when none moves."""
    rising, falling = path
    return min((edge.latest for edge in (*rising, *falling) if not edge.is_static), default=0)


def _chain(edges: tuple[Edge, ...], stamp: int) -> Pose:
    """The pose of the first edge's child in the last edge's parent."""
    if not edges:
        return IDENTITY
    pose = edges[0].at(stamp)
    for edge in edges[1:]:
        pose = compose(edge.at(stamp), pose)
    return pose
