"""From the poses of tool and patient to advice: one chain, one distance per structure, one zone and one alarm each.

The advice is for the instant at which it takes effect: the tip is predicted over the latency, and over the lead of the
alarms. Only stamps decide what is fresh, so a recording gives the same advice each time.
"""

from collections import deque
from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.geometry.pairing import (
    JUMP_NS,
    REPLAY_CAPACITY,
    REPLAY_WAIT_S,
    Pair,
    PairingConfig,
    StampedCovariance,
    Unpaired,
    stream_pairing,
)
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.geometry.ties import ShareStream, Tie, TieStream
from twin_nodes.core.geometry.tip_stream import tracked_tip
from twin_nodes.core.guidance.advice import Advice, Withheld
from twin_nodes.core.guidance.alarms import AlarmEvent, AlarmMonitor
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Field, Structure
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.lookout import Lookout
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.setpoints import SetpointStream
from twin_nodes.core.guidance.time_to_contact import Outlook
from twin_nodes.core.guidance.zones import ZoneEvent, ZoneMonitor
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True)
class AdvisorConfig:
    """Settings of the advice."""

    guidance: GuidanceConfig = group(GuidanceConfig)
    prediction: PredictionConfig = group(PredictionConfig)
    pairing: PairingConfig = group(PairingConfig)
    stale_after: float = setting(
        'The advice is withdrawn when tool or patient are older than this.', 0.2, unit='s', minimum=0.01, maximum=5.0
    )


