"""The way of a sample: status → finite → unit → gate → filter, for all tools of one tracker."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import numpy as np

from twin_nodes.core.calibration.distortion import CorrectedPose
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.clock import ClockConfig, ClockReading, DeviceClock
from twin_nodes.core.tracking.filter import FilterOutcome, FilterResult, PoseFilter, PoseFilterConfig
from twin_nodes.core.tracking.gate import GateConfig, GateWarning, PoseGate
from twin_nodes.core.tracking.rate import RateConfig, RateMeter, RateReport
from twin_nodes.core.tracking.reading import ToolReading, TrackerFrame

NAMES_KEPT = 32


class PoseCorrection(Protocol):
    """What mends a systematic error of the source, such as electromagnetic distortion."""

    def correct(self, tracker_T_sensor: Array) -> CorrectedPose:
        """Return the corrected pose (4, 4) and the covariance (6, 6) that this adds.

        Raises:
            InputError: The correction is not known there.
        """
        ...


JUMP_FRAMES = 3


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the way of a sample."""

    tools: tuple[str, ...] = setting('Names of the tools in ROS; each is a topic prefix and a frame.')
    device_names: tuple[str, ...] = setting(
        'What the source calls them, in the same order; empty for the same names.', ()
    )
    lost_after: float = setting(
        'For sources that send each tool on its own: silence of a tool, in time of the others, that means lost.',
        0.1,
        unit='s',
        minimum=0.001,
        maximum=10.0,
    )
    jump: float = setting('Time going back further than this clears all state.', 1.0, unit='s', minimum=0.01)
    filter: PoseFilterConfig = group(PoseFilterConfig)
    clock: ClockConfig = group(ClockConfig)
    gate: GateConfig = group(GateConfig)
    rate: RateConfig = group(RateConfig)

    def __post_init__(self) -> None:
        if not self.tools:
            raise ConfigError('tools is empty: name at least one tool')
        if self.device_names and len(self.device_names) != len(self.tools):
            raise ConfigError(
                f'device_names has {len(self.device_names)} entries, tools has {len(self.tools)}: '
                'they must pair up, or leave device_names empty'
            )
        for key, names in (('tools', self.tools), ('device_names', self.device_names)):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)
            if twice or '' in names:
                raise ConfigError(f'{key}={list(names)}: ' + (f'{twice[0]!r} twice' if twice else 'an empty name'))


class ToolState(StrEnum):
    """Where a tool stands."""

    NEVER_SEEN = 'never seen'
    TRACKED = 'tracked'
    LOST = 'lost'


@dataclass(slots=True)
class TrackedPose:
    """A tool that was seen, at the instant of measurement.

    Args:
        tool: Its ROS name.
        stamp_ns: Time of measurement in ROS time; grows from one result of a tool to the next.
        measured: tracker_T_tool as measured and checked, shape (4, 4).
        filtered: tracker_T_tool filtered, shape (4, 4).
        covariance: Of the filtered pose, (6, 6), convention of `core.geometry.covariance`.
        velocity: Linear [m/s] and angular [rad/s], in the axes of the tracker, shape (6,).
        restarted: Whether the filter began at this sample.
        warning: Something odd with a sample that was used all the same, or None.
    """

    tool: str
    stamp_ns: int
    measured: Array
    filtered: Array
    covariance: Array
    velocity: Array
    restarted: bool
    warning: GateWarning | None


@dataclass(frozen=True, slots=True)
class ToolLost:
    """A tool without a pose at this instant; said in every frame while it lasts.

    Args:
        tool: Its ROS name.
        stamp_ns: Instant of the frame.
        code: TOOL_LOST or TOOL_NEVER_SEEN.
        reason: Why, in one line.
    """

    tool: str
    stamp_ns: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class SampleDropped:
    """A sample that must not be used; the tool may be well in the next frame.

    Args:
        tool: Its ROS name.
        stamp_ns: Instant of the sample.
        code: Entry of `core.codes.CODES`, such as NOT_FINITE, GATED or STAMP_DUPLICATE.
        reason: Why, in one line.
    """

    tool: str
    stamp_ns: int
    code: str
    reason: str


TrackingResult = TrackedPose | ToolLost | SampleDropped


@dataclass(frozen=True, slots=True)
class ToolHealth:
    """What is known of a tool, for its diagnostic.

    Args:
        state: Where it stands.
        code: Code of the last result; OK when tracked.
        reason: Line that goes with the code.
        counts: Results by code since the start; OK counts the poses, LATE those placed in the past.
        rate: Rate and jitter of its poses.
        last_ns: Stamp of the last pose; 0 for none.
    """

    state: ToolState
    code: str
    reason: str
    counts: dict[str, int]
    rate: RateReport
    last_ns: int


