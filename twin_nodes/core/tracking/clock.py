"""Device clock to ROS time, told only device stamps and arrivals.

One-way delays are never below some minimum, so arrival − device time lies on or above a straight line (offset + skew)
and touches it when the network is quick. The line is fitted under the lower convex hull of a sliding window (Moon,
Skelly and Towsley, INFOCOM 1999), kept as one smallest delay per bucket of time, so memory and work are bounded.
"""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from twin_nodes.core.config import setting
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True)
class ClockConfig:
    """Settings of the device clock."""

    mode: str = setting(
        'synchronise: estimate the offset; device: stamps are ROS time already; arrival: stamp on arrival.',
        'synchronise',
        choices=('synchronise', 'device', 'arrival'),
    )
    latency: float = setting(
        'Smallest time from measurement to arrival, from the data sheet; 0.014 for a Polaris Vega.',
        0.0,
        unit='s',
        minimum=0.0,
        maximum=1.0,
    )
    window: float = setting('Span of the fit.', 60.0, unit='s', minimum=1.0, maximum=3600.0)
    bucket: float = setting('Span from which the quickest sample is kept.', 0.5, unit='s', minimum=0.01)
    max_skew_ppm: float = setting('Largest rate error of the device clock.', 200.0, unit='ppm', minimum=0.0)
    step: float = setting('A jump of the device clock above this starts the fit again.', 0.1, unit='s', minimum=0.001)
    step_samples: int = setting('Samples in a row that must agree on a jump.', 3, minimum=1, maximum=1000)
    step_time: float = setting('How long delays must stay high to mean a jump and not a burst.', 0.5, unit='s')
    slew: float = setting(
        'Fastest correction of the stamps once settled.', 0.005, unit='s/s', minimum=1e-6, maximum=0.5
    )
    settle_time: float = setting('Span of data after which the offset counts as known.', 3.0, unit='s', minimum=0.0)
    settle_sigma: float = setting(
        'Sigma of the offset above which it does not count as known.', 0.02, unit='s', minimum=1e-6
    )
    start_sigma: float = setting('Sigma of the offset after one sample.', 0.02, unit='s', minimum=0.0)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One stamp in ROS time.

    Args:
        stamp_ns: Time of measurement.
        from_arrival: Whether the device gave no stamp, so that the arrival was used.
        stepped: Whether the device clock was just found to have jumped and the fit started again.
        frozen: Whether the device has repeated this stamp for a while.
    """

    stamp_ns: int
    from_arrival: bool = False
    stepped: bool = False
    frozen: bool = False


class DeviceClock:
    """Estimator of one device clock.

    Args:
        config: Settings.
    """

    def __init__(self, config: ClockConfig) -> None:
        self.config = config
        self._last_out = 0
        self.steps = 0
        self._start_fit()

    def _start_fit(self) -> None:
        self._buckets: deque[tuple[int, int]] = deque()  # device time from origin, arrival − device − base [ns]
        self._bucket_index = -1
        self._origin = 0
        self._base = 0
        self._first = 0
        self._last_device = 0
        self._offset = 0.0  # line at the origin [ns], relative to base
        self._skew = 0.0
        self._applied: float | None = None
        self._mean_excess = 0.0
        self._fit_sigma = 0.0  # mean distance of the buckets from the line [ns]
        self._samples = 0
        self._ahead = 0
        self._back = 0
        self._high: list[tuple[int, float]] = []
        self._repeats = 0
        self._repeat_since = 0

    @property
    def settled(self) -> bool:
        """Whether enough was seen to trust the offset."""
        if self.config.mode != 'synchronise':
            return True
        seen_ns = self._last_device - self._first
        known = self._fit_sigma <= self.config.settle_sigma * NANOSECONDS
        return self._samples > 1 and seen_ns >= self.config.settle_time * NANOSECONDS and known

    @property
    def offset_s(self) -> float:
        """ROS time minus device time now [s], latency taken off; 0 in the other modes."""
        if not self._samples:
            return 0.0
        return (self._base + self._line(self._last_device)) / NANOSECONDS - self.config.latency

    @property
    def skew_ppm(self) -> float:
        """Rate of ROS time against the device clock, minus one [ppm]."""
        return self._skew * 1e6

    @property
    def sigma_s(self) -> float:
        """Sigma of the offset [s], without that of the latency."""
        if self._samples < 2 or not self._buckets:
            return self.config.start_sigma
        lone = (self._mean_excess + self.config.start_sigma * NANOSECONDS / self._samples) / self._samples
        return max(self._fit_sigma, lone) / NANOSECONDS

    def update(self, device_stamp_ns: int, arrival_ns: int) -> ClockReading:
        """Take one pair of stamps and return the time of measurement."""
        latency = round(self.config.latency * NANOSECONDS)
        if self.config.mode == 'device' and device_stamp_ns > 0:
            return ClockReading(device_stamp_ns, frozen=self._count_repeats(device_stamp_ns, arrival_ns))
        if self.config.mode != 'synchronise' or device_stamp_ns <= 0:
            self._last_out = max(arrival_ns - latency, self._last_out)
            return ClockReading(self._last_out, from_arrival=True)
        frozen = self._count_repeats(device_stamp_ns, arrival_ns)
        if frozen or (self._repeats and self._applied is not None):
            return ClockReading(self.to_ros(device_stamp_ns), frozen=frozen)
        stepped = self._samples > 0 and self._has_stepped(device_stamp_ns, arrival_ns)
        if stepped:
            self._start_fit()
            self.steps += 1
        self._learn(device_stamp_ns, arrival_ns)
        return ClockReading(self._emit(device_stamp_ns, arrival_ns), stepped=stepped)

    def to_ros(self, device_stamp_ns: int) -> int:
        """Return ROS time [ns] of a device stamp by the offset in use; learns nothing."""
        if self.config.mode != 'synchronise' or self._applied is None:
            return device_stamp_ns
        # the correction in use holds at the newest stamp; older ones follow the line through it
        apart = self._skew * (device_stamp_ns - self._last_device)
        return device_stamp_ns + self._base + round(self._applied + apart)

    def reset(self) -> None:
        """Forget everything, for a source that starts again or time that jumped back."""
        self._last_out = 0
        self._start_fit()

    def _count_repeats(self, device_ns: int, arrival_ns: int) -> bool:
        if device_ns != self._last_device:
            self._repeats, self._repeat_since = 0, arrival_ns
            if self.config.mode == 'device':
                self._last_device = device_ns
            return False
        self._repeats += 1
        # several tools may share one stamp; a frozen clock keeps it while time goes on
        return self._repeats >= 3 and arrival_ns - self._repeat_since > self.config.step * NANOSECONDS

    def _line(self, device_ns: int) -> float:
        return self._offset + self._skew * (device_ns - self._origin)

    def _has_stepped(self, device_ns: int, arrival_ns: int) -> bool:
        limit = self.config.step * NANOSECONDS
        excess = arrival_ns - device_ns - self._base - self._line(device_ns)
        self._ahead = self._ahead + 1 if excess < -limit else 0
        self._back = self._back + 1 if device_ns < self._last_device - limit else 0
        if excess > limit:
            self._high.append((arrival_ns, excess))
            values = [value for _, value in self._high]
            if max(values) - min(values) > limit / 2.0:  # a burst after a stall: delays shrink
                self._high = self._high[-1:]
        else:
            self._high = []
        long_high = bool(self._high) and self._high[-1][0] - self._high[0][0] > self.config.step_time * NANOSECONDS
        self._high = self._high[-1024:]
        needed = self.config.step_samples
        return self._ahead >= needed or self._back >= needed or (long_high and len(self._high) >= needed)

    def _learn(self, device_ns: int, arrival_ns: int) -> None:
        if self._samples == 0:
            self._origin = self._first = self._last_device = device_ns
            self._base = arrival_ns - device_ns
        if self._ahead or self._back:  # perhaps a jump: not a delay to learn from
            return
        self._samples += 1
        x, y = device_ns - self._origin, arrival_ns - device_ns - self._base
        width = round(self.config.bucket * NANOSECONDS)
        index = x // width
        if index > self._bucket_index:
            self._bucket_index = index
            self._buckets.append((x, y))
            while self._buckets[0][0] < x - self.config.window * NANOSECONDS:
                self._buckets.popleft()
            self._fit()
        elif y - self._skew * x < self._buckets[-1][1] - self._skew * self._buckets[-1][0]:
            self._buckets[-1] = (x, y)
        excess = y - self._line(device_ns)
        if excess < 0.0:
            self._fit()
            excess = max(y - self._line(device_ns), 0.0)
        self._mean_excess += (excess - self._mean_excess) / min(self._samples, 1000)

    def _fit(self) -> None:
        """Line under all buckets with the least mean distance to them, its slope within the bound."""
        points = sorted(self._buckets)
        bound = self.config.max_skew_ppm * 1e-6
        middle = sum(x for x, _ in points) / len(points)
        hull: list[tuple[int, int]] = []
        for point in points:
            while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        slope = 0.0
        for (x0, y0), (x1, y1) in pairwise(hull):
            if x0 <= middle <= x1 and x1 > x0:
                slope = (y1 - y0) / (x1 - x0)
        self._skew = min(max(slope, -bound), bound) if points[-1][0] - points[0][0] > 5 * NANOSECONDS else 0.0
        residuals = [y - self._skew * x for x, y in points]
        self._offset = min(residuals)
        self._fit_sigma = sum(residuals) / len(residuals) - self._offset

    def _emit(self, device_ns: int, arrival_ns: int) -> int:
        latency = round(self.config.latency * NANOSECONDS)
        target = self._line(device_ns) - latency
        elapsed = device_ns - self._last_device
        if self._applied is None:
            self._applied = target
        elif elapsed > 0:
            self._applied += self._skew * elapsed
            most = (self.config.slew if self.settled else 0.5) * elapsed
            self._applied += min(max(target - self._applied, -most), most)
        late = elapsed < 0
        if late:
            return min(self.to_ros(device_ns), self._last_out - 1)
        self._last_device = device_ns
        stamp = min(device_ns + self._base + round(self._applied), arrival_ns)
        self._last_out = max(stamp, self._last_out + 1)
        return self._last_out


def _turns_right(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """Whether b lies on or above the segment a c, so not on the lower hull."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0
