"""Brings two pose streams to one instant by interpolating one of them, never by taking the nearest sample.

Only stamps decide, so the same streams give the same pairs whatever the moment of arrival.
"""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array, interpolate
from twin_nodes.core.stamps import NANOSECONDS as NANOSECONDS

JUMP_NS = NANOSECONDS


@dataclass(frozen=True)
class PairingConfig:
    """How long to wait for the reference and how far to interpolate it."""

    max_wait: float = setting(
        'How far the samples may run ahead of the reference before one is dropped.', 0.1, unit='s', minimum=0.001
    )
    max_gap: float = setting(
        'Longest gap of the reference that is interpolated across.', 0.1, unit='s', minimum=0.001, maximum=1.0
    )
    acceleration: float = setting(
        'Sigma of the acceleration of the reference, each axis; it widens what is interpolated.',
        0.5,
        unit='m/s²',
        minimum=0.0,
        maximum=100.0,
    )
    angular_acceleration: float = setting('The same for its rotation.', 2.0, unit='rad/s²', minimum=0.0, maximum=1000.0)


REPLAY_WAIT_S = 60.0  # at many times the speed, with a topic that DDS delivers seconds late
REPLAY_CAPACITY = 65_536


@dataclass(frozen=True, slots=True)
class StampedCovariance:
    """A pose (4, 4) with covariance (6, 6) at a stamp."""

    stamp_ns: int
    pose: Array
    covariance: Array