class Advisor:
    """Holds the ties of the chain and turns each paired pose into advice.

    Args:
        config: Settings.
        ordered: Whether a recording is replayed: then stamps alone decide, and a pose waits for the ties and the
            anatomy that belong to it. Live, what has arrived counts.
        steered: Whether set points of a robot are to come; in a replay a pose waits for them too.
    """

    def __init__(self, config: AdvisorConfig, *, ordered: bool = False, steered: bool = False) -> None:
        self._config = config
        self._ordered = ordered
        self._stale_ns = round(config.stale_after * NANOSECONDS)
        self._slack_ns = round(REPLAY_WAIT_S * NANOSECONDS) if ordered else 0
        self._pairing = stream_pairing(config.pairing, replay=ordered)
        self._pending: deque[Pair | Unpaired] = deque()
        self.tip = TieStream(ordered=ordered)
        self.registration = TieStream(ordered=ordered)
        self.shares = ShareStream(ordered=ordered)
        self.changes = AnatomyChanges(ordered=ordered)
        self._setpoints = SetpointStream(expected=ordered and steered)
        self._streams_ns = 0
        self._waits = True
        self._monitor: ClearanceMonitor | None = None
        self._zones: ZoneMonitor | None = None
        self._alarms: AlarmMonitor | None = None
        self._lookout = Lookout(config.prediction, config.guidance.alarms)
        self._newest_advice_ns: int | None = None
        self._newest_pair: tuple[Array, Array] | None = None  # tracker_T_patient, tool_T_tip
        self._withdrawn = True

    def set_tip(self, tie: Tie) -> list[Advice | Withheld]:
        """Take the calibration of the tip, tool_T_tip, and return what it settles."""
        self.tip.add(tie)
        return self._drain()

    def set_registration(self, tie: Tie) -> list[Advice | Withheld]:
        """Take the registration, patient_T_anatomy, and return what it settles."""
        self.registration.add(tie)
        return self._drain()

    def set_structures(self, structures: list[Structure]) -> list[Advice | Withheld]:
        """Take the structures to watch, and return what that settles; zones start anew."""
        self._monitor = ClearanceMonitor(self._config.guidance, structures)
        self._zones = ZoneMonitor(
            self._config.guidance.zones, {structure.name: structure.near_distance for structure in structures}
        )
        self._alarms = AlarmMonitor(self._config.guidance.alarms, tuple(structure.name for structure in structures))
        return self._drain()

    def set_latency(self, seconds: float) -> None:
        """Say how long poses take from measurement to advice [s]; it is bridged besides `prediction.ahead`."""
        self._lookout.latency = seconds

    def steer(self, stamp_ns: int, tracker_T_setpoint: Array) -> None:
        """Take where a robot is told to bring the tool, in the frame of the tool's poses, shape (4, 4).

        It is used by the prediction as soon as there was advice, see `core.guidance.prediction.steered`; live at once,
        in a replay by the poses that are not older, see `setpoints`.

        Raises:
            InputError: STAMP_BACKWARD; NOT_FINITE. Nothing is changed.
        """
        if self._ordered:
            self._setpoints.add(stamp_ns, tracker_T_setpoint)
        else:
            self._steer(stamp_ns, tracker_T_setpoint)

    def _steer(self, stamp_ns: int, tracker_T_setpoint: Array) -> None:
        if self._newest_pair is not None:
            tracker_T_patient, tool_T_tip = self._newest_pair
            self._lookout.steer(stamp_ns, inverse(tracker_T_patient) @ tracker_T_setpoint @ tool_T_tip)

    @property
    def awaits_makers(self) -> bool:
        """Whether poses of a replay that has ended still wait for makers of changes, who notice the end themselves."""
        return bool(self._pending) and not self.changes.have_ended

    @property
    def awaits_setpoints(self) -> bool:
        """Whether poses of a replay wait for set points which should have come by now."""
        if not self._pending or not self._waits:
            return False
        oldest_ns = self._pending[0].stamp_ns
        return self._streams_ns > oldest_ns + self._stale_ns and not self._setpoints.settled(
            oldest_ns, self._streams_ns
        )

    @property
    def lag(self) -> float | None:
        """How late the tool follows its set point [s]; None while that is not known."""
        return self._lookout.lag

    @property
    def ahead(self) -> float:
        """How long after a pose's stamp the advice holds [s]."""
        return self._lookout.ahead

    def set_grid(self, name: str, grid: Field) -> None:
        """Give a watched structure another grid, as when it was carved or began to deform; its zone goes on."""
        if self._monitor is not None:
            self._monitor.set_grid(name, grid)

    def reset(self) -> None:
        """Forget all poses, after a jump of the clock; live the ties stay, in replay those from files."""
        self._pairing.reset()
        self._pending.clear()
        self.tip.reset()
        self.registration.reset()
        self.shares.reset()
        self.changes.reset()
        self._setpoints.reset()
        self._streams_ns = 0
        # what it has learned is of the time before; a second pass begins as the first
        self._lookout = Lookout(self._config.prediction, self._config.guidance.alarms)
        self._forget_advice()

    def _forget_advice(self) -> None:
        self._newest_advice_ns = self._newest_pair = None
        self._withdrawn = True
        self._lookout.reset()
        if self._monitor is not None:
            self._monitor.reset()
        if self._zones is not None and self._alarms is not None:
            self._zones.reset()
            self._alarms.reset()

    def add_patient(self, pose: StampedCovariance) -> list[Advice | Withheld]:
        """Take tracker_T_patient and return what it settles."""
        self._note_stream(pose.stamp_ns)
        found = self._advise(self._pairing.add_reference(pose))
        return [*found, *self.check_stale(pose.stamp_ns - self._slack_ns)]

    def add_tool(self, pose: StampedCovariance) -> list[Advice | Withheld]:
        """Take tracker_T_tool and return what is settled by now."""
        self._note_stream(pose.stamp_ns)
        found = self._advise(self._pairing.add_sample(pose))
        return [*found, *self.check_stale(pose.stamp_ns - self._slack_ns)]

    def _note_stream(self, stamp_ns: int) -> None:
        self._streams_ns, self._waits = max(self._streams_ns, stamp_ns), True

    def drain(self) -> list[Advice | Withheld]:
        """Return what is settled after a maker of ties or of the anatomy has come further."""
        return self._drain()

    def finish(self) -> list[Advice | Withheld]:
        """Return what still waited for ties, the anatomy or set points, when the streams of a replay have ended."""
        self._waits = False
        return self._drain()

    def check_stale(self, now_ns: int) -> list[Advice | Withheld]:
        """Withdraw the advice when the newest is older than `stale_after` at now_ns, a stamp of the streams."""
        newest = self._newest_advice_ns
        if self._withdrawn or newest is None or now_ns - newest <= self._stale_ns:
            return []
        self._withdrawn = True
        stamp_ns = newest + self._stale_ns
        events = self._zones.withdraw(stamp_ns) if self._zones is not None else ()
        if self._alarms is not None:
            self._alarms.reset()
        reason = f'no pose of tool and patient for more than {self._config.stale_after:g} s'
        return [Withheld(stamp_ns, 'GUIDANCE_STALE', reason, events)]

    def _advise(self, settled: list[Pair | Unpaired]) -> list[Advice | Withheld]:
        self._pending.extend(settled)
        return self._drain()

    def _drain(self) -> list[Advice | Withheld]:
        found: list[Advice | Withheld] = []
        while self._pending and (self._may_advise(self._pending[0]) or len(self._pending) > REPLAY_CAPACITY):
            item = self._pending.popleft()
            if self._newest_advice_ns is not None and item.stamp_ns < self._newest_advice_ns - JUMP_NS:
                self._forget_advice()  # the streams began again, as those of a bag in a loop
            self.changes.advance(item.stamp_ns)
            for stamp_ns, setpoint in self._setpoints.take(item.stamp_ns):
                self._steer(stamp_ns, setpoint)
            found += self.check_stale(item.stamp_ns)  # the tool or the patient may have been away since the last advice
            found.append(self._advise_one(item))
        return found

    def _may_advise(self, item: Pair | Unpaired) -> bool:
        if not self._ordered:
            return True
        ties = all(made.settled(item.stamp_ns) for made in (self.tip, self.registration, self.shares))
        ties &= not self._waits or (self.tip.is_known and self.registration.is_known)
        told = not self._waits or (
            self.changes.settled(item.stamp_ns, self._streams_ns)
            and self._setpoints.settled(item.stamp_ns, self._streams_ns)
        )
        return ties and told and self._monitor is not None

    def _advise_one(self, item: Pair | Unpaired) -> Advice | Withheld:
        stamp = item.stamp_ns
        if isinstance(item, Unpaired):
            return Withheld(stamp, 'NO_TRANSFORM', f'patient: {item.reason}')
        tip, registration = self.tip.at(stamp), self.registration.at(stamp)
        if tip is None:
            return Withheld(stamp, 'NOT_CALIBRATED', 'the tip of the tool is not known yet')
        if registration is None:
            return Withheld(stamp, 'NOT_REGISTERED', 'patient and anatomy are not tied yet')
        if self._newest_advice_ns is not None and stamp <= self._newest_advice_ns:
            return Withheld(stamp, 'STAMP_BACKWARD', 'the pose does not come after the last one')
        # the motion is learned from before the anatomy is there: what is said then hangs on no moment of its arrival
        self._lookout.add(stamp, inverse(item.reference.pose) @ item.sample.pose @ tip.pose, tip.pose)
        self._newest_pair = (item.reference.pose, tip.pose)
        if self._monitor is None:
            return Withheld(stamp, 'ANATOMY_REFUSED', 'no anatomy has been received yet')
        return self._advice(item, tip, registration, self._monitor)

    def _advice(self, pair: Pair, tip: Tie, registration: Tie, monitor: ClearanceMonitor) -> Advice:
        tip_now = tracked_tip(pair, tip, registration, self.shares.effect(tip, registration))
        view = self._lookout.look(monitor, tip_now, registration.pose)
        events = self._judge(pair.stamp_ns, view.nearness, view.outlooks)
        self._newest_advice_ns = pair.stamp_ns
        self._withdrawn = False
        assert self._zones is not None and self._alarms is not None  # they come with the monitor
        return Advice(
            pair.stamp_ns,
            tip_now,
            self._lookout.ahead,
            view.pose,
            view.covariance,
            view.velocity,
            monitor.describe(pair.stamp_ns, view.pose, view.rows),
            view.distances,
            view.outlooks,
            self._zones.zones,
            self._alarms.raised,
            events,
        )

    def _judge(
        self, stamp_ns: int, nearness: dict[str, float], outlooks: dict[str, Outlook]
    ) -> tuple[ZoneEvent | AlarmEvent, ...]:
        assert self._zones is not None and self._alarms is not None
        return (*self._zones.update(stamp_ns, nearness), *self._alarms.update(stamp_ns, outlooks))
