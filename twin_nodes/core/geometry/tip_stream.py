"""The tip of a tracked tool in the anatomy, live or replayed: two streams and two ties give one pose with its error."""

from collections import deque
from dataclasses import dataclass

from twin_nodes.core.geometry.chain import Chain, Link, tip_in_anatomy
from twin_nodes.core.geometry.pairing import (
    REPLAY_CAPACITY,
    Pair,
    PairingConfig,
    StampedCovariance,
    Unpaired,
    stream_pairing,
)
from twin_nodes.core.geometry.ties import Tie, TieStream


@dataclass(frozen=True, eq=False)
class TipPose:
    """The tip at one instant: anatomy_T_tip with its covariance."""

    stamp_ns: int
    tip: Chain


@dataclass(frozen=True)
class NoTip:
    """Why there is no pose of the tip at one instant; `code` is an entry of `core.codes.CODES`."""

    stamp_ns: int
    code: str
    reason: str


class TipStream:
    """Composes anatomy_T_tip for each pose of the tool.

    Args:
        config: How the streams are paired.
        ordered: Whether a recording is replayed: then a pose waits for the ties that belong to it.
    """

    def __init__(self, config: PairingConfig, *, ordered: bool) -> None:
        self._ordered = ordered
        self._pairing = stream_pairing(config, replay=ordered)
        self._pending: deque[Pair | Unpaired] = deque()
        self.tip = TieStream(ordered=ordered)
        self.registration = TieStream(ordered=ordered)

    def add_patient(self, pose: StampedCovariance) -> list[TipPose | NoTip]:
        """Take tracker_T_patient and return what it settles."""
        self._pending.extend(self._pairing.add_reference(pose))
        return self.drain()

    def add_tool(self, pose: StampedCovariance) -> list[TipPose | NoTip]:
        """Take tracker_T_tool and return what is settled by now."""
        self._pending.extend(self._pairing.add_sample(pose))
        return self.drain()

    def drain(self) -> list[TipPose | NoTip]:
        """Return what is settled, after a tie has come or its maker has come further."""
        found = []
        while self._pending and (self._settled(self._pending[0].stamp_ns) or len(self._pending) > REPLAY_CAPACITY):
            found.append(self._compose(self._pending.popleft()))
        return found

    def reset(self) -> None:
        """Forget all poses, after a jump of the clock; live the ties stay, in replay those from files."""
        self._pairing.reset()
        self._pending.clear()
        self.tip.reset()
        self.registration.reset()

    def _settled(self, stamp_ns: int) -> bool:
        return not self._ordered or (self.tip.settled(stamp_ns) and self.registration.settled(stamp_ns))

    def _compose(self, item: Pair | Unpaired) -> TipPose | NoTip:
        stamp = item.stamp_ns
        if isinstance(item, Unpaired):
            return NoTip(stamp, 'NO_TRANSFORM', f'patient: {item.reason}')
        tip: Tie | None = self.tip.at(stamp)
        registration: Tie | None = self.registration.at(stamp)
        if tip is None:
            return NoTip(stamp, 'NOT_CALIBRATED', 'the tip of the tool is not known yet')
        if registration is None:
            return NoTip(stamp, 'NOT_REGISTERED', 'patient and anatomy are not tied yet')
        chain = tip_in_anatomy(
            Link('tool tracking', item.sample.pose, item.sample.covariance),
            Link('tip calibration', tip.pose, tip.covariance),
            Link('patient tracking', item.reference.pose, item.reference.covariance),
            Link('registration', registration.pose, registration.covariance),
        )
        return TipPose(stamp, chain)
