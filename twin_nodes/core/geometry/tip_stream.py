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
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.ties import ShareStream, Tie, TieStream


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


def tracked_tip(pair: Pair, tip: Tie, registration: Tie, tip_share: Array | None) -> Chain:
    """Return anatomy_T_tip of a tool and a patient that are seen at one instant.

    Args:
        pair: tracker_T_tool and tracker_T_patient.
        tip: tool_T_tip.
        registration: patient_T_anatomy.
        tip_share: How the tip's error is in the registration, see `tip_in_anatomy`.
    """
    return tip_in_anatomy(
        Link('tool tracking', pair.sample.pose, pair.sample.covariance),
        Link('tip calibration', tip.pose, tip.covariance),
        Link('patient tracking', pair.reference.pose, pair.reference.covariance),
        Link('registration', registration.pose, registration.covariance),
        tip_share=tip_share,
    )


class TipStream:
    """Composes anatomy_T_tip for each pose of the tool.

    `shares` says how the error of the tip is in the registration; where it says nothing they are independent.

    Args:
        config: How the streams are paired.
        ordered: Whether a recording is replayed: then a pose waits for the ties that belong to it, and for the first
            of each at all.
    """

    def __init__(self, config: PairingConfig, *, ordered: bool) -> None:
        self._pairing = stream_pairing(config, replay=ordered)
        self._pending: deque[Pair | Unpaired] = deque()
        self._ordered = self._waits = ordered
        self.tip = TieStream(ordered=ordered)
        self.registration = TieStream(ordered=ordered)
        self.shares = ShareStream(ordered=ordered)

    def add_patient(self, pose: StampedCovariance) -> list[TipPose | NoTip]:
        """Take tracker_T_patient and return what it settles."""
        return self._take(self._pairing.add_reference(pose))

    def add_tool(self, pose: StampedCovariance) -> list[TipPose | NoTip]:
        """Take tracker_T_tool and return what is settled by now."""
        return self._take(self._pairing.add_sample(pose))

    def _take(self, items: list[Pair | Unpaired]) -> list[TipPose | NoTip]:
        self._waits = self._ordered
        self._pending.extend(items)
        return self.drain()

    @property
    def awaits_makers(self) -> bool:
        """Whether poses wait for the maker of a tie; before `finish` also for one that was never heard."""
        return bool(self._pending)

    def finish(self) -> list[TipPose | NoTip]:
        """Return what waited for ties that never came, when the streams of a replay have ended."""
        self._waits = False
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
        for made in (self.tip, self.registration, self.shares):
            made.reset()

    def _settled(self, stamp_ns: int) -> bool:
        known = not self._waits or (self.tip.is_known and self.registration.is_known)
        return known and all(made.settled(stamp_ns) for made in (self.tip, self.registration, self.shares))

    def _compose(self, item: Pair | Unpaired) -> TipPose | NoTip:
        stamp = item.stamp_ns
        if isinstance(item, Unpaired):
            return NoTip(stamp, 'NO_TRANSFORM', f'patient: {item.reason}')
        tip, registration = self.tip.at(stamp), self.registration.at(stamp)
        if tip is None:
            return NoTip(stamp, 'NOT_CALIBRATED', 'the tip of the tool is not known yet')
        if registration is None:
            return NoTip(stamp, 'NOT_REGISTERED', 'patient and anatomy are not tied yet')
        return TipPose(stamp, tracked_tip(item, tip, registration, self.shares.effect(tip, registration)))
