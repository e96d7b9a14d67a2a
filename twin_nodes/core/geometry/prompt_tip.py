"""The tip of a tool in the anatomy without waiting: the newest pose of the patient counts, where it is young enough.

`tip_stream` brings the patient to the very instant of the tool, and waits for its next pose; a hand that feels forces
at 1 kHz cannot. What the patient moves in the meantime is not seen: some 0.1 mm in 20 ms of breath.
"""

from __future__ import annotations

from dataclasses import dataclass

from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.geometry.ties import TieStream
from twin_nodes.core.geometry.tip_stream import NoTip
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True, slots=True, eq=False)
class PromptPose:
    """anatomy_T_tip (4, 4) at a stamp."""

    stamp_ns: int
    anatomy_T_tip: Array


class PromptTip:
    """Composes anatomy_T_tip for each pose of a tool at once; live only.

    Args:
        max_age: A pose of the patient that is older than the tool's by more says nothing [s].
    """

    def __init__(self, max_age: float) -> None:
        self._max_age_ns = round(max_age * NANOSECONDS)
        self._patient: StampedCovariance | None = None
        self.tip = TieStream(ordered=False)
        self.registration = TieStream(ordered=False)

    def add_patient(self, pose: StampedCovariance) -> None:
        """Take tracker_T_patient; one that is older than the last is of no use."""
        if self._patient is None or pose.stamp_ns > self._patient.stamp_ns:
            self._patient = pose

    def at(self, tool: StampedCovariance) -> PromptPose | NoTip:
        """Return the tip for tracker_T_tool."""
        stamp_ns, patient = tool.stamp_ns, self._patient
        tip, registration = self.tip.at(stamp_ns), self.registration.at(stamp_ns)
        if tip is None:
            return NoTip(stamp_ns, 'NOT_CALIBRATED', 'the tip of the tool is not known yet')
        if registration is None:
            return NoTip(stamp_ns, 'NOT_REGISTERED', 'patient and anatomy are not tied yet')
        if patient is None or abs(stamp_ns - patient.stamp_ns) > self._max_age_ns:
            return NoTip(stamp_ns, 'NO_TRANSFORM', 'patient: no pose that is young enough')
        tracker_T_anatomy = patient.pose @ registration.pose
        return PromptPose(stamp_ns, inverse(tracker_T_anatomy) @ tool.pose @ tip.pose)

    def reset(self) -> None:
        """Forget all poses, after a jump of the clock; the ties stay."""
        self._patient = None
