"""What the guidance says of one instant, or why it says nothing."""

from dataclasses import dataclass

from twin_nodes.core.geometry.chain import Chain
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.alarms import AlarmEvent
from twin_nodes.core.guidance.clearance import Clearance
from twin_nodes.core.guidance.time_to_contact import Outlook
from twin_nodes.core.guidance.zones import Zone, ZoneEvent


@dataclass(frozen=True, eq=False)
class Advice:
    """What the guidance says of one instant.

    Args:
        stamp_ns: Time of the tool's pose.
        tip: Measured pose of the tip in the anatomy with its error and what each link adds to it.
        ahead: How long after the stamp the advice holds [s].
        predicted: anatomy_T_tip at that instant, shape (4, 4).
        covariance: Of `predicted`, from the chain and the prediction, in anatomy axes, shape (6, 6).
        velocity: Of the tip, linear [m/s] and angular [rad/s], in anatomy axes, shape (6,).
        clearances: One per structure, at the predicted pose.
        distances: Distance of each structure by name at the measured pose [m].
        outlooks: Time to contact and probability within the lead of each structure by name.
        zones: Zone of each structure by name.
        alarms: Structures with a contact ahead.
        events: Changes of zone, and alarms that begin or end, that this pose caused.
    """

    stamp_ns: int
    tip: Chain
    ahead: float
    predicted: Array
    covariance: Array
    velocity: Array
    clearances: tuple[Clearance, ...]
    distances: dict[str, float]
    outlooks: dict[str, Outlook]
    zones: dict[str, Zone]
    alarms: tuple[str, ...]
    events: tuple[ZoneEvent | AlarmEvent, ...]


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