class ToolTracker:
    """One tool: its checks, its filter, its counters.

    Args:
        tool: ROS name.
        config: Settings shared by all tools.
        correction: Applied to each checked pose before the filter, or None.
        stamp_sigma: Standard deviation of the offset of the clock [s]; it widens the covariance of what moves.
    """

    def __init__(
        self, tool: str, config: TrackingConfig, correction: PoseCorrection | None = None, stamp_sigma: float = 0.0
    ) -> None:
        self.tool = tool
        self.config = config
        self.correction = correction
        self.stamp_sigma = stamp_sigma
        self._added = np.zeros((6, 6))
        self.gate = PoseGate(config.gate)
        self.filter = PoseFilter(config.filter)
        self.rate = RateMeter(config.rate)
        self.counts: Counter[str] = Counter()
        self.state = ToolState.NEVER_SEEN
        self.code, self.reason = 'TOOL_NEVER_SEEN', 'no reading yet'
        self.position = np.zeros(3)
        self.last_ns = 0
        self.heard_ns = 0
        self.raw_position = np.zeros(3)
        self.raw_ns = 0
        self.swapped_with = ''
        self._repeats = 0

    def lost(self, stamp_ns: int, reason: str, code: str = 'TOOL_LOST') -> ToolLost:
        """Say that the tool has no pose at this instant."""
        if code == 'TOOL_LOST':
            self.state = ToolState.LOST
            self.swapped_with = ''
        self._note(code, reason)
        return ToolLost(self.tool, stamp_ns, code, reason)

    def dropped(self, stamp_ns: int, code: str, reason: str) -> SampleDropped:
        """Say that a sample was not used; the tool counts as lost when nothing good came for `lost_after`."""
        if self.state is not ToolState.TRACKED or stamp_ns - self.last_ns > self.config.lost_after * NANOSECONDS:
            self.state = ToolState.LOST
        self._note(code, reason)
        return SampleDropped(self.tool, stamp_ns, code, reason)

    def corrected(self, pose: Array) -> Array:
        """Return a checked pose without the systematic error of the source, as far as it is known.

        Raises:
            InputError: The correction is not known there.
        """
        if self.correction is None:
            return pose
        found = self.correction.correct(pose)
        self._added = found.covariance
        return found.pose

    def take(
        self, stamp_ns: int, pose: Array, warning: GateWarning | None, covariance: Array | None = None
    ) -> TrackingResult | None:
        """Filter a checked pose; None for one that came late and was placed in the past."""
        try:
            result = self.filter.add(stamp_ns, pose, covariance)
        except InputError as error:
            return self.dropped(stamp_ns, error.code or 'NO_COVARIANCE', str(error))
        if result.outcome is FilterOutcome.DUPLICATE:
            self._repeats += 1
            frozen = f', {self._repeats} times in a row: device clock frozen?' if self._repeats >= JUMP_FRAMES else ''
            return self.dropped(stamp_ns, 'STAMP_DUPLICATE', f'stamp {stamp_ns} ns came twice{frozen}')
        self._repeats = 0
        if result.outcome is FilterOutcome.TOO_OLD:
            late = (result.stamp_ns - stamp_ns) / NANOSECONDS
            reason = f'sample is {late:.3f} s older than the newest, limit filter.lag={self.config.filter.lag} s'
            return self.dropped(stamp_ns, 'STAMP_BACKWARD', reason)
        if result.outcome is FilterOutcome.GATED:
            return self.dropped(stamp_ns, 'GATED', f'pose jumped: normalised innovation squared {result.nis:.3g}')
        if result.stamp_ns != stamp_ns:
            self.counts['LATE'] += 1
            return None
        return self._tracked(pose, result, warning)

    def health(self) -> ToolHealth:
        """Return what the diagnostic says."""
        return ToolHealth(self.state, self.code, self.reason, dict(self.counts), self.rate.report(), self.last_ns)

    def clear(self) -> None:
        """Forget all poses, keep the counters: time jumped back."""
        self.filter.reset()
        self.gate.reset()
        self.rate.reset()
        self.last_ns = self.heard_ns = self.raw_ns = 0
        self.swapped_with = ''
        if self.state is ToolState.TRACKED:
            self.state = ToolState.LOST

    def _tracked(self, pose: Array, result: FilterResult, warning: GateWarning | None) -> TrackedPose:
        self.state = ToolState.TRACKED
        self.position = result.tracker_T_tool[:3, 3]
        self.last_ns = result.stamp_ns
        self.rate.add(result.stamp_ns)
        self.counts['OK'] += 1
        self.code, self.reason = 'OK', 'tracked'
        if warning is not None:
            self._note(warning.code, warning.message)
        restarted = result.outcome is FilterOutcome.REINITIALISED
        return TrackedPose(
            self.tool,
            result.stamp_ns,
            pose,
            result.tracker_T_tool,
            self._whole_covariance(result),
            result.velocity,
            restarted,
            warning,
        )

    def _whole_covariance(self, result: FilterResult) -> Array:
        """Add what no filter averages out: the error of the correction, and the way made during that of the stamp."""
        covariance = result.covariance
        if self.correction is not None:
            covariance = covariance + self._added
        if self.stamp_sigma > 0.0:
            covariance = covariance + self.stamp_sigma**2 * np.outer(result.velocity, result.velocity)
        return covariance

    def _note(self, code: str, reason: str) -> None:
        self.counts[code] += 1
        self.code, self.reason = code, reason


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
