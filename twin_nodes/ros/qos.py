"""Quality of service by kind of data, in one place (DESIGN section 5).

Measurements are offered RELIABLE so that any subscriber matches, and taken BEST_EFFORT so that one bad packet
cannot stall or fill a reader (CVE-2025-64438 in Fast DDS 3.2). In replay nothing may be lost: there they are taken
RELIABLE.
"""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

MEASUREMENT = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    durability=DurabilityPolicy.VOLATILE,
)
MEASUREMENT_SUBSCRIPTION = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT,
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    durability=DurabilityPolicy.VOLATILE,
)
REPLAY_SUBSCRIPTION = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1000,
    durability=DurabilityPolicy.VOLATILE,
)
LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
EVENTS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=50,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
DIAGNOSTICS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=50,
    durability=DurabilityPolicy.VOLATILE,
)


def command(period_s: float) -> QoSProfile:
    """Return the profile for commands sent every period_s [s]: only the newest counts, and it soon expires."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        durability=DurabilityPolicy.VOLATILE,
        deadline=Duration(seconds=2.0 * period_s),
        lifespan=Duration(seconds=2.0 * period_s),
    )


def measurement_subscription(*, replay: bool) -> QoSProfile:
    """Return the profile to take measurements with: lossless in replay (`use_sim_time`), newest-first when live."""
    return REPLAY_SUBSCRIPTION if replay else MEASUREMENT_SUBSCRIPTION
