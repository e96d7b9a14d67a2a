"""From the poses of tool and patient to advice: one chain, one distance per structure, one zone each.

Only stamps decide what is fresh, so a recording gives the same advice each time.
"""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.geometry.pairing import (
    NANOSECONDS,
    Pair,
    PairingConfig,
    StampedCovariance,
    StreamPairing,
    Unpaired,
)
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.chain import Link, TipInAnatomy, tip_in_anatomy
from twin_nodes.core.guidance.clearance import Clearance, ClearanceMonitor, Structure
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.zones import Zone, ZoneEvent, ZoneMonitor


@dataclass(frozen=True)
class AdvisorConfig:
    """Settings of the advice."""

    guidance: GuidanceConfig = group(GuidanceConfig)
    pairing: PairingConfig = group(PairingConfig)
    stale_after: float = setting(
        'The advice is withdrawn when tool or patient are older than this.', 0.2, unit='s', minimum=0.01, maximum=5.0
    )


@dataclass(frozen=True, eq=False)
class Advice:
    """What the guidance says of one instant.

    Args:
        stamp_ns: Time of the tool's pose.
        tip: Pose of the tip in the anatomy with its error and what each link adds to it.
        clearances: One per structure.
        zones: Zone of each structure by name.
        events: Changes of zone that this pose caused.
    """

    stamp_ns: int
    tip: TipInAnatomy
    clearances: tuple[Clearance, ...]
    zones: dict[str, Zone]
    events: tuple[ZoneEvent, ...]


@dataclass(frozen=True)
class Withheld:
    """Why there is no advice.

    Args:
        stamp_ns: The instant that it would have been for.
        code: Entry of `core.codes.CODES`.
        reason: One line.
        events: Zones that were withdrawn.
    """

    stamp_ns: int
    code: str
    reason: str
    events: tuple[ZoneEvent, ...] = ()


class Advisor:
    """Holds the ties of the chain and turns each paired pose into advice."""

    def __init__(self, config: AdvisorConfig) -> None:
        self._config = config
        self._stale_ns = round(config.stale_after * NANOSECONDS)
        self._pairing = StreamPairing(config.pairing)
        self._tip: Link | None = None
        self._registration: Link | None = None
        self._monitor: ClearanceMonitor | None = None
        self._zones: ZoneMonitor | None = None
        self._newest_advice_ns: int | None = None
        self._withdrawn = True

    def set_tip(self, tool_T_tip: Array, covariance: Array) -> None:
        """Take the calibration of the tip: pose (4, 4), covariance (6, 6)."""
        self._tip = Link('tip calibration', tool_T_tip, covariance)

    def set_registration(self, patient_T_anatomy: Array, covariance: Array) -> None:
        """Take the registration: pose (4, 4), covariance (6, 6)."""
        self._registration = Link('registration', patient_T_anatomy, covariance)

    def set_structures(self, structures: list[Structure]) -> None:
        """Take the structures to watch; zones start anew."""
        self._monitor = ClearanceMonitor(self._config.guidance, structures)
        self._zones = ZoneMonitor(
            self._config.guidance.zones, {structure.name: structure.near_distance for structure in structures}
        )

    def reset(self) -> None:
        """Forget all poses, after a jump of the clock; the ties stay."""
        self._pairing.reset()
        self._newest_advice_ns = None
        self._withdrawn = True
        if self._zones is not None:
            self._zones.reset()

    def add_patient(self, pose: StampedCovariance) -> list[Advice | Withheld]:
        """Take tracker_T_patient and return what it settles."""
        found = self._advise(self._pairing.add_reference(pose))
        return [*found, *self.check_stale(pose.stamp_ns)]

    def add_tool(self, pose: StampedCovariance) -> list[Advice | Withheld]:
        """Take tracker_T_tool and return what is settled by now."""
        return self._advise(self._pairing.add_sample(pose))

    def check_stale(self, now_ns: int) -> list[Advice | Withheld]:
        """Withdraw the advice when the newest is older than `stale_after` at now_ns, a stamp of the streams."""
        newest = self._newest_advice_ns
        if self._withdrawn or newest is None or now_ns - newest <= self._stale_ns:
            return []
        self._withdrawn = True
        stamp_ns = newest + self._stale_ns
        events = self._zones.withdraw(stamp_ns) if self._zones is not None else ()
        reason = f'no pose of tool and patient for more than {self._config.stale_after:g} s'
        return [Withheld(stamp_ns, 'GUIDANCE_STALE', reason, events)]

    def _advise(self, settled: list[Pair | Unpaired]) -> list[Advice | Withheld]:
        return [self._advise_one(item) for item in settled]

    def _advise_one(self, item: Pair | Unpaired) -> Advice | Withheld:
        stamp = item.stamp_ns
        if isinstance(item, Unpaired):
            return Withheld(stamp, 'NO_TRANSFORM', f'patient: {item.reason}')
        if self._tip is None:
            return Withheld(stamp, 'NOT_CALIBRATED', 'the tip of the tool is not known yet')
        if self._registration is None:
            return Withheld(stamp, 'NOT_REGISTERED', 'patient and anatomy are not tied yet')
        if self._monitor is None or self._zones is None:
            return Withheld(stamp, 'ANATOMY_REFUSED', 'no anatomy has been received yet')
        if self._newest_advice_ns is not None and stamp <= self._newest_advice_ns:
            return Withheld(stamp, 'STAMP_BACKWARD', 'the pose does not come after the last one')
        tip = tip_in_anatomy(
            Link('tool tracking', item.sample.pose, item.sample.covariance),
            self._tip,
            Link('patient tracking', item.reference.pose, item.reference.covariance),
            self._registration,
        )
        clearances = self._monitor.evaluate(stamp, tip.anatomy_T_tip, tip.covariance)
        events = self._zones.update(stamp, {clearance.structure: clearance.distance for clearance in clearances})
        self._newest_advice_ns = stamp
        self._withdrawn = False
        return Advice(stamp, tip, clearances, self._zones.zones, events)
