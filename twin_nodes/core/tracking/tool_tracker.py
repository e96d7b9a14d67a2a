"""One tool on the way of its samples: corrected, gated, filtered, and what is known of its health."""

from collections import Counter
from typing import Protocol

import numpy as np

from twin_nodes.core.calibration.distortion import CorrectedPose
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.filter import FilterOutcome, FilterResult, PoseFilter
from twin_nodes.core.tracking.gate import GateWarning, PoseGate
from twin_nodes.core.tracking.rate import RateMeter
from twin_nodes.core.tracking.results import SampleDropped, ToolHealth, ToolLost, ToolState, TrackedPose, TrackingResult
from twin_nodes.core.tracking.tracking_config import TrackingConfig

FROZEN_STAMPS = 3  # the same stamp so often is a clock that stands


class PoseCorrection(Protocol):
    """What mends a systematic error of the source, such as electromagnetic distortion."""

    def correct(self, tracker_T_sensor: Array) -> CorrectedPose:
        """Return the corrected pose (4, 4) and the covariance (6, 6) that this adds.

        Raises:
            InputError: The correction is not known there.
        """
        ...


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
            frozen = f', {self._repeats} times in a row: device clock frozen?' if self._repeats >= FROZEN_STAMPS else ''
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
