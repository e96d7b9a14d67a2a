"""Hands what is measured to a session in the order of the stamps, so that a replay gives the same frames.

Live, all counts when it arrives, and frames are asked for by the clock. In replay, samples of tools and sensors wait
for one another (`StampOrder`), and `event_wait` of the stamps longer for what comes now and then (clouds, jaws,
planes), so that it counts from its own stamp on, as it did live; and a frame is made at each full period of the stamps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twin_nodes.core.anatomy.nonrigid.tracker import Deformation
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.anatomy.session_frame import Frame
from twin_nodes.core.anatomy.session_remaining import Loose
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.stamp_order import StampOrder


@dataclass(frozen=True, eq=False)
class Tip:
    """The tip of a tool in the anatomy, shape (4, 4), and the variance of a coordinate of it [m²]."""

    tool: str
    anatomy_T_tip: Array
    variance: float


@dataclass(frozen=True, eq=False)
class Place:
    """A sensor in the tissue [m] (3,), and the covariance of its place [m²] (3, 3)."""

    sensor: str
    place: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Felt:
    """The measured force of a tool on the tissue [N] (3,), in the axes of its tip or of the anatomy."""

    tool: str
    force: Array
    in_tip: bool


@dataclass(frozen=True, eq=False)
class Turn:
    """What another part does between two samples, as a drill that carves the body where it is then."""

    act: Callable[[], None]


@dataclass(frozen=True)
class Lost:
    """A tool or sensor whose place is not known."""

    name: str


@dataclass(frozen=True)
class Grip:
    """The jaws of a tool close or open."""

    tool: str
    closed: bool


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points on the surface: points in the anatomy [m], shape (n, 3), and their σ [m], one or (n,).

    They may be asked for when the cloud's turn has come: what ties its frame to the anatomy may come later than itself.
    """

    points: Callable[[], Array]
    sigma: Array | float


@dataclass(frozen=True)
class Refused:
    """What was not used, or not when it should have been: stamp, what it was, and why."""

    stamp_ns: int
    what: str
    code: str
    reason: str


@dataclass(frozen=True)
class Pressed:
    """The pressure on the outside, less that of the scan [Pa]."""

    pascal: float


@dataclass(frozen=True, eq=False)
class Cut:
    """A plane n · x + d > 0 beyond which tissue is taken away: n in the anatomy (3,), and d [m]."""

    normal: Array
    offset: float


@dataclass(frozen=True)
class Resected:
    """What a plane took away.

    Args:
        stamp_ns: When.
        volume: Of it, at rest [m³].
        crumbs: Loose pieces among it, see `Remaining.crumbs`.
        plane: The plane.
        positions: Where the nodes were [m], shape (n, 3).
    """

    stamp_ns: int
    volume: float
    crumbs: Loose
    plane: Cut
    positions: Array


Sample = Tip | Place | Felt | Lost | Turn
Event = Grip | Cloud | Pressed | Cut
Outcome = Frame | Deformation | Refused | Resected


