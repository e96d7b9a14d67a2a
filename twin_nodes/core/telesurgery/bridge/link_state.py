"""How the link stands, as a site says it."""

from dataclasses import dataclass

from twin_nodes.core.telesurgery.bridge.clock_offset import Offset
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.loss_meter import LossEstimate
from twin_nodes.core.telesurgery.bridge.records import ProbeFrame


@dataclass(frozen=True)
class ChannelState:
    """How a channel that we receive stands.

    Args:
        topic: Its topic.
        silent_s: Since the last valid, new command; None before the first.
        age_s: Age of the last command when it was played; None before the first.
        added_s: What the jitter buffer waits.
        jitter_s: RFC 3550 jitter.
        backlog: Commands that wait.
        counts: Of played, recovered, late, superseded, stale, future, never.
        hold: Whether nothing valid has been played for `hold_after`.
    """

    topic: str
    silent_s: float | None
    age_s: float | None
    added_s: float
    jitter_s: float
    backlog: int
    counts: dict[str, int]
    hold: bool


@dataclass(frozen=True)
class LinkState:
    """How the link stands.

    Args:
        mode: waiting (no session yet), connected, degraded, or outage (nothing valid for `hold_after`).
        silent_s: Since the last authentic datagram; None before the first.
        offset: Clock offset with its interval, or None.
        receives: What we lose of theirs.
        sends: Loss, burst and jitter of ours, as the other site says; None before it did.
        delay_s: One way, from them to us; None before it is known. Wrong by half of the interval at most.
        copies: Commands in each datagram that we send, by topic.
        channels: What we receive.
        refused: Datagrams refused, by code.
        sent: Datagrams sent.
        received: Authentic datagrams received.
    """

    mode: str
    silent_s: float | None
    offset: Offset | None
    receives: LossEstimate
    sends: ProbeFrame | None
    delay_s: float | None
    copies: dict[str, int]
    channels: tuple[ChannelState, ...]
    refused: dict[str, int]
    sent: int
    received: int


def link_mode(
    config: BridgeConfig, *, silent: float | None, delay: float | None, receives: LossEstimate, sends: ProbeFrame | None
) -> str:
    """Return the mode of a link.

    Args:
        config: Limits.
        silent: Since the last authentic datagram [s]; None before the first.
        delay: One way [s]; None before it is known.
        receives: What we lose of theirs.
        sends: What they say they lose of ours; None before they did.
    """
    if silent is None:
        return 'waiting'
    if silent > config.hold_after:
        return 'outage'
    losses = [receives.loss, sends.loss if sends is not None else 0.0]
    slow = delay is not None and delay > config.degraded_delay
    return 'degraded' if max(losses) > config.degraded_loss or slow else 'connected'