@dataclass(frozen=True, slots=True)
class Pair:
    """A sample and the reference at the very same instant; poses (4, 4), covariances (6, 6), both in one frame."""

    stamp_ns: int
    sample: StampedCovariance
    reference: StampedCovariance


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A sample that found no reference, and why."""

    stamp_ns: int
    reason: str


class StreamPairing:
    """Pairs each sample with the reference interpolated at its stamp.

    A sample waits until the reference has passed its stamp; it is given up when the samples have run ahead by
    `max_wait`, or when the reference has a gap there longer than `max_gap` (it was lost). Stamps that go back by more
    than a second, as those of a bag that begins again, clear both streams: nothing is paired across the jump.

    Args:
        config: Limits.
        capacity: Samples and references kept at most.
        offset_sigma: How well the clock of the reference is tied to that of the samples, one sigma [s]; the reference
            moves so long by its speed, which widens what is interpolated. May be set anew at any time.
    """

    def __init__(self, config: PairingConfig, *, capacity: int = 2048, offset_sigma: float = 0.0) -> None:
        self.offset_sigma = offset_sigma
        self._max_wait_ns = round(config.max_wait * NANOSECONDS)
        self._max_gap_ns = round(config.max_gap * NANOSECONDS)
        self._accelerations = np.repeat([config.acceleration, config.angular_acceleration], 3)
        self._capacity = capacity
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self._waiting: deque[StampedCovariance] = deque()
        self._references: list[StampedCovariance] = []
        self._stamps: list[int] = []
        self._newest_sample_ns: int | None = None

    @property
    def newest_reference_ns(self) -> int | None:
        """Stamp of the newest reference, or None before the first."""
        return self._stamps[-1] if self._stamps else None

    def add_reference(self, reference: StampedCovariance) -> list[Pair | Unpaired]:
        """Add a reference pose (stamps must rise; others are ignored) and return what it settles."""
        self._notice_jump(reference.stamp_ns, self.newest_reference_ns)
        if self._stamps and reference.stamp_ns <= self._stamps[-1]:
            return []
        self._references.append(reference)
        self._stamps.append(reference.stamp_ns)
        if len(self._references) > self._capacity:
            del self._references[: self._capacity // 2], self._stamps[: self._capacity // 2]
        return self._settle()

    def add_sample(self, sample: StampedCovariance) -> list[Pair | Unpaired]:
        """Add a sample and return what is settled by now, in the order of the samples."""
        self._notice_jump(sample.stamp_ns, self._newest_sample_ns)
        self._newest_sample_ns = sample.stamp_ns
        self._waiting.append(sample)
        settled = self._settle()
        newest = sample.stamp_ns
        while self._waiting and (
            newest - self._waiting[0].stamp_ns > self._max_wait_ns or len(self._waiting) > self._capacity
        ):
            late = self._waiting.popleft()
            settled.append(Unpaired(late.stamp_ns, f'the reference is more than {self._max_wait_ns / 1e6:.0f} ms late'))
        return settled

    def give_up(self, stamp_ns: int, reason: str) -> list[Unpaired]:
        """Give up what waits with stamps up to this one; live, a monotonic clock says when a reference has stopped."""
        late = []
        while self._waiting and self._waiting[0].stamp_ns <= stamp_ns:
            late.append(Unpaired(self._waiting.popleft().stamp_ns, reason))
        return late

    def _notice_jump(self, stamp_ns: int, newest_ns: int | None) -> None:
        if newest_ns is not None and stamp_ns < newest_ns - JUMP_NS:
            self.reset()

    def _settle(self) -> list[Pair | Unpaired]:
        settled: list[Pair | Unpaired] = []
        while self._waiting and self._stamps and self._waiting[0].stamp_ns <= self._stamps[-1]:
            settled.append(self._pair(self._waiting.popleft()))
        return settled

    def _pair(self, sample: StampedCovariance) -> Pair | Unpaired:
        stamp = sample.stamp_ns
        after = bisect_left(self._stamps, stamp)
        if self._stamps[after] == stamp:
            return Pair(stamp, sample, self._widened(after))
        if after == 0:
            return Unpaired(stamp, 'older than every reference')
        first, second = self._references[after - 1], self._references[after]
        gap = second.stamp_ns - first.stamp_ns
        if gap > self._max_gap_ns:
            return Unpaired(stamp, f'the reference has a gap of {gap / 1e6:.0f} ms there')
        fraction = (stamp - first.stamp_ns) / gap
        pose = interpolate(first.pose, second.pose, fraction)
        # The two errors may be wholly correlated (a smooth filter), so the mean of the covariances is the safe bound.
        covariance = (1.0 - fraction) * first.covariance + fraction * second.covariance
        covariance = covariance + self._unseen_motion(gap / NANOSECONDS, fraction) + self._mistimed(first, second)
        return Pair(stamp, sample, StampedCovariance(stamp, pose, covariance))

    def _widened(self, index: int) -> StampedCovariance:
        """Return a reference at its own stamp, with the error of its clock."""
        reference = self._references[index]
        if self.offset_sigma == 0.0 or len(self._references) < 2:
            return reference
        first, second = self._references[max(index - 1, 0) : max(index - 1, 0) + 2]
        covariance = reference.covariance + self._mistimed(first, second)
        return StampedCovariance(reference.stamp_ns, reference.pose, covariance)

    def _mistimed(self, first: StampedCovariance, second: StampedCovariance) -> Array:
        """Return the covariance (6, 6) of reading a motion too early or too late by the error of the clocks."""
        if self.offset_sigma == 0.0:
            return np.zeros((6, 6))
        duration = (second.stamp_ns - first.stamp_ns) / NANOSECONDS
        moved = pose_error(first.pose, second.pose) * (self.offset_sigma / duration)
        return np.outer(moved, moved)

    def _unseen_motion(self, gap_s: float, fraction: float) -> Array:
        """Return the covariance (6, 6) of interpolating linearly what accelerates: error a·Δt²·f·(1 − f)/2."""
        lever = 0.5 * gap_s**2 * fraction * (1.0 - fraction)
        return np.diag(np.square(lever * self._accelerations))


def stream_pairing(config: PairingConfig, *, replay: bool) -> StreamPairing:
    """Return a pairing for live streams, or one for a replay, where a reference is waited for however late it comes."""
    if not replay:
        return StreamPairing(config)
    return StreamPairing(replace(config, max_wait=REPLAY_WAIT_S), capacity=REPLAY_CAPACITY)
