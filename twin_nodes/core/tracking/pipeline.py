"""The way of a sample: status → finite → unit → gate → filter, for all tools of one tracker."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.clock import ClockReading, DeviceClock
from twin_nodes.core.tracking.reading import ToolReading, TrackerFrame
from twin_nodes.core.tracking.results import ToolHealth, ToolLost, ToolState, TrackingResult
from twin_nodes.core.tracking.tool_tracker import PoseCorrection, ToolTracker
from twin_nodes.core.tracking.tracking_config import TrackingConfig

NAMES_KEPT = 32
JUMP_FRAMES = 3  # frames back in time, one after another, that are a jump and no disorder


@dataclass
class TrackingPipeline:
    """All tools of one tracker; fed frames, it says what each tool does. It reads no clock.

    Args:
        config: Settings.
        corrections: What mends the systematic errors of a source, by tool.
        shift_ns: Added to all stamps: the offset of this source's clock, measured against another source.
        shift_sigma: Its standard deviation [s].
    """

    config: TrackingConfig
    corrections: Mapping[str, PoseCorrection] = field(default_factory=dict)
    shift_ns: int = 0
    shift_sigma: float = 0.0
    unknown: Counter[str] = field(default_factory=Counter, init=False)
    counts: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        names = self.config.device_names or self.config.tools
        self.tools = {
            tool: ToolTracker(tool, self.config, self.corrections.get(tool), self.shift_sigma)
            for tool in self.config.tools
        }
        self._by_device = {device: self.tools[tool] for device, tool in zip(names, self.config.tools, strict=True)}
        self.clock = DeviceClock(self.config.clock)
        self._last_arrival_ns = 0
        self._last_ns = 0
        self._backward = 0

    def feed(self, frame: TrackerFrame) -> list[TrackingResult]:
        """Take one frame and return what is to be said of the tools, in the order of the readings."""
        return list(self.results(frame))

    def results(self, frame: TrackerFrame) -> Iterator[TrackingResult]:
        """As `feed`, but each tool is said before the next is computed; to be read to its end."""
        self._watch_time(frame.arrival_ns)
        reading = self.clock.update(frame.device_stamp_ns, frame.arrival_ns)
        if self.shift_ns:
            reading = replace(reading, stamp_ns=reading.stamp_ns + self.shift_ns)
        if reading.stepped:
            self.counts['CLOCK_JUMP'] += 1
        self._watch_stamps(reading)
        spoken: set[str] = set()
        for item in frame.readings:
            tool = self._by_device.get(item.device)
            if tool is None:
                self._stranger(item.device)
                continue
            spoken.add(tool.tool)
            result = self._reading(tool, item, reading.stamp_ns, frame.arrival_ns)
            if result is not None:
                yield result
        if len(spoken) == len(self.tools):
            return
        for name, tool in self.tools.items():
            if name not in spoken:
                missing = self._missing(tool, reading.stamp_ns, frame.complete)
                if missing is not None:
                    yield missing

    def health(self) -> dict[str, ToolHealth]:
        """Return the state of every tool."""
        return {name: tool.health() for name, tool in self.tools.items()}

    def silence(self, reason: str) -> list[ToolLost]:
        """Say that no tool has a pose any more, because the source is quiet and no frame will say it."""
        seen = [tool for tool in self.tools.values() if tool.state is ToolState.TRACKED]
        return [tool.lost(tool.last_ns, reason) for tool in seen]

    def clear(self) -> None:
        """Forget all poses and the clock, keep the counters."""
        for tool in self.tools.values():
            tool.clear()
        self.clock.reset()
        self._last_ns = self._last_arrival_ns = self._backward = 0

    def _reading(self, tool: ToolTracker, item: ToolReading, stamp_ns: int, arrival_ns: int) -> TrackingResult | None:
        tool.heard_ns = max(tool.heard_ns, stamp_ns)
        try:
            pose, warning = tool.gate.check(item)
            tool.gate.check_stamp(stamp_ns, arrival_ns)
            pose = tool.corrected(pose)
        except InputError as error:
            if error.code == 'TOOL_LOST':
                return tool.lost(stamp_ns, str(error))
            return tool.dropped(stamp_ns, error.code, str(error))
        other = self._swapped(tool, pose[:3, 3], stamp_ns)
        tool.raw_position, tool.raw_ns = pose[:3, 3], max(stamp_ns, tool.raw_ns)
        if other:
            tool.counts['SWAPPED'] += 1
            return tool.dropped(stamp_ns, 'GATED', f'{tool.tool} is seen where {other} was: swapped markers?')
        return tool.take(stamp_ns, pose, warning, item.covariance)

    def _swapped(self, tool: ToolTracker, position: Array, stamp_ns: int) -> str:
        """Name the tool whose place this one has taken, '' for none.

        It lasts until the tool jumps away again or is lost: a held pose is better than that of the other tool.
        """
        if len(self.tools) < 2 or not tool.last_ns:
            return ''
        if tool.swapped_with:
            if _distance(position, tool.raw_position) <= self._reach(stamp_ns - tool.raw_ns):
                return tool.swapped_with
            tool.swapped_with = ''
        fresh = self.config.filter.max_gap * NANOSECONDS
        own = _distance(position, tool.position)
        if stamp_ns - tool.last_ns > fresh or own <= self._reach(stamp_ns - tool.last_ns):
            return ''
        for name, other in self.tools.items():
            age = stamp_ns - other.last_ns
            if other is not tool and other.last_ns and age <= fresh:
                apart = _distance(position, other.position)
                if apart <= self._reach(age) and 3.0 * apart < own:
                    tool.swapped_with = name
                    return name
        return ''

    def _reach(self, elapsed_ns: int) -> float:
        settings = self.config.filter
        return settings.max_speed * abs(elapsed_ns) / NANOSECONDS + 8.0 * settings.position_noise

    def _missing(self, tool: ToolTracker, stamp_ns: int, complete: bool) -> ToolLost | None:
        if tool.state is ToolState.NEVER_SEEN and not tool.heard_ns:
            heard = [device for device, other in self._by_device.items() if other.heard_ns]
            names = ', '.join(sorted([*self.unknown, *heard])) or 'nothing'
            return tool.lost(stamp_ns, f'never seen; the source sends: {names}', 'TOOL_NEVER_SEEN')
        if complete:
            return tool.lost(stamp_ns, 'the source left the tool out of the frame')
        silent = (stamp_ns - tool.heard_ns) / NANOSECONDS
        if silent <= self.config.lost_after:
            return None
        return tool.lost(stamp_ns, f'no reading for {silent:.3f} s, limit lost_after={self.config.lost_after} s')

    def _stranger(self, device: str) -> None:
        self.counts['UNKNOWN_DEVICE'] += 1
        if device in self.unknown or len(self.unknown) < NAMES_KEPT:
            self.unknown[device] += 1

    def _watch_time(self, arrival_ns: int) -> None:
        if arrival_ns < self._last_arrival_ns - self.config.jump * NANOSECONDS:
            self.counts['CLOCK_JUMP'] += 1
            self.clear()
        self._last_arrival_ns = max(arrival_ns, self._last_arrival_ns)

    def _watch_stamps(self, reading: ClockReading) -> None:
        """Clear all when the stamps stay far behind: a bag that loops with stamps of its own."""
        behind = reading.stamp_ns < self._last_ns - self.config.jump * NANOSECONDS
        self._backward = self._backward + 1 if behind else 0
        if self._backward >= JUMP_FRAMES:
            self.counts['CLOCK_JUMP'] += 1
            for tool in self.tools.values():
                tool.clear()
            self._last_ns = self._backward = 0
        self._last_ns = max(reading.stamp_ns, self._last_ns)


def _distance(a: Array, b: Array) -> float:
    x, y, z = (a - b).tolist()
    return float((x * x + y * y + z * z) ** 0.5)
