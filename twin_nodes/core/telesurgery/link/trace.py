"""Measured traces: delays over time, and the delivery opportunities of mahimahi."""

import bisect
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError

MAHIMAHI_BYTES = 1500


class DelayTrace:
    """Delays over time, repeated from the start at the end.

    Args:
        times: Seconds since the start, rising, shape (n,).
        delays: Delay of what was sent then [s], of no meaning where lost, shape (n,).
        lost: Whether what was sent then never arrived, shape (n,); None for never.
        round_trip: Whether these are the delays of a way and back.

    Raises:
        InputError: for fewer than two that arrived, times that do not rise, or delays that are negative or not finite.
    """

    def __init__(
        self,
        times: NDArray[np.float64],
        delays: NDArray[np.float64],
        *,
        lost: NDArray[np.bool_] | None = None,
        round_trip: bool = False,
    ) -> None:
        times, delays = np.asarray(times, dtype=float), np.asarray(delays, dtype=float)
        if times.ndim != 1 or times.shape != delays.shape or len(times) < 2:
            raise InputError(f'a delay trace needs as many times as delays, at least 2; got {len(times)}')
        if not (np.isfinite(times).all() and np.isfinite(delays).all()):
            raise InputError('the delay trace has NaN or Inf', code='NOT_FINITE')
        if (np.diff(times) <= 0.0).any():
            raise InputError(f'times of the delay trace do not rise at row {int(np.argmin(np.diff(times) > 0.0)) + 1}')
        if (delays < 0.0).any():
            raise InputError(f'delay {delays.min()} s in the trace is negative')
        lost = np.zeros(len(times), dtype=bool) if lost is None else np.asarray(lost, dtype=bool)
        if np.count_nonzero(~lost) < 2:
            raise InputError(f'of {len(times)} packets of the trace {np.count_nonzero(~lost)} arrived, at least 2 must')
        self._times: list[float] = (times - times[0]).tolist()
        self._delays: list[float] = delays.tolist()
        self._lost: list[bool] = lost.tolist()
        self.loss = float(lost.mean())
        self.round_trip = round_trip
        self.duration = self._times[-1] + float(np.median(np.diff(times)))

    def __len__(self) -> int:
        """Return the number of packets measured, lost ones too."""
        return len(self._times)

    def quantile(self, share: float) -> float:
        """Return the delay [s] that so great a share of the packets that arrived did not exceed."""
        return float(
            np.quantile([delay for delay, lost in zip(self._delays, self._lost, strict=True) if not lost], share)
        )

    def at(self, t: float) -> float:
        """Return the delay [s] of what is sent at t [s]: that of the last one measured before."""
        return self._delays[self._row(t)]

    def loses(self, t: float) -> bool:
        """Whether what is sent at t [s] never arrives, as the last one measured before."""
        return self._lost[self._row(t)]

    def _row(self, t: float) -> int:
        return bisect.bisect_right(self._times, t % self.duration) - 1


class Opportunities:
    """Delivery opportunities of a mahimahi trace: each stamp lets 1500 B go, and the file is repeated.

    Args:
        stamps_ms: Milliseconds, not falling, several may be equal; the last one is the length of the file.

    Raises:
        InputError: for no stamp, a falling one, or a last one of 0.
    """

    def __init__(self, stamps_ms: Sequence[int]) -> None:
        if not stamps_ms or stamps_ms[-1] <= 0:
            raise InputError('a mahimahi trace needs stamps [ms], the last one above 0')
        if any(later < earlier for earlier, later in pairwise(stamps_ms)) or stamps_ms[0] < 0:
            raise InputError('the stamps of a mahimahi trace must not fall')
        self._stamps_ns = [stamp * 1_000_000 for stamp in stamps_ms]
        self._period_ns = self._stamps_ns[-1]

    def first_at(self, t_ns: int) -> int:
        """Return the number of the first opportunity not before t_ns."""
        laps, rest = divmod(t_ns, self._period_ns)
        return laps * len(self._stamps_ns) + bisect.bisect_left(self._stamps_ns, rest)

    def time_ns(self, number: int) -> int:
        """Return the time [ns] of an opportunity."""
        laps, index = divmod(number, len(self._stamps_ns))
        return laps * self._period_ns + self._stamps_ns[index]


def synthetic_delays(seed: int, *, seconds: float = 120.0) -> DelayTrace:
    """Make a one-way delay trace such as a moving 5G user sees: 8 ms and up, slow swings, rare bursts to 150 ms."""
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, seconds, 0.02)
    swing = np.cumsum(rng.normal(0.0, 0.0004, len(times)))
    swing -= np.linspace(0.0, swing[-1], len(times))
    bursts = np.zeros(len(times))
    for start in np.flatnonzero(rng.random(len(times)) < 0.002).tolist():
        height = rng.uniform(0.03, 0.15)
        length = min(int(rng.integers(3, 12)), len(times) - start)
        bursts[start : start + length] = np.maximum(
            bursts[start : start + length], height * (1.0 - np.arange(length) / length)
        )
    return DelayTrace(times, 0.008 + np.abs(swing) + rng.gamma(2.0, 0.002, len(times)) + bursts)


def synthetic_opportunities(seed: int, *, seconds: int = 60) -> Opportunities:
    """Make a cellular uplink of 6 Mb/s on average whose rate wanders between 0.5 and 20 Mb/s."""
    rng = np.random.default_rng(seed)
    log_rate = np.zeros(seconds * 10)
    for i in range(1, len(log_rate)):
        log_rate[i] = 0.97 * log_rate[i - 1] + 0.2 * rng.normal()
    per_ms = np.clip(6e6 * np.exp(log_rate), 0.5e6, 20e6) / (8.0 * MAHIMAHI_BYTES) * 1e-3
    counts = rng.poisson(np.repeat(per_ms, 100))
    counts[-1] = max(int(counts[-1]), 1)
    return Opportunities(np.repeat(np.arange(1, len(counts) + 1), counts).tolist())
