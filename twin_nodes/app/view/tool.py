"""One tool as the view knows it: its last pose, whether that is current, and why not."""

from collections import deque

import numpy as np

from twin_nodes.app.view.picture import ToolPicture
from twin_nodes.app.view.records import Check, Level, Moment
from twin_nodes.core.geometry.se3 import Array

RATE_WINDOW_NS = 2_000_000_000
RATE_SAMPLES = 64
FUTURE_NS = 100_000_000
LOST_CODES = frozenset(
    {'TOOL_LOST', 'TOOL_NEVER_SEEN', 'SOURCE_DISCONNECTED', 'SOURCE_STALLED', 'SOURCE_FINISHED', 'STAMP_ZERO'}
)


class ToolState:
    """Last pose of a tool and the reasons to believe it or not.

    Args:
        name: Name of the tool, as in tf.
        stale_after_ns: Longest silence that still counts as live [ns].
        has_tip: Whether it has a tip to calibrate; the reference body on the patient has none.
    """

    def __init__(self, name: str, stale_after_ns: int, *, has_tip: bool = True) -> None:
        self._name = name
        self._has_tip = has_tip
        self._stale_after_ns = stale_after_ns
        self._check: Check | None = None
        self.clear()

    def clear(self) -> None:
        """Forget all motion, as after a jump of the clock; what diagnostics said is kept."""
        self.fixed_T_tool: Array | None = None
        self.fixed_T_tip: Array | None = None
        self._stamp_ns = 0
        self._fixed = False
        self._news_steady_ns = 0
        self._covariance: Array | None = None
        self._stamps: deque[int] = deque(maxlen=RATE_SAMPLES)

    def on_pose(self, fixed_T_tool: Array, stamp_ns: int, moment: Moment) -> None:
        """Take a pose; only a newer stamp is a sign of life. Stamp 0 is what tf gives for edges that never move."""
        self.fixed_T_tool = fixed_T_tool
        self._fixed = stamp_ns == 0
        if stamp_ns > self._stamp_ns:
            self._stamp_ns, self._news_steady_ns = stamp_ns, moment.steady_ns

    def on_sample(self, covariance: Array, stamp_ns: int) -> None:
        """Take the covariance (6, 6) and stamp of a filtered pose."""
        self._covariance = covariance
        if not self._stamps or stamp_ns > self._stamps[-1]:
            self._stamps.append(stamp_ns)

    def on_check(self, check: Check) -> None:
        """Take what the tracker says of this tool."""
        self._check = check

    def lost_reason(self, moment: Moment) -> str:
        """Return why the last pose must not be believed, '' when it may."""
        check = self._check
        if check is not None and (check.level in (Level.ERROR, Level.STALE) or check.code in LOST_CODES):
            return f'{check.message} ({check.code})' if check.code else check.message
        if self.fixed_T_tool is None:
            return 'not seen yet'
        if self._fixed:
            return ''
        age_ns = moment.ros_ns - self._stamp_ns
        if age_ns < -FUTURE_NS:
            return f'its stamp is {-age_ns / 1e9:.2f} s ahead of the clock'
        silent_ns = max(moment.steady_ns - self._news_steady_ns, age_ns)
        return f'no new pose for {silent_ns / 1e9:.1f} s' if silent_ns > self._stale_after_ns else ''

    def picture(self, moment: Moment) -> ToolPicture:
        """Return the tool as it is shown now."""
        lost = self.lost_reason(moment)
        reason = lost
        if not lost and self._check is not None and self._check.level is not Level.OK:
            reason = self._check.message
        elif not lost and self.fixed_T_tip is None and self._has_tip:
            reason = 'tip not known: not calibrated'
        return ToolPicture(
            name=self._name,
            fixed_T_tool=self.fixed_T_tool,
            fixed_T_tip=self.fixed_T_tip,
            live=not lost,
            reason=reason,
            sigma=None if self._covariance is None else float(np.sqrt(max(np.trace(self._covariance[:3, :3]), 0.0))),
            rate_hz=self._rate_hz(moment),
            age_s=None if self.fixed_T_tool is None or self._fixed else (moment.ros_ns - self._stamp_ns) / 1e9,
        )

    def _rate_hz(self, moment: Moment) -> float | None:
        recent = [stamp for stamp in self._stamps if moment.ros_ns - stamp < RATE_WINDOW_NS]
        if len(recent) < 3:
            return None
        return (len(recent) - 1) * 1e9 / (recent[-1] - recent[0])
