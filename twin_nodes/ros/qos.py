"""Quality of service by kind of data, in one place (DESIGN section 5).

Measurements are offered RELIABLE so that any subscriber matches, and taken BEST_EFFORT so that one bad packet
cannot stall or fill a reader (CVE-2025-64438 in Fast DDS 3.2). In replay nothing may be lost: there they are taken
RELIABLE, and both sides keep so many that neither a burst of a fast replay nor a reader that matches late (up to 3 s
after the writer) overruns them.
"""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

REPLAY_DEPTH = 10_000

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
COMMAND_SUBSCRIPTION = QoSProfile(  # every command counts: each is a copy in later datagrams, and part of the path
    reliability=ReliabilityPolicy.BEST_EFFORT,
    history=HistoryPolicy.KEEP_LAST,
    depth=400,  # 2 s at 200 Hz: a link that delivers in spells brings them at once
    durability=DurabilityPolicy.VOLATILE,
)
REPLAY_SUBSCRIPTION = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=REPLAY_DEPTH,
    durability=DurabilityPolicy.VOLATILE,
)
REPLAY_MEASUREMENT = REPLAY_SUBSCRIPTION
LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
REPLAY_LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=200,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
SNAPSHOT = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=64,
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


def measurement(*, replay: bool) -> QoSProfile:
    """Return the profile to offer measurements with: every one of them in replay, the newest when live."""
    return REPLAY_MEASUREMENT if replay else MEASUREMENT


def latched(*, replay: bool) -> QoSProfile:
    """Return the profile of a state: the newest; in replay the older ones too, each sample takes that of its time."""
    return REPLAY_LATCHED if replay else LATCHED