class SessionFeed:
    """Feeds one session.

    Args:
        session: The session.
        streams: Names of the tools and sensors, and of the forces of tools.
        period_ns: Of the frames in replay.
        event_wait_ns: How far tools and sensors must be past a sample in replay, before it counts: a cloud, plane or
            signal of jaws that is heard by then counts from its stamp on.
        max_age_ns: How long a tool or sensor may be unseen before what it held or marked is free, in replay; live the
            clock tells, see `Lost`.
        ordered: Whether stamps decide (replay) and not the order of arrival.
    """

    def __init__(
        self,
        session: AnatomySession,
        streams: Sequence[str],
        *,
        period_ns: int,
        event_wait_ns: int,
        max_age_ns: int,
        ordered: bool,
    ) -> None:
        self.session = session
        self._streams, self._ordered = tuple(streams), ordered and bool(streams)
        self._frame_after_cloud = ordered and not streams
        self._period_ns, self._wait_ns, self._max_age_ns = period_ns, event_wait_ns, max_age_ns
        self._explained = False
        self.before: Callable[[int], None] | None = None  # asked with each stamp, before what is of it counts
        self._start()

    def _start(self) -> None:
        self._order: StampOrder[Sample] = StampOrder(self._streams)
        self._held: deque[tuple[int, list[Sample]]] = deque()
        self._events: list[tuple[int, int, Event]] = []
        self._seen: dict[str, int] = {}  # the newest stamp of each tool and sensor that is not lost, in replay
        self._count = self._due_ns = self._left_ns = 0
        self.is_changed = True

    def reset(self, *, keep_cuts: bool = False) -> None:
        """Begin anew; see `AnatomySession.reset`."""
        self.session.reset(keep_cuts=keep_cuts)
        self._start()

    def add(self, stream: str, stamp_ns: int, sample: Sample) -> list[Outcome]:
        """Take a sample of a tool or sensor and return what it brings about."""
        if not self._ordered:
            return self._apply(stamp_ns, sample)
        return self._leave(self._order.add(stream, stamp_ns, sample))

    def join(self, stream: str) -> None:
        """Let another stream take its turns among the others in replay; before the first sample."""
        self._streams = (*self._streams, stream)
        self._ordered, self._frame_after_cloud = self._ordered or self._frame_after_cloud, False
        self._start()

    def give_up(self, stream: str) -> list[Outcome]:
        """Wait for a stream no longer, in replay, as it has ended."""
        return self._leave(self._order.silent(stream), ended=True)

    @property
    def waits(self) -> bool:
        """Whether samples wait for those of another stream, or for an event."""
        return self._order.waits or bool(self._held)

    def add_event(self, stamp_ns: int, event: Event) -> list[Outcome]:
        """Take a cloud or the word of jaws and return what it brings about."""
        if not self._ordered:
            found = self._apply(stamp_ns, event)
            return [*found, self.frame()] if self._frame_after_cloud and isinstance(event, Cloud) else found
        self._count += 1
        self._events.append((stamp_ns, self._count, event))
        self._events.sort(key=lambda item: item[:2])
        late = (self._left_ns - stamp_ns) * 1e-9
        if not self._left_ns or late < 0.0:
            return []
        return [
            Refused(stamp_ns, _name(event), 'REPLAY_LATE', f'heard {late:.2f} s of the stamps too late: counts now')
        ]

    def frame(self, out_of_time: Callable[[], bool] | None = None) -> Frame:
        """Make a frame of what is known."""
        found = self.session.step(out_of_time)
        self.is_changed = found.solution.status in ('not_converged', 'out_of_time') or self.session.is_on_its_way
        return found

    def _leave(self, frames: list[tuple[int, list[Sample]]], *, ended: bool = False) -> list[Outcome]:
        found: list[Outcome] = []
        self._held.extend(frames)
        newest_ns = self._held[-1][0] if self._held else 0
        while self._held and (ended or not 0 <= newest_ns - self._held[0][0] < self._wait_ns):
            stamp_ns, samples = self._held.popleft()
            self._left_ns = stamp_ns
            while self._events and self._events[0][0] <= stamp_ns:
                event_ns, _, event = self._events.pop(0)
                found += self._apply(event_ns, event)
            found += self._lose(stamp_ns)
            for sample in samples:
                found += self._apply(stamp_ns, sample)
                if isinstance(sample, Tip | Place):
                    self._seen[sample.tool if isinstance(sample, Tip) else sample.sensor] = stamp_ns
            if stamp_ns >= self._due_ns:
                self._due_ns = (stamp_ns // self._period_ns + 1) * self._period_ns
                found.append(self.frame())
        return found

    def _lose(self, stamp_ns: int) -> list[Outcome]:
        """Let go what was held by who is not seen any more."""
        found: list[Outcome] = []
        for name in [name for name, seen_ns in self._seen.items() if stamp_ns - seen_ns > self._max_age_ns]:
            del self._seen[name]
            found += [*self._apply(stamp_ns, Lost(name)), lost(stamp_ns, name)]
        return found

    def _apply(self, stamp_ns: int, item: Sample | Event) -> list[Outcome]:
        session = self.session
        held = len(session.held)
        if self.before is not None:
            self.before(stamp_ns)
        try:
            if isinstance(item, Tip):
                session.add_tip(item.tool, stamp_ns, item.anatomy_T_tip, item.variance)
            elif isinstance(item, Place):
                session.add_sensor(item.sensor, stamp_ns, item.place, item.covariance)
            elif isinstance(item, Felt):
                session.feel(item.tool, stamp_ns, item.force, in_tip=item.in_tip)
            elif isinstance(item, Lost):
                session.lose(item.name)
            elif isinstance(item, Turn):
                item.act()
            elif isinstance(item, Grip):
                session.set_grip(item.tool, item.closed)
            elif isinstance(item, Pressed):
                session.set_pressure(stamp_ns, item.pascal)
            elif isinstance(item, Cut):
                volume = session.resect(item.normal, item.offset)
                return [Resected(stamp_ns, volume, session.crumbs, item, session.positions.copy())]
            else:
                return [self._observe(stamp_ns, item)]
        except InputError as error:
            return [Refused(stamp_ns, _name(item), error.code, str(error))]
        finally:  # a tip that neither holds nor pushes moves nothing
            moves = bool(held or len(session.held)) or session.may_push
            self.is_changed = self.is_changed or not isinstance(item, Tip | Felt) or moves
        return []

    def _observe(self, stamp_ns: int, cloud: Cloud) -> Deformation:
        """Look into the first refusal of a row only: that takes seconds."""
        try:
            found = self.session.observe(stamp_ns, cloud.points(), cloud.sigma, explain=not self._explained)
        except InputError as error:
            self._explained = self._explained or error.code == 'OBSERVED_REFUSED'
            raise
        self._explained = False
        return found


def lost(stamp_ns: int, name: str) -> Refused:
    """Say that a tool or sensor is not seen any more."""
    return Refused(
        stamp_ns, f'grasp {name}', 'GRASP_LOST', f'{name} is not seen any more: what it held or marked is free'
    )


def _name(item: Sample | Event) -> str:
    """Return what a refusal is about."""
    names = {Cloud: 'observed', Pressed: 'pressure', Cut: 'resection'}
    return names.get(type(item), f'grasp {getattr(item, "tool", "")}')
